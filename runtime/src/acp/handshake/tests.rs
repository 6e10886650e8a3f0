use super::*;
use crate::acp::line::parse;
use serde_json::json;

/// A handshake that a table plays: lines in, what was sent out.
struct Play {
    handshake: Handshake,
    sent: Vec<(u64, Value)>,
}

fn wanted(session: Option<&str>, authenticate: Option<&str>) -> Wanted {
    let (session, authenticate) = (session.map(str::to_owned), authenticate.map(str::to_owned));
    Wanted { version: "9".to_owned(), cwd: "/w".to_owned(), session, authenticate }
}

impl Play {
    fn begin(session: Option<&str>, authenticate: Option<&str>) -> Self {
        let (handshake, first) = Handshake::begin(wanted(session, authenticate));
        let mut play = Self { handshake, sent: Vec::new() };
        play.note(first);
        play
    }

    fn note(&mut self, sent: Numbered) {
        assert_eq!(sent.bytes.iter().filter(|byte| **byte == b'\n').count(), 1);
        assert_eq!(
            sent.number,
            self.sent.last().map_or(1, |(number, _)| number + 1),
            "no number is left out"
        );
        assert_eq!(sent.number, self.handshake.last_number());
        self.sent.push((sent.number, serde_json::from_slice(&sent.bytes).unwrap()));
    }

    fn line(&mut self, line: &str) -> &mut Self {
        if let Some(sent) = self.handshake.feed(&parse(line.as_bytes())) {
            self.note(sent);
        }
        self
    }

    /// The agent answers the last request.
    fn answers(&mut self, result: Value) -> &mut Self {
        let id = self.last_request();
        self.line(&json!({"jsonrpc": "2.0", "id": id, "result": result}).to_string())
    }

    fn refuses(&mut self, code: i64) -> &mut Self {
        let id = self.last_request();
        let error = json!({"code": code, "message": "refused"});
        self.line(&json!({"jsonrpc": "2.0", "id": id, "error": error}).to_string())
    }

    fn last_request(&self) -> Value {
        let requests = self.sent.iter().rev().find(|(_, message)| message.get("method").is_some());
        requests.unwrap().1["id"].clone()
    }

    fn methods(&self) -> Vec<&str> {
        self.sent.iter().map(|(_, message)| message["method"].as_str().unwrap_or("refusal")).collect()
    }

    fn ready(&self) -> &Ready {
        match self.handshake.progress() {
            Progress::Ready(ready) => ready,
            other => panic!("not ready but {other:?}"),
        }
    }

    fn failed(&self) -> String {
        match self.handshake.progress() {
            Progress::Failed(error) => error.to_string(),
            other => panic!("not failed but {other:?}"),
        }
    }
}

fn agent(load: bool, resume: bool) -> Value {
    let session = if resume { json!({"resume": {}}) } else { json!({}) };
    let methods =
        json!([{"id": "key", "name": "API key"}, {"id": "login", "name": "Log in"}, {"name": "none"}]);
    json!({"protocolVersion": 1, "agentCapabilities": {"loadSession": load, "sessionCapabilities": session},
        "authMethods": methods, "agentInfo": {"name": "a", "version": "1"}})
}

fn session() -> Value {
    json!({"sessionId": "new", "modes": {"currentModeId": "ask", "availableModes": [{"id": "ask", "name": "Ask"}]}})
}

#[test]
fn a_new_session_takes_two_requests() {
    let mut play = Play::begin(None, None);
    play.answers(agent(true, true)).answers(session());
    assert_eq!(play.methods(), ["initialize", "session/new"]);
    assert_eq!(play.sent[0].1["params"]["clientInfo"]["version"], "9");
    assert_eq!(
        play.sent[1].1,
        json!({"jsonrpc": "2.0", "id": 2, "method": "session/new",
        "params": {"cwd": "/w", "mcpServers": []}})
    );
    let ready = play.ready();
    assert_eq!((ready.session.as_str(), ready.resumed, ready.resumable), ("new", false, true));
    assert!(ready.modes.as_ref().unwrap().has("ask"));
}

