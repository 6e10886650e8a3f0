//! The link: listens on `run/<slot>.link`, speaks frames, keeps each side's window (DESIGN.md 5).
//!
//! A link has two tasks: one reads, answers subscriptions and reads itself and hands calls to the loop; one writes
//! what is queued, then publications of the channels in use, as far as the window goes. Nothing is copied per
//! subscriber: a channel in use is a cursor over its log.

mod in_use;
mod receiving;
mod sending;

use crate::channels::Channel;
use crate::daemon::Event;
use crate::io::served::Shared;
use holdfast_shared::error::{ApiError, Code};
use holdfast_shared::link::frame::{Decoder, FrameError, MESSAGE_BYTES, Message};
use holdfast_shared::link::window::{ReceiveWindow, SendWindow};
use holdfast_shared::link::{Purpose, ToRuntime, ToSidecar};
use holdfast_shared::peer::is_own;
use holdfast_shared::version::{LINK, VersionRange};
use in_use::InUse;
use receiving::{Reader, read_all};
use sending::write_all;
use serde_json::Value;
use serde_json::value::RawValue;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Notify, Semaphore, mpsc};

/// Links at a time: the sidecar's route, and the probes of two supervisors with some to spare.
pub const LINKS: usize = 16;
/// Reads that may wait on one link; each session has at most 32 unanswered commands, few of them reads.
pub const READS_WAITING: usize = 4096;
/// Channels in use on one link: 128 of each of 1,000 sessions, most of them shared.
pub const CHANNELS_IN_USE: usize = 128 * 1024;
/// How long a new link may take to say hello.
const HELLO_DEADLINE: Duration = Duration::from_secs(5);
/// Bytes read from the socket at a time.
const READ_BYTES: usize = 64 * 1024;

/// Why a link ended; for the log.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The socket failed.
    #[error("link socket: {0}")]
    Io(#[from] std::io::Error),
    /// The other side does not speak frames.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// A message that this version does not know.
    #[error("link message: {0}")]
    Message(#[from] serde_json::Error),
    /// No hello, a second one, or something else before it.
    #[error("link hello missing, late or repeated")]
    Hello,
    /// Frames of another epoch.
    #[error("link frame of epoch {got}, expected {expected}")]
    Epoch {
        /// The epoch of the frame.
        got: u64,
        /// The link's.
        expected: u64,
    },
    /// A bound was passed.
    #[error("link has more than {CHANNELS_IN_USE} channels in use")]
    Channels,
}

/// One link, shared by its two tasks and the loop.
pub struct Link {
    /// The epoch in its frames: the active's, 0 for a probe.
    pub epoch: u64,
    purpose: Purpose,
    queue: RefCell<VecDeque<Queued>>,
    /// Reads in the queue.
    reads: Cell<usize>,
    /// Bytes of calls that the loop has not decided on yet.
    calls: Arc<Semaphore>,
    window: Cell<SendWindow>,
    granted: Cell<ReceiveWindow>,
    channels: RefCell<InUse>,
    wake: Notify,
    closing: Cell<bool>,
}

enum Queued {
    Json(ToSidecar),
    /// Read when it can be sent, so that what waits is small.
    Read(ReadRequest),
}

struct ReadRequest {
    id: u64,
    channel: String,
    epoch: String,
    offset: u64,
    limit: usize,
    max_bytes: usize,
}

impl Link {
    fn new(epoch: u64, purpose: Purpose) -> Rc<Self> {
        Rc::new(Self {
            epoch,
            purpose,
            queue: RefCell::default(),
            reads: Cell::new(0),
            calls: Arc::new(Semaphore::new(MESSAGE_BYTES)),
            window: Cell::default(),
            granted: Cell::default(),
            channels: RefCell::default(),
            wake: Notify::new(),
            closing: Cell::new(false),
        })
    }

    /// Queues the answer to a call.
    pub fn reply(&self, id: u64, answer: Result<&Value, ApiError>) {
        let (result, error) = match answer {
            Ok(result) => (raw(result), None),
            Err(error) => (None, Some(error)),
        };
        self.send(ToSidecar::Reply { id, result, error });
    }

    /// A channel may have news.
    pub fn news(&self, channel: &Channel) {
        let mut channels = self.channels.borrow_mut();
        let channels = &mut *channels;
        for no in channels.by_channel.get(channel).into_iter().flatten() {
            if let Some(cursor) = channels.by_no.get_mut(no)
                && !std::mem::replace(&mut cursor.news, true)
            {
                channels.news.push_back(*no);
                self.wake.notify_one();
            }
        }
    }

    /// Ends the link once what is queued was sent.
    pub fn close(&self) {
        self.closing.set(true);
        self.wake.notify_one();
    }

    /// Whether it is for browser traffic.
    pub fn is_route(&self) -> bool {
        self.purpose == Purpose::Route
    }

    fn may_wait(&self) -> Result<(), ApiError> {
        if self.reads.get() < READS_WAITING {
            return Ok(());
        }
        Err(ApiError::new(Code::Busy, format!("{READS_WAITING} reads wait on this link already")))
    }

    fn queue_read(&self, request: ReadRequest) {
        self.reads.set(self.reads.get() + 1);
        self.queue.borrow_mut().push_back(Queued::Read(request));
        self.wake.notify_one();
    }

    fn send(&self, message: ToSidecar) {
        self.queue.borrow_mut().push_back(Queued::Json(message));
        self.wake.notify_one();
    }
}

fn raw(value: &Value) -> Option<Box<RawValue>> {
    Some(serde_json::value::to_raw_value(value).expect("a JSON value has a text"))
}

/// Accepts links until dropped; each becomes two tasks of the present `LocalSet`.
pub async fn serve(listener: UnixListener, shared: Shared, events: mpsc::Sender<Event>) {
    let alive = Rc::new(Cell::new(0));
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        let own = stream.peer_cred().is_ok_and(|peer| is_own(peer.uid(), peer.pid().unwrap_or(0)));
        if !own {
            tracing::warn!("a link of another user or a worker is refused");
            continue;
        }
        if alive.get() >= LINKS {
            tracing::warn!("more than {LINKS} links; one is refused");
            continue;
        }
        alive.set(alive.get() + 1);
        let (shared, events, alive) = (shared.clone(), events.clone(), alive.clone());
        tokio::task::spawn_local(async move {
            if let Err(error) = run(stream, &shared, &events).await {
                tracing::info!(%error, "link ended");
            }
            alive.set(alive.get() - 1);
        });
    }
}

