//! Named cases: an attempt to make slot `b` serve, in a state; what happens; where it stands then, why, and what was
//! done last.

use super::Kind::{Rollback, Switch, Update};
use super::State::*;
use super::tests::{NOW, advance, attempt_in, request};
use super::*;
use crate::attempt::Action::{
    Deduplicated, PlaceRoot, Prepare, Probe, RestoreRoot, Start, Stop, StopAndSwitch,
};
use crate::attempt::Event::{
    Blocked, Deadline, Died, LiveWork, Operate, Probed, Ready, Recovered, Refused as Denied, RootConfirmed,
    RootPlaced, RootRefused, Serves, SlotNeeded, TooLarge,
};
use holdfast_shared::slot::Slot::{A, B};

/// Seconds after the state was entered.
type At = i64;

struct Case {
    name: &'static str,
    kind: Kind,
    /// `None`: idle.
    from: Option<State>,
    events: Vec<(At, Event)>,
    /// `idle`, the state under way, or the last that has ended.
    stands: &'static str,
    /// Failure or planned reason; empty: none.
    why: &'static str,
    /// Among the actions of the last event.
    done: Vec<Action>,
}

fn ask(kind: Kind, slot: Slot) -> Event {
    Event::Request { request: request(kind, slot), ready: false, settled: true }
}

fn ask_unsettled(kind: Kind, slot: Slot) -> Event {
    Event::Request { request: request(kind, slot), ready: false, settled: false }
}

fn ask_ready(kind: Kind, slot: Slot) -> Event {
    Event::Request { request: request(kind, slot), ready: true, settled: true }
}

fn died() -> Event {
    Died(B, "last words".into())
}

fn prepared(root_files: bool) -> Event {
    Event::Prepared(Ok(Prepared { release: "2.0.0".into(), root_files }))
}

fn killed(serves: Slot, ready: bool) -> Event {
    Recovered { serves, ready }
}

macro_rules! cases {
    ($($name:literal: $kind:ident $from:expr, [$($event:expr),* $(,)?] => $stands:literal $why:literal [$($done:expr),*];)*) => {
        vec![$(Case { name: $name, kind: $kind, from: $from, events: vec![$($event),*], stands: $stands, why: $why,
            done: vec![$($done),*] }),*]
    };
}

fn requests() -> Vec<Case> {
    cases! {
        "a switch to a runtime that is not there starts it": Switch None, [(0, ask(Switch, B))] => "prewarming" "" [Start(B)];
        "a switch to a warm standby is admitted at once": Switch None, [(0, ask_ready(Switch, B))] => "admitted" "" [Probe(B)];
        "a rollback asked for in idle is a switch back": Switch None, [(0, ask(Rollback, A))] => "prewarming" "" [Start(A)];
        "an update is prepared at once": Update None, [(0, ask(Update, B))] => "preparing" "" [Prepare];
        "an update within the minimum period is planned, not refused":
            Update Some(Admitted), [(1, died()), (100, ask(Update, B))] => "planned" "minimum_update_period" [];
        "a planned update begins when the minimum period is over":
            Update Some(Admitted), [(1, died()), (100, ask(Update, B)), (301, Deadline)] => "preparing" "" [Prepare];
        "an update after the minimum period is prepared at once":
            Update Some(Admitted), [(1, died()), (302, ask(Update, B))] => "preparing" "" [Prepare];
        "a cancelled update starts no minimum period":
            Update Some(Countdown), [(1, Operate(Operation::Cancel)), (2, ask(Update, B))] => "preparing" "" [Prepare];
        "a switch has no minimum period": Update Some(Admitted), [(1, died()), (2, ask(Switch, B))] => "prewarming" "" [Start(B)];
        "a request in prewarming waits": Switch Some(Prewarming), [(1, ask(Switch, A))] => "prewarming" "" [];
        "a request in switching waits": Switch Some(Switching), [(1, ask(Update, A))] => "switching" "" [];
        "a request that waited comes after a rollback":
            Switch Some(Probation), [(1, Operate(Operation::Rollback)), (2, ask(Switch, B)), (3, Serves(A))] => "rolled_back" "operator_rollback"
            [Action::Next(Box::new(request(Switch, B)))];
        "a request that comes to what was just done is dropped":
            Switch Some(Admitted), [(1, ask(Switch, B)), (1, Probed(B, 3)), (1, Serves(B)), (2, Probed(B, 3))] => "idle" "" [Deduplicated];
        "a request that comes to what failed is tried":
            Switch Some(Admitted), [(1, ask(Switch, B)), (2, died())] => "failed" "candidate_died" [Action::Next(Box::new(request(Switch, B)))];
        "a switch in probation settles it when its last probe was good": Switch Some(Probation), [(1, ask(Switch, A))] => "prewarming" "" [Start(A)];
        "a switch in probation with a bad last probe is refused": Switch Some(Probation), [(1, ask_unsettled(Switch, A))] => "probation" "" [];
        "a switch skips a root promotion that is pending": Update Some(RootPromotionPending), [(1, ask(Switch, A))] => "prewarming" "" [Start(A)];
    }
}

