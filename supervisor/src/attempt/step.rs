//! The machine: what changes with an event, and what is to be done once that is journaled.

use super::event::{Action, Event, Refused};
use super::request::{Request, Subsequent};
use super::{Attempt, Attempts, Change, Mode, Operation, PlannedReason, Reason, Rules, State, recover};

/// What follows from an event: to be journaled and taken in this order, then done in this order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// To be journaled.
    pub changes: Vec<Change>,
    /// To be done.
    pub actions: Vec<Action>,
}

/// One step. An event of the world that means nothing in this state changes nothing.
///
/// # Errors
/// [`Refused`] only for [`Event::Request`] and [`Event::Operate`].
pub fn step(attempts: &Attempts, event: Event, now: i64, rules: &Rules) -> Result<Step, Refused> {
    let mut stepping = Stepping { attempts: attempts.clone(), step: Step::default(), now, rules };
    match (attempts.current.clone(), event) {
        (_, Event::Request { request, ready, settled }) => stepping.request(request, ready, settled)?,
        (_, Event::Dropped) => stepping.change(Change::Subsequent(None)),
        (attempt, Event::Operate(operation)) => {
            if let Some(why) = operation.refused(attempts.state()) {
                return Err(Refused(why));
            }
            let attempt = attempt.ok_or(Refused("nothing is pending"))?;
            stepping.operate(attempt, operation);
        }
        (Some(attempt), Event::Recovered { serves, ready }) => {
            recover::recover(&mut stepping, attempt, serves, ready);
        }
        (None, Event::Recovered { .. }) => stepping.next(None),
        (Some(attempt), Event::Deadline) => stepping.deadline(attempt),
        (Some(attempt), event) => stepping.world(attempt, event),
        (None, _) => {}
    }
    Ok(stepping.step)
}

/// A step in the making: each change is taken at once, so that what comes after sees it.
pub(super) struct Stepping<'a> {
    pub(super) attempts: Attempts,
    pub(super) step: Step,
    pub(super) now: i64,
    pub(super) rules: &'a Rules,
}

