//! What is measured: looked at in the loop, made whole by asking the sidecar and the kernel beside it.

use super::{Supervisor, now_ms};
use crate::io::control::Responder;
use crate::io::metrics;
use crate::metrics::{Measured, Standing, render};
use crate::transition::Phase;
use holdfast_shared::error::{ApiError, Code};
use holdfast_shared::home::Role;
use holdfast_shared::wished::WishedReport;
use serde_json::Value;
use std::time::Duration;

/// The sidecar's answer to a scrape; without it the numbers of its last report are given. A scraper's own time is
/// some seconds.
const SIDECAR_ANSWERS: Duration = Duration::from_millis(250);

impl Supervisor {
    /// Browser traffic was held, and now it is routed again.
    pub(super) fn measure_hold(&mut self) {
        if matches!(self.transition.phase, Phase::Settled { routed: true, .. })
            && let Some(since) = self.held.0.take()
        {
            self.counted.held(since.elapsed(), self.held.1);
        }
    }

    /// Answers `GET /metrics`. The loop does not wait for it.
    pub(super) fn measure(&self, responder: Responder) {
        let (mut measured, pids, home) = (self.measured(), self.pids(), self.home.path().to_owned());
        let gate = self.settings.supervisor.memory_gate();
        let (client, last, lives) =
            (self.sidecar.client.clone(), self.sidecar.report.clone(), measured.sidecar);
        tokio::task::spawn_local(async move {
            let asked = match lives {
                true => client.get::<WishedReport>("/v1/status", SIDECAR_ANSWERS).await.ok(),
                false => None,
            };
            let report = asked.or(last).filter(|_| lives);
            measured.sessions = report.as_ref().map(|report| report.sessions);
            measured.unanswered = report.as_ref().map(|report| report.unanswered);
            let looked =
                tokio::task::spawn_blocking(move || metrics::look_at_machine(measured, &pids, &home, gate))
                    .await;
            let answer = looked.map(|measured| Value::String(render(&measured)));
            let _ = responder.send(
                answer.map_err(|error| ApiError::new(Code::InternalError, format!("measure: {error}"))),
            );
        });
    }

    fn measured(&self) -> Measured {
        let facts = self.facts(&self.transition);
        let attempts = self.attempts();
        let now = now_ms();
        let seconds = |milliseconds: i64| milliseconds.max(0) as f64 / 1000.0;
        Measured {
            version: env!("CARGO_PKG_VERSION"),
            state: facts.label.name(),
            ready: matches!(self.transition.phase, Phase::Settled { routed: true, .. }),
            generation: self.transition.decision.generation,
            epoch: facts.owner.map(|owner| owner.epoch),
            active: facts.owner.map(|owner| owner.slot),
            attempt: attempts.current.as_ref().map(|attempt| Standing {
                state: attempt.state,
                seconds: seconds(now - attempt.entered_at),
                left_seconds: seconds(attempt.leaves_at - now),
            }),
            queued: attempts.subsequent.is_some(),
            counted: self.counted.clone(),
            sidecar: self.processes.process(Role::Sidecar).is_some(),
            running_turns: facts.active.map(|report| report.running_turns),
            ..Measured::default()
        }
    }

    /// The processes whose memory is measured: role and pid.
    fn pids(&self) -> Vec<(&'static str, i32)> {
        let owner = self.facts(&self.transition).owner;
        let pid = |role: Role| self.processes.process(role).map(|process| process.pid);
        let runtime = |name, slot| Some((name, pid(Role::Runtime(slot))?));
        let own = std::process::id().cast_signed();
        [
            owner.and_then(|owner| runtime("active", owner.slot)),
            owner.and_then(|owner| runtime("candidate", owner.slot.other())),
            pid(Role::Sidecar).map(|pid| ("sidecar", pid)),
            Some(("supervisor", own)),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}
