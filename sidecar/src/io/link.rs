//! Links to runtimes: dialling, the hello, and then frames both ways.

use crate::daemon::Event;
use crate::io::world::World;
use crate::wish::Target;
use bytes::BytesMut;
use holdfast_shared::link::frame::{self, Decoder, FrameError, Message, Received};
use holdfast_shared::link::{Purpose, ToRuntime, ToSidecar};
use holdfast_shared::process::connect_unix;
use holdfast_shared::slot::Slot;
use holdfast_shared::version;
use std::io;
use std::rc::Rc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

/// What a runtime gets to answer our hello; one that is stopped or hangs is dialled again.
const HELLO_WITHIN: Duration = Duration::from_secs(1);
/// Bytes read at once.
const READ_BYTES: usize = 64 * 1024;

/// Why a link could not be made or ended.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// Nobody listens, or the connection broke.
    #[error("link to slot {slot}: {source}")]
    Io {
        /// The slot.
        slot: Slot,
        /// What the system said.
        source: io::Error,
    },
    /// No hello in time.
    #[error("link to slot {0}: no hello in time")]
    Silent(Slot),
    /// Something that is not a link message.
    #[error("link to slot {slot}: {source}")]
    Frame {
        /// The slot.
        slot: Slot,
        /// What was wrong.
        source: FrameError,
    },
    /// Another message than a hello, a hello of another slot, or no common version.
    #[error("link to slot {0}: no hello that can be agreed to")]
    Hello(Slot),
}

/// A connected link.
pub struct Connected {
    stream: UnixStream,
    decoder: Decoder,
    /// The epoch the runtime says it is active with.
    pub epoch: Option<u64>,
}

/// Dials a slot's runtime and exchanges hellos.
///
/// # Errors
/// [`LinkError`].
pub async fn dial(world: &World, slot: Slot, epoch: u64, purpose: Purpose) -> Result<Connected, LinkError> {
    let io = |source| LinkError::Io { slot, source };
    let hello = async {
        let mut stream = connect_unix(&world.home.link(slot)).map_err(io)?;
        let mut wire = BytesMut::new();
        let sidecar_instance_id = world.instance.clone();
        let hello = ToRuntime::Hello { versions: version::LINK, slot, epoch, purpose, sidecar_instance_id };
        frame::encode_json(epoch, &hello, &mut wire);
        stream.write_all(&wire).await.map_err(io)?;
        let mut decoder = Decoder::default();
        let received = next(&mut stream, &mut decoder, slot).await?;
        let Message::Json(text) = received.message else { return Err(LinkError::Hello(slot)) };
        match serde_json::from_slice(&text) {
            Ok(ToSidecar::Hello { version: Some(_), slot: theirs, epoch, .. }) if theirs == slot => {
                Ok(Connected { stream, decoder, epoch })
            }
            _ => Err(LinkError::Hello(slot)),
        }
    };
    tokio::time::timeout(HELLO_WITHIN, hello).await.map_err(|_| LinkError::Silent(slot))?
}

async fn next(
    stream: &mut (impl AsyncReadExt + Unpin),
    decoder: &mut Decoder,
    slot: Slot,
) -> Result<Received, LinkError> {
    loop {
        if let Some(received) = decoder.next_message().map_err(|source| LinkError::Frame { slot, source })? {
            return Ok(received);
        }
        decoder.input().reserve(READ_BYTES);
        let bytes = stream.read_buf(decoder.input()).await;
        match bytes.map_err(|source| LinkError::Io { slot, source })? {
            0 => return Err(LinkError::Io { slot, source: io::ErrorKind::UnexpectedEof.into() }),
            _ => continue,
        }
    }
}

impl Connected {
    /// Sends one message and waits for the next (a probe's whole conversation).
    ///
    /// # Errors
    /// [`LinkError`].
    pub async fn ask(&mut self, slot: Slot, epoch: u64, message: &ToRuntime) -> Result<Received, LinkError> {
        let mut wire = BytesMut::new();
        frame::encode_json(epoch, message, &mut wire);
        self.stream.write_all(&wire).await.map_err(|source| LinkError::Io { slot, source })?;
        next(&mut self.stream, &mut self.decoder, slot).await
    }
}

/// Dials the routed runtime once and, when it is the one meant, serves the link until it ends. The daemon
/// hears of every step by events, all naming this link.
pub async fn run(world: Rc<World>, target: Target, link: u64) {
    let events = world.events.clone();
    let ended = match dial(&world, target.slot, target.epoch, Purpose::Route).await {
        Err(error) => error,
        Ok(connected) => {
            let epoch = connected.epoch;
            if events.send(Event::LinkGreeted { link, target, epoch }).await.is_err() {
                return;
            }
            if epoch == Some(target.epoch) {
                serve(&world, connected, target, link).await
            } else {
                LinkError::Hello(target.slot)
            }
        }
    };
    tracing::debug!(error = %ended, epoch = target.epoch, "link ended");
    let _ = events.send(Event::LinkLost { link, target }).await;
}

async fn serve(world: &Rc<World>, connected: Connected, target: Target, link: u64) -> LinkError {
    let (reader, writer) = connected.stream.into_split();
    tokio::select! {
        error = read(world, reader, connected.decoder, target, link) => error,
        error = write(world, writer, target, link) => error,
    }
}

async fn read(
    world: &Rc<World>,
    mut reader: OwnedReadHalf,
    mut decoder: Decoder,
    target: Target,
    link: u64,
) -> LinkError {
    loop {
        let received = match next(&mut reader, &mut decoder, target.slot).await {
            Ok(received) => received,
            Err(error) => return error,
        };
        if world.events.send(Event::LinkMessage { link, received }).await.is_err() {
            return LinkError::Silent(target.slot);
        }
    }
}

async fn write(world: &Rc<World>, mut writer: OwnedWriteHalf, target: Target, link: u64) -> LinkError {
    let mut wire = BytesMut::new();
    loop {
        world.act(|exchange, _| exchange.link_output(link, &mut wire));
        if wire.is_empty() {
            world.link_bell.rung().await;
            continue;
        }
        if let Err(source) = writer.write_all(&wire).await {
            return LinkError::Io { slot: target.slot, source };
        }
        wire.clear();
    }
}
