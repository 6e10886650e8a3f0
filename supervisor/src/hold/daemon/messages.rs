//! What the holder is told: inputs are fed, turns marked, cancel and kill heard at once.

use super::Holder;
use crate::hold::HoldError;
use crate::hold::feed::Fed;
use crate::hold::machine::{self, Action, Event};
use holdfast_shared::inbox::{Kind, MessageHead};
use holdfast_shared::spool::{Control, Flushed};

/// A turn's name is short; what is longer is not one of ours.
const TURN_BYTES_MAX: usize = 256;

impl Holder {
    /// Feeds on, then takes messages as long as the machine takes them. Where it is stuck, or leaves one where it
    /// is, a cancel or kill behind is heard all the same.
    pub(super) fn take_messages(&mut self) -> Result<(), HoldError> {
        while self.feed_on()? == Fed::Idle {
            let Some(message) = self.feed.peek()? else { return Ok(()) };
            if !self.offer(&message)? {
                break;
            }
        }
        while let Some(message) = self.feed.look_ahead()? {
            if let Some(kind @ (Kind::Cancel | Kind::Kill)) = message.kind {
                self.happens(Event::Message(kind))?;
            }
        }
        Ok(())
    }

    fn feed_on(&mut self) -> Result<Fed, HoldError> {
        if self.feed.awaits_record() && !self.state.full {
            self.write()?;
            if !self.state.full {
                match self.record_durably()? {
                    Flushed::Done => self.feed.recorded(),
                    Flushed::NoSpace => self.no_space()?,
                }
            }
        }
        self.feed.pump()
    }

    /// That a message is consumed waits for the disk so that no prompt is given twice, whatever fails. Before the first
    /// turn's mark there is no prompt: a power cut ends the worker, and another one's session is opened anew.
    fn record_durably(&self) -> Result<Flushed, HoldError> {
        if self.spool.segment() == 0 {
            return Ok(Flushed::Done);
        }
        Ok(self.spool.sync()?)
    }

    /// Offers the machine the next message; whether it was taken.
    fn offer(&mut self, message: &MessageHead) -> Result<bool, HoldError> {
        let Some(kind) = message.kind else { return Ok(false) };
        let (state, actions) = machine::step(self.state, Event::Message(kind))?;
        if !actions.contains(&Action::Take) {
            return Ok(false);
        }
        if kind == Kind::TurnMark {
            let name = self.feed.short_payload(message, TURN_BYTES_MAX)?;
            let turn = String::from_utf8_lossy(&name);
            if self.spool.next_segment(&turn, message.number)? == Flushed::NoSpace {
                self.no_space()?;
                return Ok(false);
            }
            self.feed.take(message);
        } else {
            self.spool.control(&Control::Consumed { number: message.number });
            self.feed.take(message);
            if kind == Kind::Input {
                self.feed.begin_input(message);
            }
        }
        self.adopt(state, &actions)?;
        self.write()?;
        Ok(true)
    }
}