fn way_forward() -> Vec<Case> {
    cases! {
        "a planned switch that is due starts its candidate": Switch Some(Planned), [(300, Deadline)] => "prewarming" "" [Start(B)];
        "a planned update that is due is prepared": Update Some(Planned), [(300, Deadline)] => "preparing" "" [Prepare];
        "a prepared slot counts down": Update Some(Preparing), [(9, prepared(false))] => "countdown" "" [];
        "the end of the countdown starts the candidate": Update Some(Countdown), [(60, Deadline)] => "prewarming" "" [Start(B)];
        "a deferred countdown begins without another one":
            Update Some(Countdown), [(1, Operate(Operation::Defer)), (360, Deadline)] => "prewarming" "" [Start(B)];
        "a ready candidate is probed": Switch Some(Prewarming), [(1, Ready(B))] => "admitted" "" [Probe(B)];
        "another runtime's READY is not the candidate's": Switch Some(Prewarming), [(1, Ready(A))] => "prewarming" "" [];
        "too few good probes ask for more": Switch Some(Admitted), [(1, Probed(B, 2))] => "admitted" "" [Probe(B)];
        "enough good probes switch": Switch Some(Admitted), [(1, Probed(B, 3))] => "switching" "" [Action::Switch(B)];
        "a switch that is made is in probation": Switch Some(Switching), [(1, Serves(B))] => "probation" "" [Probe(B)];
        "a bad probe in probation is tried again": Switch Some(Probation), [(1, Probed(B, 0))] => "probation" "" [Probe(B)];
        "good probes end a switch's probation": Switch Some(Probation), [(1, Probed(B, 3))] => "idle" "" [];
        "an update's probation lasts for its stability window": Update Some(Probation), [(9, Probed(B, 90))] => "probation" "" [Probe(B)];
        "an update's probation ends after it": Update Some(Probation), [(10, Probed(B, 3))] => "idle" "" [];
        "a runtime that is settled on again stays in probation": Switch Some(Probation), [(1, Serves(B))] => "probation" "" [];
        "other root files wait for people":
            Update Some(Preparing), [(1, prepared(true)), (61, Deadline), (62, Ready(B)), (63, Probed(B, 3)), (64, Serves(B)), (80, Probed(B, 3))]
            => "root_promotion_pending" "" [];
        "a promotion puts the root files in place": Update Some(RootPromotionPending), [(1, Operate(Operation::PromoteRoot))] => "root_promoting" "" [PlaceRoot];
        "a promotion that is skipped leaves the runtime": Update Some(RootPromotionPending), [(1, Operate(Operation::Cancel))] => "idle" "" [];
        "placed root files wait for a later supervisor": Update Some(RootPromoting), [(1, RootPlaced(Ok(())))] => "root_restart_in_progress" "" [];
        "a later supervisor confirms": Update Some(RootRestartInProgress), [(1, RootConfirmed(true))] => "idle" "" [];
    }
}

