use super::*;
use crate::acp::outgoing;
use proptest::prelude::*;
use serde_json::json;

fn request(id: &str, method: &str, params: Value) -> Line {
    Line::Request { id: RequestId::new(id).unwrap(), method: method.to_owned(), params }
}

fn notification(method: &str, params: Value) -> Line {
    Line::Notification { method: method.to_owned(), params }
}

fn result(id: Option<u64>, result: Value) -> Line {
    Line::Response { id, outcome: Ok(result) }
}

fn error(id: Option<u64>, code: i64, message: &str, data: Value) -> Line {
    Line::Response { id, outcome: Err(RpcError { code, message: message.to_owned(), data }) }
}

/// One kind of test: lines and what they are.
fn check(cases: Vec<(&str, Line)>) {
    for (text, expected) in cases {
        assert_eq!(parse(text.as_bytes()), expected, "{text:.200}");
    }
}

#[test]
fn requests_notifications_and_answers_are_told_apart() {
    check(vec![
        (r#"{"jsonrpc":"2.0","id":1,"method":"m","params":{"a":1}}"#, request("1", "m", json!({"a": 1}))),
        (r#"{"jsonrpc":"2.0","id":1,"method":"m"}"#, request("1", "m", Value::Null)),
        (r#"{"jsonrpc":"2.0","id":1,"method":"m","params":[1]}"#, request("1", "m", json!([1]))),
        (r#"{"jsonrpc":"2.0","method":"m","params":{}}"#, notification("m", json!({}))),
        (r#"{"jsonrpc":"2.0","id":7,"result":{"x":2}}"#, result(Some(7), json!({"x": 2}))),
        (r#"{"jsonrpc":"2.0","id":7,"result":null}"#, result(Some(7), Value::Null)),
        (
            r#"{"jsonrpc":"2.0","id":7,"error":{"code":-32000,"message":"no","data":{"d":1}}}"#,
            error(Some(7), -32000, "no", json!({"d": 1})),
        ),
    ]);
}

#[test]
fn what_writers_do_beside_the_rules_is_read() {
    check(vec![
        // Fields that are not known, any order, white space, a carriage return before the newline.
        (
            " {\"later\":[1], \"params\":null,\"method\":\"m\",\t\"id\":3, \"jsonrpc\":\"2.0\"}\r\n",
            request("3", "m", Value::Null),
        ),
        // A writer that escapes every slash.
        (r#"{"jsonrpc":"2.0","method":"session\/update"}"#, notification("session/update", Value::Null)),
        (r#"{"jsonrpc":"\u0032.0","method":"m"}"#, notification("m", Value::Null)),
        // An answer with both, one of which is null.
        (r#"{"jsonrpc":"2.0","id":1,"result":5,"error":null}"#, result(Some(1), json!(5))),
        (
            r#"{"jsonrpc":"2.0","id":1,"result":null,"error":{"code":1,"message":"m"}}"#,
            error(Some(1), 1, "m", Value::Null),
        ),
        // A result that is undefined in JavaScript is left out when it is written.
        (r#"{"jsonrpc":"2.0","id":1}"#, result(Some(1), Value::Null)),
    ]);
}

#[test]
fn an_id_of_every_legal_kind_is_given_back_as_it_was_written() {
    let ids = [
        "0",
        "1",
        "-1",
        "-0",
        "1.5",
        "1.0",
        "1e3",
        "123456789012345678901234567890",
        "18446744073709551616",
        "9007199254740993",
        "null",
        r#""""#,
        r#""a""#,
        r#""1""#,
        r#""null""#,
        r#""\u0061""#,
        r#""häß 世界 🦀""#,
        r#""\ud83e\udd80""#,
        r#""a\"b\\c\n""#,
        r#""550e8400-e29b-41d4-a716-446655440000""#,
    ];
    for id in ids {
        let line = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"m"}}"#);
        assert_eq!(parse(line.as_bytes()), request(id, "m", Value::Null), "{id}");
        let reply = outgoing::reply_result(&RequestId::new(id).unwrap(), &json!({}));
        let expected = format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":{{}}}}\n");
        assert_eq!(String::from_utf8(reply).unwrap(), expected, "{id}");
    }
    let long = format!("\"{}\"", "x".repeat(ID_BYTES_MAX - 2));
    let line = format!(r#"{{"jsonrpc":"2.0","id":{long},"method":"m"}}"#);
    assert_eq!(parse(line.as_bytes()), request(&long, "m", Value::Null));
    assert_eq!(RequestId::new(&format!("\"{}\"", "x".repeat(ID_BYTES_MAX - 1))), None);
}

#[test]
fn an_id_of_another_kind_makes_no_message() {
    for id in ["1e400", "01", "NaN", "'a'", "", "\"a"] {
        let line = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"m"}}"#);
        assert_eq!(parse(line.as_bytes()), Line::Junk, "{id}");
        assert_eq!(RequestId::new(id).is_some(), id == "1e400", "{id}: a number, but no line holds it");
    }
}

#[test]
fn what_would_be_a_request_and_is_none_is_told_from_what_is_no_message() {
    let invalid = |id: &str| Line::Invalid { id: RequestId::new(id).unwrap() };
    let long = format!("\"{}\"", "x".repeat(ID_BYTES_MAX - 1));
    for id in ["true", "false", "[]", "[1]", "{}", "{\"a\":1}", &long] {
        assert_eq!(RequestId::new(id), None, "{id}");
        let line = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"m"}}"#);
        assert_eq!(parse(line.as_bytes()), invalid("null"), "{id:.20}");
        let answer = format!(r#"{{"jsonrpc":"2.0","id":{id},"result":1}}"#);
        assert_eq!(parse(answer.as_bytes()), Line::Junk, "{id:.20}");
    }
    check(vec![
        (r#"{"jsonrpc":"2.0","id":5,"method":7,"params":{}}"#, invalid("5")),
        (r#"{"jsonrpc":"2.0","id":"a","method":null}"#, invalid("\"a\"")),
        (r#"{"jsonrpc":"2.0","id":1,"method":["m"]}"#, invalid("1")),
        (r#"{"id":5,"method":7}"#, Line::Junk),
        (r#"{"id":5,"method":"fs/read_text_file","params":{}}"#, Line::Junk),
        (r#"{"jsonrpc":"2.0","method":7}"#, Line::Junk),
    ]);
}

#[test]
fn two_requests_of_one_id_are_two_lines_of_one_name() {
    let line = br#"{"jsonrpc":"2.0","id":"a","method":"m"}"#;
    assert_eq!(parse(line), parse(line));
    let ids: Vec<_> = ["1", "1.0", "\"1\"", "\"\\u0031\""].iter().map(|id| RequestId::new(id)).collect();
    for (index, id) in ids.iter().enumerate() {
        assert!(id.is_some() && !ids[..index].contains(id), "names are compared as they are written: {id:?}");
    }
}

#[test]
fn an_answer_is_ours_only_by_a_number_that_we_could_have_given() {
    let cases = [
        ("0", Some(0)),
        ("16", Some(16)),
        ("16.0", Some(16)),
        ("18446744073709551615", Some(u64::MAX)),
        ("18446744073709551616", None),
        ("-1", None),
        ("1.5", None),
        ("1e2", None),
        ("null", None),
        ("\"16\"", None),
        ("\"\"", None),
    ];
    for (id, expected) in cases {
        let line = format!(r#"{{"jsonrpc":"2.0","id":{id},"result":1}}"#);
        assert_eq!(parse(line.as_bytes()), result(expected, json!(1)), "{id}");
    }
}

#[test]
fn an_error_however_badly_formed_stays_an_error() {
    let unnamed = "the agent answered with an error without a message";
    let of = |text: &str| parse(format!(r#"{{"jsonrpc":"2.0","id":1,"error":{text}}}"#).as_bytes());
    assert_eq!(of("{}"), error(Some(1), -32603, unnamed, Value::Null));
    assert_eq!(of(r#""text""#), error(Some(1), -32603, unnamed, Value::Null));
    assert_eq!(of("true"), error(Some(1), -32603, unnamed, Value::Null));
    assert_eq!(of(r#"{"code":"x","message":""}"#), error(Some(1), -32603, unnamed, Value::Null));
    assert_eq!(of(r#"{"code":-32000.0,"message":"m"}"#), error(Some(1), -32000, "m", Value::Null));
    assert_eq!(of(r#"{"code":1.5,"message":"m"}"#), error(Some(1), -32603, "m", Value::Null));
    assert_eq!(of(r#"{"code":1e300,"message":"m"}"#), error(Some(1), -32603, "m", Value::Null));
}

#[test]
fn what_is_no_message_is_junk() {
    let cases: &[&[u8]] = &[
        b"",
        b"\n",
        b"   ",
        b"hello",
        b"null",
        b"1",
        b"\"text\"",
        b"{}",
        b"[]",
        // Half lines, and two in one.
        br#"{"jsonrpc":"2.0","method":"m""#,
        br#""method":"m"}"#,
        br#"{"jsonrpc":"2.0","method":"m"}{"jsonrpc":"2.0","method":"m"}"#,
        br#"{"jsonrpc":"2.0","method":"m"} trailing"#,
        br#"{"jsonrpc":"2.0","method":"m"},"#,
        // Batches: ACP has none, and one line is one event.
        br#"[{"jsonrpc":"2.0","method":"m"}]"#,
        br#"[{"jsonrpc":"2.0","id":1,"method":"m"},{"jsonrpc":"2.0","id":2,"method":"m"}]"#,
        // The members in order would do for serde.
        br#"["2.0",1,"m",{},1,1]"#,
        // Other versions, and none.
        br#"{"jsonrpc":"1.0","id":1,"method":"m"}"#,
        br#"{"jsonrpc":2.0,"id":1,"method":"m"}"#,
        br#"{"jsonrpc":"2.00","id":1,"method":"m"}"#,
        br#"{"jsonrpc":null,"id":1,"method":"m"}"#,
        br#"{"id":1,"method":"GET","params":{"path":"/"}}"#,
        br#"{"level":"info","msg":"a log line"}"#,
        // Neither a method nor an id.
        br#"{"jsonrpc":"2.0"}"#,
        br#"{"jsonrpc":"2.0","result":1}"#,
        // A field named twice.
        br#"{"jsonrpc":"2.0","id":1,"id":2,"method":"m"}"#,
        br#"{"jsonrpc":"2.0","id":1,"method":"m","method":"n"}"#,
        // Invalid UTF-8, in a text and beside it; a byte order mark; NULs.
        b"{\"jsonrpc\":\"2.0\",\"method\":\"m\",\"params\":\"\xff\"}",
        b"\xfe{\"jsonrpc\":\"2.0\",\"method\":\"m\"}",
        b"\xef\xbb\xbf{\"jsonrpc\":\"2.0\",\"method\":\"m\"}",
        b"{\"jsonrpc\":\"2.0\",\"method\":\"m\"}\0",
        b"\0\0\0\0",
        // Control characters in a text must be escaped.
        b"{\"jsonrpc\":\"2.0\",\"method\":\"a\x1bb\"}",
    ];
    for text in cases {
        assert_eq!(parse(text), Line::Junk, "{}", String::from_utf8_lossy(text));
    }
}

#[test]
fn every_shorter_beginning_of_a_message_is_junk() {
    let line = r#"{"jsonrpc":"2.0","id":"ä","method":"m","params":{"a":[1,{"b":"\"}"}]}}"#;
    for length in 0..line.len() {
        assert_eq!(parse(&line.as_bytes()[..length]), Line::Junk, "{length} bytes");
    }
    assert_ne!(parse(line.as_bytes()), Line::Junk);
}

#[test]
fn nesting_has_an_end() {
    let nested = |depth: usize| {
        let (open, close) = ("[".repeat(depth), "]".repeat(depth));
        format!(r#"{{"jsonrpc":"2.0","id":1,"method":"m","params":{open}{close}}}"#)
    };
    assert!(matches!(parse(nested(95).as_bytes()), Line::Request { params: Value::Array(_), .. }));
    assert_eq!(parse(nested(96).as_bytes()), Line::Junk);
    assert_eq!(parse(nested(1_000_000).as_bytes()), Line::Junk);
    assert_eq!(parse(&b"[".repeat(4 * 1024 * 1024)), Line::Junk);
    let brackets_in_text = format!(r#"{{"jsonrpc":"2.0","method":"m","params":["{}"]}}"#, "[{".repeat(1000));
    assert!(matches!(parse(brackets_in_text.as_bytes()), Line::Notification { .. }));
}

#[test]
fn a_huge_line_is_a_line() {
    let text = "ä\\n".repeat(1024 * 1024);
    let line = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"m","params":{{"content":"{text}"}}}}"#);
    let Line::Request { params, .. } = parse(line.as_bytes()) else { panic!("no request") };
    assert_eq!(params["content"].as_str().unwrap().len(), 3 * 1024 * 1024);
}

#[test]
fn what_only_some_can_read_is_mended_or_junk() {
    let params = |text: &str| {
        let line = format!(r#"{{"jsonrpc":"2.0","method":"m","params":{text}}}"#);
        match parse(line.as_bytes()) {
            Line::Notification { params, .. } => Some(params),
            _ => None,
        }
    };
    // Half surrogate pairs, which JavaScript writes when a text is cut between the two.
    assert_eq!(params(r#""a\ud83e""#), Some(json!("a\u{fffd}")));
    assert_eq!(params(r#""\udd80b""#), Some(json!("\u{fffd}b")));
    assert_eq!(params(r#""\ud83e\ud83e\udd80""#), Some(json!("\u{fffd}🦀")));
    assert_eq!(params(r#""\uDD80\uD83E""#), Some(json!("\u{fffd}\u{fffd}")));
    assert_eq!(params(r#""\\ud83e""#), Some(json!("\\ud83e")), "no escape of a surrogate at all");
    assert_eq!(params(r#"{"\ud83e":"\ud83e\udd80"}"#), Some(json!({"\u{fffd}": "🦀"})));
    // Numbers without a finite value.
    assert_eq!(params("1e400"), None);
    assert_eq!(params(&"9".repeat(400)), None);
    assert_eq!(params("1e4"), Some(json!(10_000.0)));
    assert_eq!(params(&format!("0.{}", "1".repeat(400))).unwrap().as_f64(), Some(1.0 / 9.0));
    assert_eq!(params("[true,false,null]"), Some(json!([true, false, null])));
}

#[test]
fn an_id_is_kept_as_text_and_only_an_id_is_read_from_one() {
    for id in ["1", "\"a\"", "null", "-0.50"] {
        let id = RequestId::new(id).unwrap();
        let kept = serde_json::to_string(&id).unwrap();
        assert_eq!(serde_json::from_str::<RequestId>(&kept).unwrap(), id);
    }
    for kept in ["\"[]\"", "\"a\"", "\"1 2\"", "1", "\"\""] {
        assert!(serde_json::from_str::<RequestId>(kept).is_err(), "{kept}");
    }
    assert_eq!(RequestId::new(" 7 ").unwrap().as_json(), "7");
}

#[test]
fn an_error_says_what_is_in_its_data_and_no_more_than_people_read() {
    let of = |data: Value| RpcError { code: -1, message: "m".to_owned(), data }.to_string();
    assert_eq!(of(Value::Null), "m (code -1)");
    assert_eq!(of(json!("why")), "m (code -1): why");
    assert_eq!(of(json!({"details": "why"})), "m (code -1): why");
    assert_eq!(of(json!({"details": 5})), "m (code -1)");
    assert!(of(json!("x".repeat(1_000_000))).len() < 2000);
}

proptest! {
    #[test]
    fn whatever_bytes_come_nothing_panics_and_the_same_is_read_again(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        prop_assert_eq!(parse(&bytes), parse(&bytes));
    }

    #[test]
    fn whatever_a_message_says_is_read_or_junk(
        id in r#"(0|-?[1-9][0-9]{0,30}|"[a-z\\u0d8-f]{0,12}"|null)"#,
        text in r#"[a-f0-9\\u"{}\[\], :e.+-]{0,60}"#,
    ) {
        let line = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"m","params":[{text}]}}"#);
        if let Line::Request { id: read, .. } = parse(line.as_bytes()) {
            prop_assert!(RequestId::new(read.as_json()).is_some());
        }
    }
}
