//! A process that replaces itself by `execve`. Of a supervisor pid, children, both locks and the public listener are
//! kept, of a keeper its lock, its socket, its listeners and its child; the rest closes with the exec, and the new image
//! finds it again as after any other end of its process.
//!
//! What is kept is named in one variable, `pid=N journal=N supervisor=N listener=N`. A name that an image does not know
//! is closed by it; a process with another pid has nothing of it.

use holdfast_shared::home::Home;
use holdfast_shared::journal::io::lock::JournalLock;
use holdfast_shared::process::RoleLock;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use std::ffi::{CString, OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Names the descriptors that are kept.
const VARIABLE: &str = "HOLDFAST_KEPT";
/// Descriptors taken at most; a broken environment must not make us own what is not ours. A keeper has three and what
/// listeners were passed to it, of which there are 16 at most.
const KEPT_AT_MOST: usize = 20;
/// Of listeners that were passed at our own start; the numbers mean something else now.
const PASSED: [&str; 3] = ["LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PID"];

/// What a supervisor gives to its next image.
pub struct HandOver {
    /// The program.
    pub program: PathBuf,
    /// The lock of its journal, which is closed.
    pub journal: JournalLock,
    /// The lock of its role.
    pub role: RoleLock,
    /// The public listener, where it has one.
    pub listener: Option<OwnedFd>,
}

/// What the next image finds.
#[derive(Debug, Default)]
pub struct Kept {
    /// The lock of the journal.
    pub journal: Option<OwnedFd>,
    /// The lock of the role.
    pub role: Option<OwnedFd>,
    /// The public listener.
    pub listener: Option<OwnedFd>,
    /// Why there is no next image: the `execve` failed, and this one goes on.
    pub failed: Option<String>,
}

impl Kept {
    /// What an earlier image of this process has kept. Call it once, first thing in `main`.
    pub fn from_environment() -> Kept {
        let mut kept = Kept::default();
        for (name, descriptor) in kept_descriptors() {
            match name.as_str() {
                "journal" => kept.journal = Some(descriptor),
                "supervisor" => kept.role = Some(descriptor),
                "listener" => kept.listener = Some(descriptor),
                _ => drop(descriptor),
            }
        }
        kept
    }

    fn named(&self) -> Vec<(&'static str, BorrowedFd<'_>)> {
        let named = [("journal", &self.journal), ("supervisor", &self.role), ("listener", &self.listener)];
        named.into_iter().filter_map(|(name, one)| Some((name, one.as_ref()?.as_fd()))).collect()
    }
}

/// The descriptors that an earlier image of this process has kept, by name. Call it once, first thing in `main`.
pub fn kept_descriptors() -> Vec<(String, OwnedFd)> {
    let text = std::env::var(VARIABLE).unwrap_or_default();
    let all = descriptors(&text, std::process::id()).into_iter();
    all.filter_map(|(name, number)| Some((name.to_owned(), take(number)?))).collect()
}

/// The names and numbers in the variable, where it is meant for this process.
fn descriptors(text: &str, own_pid: u32) -> Vec<(&str, RawFd)> {
    let mut words = text.split(' ').filter_map(|word| word.split_once('='));
    if words.next() != Some(("pid", own_pid.to_string().as_str())) {
        return Vec::new();
    }
    let numbered = words.filter_map(|(name, number)| Some((name, number.parse::<RawFd>().ok()?)));
    let mut all: Vec<(&str, RawFd)> = numbered.filter(|(_, number)| *number > 2).take(KEPT_AT_MOST).collect();
    // No number may be owned twice.
    all.sort_by_key(|(_, number)| *number);
    all.dedup_by_key(|(_, number)| *number);
    all
}

fn take(number: RawFd) -> Option<OwnedFd> {
    // SAFETY: only asks whether the number is an open descriptor.
    if unsafe { libc::fcntl(number, libc::F_GETFD) } < 0 {
        return None;
    }
    // SAFETY: it is open, and an earlier image of this process has kept it for us to own; each number comes once, and
    // this runs once, first in main.
    let descriptor = unsafe { OwnedFd::from_raw_fd(number) };
    fcntl(&descriptor, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).ok()?;
    Some(descriptor)
}

/// Whether this process has no thread but the calling one, now or before long.
pub fn is_alone_within(time: Duration) -> bool {
    const AGAIN: Duration = Duration::from_millis(5);
    let begun = Instant::now();
    loop {
        // What cannot be told is no reason to go on.
        match std::fs::read_dir("/proc/self/task").map(Iterator::count) {
            Ok(1) => return true,
            _ if begun.elapsed() >= time => return false,
            _ => std::thread::sleep(AGAIN),
        }
    }
}

/// Becomes the new program. Returns only when that was not possible: then all is kept for this image to go on with.
/// No other thread may start a process meanwhile, as it would get what is kept: see [`is_alone_within`].
pub fn replace(home: &Home, hand_over: HandOver) -> Kept {
    let HandOver { program, journal, role, listener } = hand_over;
    let mut kept = Kept { listener, ..Kept::default() };
    let failed = match (journal.hand_over_exec(), role.hand_over_exec()) {
        (Ok(journal), Ok(role)) => {
            kept.journal = Some(journal);
            kept.role = Some(role);
            execute(&program, "supervise", home, &kept.named())
        }
        (Err(error), _) | (_, Err(error)) => error,
    };
    kept.failed = Some(format!("execute {}: {failed}", program.display()));
    kept
}

/// Becomes a command of this program for this home; what is named stays open. Returns only when that was not possible:
/// the descriptors close with an exec again then.
pub fn execute(program: &Path, command: &str, home: &Home, kept: &[(&str, BorrowedFd<'_>)]) -> io::Error {
    let flag =
        |flag: FdFlag| kept.iter().try_for_each(|(_, one)| fcntl(one, FcntlArg::F_SETFD(flag)).map(drop));
    let prepared = flag(FdFlag::empty()).map_err(io::Error::from);
    let prepared = prepared.and_then(|()| Ok((arguments(program, command, home)?, environment(kept)?)));
    let failed = match prepared {
        Ok((arguments, environment)) => match nix::unistd::execve(&arguments[0], &arguments, &environment) {
            Ok(never) => match never {},
            Err(error) => error.into(),
        },
        Err(error) => error,
    };
    // It worked a moment ago with the other flag.
    let _ = flag(FdFlag::FD_CLOEXEC);
    failed
}

fn arguments(program: &Path, command: &str, home: &Home) -> io::Result<Vec<CString>> {
    let all: [&OsStr; 4] =
        [program.as_os_str(), command.as_ref(), "--home".as_ref(), home.path().as_os_str()];
    all.iter().map(|one| Ok(CString::new(one.as_bytes())?)).collect()
}

fn environment(kept: &[(&str, BorrowedFd<'_>)]) -> io::Result<Vec<CString>> {
    let ours = |name: &OsString| name != VARIABLE && !PASSED.iter().any(|passed| name == passed);
    let others = std::env::vars_os().filter(|(name, _)| ours(name));
    let mut all =
        others.map(|(name, value)| variable(&name, value.as_bytes())).collect::<io::Result<Vec<_>>>()?;
    all.push(variable(&VARIABLE.into(), describe(kept).as_bytes())?);
    Ok(all)
}

fn describe(kept: &[(&str, BorrowedFd<'_>)]) -> String {
    let described = kept.iter().map(|(name, one)| format!(" {name}={}", one.as_raw_fd()));
    format!("pid={}{}", std::process::id(), described.collect::<String>())
}

fn variable(name: &OsString, value: &[u8]) -> io::Result<CString> {
    Ok(CString::new([name.as_bytes(), b"=", value].concat())?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_shared::home::Role;
    use std::fs::File;

    #[test]
    fn only_this_process_takes_what_is_kept_and_no_number_twice() {
        let text = "pid=7 journal=9 supervisor=5 listener=x other=6 again=9 stderr=2";
        assert_eq!(descriptors(text, 7), [("supervisor", 5), ("other", 6), ("journal", 9)]);
        for other in ["pid=8 journal=9", "journal=9", "", "journal=9 pid=7"] {
            assert_eq!(descriptors(other, 7), [], "{other}");
        }
    }

    #[test]
    fn what_is_described_is_found_again() {
        let open = || Some(OwnedFd::from(File::open("/dev/null").unwrap()));
        let kept = Kept { journal: open(), role: open(), listener: None, failed: None };
        let text = describe(&kept.named());
        let found = descriptors(&text, std::process::id());
        let number = |one: &Option<OwnedFd>| one.as_ref().unwrap().as_raw_fd();
        let mut expected = vec![("journal", number(&kept.journal)), ("supervisor", number(&kept.role))];
        expected.sort_by_key(|(_, number)| *number);
        assert_eq!(found, expected);
    }

    #[test]
    fn a_program_that_is_not_executed_leaves_both_locks_held() {
        let directory = tempfile::tempdir().unwrap();
        let home = Home::new(directory.path());
        std::fs::create_dir_all(home.run()).unwrap();
        std::fs::create_dir_all(home.supervisor_journal()).unwrap();
        let hand_over = HandOver {
            program: directory.path().join("missing"),
            journal: JournalLock::try_acquire(&home.supervisor_journal()).unwrap(),
            role: RoleLock::take(&home, Role::Supervisor, "one").unwrap(),
            listener: None,
        };
        let kept = replace(&home, hand_over);
        assert!(kept.failed.unwrap().contains("missing"));
        assert!(JournalLock::try_acquire(&home.supervisor_journal()).is_err());
        assert!(RoleLock::take(&home, Role::Supervisor, "two").is_err());
        JournalLock::adopt(&home.supervisor_journal(), kept.journal.unwrap()).unwrap();
        RoleLock::adopt(&home, Role::Supervisor, "two", kept.role.unwrap()).unwrap();
    }
}