fn failures() -> Vec<Case> {
    cases! {
        "a bundle that is refused fails with its own code":
            Update Some(Preparing), [(1, Event::Prepared(Err(("wrong_key".into(), String::new()))))] => "failed" "wrong_key" [];
        "preparing has a deadline": Update Some(Preparing), [(900, Deadline)] => "failed" "preparing_late" [];
        "a candidate that dies fails at once": Switch Some(Prewarming), [(1, died())] => "failed" "candidate_died" [];
        "a candidate that is late is put off once by itself": Switch Some(Prewarming), [(60, Deadline)] => "planned" "candidate_not_ready" [Stop(B)];
        "and is started again": Switch Some(Prewarming), [(60, Deadline), (120, Deadline)] => "prewarming" "" [Start(B)];
        "and fails the second time":
            Switch Some(Prewarming), [(60, Deadline), (120, Deadline), (180, Deadline)] => "failed" "candidate_not_ready" [Stop(B)];
        "a candidate that dies in admission fails": Switch Some(Admitted), [(1, died())] => "failed" "candidate_died" [];
        "a candidate without good probes fails": Switch Some(Admitted), [(60, Deadline)] => "failed" "not_admitted" [Stop(B)];
        "too little memory puts a switch off once": Switch Some(Prewarming), [(1, Blocked(PlannedReason::MemoryBlocked))] => "planned" "memory_blocked" [Stop(B)];
        "and then the old runtime is stopped first":
            Switch Some(Prewarming), [(1, Blocked(PlannedReason::MemoryBlocked)), (61, Deadline), (62, Blocked(PlannedReason::MemoryBlocked))]
            => "switching" "" [StopAndSwitch(B)];
        "which is in probation like any other":
            Switch Some(Prewarming), [(1, Blocked(PlannedReason::MemoryBlocked)), (61, Deadline), (62, Blocked(PlannedReason::MemoryBlocked)), (63, Serves(B))]
            => "probation" "" [Probe(B)];
        "and is rolled back in the same way":
            Switch Some(Prewarming), [(1, Blocked(PlannedReason::MemoryBlocked)), (61, Deadline), (62, Blocked(PlannedReason::MemoryBlocked)), (63, Serves(B)),
                (64, Operate(Operation::Rollback)), (65, Ready(A))]
            => "rolling_back" "operator_rollback" [];
        "a stop that is settled on the old runtime failed":
            Switch Some(Prewarming), [(1, Blocked(PlannedReason::MemoryBlocked)), (61, Deadline), (62, Blocked(PlannedReason::MemoryBlocked)), (80, Serves(A))]
            => "failed" "cutover_failed" [];
        "a candidate that is too large fails": Update Some(Admitted), [(1, TooLarge(B))] => "failed" "candidate_too_large" [Stop(B)];
        "too little memory puts an update off": Update Some(Admitted), [(1, Blocked(PlannedReason::MemoryBlocked))] => "planned" "memory_blocked" [Stop(B)];
        "too little memory right before the switch": Switch Some(Switching), [(0, Blocked(PlannedReason::MemoryBlocked))] => "planned" "memory_blocked" [Stop(B)];
        "live work puts an update off": Update Some(Prewarming), [(1, LiveWork(5_000))] => "planned" "live_work_guard" [Stop(B)];
        "and again for as long as it runs":
            Update Some(Prewarming), [(1, LiveWork(5_000)), (61, Deadline), (62, LiveWork(5_000))] => "planned" "live_work_guard" [Stop(B)];
        "and the update goes on when it has ended":
            Update Some(Prewarming), [(1, LiveWork(5_000)), (61, Deadline), (62, Ready(B)), (63, Probed(B, 3))] => "switching" "" [Action::Switch(B)];
        "live work right before the switch puts an update off": Update Some(Switching), [(0, LiveWork(600_000))] => "planned" "live_work_guard" [Stop(B)];
        "it is asked again after five minutes at the latest":
            Update Some(Switching), [(0, LiveWork(3_600_000)), (300, Deadline)] => "prewarming" "" [Start(B)];
        "live work that begins in a switch ends it": Switch Some(Switching), [(0, LiveWork(5_000))] => "failed" "live_work_guard" [Stop(B)];
        "live work does not keep what failed in probation": Update Some(Probation), [(1, LiveWork(5_000)), (60, Deadline)] => "rolling_back" "probation_failed" [Action::Switch(A)];
        "a rollback without the memory for two stops the new one first":
            Update Some(RollingBack), [(1, Blocked(PlannedReason::MemoryBlocked))] => "rolling_back" "" [StopAndSwitch(A)];
        "and is given the time of a start":
            Update Some(RollingBack), [(1, Blocked(PlannedReason::MemoryBlocked)), (80, Serves(A))] => "rolled_back" "" [];
        "and is blocked once": Update Some(RollingBack),
            [(1, Blocked(PlannedReason::MemoryBlocked)), (2, Blocked(PlannedReason::MemoryBlocked))] => "rolling_back" "" [];
        "a prepared update that had to serve is in probation": Update Some(Countdown), [(1, Serves(B))] => "probation" "" [Probe(B)];
        "and succeeds like any other": Update Some(Countdown), [(1, Serves(B)), (11, Probed(B, 3))] => "idle" "" [];
        "a planned switch whose slot had to serve is in probation": Switch Some(Planned), [(1, Serves(B))] => "probation" "" [Probe(B)];
        "a planned update whose slot serves an earlier release goes into the other one":
            Update Some(Planned), [(1, Serves(B)), (300, Deadline), (301, prepared(false)), (361, Deadline)] => "prewarming" "" [Start(A)];
        "preparing the slot that had to serve begins again with the other one":
            Update Some(Preparing), [(1, Serves(B))] => "preparing" "" [Action::Revoke, Prepare];
        "a slot that settling needs is not prepared": Update Some(Preparing), [(1, SlotNeeded)] => "planned" "candidate_not_ready" [Action::Revoke];
        "and is prepared when the node is settled": Update Some(Preparing), [(1, SlotNeeded), (2, Serves(A)), (61, Deadline)] => "preparing" "" [Prepare];
        "a switch that is settled on the old runtime fails": Switch Some(Switching), [(1, Serves(A))] => "failed" "cutover_failed" [];
        "a switch that is refused fails": Switch Some(Switching), [(0, Denied("busy".into()))] => "failed" "cutover_failed" [];
        "an update whose switch fails is put off once": Update Some(Switching), [(1, Serves(A))] => "planned" "cutover_failed" [];
        "a switch has a deadline": Switch Some(Switching), [(30, Deadline)] => "failed" "cutover_late" [];
        "probation without good probes rolls back": Switch Some(Probation), [(60, Deadline)] => "rolling_back" "probation_failed" [Action::Switch(A)];
        "a rollback keeps the first reason": Switch Some(Probation), [(60, Deadline), (61, Serves(A))] => "rolled_back" "probation_failed" [];
        "an operator's rollback is immediate": Switch Some(Probation), [(1, Operate(Operation::Rollback))] => "rolling_back" "operator_rollback" [Action::Switch(A)];
        "a runtime that dies in probation is taken back by settling": Switch Some(Probation), [(1, Serves(A))] => "rolled_back" "settled_on_old" [];
        "an old runtime that had to be started is switched to when ready": Switch Some(RollingBack), [(1, Ready(A))] => "rolling_back" "" [Action::Switch(A)];
        "a rollback that is settled on the new runtime failed":
            Switch Some(Probation), [(60, Deadline), (61, Serves(B))] => "failed" "probation_failed" [];
        "a rollback has a deadline": Switch Some(Probation), [(60, Deadline), (90, Deadline)] => "failed" "probation_failed" [];
        "a pending root promotion ends with a return of the old runtime":
            Update Some(RootPromotionPending), [(9, Serves(A))] => "rolled_back" "settled_on_old" [];
        "a pending root promotion can be rolled back":
            Update Some(RootPromotionPending), [(1, Operate(Operation::Rollback))] => "rolling_back" "operator_rollback" [Action::Switch(A)];
        "a root promotion that nobody asks for expires": Update Some(RootPromotionPending), [(604_800, Deadline)] => "expired" "waited_too_long" [];
        "root files that cannot be placed are put back":
            Update Some(RootPromoting), [(1, RootPlaced(Err("disk".into())))] => "failed" "root_not_placed" [RestoreRoot];
        "root files that cannot be run from are put back":
            Update Some(RootRestartInProgress), [(1, RootPlaced(Err("noexec".into())))] => "failed" "root_not_placed" [RestoreRoot];
        "root files that nobody confirms are put back": Update Some(RootRestartInProgress), [(180, Deadline)] => "failed" "root_not_confirmed" [RestoreRoot];
        "units that root does not place fail":
            Update Some(RootRestartInProgress), [(9, RootRefused(Reason::UnitsRefused("key".into())))] => "failed" "root_units_refused" [RestoreRoot];
        "units that root has put back fail":
            Update Some(RootRestartInProgress), [(9, RootRefused(Reason::UnitsRestored("late".into())))] => "failed" "root_units_restored" [RestoreRoot];
        "root files that were put back failed": Update Some(RootRestartInProgress), [(9, RootConfirmed(false))] => "failed" "root_restored" [];
    }
}

