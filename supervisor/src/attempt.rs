//! A switch that people asked for, from the request to the end of probation (DESIGN.md 4, CONTRACTS.md 2).
//!
//! Pure. The daemon feeds what it sees and performs the actions. Who is active is decided by
//! [`crate::transition`]; here is only when a switch may begin and whether what came of it is kept.

use holdfast_shared::slot::Slot;

/// Where the attempt stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Attempt {
    /// Nothing is asked for.
    #[default]
    Idle,
    /// The candidate starts and follows the journal.
    Prewarming {
        /// Its slot.
        to: Slot,
    },
    /// The candidate is probed through the browser's path.
    Admitting {
        /// Its slot.
        to: Slot,
        /// Good probes in a row.
        good: u32,
    },
    /// Hold, fence, activate, route.
    Switching {
        /// The candidate's slot.
        to: Slot,
        /// It is the way back after a failed probation.
        back: bool,
    },
    /// The new runtime serves, the old one follows.
    Probation {
        /// The new runtime's slot.
        of: Slot,
        /// Good probes in a row.
        good: u32,
    },
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// A switch to this slot, whose runtime is `ready` or is to be started, is asked for.
    Request {
        /// The target.
        to: Slot,
        /// Its runtime is ready already.
        ready: bool,
    },
    /// The runtime in this slot said READY=1.
    Ready(Slot),
    /// The runtime in this slot died.
    Died(Slot),
    /// A probe of this slot ended.
    Probed(Slot, bool),
    /// This slot's runtime serves; `true`: by the switch that was begun here.
    Serves(Slot, bool),
    /// The machine of the transition refused to begin.
    Refused,
    /// The state has lasted for its time.
    Deadline,
    /// There is too little memory for two runtimes; the transition has not begun.
    MemoryBlocked,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Start a runtime in this slot.
    Start(Slot),
    /// Probe this slot, after the interval unless it is the first probe of the state.
    Probe(Slot),
    /// Begin the switch to this slot.
    Switch(Slot),
    /// Give [`Event::Deadline`] when the state that was entered has lasted for its time.
    Arm,
    /// The runtime in this slot is of no use: end it.
    Stop(Slot),
    /// Tell whoever asked.
    Finish(Result<Slot, Failure>),
}

/// Why a switch did not come to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Failure {
    /// Another one is under way.
    #[error("a switch is under way")]
    Busy,
    /// A switch was asked for in probation, and the last probe was not good.
    #[error("the last switch is in probation and its last probe was not good")]
    InProbation,
    /// The candidate died or was not ready in time.
    #[error("the candidate did not get ready")]
    NotReady,
    /// The candidate did not answer the probes through the browser's path.
    #[error("the candidate did not answer through the browser's path")]
    NotAdmitted,
    /// There was too little memory for two runtimes, while the candidate warmed or right before the switch.
    #[error("memory_blocked: too little memory is left for two runtimes")]
    MemoryBlocked,
    /// The switch failed; the node was settled.
    #[error("the switch failed; the node was settled")]
    Aborted,
    /// The switch was made and taken back.
    #[error("the new runtime failed in probation; it was rolled back")]
    RolledBack,
    /// The switch was made, its runtime failed in probation, and the old one was not taken back.
    #[error("the new runtime failed in probation and was not rolled back")]
    NotRolledBack,
}

/// Limits of the attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Good probes in a row that admission and probation ask for.
    pub good_probes: u32,
}

