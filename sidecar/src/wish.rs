//! What the sidecar does with what the supervisor wishes (DESIGN.md 4). Pure.
//!
//! It starts holding. A route is answered when the link to that runtime is up and agreed, or with its refusal;
//! a link that breaks while routed is dialled again for as long as the wish stands, nothing being forwarded
//! meanwhile.

use holdfast_shared::decision::{Decision, HighestDecision, StaleDecision};
use holdfast_shared::slot::Slot;
use holdfast_shared::wished::Wish;

/// The wish in force and how far it is in effect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Wished {
    highest: HighestDecision,
    target: Option<Target>,
    linked: bool,
    unanswered: bool,
}

/// The runtime to forward to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    /// Its slot.
    pub slot: Slot,
    /// The epoch it must be active with.
    pub epoch: u64,
}

/// What is to be done, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Deed {
    /// Close every route link, unread; forward nothing.
    CloseLinks,
    /// Dial this runtime.
    Dial(Target),
    /// Answer the last wished state: in effect.
    AnswerInEffect,
    /// Answer the last wished state: its runtime is not active with that epoch.
    AnswerNotActive,
    /// Resume channels, re-send unanswered commands, forward again.
    Forward,
}

impl Wished {
    /// Takes a wished state.
    ///
    /// # Errors
    /// A lower decision than one taken before; nothing changed.
    pub fn put(&mut self, decision: Decision, wish: Wish) -> Result<Vec<Deed>, StaleDecision> {
        self.highest.admit(decision)?;
        let target = match wish {
            Wish::Hold => None,
            Wish::Route { slot, epoch } => Some(Target { slot, epoch }),
        };
        if target == self.target && (self.linked || target.is_none()) {
            return Ok(vec![Deed::AnswerInEffect]);
        }
        let dialling = target.is_some() && target == self.target;
        self.target = target;
        self.linked = false;
        self.unanswered = target.is_some();
        Ok(match target {
            None => vec![Deed::CloseLinks, Deed::AnswerInEffect],
            Some(_) if dialling => vec![],
            Some(target) => vec![Deed::CloseLinks, Deed::Dial(target)],
        })
    }

    /// A dialled runtime said hello: active with `epoch`, or not active.
    pub fn greeted(&mut self, by: Target, epoch: Option<u64>) -> Vec<Deed> {
        if self.target != Some(by) {
            return vec![];
        }
        self.linked = epoch == Some(by.epoch);
        let unanswered = std::mem::take(&mut self.unanswered);
        match (self.linked, unanswered) {
            (true, true) => vec![Deed::Forward, Deed::AnswerInEffect],
            (true, false) => vec![Deed::Forward],
            (false, true) => vec![Deed::AnswerNotActive],
            (false, false) => vec![],
        }
    }

    /// The link to this runtime is gone, or could not be made: dial again (the daemon waits a little between).
    pub fn lost(&mut self, to: Target) -> Vec<Deed> {
        if self.target != Some(to) {
            return vec![];
        }
        self.linked = false;
        vec![Deed::Dial(to)]
    }

    /// Whether calls and subscriptions are forwarded now.
    pub fn forwarding(&self) -> Option<Target> {
        self.target.filter(|_| self.linked)
    }

    /// The runtime wished for; `None` while holding.
    pub fn target(&self) -> Option<Target> {
        self.target
    }

    /// The highest decision taken.
    pub fn decision(&self) -> Decision {
        self.highest.get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const B6: Target = Target { slot: Slot::B, epoch: 6 };

    fn at(sequence: u64) -> Decision {
        Decision { generation: 1, sequence }
    }

    fn route(to: Target) -> Wish {
        Wish::Route { slot: to.slot, epoch: to.epoch }
    }

    #[test]
    fn routes_are_answered_when_the_link_is_agreed_and_repeats_change_nothing() {
        let mut wished = Wished::default();
        assert_eq!(wished.put(at(1), Wish::Hold), Ok(vec![Deed::AnswerInEffect]));
        assert_eq!(wished.put(at(2), route(B6)), Ok(vec![Deed::CloseLinks, Deed::Dial(B6)]));
        assert_eq!(wished.put(at(2), route(B6)), Ok(vec![]), "still dialling");
        assert_eq!(wished.greeted(B6, Some(6)), vec![Deed::Forward, Deed::AnswerInEffect]);
        assert_eq!(wished.put(at(3), route(B6)), Ok(vec![Deed::AnswerInEffect]));
        assert!(wished.put(at(2), Wish::Hold).is_err());
        assert_eq!(wished.forwarding(), Some(B6));
        assert_eq!(wished.put(at(4), Wish::Hold), Ok(vec![Deed::CloseLinks, Deed::AnswerInEffect]));
        assert_eq!(wished.forwarding(), None);
    }

    #[test]
    fn a_lost_link_is_dialled_again_and_a_runtime_that_is_not_active_is_said() {
        let mut wished = Wished::default();
        let _ = wished.put(at(1), route(B6));
        assert_eq!(wished.greeted(B6, None), vec![Deed::AnswerNotActive]);
        assert_eq!(wished.lost(B6), vec![Deed::Dial(B6)]);
        assert_eq!(wished.greeted(B6, Some(6)), vec![Deed::Forward]);
        let other = Target { slot: Slot::A, epoch: 7 };
        assert_eq!(wished.lost(other), vec![], "an old link's end means nothing");
    }
}
