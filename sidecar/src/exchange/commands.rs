//! What browsers say.

use super::{Effect, Exchange, Limit, Now, temporarily};
use crate::pending::Asker;
use crate::protocol::{self, Command, CommandError, Disconnect, Request};
use crate::session::{Entrance, SessionId};
use crate::tokens::{self, Identity, TokenError};
use bytes::{Buf, Bytes};
use holdfast_shared::error::{ApiError, Code};
use holdfast_shared::link::PIECE_BYTES;
use holdfast_shared::token::TokenRole;
use serde_json::value::RawValue;
use std::time::Duration;

/// The one method of a probe.
const PROBE: &str = "node.probe";
/// The method answered by the sidecar itself, whatever is down.
const NODE_STATE: &str = "node.state";
/// The method whose answer may be a whole piece of history.
const CONVERSATION_HISTORY: &str = "conversation.history";

impl Exchange {
    /// A message of a session: one or more commands. To be called only while the session may be read.
    pub fn receive(&mut self, id: SessionId, message: Bytes, now: Now) {
        if let Some(session) = self.sessions.get_mut(&id) {
            session.inbox = message;
            self.work(id, now);
        }
    }

    /// Something that is not this protocol came in.
    pub fn reject(&mut self, id: SessionId, reason: Disconnect) {
        self.close(id, reason);
    }

    /// Carries out commands of the last message while the session's bounds allow.
    pub(super) fn work(&mut self, id: SessionId, now: Now) {
        while let Some(line) = self.next_line(id) {
            let command = match Command::parse(&line) {
                Ok(command) => command,
                Err(_) => return self.close(id, Disconnect::BAD_REQUEST),
            };
            if let Some(identity) = self.sessions.get(&id).and_then(|session| session.identity().cloned()) {
                self.command(id, &identity, command, line.len(), now);
            } else {
                self.first_command(id, command, now);
            }
        }
    }

    fn next_line(&mut self, id: SessionId) -> Option<Bytes> {
        let session = self.sessions.get_mut(&id)?;
        while !session.inbox.is_empty() && session.may_act(&self.settings) {
            let end = session.inbox.iter().position(|byte| *byte == b'\n').unwrap_or(session.inbox.len());
            let line = session.inbox.split_to(end);
            if !session.inbox.is_empty() {
                session.inbox.advance(1);
            }
            if !line.trim_ascii().is_empty() {
                return Some(line);
            }
        }
        None
    }

    fn first_command(&mut self, id: SessionId, command: Command, now: Now) {
        let Request::Connect { token } = command.request else {
            return self.close(id, Disconnect::BAD_REQUEST);
        };
        match self.identify(id, &token, now) {
            Ok(identity) => {
                let reply = self.connect_reply(id, &identity, command.id, now);
                if let Some(session) = self.sessions.get_mut(&id) {
                    session.connected(identity, now.since_start);
                }
                self.say(id, reply);
            }
            Err(TokenError::Expired) => self.fail(id, command.id, &CommandError::token_expired()),
            Err(TokenError::Invalid) => self.close(id, Disconnect::INVALID_TOKEN),
        }
    }

    fn identify(&self, id: SessionId, token: &str, now: Now) -> Result<Identity, TokenError> {
        let session = self.sessions.get(&id).ok_or(TokenError::Invalid)?;
        let tokens = self.tokens.as_ref().ok_or(TokenError::Invalid)?;
        match &session.entrance {
            Entrance::Local { uid } => Ok(tokens::local(*uid)),
            Entrance::Public { bearer: Some(bearer) } if token.is_empty() => {
                tokens.identify(bearer, now.unix_ms)
            }
            Entrance::Public { .. } => tokens.identify(token, now.unix_ms),
        }
    }

    fn connect_reply(&self, id: SessionId, identity: &Identity, command: u32, now: Now) -> Bytes {
        let ping = self.settings.ping_ms.div_ceil(1000);
        let result = format!(
            r#"{{"client":"{id}","version":"holdfast {}","ping":{ping},"pong":true{}}}"#,
            env!("CARGO_PKG_VERSION"),
            protocol::expiry(ttl(identity, now))
        );
        protocol::reply(command, "connect", &result)
    }

    fn command(&mut self, id: SessionId, identity: &Identity, command: Command, bytes: usize, now: Now) {
        let number = command.id;
        if identity.role == TokenRole::Probe {
            return self.probe_command(id, identity, command, bytes);
        }
        match command.request {
            Request::Pong | Request::Send => {}
            Request::Connect { .. } => self.close(id, Disconnect::BAD_REQUEST),
            Request::Ping => self.say(id, protocol::reply(number, "ping", "{}")),
            Request::Refresh { token } => self.refresh(id, identity, number, &token, now),
            Request::Subscribe { channel, recover } => {
                self.subscribe(id, number, bytes, &channel, recover, now);
            }
            Request::Unsubscribe { channel } => self.unsubscribe(id, number, &channel, now),
            Request::Rpc { method, data } => self.rpc(id, number, bytes, &method, data.as_deref(), now),
            Request::History(request) => {
                // Counted with what its answer may be: a session that does not read gets no second one.
                self.asked(id, number, bytes.max(PIECE_BYTES as usize));
                let asker = Asker::Session { session: id, command: number };
                if let Some(caller) = self.sessions.get(&id).and_then(|session| session.caller()) {
                    self.history(asker, request, caller, now);
                }
            }
            Request::Unavailable => self.fail(id, number, &CommandError::not_available()),
        }
    }

