//! Supervisor, keeper, holder and the operator command line.

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    // The holder before anything else: it is to stay small, so nothing of the command line is set up for it.
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().is_some_and(|first| first == "hold")
        && let Some(directory) = arguments.next()
    {
        return holdfast_supervisor::hold::run(Path::new(&directory));
    }
    holdfast_supervisor::cli::run()
}
