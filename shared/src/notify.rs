//! The sd_notify protocol, both sides (DESIGN.md 2).
//!
//! A child says READY, STATUS, STOPPING, WATCHDOG and hands over descriptors; the parent hears from whom by
//! the kernel's credentials. Notifications are hints: any may be lost, so READY is repeated with each
//! WATCHDOG, and a parent that must know asks over the control socket.

mod datagram;
mod receive;
mod send;

pub use receive::{Message, NotifySocket};
pub use send::Notifier;

/// How often a child says WATCHDOG=1 from its main loop.
pub const WATCHDOG_MILLISECONDS: u64 = 500;

/// Notifications that one turn of a loop takes at most, so that whoever sends them without end delays nothing else:
/// more than all children of a node send in a second.
pub const TURN_AT_MOST: usize = 64;

/// Bytes of one notification at most (systemd's own limit is a page).
const MESSAGE_BYTES: usize = 4096;

/// Descriptors in one notification at most.
const DESCRIPTORS_AT_MOST: usize = 4;

/// One assignment of a notification.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notification {
    /// READY=1: it serves, in its role.
    Ready,
    /// STATUS=...: a line for people.
    Status(String),
    /// STOPPING=1: it is about to end.
    Stopping,
    /// WATCHDOG=1: its main loop turns.
    Watchdog,
    /// FDSTORE=1 with FDNAME: the message's descriptors are to be kept under this name.
    StoreFd(String),
}

/// Reads a notification; what is unknown is skipped.
fn parse(text: &str) -> Vec<Notification> {
    let mut name = None;
    let mut store = false;
    let mut said = Vec::new();
    for line in text.lines() {
        match line.split_once('=') {
            Some(("READY", "1")) => said.push(Notification::Ready),
            Some(("STOPPING", "1")) => said.push(Notification::Stopping),
            Some(("WATCHDOG", "1")) => said.push(Notification::Watchdog),
            Some(("STATUS", status)) => said.push(Notification::Status(status.to_owned())),
            Some(("FDSTORE", "1")) => store = true,
            Some(("FDNAME", given)) => name = Some(given.to_owned()),
            _ => {}
        }
    }
    if store {
        said.push(Notification::StoreFd(name.unwrap_or_else(|| "stored".to_owned())));
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;
    use std::time::{Duration, Instant};

    fn receive(socket: &NotifySocket) -> Message {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            if let Some(message) = socket.try_receive().unwrap() {
                return message;
            }
            assert!(Instant::now() < deadline, "no notification came");
            std::thread::yield_now();
        }
    }

    #[test]
    fn unknown_assignments_are_skipped() {
        assert_eq!(
            parse("READY=1\nMAINPID=4\nSTATUS=a=b\nnonsense\nWATCHDOG=0"),
            vec![Notification::Ready, Notification::Status("a=b".to_owned())]
        );
        assert_eq!(parse("FDSTORE=1\nFDNAME=x"), vec![Notification::StoreFd("x".to_owned())]);
    }

    #[test]
    fn the_parent_hears_who_says_what_and_gets_descriptors() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("n".repeat(100)).join("notify.sock");
        std::fs::create_dir(path.parent().unwrap()).unwrap();
        let socket = NotifySocket::bind(&path).unwrap();
        let mut notifier = Notifier::to(&path);
        assert!(socket.try_receive().unwrap().is_none());

        notifier.watchdog();
        let message = receive(&socket);
        assert_eq!(message.pid, std::process::id().cast_signed());
        assert_eq!(message.said, vec![Notification::Watchdog]);

        notifier.ready();
        assert_eq!(receive(&socket).said, vec![Notification::Ready]);
        notifier.watchdog();
        assert_eq!(receive(&socket).said, vec![Notification::Ready, Notification::Watchdog]);

        let file = tempfile::tempfile().unwrap();
        notifier.store_fd("listener", file.as_fd());
        let message = receive(&socket);
        assert_eq!(message.said, vec![Notification::StoreFd("listener".to_owned())]);
        assert_eq!(message.descriptors.len(), 1);
    }

    #[test]
    fn a_message_with_too_many_descriptors_is_no_error() {
        use nix::sys::socket::{ControlMessage, MsgFlags, UnixAddr, sendmsg};
        use std::os::fd::AsRawFd;
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify.sock");
        let socket = NotifySocket::bind(&path).unwrap();
        let sender = std::os::unix::net::UnixDatagram::unbound().unwrap();
        let file = tempfile::tempfile().unwrap();
        let address = UnixAddr::new(&path).unwrap();
        for count in [10, 253] {
            let descriptors = vec![file.as_raw_fd(); count];
            let rights = [ControlMessage::ScmRights(&descriptors)];
            let bytes = [std::io::IoSlice::new(b"READY=1")];
            sendmsg(sender.as_raw_fd(), &bytes, &rights, MsgFlags::empty(), Some(&address)).unwrap();
            let message = receive(&socket);
            assert_eq!(message.said, vec![Notification::Ready]);
            assert_eq!(message.descriptors.len(), DESCRIPTORS_AT_MOST);
        }
    }

    #[test]
    fn one_turn_takes_no_more_than_its_share() {
        let (directory, count) = (tempfile::tempdir().unwrap(), 2 * TURN_AT_MOST + 1);
        let path = directory.path().join("notify.sock");
        let socket = NotifySocket::bind(&path).unwrap();
        let sender = std::os::unix::net::UnixDatagram::unbound().unwrap();
        sender.set_nonblocking(true).unwrap();
        let (mut sent, mut turns) = (0, Vec::new());
        while turns.iter().sum::<usize>() < count {
            // The kernel's own queue may be shorter than a turn.
            while sent < count && sender.send_to(b"WATCHDOG=1", &path).is_ok() {
                sent += 1;
            }
            turns.push(socket.receive_turn().unwrap().len());
        }
        assert!(turns.iter().all(|turn| *turn <= TURN_AT_MOST), "{turns:?}");
        assert!(socket.receive_turn().unwrap().is_empty());
    }

    #[test]
    fn a_parent_that_is_away_or_does_not_read_stops_nobody() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify.sock");
        let mut notifier = Notifier::to(&path);
        notifier.ready();
        let socket = NotifySocket::bind(&path).unwrap();
        for _ in 0..10_000 {
            notifier.watchdog();
        }
        assert_eq!(receive(&socket).said, vec![Notification::Ready, Notification::Watchdog]);
        Notifier::from_address(None).ready();
    }
}
