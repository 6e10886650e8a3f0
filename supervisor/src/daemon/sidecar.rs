//! What is stated to the sidecar: one wished state, put whole, repeated until answered.

use super::{Event, SuperviseError, Supervisor, now_ms};
use crate::transition::{Event as Input, Phase};
use holdfast_shared::control::{CallError, Client};
use holdfast_shared::decision::Decision;
use holdfast_shared::error::{ApiError, Code};
use holdfast_shared::home::{Home, Role};
use holdfast_shared::slot::Slot;
use holdfast_shared::token::{self, TokenEntry, TokenRole};
use holdfast_shared::wished::{NodeChannel, NodeEvent, Wish, WishedReport, WishedState};
use hyper::Method;
use serde_json::value::{RawValue, to_raw_value};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

/// An answer to a wished state; it comes when the wish is in effect. Then the same is stated again.
const ANSWER: Duration = Duration::from_secs(5);
/// Between two attempts to state a wish.
const AGAIN: Duration = Duration::from_millis(10);

/// The sidecar as the supervisor knows it.
pub(super) struct Sidecar {
    pub(super) client: Rc<Client>,
    probe_tokens: [String; 2],
    wish: (Decision, Wish),
    /// Number of the last statement, and what it said.
    stated: u64,
    said: Option<Said>,
    under_way: Option<tokio::task::JoinHandle<()>>,
    /// The sidecar's last answer.
    pub(super) report: Option<WishedReport>,
    public: String,
    public_updated_at: i64,
}

/// What a statement said, to know whether there is something new to say.
#[derive(Clone, Debug, PartialEq)]
struct Said {
    decision: Decision,
    wish: Wish,
    node_offset: u64,
    tokens: Vec<TokenEntry>,
    public: String,
}

impl Sidecar {
    pub(super) fn new(home: &Home, decision: Decision, probe_tokens: [String; 2]) -> Self {
        Self {
            client: Rc::new(Client::new(home.control(Role::Sidecar))),
            probe_tokens,
            wish: (decision, Wish::Hold),
            stated: 0,
            said: None,
            under_way: None,
            report: None,
            public: String::new(),
            public_updated_at: 0,
        }
    }

    pub(super) fn wish(&mut self, decision: Decision, wish: Wish) {
        self.wish = (decision, wish);
    }

    /// It died: the next one knows nothing.
    pub(super) fn is_gone(&mut self) {
        self.said = None;
        self.report = None;
        if let Some(task) = self.under_way.take() {
            task.abort();
        }
    }

    /// The public address, once the sidecar has said it; a wildcard is reached by loopback.
    pub(super) fn address(&self) -> Option<SocketAddr> {
        let mut address: SocketAddr = self.report.as_ref()?.listening.parse().ok()?;
        if address.ip().is_unspecified() {
            address.set_ip(match address {
                SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
                SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
            });
        }
        Some(address)
    }

    /// The token of the probe of a slot.
    pub(super) fn probe_token(&self, slot: Slot) -> &str {
        &self.probe_tokens[slot as usize]
    }

    fn probe_entries(&self) -> impl Iterator<Item = TokenEntry> + '_ {
        Slot::BOTH.into_iter().map(|slot| TokenEntry {
            id: format!("probe-{slot}"),
            hash: token::hash(self.probe_token(slot)),
            role: TokenRole::Probe,
            scope: Default::default(),
            principal: "probe".into(),
            probe_slot: Some(slot),
            expires_at: None,
        })
    }
}

impl Supervisor {
    /// States the wish if it says anything that was not said yet. A statement of the same decision that is under
    /// way is let finish first; one of an older decision is given up.
    pub(super) fn state_wish(&mut self) {
        if !self.transition.sidecar {
            return;
        }
        let said = self.statement();
        let same_decision = match &self.sidecar.said {
            Some(before) if *before == said => return,
            Some(before) => before.decision == said.decision,
            None => false,
        };
        let under_way = self.sidecar.under_way.as_ref().is_some_and(|task| !task.is_finished());
        if under_way && same_decision {
            return;
        }
        let Some(state) = self.wished_state(&said) else { return };
        if let Some(task) = self.sidecar.under_way.take() {
            task.abort();
        }
        self.sidecar.said = Some(said);
        self.sidecar.stated += 1;
        let (number, client, events) =
            (self.sidecar.stated, self.sidecar.client.clone(), self.events.clone());
        self.sidecar.under_way = Some(tokio::task::spawn_local(async move {
            let answer = state_until_answered(&client, &state).await;
            let _ = events.send(Event::SidecarAnswered(number, answer)).await;
        }));
    }

