//! News of the node are for everybody at once, and come in the middle of a switch: sessions are woken for them a
//! few at a time, so that what is held (commands, a turn's output) is not behind a thousand sockets.

use super::Exchange;
use crate::hub::ChannelKey;
use crate::session::SessionId;
use std::collections::BTreeSet;
use std::time::Duration;

/// Sessions woken at once: about half a millisecond of work.
const SESSIONS_AT_ONCE: usize = 32;
/// Between two times: with the above a quarter of a core, and a thousand sessions in 64 ms.
const PAUSE: Duration = Duration::from_millis(2);

/// Sessions that have not been woken yet.
#[derive(Debug, Default)]
pub(super) struct Spread {
    waiting: BTreeSet<SessionId>,
    /// Woken last: those behind it come first, however often there is news.
    last: SessionId,
    next: Option<Duration>,
}

impl Spread {
    /// When to go on.
    pub(super) fn next(&self) -> Option<Duration> {
        self.next
    }

    /// Those whose turn it is.
    fn take(&mut self, now: Duration) -> Vec<SessionId> {
        if self.next.is_some_and(|next| next > now) {
            return Vec::new();
        }
        let (behind, before) = (self.waiting.range(self.last + 1..), self.waiting.range(..=self.last));
        let taken: Vec<SessionId> = behind.chain(before).copied().take(SESSIONS_AT_ONCE).collect();
        for session in &taken {
            self.waiting.remove(session);
            self.last = *session;
        }
        self.next = (!self.waiting.is_empty()).then_some(now + PAUSE);
        taken
    }
}

impl Exchange {
    /// A channel that nearly everybody follows has grown.
    pub(super) fn spread_news(&mut self, key: ChannelKey, now: Duration) {
        self.spread.waiting.extend(self.subscribers(key));
        self.spread_on(now);
        if self.spread.next.is_some() {
            self.effects.push(super::Effect::WakeTime);
        }
    }

    /// Wakes those whose turn it is; whoever was woken for something else meanwhile has the news already.
    pub(super) fn spread_on(&mut self, now: Duration) {
        for session in self.spread.take(now) {
            self.wake(session);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_is_woken_once_and_few_at_a_time() {
        let mut spread = Spread::default();
        spread.waiting.extend(0..100);
        let (mut now, mut woken) = (Duration::from_secs(1), Vec::new());
        loop {
            let some = spread.take(now);
            assert!(!some.is_empty() && some.len() <= SESSIONS_AT_ONCE);
            woken.extend(some);
            assert!(spread.take(now).is_empty(), "not before its time");
            match spread.next() {
                Some(next) => now = next,
                None => break,
            }
        }
        woken.sort_unstable();
        assert_eq!(woken, (0..100).collect::<Vec<SessionId>>());
    }

    #[test]
    fn news_in_the_middle_of_a_round_keep_nobody_from_hearing() {
        let mut spread = Spread::default();
        let (mut now, mut woken) = (Duration::from_secs(1), BTreeSet::new());
        for _ in 0..4 {
            spread.waiting.extend(0..100);
            woken.extend(spread.take(now));
            now = spread.next().unwrap();
        }
        assert_eq!(woken.len(), 100, "a round later everybody was woken");
    }
}
