//! The link: listens on `run/<slot>.link`, speaks frames, keeps each side's window (DESIGN.md 5).
//!
//! A link has two tasks: one reads, answers subscriptions and reads itself and hands calls to the loop; one writes
//! what is queued, then publications of the channels in use, as far as the window goes. Nothing is copied per
//! subscriber: a channel in use is a cursor over its log.

use crate::channels::Channel;
use crate::daemon::{Event, IncomingCall};
use crate::io::served::{Shared, Unread};
use holdfast_shared::error::{ApiError, Code};
use holdfast_shared::link::frame::{
    Decoder, FrameError, MESSAGE_BYTES, Message, encode_json, encode_piece, encode_publications,
};
use holdfast_shared::link::window::{ReceiveWindow, SendWindow};
use holdfast_shared::link::{Caller, PIECE_BYTES, Piece, Publications, Purpose, ToRuntime, ToSidecar};
use holdfast_shared::peer::is_own;
use holdfast_shared::token::TokenRole;
use holdfast_shared::version::{LINK, VersionRange};
use serde_json::Value;
use serde_json::value::RawValue;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Notify, Semaphore, mpsc};

/// Links at a time: the sidecar's route, and the probes of two supervisors with some to spare.
pub const LINKS: usize = 16;
/// Reads that may wait on one link; each session has at most 32 unanswered commands, few of them reads.
pub const READS_WAITING: usize = 4096;
/// Channels in use on one link: 128 of each of 1,000 sessions, most of them shared.
pub const CHANNELS_IN_USE: usize = 128 * 1024;
/// Bytes of publications gathered into one message; two frames.
const PUBLICATIONS_BYTES: usize = 96 * 1024;
/// Publications of one message at most.
const PUBLICATIONS: usize = 1024;
/// How long a new link may take to say hello.
const HELLO_DEADLINE: Duration = Duration::from_secs(5);
/// How long a link that is being closed may take for its last answers: longer than that, and the sidecar sends the
/// commands again anyway.
const CLOSE_DEADLINE: Duration = Duration::from_secs(2);
/// The first pause before a channel that the operating system would not read is tried again; doubled each time.
const RETRY_FIRST: Duration = Duration::from_millis(50);
/// The longest such pause: a subscriber waits so much longer than the disk at most.
const RETRY_LONGEST: Duration = Duration::from_secs(2);
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

/// The channels in use on a link.
#[derive(Default)]
struct InUse {
    by_no: BTreeMap<u32, Cursor>,
    by_channel: BTreeMap<Channel, BTreeSet<u32>>,
    /// Channels that may have more than their cursor's offset, in the order of their turns.
    news: VecDeque<u32>,
    /// Channels with news that could not be read, by when they are tried again.
    stalled: BTreeSet<(Instant, u32)>,
}

