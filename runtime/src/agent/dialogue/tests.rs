use super::requests::WITHDRAWN;
use super::*;
use crate::acp::line::RequestId;
use crate::span::StopReason;

fn take(dialogue: &mut Dialogue, seq: u64, line: &str) {
    let mut text = line.as_bytes().to_vec();
    text.push(b'\n');
    dialogue.take(seq, Stream::Stdout, false, &Bytes::from(text));
}

fn turn(lines: &[&str]) -> Dialogue {
    let mut dialogue = Dialogue::default();
    dialogue.begin_turn();
    for (seq, line) in (1..).zip(lines) {
        take(&mut dialogue, seq, line);
    }
    dialogue
}

fn wanted() -> Wanted {
    Wanted { version: "1".into(), cwd: "/w".into(), session: None, authenticate: None }
}

const PERMISSION: &str = r#"{"jsonrpc":"2.0","id":"p","method":"session/request_permission","params":{"sessionId":"s","toolCall":{"toolCallId":"c"},"options":[{"optionId":"y","name":"Yes","kind":"allow_once"}]}}"#;

const READ: &str = r#"{"jsonrpc":"2.0","id":1,"method":"fs/read_text_file","params":{"path":"/w/a"}}"#;

#[test]
fn requests_answers_and_use_are_heard_and_all_else_is_passed_over() {
    let dialogue = turn(&[
        r#"{"jsonrpc":"2.0","method":"session/update","params":{"update":{"sessionUpdate":"agent_message_chunk"}}}"#,
        r#"{"jsonrpc":"2.0","method":"session/update","params":{"update":{"sessionUpdate":"usage_update","used":5,"size":9}}}"#,
        r#"{"jsonrpc":"2.0","method":"session/update","params":{"update":{"sessionUpdate":"current_mode_update","currentModeId":"ask"}}}"#,
        PERMISSION,
        r#"{"jsonrpc":"2.0","id":null,"method":"fs/read_text_file","params":{"path":"/w/a"}}"#,
        r#"{"jsonrpc":"2.0","\u0069d":7,"method":"odd/method"}"#,
        "rubbish \"id\"",
        r#"{"jsonrpc":"2.0","id":17,"result":{"stopReason":"end_turn","usage":{"inputTokens":3}}}"#,
    ]);
    let seqs: Vec<u64> = dialogue.requests_behind(0).map(|(seq, _)| seq).collect();
    assert_eq!(seqs, [4, 5, 6]);
    assert!(dialogue.request_at(4).unwrap().permission().unwrap().option("y").is_some());
    assert!(matches!(dialogue.request_at(5).unwrap().asked, Ok(Asked::ReadFile { .. })));
    assert!(dialogue.request_at(6).unwrap().asked.is_err(), "no such method");
    let said: Vec<(u64, &Said)> = dialogue.said_behind(0).collect();
    let answered = Said::Answered { number: 17, refused: false };
    assert_eq!(said, [(3, &Said::Mode("ask".into())), (8, &answered)]);
    assert_eq!(dialogue.said_behind(3).count(), 1);
    let response = dialogue.response(17).unwrap();
    assert_eq!(response.ending.stop_reason, StopReason::EndTurn);
    assert_eq!((response.usage.used, response.usage.input_tokens), (Some(5), Some(3)));
    assert_eq!(dialogue.response(16), None);
}

#[test]
fn what_is_written_on_standard_error_before_a_turn_is_kept_and_no_more() {
    let mut dialogue = Dialogue::default();
    dialogue.take(1, Stream::Stderr, false, &Bytes::from_static(b"FATAL: no api key\n"));
    take(&mut dialogue, 2, "of standard output");
    assert_eq!(dialogue.last_words().as_deref(), Some("FATAL: no api key"));
    dialogue.begin_turn();
    dialogue.take(3, Stream::Stderr, false, &Bytes::from_static(b"of the turn\n"));
    assert_eq!(dialogue.last_words(), None);
}

