use super::*;
use crate::span::{Seal, StopReason};
use serde_json::json;

fn turn(first: u64, outputs: u64, cumulative_bytes: u64, bytes: u64) -> Filed {
    let mut span = Span::begin("c", "e", first, &format!("t{first}"), json!({}));
    span.worker = Some(format!("w{first}"));
    let seal = Seal::new(StopReason::EndTurn, None, 1, outputs);
    span.seal(json!({}), seal).unwrap();
    Filed {
        format: FILED_FORMAT,
        cumulative_bytes,
        body: FiledBody::Turn { span, bytes, index: vec![(1, 64)] },
    }
}

/// Turns of 3 events each, 100 bytes each.
fn turns(count: u64) -> Vec<Filed> {
    (0..count).map(|n| turn(1 + 3 * n, 1, 100 * (n + 1), 100)).collect()
}

fn marker(filed: &Filed) -> (u64, u64, &str, usize) {
    match &filed.body {
        FiledBody::Truncated(t) => (t.first, t.last, &t.turn, t.workers.len()),
        FiledBody::Turn { .. } => panic!("a turn"),
    }
}

#[test]
fn as_many_of_the_oldest_go_as_must() {
    let files = turns(5);
    assert_eq!(truncate(&files[..4], 500, 500), None);
    let once = truncate(&files[..4], 500, 499).unwrap();
    assert_eq!(marker(&once), (1, 3, "t1", 1));
    assert_eq!(once.cumulative_bytes, 100);
    let most = truncate(&files[..4], 500, 150).unwrap();
    assert_eq!(marker(&most), (1, 12, "t10", 4));
    assert_eq!(truncate(&files[..4], 500, 0).unwrap(), most, "what must stay is not named");
    assert_eq!(truncate(&[], 500, 0), None);
}

#[test]
fn a_marker_is_extended_and_alone_it_stays() {
    let files = turns(5);
    let once = truncate(&files[..4], 500, 499).unwrap();
    let mut later = vec![once.clone()];
    later.extend_from_slice(&files[1..4]);
    assert_eq!(truncate(&later, 500, 400), None);
    assert_eq!(marker(&truncate(&later, 500, 350).unwrap()), (1, 6, "t4", 1));
    assert_eq!(truncate(&[once], 500, 0), None);
}

#[test]
fn a_file_is_read_back_only_in_its_own_place() {
    for filed in [turn(4, 2, 10, 10), truncate(&turns(3), 300, 100).unwrap()] {
        let text = serde_json::to_vec(&filed).unwrap();
        assert_eq!(Filed::parse(&text, "c", filed.first()).unwrap(), filed);
        assert!(matches!(Filed::parse(&text, "d", filed.first()), Err(BadFile::Elsewhere { .. })));
        assert!(matches!(Filed::parse(&text, "c", 9), Err(BadFile::Elsewhere { .. })));
        assert!(matches!(Filed::parse(&text[..40], "c", 4), Err(BadFile::Malformed(_))));
    }
}

#[test]
fn later_formats_and_endless_spans_are_refused() {
    let mut filed = turn(4, 2, 10, 10);
    filed.format = FILED_FORMAT + 1;
    let text = serde_json::to_vec(&filed).unwrap();
    assert!(matches!(Filed::parse(&text, "c", 4), Err(BadFile::Newer { found: 2 })));
    let mut filed = turn(4, 2, 10, 10);
    if let FiledBody::Turn { span, .. } = &mut filed.body {
        span.sealed = None;
    }
    let text = serde_json::to_vec(&filed).unwrap();
    assert!(matches!(Filed::parse(&text, "c", 4), Err(BadFile::Endless { first: 4 })));
}

/// As files of format 1 lie on disks: these two never change.
const FORMAT_1: [&str; 2] = [
    r#"{"format":1,"cumulative_bytes":900,"type":"turn","span":{"conversation":"c","epoch":"e","first":4,"turn":"t2","worker":"w-1-9","events":[{"after":0,"data":{"text":"ls","turn":"t2","type":"turn.started"}},{"after":2,"data":{"exit_code":1,"stop_reason":"end_turn","turn":"t2","type":"turn.sealed"}}],"sealed":{"stop_reason":"end_turn","exit_code":1,"sealed_at":17,"outputs":2}},"bytes":300,"index":[[1,118]]}"#,
    r#"{"format":1,"cumulative_bytes":600,"type":"truncated","conversation":"c","first":1,"last":3,"turn":"t1","files":[2],"workers":["w-1-3"]}"#,
];

#[test]
fn files_of_every_format_are_read() {
    for (text, first, last) in [(FORMAT_1[0], 4, 7), (FORMAT_1[1], 1, 3)] {
        let filed = Filed::parse(text.as_bytes(), "c", first).unwrap();
        assert_eq!((filed.last(), serde_json::to_string(&filed).unwrap()), (last, text.to_owned()));
    }
}

#[test]
fn names_are_first_offsets() {
    assert_eq!(file_name(255), "00000000000000ff.json");
    assert_eq!(parse_file_name("00000000000000ff.json"), Some(255));
    for name in ["ff.json", "00000000000000FF.json", "00000000000000ff.json.tmp", "+0000000000000ff.json", ""]
    {
        assert_eq!(parse_file_name(name), None, "{name}");
    }
}
