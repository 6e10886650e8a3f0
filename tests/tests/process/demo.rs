//! `holdfast demo` is what people see first: it holds what it says, and leaves nothing.

use holdfast_tests::node::{holdfast, run_to_end, told};
use holdfast_tests::processes;
use serde_json::Value;
use std::process::{Command, Stdio};
use std::time::Duration;

/// It says that it is done within 90 s.
const DEMO_DEADLINE: Duration = Duration::from_secs(120);

#[test]
fn demo_drops_loses_and_doubles_nothing() {
    let directory = tempfile::Builder::new().prefix("demo.").tempdir().expect("room below TMPDIR");
    let mut command = Command::new(holdfast());
    command
        .args(["demo", "--json"])
        .stdin(Stdio::null())
        .env("TMPDIR", directory.path())
        .current_dir(directory.path());
    let output = run_to_end(command, DEMO_DEADLINE);
    assert!(output.status.success(), "{}", told(&output));
    let text = String::from_utf8_lossy(&output.stdout);
    let last = text.lines().last().unwrap_or_default();
    let result: Value =
        serde_json::from_str(&text).or_else(|_| serde_json::from_str(last)).unwrap_or_else(|error| {
            panic!("{error}: {}", told(&output));
        });
    for field in ["connections_dropped", "events_lost", "events_duplicated"] {
        assert_eq!(result[field], serde_json::json!(0), "{result}");
    }
    assert_eq!(processes::below(directory.path()), Vec::<i32>::new(), "processes are left");
}
