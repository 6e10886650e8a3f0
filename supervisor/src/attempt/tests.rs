//! What holds for the machine as a whole.

use super::*;

/// A time to count from.
pub(super) const NOW: i64 = 1_000_000_000;

pub(super) fn request(kind: Kind, slot: Slot) -> Request {
    let bundle = (kind == Kind::Update).then(|| "/tmp/new.hfr".to_owned());
    Request { kind, slot, release: Some("2.0.0".into()), bundle, allow_downgrade: false, requested_at: NOW }
}

/// An attempt to make slot `b` serve, in this state since [`NOW`].
pub(super) fn attempt_in(state: State, kind: Kind) -> Attempts {
    let rules = Rules::default();
    let lasts = if state == State::Planned { rules.defer_ms } else { rules.longest_ms(state) };
    let attempt = Attempt {
        number: 1,
        request: request(kind, Slot::B),
        state,
        entered_at: NOW,
        leaves_at: NOW + lasts,
        worked_ms: 0,
        deferred: false,
        mode: Mode::default(),
        prepared: !matches!(state, State::Planned | State::Preparing),
        root_files: matches!(
            state,
            State::RootPromotionPending | State::RootPromoting | State::RootRestartInProgress
        ),
        planned_reason: (state == State::Planned).then_some(PlannedReason::OperatorDefer),
        failure: None,
        rollback_failure: None,
        steps: [Entered { state, at: NOW }].into(),
    };
    Attempts { current: Some(attempt), numbered: 1, ..Attempts::default() }
}

/// Takes a step and what it journals.
pub(super) fn advance(attempts: &mut Attempts, event: Event, now: i64) -> Result<Vec<Action>, Refused> {
    let step = step(attempts, event, now, &Rules::default())?;
    step.changes.into_iter().for_each(|change| attempts.take(change));
    Ok(step.actions)
}

fn under_way() -> impl Iterator<Item = State> {
    State::ALL.into_iter().filter(|state| !state.has_ended())
}

#[test]
fn every_state_has_a_deadline_and_leaves_at_it() {
    for state in under_way() {
        let limit = Rules::default().longest_ms(state);
        assert!(limit > 0, "{state:?}");
        let mut attempts = attempt_in(state, Kind::Update);
        advance(&mut attempts, Event::Deadline, NOW + limit).unwrap();
        assert_ne!(attempts.state(), Some(state));
    }
}

#[test]
fn every_state_can_be_cancelled_or_says_why_not() {
    for state in under_way() {
        let mut attempts = attempt_in(state, Kind::Update);
        match advance(&mut attempts, Event::Operate(Operation::Cancel), NOW) {
            Ok(_) => assert_eq!(attempts.state(), None, "{state:?}"),
            Err(Refused(why)) => assert!(!why.is_empty()),
        }
    }
}

#[test]
fn deadlines_alone_bring_every_attempt_to_an_end() {
    for state in under_way() {
        let mut attempts = attempt_in(state, Kind::Update);
        let mut states = 0;
        while let Some(attempt) = &attempts.current {
            let at = attempt.leaves_at;
            advance(&mut attempts, Event::Deadline, at).unwrap();
            states += 1;
            assert!(states < 10, "{state:?}");
        }
        assert!(attempts.last().is_some());
    }
}

#[test]
fn whatever_is_journaled_is_read_again_as_it_was() {
    for state in State::ALL {
        let attempts = attempt_in(state, Kind::Update);
        let change = Change::Attempt(Box::new(attempts.current.clone().unwrap()));
        let text = serde_json::to_string(&change).unwrap();
        assert_eq!(serde_json::from_str::<Change>(&text).unwrap(), change);
        let name = serde_json::to_value(state).unwrap();
        assert_eq!(name, state.name());
    }
}

#[test]
fn past_their_bound_the_oldest_attempts_go() {
    let mut attempts = Attempts::default();
    for _ in 0..ENDED_KEPT + 3 {
        let ask = Event::Request { request: request(Kind::Switch, Slot::B), ready: false, settled: true };
        advance(&mut attempts, ask, NOW).unwrap();
        advance(&mut attempts, Event::Operate(Operation::Cancel), NOW).unwrap();
    }
    assert_eq!(attempts.ended.len(), ENDED_KEPT);
    assert_eq!(attempts.ended[0].number, 4);
}

