//! The time rules that are not a session's own.

use super::{Effect, Exchange, calls};
use crate::session::SessionId;
use std::time::Duration;

/// What time it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Since the sidecar's start.
    pub since_start: Duration,
    /// Unix milliseconds.
    pub unix_ms: i64,
}

/// A time limit that is not a session's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Limit {
    /// Of a subscribe.
    Subscribe(SessionId, u64),
    /// Of a history command.
    History(u64),
}

impl Exchange {
    /// When [`tick`](Self::tick) is to be called next.
    pub fn next_deadline(&self, now: Now) -> Duration {
        let limit = self.limits.first().map(|(at, _)| *at);
        let call = self.pending.oldest_waiting().map(|read_at| read_at + self.call_within());
        let unavailable =
            self.holding_since.filter(|_| !self.gave_up).map(|since| since + self.hold_unavailable());
        let housekeeping = now.since_start + crate::hub::LINGER;
        [limit, call, unavailable, self.spread.next()].into_iter().flatten().fold(housekeeping, Duration::min)
    }

    /// Applies the time rules that are not a session's own.
    pub fn tick(&mut self, now: Now) {
        let at = now.since_start;
        self.hub.forget_unused(at);
        self.spread_on(at);
        while let Some((when, limit)) = self.limits.first().copied().filter(|(when, _)| *when <= at) {
            self.limits.remove(&(when, limit));
            match limit {
                Limit::Subscribe(session, serial) => self.subscribe_overdue(session, serial, now),
                Limit::History(number) => self.history_overdue(number),
            }
        }
        if let Some(read_by) = at.checked_sub(self.call_within()) {
            for (asker, code) in self.pending.overdue(read_by) {
                self.answer(asker, Err(calls::outcome(code)));
            }
        }
        if self.unavailable(now) && !std::mem::replace(&mut self.gave_up, true) {
            for asker in self.pending.give_up() {
                self.answer(asker, Err(calls::unavailable()));
            }
        }
        if self.hub.has_unsent() {
            self.effects.push(Effect::WakeLink);
        }
    }

    pub(super) fn call_within(&self) -> Duration {
        Duration::from_millis(self.settings.call_within_ms)
    }

    fn hold_unavailable(&self) -> Duration {
        Duration::from_millis(self.settings.hold_unavailable_ms)
    }

    /// Whether there has been no runtime for too long to queue anything.
    pub(super) fn unavailable(&self, now: Now) -> bool {
        self.holding_since.is_some_and(|since| since + self.hold_unavailable() <= now.since_start)
    }
}
