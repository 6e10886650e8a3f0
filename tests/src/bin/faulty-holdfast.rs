//! `holdfast` with one deliberate fault: what a release of a test brings in its place. The fault is named by the bytes at
//! the end of the file, [`holdfast_tests::faults::KEEPER_FAULTS`]; without one it is `holdfast`.

use holdfast_tests::faults::KEEPER_FAULTS;
use nix::sys::signal::Signal;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Duration;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<&str>>().as_slice() {
        ["hold", directory, ..] => return holdfast_supervisor::hold::run(Path::new(directory)),
        ["keep", rest @ ..] if fails_as_keeper(rest.contains(&"--check")) => return ExitCode::FAILURE,
        _ => {}
    }
    holdfast_supervisor::cli::run()
}

/// Whether it is to end; does not return where it is to hang.
fn fails_as_keeper(checks: bool) -> bool {
    let own = std::fs::read("/proc/self/exe").unwrap_or_default();
    let Some(fault) = KEEPER_FAULTS.iter().find(|fault| own.ends_with(fault.as_bytes())) else {
        return false;
    };
    let [exits, hangs, exits_later, hangs_later, is_silent, told_in_check, told_at_start] = KEEPER_FAULTS;
    match *fault {
        fault if fault == exits || fault == exits_later && !checks => return true,
        fault if fault == hangs || fault == hangs_later && !checks => loop {
            std::thread::sleep(Duration::from_secs(1000));
        },
        fault if fault == is_silent && !checks => be_silent(),
        fault if fault == told_in_check && checks => {
            holdfast_tests::processes::signal(nix::unistd::getppid().as_raw(), Signal::SIGTERM);
        }
        fault if fault == told_at_start && !checks => {
            holdfast_tests::processes::signal(std::process::id().cast_signed(), Signal::SIGTERM);
        }
        _ => {}
    }
    false
}

/// The same again without the socket of systemd; it keeps what it was handed over.
fn be_silent() {
    if std::env::var_os("NOTIFY_SOCKET").is_some() {
        let mut again = Command::new("/proc/self/exe");
        let failed = again.args(std::env::args_os().skip(1)).env_remove("NOTIFY_SOCKET").exec();
        eprintln!("cannot be silent: {failed}");
    }
}
