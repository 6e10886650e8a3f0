//! What is to be done for the workers: wanted are the open work orders, observed are the workers' files. Pure.
//!
//! Reconciling again after the actions were carried out gives none.

use crate::order::END_MESSAGE;
use crate::turn::TurnEvent;
use holdfast_shared::worker::{Exit, Protocol};
use std::collections::BTreeSet;

/// An open work order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The task.
    pub task: String,
    /// The turn.
    pub turn: String,
    /// The worker.
    pub spawn_id: String,
    /// Which order of the turn it is, from 1.
    pub number: u32,
    /// The inbox message that tells it to end.
    pub end_message: Option<u64>,
    /// What it speaks. An agent that stands is told to end by record only.
    pub protocol: Protocol,
    /// What of its requests is of use.
    pub known: KnownRequests,
}

/// What the journal knows of an agent's requests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KnownRequests {
    /// Those up to this output record are taken.
    pub taken_to: u64,
    /// Of these, the ones whose answer is still to be written.
    pub needed: BTreeSet<u64>,
}

/// How a worker is, by its files, and what this runtime has done about it so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observed {
    /// What its files say.
    pub life: Life,
    /// A request to start it is under way, or waits for its retry.
    pub asked: bool,
    /// The supervisor has answered that it exists: its holder is starting or was.
    pub answered: bool,
    /// It has had its time to start, or the supervisor says that it could not.
    pub overdue: bool,
    /// The supervisor will never start it.
    pub refused: bool,
    /// The highest inbox message that is written for it in this epoch's file, or that it has taken.
    pub told: u64,
    /// Its spool is read to its end (as far as it is written).
    pub read_to_end: bool,
}

/// What a worker's files say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// No directory.
    NotStarted,
    /// Its holder lives.
    Alive,
    /// Its holder lives, but its spool is damaged: nothing more of it can be shown.
    Spoiled,
    /// Its spool ends with an exit.
    Ended(Exit),
    /// It ran; nobody knows how it ended, or its spool is damaged.
    Lost,
    /// A directory, but no program ever ran; perhaps its holder is just starting.
    BeforeStart,
    /// No program ever ran, and none will.
    Abandoned,
}

/// Something to do for a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Ask the supervisor to start it.
    Spawn,
    /// Make sure that it never starts, if it has not.
    Abandon,
    /// Write the message that tells it to end.
    TellEnd(u64),
    /// Tell the turn.
    Turn(TurnEvent),
}