#[test]
fn an_agent_that_offers_nothing_has_a_session_that_dies_with_it() {
    for capabilities in
        [json!({"protocolVersion": 1}), json!({"protocolVersion": 1.0, "agentCapabilities": null})]
    {
        let mut play = Play::begin(Some("old"), None);
        play.answers(capabilities).answers(json!({"sessionId": "new"}));
        assert_eq!(play.methods(), ["initialize", "session/new"]);
        let expected = Ready { session: "new".to_owned(), resumed: false, resumable: false, modes: None };
        assert_eq!(play.ready(), &expected);
    }
}

#[test]
fn a_session_that_was_is_taken_up_by_the_first_way_that_is_offered() {
    for (load, resume, method) in
        [(true, true, "session/resume"), (false, true, "session/resume"), (true, false, "session/load")]
    {
        let mut play = Play::begin(Some("old"), None);
        play.answers(agent(load, resume));
        assert_eq!(play.methods(), ["initialize", method]);
        let params = json!({"sessionId": "old", "cwd": "/w", "mcpServers": []});
        assert_eq!(play.sent[1].1["params"], params);
        // A replay, of which nothing is taken.
        play.line(r#"{"jsonrpc":"2.0","method":"session/update","params":{"sessionId":"old","update":{}}}"#);
        play.answers(json!({"sessionId": "other"}));
        let ready = play.ready();
        assert_eq!((ready.session.as_str(), ready.resumed), ("old", true), "it keeps its id");
    }
}

#[test]
fn an_answer_of_null_is_enough_for_what_was_loaded() {
    let mut play = Play::begin(Some("old"), None);
    play.answers(agent(true, false)).answers(Value::Null);
    assert_eq!(play.ready().modes, None);
    assert!(play.ready().resumed);
}

#[test]
fn resume_is_offered_by_an_object_or_by_true() {
    for (resume, method) in [
        (json!({}), "session/resume"),
        (json!(true), "session/resume"),
        (json!(null), "session/new"),
        (json!(false), "session/new"),
        (json!("yes"), "session/new"),
    ] {
        let mut play = Play::begin(Some("old"), None);
        let capabilities = json!({"sessionCapabilities": {"resume": resume}});
        play.answers(json!({"protocolVersion": 1, "agentCapabilities": capabilities}));
        assert_eq!(play.methods()[1], method, "{resume}");
    }
}

#[test]
fn what_cannot_be_taken_up_is_begun_anew() {
    for code in [-32602, -32603, -32002, -32601, -32000, 1] {
        let mut play = Play::begin(Some("old"), None);
        play.answers(agent(true, true)).refuses(code).refuses(code).answers(session());
        let methods = ["initialize", "session/resume", "session/load", "session/new"];
        assert_eq!(play.methods(), methods, "{code}");
        assert_eq!((play.ready().session.as_str(), play.ready().resumed), ("new", false));
    }
}

#[test]
fn who_asks_for_authentication_gets_it_once_and_is_asked_again() {
    let mut play = Play::begin(None, Some("key"));
    play.answers(agent(false, false)).refuses(-32000).answers(Value::Null).answers(session());
    assert_eq!(play.methods(), ["initialize", "session/new", "authenticate", "session/new"]);
    assert_eq!(play.sent[2].1["params"], json!({"methodId": "key"}));
    let numbers: Vec<u64> = play.sent.iter().map(|(number, _)| *number).collect();
    assert_eq!(numbers, [1, 2, 3, 4]);
    assert_eq!(play.ready().session, "new");
}

#[test]
fn who_does_not_ask_for_authentication_gets_none() {
    let mut play = Play::begin(None, Some("key"));
    play.answers(agent(false, false)).answers(session());
    assert_eq!(play.methods(), ["initialize", "session/new"]);
}

#[test]
fn authentication_comes_before_a_session_that_was_too() {
    let mut play = Play::begin(Some("old"), Some("key"));
    play.answers(agent(true, false)).refuses(-32000).answers(json!({})).answers(json!({}));
    assert_eq!(play.methods(), ["initialize", "session/load", "authenticate", "session/load"]);
    assert!(play.ready().resumed);
}

#[test]
fn the_longest_handshake_has_six_messages() {
    let mut play = Play::begin(Some("old"), Some("key"));
    play.answers(agent(true, true)).refuses(-32000).answers(json!({}));
    play.refuses(-32000).refuses(-32000).answers(session());
    let expected =
        ["initialize", "session/resume", "authenticate", "session/resume", "session/load", "session/new"];
    assert_eq!(play.methods(), expected);
    assert_eq!(play.sent.len() as u64, OWN_MAX);
    assert!(!play.ready().resumed);
}

#[test]
fn authentication_that_the_skill_does_not_name_fails_with_what_to_do() {
    let mut play = Play::begin(None, None);
    play.answers(agent(false, false)).refuses(-32000);
    let reason = play.failed();
    assert!(reason.contains("log in") && reason.contains("`authenticate` in skill.toml"), "{reason}");
    assert!(reason.contains("it offers key, login"), "{reason}");
    let mut play = Play::begin(None, None);
    play.answers(json!({"protocolVersion": 1})).refuses(-32000);
    assert!(play.failed().contains("it offers none"));
}

#[test]
fn authentication_that_the_agent_refuses_fails_with_its_reason() {
    let mut play = Play::begin(None, Some("wrong"));
    play.answers(agent(false, false)).refuses(-32000).refuses(-32602);
    let reason = play.failed();
    let expected = "the agent refuses authentication by wrong: refused (code -32602) (it offers key, login)";
    assert_eq!(reason, expected);
}

#[test]
fn an_agent_that_asks_for_authentication_without_end_is_not_obeyed() {
    let mut play = Play::begin(None, Some("key"));
    play.answers(agent(false, false)).refuses(-32000).answers(json!({})).refuses(-32000);
    assert!(play.failed().contains("still asks for authentication after key"));
}

#[test]
fn another_version_of_the_protocol_is_refused() {
    for version in [json!(2), json!(0), json!("1"), json!("0.1.0"), json!(null), json!([1]), json!(1.5)] {
        let mut play = Play::begin(None, None);
        play.answers(json!({"protocolVersion": version}));
        assert!(play.failed().contains(&format!("speaks version {version} of")), "{}", play.failed());
    }
    let mut play = Play::begin(None, None);
    play.answers(json!({}));
    assert!(play.failed().contains("speaks version null"));
}

#[test]
fn errors_fail_with_the_request_and_the_reason() {
    let mut play = Play::begin(None, None);
    play.refuses(-32603);
    assert_eq!(play.failed(), "the agent refuses initialize: refused (code -32603)");
    let mut play = Play::begin(None, None);
    play.answers(agent(false, false)).refuses(-32603);
    assert_eq!(play.failed(), "the agent refuses session/new: refused (code -32603)");
    let mut play = Play::begin(None, None);
    play.refuses(-32000);
    assert!(play.failed().contains("refuses initialize"), "nothing can be authenticated before it");
}

#[test]
fn a_session_needs_an_id() {
    let long = "x".repeat(SESSION_BYTES_MAX + 1);
    for result in [
        json!(null),
        json!({}),
        json!({"sessionId": ""}),
        json!({"sessionId": 1}),
        json!({"sessionId": long}),
    ] {
        let mut play = Play::begin(None, None);
        play.answers(agent(false, false)).answers(result);
        assert!(play.failed().contains("no sessionId"));
    }
}

#[test]
fn what_lies_in_between_changes_nothing() {
    let between = [
        "Starting agent...",
        "",
        "{\"half\":",
        r#"{"level":"info","id":1,"method":"log"}"#,
        r#"{"jsonrpc":"2.0","method":"session/update","params":{}}"#,
        r#"{"jsonrpc":"2.0","id":99,"result":{"sessionId":"evil"}}"#,
        r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"parse error"}}"#,
        r#"{"jsonrpc":"2.0","id":"2","result":{"sessionId":"evil"}}"#,
        r#"{"jsonrpc":"2.0","id":0,"result":{"sessionId":"evil"}}"#,
        r#"[{"jsonrpc":"2.0","id":2,"result":{"sessionId":"evil"}}]"#,
    ];
    let mut play = Play::begin(None, None);
    between.iter().for_each(|line| _ = play.line(line));
    play.answers(agent(false, false));
    // The first answer again, once the second request is out.
    play.line(
        &json!({"jsonrpc": "2.0", "id": 1, "result": {"sessionId": "evil", "protocolVersion": 2}})
            .to_string(),
    );
    between.iter().for_each(|line| _ = play.line(line));
    play.answers(session());
    assert_eq!(play.methods(), ["initialize", "session/new"]);
    assert_eq!(play.ready().session, "new");
}

