use super::*;
use serde_json::json;

const MIB: u64 = 1024 * 1024;

fn told(check: &Check) -> String {
    format!("{} {}: {} / {}", check.state.name(), check.name, check.message, check.next)
}

#[test]
fn a_degraded_node_says_why_and_what_its_runtimes_said_last() {
    let status = json!({"node": {"state": "degraded", "problems": ["no runtime can serve"]}});
    let found = node(&status, &[("runtime-b".into(), "read the journal: damaged".into())]);
    let text = told(&found);
    assert!(
        text.starts_with("fail node: degraded") && text.contains("runtime-b ended with: read the journal"),
        "{text}"
    );
    assert!(text.contains("holdfast logs"), "{text}");
    assert_eq!(node(&json!({"node": {"state": "running", "problems": []}}), &[]).state, State::Ok);
    assert_eq!(node(&json!({"node": {"state": "running", "problems": ["x"]}}), &[]).state, State::Warn);
}

#[test]
fn a_failed_change_names_its_reason_and_a_pending_promotion_its_command() {
    let failed = update(
        &json!({"update": {"state": "failed", "failed_stage": "prewarming", "failure_reason": "candidate_died"}}),
    );
    assert!(told(&failed).contains("in prewarming: candidate_died"), "{}", told(&failed));
    assert!(failed.next.contains("holdfast attempts"));
    let pending = update(&json!({"update": {"state": "root_promotion_pending", "message": "waits"}}));
    assert_eq!((pending.state, pending.next.as_str()), (State::Warn, "`holdfast promote`"));
    assert_eq!(update(&json!({"update": {"state": "idle"}})).state, State::Ok);
    assert_eq!(update(&json!({"update": {"state": "probation", "message": "m"}})).state, State::Ok);
}

#[test]
fn settings_not_applied_say_how_they_are() {
    let status = |parts: &[&str]| json!({"node": {"settings_not_applied": parts}});
    assert_eq!(not_applied(&status(&[])), None);
    assert_eq!(not_applied(&status(&["runtime"])).unwrap().next, "`holdfast switch`");
    assert!(not_applied(&status(&["sidecar"])).unwrap().next.contains("--keep-workers"));
    assert!(not_applied(&status(&["supervisor", "runtime"])).unwrap().next.contains("switch"));
}

#[test]
fn memory_and_disk_are_compared_with_what_is_needed() {
    assert_eq!(memory(Some(448 * MIB), Some(10 * MIB), Gate::default()).state, State::Ok);
    let low = memory(Some(447 * MIB), Some(10 * MIB), Gate::default());
    assert!(
        low.state == State::Warn && low.message.contains("448 MiB") && low.message.contains("memory_blocked")
    );
    assert_eq!(memory(None, None, Gate::default()).state, State::Warn);
    let states = [2048, 1000, 99, 31].map(|free| disk(free * MIB, 100 * MIB).state);
    assert_eq!(states, [State::Ok, State::Warn, State::Fail, State::Fail]);
    assert!(disk(0, 0).message.contains("64 MiB"));
    assert!(disk(99 * MIB, 100 * MIB).message.contains("min_free_bytes"));
    assert_eq!(disk(99 * MIB, 0).state, State::Warn);
}

#[test]
fn a_slot_says_its_issue_codes() {
    assert_eq!(slot(Slot::A, &[]).state, State::Ok);
    assert_eq!(slot(Slot::A, &["missing_manifest"]).state, State::Warn);
    let broken = slot(Slot::B, &["digest_mismatch", "wrong_target"]);
    assert!(broken.state == State::Fail && broken.message.starts_with("digest_mismatch, wrong_target"));
}

#[test]
fn expired_tokens_are_named() {
    let all = json!({"tokens": [{"id": "operator", "expires_at": null}, {"id": "tk-1", "expires_at": 10}, {"id": "tk-2", "expires_at": 20}]});
    assert_eq!(tokens(&all, 9).state, State::Ok);
    let found = tokens(&all, 15);
    assert!(found.message.ends_with(": tk-1") && found.next.contains("revoke tk-1"), "{}", told(&found));
}

#[test]
fn a_home_that_others_may_write_and_a_token_that_they_may_read_are_said() {
    assert_eq!(modes("/h", 0o40_750, 5, 5, false), None);
    assert_eq!(modes("/h", 0o40_755, 0, 5, false), None);
    let open = modes("/h", 0o40_777, 5, 5, false).unwrap();
    assert!(open.state == State::Fail && open.next == "`chmod 0755 /h`", "{}", told(&open));
    assert_eq!(modes("/h/token", 0o100_600, 5, 5, true), None);
    assert!(modes("/h/token", 0o100_644, 5, 5, true).unwrap().next.starts_with("`chmod 0600 /h/token`"));
    assert!(modes("/h", 0o40_700, 7, 5, false).unwrap().message.contains("belongs to user 7"));
}