fn operators() -> Vec<Case> {
    let cancel = || Operate(Operation::Cancel);
    cases! {
        "a planned one is cancelled": Switch Some(Planned), [(1, cancel())] => "idle" "" [];
        "a bundle of the release that serves is dropped": Update Some(Preparing), [(1, Event::ServesAlready)] => "idle" "deduplicated" [];
        "a bundle of the release that serves with other root files goes on with these":
            Update Some(Preparing), [(1, Event::RootIsOther("2.0.0".into()))] => "root_promotion_pending" "" [];
        "and they are promoted":
            Update Some(Preparing), [(1, Event::RootIsOther("2.0.0".into())), (2, Serves(A)), (3, Operate(Operation::PromoteRoot))]
                => "root_promoting" "" [PlaceRoot];
        "preparing is cancelled": Update Some(Preparing), [(1, cancel())] => "idle" "" [Action::Revoke];
        "a countdown is cancelled": Update Some(Countdown), [(1, cancel())] => "idle" "" [];
        "prewarming is cancelled and its candidate ended": Switch Some(Prewarming), [(1, cancel())] => "idle" "" [Stop(B)];
        "admission is cancelled and its candidate ended": Switch Some(Admitted), [(1, cancel())] => "idle" "" [Stop(B)];
        "a switch is not cancelled": Switch Some(Switching), [(1, cancel())] => "switching" "" [];
        "probation is not cancelled": Switch Some(Probation), [(1, cancel())] => "probation" "" [];
        "a countdown is deferred": Update Some(Countdown), [(1, Operate(Operation::Defer))] => "planned" "operator_defer" [];
        "prewarming is not deferred": Switch Some(Prewarming), [(1, Operate(Operation::Defer))] => "prewarming" "" [];
        "deferring without end expires": Update Some(Countdown), [(604_700, Operate(Operation::Defer))] => "expired" "waited_too_long" [];
        "a switch is not rolled back before it is made": Switch Some(Switching), [(1, Operate(Operation::Rollback))] => "switching" "" [];
        "nothing is cancelled in idle": Switch None, [(1, cancel())] => "idle" "" [];
        "a promotion that is not pending is refused": Switch Some(Probation), [(1, Operate(Operation::PromoteRoot))] => "probation" "" [];
    }
}

