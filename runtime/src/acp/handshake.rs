//! What is said with an agent before its first prompt: versions, authentication where it is asked for, a session.
//!
//! ```text
//! initialize ─▶ session/resume ─▶ session/load ─▶ session/new        each only where it is offered and wanted,
//!                     ▲ │ authentication required                    the next where it was refused
//!                     │ ▼
//!                  authenticate (once)
//! ```
//! The machine depends on the lines of segment 0 and on what is [wanted](Wanted) alone. So a runtime that becomes
//! active in the middle feeds it the lines from the first and knows what was sent and what is to be sent next.
//! Everything sent takes the next inbox number, from 1 up to [`NUMBER_MAX`]; requests bear it as their id.

use crate::acp::ending::shortened;
use crate::acp::line::{Line, RequestId, RpcError};
use crate::acp::modes::Modes;
use crate::acp::{PROTOCOL_VERSION, code, method, outgoing};
use serde_json::Value;

mod outcome;

pub use outcome::{HandshakeError, Progress, Ready};

/// The highest inbox number of a handshake: later ones are allotted by the journal.
pub const NUMBER_MAX: u64 = 15;
/// Messages of our own in the longest handshake: initialize, resume, authenticate, resume, load, new.
const OWN_MAX: u64 = 6;
/// Requests of the agent that are refused; more of them are left unanswered, for want of numbers.
const REFUSALS_MAX: u64 = NUMBER_MAX - OWN_MAX;
/// Bytes of a session's id: it is kept in the journal.
const SESSION_BYTES_MAX: usize = 4096;
/// Authentication methods that an error names.
const METHODS_NAMED_MAX: usize = 16;

/// What the handshake is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// This program's version.
    pub version: String,
    /// The session's directory, absolute.
    pub cwd: String,
    /// The session that the task had before.
    pub session: Option<String>,
    /// The authentication method that the skill names.
    pub authenticate: Option<String>,
}

/// A message to be written to the agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Numbered {
    /// Its inbox number.
    pub number: u64,
    /// The message, its newline included.
    pub bytes: Vec<u8>,
}

/// By which a session is to be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Resume,
    Load,
    New,
}

/// The request whose answer is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Awaited {
    Initialize,
    Authenticate(Way),
    Session(Way),
}

/// The handshake with one worker.
#[derive(Clone, Debug)]
pub struct Handshake {
    wanted: Wanted,
    awaited: Awaited,
    /// The last number taken by a request of ours.
    asked: u64,
    /// The last number taken.
    last: u64,
    refusals: u64,
    authenticated: bool,
    can_resume: bool,
    can_load: bool,
    methods: Vec<String>,
    progress: Progress,
}

impl Handshake {
    /// The beginning, and the first message.
    pub fn begin(wanted: Wanted) -> (Self, Numbered) {
        let bytes = outgoing::initialize(1, &wanted.version);
        let handshake = Self {
            wanted,
            awaited: Awaited::Initialize,
            asked: 1,
            last: 1,
            refusals: 0,
            authenticated: false,
            can_resume: false,
            can_load: false,
            methods: Vec::new(),
            progress: Progress::Waiting,
        };
        (handshake, Numbered { number: 1, bytes })
    }

    /// How far it is. Once ready or failed it stays so.
    pub fn progress(&self) -> &Progress {
        &self.progress
    }

    /// The last inbox number taken.
    pub fn last_number(&self) -> u64 {
        self.last
    }

    /// Takes the next line of the agent's standard output; what is to be written then, if anything. What is not the
    /// answer that is waited for changes nothing: junk, notifications (replays among them), answers given twice or to
    /// what was never asked. Requests of the agent are refused, since no turn runs that they could belong to; once it
    /// is over they are no longer the handshake's.
    pub fn feed(&mut self, line: &Line) -> Option<Numbered> {
        if self.progress != Progress::Waiting {
            return None;
        }
        match line {
            Line::Request { id, .. } | Line::Invalid { id } => self.refuse(id),
            Line::Response { id, outcome } if *id == Some(self.asked) => {
                self.answered(outcome).unwrap_or_else(|error| {
                    self.progress = Progress::Failed(error);
                    None
                })
            }
            _ => None,
        }
    }

    fn refuse(&mut self, id: &RequestId) -> Option<Numbered> {
        if self.refusals == REFUSALS_MAX {
            return None;
        }
        self.refusals += 1;
        self.last += 1;
        let why = "no turn runs yet";
        Some(Numbered { number: self.last, bytes: outgoing::reply_error(id, code::INVALID_REQUEST, why) })
    }

