//! Whoever waits for the end of an attempt.

use crate::attempt::{Attempt, State};
use crate::io::control::Responder;
use holdfast_shared::error::{ApiError, Code};
use serde_json::{Value, json};

/// What somebody waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// That the attempt succeeds.
    Forward,
    /// That it is rolled back.
    Back,
}

/// Everybody who waits: each is a connection of the control socket, whose number is bounded there.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    waiters: Vec<(u64, Wanted, Responder)>,
    /// Whoever asked for the request that waits.
    pub(super) next: Option<Responder>,
}

impl Waiting {
    /// From now on this one waits for the attempt with this number.
    pub(super) fn wait(&mut self, number: u64, wanted: Wanted, responder: Responder) {
        self.waiters.push((number, wanted, responder));
    }

    /// Takes back the last who was to wait.
    pub(super) fn take_back(&mut self) -> Option<Responder> {
        self.waiters.pop().map(|(_, _, responder)| responder)
    }

    /// This one waits for the request that waits; an earlier one's request has lost its place.
    pub(super) fn wait_for_next(&mut self, responder: Responder) {
        if let Some(earlier) = self.next.replace(responder) {
            let _ = earlier.send(Err(ApiError::new(Code::Refused, "a newer request took its place")));
        }
    }

    /// Tells everybody who waits for this attempt how it ended, or that it waits for people now.
    pub(super) fn tell(&mut self, attempt: &Attempt, active: &Value) {
        let (told, others) =
            std::mem::take(&mut self.waiters).into_iter().partition(|(number, ..)| *number == attempt.number);
        self.waiters = others;
        let told: Vec<(u64, Wanted, Responder)> = told;
        for (_, wanted, responder) in told {
            // Whoever asked may have gone.
            let _ = responder.send(answer(attempt, wanted, active));
        }
    }
}

fn answer(attempt: &Attempt, wanted: Wanted, active: &Value) -> Result<Value, ApiError> {
    let outcome = match (wanted, attempt.state) {
        (Wanted::Forward, State::Succeeded) => "switched",
        // The runtime has settled; what is left waits for people.
        (Wanted::Forward, State::RootPromotionPending) => "root_promotion_pending",
        (Wanted::Back, State::RolledBack) => "rolled_back",
        (Wanted::Forward, State::Cancelled) if attempt.is_deduplicated() => "deduplicated",
        _ => {
            let details = json!({"active": active, "attempt": attempt.told()});
            return Err(ApiError::new(Code::Refused, attempt.ending()).with_details(details));
        }
    };
    let (id, mode) = (attempt.id(), attempt.mode);
    let slot = &active["slot"];
    Ok(json!({"outcome": outcome, "attempt": id, "transition_mode": mode, "slot": slot, "active": active}))
}