/// What is to be done for one worker.
pub fn reconcile(wanted: &Wanted, observed: &Observed) -> Option<Action> {
    match observed.life {
        Life::NotStarted | Life::BeforeStart
            if wanted.end_message.is_some() || observed.overdue || observed.refused =>
        {
            Some(Action::Abandon)
        }
        Life::NotStarted | Life::BeforeStart if observed.asked => None,
        Life::NotStarted => Some(Action::Spawn),
        // Only the supervisor knows whether a holder is on its way; after its answer the lock says so soon.
        Life::BeforeStart if !observed.answered => Some(Action::Spawn),
        Life::BeforeStart => None,
        Life::Abandoned if observed.refused => Some(Action::Turn(TurnEvent::Refused)),
        Life::Abandoned => Some(Action::Turn(TurnEvent::NeverStarted(wanted.number))),
        Life::Alive => {
            let message = wanted.end_message.filter(|number| *number > observed.told)?;
            Some(Action::TellEnd(message))
        }
        Life::Spoiled => {
            let message =
                wanted.end_message.or((wanted.protocol == Protocol::Command).then_some(END_MESSAGE))?;
            (observed.told < message).then_some(Action::TellEnd(message))
        }
        Life::Ended(exit) => observed.read_to_end.then_some(Action::Turn(TurnEvent::Exited(exit))),
        Life::Lost => observed.read_to_end.then_some(Action::Turn(TurnEvent::Lost)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_shared::worker::{EndedBy, ExitStatus};

    const EXIT: Exit = Exit { status: ExitStatus::Code(0), final_seq: 2, ended_by: EndedBy::Worker };

    fn wanted(end_message: Option<u64>) -> Wanted {
        let (task, turn, spawn_id) = ("x".to_owned(), "t1".to_owned(), "w".to_owned());
        Wanted {
            task,
            turn,
            spawn_id,
            number: 2,
            end_message,
            protocol: Protocol::Command,
            known: KnownRequests::default(),
        }
    }

    fn seen(life: Life) -> Observed {
        let (asked, answered, overdue, refused) = (false, false, false, false);
        Observed { life, asked, answered, overdue, refused, told: 0, read_to_end: true }
    }

    /// What carrying an action out makes of what is observed, where it is ours to make.
    fn carried_out(action: Action, mut observed: Observed) -> Observed {
        match action {
            Action::Spawn => observed.asked = true,
            Action::Abandon => observed.life = Life::Abandoned,
            Action::TellEnd(number) => observed.told = number,
            Action::Turn(_) => {}
        }
        observed
    }

    #[test]
    fn each_life_has_its_action() {
        let never = Action::Turn(TurnEvent::NeverStarted(2));
        let table: [(Life, Option<Action>, Option<Action>); 7] = [
            (Life::NotStarted, Some(Action::Spawn), Some(Action::Abandon)),
            (Life::BeforeStart, Some(Action::Spawn), Some(Action::Abandon)),
            (Life::Alive, None, Some(Action::TellEnd(1))),
            (Life::Spoiled, Some(Action::TellEnd(1)), Some(Action::TellEnd(1))),
            (
                Life::Ended(EXIT),
                Some(Action::Turn(TurnEvent::Exited(EXIT))),
                Some(Action::Turn(TurnEvent::Exited(EXIT))),
            ),
            (Life::Lost, Some(Action::Turn(TurnEvent::Lost)), Some(Action::Turn(TurnEvent::Lost))),
            (Life::Abandoned, Some(never), Some(never)),
        ];
        for (life, plain, ending) in table {
            assert_eq!(reconcile(&wanted(None), &seen(life)), plain, "{life:?}");
            assert_eq!(reconcile(&wanted(Some(1)), &seen(life)), ending, "{life:?}, to end");
        }
    }

    #[test]
    fn an_agent_whose_spool_is_damaged_is_told_to_end_once_that_is_journaled() {
        let agent = |end| Wanted { protocol: Protocol::Acp, ..wanted(end) };
        assert_eq!(reconcile(&agent(None), &seen(Life::Spoiled)), None);
        assert_eq!(reconcile(&agent(Some(20)), &seen(Life::Spoiled)), Some(Action::TellEnd(20)));
    }

    #[test]
    fn carrying_out_and_reconciling_again_gives_no_action_twice() {
        for life in [Life::NotStarted, Life::BeforeStart, Life::Alive, Life::Spoiled] {
            for end in [None, Some(1)] {
                let mut observed = seen(life);
                let mut before = None;
                while let Some(action) = reconcile(&wanted(end), &observed) {
                    assert_ne!(Some(action), before, "{life:?} {end:?}");
                    before = Some(action);
                    observed = carried_out(action, observed);
                    if matches!(action, Action::Turn(_)) {
                        break;
                    }
                }
            }
        }
    }

    #[test]
    fn a_worker_is_not_ended_before_its_output_is_read() {
        let reading = |life| Observed { read_to_end: false, ..seen(life) };
        assert_eq!(reconcile(&wanted(None), &reading(Life::Ended(EXIT))), None);
        assert_eq!(reconcile(&wanted(None), &reading(Life::Lost)), None);
    }

    #[test]
    fn a_worker_that_does_not_come_is_given_up_before_another_is_ordered() {
        let late = Observed { answered: true, ..seen(Life::BeforeStart) };
        assert_eq!(reconcile(&wanted(None), &late), None, "its holder may be on its way");
        let overdue = Observed { overdue: true, ..late.clone() };
        assert_eq!(reconcile(&wanted(None), &overdue), Some(Action::Abandon));
        let refused = Observed { refused: true, life: Life::Abandoned, ..late };
        assert_eq!(reconcile(&wanted(None), &refused), Some(Action::Turn(TurnEvent::Refused)));
    }
}