    fn answered(&mut self, outcome: &Result<Value, RpcError>) -> Result<Option<Numbered>, HandshakeError> {
        match (self.awaited, outcome) {
            (Awaited::Initialize, Ok(result)) => self.initialized(result).map(Some),
            (Awaited::Initialize, Err(error)) => {
                Err(HandshakeError::Refused { method: method::INITIALIZE, error: error.clone() })
            }
            (Awaited::Authenticate(way), Ok(_)) => {
                self.authenticated = true;
                Ok(Some(self.ask_for_session(way)))
            }
            (Awaited::Authenticate(_), Err(error)) => Err(HandshakeError::AuthenticationRefused {
                method: self.wanted.authenticate.clone().unwrap_or_default(),
                error: error.clone(),
                methods: self.methods.clone(),
            }),
            (Awaited::Session(way), Ok(result)) => {
                self.progress = Progress::Ready(self.ready(way, result)?);
                Ok(None)
            }
            (Awaited::Session(way), Err(error)) => self.no_session(way, error).map(Some),
        }
    }

    fn initialized(&mut self, result: &Value) -> Result<Numbered, HandshakeError> {
        let version = result.get("protocolVersion").unwrap_or(&Value::Null);
        if version.as_f64() != Some(PROTOCOL_VERSION as f64) {
            return Err(HandshakeError::Version { said: shortened(&version.to_string()) });
        }
        let capability = |pointer| result.pointer(pointer);
        // An object says that it can, and so does `true`.
        let offered = |value: &Value| value.is_object() || value == &Value::Bool(true);
        self.can_load = capability("/agentCapabilities/loadSession") == Some(&Value::Bool(true));
        self.can_resume = capability("/agentCapabilities/sessionCapabilities/resume").is_some_and(offered);
        let methods = result.get("authMethods").and_then(Value::as_array).into_iter().flatten();
        let ids = methods.filter_map(|method| method.get("id").and_then(Value::as_str));
        self.methods = ids.take(METHODS_NAMED_MAX).map(shortened).collect();
        let way = if self.wanted.session.is_none() { Way::New } else { self.at_or_behind(Way::Resume) };
        Ok(self.ask_for_session(way))
    }

    /// The first way from this one on that the agent offers.
    fn at_or_behind(&self, way: Way) -> Way {
        match way {
            Way::Resume if self.can_resume => Way::Resume,
            Way::Resume | Way::Load if self.can_load => Way::Load,
            _ => Way::New,
        }
    }

    fn no_session(&mut self, way: Way, error: &RpcError) -> Result<Numbered, HandshakeError> {
        let unauthenticated = error.code == code::AUTH_REQUIRED;
        if unauthenticated && !self.authenticated && self.wanted.authenticate.is_some() {
            return Ok(self.authenticate(way));
        }
        match (way, &self.wanted.authenticate) {
            (Way::Resume, _) => Ok(self.ask_for_session(self.at_or_behind(Way::Load))),
            (Way::Load, _) => Ok(self.ask_for_session(Way::New)),
            (Way::New, Some(method)) if unauthenticated => {
                Err(HandshakeError::StillRequired { method: method.clone() })
            }
            (Way::New, None) if unauthenticated => {
                Err(HandshakeError::AuthenticationRequired { methods: self.methods.clone() })
            }
            (Way::New, _) => {
                Err(HandshakeError::Refused { method: method::SESSION_NEW, error: error.clone() })
            }
        }
    }

    fn ready(&self, way: Way, result: &Value) -> Result<Ready, HandshakeError> {
        let session = match way {
            Way::New => result.get("sessionId").and_then(Value::as_str),
            Way::Load | Way::Resume => self.wanted.session.as_deref(),
        };
        let session = session.filter(|session| (1..=SESSION_BYTES_MAX).contains(&session.len()));
        Ok(Ready {
            session: session.ok_or(HandshakeError::NoSession)?.to_owned(),
            resumed: way != Way::New,
            resumable: self.can_load || self.can_resume,
            modes: Modes::read(result),
        })
    }

    fn ask_for_session(&mut self, way: Way) -> Numbered {
        let (cwd, session) = (self.wanted.cwd.clone(), self.wanted.session.clone().unwrap_or_default());
        self.ask(Awaited::Session(way), |number| match way {
            Way::Resume => outgoing::session_resume(number, &session, &cwd),
            Way::Load => outgoing::session_load(number, &session, &cwd),
            Way::New => outgoing::session_new(number, &cwd),
        })
    }

    fn authenticate(&mut self, way: Way) -> Numbered {
        let method_id = self.wanted.authenticate.clone().unwrap_or_default();
        self.ask(Awaited::Authenticate(way), |number| outgoing::authenticate(number, &method_id))
    }

    fn ask(&mut self, awaited: Awaited, message: impl FnOnce(u64) -> Vec<u8>) -> Numbered {
        self.last += 1;
        (self.awaited, self.asked) = (awaited, self.last);
        Numbered { number: self.last, bytes: message(self.last) }
    }
}

#[cfg(test)]
mod tests;
