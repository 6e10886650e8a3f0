//! The demo agent as a client sees it: the built binary, spoken to by lines.

#![allow(clippy::unwrap_used, reason = "helpers outside of test functions")]

use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

struct Client {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
    directory: String,
    session: String,
    next: u64,
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Client {
    fn start(directory: &std::path::Path) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_holdfast"));
        command.arg("agent-demo").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (stdin, stdout) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        let directory = directory.to_str().unwrap().to_owned();
        let mut client = Self { child, stdin, stdout, directory, session: String::new(), next: 0 };
        let initialized = client.call("initialize", json!({"protocolVersion": 1, "clientCapabilities": {}}));
        assert_eq!(initialized.last().unwrap()["result"]["agentCapabilities"]["loadSession"], true);
        client
    }

    fn with_session(directory: &std::path::Path) -> Self {
        let mut client = Self::start(directory);
        let params = json!({"cwd": client.directory, "mcpServers": []});
        let made = client.call("session/new", params).pop().unwrap();
        client.session = made["result"]["sessionId"].as_str().unwrap().to_owned();
        assert_eq!(made["result"]["modes"]["currentModeId"], "ask");
        client
    }

    fn send(&mut self, message: &Value) {
        self.stdin.write_all(format!("{message}\n").as_bytes()).unwrap();
    }

    fn ask(&mut self, method: &str, params: Value) -> u64 {
        self.next += 1;
        let message = json!({"jsonrpc": "2.0", "id": self.next, "method": method, "params": params});
        self.send(&message);
        self.next
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        line
    }

    fn receive(&mut self) -> Value {
        let line = self.line();
        serde_json::from_str(&line).unwrap_or_else(|_| json!({"junk": line.trim_end()}))
    }

    /// Everything up to the answer.
    fn until(&mut self, id: u64) -> Vec<Value> {
        let mut all = Vec::new();
        loop {
            let message = self.receive();
            let ends = message["id"] == id && message.get("method").is_none();
            all.push(message);
            if ends {
                return all;
            }
        }
    }

    fn call(&mut self, method: &str, params: Value) -> Vec<Value> {
        let id = self.ask(method, params);
        self.until(id)
    }

    fn begin(&mut self, script: &str) -> u64 {
        let params = json!({"sessionId": self.session, "prompt": [{"type": "text", "text": script}]});
        self.ask("session/prompt", params)
    }

    /// Runs a script; updates by kind and text, then the stop reason.
    fn prompt(&mut self, script: &str) -> Vec<String> {
        let id = self.begin(script);
        self.until(id).iter().map(said).collect()
    }

    /// Waits for a request of the agent.
    fn asked(&mut self, method: &str) -> Value {
        loop {
            let message = self.receive();
            if message["method"] == method {
                return message;
            }
        }
    }

    fn answer(&mut self, request: &Value, result: Value) {
        self.send(&json!({"jsonrpc": "2.0", "id": request["id"], "result": result}));
    }
}

fn said(message: &Value) -> String {
    let update = &message["params"]["update"];
    let kind = update["sessionUpdate"].as_str();
    match kind {
        Some(kind) => match update["content"]["text"].as_str().or(update["status"].as_str()) {
            Some(text) => format!("{kind}: {text}"),
            None => kind.to_owned(),
        },
        None => match message["result"]["stopReason"].as_str() {
            Some(reason) => reason.to_owned(),
            None => message.to_string(),
        },
    }
}

#[test]
fn agent_demo_does_what_its_prompt_says() {
    let directory = tempfile::tempdir().unwrap();
    let mut client = Client::with_session(directory.path());
    let all = client.prompt("think hm; say hello\nplan a|b; tool look; count 2; usage 5 100; edit f a|b");
    assert_eq!(
        all,
        [
            "agent_thought_chunk: hm",
            "agent_message_chunk: hello",
            "plan",
            "tool_call: pending",
            "tool_call_update: in_progress",
            "tool_call_update: completed",
            "agent_message_chunk: 1\n",
            "agent_message_chunk: 2\n",
            "usage_update",
            "tool_call: pending",
            "tool_call_update: in_progress",
            "tool_call_update: completed",
            "end_turn",
        ]
    );
    assert_eq!(client.prompt("How are you?"), ["agent_message_chunk: How are you?", "end_turn"]);
    let failed = client.prompt("fail");
    assert!(failed[0].contains("\"code\":-32603"), "{failed:?}");
    let id = client.begin("junk; long 5000");
    assert_eq!(client.receive()["junk"], "this line is no JSON");
    assert_eq!(client.line().len(), 5001);
    client.until(id);
    client.begin("die 7");
    assert_eq!(client.child.wait().unwrap().code(), Some(7));
}

#[test]
fn agent_demo_asks_for_permission_unless_its_mode_says_not_to() {
    let directory = tempfile::tempdir().unwrap();
    let mut client = Client::with_session(directory.path());
    for (outcome, says) in [
        (json!({"outcome": "selected", "optionId": "allow"}), "deploy: allow"),
        (json!({"outcome": "selected", "optionId": "reject"}), "deploy: reject"),
        (json!({"outcome": "cancelled"}), "deploy: cancelled"),
    ] {
        let id = client.begin("permit deploy");
        let request = client.asked("session/request_permission");
        assert_eq!(request["params"]["options"].as_array().unwrap().len(), 3);
        client.answer(&request, json!({"outcome": outcome}));
        let all: Vec<String> = client.until(id).iter().map(said).collect();
        assert_eq!(all[1..], [format!("agent_message_chunk: {says}"), "end_turn".to_owned()]);
    }
    let params = json!({"sessionId": client.session, "modeId": "code"});
    client.call("session/set_mode", params);
    let all = client.prompt("permit deploy");
    assert!(all.contains(&"agent_message_chunk: deploy: not asked".to_owned()), "{all:?}");
    let params = json!({"sessionId": client.session, "modeId": "other"});
    assert_eq!(client.call("session/set_mode", params).pop().unwrap()["error"]["code"], -32602);
}

