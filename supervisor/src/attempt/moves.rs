//! From one state of an attempt to the next: what is remembered, how long it may last, what is done in it.

use super::event::{Action, Prepared};
use super::step::Stepping;
use super::{
    Attempt, Change, Entered, Failure, Mode, OnLowMemory, PlannedReason, Reason, Request, Rules, STEPS_KEPT,
    State, Subsequent,
};

impl Stepping<'_> {
    pub(super) fn plan(&mut self, mut attempt: Attempt, reason: PlannedReason, wait_ms: i64) {
        let waited = self.now - attempt.request.requested_at;
        if waited + wait_ms > self.rules.wait_ms {
            let failure = Reason::WaitedTooLong.at(attempt.state);
            return self.end(attempt, State::Expired, Some(failure));
        }
        attempt.planned_reason = Some(reason);
        self.enter(attempt, State::Planned, wait_ms);
    }

    /// Once, by itself.
    pub(super) fn put_off(&mut self, mut attempt: Attempt, reason: PlannedReason) {
        attempt.deferred = true;
        self.plan(attempt, reason, self.rules.automatic_defer_ms);
    }

    pub(super) fn due(&mut self, attempt: Attempt) {
        match attempt.request.is_update() && !attempt.prepared {
            true => self.prepare(attempt),
            false => self.prewarm(attempt),
        }
    }

    pub(super) fn prepare(&mut self, attempt: Attempt) {
        self.enter(attempt, State::Preparing, self.rules.preparing_ms);
        self.act(Action::Prepare);
    }

    pub(super) fn prepared(&mut self, mut attempt: Attempt, prepared: Prepared) {
        attempt.prepared = true;
        attempt.request.release = Some(prepared.release);
        attempt.root_files = prepared.root_files;
        self.enter(attempt, State::Countdown, self.rules.countdown_ms);
    }

    pub(super) fn prewarm(&mut self, mut attempt: Attempt) {
        let to = attempt.request.slot;
        // There may be room again.
        attempt.mode = Mode::WarmSwitch;
        self.enter(attempt, State::Prewarming, self.rules.prewarming_ms);
        self.act(Action::Start(to));
    }

    pub(super) fn admit(&mut self, attempt: Attempt) {
        let to = attempt.request.slot;
        self.enter(attempt, State::Admitted, self.rules.prewarming_ms);
        self.act(Action::Probe(to));
    }

    pub(super) fn probation(&mut self, attempt: Attempt) {
        let of = attempt.request.slot;
        self.enter(attempt, State::Probation, self.rules.probation_ms);
        self.act(Action::Probe(of));
    }

    pub(super) fn probed(&mut self, attempt: Attempt, row: u32) {
        let served = self.now - attempt.entered_at;
        let stable = served >= self.rules.stability_of(&attempt.request);
        match row >= self.rules.good_probes && stable {
            true if attempt.root_files => self.root_pending(attempt),
            true => self.end(attempt, State::Succeeded, None),
            false => self.act(Action::Probe(attempt.request.slot)),
        }
    }

    /// The runtime serves; what is left of the release is the rest of it, whose promotion failed or was skipped.
    pub(super) fn root_alone(&mut self, mut attempt: Attempt, release: String) {
        attempt.request.slot = attempt.request.slot.other();
        attempt.request.release = Some(release);
        attempt.prepared = true;
        attempt.root_files = true;
        self.root_pending(attempt);
    }

    fn root_pending(&mut self, attempt: Attempt) {
        match self.rules.auto_promote {
            true => self.promote(attempt),
            false => self.enter(attempt, State::RootPromotionPending, self.rules.root_pending_ms),
        }
    }

    pub(super) fn promote(&mut self, attempt: Attempt) {
        self.enter(attempt, State::RootPromoting, self.rules.root_restart_ms);
        self.act(Action::PlaceRoot);
    }

    /// Two runtimes must not overlap now. An update comes back by itself, once; a switch is for people to ask for
    /// again.
    pub(super) fn blocked(&mut self, attempt: Attempt, reason: PlannedReason) {
        if reason == PlannedReason::MemoryBlocked {
            return self.low_on_memory(attempt);
        }
        self.act(Action::Stop(attempt.request.slot));
        match attempt.request.is_update() && !attempt.deferred {
            true => self.put_off(attempt, reason),
            false => self.fail(attempt, &reason.as_failure()),
        }
    }

    /// An update waits until nothing runs that a switch does not carry, for as long as an attempt may wait; the one
    /// deferral of a candidate that is not ready stays to it. A switch is refused before it begins, so here it is late.
    pub(super) fn live_work(&mut self, attempt: Attempt, again_ms: i64) {
        self.act(Action::Stop(attempt.request.slot));
        if !attempt.request.is_update() {
            return self.fail(attempt, &Reason::LiveWorkGuard);
        }
        let least = self.rules.automatic_defer_ms;
        let wait_ms = again_ms.clamp(least, self.rules.defer_ms.max(least));
        self.plan(attempt, PlannedReason::LiveWorkGuard, wait_ms);
    }

    /// The node was settled on the slot that this attempt is about, before it came to the switch.
    pub(super) fn serves_early(&mut self, mut attempt: Attempt) {
        if attempt.prepared || !attempt.request.is_update() {
            return self.probation(attempt);
        }
        // What serves there is an earlier release: this one goes into the other slot.
        let left = (attempt.leaves_at - self.now).max(0);
        attempt.request.slot = attempt.request.slot.other();
        match attempt.state {
            State::Preparing => {
                self.act(Action::Revoke);
                self.prepare(attempt);
            }
            state => self.enter(attempt, state, left),
        }
    }

    /// The way back needs memory that there is not: what is to be left is stopped first.
    pub(super) fn make_room(&mut self, mut attempt: Attempt) {
        let back = attempt.request.slot.other();
        attempt.mode = Mode::StopAndSwitch;
        let for_ms = self.rules.longest_ms(State::RollingBack);
        self.enter(attempt, State::RollingBack, for_ms);
        self.act(Action::StopAndSwitch(back));
    }

    fn low_on_memory(&mut self, attempt: Attempt) {
        let candidate = attempt.request.slot;
        match (self.rules.on_low_memory, attempt.deferred) {
            (OnLowMemory::StopAndSwitch, _) | (OnLowMemory::DeferThenStopAndSwitch, true) => {
                self.stop_and_switch(attempt);
            }
            (policy, _) => {
                self.act(Action::Stop(candidate));
                let mode = match policy {
                    OnLowMemory::Defer => Mode::WarmSwitch,
                    _ => Mode::StopAndSwitch,
                };
                self.put_off(Attempt { mode, ..attempt }, PlannedReason::MemoryBlocked);
            }
        }
    }

    /// A candidate that is ready already is what takes over.
    fn stop_and_switch(&mut self, mut attempt: Attempt) {
        let to = attempt.request.slot;
        attempt.mode = Mode::StopAndSwitch;
        if attempt.state != State::Admitted {
            self.enter(attempt.clone(), State::Admitted, self.rules.prewarming_ms);
        }
        let admitted = self.attempts.current.clone().unwrap_or(attempt);
        let for_ms = self.rules.longest_ms(State::Switching);
        self.enter(Attempt { mode: Mode::StopAndSwitch, ..admitted }, State::Switching, for_ms);
        self.act(Action::StopAndSwitch(to));
    }

    pub(super) fn cutover_failed(&mut self, attempt: Attempt, why: String) {
        match attempt.request.is_update() && !attempt.deferred {
            true => self.put_off(attempt, PlannedReason::CutoverFailed),
            false => self.fail(attempt, &Reason::CutoverFailed(why)),
        }
    }

    pub(super) fn roll_back(&mut self, mut attempt: Attempt, why: &Reason) {
        let back = attempt.request.slot.other();
        attempt.failure = Some(why.at(attempt.state));
        let mode = attempt.mode;
        let for_ms = match mode {
            Mode::WarmSwitch => self.rules.switching_ms,
            Mode::StopAndSwitch => self.rules.longest_ms(State::RollingBack),
        };
        self.enter(attempt, State::RollingBack, for_ms);
        self.act(match mode {
            Mode::WarmSwitch => Action::Switch(back),
            Mode::StopAndSwitch => Action::StopAndSwitch(back),
        });
    }

    pub(super) fn rolled_back(&mut self, attempt: Attempt, why: Option<&Reason>) {
        let failure = why.map(|why| why.at(attempt.state));
        self.end(attempt, State::RolledBack, failure);
    }

    pub(super) fn not_rolled_back(&mut self, mut attempt: Attempt, why: &Reason) {
        attempt.rollback_failure = Some(why.at(State::RollingBack));
        self.end(attempt, State::Failed, None);
    }

    pub(super) fn fail(&mut self, attempt: Attempt, why: &Reason) {
        let failure = why.at(attempt.state);
        self.end(attempt, State::Failed, Some(failure));
    }

    pub(super) fn enter(&mut self, mut attempt: Attempt, state: State, for_ms: i64) {
        if !attempt.steps.is_empty() && !attempt.state.waits() {
            attempt.worked_ms += (self.now - attempt.entered_at).max(0);
        }
        let left = match Rules::is_budgeted(state) {
            true => (self.rules.work_ms - attempt.worked_ms).max(0),
            false => i64::MAX,
        };
        if state != State::Planned {
            attempt.planned_reason = None;
        }
        attempt.state = state;
        attempt.entered_at = self.now;
        attempt.leaves_at = self.now + for_ms.min(left);
        attempt.steps.push_back(Entered { state, at: self.now });
        if attempt.steps.len() > STEPS_KEPT {
            attempt.steps.remove(1);
        }
        self.change(Change::Attempt(Box::new(attempt)));
    }

    /// Ends it; the request that waited is next.
    pub(super) fn end(&mut self, attempt: Attempt, state: State, failure: Option<Failure>) {
        let done = attempt.request.clone();
        self.end_and_stay(attempt, state, failure);
        self.next((state == State::Succeeded).then_some(done));
    }

    pub(super) fn end_and_stay(&mut self, mut attempt: Attempt, state: State, failure: Option<Failure>) {
        attempt.failure = attempt.failure.or(failure);
        self.enter(attempt, state, 0);
        if let Some(Change::Attempt(ended)) = self.step.changes.last().cloned() {
            self.act(Action::Ended(ended));
        }
    }

    pub(super) fn next(&mut self, done: Option<Request>) {
        let Some(Subsequent { mut request, first_requested_at }) = self.attempts.subsequent.clone() else {
            return;
        };
        if done.is_some_and(|done| done.equals(&request)) {
            self.change(Change::Subsequent(None));
            self.act(Action::Deduplicated);
            return;
        }
        request.requested_at = first_requested_at;
        // It goes on waiting in the journal until it begins or is dropped: nothing in between loses it.
        self.act(Action::Next(Box::new(request)));
    }
}