#[test]
fn nothing_is_sent_once_it_is_over() {
    let mut play = Play::begin(None, None);
    play.answers(agent(false, false)).answers(session());
    play.line(r#"{"jsonrpc":"2.0","id":2,"error":{"code":1,"message":"late"}}"#);
    play.line(r#"{"jsonrpc":"2.0","id":"a","method":"fs/read_text_file","params":{}}"#);
    assert_eq!(play.sent.len(), 2);
    assert_eq!(play.ready().session, "new");
    let mut play = Play::begin(None, None);
    play.refuses(1).answers(agent(false, false));
    assert_eq!(play.sent.len(), 1);
    play.failed();
}

#[test]
fn requests_of_the_agent_are_refused_and_take_numbers_of_their_own() {
    let mut play = Play::begin(None, None);
    play.line(r#"{"jsonrpc":"2.0","id":1,"method":"fs/read_text_file","params":{"path":"/etc/passwd"}}"#);
    play.answers(agent(false, false));
    play.line(r#"{"jsonrpc":"2.0","id":null,"method":"session/request_permission"}"#);
    play.answers(session());
    assert_eq!(play.methods(), ["initialize", "refusal", "session/new", "refusal"]);
    assert_eq!(play.sent[1].1["id"], 1, "the agent's own name, not our number");
    assert_eq!(play.sent[1].1["error"]["code"], -32600);
    assert_eq!((&play.sent[2].1["id"], play.sent[2].0), (&json!(3), 3));
    assert_eq!(play.sent[3].1["id"], Value::Null);
    assert_eq!(play.ready().session, "new");
}

#[test]
fn more_requests_than_there_are_numbers_are_left_unanswered_and_the_handshake_ends_all_the_same() {
    let mut play = Play::begin(Some("old"), Some("key"));
    for number in 0..1000 {
        play.line(&format!(r#"{{"jsonrpc":"2.0","id":{number},"method":"fs/read_text_file"}}"#));
    }
    play.answers(agent(true, true)).refuses(-32000).answers(json!({}));
    play.refuses(1).refuses(1).answers(session());
    assert_eq!(play.sent.last().unwrap().0, NUMBER_MAX);
    assert_eq!(play.ready().session, "new");
}

#[test]
fn from_any_point_the_same_lines_lead_to_the_same_messages() {
    let lines = [
        json!({"jsonrpc": "2.0", "id": 5, "method": "fs/read_text_file"}),
        json!({"jsonrpc": "2.0", "id": 1, "result": agent(true, false)}),
        json!({"jsonrpc": "2.0", "id": 3, "error": {"code": -32000, "message": "m"}}),
        json!({"jsonrpc": "2.0", "id": 4, "result": {}}),
        json!({"jsonrpc": "2.0", "id": 5, "result": {}}),
    ];
    let mut whole = Play::begin(Some("old"), Some("key"));
    for cut in 0..=lines.len() {
        let mut again = Play::begin(Some("old"), Some("key"));
        lines[..cut].iter().for_each(|line| _ = again.line(&line.to_string()));
        assert_eq!(again.sent, whole.sent, "after {cut} lines");
        if let Some(line) = lines.get(cut) {
            whole.line(&line.to_string());
        }
    }
    assert!(whole.ready().resumed);
}

#[test]
fn a_ready_session_is_kept_as_it_is_named() {
    let mut play = Play::begin(None, None);
    play.answers(agent(true, false)).answers(session());
    let kept = serde_json::to_value(play.ready()).unwrap();
    assert_eq!(kept["modes"]["currentModeId"], "ask");
    assert_eq!(&serde_json::from_value::<Ready>(kept).unwrap(), play.ready());
}
