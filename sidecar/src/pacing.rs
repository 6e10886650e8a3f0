//! When a socket may be flushed: at once while little is going on, under load at most once per interval, so
//! that one system call carries what came meanwhile. Pure.

use std::time::Duration;

/// Flushes of all sockets within one interval from which on there is load: at a few microseconds each they
/// are a per cent of a core.
pub const FREE_FLUSHES: u32 = 32;

/// Flushes that a command which came in makes free of any wait: its reply, and the events that follow from it. Whoever asked
/// waits for them, and what it costs is bounded by what is asked. Whoever asks on without waiting for replies shares flushes.
pub const FLUSHES_FOR_COMMAND: u32 = 4;

/// Counts flushes of all sockets.
#[derive(Clone, Copy, Debug)]
pub struct Pacing {
    interval: Duration,
    window: Duration,
    flushes: u32,
}

/// What counts of one socket.
#[derive(Clone, Copy, Debug, Default)]
pub struct Flushes {
    last: Option<Duration>,
    free: u32,
}

impl Flushes {
    /// A command came in.
    pub fn asked(&mut self) {
        self.free = FLUSHES_FOR_COMMAND;
    }

    /// It is being flushed.
    pub fn flushed(&mut self, now: Duration) {
        self.last = Some(now);
        self.free = self.free.saturating_sub(1);
    }
}

impl Pacing {
    /// With this interval per socket under load.
    pub fn new(interval: Duration) -> Self {
        Self { interval, window: Duration::ZERO, flushes: 0 }
    }

    /// When this socket may be flushed: now, or at the time given. It may be `complete`: all that was asked is answered by it.
    pub fn may_flush(&mut self, socket: &Flushes, complete: bool, now: Duration) -> Result<(), Duration> {
        if self.window + self.interval <= now {
            self.window = now;
            self.flushes = 0;
        }
        let waits = self.flushes >= FREE_FLUSHES && !(complete && socket.free > 0);
        match socket.last.map(|last| last + self.interval).filter(|next| *next > now && waits) {
            Some(next) => Err(next),
            None => {
                self.flushes = self.flushes.saturating_add(1);
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn flushed(ms: u64) -> Flushes {
        Flushes { last: Some(at(ms)), free: 0 }
    }

    fn under_load(now: Duration) -> Pacing {
        let mut pacing = Pacing::new(at(10));
        for _ in 0..FREE_FLUSHES {
            assert_eq!(pacing.may_flush(&flushed(100), true, now), Ok(()), "little is going on");
        }
        pacing
    }

    #[test]
    fn a_quiet_socket_is_flushed_at_once_and_a_busy_one_per_interval() {
        let mut pacing = under_load(at(100));
        assert_eq!(pacing.may_flush(&flushed(100), true, at(101)), Err(at(110)));
        assert_eq!(pacing.may_flush(&Flushes::default(), true, at(101)), Ok(()), "its first");
        assert_eq!(pacing.may_flush(&flushed(80), true, at(101)), Ok(()), "not flushed for long");
        assert_eq!(pacing.may_flush(&flushed(100), true, at(110)), Ok(()));
    }

    #[test]
    fn who_has_asked_does_not_wait_for_what_follows_and_saves_nothing_up() {
        let mut pacing = under_load(at(100));
        let mut socket = flushed(100);
        socket.asked();
        socket.asked();
        assert_eq!(pacing.may_flush(&socket, false, at(101)), Err(at(110)), "more replies are to come");
        for _ in 0..FLUSHES_FOR_COMMAND {
            assert_eq!(pacing.may_flush(&socket, true, at(101)), Ok(()));
            socket.flushed(at(101));
        }
        assert_eq!(pacing.may_flush(&socket, true, at(101)), Err(at(111)));
    }
}