impl Stepping<'_> {
    pub(super) fn change(&mut self, change: Change) {
        self.attempts.take(change.clone());
        self.step.changes.push(change);
    }

    pub(super) fn act(&mut self, action: Action) {
        self.step.actions.push(action);
    }

    fn request(&mut self, request: Request, ready: bool, settled: bool) -> Result<(), Refused> {
        if self.attempts.queues() {
            self.queue(request);
            return Ok(());
        }
        match self.attempts.current.clone() {
            Some(attempt) if attempt.state == State::Probation => {
                if !settled {
                    return Err(Refused("the last switch is in probation and its last probe was not good"));
                }
                self.end_and_stay(attempt, State::Succeeded, None);
            }
            // A root promotion that is pending is skipped: the files belong to a release that goes.
            Some(attempt) => self.end_and_stay(attempt, State::Succeeded, None),
            None => {}
        }
        self.begin(request, ready);
        Ok(())
    }

    fn queue(&mut self, request: Request) {
        let first = self.attempts.subsequent.as_ref().map(|earlier| earlier.first_requested_at);
        let first_requested_at = first.unwrap_or(request.requested_at);
        self.change(Change::Subsequent(Some(Subsequent { request, first_requested_at })));
    }

    fn begin(&mut self, request: Request, ready: bool) {
        if self.attempts.subsequent.is_some() {
            self.change(Change::Subsequent(None));
        }
        let attempt = Attempt {
            number: self.attempts.numbered + 1,
            request,
            state: State::Planned,
            entered_at: self.now,
            leaves_at: self.now,
            worked_ms: 0,
            deferred: false,
            mode: Mode::default(),
            prepared: false,
            root_files: false,
            planned_reason: None,
            failure: None,
            rollback_failure: None,
            steps: Default::default(),
        };
        if !attempt.request.is_update() {
            return if ready { self.admit(attempt) } else { self.prewarm(attempt) };
        }
        let due = self.attempts.last_update_at.map_or(self.now, |at| at + self.rules.minimum_period_ms);
        match due > self.now {
            true => self.plan(attempt, PlannedReason::MinimumUpdatePeriod, due - self.now),
            false => self.prepare(attempt),
        }
    }

    fn operate(&mut self, attempt: Attempt, operation: Operation) {
        match (operation, attempt.state) {
            (Operation::Cancel, State::RootPromotionPending) => self.end(attempt, State::Succeeded, None),
            (Operation::Cancel, state) => {
                self.give_up(state, &attempt);
                self.end(attempt, State::Cancelled, None);
            }
            (Operation::Defer, _) => {
                let left = (attempt.leaves_at - self.now).max(0);
                self.plan(attempt, PlannedReason::OperatorDefer, left + self.rules.defer_ms);
            }
            (Operation::Rollback, _) => self.roll_back(attempt, &Reason::OperatorRollback),
            (Operation::PromoteRoot, _) => self.promote(attempt),
        }
    }

    /// What is under way before the switch is of no use any more.
    fn give_up(&mut self, state: State, attempt: &Attempt) {
        match state {
            State::Preparing => self.act(Action::Revoke),
            State::Prewarming | State::Admitted => self.act(Action::Stop(attempt.request.slot)),
            _ => {}
        }
    }

    fn deadline(&mut self, attempt: Attempt) {
        let worked = attempt.worked_ms + (self.now - attempt.entered_at);
        let spent = Rules::is_budgeted(attempt.state) && worked >= self.rules.work_ms;
        let or_spent = |reason| if spent { Reason::BudgetSpent } else { reason };
        self.give_up(attempt.state, &attempt);
        match attempt.state {
            State::Planned => self.due(attempt),
            State::Countdown => self.prewarm(attempt),
            State::Preparing => self.fail(attempt, &or_spent(Reason::PreparingLate)),
            State::Prewarming if !attempt.deferred && !spent => {
                self.put_off(attempt, PlannedReason::CandidateNotReady);
            }
            State::Prewarming => self.fail(attempt, &or_spent(Reason::CandidateNotReady)),
            State::Admitted => self.fail(attempt, &or_spent(Reason::NotAdmitted)),
            State::Switching => self.fail(attempt, &Reason::CutoverLate),
            State::Probation => self.roll_back(attempt, &or_spent(Reason::ProbationFailed)),
            State::RollingBack => self.not_rolled_back(attempt, &Reason::RollbackLate),
            State::RootPromotionPending => {
                let failure = Reason::WaitedTooLong.at(attempt.state);
                self.end(attempt, State::Expired, Some(failure));
            }
            State::RootPromoting | State::RootRestartInProgress => {
                self.act(Action::RestoreRoot);
                self.fail(attempt, &Reason::RootNotConfirmed);
            }
            State::Succeeded | State::Failed | State::RolledBack | State::Cancelled | State::Expired => {}
        }
    }

    fn world(&mut self, attempt: Attempt, event: Event) {
        use State::{
            Admitted, Countdown, Planned, Preparing, Prewarming, Probation, RollingBack, RootPromoting,
            RootPromotionPending, RootRestartInProgress, Switching,
        };
        let to = attempt.request.slot;
        match (attempt.state, event) {
            (Preparing, Event::Prepared(Ok(release))) => self.prepared(attempt, release),
            (Preparing, Event::ServesAlready) => {
                let failure = Reason::Deduplicated.at(Preparing);
                self.end(attempt, State::Cancelled, Some(failure));
            }
            (Preparing, Event::RootIsOther(release)) => self.root_alone(attempt, release),
            (Preparing, Event::Prepared(Err((code, words)))) => {
                self.fail(attempt, &Reason::NotPrepared(code, words));
            }

            (Prewarming, Event::Ready(slot)) if slot == to => self.admit(attempt),
            (Prewarming | Admitted, Event::Died(slot, last)) if slot == to => {
                self.fail(attempt, &Reason::CandidateDied(last));
            }
            (Admitted, Event::Probed(slot, row)) if slot == to => match row >= self.rules.good_probes {
                true => {
                    self.enter(attempt, Switching, self.rules.switching_ms);
                    self.act(Action::Switch(to));
                }
                false => self.act(Action::Probe(to)),
            },
            (Prewarming | Admitted | Switching, Event::Blocked(reason)) => self.blocked(attempt, reason),
            (Prewarming | Admitted | Switching, Event::LiveWork(again_ms)) => {
                self.live_work(attempt, again_ms)
            }
            (Prewarming | Admitted, Event::TooLarge(slot)) if slot == to => {
                self.act(Action::Stop(to));
                self.fail(attempt, &Reason::CandidateTooLarge);
            }

            // Switched, or settled on the candidate: its Activated was durable after all, or the active died before
            // the switch began and it was the one to follow.
            (Prewarming | Admitted | Switching, Event::Serves(slot)) if slot == to => self.probation(attempt),
            (Planned | Preparing | Countdown, Event::Serves(slot)) if slot == to => {
                self.serves_early(attempt)
            }
            (Preparing, Event::SlotNeeded) => {
                self.act(Action::Revoke);
                self.put_off(attempt, PlannedReason::CandidateNotReady);
            }
            (Switching, Event::Serves(_)) => self.cutover_failed(attempt, String::new()),
            (Switching, Event::Refused(why)) => self.cutover_failed(attempt, why),

            (Probation, Event::Probed(slot, row)) if slot == to => self.probed(attempt, row),
            (Probation | RootPromotionPending, Event::Serves(slot)) if slot != to => {
                self.rolled_back(attempt, Some(&Reason::SettledOnOld));
            }

            (RollingBack, Event::Ready(slot)) if slot != to && attempt.mode == Mode::WarmSwitch => {
                self.act(Action::Switch(slot));
            }
            (RollingBack, Event::Blocked(_)) if attempt.mode == Mode::WarmSwitch => self.make_room(attempt),
            (RollingBack, Event::Serves(slot)) if slot != to => self.rolled_back(attempt, None),
            (RollingBack, Event::Serves(_)) => {
                self.not_rolled_back(attempt, &Reason::RollbackFailed(String::new()));
            }
            (RollingBack, Event::Refused(why)) => {
                self.not_rolled_back(attempt, &Reason::RollbackFailed(why));
            }

            (RootPromoting, Event::RootPlaced(Ok(()))) => {
                self.enter(attempt, RootRestartInProgress, self.rules.root_restart_ms);
            }
            // In the second state they were in place, and nothing could be run from them.
            (RootPromoting | RootRestartInProgress, Event::RootPlaced(Err(why))) => {
                self.act(Action::RestoreRoot);
                self.fail(attempt, &Reason::RootNotPlaced(why));
            }
            (RootPromoting | RootRestartInProgress, Event::RootRefused(why)) => {
                self.act(Action::RestoreRoot);
                self.fail(attempt, &why);
            }
            (RootPromoting | RootRestartInProgress, Event::RootConfirmed(true)) => {
                self.end(attempt, State::Succeeded, None);
            }
            (RootPromoting | RootRestartInProgress, Event::RootConfirmed(false)) => {
                self.fail(attempt, &Reason::RootRestored);
            }
            _ => {}
        }
    }
}
