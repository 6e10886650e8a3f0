//! The other task of a link: subscriptions and reads are queued, calls are handed to the loop.

use super::in_use::Cursor;
use super::{CHANNELS_IN_USE, Link, LinkError, READ_BYTES, ReadRequest};
use crate::daemon::{Event, IncomingCall};
use crate::io::served::Shared;
use holdfast_shared::error::{ApiError, Code};
use holdfast_shared::link::frame::{Decoder, MESSAGE_BYTES, Message};
use holdfast_shared::link::{Caller, PIECE_BYTES, ToRuntime, ToSidecar};
use holdfast_shared::token::TokenRole;
use std::rc::Rc;
use tokio::io::AsyncReadExt;
use tokio::net::unix::OwnedReadHalf;
use tokio::sync::mpsc;

/// Reads messages.
pub(super) struct Reader {
    pub(super) read: OwnedReadHalf,
    pub(super) decoder: Decoder,
}

impl Reader {
    /// The next message; `None` at the end.
    pub(super) async fn next(&mut self) -> Result<Option<holdfast_shared::link::frame::Received>, LinkError> {
        loop {
            if let Some(received) = self.decoder.next_message()? {
                return Ok(Some(received));
            }
            let input = self.decoder.input();
            input.reserve(READ_BYTES);
            if self.read.read_buf(input).await? == 0 {
                return Ok(None);
            }
        }
    }
}

/// Does what the sidecar asks until it goes.
pub(super) async fn read_all(
    reader: &mut Reader,
    link: &Rc<Link>,
    shared: &Shared,
    events: &mpsc::Sender<Event>,
) -> Result<(), LinkError> {
    while let Some(received) = reader.next().await? {
        if received.epoch != link.epoch {
            return Err(LinkError::Epoch { got: received.epoch, expected: link.epoch });
        }
        let Message::Json(text) = received.message else { return Err(LinkError::Hello) };
        match serde_json::from_slice(&text)? {
            ToRuntime::Hello { .. } => return Err(LinkError::Hello),
            ToRuntime::Window { bytes } => {
                let mut window = link.window.get();
                window.granted(bytes);
                link.window.set(window);
                link.wake.notify_one();
            }
            ToRuntime::Subscribe { no, channel, epoch, offset, caller } => {
                subscribe(link, shared, no, &channel, &epoch, offset, &caller)?;
            }
            ToRuntime::Unsubscribe { no } => link.channels.borrow_mut().remove(no),
            ToRuntime::Read { id, channel, epoch, offset, limit, max_bytes, caller } => {
                let (limit, max_bytes) = (limit as usize, max_bytes.min(PIECE_BYTES) as usize);
                match may_read(&caller).and_then(|()| link.may_wait()) {
                    Ok(()) => link.queue_read(ReadRequest { id, channel, epoch, offset, limit, max_bytes }),
                    Err(error) => link.reply(id, Err(error)),
                }
            }
            ToRuntime::Call { id, method, params, command_id, caller } => {
                let bytes = u32::try_from(received.frame_bytes.min(MESSAGE_BYTES)).unwrap_or(u32::MAX);
                // Never closed while the link lives.
                let Ok(room) = link.calls.clone().acquire_many_owned(bytes).await else { return Ok(()) };
                let link = link.clone();
                let call = IncomingCall { link, id, method, params, command_id, caller, _room: room };
                // The loop is gone only when the process ends.
                let _sent = events.send(Event::Call(Box::new(call))).await;
            }
        }
        grant(link, received.frame_bytes);
    }
    Ok(())
}

fn may_read(caller: &Caller) -> Result<(), ApiError> {
    match caller.role {
        TokenRole::Operator | TokenRole::Viewer => Ok(()),
        TokenRole::Probe => Err(ApiError::new(Code::Forbidden, "a probe reads no channels")),
    }
}

fn grant(link: &Link, bytes: usize) {
    let mut granted = link.granted.get();
    if let Some(bytes) = granted.consumed(bytes) {
        link.send(ToSidecar::Window { bytes });
    }
    link.granted.set(granted);
}

fn subscribe(
    link: &Link,
    shared: &Shared,
    no: u32,
    name: &str,
    epoch: &str,
    offset: Option<u64>,
    caller: &Caller,
) -> Result<(), LinkError> {
    let mut channels = link.channels.borrow_mut();
    if channels.by_no.len() >= CHANNELS_IN_USE {
        return Err(LinkError::Channels);
    }
    let position = may_read(caller).and_then(|()| shared.borrow_mut().position(name));
    let position = match position {
        Ok(position) => position,
        Err(error) => {
            link.send(ToSidecar::SubscribeFailed { no, error });
            return Ok(());
        }
    };
    let same_epoch = epoch.is_empty() || epoch == position.epoch;
    let continued = offset.filter(|offset| same_epoch && position.continues(*offset));
    let from = continued.unwrap_or(position.top);
    let recovered = continued.is_some() || offset.is_none();
    let cursor = Cursor {
        channel: position.channel,
        epoch: position.epoch.clone(),
        offset: from,
        news: true,
        refusals: 0,
    };
    channels.insert(no, cursor);
    link.send(ToSidecar::Subscribed { no, epoch: position.epoch, top: position.top, from, recovered });
    Ok(())
}
