//! Orders of the supervisor: becoming active, giving up.
//!
//! Both are carried out before the loop hears anything else, so an ask is never answered in the middle of one.

use super::active::Active;
use super::passive::Passive;
use super::{Daemon, Mode, Ordered, RunError, now_ms};
use crate::io::history::History;
use crate::io::journal::{Fatal, Following, Taker, Writing};
use crate::io::served::Served;
use crate::outbound::Outbound;
use crate::role::{Deed, Order, Refused};
use holdfast_shared::decision::Decision;
use holdfast_shared::error::{ApiError, Code};
use holdfast_shared::journal::{WriteError, WriterEvent};
use holdfast_shared::runtime_control::{Activated, Fenced, LastRecord};
use serde_json::{Value, json};

impl Daemon {
    /// Hears an order, carries it out, and answers.
    pub(super) async fn ordered(&mut self, ordered: Ordered) -> Result<(), RunError> {
        let Ordered { decision, order, flags, reply } = ordered;
        let heard = self.shared.borrow_mut().role.hear(decision, order);
        let answer = match heard {
            Err(refused) => Err(refusal(&refused)),
            Ok(Deed::Answer) if flags.settled => {
                self.attempt_settled();
                Ok(answer(&self.shared.borrow(), decision, order))
            }
            Ok(Deed::Answer) => Ok(answer(&self.shared.borrow(), decision, order)),
            Ok(Deed::GiveUp) => {
                self.give_up().await?;
                Ok(answer(&self.shared.borrow(), decision, order))
            }
            Ok(Deed::TakeOver { epoch }) => {
                self.take_over(epoch, flags.first).map(|()| answer(&self.shared.borrow(), decision, order))
            }
        };
        if let Err(error) = &answer {
            tracing::warn!(?decision, ?order, %error, "order refused");
        }
        // Who asked may be gone; orders are repeated until answered.
        let _told = reply.send(answer);
        Ok(())
    }

    fn take_over(&mut self, epoch: u64, first: bool) -> Result<(), ApiError> {
        let Mode::Passive(passive) = &mut self.mode else { return Ok(()) };
        let writing = {
            let mut served = self.shared.borrow_mut();
            let served = &mut *served;
            let taker = Taker {
                epoch,
                first,
                slot: served.slot,
                instance: &served.instance,
                release: &served.release,
                now_ms: now_ms(),
                checkpoint_records: self.settings.checkpoint_records,
                queue_bytes: self.settings.journal_queue_bytes,
            };
            let (folded, view) = (&mut served.folded, served.view.as_ref());
            let writing = Writing::take_over(&mut passive.following, folded, view, &taker)
                .map_err(|error| ApiError::from(&error))?;
            served.role.took_over(epoch);
            served.fencing = false;
            served.truncation_held = true;
            served.outbound = Outbound::new(served.folded.position.lsn);
            tracing::info!(epoch, lsn = served.folded.position.lsn, "active");
            writing
        };
        let active = Active::new(self.shared.clone(), writing, &self.settings, self.sender.clone());
        if let Mode::Passive(passive) = std::mem::replace(&mut self.mode, Mode::Active(Box::new(active))) {
            // The kernel takes its time to close a watch (10 to 20 ms were measured), and everybody waits for
            // the answer.
            tokio::task::spawn_blocking(move || drop(passive));
        }
        Ok(())
    }

    /// The attempt that made this runtime active will not be taken back: what it held back may be truncated.
    fn attempt_settled(&mut self) {
        if let Mode::Active(active) = &mut self.mode {
            active.writing.release_truncation();
            self.shared.borrow_mut().truncation_held = false;
        }
    }

    /// Takes no more calls, drains, syncs, gives the lock back, and follows. Nothing where it is not active.
    pub(super) async fn give_up(&mut self) -> Result<(), RunError> {
        let Mode::Active(active) = &mut self.mode else { return Ok(()) };
        self.shared.borrow_mut().fencing = true;
        active.writing.request_fence();
        loop {
            match active.writing.events.recv().await {
                Some(WriterEvent::Fenced { end }) => {
                    tracing::info!(epoch = end.epoch, lsn = end.lsn, "fenced");
                    active.release(end.lsn);
                    break;
                }
                Some(WriterEvent::Failed { error }) => return Err(Fatal(error).into()),
                Some(event) => active.handle(super::Event::Journal(event)),
                None => return Err(Fatal(WriteError::Poisoned).into()),
            }
        }
        let mut served = self.shared.borrow_mut();
        served.role.gave_up();
        served.fencing = false;
        served.truncation_held = false;
        served.living_links().iter().filter(|link| link.is_route()).for_each(|link| link.close());
        let home = served.home.clone();
        // Others file and remove from here on.
        served.history = History::new(home.clone());
        let following = Following::behind(&home.journal(), &mut served.folded)?;
        self.mode = Mode::Passive(Box::new(Passive::new(following)));
        Ok(())
    }
}

fn answer(served: &Served, decision: Decision, order: Order) -> Value {
    let last = served.last();
    match order {
        Order::Fence { .. } => to_json(&Fenced { decision, last }),
        Order::Activate { epoch } => to_json(&Activated { decision, last: activated(served, epoch, last) }),
        Order::Ask | Order::SetRole(_) => to_json(&served.report()),
    }
}

/// Its own `Activated` record.
fn activated(served: &Served, epoch: u64, last: LastRecord) -> LastRecord {
    let activated = served.folded.activated.as_ref().filter(|(activated, _)| activated.epoch == epoch);
    activated.map_or(last, |(_, at)| LastRecord { epoch: at.epoch, lsn: at.lsn })
}

fn to_json(value: &impl serde::Serialize) -> Value {
    serde_json::to_value(value).expect("control answers have string keys and cannot fail to serialize")
}

fn refusal(refused: &Refused) -> ApiError {
    match refused {
        Refused::Stale(stale) => ApiError::new(Code::StaleDecision, stale.to_string())
            .with_details(json!({"highest": stale.highest})),
        Refused::NotActive { .. } => ApiError::new(Code::NotActive, refused.to_string()),
        Refused::Active { epoch } => {
            ApiError::new(Code::Refused, refused.to_string()).with_details(json!({"epoch": epoch}))
        }
    }
}