struct Cursor {
    /// It is in `news` or `stalled`.
    news: bool,
    /// Times in a row that it could not be read.
    refusals: u32,
    channel: Channel,
    epoch: String,
    offset: u64,
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

struct Reader {
    read: OwnedReadHalf,
    decoder: Decoder,
}

impl Reader {
    async fn next(&mut self) -> Result<Option<holdfast_shared::link::frame::Received>, LinkError> {
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

async fn read_all(
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

impl InUse {
    fn insert(&mut self, no: u32, cursor: Cursor) {
        self.remove(no);
        self.by_channel.entry(cursor.channel.clone()).or_default().insert(no);
        self.by_no.insert(no, cursor);
        self.news.push_back(no);
    }

    /// It could not be read; tried again later.
    fn stall(&mut self, no: u32, now: Instant) {
        let Some(cursor) = self.by_no.get_mut(&no) else { return };
        cursor.news = true;
        cursor.refusals = cursor.refusals.saturating_add(1);
        self.stalled.insert((now + retry_pause(cursor.refusals), no));
    }

    /// What is due has news again.
    fn retry_due(&mut self, now: Instant) {
        while let Some((_, no)) = self.stalled.first().copied().filter(|(due, _)| *due <= now) {
            self.stalled.pop_first();
            self.news.push_back(no);
        }
    }

    fn remove(&mut self, no: u32) {
        let Some(cursor) = self.by_no.remove(&no) else { return };
        if cursor.news {
            self.news.retain(|other| *other != no);
            self.stalled.retain(|(_, other)| *other != no);
        }
        if let Some(numbers) = self.by_channel.get_mut(&cursor.channel) {
            numbers.remove(&no);
            if numbers.is_empty() {
                self.by_channel.remove(&cursor.channel);
            }
        }
    }
}

/// Before a channel is tried again that could not be read so many times in a row.
fn retry_pause(refusals: u32) -> Duration {
    RETRY_FIRST.saturating_mul(1 << refusals.clamp(1, 16).saturating_sub(1)).min(RETRY_LONGEST)
}

/// There is something to send, or to try again.
async fn woken(link: &Link) {
    let due = link.channels.borrow().stalled.first().map(|(due, _)| *due);
    let retry = async {
        match due {
            Some(due) => tokio::time::sleep_until(due.into()).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = link.wake.notified() => {}
        () = retry => {}
    }
}

async fn write_all(link: Rc<Link>, mut write: OwnedWriteHalf, shared: Shared) -> Result<(), LinkError> {
    let mut out = bytes::BytesMut::new();
    loop {
        while fill(&link, &shared, &mut out) {
            let writing = write.write_all(&out);
            if link.closing.get() {
                match tokio::time::timeout(CLOSE_DEADLINE, writing).await {
                    Ok(written) => written?,
                    Err(_) => return Ok(()),
                }
            } else {
                writing.await?;
            }
            out.clear();
        }
        if link.closing.get() {
            return Ok(());
        }
        woken(&link).await;
    }
}

/// Encodes what may be sent now; whether there was anything.
fn fill(link: &Link, shared: &Shared, out: &mut bytes::BytesMut) -> bool {
    let mut window = link.window.get();
    fill_queued(link, shared, &mut window, out);
    if !link.closing.get() {
        fill_publications(link, shared, &mut window, out);
    }
    link.window.set(window);
    !out.is_empty()
}

fn fill_queued(link: &Link, shared: &Shared, window: &mut SendWindow, out: &mut bytes::BytesMut) {
    let mut queue = link.queue.borrow_mut();
    // Grants and hello go whatever the window says, else two closed windows would wait for each other.
    let free = |message: &Queued| {
        matches!(message, Queued::Json(ToSidecar::Window { .. } | ToSidecar::Hello { .. }))
    };
    while out.len() < READ_BYTES
        && let Some(next) = queue.front()
        && (window.open() || free(next))
    {
        let sent = match queue.pop_front() {
            Some(Queued::Json(message)) => encode_json(link.epoch, &message, out),
            Some(Queued::Read(request)) => {
                link.reads.set(link.reads.get() - 1);
                encode_read(link.epoch, shared, request, out)
            }
            None => 0,
        };
        window.sent(sent);
    }
    if !window.open() {
        let grants =
            queue.iter().position(|message| matches!(message, Queued::Json(ToSidecar::Window { .. })));
        if let Some(Queued::Json(message)) = grants.and_then(|index| queue.remove(index)) {
            window.sent(encode_json(link.epoch, &message, out));
        }
    }
}

fn encode_read(epoch: u64, shared: &Shared, asked: ReadRequest, out: &mut bytes::BytesMut) -> usize {
    let ReadRequest { id, channel, epoch: position, offset, limit, max_bytes } = asked;
    match shared.borrow_mut().piece(&channel, &position, offset, limit, max_bytes) {
        Ok(piece) => encode_piece(epoch, &Piece { id, ..piece }, out),
        Err(error) => {
            let reply = ToSidecar::Reply { id, result: None, error: Some(error) };
            encode_json(epoch, &reply, out)
        }
    }
}

/// One message of publications of the next channel with news, if the queue is empty and the window open.
fn fill_publications(link: &Link, shared: &Shared, window: &mut SendWindow, out: &mut bytes::BytesMut) {
    let mut channels = link.channels.borrow_mut();
    let channels = &mut *channels;
    channels.retry_due(Instant::now());
    while out.len() < READ_BYTES && window.open() && link.queue.borrow().is_empty() {
        let Some(no) = channels.news.pop_front() else { return };
        let Some(cursor) = channels.by_no.get_mut(&no) else { continue };
        cursor.news = false;
        let mut served = shared.borrow_mut();
        if served.channel_epoch(&cursor.channel) != Some(cursor.epoch.as_str()) {
            drop(served);
            channels.remove(no);
            window.sent(encode_json(link.epoch, &ToSidecar::Reset { no }, out));
            continue;
        }
        let read = served.read(&cursor.channel, cursor.offset, PUBLICATIONS, PUBLICATIONS_BYTES);
        match read {
            Ok(publications) if publications.is_empty() => cursor.refusals = 0,
            Ok(publications) => {
                cursor.refusals = 0;
                cursor.offset = publications.last().map_or(cursor.offset, |last| last.offset);
                // Perhaps there is more; the others have their turn first.
                cursor.news = true;
                channels.news.push_back(no);
                window.sent(encode_publications(link.epoch, &Publications { no, publications }, out));
            }
            Err(Unread::Refused(error)) => {
                if cursor.refusals == 0 {
                    tracing::warn!(%error, channel = ?cursor.channel, "channel cannot be read now");
                }
                drop(served);
                channels.stall(no, Instant::now());
            }
            Err(Unread::Gone(error)) => {
                // Cut away behind a sidecar that is far behind: it subscribes anew.
                tracing::warn!(%error, channel = ?cursor.channel, "channel cannot be continued");
                drop(served);
                channels.remove(no);
                window.sent(encode_json(link.epoch, &ToSidecar::Reset { no }, out));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_read_is_tried_again_later_and_later_and_nothing_else_waits() {
        let mut in_use = InUse::default();
        for no in [1, 2] {
            let (channel, epoch) = (Channel::Conversation(no.to_string()), String::new());
            in_use.insert(no, Cursor { channel, epoch, offset: 7, news: true, refusals: 0 });
        }
        let begun = Instant::now();
        assert_eq!(in_use.news.pop_front(), Some(1));
        in_use.stall(1, begun);
        in_use.retry_due(begun);
        assert_eq!(in_use.news, [2], "not at once");
        in_use.retry_due(begun + RETRY_FIRST);
        assert_eq!(in_use.news, [2, 1]);
        assert_eq!(in_use.by_no[&1].offset, 7, "from where it was");
        assert!(in_use.stalled.is_empty());
        in_use.stall(2, begun);
        in_use.remove(2);
        in_use.retry_due(begun + RETRY_LONGEST);
        assert_eq!(in_use.news, [1], "no longer in use");
        let pauses = [1, 2, 6, 7, u32::MAX].map(|refusals| retry_pause(refusals).as_millis());
        assert_eq!(pauses, [50, 100, 1600, 2000, 2000]);
    }
}
