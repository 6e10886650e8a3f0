//! Writes the machine's whole matrix and diagram.

use super::tests::{NOW, attempt_in, request};
use super::*;
use holdfast_shared::blessed::blessed;
use std::collections::BTreeSet;
use std::fmt::Write;

fn events() -> Vec<(&'static str, Event)> {
    let ask = |kind, slot, settled| Event::Request { request: request(kind, slot), ready: false, settled };
    vec![
        ("update to b", ask(Kind::Update, Slot::B, true)),
        ("switch to a", ask(Kind::Switch, Slot::A, true)),
        ("switch to a, last probe bad", ask(Kind::Switch, Slot::A, false)),
        ("cancel", Event::Operate(Operation::Cancel)),
        ("defer", Event::Operate(Operation::Defer)),
        ("rollback", Event::Operate(Operation::Rollback)),
        ("promote root", Event::Operate(Operation::PromoteRoot)),
        ("prepared", Event::Prepared(Ok(Prepared { release: "2.0.0".into(), root_files: false }))),
        ("serves already", Event::ServesAlready),
        ("serves already, other root files", Event::RootIsOther("2.0.0".into())),
        ("not prepared", Event::Prepared(Err(("bad_signature".into(), "x".into())))),
        ("b ready", Event::Ready(Slot::B)),
        ("a ready", Event::Ready(Slot::A)),
        ("b died", Event::Died(Slot::B, String::new())),
        ("good probes of b", Event::Probed(Slot::B, 3)),
        ("bad probe of b", Event::Probed(Slot::B, 0)),
        ("b serves", Event::Serves(Slot::B)),
        ("a serves", Event::Serves(Slot::A)),
        ("refused", Event::Refused("x".into())),
        ("memory blocked", Event::Blocked(PlannedReason::MemoryBlocked)),
        ("candidate too large", Event::TooLarge(Slot::B)),
        ("live work", Event::LiveWork(0)),
        ("slot needed", Event::SlotNeeded),
        ("root placed", Event::RootPlaced(Ok(()))),
        ("root not placed", Event::RootPlaced(Err("x".into()))),
        ("root confirmed", Event::RootConfirmed(true)),
        ("root restored", Event::RootConfirmed(false)),
        ("units refused", Event::RootRefused(Reason::UnitsRefused("x".into()))),
        ("deadline", Event::Deadline),
        ("recovered, a serves", Event::Recovered { serves: Slot::A, ready: false }),
        ("recovered, a serves, b ready", Event::Recovered { serves: Slot::A, ready: true }),
        ("recovered, b serves", Event::Recovered { serves: Slot::B, ready: true }),
    ]
}

/// `idle`, each state of an update to `b`, and the same with the one automatic deferral behind it.
fn states() -> Vec<(String, Attempts)> {
    let one = |state: State, deferred: bool| {
        let mut attempts = attempt_in(state, Kind::Update);
        if let Some(attempt) = attempts.current.as_mut() {
            attempt.deferred = deferred;
        }
        let name = if deferred { ", deferred before" } else { "" };
        (format!("{}{name}", state.name()), attempts)
    };
    let under_way = State::ALL.into_iter().filter(|state| !state.has_ended());
    let deferred = [State::Prewarming, State::Switching].map(|state| one(state, true));
    let idle = ("idle".to_owned(), Attempts::default());
    std::iter::once(idle).chain(under_way.map(|state| one(state, false))).chain(deferred).collect()
}

fn outcome(attempts: &Attempts, step: &Step) -> String {
    let mut words = Vec::new();
    for change in &step.changes {
        words.push(match change {
            Change::Subsequent(Some(_)) => "queued".into(),
            Change::Subsequent(None) => "queue empty".into(),
            Change::Attempt(attempt) => {
                let failure =
                    attempt.failure.as_ref().map_or_else(String::new, |f| format!(" ({})", f.reason));
                let planned = attempt.planned_reason.map_or_else(String::new, |why| format!(" ({why:?})"));
                let same = attempts.state() == Some(attempt.state);
                let again = if same { " again" } else { "" };
                format!("**{}**{again}{failure}{planned}", attempt.state.name())
            }
        });
    }
    let done = step.actions.iter().filter_map(|action| match action {
        Action::Ended(_) => None,
        Action::Next(_) => Some("next".to_owned()),
        other => Some(format!("{other:?}")),
    });
    words.extend(done);
    words.join(", ")
}

#[test]
fn the_whole_matrix_is_as_committed() {
    let mut text = String::from(
        "# An attempt\n\nWritten by a test of `supervisor/src/attempt/matrix.rs` (HOLDFAST_BLESS=1). Slot `a` served before \
         an update to slot `b`. What is left out changes nothing.\n",
    );
    let mut edges = BTreeSet::new();
    for (name, attempts) in states() {
        let _ = write!(text, "\n## {name}\n\n");
        if let Some(state) = attempts.state() {
            let limit = Rules::default().longest_ms(state) / 1000;
            let allowed: Vec<String> = attempts.operations().iter().map(|one| format!("{one:?}")).collect();
            let allowed = if allowed.is_empty() { "nothing".to_owned() } else { allowed.join(", ") };
            let _ = writeln!(text, "At most {limit} s; operators may: {allowed}.\n");
        }
        text.push_str("| event | then |\n| --- | --- |\n");
        for (event_name, event) in events() {
            let told = match step(&attempts, event, NOW, &Rules::default()) {
                Err(refused) => format!("refused: {refused}"),
                Ok(step) if step == Step::default() => continue,
                Ok(step) => {
                    let to = step.changes.iter().find_map(|change| match change {
                        Change::Attempt(attempt) => Some(attempt.state.name()),
                        Change::Subsequent(_) => None,
                    });
                    let from = attempts.state().map_or("idle", State::name);
                    if let Some(to) = to.filter(|to| *to != from) {
                        edges.insert(format!("    {from} --> {to}: {event_name}"));
                    }
                    outcome(&attempts, &step)
                }
            };
            let _ = writeln!(text, "| {event_name} | {told} |");
        }
    }
    text.push_str("\n## Diagram\n\n```mermaid\nstateDiagram-v2\n");
    edges.iter().for_each(|edge| {
        let _ = writeln!(text, "{edge}");
    });
    text.push_str("```\n");
    blessed("docs/machines/attempt.md", &text);
}