    fn statement(&mut self) -> Said {
        let (decision, wish) = match (self.transition.phase, self.sidecar.wish) {
            // While nobody is known to be active, a sidecar that starts must not be sent anywhere.
            (Phase::Switching(_) | Phase::Settling(_), (_, Wish::Route { .. })) => {
                (self.transition.decision, Wish::Hold)
            }
            (_, said) => said,
        };
        let public = self.facts(&self.transition).public(0).to_string();
        if public != self.sidecar.public {
            self.sidecar.public = public.clone();
            self.sidecar.public_updated_at = now_ms();
        }
        let state = self.journal.state();
        let tokens = state.tokens.iter().cloned().chain(self.sidecar.probe_entries()).collect();
        Said { decision, wish, node_offset: self.journal.synced_node_offset(), tokens, public }
    }

    fn wished_state(&self, said: &Said) -> Option<WishedState> {
        let state = self.journal.state();
        let known = match &self.sidecar.report {
            Some(report) if report.node_epoch == self.journal.id() => report.node_offset,
            _ => 0,
        };
        let new =
            state.events.iter().filter(|event| event.offset > known && event.offset <= said.node_offset);
        let events = new
            .map(|event| Ok(NodeEvent { offset: event.offset, data: to_raw_value(&event.data)? }))
            .collect::<Result<Vec<NodeEvent>, serde_json::Error>>();
        let public: serde_json::Result<Box<RawValue>> =
            to_raw_value(&self.facts(&self.transition).public(self.sidecar.public_updated_at));
        match (events, public) {
            (Ok(events), Ok(public_status)) => Some(WishedState {
                decision: said.decision,
                wish: said.wish,
                tokens: said.tokens.clone(),
                node: NodeChannel { epoch: self.journal.id().to_owned(), events },
                public_status,
            }),
            (Err(error), _) | (_, Err(error)) => {
                tracing::error!(%error, "write the wished state");
                None
            }
        }
    }

    pub(super) fn sidecar_answered(
        &mut self,
        number: u64,
        answer: Result<WishedReport, ApiError>,
    ) -> Result<(), SuperviseError> {
        if number != self.sidecar.stated {
            return Ok(());
        }
        self.sidecar.under_way = None;
        let Some(said) = self.sidecar.said.clone() else { return Ok(()) };
        let decision = said.decision;
        match answer {
            Ok(report) => {
                self.sidecar.report = Some(report);
                self.say_ready();
                match said.wish {
                    Wish::Hold => self.advance(Input::Held(decision)),
                    Wish::Route { .. } => {
                        self.advance(Input::Routed(decision, true))?;
                        Ok(self.journal.sync()?)
                    }
                }
            }
            Err(error) if error.code == Code::NotActive => {
                tracing::warn!(%error, "route");
                self.sidecar.said = None;
                self.sidecar.wish = (decision, Wish::Hold);
                self.advance(Input::Routed(decision, false))
            }
            Err(error) => {
                tracing::error!(%error, "the sidecar refused its wished state");
                Ok(())
            }
        }
    }

    /// READY=1 to the keeper, once browsers are served.
    fn say_ready(&mut self) {
        if self.transition.owner().is_some() {
            self.keeper.ready();
        }
    }
}

async fn state_until_answered(client: &Rc<Client>, state: &WishedState) -> Result<WishedReport, ApiError> {
    loop {
        match client.call(Method::PUT, "/v1/wished", Some(state), ANSWER).await {
            Ok(report) => return Ok(report),
            Err(CallError::Refused(error)) if !error.retryable || error.code == Code::NotActive => {
                return Err(error);
            }
            Err(error) => tracing::debug!(%error, "state the wish"),
        }
        tokio::time::sleep(AGAIN).await;
    }
}