impl Attempt {
    /// One step. An event that means nothing in this state changes nothing.
    pub fn step(self, event: Event, rules: Rules) -> (Attempt, Vec<Action>) {
        use Attempt::{Admitting, Idle, Prewarming, Probation, Switching};
        match (self, event) {
            (_, Event::Request { to, ready }) => match self.refuses() {
                None => begin(to, ready),
                Some(failure) => refuse(self, failure),
            },

            (Prewarming { to }, Event::Ready(slot)) if slot == to => admit(to),
            (Prewarming { to }, Event::Died(slot)) if slot == to => fail(Failure::NotReady, None),
            (Prewarming { to }, Event::Deadline) => fail(Failure::NotReady, Some(to)),

            (Admitting { to, good }, Event::Probed(slot, true)) if slot == to => {
                if good + 1 >= rules.good_probes {
                    (Switching { to, back: false }, vec![Action::Switch(to)])
                } else {
                    (Admitting { to, good: good + 1 }, vec![Action::Probe(to)])
                }
            }
            (Admitting { to, .. }, Event::Probed(slot, false)) if slot == to => {
                (Admitting { to, good: 0 }, vec![Action::Probe(to)])
            }
            (Admitting { to, .. }, Event::Died(slot)) if slot == to => fail(Failure::NotReady, None),
            (Admitting { to, .. }, Event::Deadline) => fail(Failure::NotAdmitted, Some(to)),

            (
                Prewarming { to } | Admitting { to, .. } | Switching { to, back: false },
                Event::MemoryBlocked,
            ) => fail(Failure::MemoryBlocked, Some(to)),

            // Switched, or settled on the candidate: its Activated was durable after all, or the active died before
            // the switch began and it was the one to follow.
            (
                Prewarming { to } | Admitting { to, .. } | Switching { to, back: false },
                Event::Serves(slot, _),
            ) if slot == to => (Probation { of: to, good: 0 }, vec![Action::Arm, Action::Probe(to)]),
            (Switching { back: false, .. }, Event::Serves(..) | Event::Refused) => {
                fail(Failure::Aborted, None)
            }
            (Switching { to, back: true }, Event::Serves(slot, _)) if slot == to => {
                fail(Failure::RolledBack, None)
            }
            (Switching { back: true, .. }, Event::Serves(..) | Event::Refused) => {
                fail(Failure::NotRolledBack, None)
            }

            (Probation { of, good }, Event::Probed(slot, true)) if slot == of => {
                if good + 1 >= rules.good_probes {
                    (Idle, vec![Action::Finish(Ok(of))])
                } else {
                    (Probation { of, good: good + 1 }, vec![Action::Probe(of)])
                }
            }
            (Probation { of, .. }, Event::Probed(slot, false)) if slot == of => {
                (Probation { of, good: 0 }, vec![Action::Probe(of)])
            }
            (Probation { of, .. }, Event::Serves(slot, _)) if slot == of => {
                (Probation { of, good: 0 }, vec![])
            }
            (Probation { .. }, Event::Serves(..)) => fail(Failure::RolledBack, None),
            (Probation { of, .. }, Event::Deadline) => {
                (Switching { to: of.other(), back: true }, vec![Action::Switch(of.other())])
            }
            _ => (self, Vec::new()),
        }
    }

    /// Why a switch that is asked for now is refused; `None`: it begins.
    pub fn refuses(self) -> Option<Failure> {
        match self {
            Attempt::Idle => None,
            Attempt::Probation { good, .. } => (good == 0).then_some(Failure::InProbation),
            _ => Some(Failure::Busy),
        }
    }

    /// The word for it in every surface (CONTRACTS.md 2).
    pub fn name(self) -> &'static str {
        match self {
            Attempt::Idle => "idle",
            Attempt::Prewarming { .. } => "prewarming",
            Attempt::Admitting { .. } => "admitted",
            Attempt::Switching { back: false, .. } => "switching",
            Attempt::Switching { back: true, .. } => "rolling_back",
            Attempt::Probation { .. } => "probation",
        }
    }

    /// The slot that is to serve.
    pub fn target(self) -> Option<Slot> {
        match self {
            Attempt::Idle => None,
            Attempt::Prewarming { to } | Attempt::Admitting { to, .. } | Attempt::Switching { to, .. } => {
                Some(to)
            }
            Attempt::Probation { of, .. } => Some(of),
        }
    }
}

fn begin(to: Slot, ready: bool) -> (Attempt, Vec<Action>) {
    match ready {
        true => admit(to),
        false => (Attempt::Prewarming { to }, vec![Action::Arm, Action::Start(to)]),
    }
}

fn admit(to: Slot) -> (Attempt, Vec<Action>) {
    (Attempt::Admitting { to, good: 0 }, vec![Action::Arm, Action::Probe(to)])
}

fn refuse(state: Attempt, failure: Failure) -> (Attempt, Vec<Action>) {
    (state, vec![Action::Finish(Err(failure))])
}