fn kills() -> Vec<Case> {
    cases! {
        "killed in idle": Switch None, [(9, killed(A, true))] => "idle" "" [];
        "killed in planned": Switch Some(Planned), [(9, killed(A, true))] => "planned" "operator_defer" [];
        "killed in preparing: it is prepared again": Update Some(Preparing), [(9, killed(A, false))] => "preparing" "" [Prepare];
        "killed in planned, settled on its slot": Switch Some(Planned), [(9, killed(B, true))] => "probation" "" [Probe(B)];
        "killed in countdown, settled on its slot": Update Some(Countdown), [(9, killed(B, true))] => "probation" "" [Probe(B)];
        "killed in preparing, settled on its slot": Update Some(Preparing), [(9, killed(B, true))] => "preparing" "" [Prepare];
        "killed in countdown": Update Some(Countdown), [(9, killed(A, false))] => "countdown" "" [];
        "killed in prewarming, the candidate died": Switch Some(Prewarming), [(9, killed(A, false))] => "prewarming" "" [Start(B)];
        "killed in prewarming, the candidate is ready": Switch Some(Prewarming), [(9, killed(A, true))] => "admitted" "" [Probe(B)];
        "killed in prewarming, settled on the candidate": Switch Some(Prewarming), [(9, killed(B, true))] => "probation" "" [Probe(B)];
        "killed in admitted": Switch Some(Admitted), [(9, killed(A, true))] => "admitted" "" [Probe(B)];
        "killed in admitted, the candidate died": Switch Some(Admitted), [(9, killed(A, false))] => "prewarming" "" [Start(B)];
        "killed in admitted, settled on the candidate": Switch Some(Admitted), [(9, killed(B, false))] => "probation" "" [Probe(B)];
        "killed in switching before the commit": Switch Some(Switching), [(9, killed(A, true))] => "failed" "cutover_failed" [];
        "killed in switching after the commit": Switch Some(Switching), [(9, killed(B, true))] => "probation" "" [Probe(B)];
        "killed in probation": Switch Some(Probation), [(9, killed(B, true))] => "probation" "" [Probe(B)];
        "killed in probation, settled on the old one": Switch Some(Probation), [(9, killed(A, true))] => "rolled_back" "settled_on_old" [];
        "killed in rolling_back before the commit": Switch Some(RollingBack), [(9, killed(B, true))] => "rolling_back" "" [Action::Switch(A)];
        "killed in rolling_back, the old one died": Switch Some(RollingBack), [(9, killed(B, false))] => "rolling_back" "" [Start(A)];
        "killed in rolling_back after the commit": Switch Some(RollingBack), [(9, killed(A, true))] => "rolled_back" "" [];
        "killed in root_promotion_pending": Update Some(RootPromotionPending), [(9, killed(B, true))] => "root_promotion_pending" "" [];
        "killed in root_promoting: they are placed again": Update Some(RootPromoting), [(9, killed(B, true))] => "root_promoting" "" [PlaceRoot];
        "killed in root_restart_in_progress": Update Some(RootRestartInProgress), [(9, killed(B, true))] => "root_restart_in_progress" "" [];
        "killed in root_restart_in_progress, then confirmed":
            Update Some(RootRestartInProgress), [(9, killed(B, true)), (9, RootConfirmed(true))] => "idle" "" [];
        "killed in prewarming: its deadline is the first one's":
            Switch Some(Prewarming), [(59, killed(A, false)), (60, Deadline)] => "planned" "candidate_not_ready" [Stop(B)];
    }
}