#[test]
fn parts_make_a_line_named_by_its_last_and_a_new_turn_forgets_all() {
    let mut dialogue = turn(&[]);
    let (front, back) = PERMISSION.split_at(100);
    dialogue.take(1, Stream::Stdout, true, &Bytes::copy_from_slice(front.as_bytes()));
    dialogue.take(2, Stream::Stderr, false, &Bytes::from_static(b"between\n"));
    dialogue.take(3, Stream::Stdout, false, &Bytes::copy_from_slice(back.as_bytes()));
    assert!(dialogue.request_at(3).is_some());
    dialogue.begin_turn();
    assert_eq!(dialogue.requests_behind(0).count(), 0);
}

#[test]
fn a_line_that_a_turn_begins_in_is_whole_and_named_by_its_last_part() {
    for opening in [true, false] {
        let mut dialogue = Dialogue::default();
        if !opening {
            dialogue.begin_turn();
        }
        let (front, back) = PERMISSION.split_at(100);
        dialogue.take(1, Stream::Stdout, true, &Bytes::copy_from_slice(front.as_bytes()));
        dialogue.begin_turn();
        dialogue.take(2, Stream::Stdout, false, &Bytes::copy_from_slice(back.as_bytes()));
        // Its turn shows only the end of it: refused rather than waited for.
        assert!(dialogue.request_at(2).unwrap().permission().is_none());
    }
}

#[test]
fn what_was_asked_of_files_before_a_turn_is_still_to_be_answered_in_it() {
    let mut dialogue = turn(&[READ, READ, PERMISSION, READ]);
    dialogue.settle(2, [2].into());
    dialogue.begin_turn();
    take(&mut dialogue, 5, READ);
    let held: Vec<u64> = dialogue.requests_behind(0).map(|(seq, _)| seq).collect();
    assert_eq!(held, [2, 4, 5]);
}

#[test]
fn a_permission_that_nobody_is_shown_waits_for_nobody() {
    let refused = |dialogue: &Dialogue, seq| dialogue.request_at(seq).unwrap().asked.is_err();
    let long = PERMISSION.replace(r#""c""#, &format!(r#""{}""#, "c".repeat(SHOWN_BYTES_MAX)));
    let mut dialogue = turn(&[&long, PERMISSION]);
    assert!(refused(&dialogue, 1) && !refused(&dialogue, 2));
    let (front, back) = PERMISSION.split_at(100);
    let part = |dialogue: &mut Dialogue, seq, more, part: &str| {
        dialogue.take(seq, Stream::Stdout, more, &Bytes::copy_from_slice(part.as_bytes()));
    };
    for (first, last) in [(10, 10 + LINE_RECORDS - 1), (1000, 1000 + LINE_RECORDS)] {
        part(&mut dialogue, first, true, front);
        part(&mut dialogue, last, false, back);
        assert_eq!(refused(&dialogue, last), last - first >= LINE_RECORDS);
    }
    part(&mut dialogue, 5000, true, front);
    dialogue.begin_turn();
    part(&mut dialogue, 5001, false, back);
    assert!(refused(&dialogue, 5001), "its turn has only the end of the line");
    take(&mut dialogue, 5002, PERMISSION);
    assert!(!refused(&dialogue, 5002));
}

#[test]
fn a_flood_of_requests_is_heard_only_so_far() {
    let mut dialogue = turn(&[]);
    for seq in 1..=(REQUESTS + 10) as u64 {
        take(&mut dialogue, seq, PERMISSION);
    }
    assert_eq!(dialogue.requests_behind(0).count(), REQUESTS);
    dialogue.forget(1);
    assert_eq!(dialogue.requests_behind(0).next().unwrap().0, 2);
}

#[test]
fn what_was_taken_long_ago_is_not_held_by_whoever_reads_it_again() {
    let mut dialogue = Dialogue::default();
    dialogue.settle(3, [2].into());
    dialogue.begin_turn();
    for seq in 1..=3 {
        take(&mut dialogue, seq, READ);
    }
    take(&mut dialogue, 4, PERMISSION);
    take(&mut dialogue, 5, READ);
    let held = |dialogue: &Dialogue| dialogue.requests_behind(0).map(|(seq, _)| seq).collect::<Vec<u64>>();
    assert_eq!(held(&dialogue), [2, 4, 5]);
    dialogue.settle(5, BTreeSet::new());
    assert_eq!(held(&dialogue), [4], "people answer that one");
}

#[test]
fn a_file_that_is_too_much_to_be_held_is_refused() {
    let mut dialogue = turn(&[]);
    let content = "x".repeat(3 * 1024 * 1024);
    let line = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"fs/write_text_file","params":{{"path":"/w/a","content":"{content}"}}}}"#
    );
    for seq in 1..=7 {
        take(&mut dialogue, seq, &line);
    }
    let taken = dialogue.requests_behind(0).filter(|(_, request)| request.asked.is_ok()).count();
    assert_eq!(taken, REQUEST_BYTES / line.len());
}

