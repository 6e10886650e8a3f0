//! What a supervisor that finds an attempt in its journal does with it, once the node is settled.
//!
//! Each state goes on with the time that was left of it; what was done twice by then is idempotent.

use super::event::Action;
use super::step::Stepping;
use super::{Attempt, Mode, Reason, State};
use holdfast_shared::slot::Slot;

/// Goes on with the attempt: `serves` is the slot that the node was settled on, `ready` says that the other slot's
/// runtime lives and is ready.
pub(super) fn recover(stepping: &mut Stepping<'_>, attempt: Attempt, serves: Slot, ready: bool) {
    let to = attempt.request.slot;
    match attempt.state {
        State::Planned | State::Preparing | State::Countdown if serves == to => {
            stepping.serves_early(attempt)
        }
        State::Preparing => stepping.act(Action::Prepare),
        State::Prewarming | State::Admitted | State::Switching if serves == to => {
            stepping.probation(attempt);
        }
        State::Prewarming if ready => stepping.admit(attempt),
        State::Prewarming => stepping.act(Action::Start(to)),
        State::Admitted if ready => stepping.act(Action::Probe(to)),
        State::Admitted => stepping.prewarm(attempt),
        State::Switching => {
            let why = Reason::CutoverFailed("the supervisor was restarted".into());
            stepping.fail(attempt, &why);
        }
        State::Probation if serves == to => stepping.act(Action::Probe(to)),
        State::Probation => stepping.rolled_back(attempt, Some(&Reason::SettledOnOld)),
        State::RollingBack if serves != to => stepping.rolled_back(attempt, None),
        State::RollingBack if attempt.mode == Mode::StopAndSwitch => {
            stepping.act(Action::StopAndSwitch(to.other()));
        }
        State::RollingBack if ready => stepping.act(Action::Switch(to.other())),
        State::RollingBack => stepping.act(Action::Start(to.other())),
        State::RootPromotionPending if serves != to => {
            stepping.rolled_back(attempt, Some(&Reason::SettledOnOld));
        }
        State::RootPromotionPending if stepping.rules.auto_promote => stepping.promote(attempt),
        State::RootPromoting => stepping.act(Action::PlaceRoot),
        // They wait for a time, for people, or for what is seen of the root files.
        State::Planned | State::Countdown | State::RootPromotionPending | State::RootRestartInProgress => {}
        State::Succeeded | State::Failed | State::RolledBack | State::Cancelled | State::Expired => {}
    }
}
