//! One keeper after another in the same process, by `execve`: pid (which systemd knows), lock, sockets, listeners and the
//! supervisor are kept. docs/decisions/0012 says when; `promotion::successor` decides it.

use super::passed::{CHILD, KNOWN, LISTENER, LOCK, NOTIFY};
use super::signals::Signals;
use super::{Keeper, Supervisor, instance};
use crate::exit;
use crate::io::programs::own_program;
use crate::io::reap::Awaited;
use crate::io::replace::execute;
use crate::io::root::{self, OPERATOR, succession};
use crate::io::slots::digest;
use crate::promotion::successor::{Base, KEEPER_STARTS, Succession, shown_after, successor};
use crate::promotion::{InUse, Root};
use crate::restart::STABLE_AFTER;
use holdfast_shared::home::Home;
use holdfast_shared::process::PidFd;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// What `keep --check` of a successor may take. The supervisor's death is seen so much later then.
const CHECK: Duration = Duration::from_secs(3);
/// From one start of a keeper that has not shown itself to the next: what makes it fail may pass.
const TRY_AGAIN: Duration = Duration::from_secs(10);
/// Until the next try when `root/keeper.json` could not be written: a disk stays full for a while.
const UNWRITABLE: Duration = Duration::from_secs(60);

/// Where this keeper comes from.
pub(super) struct Line {
    /// What the node was installed with; its digest is empty until it is asked for.
    base: Base,
    /// Digest of what runs, once it was asked for.
    own: Option<String>,
    /// When this keeper will have shown itself; `None` once it has, and for an installed one.
    shown_at: Option<Instant>,
    /// The attempt whose keeper is not used, which was said.
    refused: String,
    /// Not before it is another keeper tried, where one has failed.
    next_try: Option<Instant>,
}

impl Line {
    pub fn new(home: &Home, follows: bool) -> Line {
        let own = Base { program: path_of_us(), digest: String::new() };
        let base = if follows { succession::read(home).base } else { own };
        let shown_at = follows.then(|| Instant::now().checked_add(shown_after(watchdog()))).flatten();
        Line { base, own: None, shown_at, refused: String::new(), next_try: None }
    }

    /// Whether this keeper has yet to show itself.
    pub fn is_unshown(&self) -> bool {
        self.shown_at.is_some()
    }

    /// Digest of what runs, whatever has been installed in its place since.
    fn own_digest(&mut self) -> io::Result<String> {
        match &self.own {
            Some(known) => Ok(known.clone()),
            None => Ok(self.own.insert(digest(Path::new("/proc/self/exe"))?).clone()),
        }
    }

    pub fn base_digest(&mut self) -> io::Result<String> {
        if self.base.digest.is_empty() {
            self.base.digest = self.own_digest()?;
        }
        Ok(self.base.digest.clone())
    }

    /// Where the installed program is, or was.
    pub fn base_path(&self) -> &Path {
        &self.base.program
    }

    /// The installed program; ourselves, where it is gone.
    pub fn base_program(&self) -> PathBuf {
        if self.base.program.exists() { self.base.program.clone() } else { own_program() }
    }
}

/// Our program's path, also when a newer one has replaced its file since.
fn path_of_us() -> PathBuf {
    let path = std::env::current_exe().unwrap_or_else(|_| PathBuf::from("/proc/self/exe"));
    let text = path.to_string_lossy();
    text.strip_suffix(" (deleted)").map(PathBuf::from).unwrap_or(path)
}

/// How long systemd waits for a WATCHDOG of ours, where it does. The pid is the same in all our images.
fn watchdog() -> Option<Duration> {
    let number = |name: &str| std::env::var(name).ok()?.parse::<u64>().ok();
    let is_ours = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
    number("WATCHDOG_USEC").filter(|micros| is_ours && *micros > 0).map(Duration::from_micros)
}

