//! Wished states: taken once their decision is the highest, answered when they are in effect.

use super::{Daemon, WishedPut};
use crate::tokens::Tokens;
use holdfast_shared::decision::{Decision, StaleDecision};
use holdfast_shared::error::{ApiError, Code};
use holdfast_shared::wished::{Wish, WishedReport, WishedState};
use std::os::fd::AsFd;

/// Wished states waiting for their route at most; each supervisor waits for one at a time.
const WAITING_WISHES: usize = 16;

impl Daemon {
    pub(super) fn put(&mut self, put: WishedPut) {
        let WishedPut { wished, answer } = put;
        let WishedState { decision, wish, tokens, node, public_status } = wished;
        let deeds = match self.wished.put(decision, wish) {
            Ok(deeds) => deeds,
            Err(stale) => {
                let _ = answer.send(Err(stale_error(stale)));
                return;
            }
        };
        self.world.act(|exchange, now| exchange.informed(Tokens::new(tokens), node, public_status, now));
        self.supersede(decision);
        if self.waiting.len() >= WAITING_WISHES {
            let _ =
                answer.send(Err(ApiError::new(Code::Busy, "too many wished states wait for their route")));
            return;
        }
        self.waiting.push((decision, answer));
        self.store_listener(decision);
        self.perform(deeds);
    }

    /// Wished states older than this one are not waited for any more.
    fn supersede(&mut self, highest: Decision) {
        let (older, rest) = self.waiting.drain(..).partition(|(decision, _)| *decision < highest);
        self.waiting = rest;
        let older: Vec<_> = older;
        for (got, answer) in older {
            let _ = answer.send(Err(stale_error(StaleDecision { got, highest })));
        }
    }

    /// A supervisor that just started may not have the listener: it is handed over once per generation.
    fn store_listener(&mut self, decision: Decision) {
        if self.stored_for != Some(decision.generation) {
            self.stored_for = Some(decision.generation);
            self.notifier.store_fd("listener", self.listener.as_fd());
        }
    }

    pub(super) fn answer(&mut self, result: impl Fn(&WishedReport) -> Result<WishedReport, ApiError>) {
        let report = self.report();
        for (_, answer) in self.waiting.drain(..) {
            let _ = answer.send(result(&report));
        }
    }

    pub(super) fn report(&self) -> WishedReport {
        let effect = self
            .wished
            .target()
            .map_or(Wish::Hold, |target| Wish::Route { slot: target.slot, epoch: target.epoch });
        self.world.look(|exchange| {
            let (node_epoch, node_offset) = exchange.node_position();
            WishedReport {
                decision: self.wished.decision(),
                sidecar_instance_id: self.world.instance.clone(),
                pid: std::process::id().cast_signed(),
                effect,
                link_up: self.wished.forwarding().is_some(),
                node_offset,
                node_epoch,
                sessions: exchange.session_count() as u64,
                unanswered: exchange.unanswered() as u64,
                listening: self.listening.to_string(),
                contracts: holdfast_shared::version::contracts(),
            }
        })
    }
}

fn stale_error(stale: StaleDecision) -> ApiError {
    ApiError::new(Code::StaleDecision, stale.to_string())
        .with_details(serde_json::json!({ "highest": stale.highest }))
}
