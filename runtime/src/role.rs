//! What a runtime does with what the supervisor tells it (DESIGN.md 4). Pure.
//!
//! The daemon carries out [`Deed::TakeOver`] and [`Deed::GiveUp`] before it hears anything else, so an ask is
//! never answered in the middle of one: whoever does not answer is killed.

use holdfast_shared::decision::{Decision, HighestDecision, StaleDecision};
use holdfast_shared::runtime_control::TransitionRole;

/// Whether this runtime may write, and since when.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Activity {
    /// Follows the journal.
    Passive {
        /// Candidate, standby or retired.
        role: TransitionRole,
        /// The epoch it gave up last, so that a repeated fence is answered again.
        fenced: Option<u64>,
    },
    /// Has the journal's lock and serves.
    Active {
        /// The epoch of its `Activated`.
        epoch: u64,
    },
}

/// What a runtime knows about its role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Role {
    highest: HighestDecision,
    activity: Activity,
}

/// What it is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Order {
    /// Say what you are.
    Ask,
    /// Give up the journal, if active with this epoch.
    Fence {
        /// The epoch.
        epoch: u64,
    },
    /// Take over with this epoch.
    Activate {
        /// The epoch.
        epoch: u64,
    },
    /// Bear this passive role.
    SetRole(TransitionRole),
}

/// What it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Deed {
    /// Answer with what is.
    Answer,
    /// Take the journal over, then tell [`Role::took_over`] and answer; on failure answer why.
    TakeOver {
        /// The epoch.
        epoch: u64,
    },
    /// Drain, sync, give up the lock, then tell [`Role::gave_up`] and answer.
    GiveUp,
}

/// Why an order is refused; nothing changed but the highest decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// A higher decision was told before.
    #[error(transparent)]
    Stale(#[from] StaleDecision),
    /// It is not active with that epoch.
    #[error("not active with epoch {epoch}")]
    NotActive {
        /// The epoch in the order.
        epoch: u64,
    },
    /// It is active with another epoch.
    #[error("active with epoch {epoch} already")]
    Active {
        /// The epoch it is active with.
        epoch: u64,
    },
}

impl Default for Role {
    fn default() -> Self {
        let activity = Activity::Passive { role: TransitionRole::Candidate, fenced: None };
        Self { highest: HighestDecision::default(), activity }
    }
}

impl Role {
    /// Decides on an order.
    ///
    /// # Errors
    /// [`Refused`], with the reason.
    pub fn hear(&mut self, decision: Decision, order: Order) -> Result<Deed, Refused> {
        self.highest.admit(decision)?;
        match (order, self.activity) {
            (Order::Ask, _) => Ok(Deed::Answer),
            (Order::Activate { epoch }, Activity::Active { epoch: own }) if epoch == own => Ok(Deed::Answer),
            (Order::Activate { .. } | Order::SetRole(_), Activity::Active { epoch }) => {
                Err(Refused::Active { epoch })
            }
            (Order::Activate { epoch }, Activity::Passive { .. }) => Ok(Deed::TakeOver { epoch }),
            (Order::Fence { epoch }, Activity::Active { epoch: own }) if epoch == own => Ok(Deed::GiveUp),
            (Order::Fence { epoch }, Activity::Passive { fenced, .. }) if fenced == Some(epoch) => {
                Ok(Deed::Answer)
            }
            (Order::Fence { epoch }, _) => Err(Refused::NotActive { epoch }),
            (Order::SetRole(role), Activity::Passive { fenced, .. }) => {
                let role = if role == TransitionRole::Active { TransitionRole::Standby } else { role };
                self.activity = Activity::Passive { role, fenced };
                Ok(Deed::Answer)
            }
        }
    }

    /// The take-over succeeded: `Activated(epoch)` is durable.
    pub fn took_over(&mut self, epoch: u64) {
        self.activity = Activity::Active { epoch };
    }

    /// The lock is given back.
    pub fn gave_up(&mut self) {
        if let Activity::Active { epoch } = self.activity {
            self.activity = Activity::Passive { role: TransitionRole::Retired, fenced: Some(epoch) };
        }
    }

    /// The epoch it is active with.
    pub fn epoch(&self) -> Option<u64> {
        match self.activity {
            Activity::Active { epoch } => Some(epoch),
            Activity::Passive { .. } => None,
        }
    }

    /// The role to report.
    pub fn role(&self) -> TransitionRole {
        match self.activity {
            Activity::Active { .. } => TransitionRole::Active,
            Activity::Passive { role, .. } => role,
        }
    }

    /// The highest decision heard.
    pub fn decision(&self) -> Decision {
        self.highest.get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(sequence: u64) -> Decision {
        Decision { generation: 1, sequence }
    }

    #[test]
    fn a_life_of_activate_fence_and_repeats() {
        let mut role = Role::default();
        assert_eq!(role.hear(at(1), Order::Fence { epoch: 4 }), Err(Refused::NotActive { epoch: 4 }));
        assert_eq!(role.hear(at(2), Order::Activate { epoch: 5 }), Ok(Deed::TakeOver { epoch: 5 }));
        role.took_over(5);
        assert_eq!(role.hear(at(2), Order::Activate { epoch: 5 }), Ok(Deed::Answer), "repeated");
        assert_eq!(role.hear(at(3), Order::Activate { epoch: 6 }), Err(Refused::Active { epoch: 5 }));
        assert_eq!(role.hear(at(4), Order::Fence { epoch: 5 }), Ok(Deed::GiveUp));
        role.gave_up();
        assert_eq!(role.hear(at(4), Order::Fence { epoch: 5 }), Ok(Deed::Answer), "repeated");
        assert_eq!(role.role(), TransitionRole::Retired);
        assert_eq!(role.epoch(), None);
    }

    #[test]
    fn an_ask_makes_every_lower_order_too_late() {
        let mut role = Role::default();
        assert_eq!(role.hear(at(9), Order::Ask), Ok(Deed::Answer));
        let late = role.hear(at(8), Order::Activate { epoch: 5 });
        assert!(matches!(late, Err(Refused::Stale(_))));
    }
}