#[test]
fn past_their_bound_the_oldest_steps_but_the_first_go() {
    let mut attempts = attempt_in(State::Planned, Kind::Update);
    for at in 0..STEPS_KEPT as i64 + 5 {
        advance(&mut attempts, Event::Operate(Operation::Defer), NOW + at).unwrap();
    }
    let steps = &attempts.current.unwrap().steps;
    assert_eq!(steps.len(), STEPS_KEPT);
    assert_eq!(steps[0].at, NOW);
    assert!(steps[1].at > NOW);
}

#[test]
fn states_that_work_share_one_budget() {
    let rules = Rules::default();
    let mut attempts = attempt_in(State::Prewarming, Kind::Update);
    attempts.current.as_mut().unwrap().worked_ms = rules.work_ms - 10_000;
    advance(&mut attempts, Event::Ready(Slot::B), NOW + 4_000).unwrap();
    let attempt = attempts.current.clone().unwrap();
    assert_eq!(attempt.leaves_at, NOW + 10_000, "what is left of the budget");
    advance(&mut attempts, Event::Deadline, NOW + 10_000).unwrap();
    assert_eq!(attempts.last().unwrap().failure.as_ref().unwrap().reason, "budget_spent");
}

#[test]
fn a_clock_that_was_set_back_makes_no_state_longer_than_it_is() {
    let attempts = attempt_in(State::Prewarming, Kind::Switch);
    let attempt = attempts.current.unwrap();
    let rules = Rules::default();
    assert_eq!(attempt.remaining_ms(NOW - 3_600_000, &rules), rules.prewarming_ms);
    assert_eq!(attempt.remaining_ms(NOW + 20_000, &rules), rules.prewarming_ms - 20_000);
    assert_eq!(attempt.remaining_ms(NOW + 3_600_000, &rules), 0);
}

#[test]
fn a_candidate_that_serves_is_never_stopped() {
    for state in [State::Prewarming, State::Admitted, State::Switching] {
        let mut attempts = attempt_in(state, Kind::Switch);
        let mut actions = advance(&mut attempts, Event::Serves(Slot::B), NOW).unwrap();
        actions.extend(advance(&mut attempts, Event::Deadline, NOW + 60_000).unwrap());
        assert!(!actions.contains(&Action::Stop(Slot::B)), "{actions:?}");
    }
}

#[test]
fn a_failure_is_seen_until_something_else_is_asked_for() {
    let mut attempts = attempt_in(State::Admitted, Kind::Switch);
    assert_eq!(attempts.name(), "admitted");
    advance(&mut attempts, Event::Died(Slot::B, "no such file".into()), NOW).unwrap();
    assert_eq!(attempts.name(), "failed");
    let told = attempts.last().unwrap().told();
    assert_eq!(told["failed_stage"], "admitted");
    assert!(told["message"].as_str().unwrap().ends_with("no such file"));
    let ask = Event::Request { request: request(Kind::Switch, Slot::B), ready: true, settled: true };
    advance(&mut attempts, ask, NOW).unwrap();
    assert_eq!(attempts.name(), "admitted");
}

#[test]
fn a_release_that_serves_stays_trusted_when_its_root_files_fail_again() {
    let mut attempts = attempt_in(State::Preparing, Kind::Update);
    advance(&mut attempts, Event::RootIsOther("2.0.0".into()), NOW).unwrap();
    assert_eq!(attempts.current.as_ref().unwrap().request.slot, Slot::A);
    advance(&mut attempts, Event::Operate(Operation::PromoteRoot), NOW).unwrap();
    advance(&mut attempts, Event::RootPlaced(Ok(())), NOW).unwrap();
    advance(&mut attempts, Event::RootRefused(Reason::UnitsRefused("key".into())), NOW).unwrap();
    assert_eq!(attempts.name(), "failed");
    assert!(!attempts.distrusts(Slot::A));
}