    fn refresh(&mut self, id: SessionId, identity: &Identity, command: u32, token: &str, now: Now) {
        match self.identify(id, token, now) {
            Ok(fresh) if fresh.principal == identity.principal && fresh.scope == identity.scope => {
                let expiry = protocol::expiry(ttl(&fresh, now));
                let result = format!(
                    r#"{{"client":"{id}","version":"holdfast {}"{expiry}}}"#,
                    env!("CARGO_PKG_VERSION")
                );
                if let Some(session) = self.sessions.get_mut(&id) {
                    session.phase = crate::session::Phase::Connected(fresh);
                }
                self.say(id, protocol::reply(command, "refresh", &result));
            }
            Err(TokenError::Expired) => self.fail(id, command, &CommandError::token_expired()),
            Ok(_) | Err(TokenError::Invalid) => self.close(id, Disconnect::INVALID_TOKEN),
        }
    }

    fn probe_command(&mut self, id: SessionId, identity: &Identity, command: Command, bytes: usize) {
        let number = command.id;
        match (command.request, identity.probe_slot, self.sessions.get(&id).and_then(|s| s.caller())) {
            (Request::Rpc { method, data }, Some(slot), Some(caller)) if method == PROBE => {
                self.asked(id, number, bytes);
                let params = data.unwrap_or_else(empty_object);
                self.effects.push(Effect::Probe { session: id, command: number, slot, params, caller });
            }
            (Request::Pong | Request::Send, ..) => {}
            (Request::Ping, ..) => self.say(id, protocol::reply(number, "ping", "{}")),
            _ => self.fail(id, number, &CommandError::permission_denied()),
        }
    }

    /// The answer to [`Effect::Probe`].
    pub fn probed(&mut self, session: SessionId, command: u32, result: Result<Box<RawValue>, ApiError>) {
        self.answer(Asker::Session { session, command }, result.map(super::calls::Answer::Rpc));
    }

    fn rpc(
        &mut self,
        id: SessionId,
        command: u32,
        bytes: usize,
        method: &str,
        data: Option<&RawValue>,
        now: Now,
    ) {
        let answer = if method == CONVERSATION_HISTORY { PIECE_BYTES as usize } else { 0 };
        self.asked(id, command, bytes.max(answer));
        let asker = Asker::Session { session: id, command };
        let Some(caller) = self.sessions.get(&id).and_then(|session| session.caller()) else { return };
        self.call(asker, caller, method, data, now);
    }

    /// `node.state`: what everybody may know of the node.
    pub(super) fn own_method(&self, method: &str) -> Option<Result<Box<RawValue>, ApiError>> {
        (method == NODE_STATE).then(|| {
            self.public_status.clone().ok_or_else(|| temporarily("the node's state is not known yet"))
        })
    }

    pub(super) fn asked(&mut self, id: SessionId, command: u32, bytes: usize) {
        if let Some(session) = self.sessions.get_mut(&id) {
            session.asked(command, bytes);
        }
    }

    pub(super) fn say(&mut self, id: SessionId, reply: Bytes) {
        if let Some(session) = self.sessions.get_mut(&id) {
            session.say(reply);
            self.wake(id);
        }
    }

    /// Refuses a command that was not counted as unanswered.
    pub(super) fn fail(&mut self, id: SessionId, command: u32, error: &CommandError) {
        self.say(id, protocol::error_reply(command, error));
    }

    pub(super) fn limit(&mut self, after_ms: u64, limit: Limit, now: Now) {
        self.limits.insert((now.since_start + Duration::from_millis(after_ms), limit));
    }
}

fn ttl(identity: &Identity, now: Now) -> Option<u64> {
    let left = identity.expires_at? - now.unix_ms;
    Some(u64::try_from(left).unwrap_or_default().div_ceil(1000).max(1))
}

/// Parameters where none were given.
pub(super) fn empty_object() -> Box<RawValue> {
    RawValue::from_string("{}".to_owned()).expect("an empty object is JSON")
}

/// Parameters without `command_id`, and that id.
///
/// # Errors
/// Parameters that are not an object, or an id that is not a string of 1 to 64 bytes.
pub(super) fn split_command_id(data: Option<&RawValue>) -> Result<(Box<RawValue>, Option<String>), ApiError> {
    let invalid = |message: &str| ApiError::new(Code::InvalidRequest, message);
    let Some(data) = data else { return Ok((empty_object(), None)) };
    if !data.get().starts_with('{') {
        return Err(invalid("the parameters of a method are an object"));
    }
    if !data.get().contains("command_id") {
        return Ok((data.to_owned(), None));
    }
    let mut fields: std::collections::BTreeMap<String, Box<RawValue>> =
        serde_json::from_str(data.get()).map_err(|_| invalid("the parameters of a method are an object"))?;
    let Some(given) = fields.remove("command_id") else { return Ok((data.to_owned(), None)) };
    let id: String = serde_json::from_str(given.get()).map_err(|_| invalid("command_id is a string"))?;
    if id.is_empty() || id.len() > 64 {
        return Err(invalid("command_id has 1 to 64 bytes"));
    }
    let rest = serde_json::value::to_raw_value(&fields).map_err(|_| invalid("unreadable parameters"))?;
    Ok((rest, Some(id)))
}
