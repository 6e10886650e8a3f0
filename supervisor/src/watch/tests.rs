use super::*;

const NOW: i64 = 100_000;

fn view(update: Value) -> View {
    View {
        status: json!({
            "node": {"state": "running", "url": "http://127.0.0.1:7420/", "problems": ["the disk is low"]},
            "supervisor": {"generation": 3},
            "sidecar": {"state": "serving", "sessions": 1},
            "active": {"slot": "a", "epoch": 5, "running_turns": 2},
            "update": update,
            "transition_mode": "warm_switch",
        }),
        slots: json!({"slots": [
            {"slot": "a", "release": "1.0.0", "pid": 10, "transition_role": "active", "issues": []},
            {"slot": "b", "release": "1.1.0", "pid": null, "transition_role": null, "issues": ["digest_mismatch"]},
        ]}),
        events: json!({"events": (0..50).map(|at| json!({
            "state": "running", "at": at * 1000, "active": {"slot": "a", "epoch": at}, "update": {"state": "idle"},
        })).collect::<Vec<Value>>()}),
        sidecar: json!({"sessions": 7, "unanswered": 1}),
    }
}

fn probation() -> Value {
    json!({
        "state": "probation", "message": "The runtime in slot b serves and is watched.", "target_version": "1.1.0",
        "state_since": NOW - 15_000, "state_until": NOW + 45_000, "operator_actions": ["rollback"],
        "subsequent_transition": {"action": "switch"},
    })
}

fn screen(view: &View, width: usize, height: usize) -> Vec<String> {
    let lines = draw(view, width, height, NOW, |at| format!("t{}", at / 1000));
    lines.iter().map(Line::text).collect()
}

#[test]
fn everything_is_there() {
    let lines = screen(&view(probation()), 100, 40);
    let whole = lines.join("\n");
    for wanted in [
        "Holdfast  running  http://127.0.0.1:7420/  t100",
        "sidecar serving, 7 sessions, 1 unanswered   turns 2   supervisor generation 3",
        "a     1.0.0            active          5       10",
        "digest_mismatch",
        "update    probation  The runtime in slot b serves and is watched.",
        "[########------------------------] for 15 s, at most 45 s more",
        "release 1.1.0 · mode warm_switch · then switch",
        "possible: holdfast rollback",
        "problem   the disk is low",
        "t49  running    idle                     slot a, epoch 49",
        "q or Ctrl-C ends this",
    ] {
        assert!(whole.contains(wanted), "{wanted} is missing in\n{whole}");
    }
    assert_eq!(lines.len(), 40);
}

#[test]
fn a_countdown_says_when_it_begins_and_rest_has_no_bar() {
    let countdown = json!({"state": "countdown", "state_since": NOW - 59_500, "state_until": NOW + 500,
        "scheduled_for": NOW + 500, "operator_actions": ["cancel", "defer"]});
    let whole = screen(&view(countdown), 100, 40).join("\n");
    assert!(whole.contains("begins in 1 s") && whole.contains("due t100"), "{whole}");
    assert!(whole.contains("possible: holdfast update cancel, holdfast update defer"), "{whole}");
    let rest = json!({"state": "idle", "message": "The node serves.", "operator_actions": ["rollback"]});
    let whole = screen(&view(rest), 100, 40).join("\n");
    assert!(!whole.contains('[') && !whole.contains("possible"), "{whole}");
}

#[test]
fn no_line_is_wider_and_no_screen_higher_than_the_terminal() {
    for (width, height) in [(0, 0), (1, 1), (10, 3), (40, 8), (80, 24), (300, 100)] {
        let lines = screen(&view(probation()), width, height);
        assert!(lines.len() <= height, "{width}x{height}: {}", lines.len());
        assert!(lines.iter().all(|line| line.chars().count() <= width), "{width}x{height}");
    }
}

#[test]
fn nothing_that_came_in_reaches_the_terminal_as_a_command_to_it() {
    let update = json!({"state": "failed", "message": "\x1b[2Jgone\n\x07"});
    let whole = screen(&view(update), 100, 40).concat();
    assert!(!whole.chars().any(char::is_control) && whole.contains("?[2Jgone??"), "{whole}");
}

#[test]
fn an_event_that_says_the_same_again_is_left_out() {
    let mut seen = view(json!({"state": "idle"}));
    let event = |at: i64, state: &str| json!({"state": state, "at": at, "update": {"state": "idle"}});
    seen.events =
        json!({"events": [event(1000, "starting"), event(2000, "running"), event(3000, "running")]});
    let whole = screen(&seen, 100, 40).join("\n");
    assert!(
        whole.contains("t1  starting") && whole.contains("t2  running") && !whole.contains("t3"),
        "{whole}"
    );
}

#[test]
fn without_answers_there_is_still_a_screen() {
    let lines = screen(&View::default(), 80, 24);
    assert!(lines[0].starts_with("Holdfast  -"), "{lines:?}");
}

#[test]
fn times_are_told_in_their_units() {
    for (milliseconds, words) in [
        (0, "0 s"),
        (1, "1 s"),
        (119_000, "119 s"),
        (150_000, "2 min 30 s"),
        (9_000_000, "2 h 30 min"),
        (604_800_000, "7 d 0 h"),
    ] {
        assert_eq!(duration(milliseconds), words);
    }
}

#[test]
fn the_object_of_a_line_does_not_change_as_time_passes() {
    let mut later = view(probation());
    later.status["update"]["updated_at"] = json!(1);
    later.status["update"]["countdown_remaining_sec"] = json!(2);
    let object = status_object(&later);
    assert_eq!(object, status_object(&view(probation())));
    assert_eq!((&object["sidecar"]["sessions"], &object["slots"][0]["slot"]), (&json!(7), &json!("a")));
}