async fn run(stream: UnixStream, shared: &Shared, events: &mpsc::Sender<Event>) -> Result<(), LinkError> {
    let (read, write) = stream.into_split();
    let mut reader = Reader { read, decoder: Decoder::default() };
    let hello = tokio::time::timeout(HELLO_DEADLINE, reader.next()).await.map_err(|_| LinkError::Hello)??;
    let Some(received) = hello else { return Ok(()) };
    let Message::Json(text) = received.message else { return Err(LinkError::Hello) };
    let ToRuntime::Hello { versions, slot, epoch, purpose, .. } = serde_json::from_slice(&text)? else {
        return Err(LinkError::Hello);
    };
    let answer = shared.borrow().hello(versions.highest_common(LINK));
    let welcome = is_welcome(shared, versions, slot, epoch, purpose);
    let link = Link::new(epoch, purpose);
    link.send(answer);
    if !welcome {
        link.close();
        return write_all(link, write, shared.clone()).await;
    }
    {
        let mut served = shared.borrow_mut();
        // Links come and go also while nothing is published.
        served.links.retain(|link| link.strong_count() > 0);
        served.links.push(Rc::downgrade(&link));
    }
    let mut writer = tokio::task::spawn_local(write_all(link.clone(), write, shared.clone()));
    let ended = tokio::select! {
        ended = read_all(&mut reader, &link, shared, events) => ended,
        _written = &mut writer => return Ok(()),
    };
    writer.abort();
    ended
}

/// A probe is welcome whatever the role is, a route only where this runtime is active with its epoch.
fn is_welcome(
    shared: &Shared,
    versions: VersionRange,
    slot: holdfast_shared::slot::Slot,
    epoch: u64,
    purpose: Purpose,
) -> bool {
    let served = shared.borrow();
    let active = purpose == Purpose::Probe || served.serving_epoch() == Some(epoch);
    versions.highest_common(LINK).is_some() && slot == served.slot && active
}
