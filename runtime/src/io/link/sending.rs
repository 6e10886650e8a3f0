//! One task of a link: answers in their order, then publications of the channels in use, as far as the window goes.

use super::{Link, LinkError, Queued, READ_BYTES, ReadRequest};
use crate::io::served::{Shared, Unread};
use holdfast_shared::link::frame::{encode_json, encode_piece, encode_publications};
use holdfast_shared::link::window::SendWindow;
use holdfast_shared::link::{Piece, Publications, ToSidecar};
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt;
use tokio::net::unix::OwnedWriteHalf;

/// Bytes of publications gathered into one message; two frames.
const PUBLICATIONS_BYTES: usize = 96 * 1024;
/// Publications of one message at most.
const PUBLICATIONS: usize = 1024;
/// How long a link that is being closed may take for its last answers: longer than that, and the sidecar sends the
/// commands again anyway.
const CLOSE_DEADLINE: Duration = Duration::from_secs(2);

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

/// Sends what there is until the link is closed.
pub(super) async fn write_all(
    link: Rc<Link>,
    mut write: OwnedWriteHalf,
    shared: Shared,
) -> Result<(), LinkError> {
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
