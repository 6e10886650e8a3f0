//! One session's socket: reads while the session may be read, writes one message at a time, and lets the
//! session's clock run.

use crate::exchange::Output;
use crate::io::bell::Bell;
use crate::io::metered::Metered;
use crate::io::world::World;
use crate::pacing::Flushes;
use crate::protocol::Disconnect;
use crate::session::{Entrance, SessionId};
use bytes::Bytes;
use futures_util::{Sink, Stream};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::Sleep;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::{CapacityError, Error};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

/// Bytes of a browser's message at most (CONTRACTS.md 8).
pub const FRAME_BYTES: usize = 1024 * 1024;
/// Bytes read at once: thousands of sessions are idle, and commands are small.
const READ_BUFFER_BYTES: usize = 4 * 1024;
/// Bytes the library may have unwritten: one message, of which the largest is one publication or reply as
/// large as a link message.
const WRITE_BUFFER_BYTES: usize = holdfast_shared::link::frame::MESSAGE_BYTES + 64 * 1024;
/// What a client gets to answer our close, and what we read from it meanwhile at most.
const CLOSE_WITHIN: Duration = Duration::from_secs(2);

struct Socket<S> {
    world: Rc<World>,
    id: SessionId,
    bell: Rc<Bell>,
    stream: WebSocketStream<Metered<S>>,
    /// Something is to be asked of the exchange.
    due: bool,
    /// A message is being written; whether it is only a ping.
    writing: Option<bool>,
    flushes: Flushes,
    timer: Pin<Box<Sleep>>,
    armed: Option<Duration>,
    read: u64,
    written: u64,
}

enum Event {
    Rang,
    Wrote,
    Timer,
    Message(Message),
    Gone,
    TooBig,
    Malformed,
}

