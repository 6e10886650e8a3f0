use super::*;
use crate::attempt::{Attempts, Event, Kind as Action, Operation, Request, Rules, step};
use std::collections::BTreeSet;
use std::time::Duration;

/// A look at a node of which everything is known.
fn whole() -> Measured {
    let mut counted = Counted::default();
    counted.started("runtime-a");
    counted.held(Duration::from_millis(7), true);
    counted.ended_attempt(&cancelled("1.2.3"));
    Measured {
        version: "0.1.0",
        state: "running",
        ready: true,
        generation: 3,
        epoch: Some(5),
        active: Some(Slot::A),
        attempt: Some(Standing { state: State::Probation, seconds: 1.5, left_seconds: 58.5 }),
        queued: false,
        counted,
        sidecar: true,
        sessions: Some(2),
        unanswered: Some(0),
        running_turns: Some(1),
        resident_bytes: vec![("active", 4096)],
        memory_available_bytes: Some(1),
        memory_needed_bytes: Some(2),
        disk_free_bytes: Some(3),
    }
}

/// An attempt that an operator has cancelled.
fn cancelled(release: &str) -> crate::attempt::Attempt {
    let request = Request {
        kind: Action::Switch,
        slot: Slot::B,
        release: Some(release.into()),
        bundle: None,
        allow_downgrade: false,
        requested_at: 5,
    };
    let mut attempts = Attempts::default();
    for event in [Event::Request { request, ready: false, settled: false }, Event::Operate(Operation::Cancel)]
    {
        for change in step(&attempts, event, 5, &Rules::default()).unwrap().changes {
            attempts.take(change);
        }
    }
    attempts.ended.pop_back().unwrap()
}

/// Name of each family with its type.
fn families(text: &str) -> Vec<(&str, &str)> {
    text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' ')).collect()
}

#[test]
fn what_a_scrape_says() {
    let text = render(&whole());
    for line in [
        "holdfast_node_state{state=\"running\"} 1",
        "holdfast_node_state{state=\"degraded\"} 0",
        "holdfast_active_slot{slot=\"a\"} 1",
        "holdfast_process_starts_total{process=\"runtime-a\"} 1",
        "holdfast_process_deaths_total{process=\"sidecar\"} 0",
        "holdfast_attempt_state{state=\"probation\"} 1",
        "holdfast_attempt_state{state=\"idle\"} 0",
        "holdfast_attempt_state_left_seconds 58.5",
        "holdfast_attempts_total{action=\"switch\",state=\"cancelled\",reason=\"\"} 1",
        "holdfast_hold_duration_seconds_bucket{for=\"switch\",le=\"0.005\"} 0",
        "holdfast_hold_duration_seconds_bucket{for=\"switch\",le=\"0.01\"} 1",
        "holdfast_hold_duration_seconds_bucket{for=\"settle\",le=\"+Inf\"} 0",
        "holdfast_hold_duration_seconds_sum{for=\"switch\"} 0.007",
        "holdfast_process_resident_memory_bytes{role=\"active\"} 4096",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is missing in\n{text}");
    }
}

#[test]
fn names_are_of_one_form_with_their_base_unit_and_no_family_comes_twice() {
    let text = render(&whole());
    let families = families(&text);
    let unique: BTreeSet<&str> = families.iter().map(|(name, _)| *name).collect();
    assert_eq!(unique.len(), families.len());
    for (name, kind) in families {
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte == b'_';
        assert!(name.starts_with("holdfast_") && name.bytes().all(allowed), "{name}");
        assert_eq!(name.ends_with("_total"), kind == "counter", "{name} is a {kind}");
        for no_base_unit in ["_ms", "milliseconds", "_kb", "_mib", "minutes", "percent"] {
            assert!(!name.contains(no_base_unit), "{name}");
        }
        let about_size = name.contains("memory") || name.contains("disk");
        assert_eq!(about_size, name.ends_with("_bytes"), "{name}");
    }
}

#[test]
fn what_is_not_known_is_left_out_and_nothing_else() {
    let text = render(&Measured { state: "starting", ..Measured::default() });
    assert_eq!(families(&text), families(&render(&whole())));
    assert!(!text.lines().any(|line| line.starts_with("holdfast_active_epoch ")), "{text}");
    assert!(text.contains("holdfast_attempt_state{state=\"idle\"} 1\n"), "{text}");
}

#[test]
fn past_their_bound_other_reasons_are_counted_together() {
    let mut counted = Counted::default();
    let mut attempt = cancelled("1");
    for number in 0..1_000 {
        attempt.failure = Some(crate::attempt::Failure {
            reason: format!("reason_{number}"),
            stage: State::Preparing,
            message: String::new(),
        });
        counted.ended_attempt(&attempt);
    }
    assert!(counted.ended().count() <= 129);
    let others = counted.ended().find(|((_, _, reason), _)| *reason == "other");
    assert_eq!(others.map(|(_, count)| count), Some(1_000 - 128));
}
