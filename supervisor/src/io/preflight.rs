//! What a runtime's binary is asked before anything is started from it: what it is able to, and whether it could serve
//! this home.

use crate::io::reap::Awaited;
use crate::io::slots::RUNTIME;
use holdfast_shared::error::{ApiError, Code};
use holdfast_shared::home::Home;
use holdfast_shared::release::Abilities;
use holdfast_shared::slot::Slot;
use std::fs::File;
use std::io::{self, Read, Seek};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// A program that says what it reads and writes does nothing else first.
const ABILITIES: Duration = Duration::from_secs(10);

/// What a runtime's binary says of itself.
///
/// # Errors
/// `REFUSED` when it does not say so in time.
pub fn abilities(program: &Path) -> Result<Abilities, ApiError> {
    let said = run(Command::new(program).arg("--abilities"), ABILITIES);
    let said = said.and_then(|text| Ok(serde_json::from_slice(&text)?));
    said.map_err(|error| ApiError::new(Code::Refused, format!("{} --abilities: {error}", program.display())))
}

/// Whether the release in a slot could serve this home: its own `--self-check`, which reads the journal and writes
/// nothing. Blocks for up to `deadline`. `settings` are those that it would be started with, JSON.
///
/// # Errors
/// `REFUSED` with what it says, or when it does not say anything in time.
pub fn self_check(home: &Home, slot: Slot, settings: &str, deadline: Duration) -> Result<(), ApiError> {
    let program = home.slot(slot).join(RUNTIME);
    let mut command = Command::new(&program);
    command.arg("--self-check").arg("--home").arg(home.path());
    command.args(["--slot", slot.name(), "--settings", settings]);
    run(&mut command, deadline)
        .map(drop)
        .map_err(|error| ApiError::new(Code::Refused, format!("{} --self-check: {error}", program.display())))
}

/// Runs a program that prints something and ends, and reads what it prints; one that is late is killed, one that
/// fails is named with what it wrote on stderr.
fn run(command: &mut Command, deadline: Duration) -> io::Result<Vec<u8>> {
    const LOOK: Duration = Duration::from_millis(1);
    // Files, not pipes: nothing that the program writes can make either side wait.
    let (printed, complained) = (nameless_file()?, nameless_file()?);
    command.env_clear().stdin(Stdio::null()).stdout(printed.try_clone()?).stderr(complained.try_clone()?);
    let mut child = Awaited::spawn(command)?;
    let deadline = Instant::now() + deadline;
    let status = loop {
        match child.try_wait()? {
            Some(status) => break status,
            None if Instant::now() < deadline => std::thread::sleep(LOOK),
            None => {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "no answer in time"));
            }
        }
    };
    if !status.success() {
        let complaint = read_back(complained)?;
        let complaint = String::from_utf8_lossy(&complaint).trim().to_owned();
        return Err(io::Error::other(if complaint.is_empty() { status.to_string() } else { complaint }));
    }
    read_back(printed)
}

fn read_back(mut printed: File) -> io::Result<Vec<u8>> {
    const AT_MOST_BYTES: u64 = 1024 * 1024;
    let mut text = Vec::new();
    printed.seek(io::SeekFrom::Start(0))?;
    printed.take(AT_MOST_BYTES).read_to_end(&mut text)?;
    Ok(text)
}

fn nameless_file() -> io::Result<File> {
    use nix::sys::memfd::{MFdFlags, memfd_create};
    Ok(File::from(memfd_create(c"holdfast-printed", MFdFlags::MFD_CLOEXEC)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    const SOON: Duration = Duration::from_secs(30);

    /// A home whose slot b has this script as its runtime.
    fn home_with(script: &str) -> (tempfile::TempDir, Home) {
        let directory = tempfile::tempdir().unwrap();
        let home = Home::new(directory.path());
        let path = home.slot(Slot::B).join(RUNTIME);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).unwrap();
        (directory, home)
    }

    #[test]
    fn a_release_says_itself_whether_it_could_serve() {
        let (_directory, home) = home_with("[ \"$*\" = \"--self-check --home $3 --slot b --settings {}\" ]");
        self_check(&home, Slot::B, "{}", SOON).unwrap();
        let (_directory, home) = home_with("echo 'does not know kind x' >&2; exit 1");
        let refused = self_check(&home, Slot::B, "{}", SOON).unwrap_err();
        assert_eq!(refused.code, Code::Refused);
        assert!(refused.message.ends_with("does not know kind x"), "{}", refused.message);
    }

    #[test]
    fn one_that_cannot_be_started_or_says_nothing_is_refused() {
        let (_directory, home) = home_with("exec sleep 1000");
        let late = self_check(&home, Slot::B, "{}", Duration::from_millis(20)).unwrap_err();
        assert!(late.message.contains("no answer in time"), "{}", late.message);
        let (_directory, home) = home_with("kill -9 $$");
        let killed = self_check(&home, Slot::B, "{}", SOON).unwrap_err();
        assert!(killed.message.contains("signal: 9"), "{}", killed.message);
        assert!(self_check(&home, Slot::A, "{}", SOON).is_err());
    }
}
