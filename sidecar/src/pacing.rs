//! When a socket may be flushed: at once while little is going on, under load at most once per interval, so
//! that one system call carries what came meanwhile. Pure.

use std::time::Duration;

/// Flushes of all sockets within one interval from which on there is load: at a few microseconds each they
/// are a per cent of a core.
pub const FREE_FLUSHES: u32 = 32;

/// Counts flushes of all sockets.
#[derive(Clone, Copy, Debug)]
pub struct Pacing {
    interval: Duration,
    window: Duration,
    flushes: u32,
}

impl Pacing {
    /// With this interval per socket under load.
    pub fn new(interval: Duration) -> Self {
        Self { interval, window: Duration::ZERO, flushes: 0 }
    }

    /// When a socket that was flushed last at `last` may be flushed: now, or at the time given.
    pub fn may_flush(&mut self, last: Option<Duration>, now: Duration) -> Result<(), Duration> {
        if self.window + self.interval <= now {
            self.window = now;
            self.flushes = 0;
        }
        let free = self.flushes < FREE_FLUSHES;
        match last.map(|last| last + self.interval).filter(|next| *next > now && !free) {
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

    #[test]
    fn a_quiet_socket_is_flushed_at_once_and_a_busy_one_per_interval() {
        let at = Duration::from_millis;
        let mut pacing = Pacing::new(at(10));
        for _ in 0..FREE_FLUSHES {
            assert_eq!(pacing.may_flush(Some(at(100)), at(100)), Ok(()), "little is going on");
        }
        assert_eq!(pacing.may_flush(Some(at(100)), at(101)), Err(at(110)));
        assert_eq!(pacing.may_flush(None, at(101)), Ok(()), "its first");
        assert_eq!(pacing.may_flush(Some(at(80)), at(101)), Ok(()), "not flushed for long");
        assert_eq!(pacing.may_flush(Some(at(100)), at(110)), Ok(()));
    }
}
