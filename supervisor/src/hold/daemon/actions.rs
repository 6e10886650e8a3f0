//! The machine's actions, carried out.

use super::{Holder, KILL_PAUSE_MAX};
use crate::hold::HoldError;
use crate::hold::io::cgroup::Group;
use crate::hold::io::tree;
use crate::hold::machine::{Action, State, Timer};
use crate::hold::output::{Output, Quota};
use holdfast_shared::spool::Control;
use holdfast_shared::worker::{EndedBy, Exit, Protocol};
use nix::sys::signal::Signal;
use std::time::{Duration, Instant};

/// What the descendants of a worker that has ended are given between TERM and KILL: they were left behind, and a
/// turn's end waits for them.
const LEFTOVER_GRACE: Duration = Duration::from_secs(1);

impl Holder {
    pub(super) fn adopt(&mut self, state: State, actions: &[Action]) -> Result<(), HoldError> {
        self.state = state;
        for action in actions {
            self.act(*action)?;
        }
        Ok(())
    }

    fn act(&mut self, action: Action) -> Result<(), HoldError> {
        match action {
            // Done where the message was offered; one that was heard ahead of its turn is not consumed.
            Action::Take => Ok(()),
            Action::CloseStdin => {
                self.feed.close_stdin();
                Ok(())
            }
            Action::Terminate => self.signal(&[Signal::SIGTERM, Signal::SIGCONT]),
            Action::Kill => {
                // At once where the kernel can; what is not in the group, and older kernels, are below.
                let _ = self.group.as_ref().map(Group::kill);
                self.signal(&[Signal::SIGKILL])
            }
            Action::Arm(timer) => {
                self.deadline = Some(Instant::now() + self.time_of(timer));
                Ok(())
            }
            Action::DiscardOutput => {
                self.spool.control(&Control::Quota { limit_bytes: self.order.output_quota_bytes });
                self.quota = Quota::Discard;
                Ok(())
            }
            Action::Drain => {
                self.deadline = None;
                self.outputs.iter_mut().for_each(Output::begin_drain);
                Ok(())
            }
            Action::RecordExit => self.queue_exit(),
        }
    }

    fn signal(&mut self, signals: &[Signal]) -> Result<(), HoldError> {
        tree::signal_descendants(signals).map_err(HoldError::system("signal the worker's processes"))
    }

    fn time_of(&mut self, timer: Timer) -> Duration {
        match timer {
            Timer::TermGrace if self.order.protocol == Protocol::Command => Duration::ZERO,
            Timer::TermGrace => Duration::from_millis(self.order.term_grace_ms),
            Timer::KillGrace => Duration::from_millis(self.order.kill_grace_ms),
            Timer::LeftoverGrace => LEFTOVER_GRACE,
            Timer::KillAgain => {
                let pause = self.kill_pause;
                self.kill_pause = (pause * 2).min(KILL_PAUSE_MAX);
                pause
            }
        }
    }

    fn queue_exit(&mut self) -> Result<(), HoldError> {
        let status = self.status.ok_or(HoldError::System {
            operation: "record the exit",
            source: std::io::Error::other("no process is left and the worker's status is unknown"),
        })?;
        let ended_by = self.state.cause.unwrap_or(EndedBy::Worker);
        self.spool.control(&Control::Exit(Exit { status, final_seq: self.spool.outputs(), ended_by }));
        Ok(())
    }
}
