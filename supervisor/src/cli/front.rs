//! Which question the keys answer: one that took the place of another only after people had time to see it.
//!
//! Several may watch a task. Where somebody else answers the first question, the second moves up under a finger that is
//! already on its way; a key that comes so soon was meant for the one before.

use std::time::{Duration, Instant};

/// From the moment another question stands first until keys answer it.
const SEEN_AFTER: Duration = Duration::from_millis(700);

/// The question that stands first.
#[derive(Debug, Default)]
pub struct Front {
    request: Option<String>,
    /// When it took the place of another.
    replaced: Option<Instant>,
}

impl Front {
    /// This one stands first now, as it was just drawn.
    pub fn shown(&mut self, request: Option<&str>, now: Instant) {
        if self.request.as_deref() == request {
            return;
        }
        self.replaced = (self.request.is_some() && request.is_some()).then_some(now);
        self.request = request.map(str::to_owned);
    }

    /// Whether a key that is pressed now answers it.
    pub fn takes_keys(&self, now: Instant) -> bool {
        self.replaced.is_none_or(|replaced| now.saturating_duration_since(replaced) >= SEEN_AFTER)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_that_took_the_place_of_another_is_not_answered_by_a_key_meant_for_that() {
        let begin = Instant::now();
        let at = |ms| begin + Duration::from_millis(ms);
        let mut front = Front::default();
        assert!(front.takes_keys(at(0)));
        front.shown(Some("1"), at(0));
        assert!(front.takes_keys(at(1)), "the first one is answered at once");
        front.shown(Some("2"), at(10));
        front.shown(Some("2"), at(600));
        assert!(!front.takes_keys(at(11)) && !front.takes_keys(at(709)) && front.takes_keys(at(710)));
        front.shown(None, at(800));
        front.shown(Some("3"), at(801));
        assert!(front.takes_keys(at(801)), "nothing stood there before");
    }
}
