//! When a runtime that follows may say that it is ready to become active (DESIGN.md 4, step 1). Pure.
//!
//! A switch to it must cost no more than what is written meanwhile: it has met the journal's end and lags little,
//! and has read the spools of running turns once to where they ended. Nothing here waits for what never ends: the
//! spools have a mark each, and one that cannot be read holds nothing up.

use std::time::Duration;

/// How far behind the journal's end, as it was read, a candidate may be.
pub const LAG: Duration = Duration::from_millis(100);

/// How far it has come. It never goes back: later only the active's commands are missing, and those come by
/// themselves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Readiness {
    /// It reads the journal.
    #[default]
    Following,
    /// It reads the spools up to their marks.
    ReadingSpools,
    /// It is ready.
    Ready,
}

/// What one look showed.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    /// The journal's end was met, and everything before it folded so long after that end was read.
    pub lag: Option<Duration>,
    /// Nothing is wrong with what was read: the self-check.
    pub sound: bool,
    /// Spools are being read that have not come to their marks.
    pub spools_catching_up: bool,
}

impl Readiness {
    /// What follows from a look. On the way to [`Readiness::ReadingSpools`] the spools are to be marked.
    pub fn after(self, look: Look) -> Self {
        let caught_up = look.sound && look.lag.is_some_and(|lag| lag < LAG);
        match self {
            Self::Following if caught_up => Self::ReadingSpools,
            Self::ReadingSpools if caught_up && !look.spools_catching_up => Self::Ready,
            other => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(lag_ms: Option<u64>, sound: bool, spools_catching_up: bool) -> Look {
        Look { lag: lag_ms.map(Duration::from_millis), sound, spools_catching_up }
    }

    #[test]
    fn the_journal_first_then_the_spools_and_both_at_the_end() {
        use Readiness::{Following, ReadingSpools, Ready};
        let table = [
            (Following, look(None, true, false), Following),
            (Following, look(Some(100), true, false), Following),
            (Following, look(Some(0), false, false), Following),
            (Following, look(Some(99), true, true), ReadingSpools),
            (ReadingSpools, look(Some(0), true, true), ReadingSpools),
            (ReadingSpools, look(None, true, false), ReadingSpools),
            (ReadingSpools, look(Some(100), true, false), ReadingSpools),
            (ReadingSpools, look(Some(0), false, false), ReadingSpools),
            (ReadingSpools, look(Some(0), true, false), Ready),
            (Ready, look(None, false, true), Ready),
        ];
        for (state, look, next) in table {
            assert_eq!(state.after(look), next, "{state:?} {look:?}");
        }
    }
}