#[test]
fn agent_demo_hears_a_cancel_while_it_waits_and_while_it_asks() {
    let directory = tempfile::tempdir().unwrap();
    let mut client = Client::with_session(directory.path());
    for script in ["say on; sleep 3600000", "say on; count 100000 1000", "say on; permit x", "say on; read a"]
    {
        let id = client.begin(script);
        client.receive();
        let params = json!({"sessionId": client.session});
        client.send(&json!({"jsonrpc": "2.0", "method": "session/cancel", "params": params}));
        assert_eq!(said(client.until(id).last().unwrap()), "cancelled", "{script}");
    }
    let first = client.begin("say on; sleep 3600000");
    let second = client.begin("say too");
    assert_eq!(client.until(second).pop().unwrap()["error"]["code"], -32600);
    let params = json!({"sessionId": client.session});
    client.send(&json!({"jsonrpc": "2.0", "method": "session/cancel", "params": params}));
    client.until(first);
}

#[test]
fn agent_demo_reads_writes_and_runs_through_the_client() {
    let directory = tempfile::tempdir().unwrap();
    let mut client = Client::with_session(directory.path());
    let id = client.begin("read a.txt; write b/c.txt some text; read ../../etc/passwd; run echo hi");
    let read = client.asked("fs/read_text_file");
    assert_eq!(read["params"]["path"], format!("{}/a.txt", client.directory));
    client.answer(&read, json!({"content": "contents"}));
    let write = client.asked("fs/write_text_file");
    assert_eq!(write["params"]["content"], "some text");
    client.answer(&write, json!(null));
    let outside = client.asked("fs/read_text_file");
    assert!(outside["params"]["path"].as_str().unwrap().ends_with("/../../etc/passwd"));
    client.send(
        &json!({"jsonrpc": "2.0", "id": outside["id"], "error": {"code": -32602, "message": "outside"}}),
    );
    let create = client.asked("terminal/create");
    client.answer(&create, json!({"terminalId": "t1"}));
    let wait = client.asked("terminal/wait_for_exit");
    client.answer(&wait, json!({"exitCode": 0}));
    let output = client.asked("terminal/output");
    assert_eq!(output["params"]["terminalId"], "t1");
    client.answer(&output, json!({"output": "hi\n", "truncated": false}));
    let release = client.asked("terminal/release");
    client.answer(&release, json!(null));
    let last: Vec<String> = client.until(id).iter().map(said).collect();
    assert_eq!(last, ["tool_call_update: completed", "end_turn"]);
}

#[test]
fn agent_demo_keeps_a_secret_for_its_session_alone_and_over_its_death() {
    let directory = tempfile::tempdir().unwrap();
    let mut client = Client::with_session(directory.path());
    client.prompt("remember the sea; say told");
    assert_eq!(client.prompt("secret")[0], "agent_message_chunk: I was told: the sea");
    let session = client.session.clone();
    drop(client);
    let mut other = Client::with_session(directory.path());
    assert_ne!(other.session, session);
    assert_eq!(other.prompt("secret")[0], "agent_message_chunk: I was told nothing.");
    let params = json!({"sessionId": session, "cwd": other.directory, "mcpServers": []});
    let replayed: Vec<String> = other.call("session/load", params).iter().map(said).collect();
    assert_eq!(replayed[0], "user_message_chunk: remember the sea; say told");
    assert!(replayed[1].starts_with("agent_message_chunk: I will remember"), "{replayed:?}");
    other.session = session;
    assert_eq!(other.prompt("secret")[0], "agent_message_chunk: I was told: the sea");
    let params = json!({"sessionId": "demo-9", "cwd": other.directory, "mcpServers": []});
    assert_eq!(other.call("session/load", params).pop().unwrap()["error"]["code"], -32002);
}

#[test]
fn agent_demo_answers_what_is_no_request_and_ends_with_stdin() {
    let directory = tempfile::tempdir().unwrap();
    let mut client = Client::start(directory.path());
    client.stdin.write_all(b"{\n").unwrap();
    assert_eq!(client.receive()["error"]["code"], -32700);
    assert_eq!(client.call("no/method", json!({})).pop().unwrap()["error"]["code"], -32601);
    let params = json!({"sessionId": "x", "prompt": []});
    assert_eq!(client.call("session/prompt", params).pop().unwrap()["error"]["code"], -32002);
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    client.stdin = ChildStdin::from(std::os::fd::OwnedFd::from(writer));
    assert!(client.child.wait().unwrap().success());
}

#[test]
fn agent_demo_explains_its_words() {
    let output =
        Command::new(env!("CARGO_BIN_EXE_holdfast")).args(["agent-demo", "--help"]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    for word in ["say TEXT", "permit NAME", "remember TEXT", "hang", "fail"] {
        assert!(text.contains(word), "{word}: {text}");
    }
}
