use super::*;
use serde_json::json;

const NOW: u64 = 1_800_000_000_000;

/// The id number `tail` of a millisecond.
pub(crate) fn id_at(ms: u64, tail: u64) -> String {
    let mut bytes = [0; 10];
    bytes[2..].copy_from_slice(&tail.to_be_bytes());
    uuid::Builder::from_unix_timestamp_millis(ms, &bytes).into_uuid().to_string()
}

fn answered(principal: &str, id: &str) -> Answered {
    Answered { principal: principal.into(), id: id.into(), digest: "d".into(), answer: json!({"n": id}) }
}

fn code(result: Result<Known<'_>, ApiError>) -> Code {
    result.expect_err("refused").code
}

#[test]
fn what_is_no_id_is_refused_and_the_message_names_the_field() {
    let ids = CommandIds::default();
    let too_long = format!("{}{}", id_at(NOW, 1), "0".repeat(40));
    for id in ["", "x", &Uuid::nil().to_string(), &Uuid::new_v4().to_string(), &too_long] {
        let error = ids.look_up("p", id, "d", NOW).expect_err(id);
        assert_eq!(error.code, Code::InvalidRequest);
        assert!(error.message.starts_with("command_id: "), "{error}");
    }
}

#[test]
fn the_window_of_an_ids_own_time() {
    let ids = CommandIds::default();
    assert!(matches!(ids.look_up("p", &id_at(NOW + AHEAD_MS, 1), "d", NOW), Ok(Known::New(_))));
    assert_eq!(code(ids.look_up("p", &id_at(NOW + AHEAD_MS + 1, 1), "d", NOW)), Code::InvalidRequest);
    assert!(matches!(ids.look_up("p", &id_at(NOW - KEPT_MS, 1), "d", NOW), Ok(Known::New(_))));
    assert_eq!(code(ids.look_up("p", &id_at(NOW - KEPT_MS - 1, 1), "d", NOW)), Code::CommandExpired);
}

#[test]
fn a_repeat_gets_the_answer_and_another_payload_or_principal_does_not() {
    let mut ids = CommandIds::default();
    let id = id_at(NOW, 1);
    ids.keep(&answered("p", &id), 7, NOW);
    let Ok(Known::Answered(kept)) = ids.look_up("p", &id, "d", NOW) else { panic!("known") };
    assert_eq!((kept.lsn, &kept.answer), (7, &json!({"n": id})));
    let upper = id.to_uppercase();
    assert!(matches!(ids.look_up("p", &upper, "d", NOW), Ok(Known::Answered(_))), "the same id");
    assert_eq!(code(ids.look_up("p", &id, "other", NOW)), Code::CommandIdReused);
    assert!(matches!(ids.look_up("q", &id, "other", NOW), Ok(Known::New(_))));
}

#[test]
fn past_its_number_a_principal_forgets_its_oldest_and_never_executes_them_again() {
    let mut ids = CommandIds::default();
    ids.keep(&answered("other", &id_at(NOW - 9, 0)), 1, NOW);
    for number in 0..=PRINCIPAL_ANSWERS as u64 {
        ids.keep(&answered("p", &id_at(NOW, number)), number, NOW);
    }
    assert_eq!(ids.count("p"), PRINCIPAL_ANSWERS);
    assert_eq!(ids.count("other"), 1);
    assert_eq!(code(ids.look_up("p", &id_at(NOW, 0), "d", NOW)), Code::CommandExpired);
    assert_eq!(code(ids.look_up("p", &id_at(NOW - 1, 9), "d", NOW)), Code::CommandExpired, "below the floor");
    assert!(matches!(ids.look_up("p", &id_at(NOW, 1), "d", NOW), Ok(Known::Answered(_))));
}

#[test]
fn past_all_bytes_the_oldest_of_all_goes() {
    let mut ids = CommandIds::default();
    let large = json!("x".repeat(ANSWER_BYTES));
    for number in 0..PRINCIPAL_ANSWERS as u64 {
        let answer = Answered { answer: large.clone(), ..answered("first", &id_at(NOW, number)) };
        ids.keep(&answer, number, NOW);
    }
    let before = ids.count("first");
    for number in 0..PRINCIPAL_ANSWERS as u64 {
        let answer = Answered { answer: large.clone(), ..answered("second", &id_at(NOW + 1, number)) };
        ids.keep(&answer, number, NOW);
    }
    assert!(ids.bytes() <= TOTAL_BYTES);
    assert_eq!(ids.count("second"), PRINCIPAL_ANSWERS);
    assert!(ids.count("first") < before);
    assert_eq!(code(ids.look_up("first", &id_at(NOW, 0), "d", NOW)), Code::CommandExpired);
}

#[test]
fn a_day_old_answers_go_and_everything_survives_a_checkpoint() {
    let mut ids = CommandIds::default();
    ids.keep(&answered("p", &id_at(NOW - KEPT_MS, 1)), 1, NOW);
    ids.keep(&answered("q", &id_at(NOW, 1)), 2, NOW);
    assert_eq!(ids.count("p"), 1);
    ids.keep(&answered("q", &id_at(NOW, 2)), 3, NOW + 1);
    assert_eq!(ids.count("p"), 0);
    let saved = serde_json::to_vec(&ids).unwrap();
    assert_eq!(serde_json::from_slice::<CommandIds>(&saved).unwrap(), ids);
}

#[test]
fn the_digest_knows_the_payload_however_it_is_written() {
    let parse = |text: &str| serde_json::from_str::<Value>(text).unwrap();
    let one = digest("task.prompt", &parse(r#"{"task":"x","text":"y"}"#));
    assert_eq!(one, digest("task.prompt", &parse(r#"{ "text": "y", "task": "x" }"#)));
    assert_ne!(one, digest("task.open", &parse(r#"{"task":"x","text":"y"}"#)));
    assert_ne!(one, digest("task.prompt", &parse(r#"{"task":"x","text":"z"}"#)));
}