/// Serves one session until its socket is gone.
pub async fn serve<S>(world: Rc<World>, stream: S, already_read: Bytes, entrance: Entrance)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER_BYTES)
        .write_buffer_size(0)
        .max_write_buffer_size(WRITE_BUFFER_BYTES)
        .max_message_size(Some(FRAME_BYTES))
        .max_frame_size(Some(FRAME_BYTES));
    let stream = Metered::new(stream);
    let stream =
        WebSocketStream::from_partially_read(stream, already_read.into(), Role::Server, Some(config)).await;
    let (id, bell) = world.open(entrance);
    let timer = Box::pin(tokio::time::sleep(Duration::ZERO));
    let mut socket = Socket {
        world,
        id,
        bell,
        stream,
        due: true,
        writing: None,
        flushes: Flushes::default(),
        timer,
        armed: None,
        read: 0,
        written: 0,
    };
    let reason = socket.run().await;
    socket.world.closed(id);
    if let Some(reason) = reason {
        socket.say_goodbye(reason).await;
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Socket<S> {
    /// Runs until the socket is gone, or is to be closed for a reason.
    async fn run(&mut self) -> Option<Disconnect> {
        loop {
            if let Some(reason) = self.write_next() {
                return Some(reason);
            }
            let event = std::future::poll_fn(|context| self.poll_event(context)).await;
            self.report_life();
            match event {
                Event::Rang => self.due = true,
                Event::Wrote => self.writing = None,
                Event::Timer => {
                    self.armed = None;
                    self.due = true;
                    let (id, writing) = (self.id, self.writing.is_some());
                    let overdue = self.world.act(|exchange, now| exchange.overdue(id, now));
                    if let Some(reason) = overdue.filter(|_| writing) {
                        return Some(reason);
                    }
                }
                Event::Message(Message::Text(text)) => {
                    let (id, text) = (self.id, Bytes::from(text));
                    self.world.act(|exchange, now| exchange.receive(id, text, now));
                    // A pong asks nothing.
                    if self.world.look(|exchange| exchange.owes_reply(id)) {
                        self.flushes.asked();
                    }
                }
                Event::Message(Message::Ping(_) | Message::Pong(_) | Message::Frame(_)) => {}
                Event::Message(Message::Binary(_)) => return Some(Disconnect::BAD_REQUEST),
                Event::Message(Message::Close(_)) => {
                    let _ = tokio::time::timeout(CLOSE_WITHIN, self.stream.close(None)).await;
                    return None;
                }
                Event::TooBig => return Some(Disconnect::TOO_BIG),
                Event::Malformed => return Some(Disconnect::BAD_REQUEST),
                Event::Gone => return None,
            }
        }
    }

    /// Starts writing the next message, if there is one and it is time; or says why to close.
    fn write_next(&mut self) -> Option<Disconnect> {
        if !self.due || self.writing.is_some() {
            return None;
        }
        let now = self.world.now().since_start;
        if let Err(next) = self.world.may_flush(self.id, &self.flushes, now) {
            self.arm(next);
            return None;
        }
        let id = self.id;
        let output = self.world.act(|exchange, now| exchange.output(id, now));
        let Output { text, only_ping, more, close } = output;
        self.due = more;
        if !text.is_empty() {
            self.flushes.flushed(now);
            self.writing = Some(only_ping);
            // Everything here was made of strings and JSON that was checked as it came in.
            let text = Utf8Bytes::try_from(text).unwrap_or_default();
            if Pin::new(&mut self.stream).start_send(Message::Text(text)).is_err() {
                self.writing = None;
                return Some(Disconnect::NO_PONG);
            }
        }
        close
    }

    fn poll_event(&mut self, context: &mut Context<'_>) -> Poll<Event> {
        if self.writing.is_some() {
            match Pin::new(&mut self.stream).poll_flush(context) {
                Poll::Ready(Ok(())) => return Poll::Ready(Event::Wrote),
                Poll::Ready(Err(_)) => return Poll::Ready(Event::Gone),
                Poll::Pending => {}
            }
        }
        if self.world.look(|exchange| exchange.may_read(self.id))
            && let Poll::Ready(message) = Pin::new(&mut self.stream).poll_next(context)
        {
            return Poll::Ready(match message {
                Some(Ok(message)) => Event::Message(message),
                Some(Err(Error::Capacity(CapacityError::MessageTooLong { .. }))) => Event::TooBig,
                Some(Err(Error::Protocol(_) | Error::Utf8(_) | Error::Capacity(_))) => Event::Malformed,
                Some(Err(_)) | None => Event::Gone,
            });
        }
        if self.bell.poll_rung(context).is_ready() {
            return Poll::Ready(Event::Rang);
        }
        if self.armed.is_none() || !self.due {
            let (id, now, writing) = (self.id, self.world.now(), self.writing.is_some());
            let deadline = self.world.look(|exchange| exchange.session_deadline(id, writing, now));
            self.arm(deadline);
        }
        self.timer.as_mut().poll(context).map(|()| Event::Timer)
    }

    /// Lets the timer fire at this time or before; early ones only ask again.
    fn arm(&mut self, at: Duration) {
        if self.armed.is_none_or(|armed| at < armed) {
            self.armed = Some(at);
            self.timer.as_mut().reset(self.world.instant(at));
        }
    }

    fn report_life(&mut self) {
        let Metered { read, written, .. } = *self.stream.get_ref();
        let heard = std::mem::replace(&mut self.read, read) != read;
        let took = std::mem::replace(&mut self.written, written) != written && self.writing != Some(true);
        if heard || took {
            let id = self.id;
            self.world.act(|exchange, now| exchange.alive(id, heard, took, now));
        }
    }

    /// Closes with a code, and reads on until the client closes too: what it sent meanwhile would otherwise
    /// make the kernel throw our last bytes away.
    async fn say_goodbye(&mut self, reason: Disconnect) {
        let frame = CloseFrame { code: CloseCode::from(reason.code), reason: reason.reason.into() };
        let closing = async {
            self.stream.close(Some(frame)).await.ok();
            let raw = self.stream.get_mut();
            raw.shutdown().await.ok();
            let mut unread = [0; READ_BUFFER_BYTES];
            while raw.read(&mut unread).await.is_ok_and(|bytes| bytes > 0) {}
        };
        let _ = tokio::time::timeout(CLOSE_WITHIN, closing).await;
    }
}
