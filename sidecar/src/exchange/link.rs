//! The link to the routed runtime: what goes over it, and what comes.

use super::{Effect, Exchange, Link, Now};
use crate::cursor::Pushes;
use crate::protocol::PushFormat;
use crate::reads::Reader;
use bytes::{Bytes, BytesMut};
use holdfast_shared::error::Code;
use holdfast_shared::link::frame::{self, Message, Received};
use holdfast_shared::link::window::{ReceiveWindow, SendWindow};
use holdfast_shared::link::{Piece, ToRuntime, ToSidecar};
use std::rc::Rc;

/// Bytes taken from here at once; what the socket has taken cannot be held back any more.
const OUTPUT_BYTES: usize = 64 * 1024;

/// The runtime said something that is not the link's protocol; the link is to be closed.
#[derive(Debug, thiserror::Error)]
pub enum LinkFault {
    /// Not a message of this version.
    #[error("the runtime sent a link message that cannot be read: {0}")]
    Malformed(#[from] serde_json::Error),
    /// A frame of another epoch.
    #[error("the runtime sent a link frame of epoch {got} on a link of epoch {expected}")]
    Epoch {
        /// Of the frame.
        got: u64,
        /// Of the link.
        expected: u64,
    },
    /// A second hello.
    #[error("the runtime said hello twice")]
    Hello,
}

impl Exchange {
    /// Nothing is forwarded from here on.
    pub fn hold(&mut self, now: Now) {
        self.link = None;
        self.holding_since.get_or_insert(now.since_start);
    }

    /// A link, of this number, to the active runtime of this epoch is agreed: channels are resumed, what is unanswered is sent
    /// again in order, and forwarding goes on.
    pub fn forward(&mut self, link: u64, epoch: u64) {
        self.link = Some(Link { number: link, epoch, window: SendWindow::default() });
        self.consumed = ReceiveWindow::default();
        self.to_grant = 0;
        self.holding_since = None;
        self.gave_up = false;
        self.hub.link_changed();
        self.pending.resend_all();
        self.reads.resend_all();
        self.effects.push(Effect::WakeLink);
    }

    /// Appends what is to be sent now over the link of this number: grants always, the rest within the runtime's
    /// window. Nothing while holding, or for a link that is not the present one.
    pub fn link_output(&mut self, number: u64, out: &mut BytesMut) {
        let Some(Link { epoch, window, .. }) = self.link.as_mut().filter(|link| link.number == number) else {
            return;
        };
        if self.to_grant > 0 {
            let bytes = std::mem::take(&mut self.to_grant);
            frame::encode_json(*epoch, &ToRuntime::Window { bytes }, out);
        }
        while window.open() && out.len() < OUTPUT_BYTES {
            let channels = self.hub.next_to_send();
            let next = channels.or_else(|| self.pending.next_to_send()).or_else(|| self.reads.next_to_send());
            let Some(message) = next else { return };
            window.sent(frame::encode_json(*epoch, &message, out));
        }
    }

    /// A message of the runtime.
    ///
    /// # Errors
    /// [`LinkFault`]: the link is to be closed.
    pub fn link_input(&mut self, received: Received, now: Now) -> Result<(), LinkFault> {
        let Some(Link { epoch: expected, .. }) = self.link else { return Ok(()) };
        if received.epoch != expected {
            return Err(LinkFault::Epoch { got: received.epoch, expected });
        }
        if let Some(bytes) = self.consumed.consumed(received.frame_bytes) {
            self.to_grant += bytes;
            self.effects.push(Effect::WakeLink);
        }
        match received.message {
            Message::Json(text) => self.told(serde_json::from_slice(&text)?, now)?,
            Message::Publications(publications) => {
                let change = self.hub.published(publications);
                self.changed(change, now);
                if self.hub.has_unsent() {
                    self.effects.push(Effect::WakeLink);
                }
            }
            Message::Piece(piece) => self.piece(piece, now),
        }
        Ok(())
    }

    fn told(&mut self, message: ToSidecar, now: Now) -> Result<(), LinkFault> {
        match message {
            ToSidecar::Hello { .. } => return Err(LinkFault::Hello),
            ToSidecar::Window { bytes } => {
                if let Some(link) = self.link.as_mut() {
                    link.window.granted(bytes);
                }
                self.effects.push(Effect::WakeLink);
            }
            ToSidecar::Subscribed { no, epoch, from, recovered, .. } => {
                let change = self.hub.subscribed(no, &epoch, from, recovered);
                self.changed(change, now);
            }
            ToSidecar::SubscribeFailed { error, .. } if error.code == Code::NotActive => {}
            ToSidecar::SubscribeFailed { no, error } => {
                if let Some((key, channel)) = self.hub.refused(no) {
                    self.refuse_channel(key, &channel, &error);
                }
            }
            ToSidecar::Reset { no } => {
                let change = self.hub.reset(no);
                self.changed(change, now);
                self.effects.push(Effect::WakeLink);
            }
            ToSidecar::Reply { id, result, error } => {
                let result = match error {
                    Some(error) => Err(error),
                    None => Ok(result.unwrap_or_else(super::commands::empty_object)),
                };
                self.replied(id, result);
            }
        }
        Ok(())
    }

    fn piece(&mut self, mut piece: Piece, now: Now) {
        let Some((spec, readers)) = self.reads.answered(piece.id) else { return };
        let pushes = Rc::new(encode(&PushFormat::new(&spec.channel), spec.after, &mut piece));
        for reader in readers {
            match reader {
                Reader::History { number, .. } => self.history_piece(number, &spec, &piece, &pushes),
                Reader::Subscription { session, serial } => {
                    self.subscription_piece(session, serial, &spec, &piece, &pushes, now);
                }
            }
        }
        if self.reads.has_unsent() {
            self.effects.push(Effect::WakeLink);
        }
    }
}

/// Writes a piece's publications as pushes, in one allocation; only what follows without a gap.
fn encode(format: &PushFormat, after: u64, piece: &mut Piece) -> Pushes {
    let mut text = Vec::new();
    let mut ends = Vec::with_capacity(piece.publications.len());
    let mut next = after + 1;
    for publication in piece.publications.drain(..) {
        if publication.offset == next {
            format.encode(next, &publication.data, &mut text);
            ends.push(text.len());
            next += 1;
        }
    }
    let text = Bytes::from(text);
    let mut start = 0;
    let pushes = ends.into_iter().map(|end| text.slice(std::mem::replace(&mut start, end)..end)).collect();
    Pushes { after, pushes }
}