fn check(case: &Case) {
    let mut attempts = case.from.map_or_else(Attempts::default, |state| attempt_in(state, case.kind));
    let mut done = Vec::new();
    for (at, event) in &case.events {
        // An operator who is refused has changed nothing.
        done = advance(&mut attempts, event.clone(), NOW + at * 1000).unwrap_or_default();
    }
    let name = case.name;
    assert_eq!(attempts.name(), case.stands, "{name}");
    let attempt = attempts.current.as_ref().or(attempts.last());
    let why = attempt.map_or_else(String::new, |attempt| {
        let failure = attempt.failure.as_ref().map(|failure| failure.reason.clone());
        let planned = attempt.planned_reason.and_then(|reason| serde_json::to_value(reason).ok());
        failure.or(planned.and_then(|value| Some(value.as_str()?.to_owned()))).unwrap_or_default()
    });
    assert_eq!(why, case.why, "{name}");
    for action in &case.done {
        assert!(done.contains(action), "{name}: {action:?} is not in {done:?}");
    }
}

#[test]
fn every_named_case_ends_as_it_says() {
    let cases: Vec<Case> =
        [requests(), way_forward(), failures(), operators(), kills()].into_iter().flatten().collect();
    assert!(cases.len() >= 90, "{} cases", cases.len());
    cases.iter().for_each(check);
}

#[test]
fn there_is_a_killed_case_for_every_state() {
    let killed: Vec<&str> = kills().iter().map(|case| case.name).collect();
    for state in State::ALL.into_iter().filter(|state| !state.has_ended()) {
        let named = format!("killed in {}", state.name());
        assert!(killed.iter().any(|name| name.starts_with(&named)), "{named}");
    }
}

#[test]
fn a_newer_request_takes_the_waiting_one_s_place_and_keeps_its_time() {
    let mut attempts = attempt_in(Prewarming, Switch);
    for (at, slot) in [(1, B), (2, A)] {
        let request = Request { requested_at: NOW + at, ..request(Switch, slot) };
        advance(&mut attempts, Event::Request { request, ready: false, settled: true }, NOW + at).unwrap();
    }
    let waiting = attempts.subsequent.clone().unwrap();
    assert_eq!((waiting.request.slot, waiting.first_requested_at), (A, NOW + 1));
    let actions = advance(&mut attempts, died(), NOW + 3).unwrap();
    let Some(Action::Next(next)) = actions.last() else { panic!("{actions:?}") };
    assert_eq!(next.requested_at, NOW + 1);
    assert!(attempts.subsequent.is_some(), "until it has begun a restart finds it");
    let actions = advance(&mut attempts, Recovered { serves: A, ready: false }, NOW + 4).unwrap();
    assert_eq!(actions, [Action::Next(next.clone())]);
    advance(&mut attempts, Event::Request { request: *next.clone(), ready: false, settled: true }, NOW + 5)
        .unwrap();
    assert_eq!(attempts.subsequent, None);
    assert_eq!(attempts.current.unwrap().request.slot, A);
}

#[test]
fn a_failure_of_the_rollback_is_recorded_apart() {
    let mut attempts = attempt_in(Probation, Switch);
    advance(&mut attempts, Deadline, NOW + 60_000).unwrap();
    advance(&mut attempts, Serves(B), NOW + 61_000).unwrap();
    let ended = attempts.last().unwrap();
    let (first, second) = (ended.failure.as_ref().unwrap(), ended.rollback_failure.as_ref().unwrap());
    assert_eq!((first.reason.as_str(), first.stage), ("probation_failed", Probation));
    assert_eq!((second.reason.as_str(), second.stage), ("rollback_failed", RollingBack));
}
