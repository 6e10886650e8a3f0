//! When a session must show a sign of life, is pinged, or is over by its time. Pure.

use super::Session;
use crate::protocol::Disconnect;
use crate::settings::Settings;
use std::time::Duration;

impl Session {
    /// Bytes came in, or the kernel took bytes other than a ping.
    pub fn alive(&mut self, heard: bool, took: bool, now: Duration) {
        if heard {
            self.heard_at = now;
        }
        if took {
            self.took_at = now;
        }
    }

    /// Whether a ping is due now; it counts as sent.
    pub fn ping_due(&mut self, settings: &Settings, now: Duration) -> bool {
        let due = self.identity().is_some() && self.pinged_at + settings.ping() <= now;
        if due {
            self.pinged_at = now;
        }
        due
    }

    /// What its time says: a reason to close it.
    pub fn overdue(&mut self, settings: &Settings, now: Duration, unix_ms: i64) -> Option<Disconnect> {
        if !self.within_bounds(settings) {
            self.heard_at = now;
        }
        let Some(identity) = self.identity() else {
            let until = self.opened_at + Duration::from_millis(settings.connect_within_ms);
            return (until <= now).then_some(Disconnect::STALE);
        };
        if identity.expires_at.is_some_and(|at| at <= unix_ms) {
            return Some(Disconnect::EXPIRED);
        }
        (self.heard_at.max(self.took_at) + settings.silence() <= now).then_some(Disconnect::NO_PONG)
    }

    /// When [`overdue`](Self::overdue) or [`ping_due`](Self::ping_due) may next say something; while a message
    /// is being written there are no pings.
    pub fn next_deadline(&self, settings: &Settings, writing: bool, now: Duration, unix_ms: i64) -> Duration {
        let Some(identity) = self.identity() else {
            return self.opened_at + Duration::from_millis(settings.connect_within_ms);
        };
        let ping = if writing { Duration::MAX } else { self.pinged_at + settings.ping() };
        let silence = match self.within_bounds(settings) {
            true => self.heard_at.max(self.took_at) + settings.silence(),
            false => now + settings.silence(),
        };
        let expiry = identity.expires_at.map(|at| {
            now + Duration::from_millis(u64::try_from(at.saturating_sub(unix_ms)).unwrap_or_default())
        });
        ping.min(silence).min(expiry.unwrap_or(Duration::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::super::Entrance;
    use super::super::tests::{seconds, session};
    use super::*;
    use crate::tokens;

    #[test]
    fn it_is_closed_only_when_silent_in_both_directions() {
        let (mut session, settings) = session();
        assert!(!session.ping_due(&settings, seconds(24)));
        assert!(session.ping_due(&settings, seconds(25)) && !session.ping_due(&settings, seconds(26)));
        session.alive(true, false, seconds(10));
        assert_eq!(session.overdue(&settings, seconds(42), 0), None);
        session.alive(false, true, seconds(42));
        assert_eq!(session.overdue(&settings, seconds(74), 0), None);
        assert_eq!(session.next_deadline(&settings, false, seconds(70), 0), seconds(50), "the next ping");
        assert_eq!(session.overdue(&settings, seconds(75), 0), Some(Disconnect::NO_PONG));
    }

    #[test]
    fn the_first_command_and_the_tokens_end_have_their_time() {
        let settings = Settings::default();
        let mut session = Session::new(Entrance::Public { bearer: None }, seconds(5));
        assert_eq!(session.next_deadline(&settings, false, seconds(5), 0), seconds(15));
        assert_eq!(session.overdue(&settings, seconds(14), 0), None);
        assert_eq!(session.overdue(&settings, seconds(15), 0), Some(Disconnect::STALE));
        let mut identity = tokens::local(0);
        identity.expires_at = Some(1000);
        session.connected(identity, seconds(5));
        assert_eq!(session.next_deadline(&settings, false, seconds(6), 900), Duration::from_millis(6100));
        assert_eq!(session.overdue(&settings, seconds(6), 999), None);
        assert_eq!(session.overdue(&settings, seconds(6), 1000), Some(Disconnect::EXPIRED));
    }
}
