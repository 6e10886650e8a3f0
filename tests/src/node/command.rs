//! A command run to its end, with everything it prints kept.

use crate::wait;
use std::io::Read;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

/// Exit code, stdout and stderr of a command, for messages.
pub fn told(output: &Output) -> String {
    format!(
        "exit {:?}\nstdout: {}\nstderr: {}",
        output.status.code(),
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// Runs a command with everything it prints kept, ended at the deadline.
///
/// # Panics
/// When it cannot be started or does not end in time.
pub fn run_to_end(mut command: Command, deadline: Duration) -> Output {
    let named = format!("{command:?}");
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary starts");
    let stdout = drain(child.stdout.take().expect("piped"));
    let stderr = drain(child.stderr.take().expect("piped"));
    let ended = wait::try_until_blocking(deadline, || child.try_wait().ok().flatten());
    let Some(status) = ended else {
        let _ = child.kill();
        let _ = child.wait();
        panic!("{named} did not end within {deadline:?}");
    };
    Output { status, stdout: stdout.join().unwrap_or_default(), stderr: stderr.join().unwrap_or_default() }
}

fn drain(mut from: impl Read + Send + 'static) -> std::thread::JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut all = Vec::new();
        let _ = from.read_to_end(&mut all);
        all
    })
}