#[test]
fn the_handshake_follows_from_the_lines_alone() {
    let mut dialogue = Dialogue::default();
    assert_eq!(dialogue.opened(wanted()).unwrap().messages.len(), 1);
    take(&mut dialogue, 1, "starting ...");
    take(&mut dialogue, 2, r#"{"jsonrpc":"2.0","id":1,"result":{"protocolVersion":1}}"#);
    assert_eq!(dialogue.opened(wanted()).unwrap().messages.len(), 2);
    take(&mut dialogue, 3, PERMISSION);
    take(&mut dialogue, 4, r#"{"jsonrpc":"2.0","id":2,"result":{"sessionId":"s"}}"#);
    take(&mut dialogue, 5, PERMISSION);
    let opened = dialogue.opened(wanted()).unwrap();
    assert!(matches!(&opened.progress, Progress::Ready(ready) if ready.session == "s"));
    assert_eq!((opened.seq, opened.messages.len()), (4, 3), "one refusal among them");
    assert_eq!(
        dialogue.requests_behind(opened.seq).count(),
        1,
        "what comes later is a request like any other"
    );
    dialogue.begin_turn();
    assert_eq!(dialogue.opened(wanted()), None);
}

/// A line past the bound: what it begins with, filled up.
fn too_long(front: &str, back: &str) -> String {
    format!(r#"{front}\"{}\\\"id\":1{back}"#, "x".repeat(LINE_BYTES_MAX))
}

#[test]
fn a_message_past_the_bound_is_refused_or_counts_as_an_error_and_none_waits() {
    let request = r#"{"jsonrpc":"2.0","method":"fs/write_text_file","params":{"id":9,"content":""#;
    let answer = r#"{"jsonrpc":"2.0","result":{"stopReason":"end_turn","_meta":""#;
    let update = r#"{"jsonrpc":"2.0","method":"session/update","params":{"id":9,"update":""#;
    let mut dialogue = turn(&[
        &too_long(request, r#""},"id":"w"}"#),
        &too_long(answer, r#""},"id":17}"#),
        &too_long(update, r#""}}"#),
        &too_long(r#"{"level":"info","id":1,"method":"m","text":""#, r#""}"#),
        &too_long("noise ", ""),
    ]);
    let asked = dialogue.requests_behind(0).map(|(seq, request)| (seq, request.id.as_json()));
    assert_eq!(asked.collect::<Vec<_>>(), [(1, r#""w""#)]);
    assert_eq!(dialogue.request_at(1).unwrap().asked, Err(Refusal::too_long()));
    let response = dialogue.response(17).unwrap();
    assert_eq!((&response.ending, response.seq), (&Ending::too_long(), 2));
    assert_eq!(response.ending.stop_reason, StopReason::Failed);
    let answered = Said::Answered { number: 17, refused: true };
    assert_eq!(dialogue.said_behind(0).collect::<Vec<_>>(), [(2, &answered)]);
    assert!(!dialogue.is_unclear());
    take(&mut dialogue, 6, &too_long(r#"{"jsonrpc":"2.0","id":{},"method":"m","params":""#, r#""}"#));
    assert!(dialogue.is_unclear());
    dialogue.begin_turn();
    assert!(dialogue.is_unclear(), "who asked it waits on");
    take(&mut dialogue, 7, READ);
    assert!(dialogue.request_at(7).unwrap().asked.is_ok());
}

#[test]
fn a_handshake_that_is_answered_past_the_bound_fails_as_by_an_error() {
    let mut dialogue = Dialogue::default();
    take(&mut dialogue, 1, &too_long(r#"{"jsonrpc":"2.0","id":1,"result":{"_meta":""#, r#""}}"#));
    let progress = dialogue.opened(wanted()).unwrap().progress;
    let Progress::Failed(error) = progress else { panic!("{progress:?}") };
    assert!(error.to_string().contains("the answer is longer than 16777216 bytes"), "{error}");
}

#[test]
fn a_request_that_is_withdrawn_before_it_is_taken_is_refused() {
    let withdraw = |id: &str| {
        format!(r#"{{"jsonrpc":"2.0","method":"$/cancel_request","params":{{"requestId":{id}}}}}"#)
    };
    let read = |id: &str| READ.replace(r#""id":1"#, &format!(r#""id":{id}"#));
    let mut dialogue = turn(&[&read("1"), PERMISSION, &read("2"), &read(r#""\u0061""#), &withdraw("1")]);
    let is_refused =
        |dialogue: &Dialogue, seq| dialogue.request_at(seq).unwrap().asked == Err(Refusal::cancelled());
    assert!(is_refused(&dialogue, 1) && !is_refused(&dialogue, 3));
    take(&mut dialogue, 6, &read("1"));
    take(&mut dialogue, 7, &withdraw(r#""a""#));
    take(&mut dialogue, 8, &withdraw(r#""p""#));
    assert!(is_refused(&dialogue, 4) && !is_refused(&dialogue, 6), "asked for after that");
    let permission = dialogue.request_at(2).unwrap();
    assert!(permission.permission().is_some() && dialogue.is_withdrawn(2, permission.name()));
    assert!(!dialogue.is_withdrawn(8, permission.name()));
    // What is taken is served.
    dialogue.settle(3, [3].into());
    take(&mut dialogue, 9, &withdraw("2"));
    assert!(!is_refused(&dialogue, 3));
    let id = permission_id();
    dialogue.begin_turn();
    assert!(dialogue.is_withdrawn(2, &id.canonical()), "a wait may be longer than a turn");
    for (seq, odd) in (10..).zip([r#"{"a":1}"#, "true", &format!("\"{}\"", "x".repeat(5000))]) {
        take(&mut dialogue, seq, &withdraw(odd));
    }
    (20..20 + 2 * WITHDRAWN as u64).for_each(|seq| take(&mut dialogue, seq, &withdraw("3")));
    assert_eq!(dialogue.requests.withdrawn.len(), WITHDRAWN);
    assert_eq!(dialogue.requests.last_withdrawn.len(), 1, "one name, and what was pushed out is forgotten");
}

fn permission_id() -> RequestId {
    RequestId::new(r#""p""#).unwrap()
}

#[test]
fn what_is_no_valid_request_is_refused_by_the_name_that_it_has() {
    let dialogue = turn(&[
        r#"{"jsonrpc":"2.0","id":5,"method":7}"#,
        r#"{"jsonrpc":"2.0","id":{},"method":"fs/read_text_file"}"#,
    ]);
    let asked: Vec<(&str, bool)> = dialogue
        .requests_behind(0)
        .map(|(_, request)| (request.id.as_json(), request.asked == Err(Refusal::malformed())))
        .collect();
    assert_eq!(asked, [("5", true), ("null", true)]);
}
