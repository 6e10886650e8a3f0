//! The demo agent without a node: what a start costs whoever starts it.

use holdfast_tests::node::holdfast;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Instant;

struct Alone {
    child: Child,
    stdin: ChildStdin,
    lines: BufReader<ChildStdout>,
}

impl Alone {
    fn start(directory: &std::path::Path) -> Alone {
        let mut command = Command::new(holdfast());
        command.arg("agent-demo").current_dir(directory).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("the binary starts");
        let (stdin, stdout) = (child.stdin.take().expect("piped"), child.stdout.take().expect("piped"));
        Alone { child, stdin, lines: BufReader::new(stdout) }
    }

    /// Calls a method; its result.
    fn call(&mut self, id: u64, method: &str, params: &Value) -> Value {
        let call = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
        writeln!(self.stdin, "{call}").expect("it reads");
        loop {
            let mut line = String::new();
            assert_ne!(self.lines.read_line(&mut line).expect("it writes"), 0, "it answers {method}");
            let answer: Value = serde_json::from_str(&line).expect("JSON");
            if answer["id"] == id {
                assert!(answer.get("error").is_none(), "{answer}");
                return answer["result"].clone();
            }
        }
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts an agent that has a session already and lets it load that; microseconds.
pub fn start_and_load() -> u64 {
    let directory = tempfile::tempdir().expect("room below TMPDIR");
    let initialize = json!({"protocolVersion": 1, "clientCapabilities": {}});
    let cwd = json!({"cwd": directory.path(), "mcpServers": []});
    let session = {
        let mut first = Alone::start(directory.path());
        first.call(1, "initialize", &initialize);
        let session = first.call(2, "session/new", &cwd)["sessionId"].clone();
        let prompt = json!({"sessionId": session, "prompt": [{"type": "text", "text": "remember it"}]});
        first.call(3, "session/prompt", &prompt);
        session
    };
    let began = Instant::now();
    let mut again = Alone::start(directory.path());
    again.call(1, "initialize", &initialize);
    let mut load = cwd;
    load["sessionId"] = session;
    again.call(2, "session/load", &load);
    super::microseconds_of(began.elapsed())
}