impl Keeper<'_> {
    /// A keeper that followed another one says so once it has lived for its time.
    pub(super) fn show_itself(&mut self) {
        let now = Instant::now();
        if self.line.shown_at.is_none_or(|at| now < at) || self.is_waiting() {
            return;
        }
        match succession::write(self.home, &succession::read(self.home).shown()) {
            Ok(()) => self.line.shown_at = None,
            Err(error) => {
                tracing::error!(%error, "say that the promoted keeper lives");
                self.line.shown_at = Some(now + UNWRITABLE);
            }
        }
    }

    /// This keeper's exit code. One that ends as it was told to before it could show itself has not failed; any other end
    /// before that is to bring back the installed one, which then says itself what it refuses.
    pub(super) fn ends_with(&mut self, code: u8) -> u8 {
        if self.line.shown_at.take().is_none() {
            return code;
        }
        if code != exit::FINE {
            return exit::FAILED;
        }
        if let Err(error) = succession::write(self.home, &succession::read(self.home).taken_back()) {
            tracing::error!(%error, "take back the promoted keeper's start");
        }
        code
    }

    /// Becomes the keeper of root files that are confirmed, once its supervisor has been ready for a while. Returns only
    /// where there is none, where we were told to go, or where that was not possible: this one goes on then.
    pub(super) fn hand_over(&mut self, in_use: &InUse, signals: &Signals) {
        let Supervisor::Runs { pidfd, ready_at: Some(at), .. } = &self.supervisor else { return };
        let Some(root) = in_use.current.as_ref().filter(|_| in_use.confirmed) else { return };
        let waits = self.line.next_try.is_some_and(|next| Instant::now() < next);
        if at.elapsed() <= STABLE_AFTER || waits || self.line.refused == root.attempt {
            return;
        }
        let (Ok(own), Ok(base)) = (self.line.own_digest(), self.line.base_digest()) else { return };
        let before = succession::read(self.home);
        let Some(root) = successor(in_use, &before, OPERATOR, &own, &base) else {
            if before.was_tried_enough(&root.attempt) && !self.line.is_unshown() {
                say_given_up(self.home, before, root);
            }
            self.line.refused = root.attempt.clone();
            return;
        };
        if before.has_failed(&root.attempt) && at.elapsed() < TRY_AGAIN {
            return;
        }
        let base = Base { digest: base, program: self.line.base.program.clone() };
        let program = root::program(self.home, root, OPERATOR);
        let started = before.started(base, &root.attempt);
        if let Err((error, wait)) = self.become_keeper(&program, &started, pidfd, signals) {
            tracing::error!(%error, attempt = root.attempt, "the promoted keeper did not take over");
            self.line.next_try = Instant::now().checked_add(wait);
        }
    }

    /// Returns when we were told to go before, or with what failed and the wait before the next try.
    fn become_keeper(
        &self,
        program: &Path,
        started: &Succession,
        supervisor: &PidFd,
        signals: &Signals,
    ) -> Result<(), (io::Error, Duration)> {
        let again = |error: io::Error| (error, TRY_AGAIN);
        let count = || {
            let written = succession::write(self.home, started);
            written.map_err(|error| (io::Error::other(error.message), UNWRITABLE))
        };
        let mut kept: Vec<(&str, BorrowedFd<'_>)> =
            vec![(LOCK, self.lock.as_fd()), (NOTIFY, self.notify.as_fd()), (CHILD, supervisor.as_fd())];
        kept.extend(self.listeners.iter().map(|passed| (LISTENER, passed.fd.as_fd())));
        let names: Vec<&str> = kept.iter().map(|(name, _)| *name).collect();
        if let Err(error) = check_keeps(program, self.home, &names.join(",")) {
            count()?;
            return Err(again(error));
        }
        // From here on a signal waits for the next image, which would not see what only we have taken.
        let Some(_held) = signals.hold().map_err(again)? else { return Ok(()) };
        count()?;
        tracing::info!(program = %program.display(), start = started.starts, "replaced by the promoted keeper");
        Err(again(execute(program, "keep", self.home, &kept)))
    }
}

fn say_given_up(home: &Home, before: Succession, root: &Root) {
    if let Err(error) = succession::write(home, &before.given_up()) {
        tracing::error!(%error, "say that the promoted keeper is given up");
    }
    let (attempt, release) = (&root.attempt, &root.release);
    tracing::error!(attempt, release, "the promoted keeper failed {KEEPER_STARTS} starts; this one stays");
}

/// What a keeper does before its first turn, as far as it can be done beside a living one: whether this program would
/// keep this home, with what is handed over under these names.
pub fn check(home: &Home, names: &[String]) -> u8 {
    holdfast_shared::log::init("keeper", &instance());
    match would_keep(home, names) {
        Ok(()) => exit::FINE,
        Err(error) => {
            tracing::error!(error, "keeper");
            exit::FAILED
        }
    }
}

fn would_keep(home: &Home, names: &[String]) -> Result<(), String> {
    let is_known = |name: &&String| KNOWN.contains(&name.as_str());
    if let Some(unknown) = names.iter().find(|name| !is_known(name)) {
        return Err(format!("{unknown} is handed over, which this keeper does not know"));
    }
    root::read(home).map_err(|error| error.message)?;
    Signals::catch().map_err(|error| error.to_string())?;
    Ok(())
}

/// Whether this program is a keeper at all: in a child, as nothing is behind us once we have become it.
fn check_keeps(program: &Path, home: &Home, names: &str) -> io::Result<()> {
    const AGAIN: Duration = Duration::from_millis(10);
    let mut command = Command::new(program);
    command.args(["keep", "--check", names, "--home"]).arg(home.path()).env_clear();
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = Awaited::spawn(&mut command)?;
    let begun = Instant::now();
    loop {
        match child.try_wait()? {
            Some(status) if status.success() => return Ok(()),
            Some(status) => return Err(io::Error::other(format!("its check ended with {status}"))),
            None if begun.elapsed() >= CHECK => return Err(io::Error::other("its check takes too long")),
            None => std::thread::sleep(AGAIN),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_keeper_that_knows_all_that_is_handed_over_follows() {
        let directory = tempfile::tempdir().unwrap();
        let home = Home::new(directory.path());
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        assert_eq!(would_keep(&home, &names(&[LOCK, NOTIFY, CHILD, LISTENER, LISTENER])), Ok(()));
        let refused = would_keep(&home, &names(&[LOCK, "sessions"])).unwrap_err();
        assert!(refused.contains("sessions"), "{refused}");
    }
}
