use super::*;
use crate::acp::line::{Line, parse};
use crate::acp::permission::Permission;
use proptest::prelude::*;
use serde_json::{Value, json};

fn shown_as(line: &str) -> Value {
    let text = event("t1", 42, Stream::Stdout, line.as_bytes());
    serde_json::from_slice(&text)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&text)))
}

fn skipped() -> Value {
    json!({"type": "turn.skip", "turn": "t1"})
}

fn update_line(update: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","method":"session/update","params":{{"sessionId":"s","update":{update}}}}}"#)
        + "\n"
}

fn permission_line(tool_call: &str, options: &str) -> String {
    format!(
        r#"{{"jsonrpc":"2.0","id":"p","method":"session/request_permission","params":{{"sessionId":"s","toolCall":{tool_call},"options":{options}}}}}"#
    )
}

#[test]
fn an_update_of_every_kind_and_of_no_known_one_is_passed_on_as_it_was_written() {
    let updates = [
        r#"{"sessionUpdate":"user_message_chunk","content":{"type":"text","text":"q"}}"#,
        r#"{"sessionUpdate":"agent_message_chunk","content":{"type":"text","text":"a\u00e4\/\n"}}"#,
        r#"{"sessionUpdate":"agent_thought_chunk","content":{"type":"text","text":"hm"}}"#,
        r#"{"sessionUpdate":"tool_call","toolCallId":"c","title":"t","kind":"edit","status":"pending"}"#,
        r#"{"sessionUpdate":"tool_call_update","toolCallId":"c","status":"completed","content":[]}"#,
        r#"{"sessionUpdate":"plan","entries":[{"content":"c","priority":"high","status":"pending"}]}"#,
        r#"{"sessionUpdate":"available_commands_update","availableCommands":[]}"#,
        r#"{"sessionUpdate":"current_mode_update","currentModeId":"m"}"#,
        r#"{"sessionUpdate":"usage_update","used":1,"size":2}"#,
        r#"{"sessionUpdate":"of_a_later_version","z":1,"a":[1.50, 12345678901234567890123]}"#,
        r#"{"no":"kind"}"#,
        r#"{}"#,
    ];
    for update in updates {
        let text = event("t1", 42, Stream::Stdout, update_line(update).as_bytes());
        let expected = format!(r#"{{"type":"turn.update","turn":"t1","update":{update}}}"#);
        assert_eq!(String::from_utf8(text).unwrap(), expected);
    }
}

#[test]
fn an_update_that_is_none_has_nothing_to_show() {
    for update in ["null", "1", "[]", "\"text\""] {
        assert_eq!(shown_as(&update_line(update)), skipped(), "{update}");
    }
    for params in ["null", "{}", "[]", "\"x\"", r#"[{"a":1}]"#] {
        let line = format!(r#"{{"jsonrpc":"2.0","method":"session/update","params":{params}}}"#);
        assert_eq!(shown_as(&line), skipped(), "{params}");
    }
    assert_eq!(shown_as(r#"{"jsonrpc":"2.0","method":"session/update"}"#), skipped());
    let twice = r#"{"jsonrpc":"2.0","method":"session/update","params":{"update":{},"update":{}}}"#;
    assert_eq!(shown_as(twice), skipped());
    let asked = r#"{"jsonrpc":"2.0","id":1,"method":"session/update","params":{"update":{}}}"#;
    assert_eq!(shown_as(asked), skipped(), "a request is no update");
}

#[test]
fn a_request_for_permission_is_named_by_its_turn_and_record() {
    let (call, options) = (r#"{"toolCallId":"c","z":1.0}"#, r#"[{"optionId":"a","name":"A","kind":"k"}]"#);
    let text = event("t\"1", u64::MAX, Stream::Stdout, permission_line(call, options).as_bytes());
    let expected = format!(
        r#"{{"type":"permission.requested","turn":"t\"1","request":"t\"1.18446744073709551615","tool_call":{call},"options":{options}}}"#
    );
    assert_eq!(String::from_utf8(text).unwrap(), expected);
}

#[test]
fn a_request_for_permission_is_shown_exactly_where_it_can_be_answered() {
    let calls = ["{}", "null", "[]", "1", r#"{"a":{"toolCallId":"x"}}"#];
    let options = [
        "[]",
        "null",
        "{}",
        r#"[{"optionId":"a","name":"A","kind":"allow_once"}]"#,
        r#"[{"optionId":"a"}]"#,
        r#"[{"optionId":""}]"#,
        r#"[{"optionId":1}]"#,
        r#"[{"name":"A"}]"#,
        r#"[["a","b","c"]]"#,
        r#"[{"optionId":"a"},{"optionId":"a"}]"#,
        r#"[{"optionId":"a"},{"optionId":"b"}]"#,
        r#"[null]"#,
    ];
    let (long, longer) = (format!(r#"[{{"optionId":"{}"}}]"#, "a".repeat(1024)), "a".repeat(1025));
    let longer = format!(r#"[{{"optionId":"{longer}"}}]"#);
    let many: Vec<String> = (0..65).map(|number| format!(r#"{{"optionId":"{number}"}}"#)).collect();
    let many = format!("[{}]", many.join(","));
    let mut shown = 0;
    for call in calls {
        for options in options.into_iter().chain([many.as_str(), &long, &longer]) {
            let line = permission_line(call, options);
            let Line::Request { params, .. } = parse(line.as_bytes()) else { panic!("{line}") };
            let is_shown = shown_as(&line)["type"] == "permission.requested";
            assert_eq!(is_shown, Permission::read(&params).is_ok(), "{line}");
            shown += usize::from(is_shown);
        }
    }
    assert_eq!(shown, 2 * 5);
    let told = r#"{"jsonrpc":"2.0","method":"session/request_permission","params":{"toolCall":{},"options":[{"optionId":"a"}]}}"#;
    assert_eq!(shown_as(told), skipped(), "who does not ask gets no answer");
}

#[test]
fn what_is_too_long_to_be_shown_is_said_and_what_ends_a_tool_call_is_kept() {
    let long = "x".repeat(SHOWN_BYTES_MAX);
    let said =
        |line: &str| json!({"type": "turn.skip", "turn": "t1", "reason": "too_long", "bytes": line.len()});
    let image =
        update_line(&format!(r#"{{"sessionUpdate":"agent_message_chunk","content":{{"data":"{long}"}}}}"#));
    assert_eq!(shown_as(&image), said(&image));
    let asked = permission_line(&format!(r#"{{"title":"{long}"}}"#), r#"[{"optionId":"a"}]"#);
    assert_eq!(shown_as(&asked), said(&asked));
    assert_eq!(
        shown_as(&long),
        json!({"type": "turn.output", "turn": "t1", "stream": "stdout", "text": long})
    );
    let rubbish = format!("{long}x");
    assert_eq!(shown_as(&rubbish), said(&rubbish));
    for line in [
        format!(r#"{{"jsonrpc":"2.0","id":16,"result":{{"stopReason":"end_turn","_meta":"{long}"}}}}"#),
        format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"fs/write_text_file","params":{{"content":"{long}"}}}}"#
        ),
    ] {
        assert_eq!(shown_as(&line), skipped(), "nothing of it would be shown");
    }
    let done = update_line(&format!(
        r#"{{"sessionUpdate":"tool_call_update","content":[{{"newText":"{long}"}}],"status":"completed","toolCallId":"c"}}"#
    ));
    let update = json!({"sessionUpdate": "tool_call_update", "toolCallId": "c", "status": "completed"});
    let expected = json!({
        "type": "turn.update", "turn": "t1", "update": update, "reason": "too_long", "bytes": done.len()
    });
    assert_eq!(shown_as(&done), expected);
    let titled = done.replace(r#""status""#, &format!(r#""title":"{long}","status""#));
    assert_eq!(shown_as(&titled)["update"], update);
    let nameless = done.replace(r#","toolCallId":"c""#, "");
    assert_eq!(shown_as(&nameless), said(&nameless));
}

#[test]
fn what_is_between_the_programs_is_not_shown() {
    for line in [
        r#"{"jsonrpc":"2.0","id":16,"result":{"stopReason":"end_turn"}}"#,
        r#"{"jsonrpc":"2.0","id":16,"error":{"code":1,"message":"m"}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"fs/read_text_file","params":{"path":"/x"}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"terminal/create","params":{"command":"x"}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"_vendor/thing","params":{}}"#,
        r#"{"jsonrpc":"2.0","method":"_vendor/thing"}"#,
        "",
        "\n",
        "  \r\n",
    ] {
        assert_eq!(shown_as(line), skipped(), "{line}");
    }
}

#[test]
fn junk_and_standard_error_are_output() {
    for junk in ["hello\n", "{\"half\":", "[1]\n", "{\"jsonrpc\":\"1.0\",\"method\":\"session/update\"}\n"] {
        let event = json!({"type": "turn.output", "turn": "t1", "stream": "stdout", "text": junk});
        assert_eq!(shown_as(junk), event);
    }
    let update = update_line("{}");
    let text = event("t1", 1, Stream::Stderr, update.as_bytes());
    let text: Value = serde_json::from_slice(&text).unwrap();
    assert_eq!((&text["stream"], &text["text"]), (&json!("stderr"), &json!(update)));
    let text = event("t1", 1, Stream::Stdout, b"{\"jsonrpc\":\"2.0\",\"method\":\"\xff\"}");
    let text: Value = serde_json::from_slice(&text).unwrap();
    assert_eq!(text["text"], "{\"jsonrpc\":\"2.0\",\"method\":\"\u{fffd}\"}");
}

#[test]
fn a_line_over_the_bound_is_not_shown() {
    let frame = update_line(r#"{"t":""}"#).len();
    let at = update_line(&format!(r#"{{"t":"{}"}}"#, "x".repeat(SHOWN_BYTES_MAX - frame)));
    assert_eq!(at.len(), SHOWN_BYTES_MAX);
    assert_eq!(shown_as(&at)["type"], "turn.update");
    let over = update_line(&format!(r#"{{"t":"{}"}}"#, "x".repeat(SHOWN_BYTES_MAX - frame + 1)));
    assert_eq!(shown_as(&over)["reason"], "too_long");
    assert_eq!(shown_as(&"x".repeat(SHOWN_BYTES_MAX + 1))["reason"], "too_long");
}

#[test]
fn every_reader_can_read_what_is_passed_on() {
    let half = shown_as(&update_line(r#"{"t":"cut \ud83e"}"#));
    assert_eq!(half["update"]["t"], "cut \u{fffd}");
    assert_eq!(shown_as(&update_line(r#"{"n":1e999}"#))["type"], "turn.output");
    let deep = |depth: usize| update_line(&format!(r#"{{"d":{}{}}}"#, "[".repeat(depth), "]".repeat(depth)));
    assert_eq!(shown_as(&deep(93))["type"], "turn.update");
    assert_eq!(shown_as(&deep(94))["type"], "turn.output");
}

proptest! {
    #[test]
    fn whatever_comes_is_one_event_of_its_turn(
        bytes in prop::collection::vec(any::<u8>(), 0..300), turn in ".{0,10}", stderr: bool,
    ) {
        let stream = if stderr { Stream::Stderr } else { Stream::Stdout };
        let event: Value = serde_json::from_slice(&event(&turn, 1, stream, &bytes)).unwrap();
        prop_assert_eq!(event["turn"].as_str(), Some(turn.as_str()));
    }

    #[test]
    fn whatever_an_update_holds_the_event_is_json(inner in r#"[a-f0-9\\ud8"{}\[\],:e.-]{0,60}"#) {
        let text = event("t", 1, Stream::Stdout, update_line(&format!("{{\"a\":{inner}}}")).as_bytes());
        prop_assert!(serde_json::from_slice::<Value>(&text).is_ok());
    }
}
