//! `holdfast` with one deliberate fault: what a release of a test brings in its place. The fault is named by the bytes at
//! the end of the file, [`holdfast_tests::faults::KEEPER_FAULTS`]; without one it is `holdfast`.

use holdfast_tests::faults::KEEPER_FAULTS;
use std::path::Path;
use std::process::ExitCode;
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
    let fault = KEEPER_FAULTS.iter().find(|fault| own.ends_with(fault.as_bytes()));
    let [exits, hangs, exits_later, hangs_later] = KEEPER_FAULTS;
    match fault {
        Some(fault) if *fault == exits || *fault == exits_later && !checks => true,
        Some(fault) if *fault == hangs || *fault == hangs_later && !checks => loop {
            std::thread::sleep(Duration::from_secs(1000));
        },
        _ => false,
    }
}
