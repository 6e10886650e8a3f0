//! Decision numbers: which of the supervisor's words is the latest.

use serde::{Deserialize, Serialize};

/// Number of one decision of the supervisor: every control message carries one.
///
/// `generation` is raised durably at each start of a supervisor, `sequence` within one generation, so any
/// two decisions are ordered and a later supervisor's always win.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Decision {
    /// Durable number of the supervisor's start.
    pub generation: u64,
    /// Number of the decision within the generation.
    pub sequence: u64,
}

/// What a receiver remembers: the highest decision it has been told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct HighestDecision(Decision);

/// A message carried a lower decision than one already seen; it was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("decision {got:?} is older than {highest:?}")]
pub struct StaleDecision {
    /// The decision in the refused message.
    pub got: Decision,
    /// The highest one seen before.
    pub highest: Decision,
}

impl HighestDecision {
    /// Takes a decision as seen. Equal ones are taken again (messages are repeated until answered).
    ///
    /// # Errors
    /// [`StaleDecision`] when a higher one was seen before; nothing changes.
    pub fn admit(&mut self, got: Decision) -> Result<(), StaleDecision> {
        if got < self.0 {
            return Err(StaleDecision { got, highest: self.0 });
        }
        self.0 = got;
        Ok(())
    }

    /// The highest decision seen.
    pub fn get(&self) -> Decision {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_generation_wins_over_any_sequence() {
        let mut highest = HighestDecision::default();
        let old = Decision { generation: 1, sequence: 900 };
        let new = Decision { generation: 2, sequence: 0 };
        assert_eq!(highest.admit(old), Ok(()));
        assert_eq!(highest.admit(new), Ok(()));
        assert_eq!(highest.admit(new), Ok(()), "repeats are answered again");
        assert_eq!(highest.admit(old), Err(StaleDecision { got: old, highest: new }));
    }
}
