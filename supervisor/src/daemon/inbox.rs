//! What the loop takes next: events of its tasks, and what children notify.

use super::Event;
use holdfast_shared::notify::{Message, NotifySocket, TURN_AT_MOST};
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc;

/// The next event, or one turn's notifications, whichever is there; when both always are, each about every other time.
pub(super) async fn asked_or_notified(
    inbox: &mut mpsc::Receiver<Event>,
    socket: &AsyncFd<NotifySocket>,
) -> Vec<Event> {
    tokio::select! {
        Some(event) = inbox.recv() => vec![event],
        messages = notified(socket) => match messages {
            Ok(messages) => messages.into_iter().map(Event::Notified).collect(),
            // Notifications are hints; what anybody may send must not end the supervisor.
            Err(error) => {
                tracing::warn!(%error, "read notifications");
                Vec::new()
            }
        },
    }
}

/// One turn's notifications.
async fn notified(socket: &AsyncFd<NotifySocket>) -> std::io::Result<Vec<Message>> {
    let mut ready = socket.readable().await?;
    let messages = socket.get_ref().receive_turn();
    if !messages.as_ref().is_ok_and(|messages| messages.len() == TURN_AT_MOST) {
        ready.clear_ready();
    }
    messages
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_shared::home::Role;
    use holdfast_shared::notify::Notifier;

    #[tokio::test]
    async fn neither_events_nor_notifications_without_end_keep_the_other_waiting() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify.sock");
        let socket = NotifySocket::bind(&path).unwrap();
        // SAFETY: the socket owns its descriptor, always answers with the same, and lives in here.
        let socket = unsafe { AsyncFd::register(socket) }.unwrap();
        let child = Notifier::to(&path);
        let (events, mut inbox) = mpsc::channel(1);
        let (mut asked, mut notified) = (0, 0);
        while asked == 0 || notified == 0 {
            child.watchdog();
            let _ = events.try_send(Event::StartDue(Role::Sidecar));
            assert!(asked + notified < 10_000, "{asked} events, {notified} notifications");
            for event in asked_or_notified(&mut inbox, &socket).await {
                match event {
                    Event::Notified(_) => notified += 1,
                    _ => asked += 1,
                }
            }
        }
    }
}
