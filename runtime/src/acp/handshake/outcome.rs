//! What a handshake comes to.

use super::SESSION_BYTES_MAX;
use crate::acp::PROTOCOL_VERSION;
use crate::acp::line::RpcError;
use crate::acp::modes::Modes;
use serde::{Deserialize, Serialize};

/// A session that takes prompts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ready {
    /// Its id.
    pub session: String,
    /// It is the one that the task had before.
    pub resumed: bool,
    /// The agent can take it up again after its death.
    pub resumable: bool,
    /// Its modes, where the agent has some.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub modes: Option<Modes>,
}

/// Why there is no session. The agent is of no use as it is: another try ends in the same way.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum HandshakeError {
    /// The agent speaks another version.
    #[error(
        "the agent speaks version {said} of the Agent Client Protocol, version {PROTOCOL_VERSION} is spoken here: \
         install a version of the agent that does"
    )]
    Version {
        /// What it said.
        said: String,
    },
    /// It asks for authentication, and the skill names no method.
    #[error(
        "the agent asks for authentication: log in with the agent's own program as the user that it runs as, or \
         name one of its methods as `authenticate` in skill.toml ({})",
        offered(methods)
    )]
    AuthenticationRequired {
        /// The methods it offers.
        methods: Vec<String>,
    },
    /// It refuses the method that the skill names.
    #[error("the agent refuses authentication by {method}: {error} ({})", offered(methods))]
    AuthenticationRefused {
        /// The skill's method.
        method: String,
        /// What it answered.
        error: RpcError,
        /// The methods it offers.
        methods: Vec<String>,
    },
    /// It asks for authentication after it was authenticated.
    #[error("the agent still asks for authentication after {method} succeeded: log in with its own program")]
    StillRequired {
        /// The skill's method.
        method: String,
    },
    /// It refuses a request.
    #[error("the agent refuses {method}: {error}")]
    Refused {
        /// The request.
        method: &'static str,
        /// What it answered.
        error: RpcError,
    },
    /// It answered without a session's id.
    #[error("the agent's answer to session/new has no sessionId of 1 to {SESSION_BYTES_MAX} bytes")]
    NoSession,
}

/// How far it is.
#[derive(Clone, Debug, PartialEq)]
pub enum Progress {
    /// An answer of the agent is waited for.
    Waiting,
    /// There is a session.
    Ready(Ready),
    /// There will be none.
    Failed(HandshakeError),
}

fn offered(methods: &[String]) -> String {
    match methods {
        [] => "it offers none".to_owned(),
        methods => format!("it offers {}", methods.join(", ")),
    }
}