fn fail(failure: Failure, useless: Option<Slot>) -> (Attempt, Vec<Action>) {
    let mut actions: Vec<Action> = useless.map(Action::Stop).into_iter().collect();
    actions.push(Action::Finish(Err(failure)));
    (Attempt::Idle, actions)
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_shared::blessed::blessed;
    use std::fmt::Write;

    const RULES: Rules = Rules { good_probes: 3 };

    /// One of each kind of state, with slot `b` as the target and `a` as the old one.
    const STATES: [Attempt; 8] = [
        Attempt::Idle,
        Attempt::Prewarming { to: Slot::B },
        Attempt::Admitting { to: Slot::B, good: 0 },
        Attempt::Admitting { to: Slot::B, good: 2 },
        Attempt::Switching { to: Slot::B, back: false },
        Attempt::Switching { to: Slot::A, back: true },
        Attempt::Probation { of: Slot::B, good: 0 },
        Attempt::Probation { of: Slot::B, good: 2 },
    ];

    const EVENTS: [Event; 15] = [
        Event::Request { to: Slot::A, ready: false },
        Event::Request { to: Slot::A, ready: true },
        Event::Ready(Slot::A),
        Event::Ready(Slot::B),
        Event::Died(Slot::A),
        Event::Died(Slot::B),
        Event::Probed(Slot::B, true),
        Event::Probed(Slot::B, false),
        Event::Probed(Slot::A, true),
        Event::Serves(Slot::A, false),
        Event::Serves(Slot::B, false),
        Event::Serves(Slot::B, true),
        Event::Refused,
        Event::Deadline,
        Event::MemoryBlocked,
    ];

    #[test]
    fn the_whole_matrix_is_as_committed() {
        let mut text = String::from(
            "# A switch that people asked for\n\nWritten by a test of `supervisor/src/attempt.rs` \
             (HOLDFAST_BLESS=1). Events that change nothing are left out.\n",
        );
        for state in STATES {
            let _ = write!(text, "\n## {state:?}\n\n| event | state | actions |\n| --- | --- | --- |\n");
            for event in EVENTS {
                let (next, actions) = state.step(event, RULES);
                if next != state || !actions.is_empty() {
                    let actions: Vec<String> = actions.iter().map(|action| format!("{action:?}")).collect();
                    let _ = writeln!(text, "| {event:?} | {next:?} | {} |", actions.join(", "));
                }
            }
        }
        blessed("docs/machines/attempt.md", &text);
    }

    #[test]
    fn whoever_asked_is_told_once_and_every_state_has_an_end() {
        for state in STATES.into_iter().filter(|state| *state != Attempt::Idle) {
            let (_, actions) = state.step(Event::Request { to: Slot::A, ready: true }, RULES);
            let told = actions.iter().filter(|action| matches!(action, Action::Finish(_))).count();
            assert!(told <= 1, "{state:?}");
            let ends = EVENTS.into_iter().any(|event| state.step(event, RULES).0 == Attempt::Idle);
            let goes_on = EVENTS.into_iter().any(|event| state.step(event, RULES).0 != state);
            assert!(ends || goes_on, "{state:?}");
        }
    }

    #[test]
    fn a_candidate_that_serves_before_its_switch_is_in_probation_and_never_stopped() {
        for state in [Attempt::Prewarming { to: Slot::B }, Attempt::Admitting { to: Slot::B, good: 2 }] {
            let (next, actions) = state.step(Event::Serves(Slot::B, false), RULES);
            assert_eq!(next, Attempt::Probation { of: Slot::B, good: 0 });
            assert_eq!(actions, [Action::Arm, Action::Probe(Slot::B)]);
            let (_, actions) = next.step(Event::Deadline, RULES);
            assert!(!actions.contains(&Action::Stop(Slot::B)), "{actions:?}");
        }
    }

    #[test]
    fn only_a_rollback_that_was_made_is_called_one() {
        let back = Attempt::Switching { to: Slot::A, back: true };
        let told = |event| back.step(event, RULES).1;
        assert_eq!(told(Event::Serves(Slot::A, true)), [Action::Finish(Err(Failure::RolledBack))]);
        assert_eq!(told(Event::Serves(Slot::A, false)), [Action::Finish(Err(Failure::RolledBack))]);
        assert_eq!(told(Event::Serves(Slot::B, false)), [Action::Finish(Err(Failure::NotRolledBack))]);
        assert_eq!(told(Event::Refused), [Action::Finish(Err(Failure::NotRolledBack))]);
    }

    #[test]
    fn a_switch_goes_through_admission_and_probation() {
        let mut state = Attempt::Idle;
        let mut names = Vec::new();
        let probed = Event::Probed(Slot::B, true);
        let events = [Event::Request { to: Slot::B, ready: false }, Event::Ready(Slot::B)]
            .into_iter()
            .chain([probed; 3])
            .chain([Event::Serves(Slot::B, true)])
            .chain([probed; 3]);
        for event in events {
            state = state.step(event, RULES).0;
            if names.last() != Some(&state.name()) {
                names.push(state.name());
            }
        }
        assert_eq!(names, ["prewarming", "admitted", "switching", "probation", "idle"]);
    }
}
