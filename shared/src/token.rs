//! Tokens: 256 random bits, stored hashed, with role, scope and expiry (DESIGN.md 5).

use crate::slot::Slot;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// What a token's bearer may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TokenRole {
    /// Everything that a browser can ask for.
    Operator,
    /// Reads and subscriptions only.
    Viewer,
    /// The supervisor's probe of one slot through the browser's path; reads only.
    Probe,
}

/// Which tasks a token's bearer may see and act on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Scope {
    /// These alone; none named: all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tasks: Vec<String>,
}

impl Scope {
    /// Whether it is everything.
    pub fn is_all(&self) -> bool {
        self.tasks.is_empty()
    }

    /// Whether it has this task, and with it the task's conversation.
    pub fn has_task(&self, task: &str) -> bool {
        self.is_all() || self.tasks.iter().any(|one| one == task)
    }

    /// Whether it has this channel: those of its tasks, and `node`, which anybody may read.
    pub fn has_channel(&self, channel: &str) -> bool {
        match channel.split_once(':') {
            Some(("task" | "conversation", task)) => self.has_task(task),
            _ => self.is_all() || channel == "node",
        }
    }
}

/// A token as the sidecar gets it: never the token itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenEntry {
    /// Short public id, shown by `token list` and used by `token revoke`.
    pub id: String,
    /// SHA-256 of the token text, hex.
    pub hash: String,
    /// Role.
    pub role: TokenRole,
    /// Which tasks it is for.
    #[serde(default, skip_serializing_if = "Scope::is_all")]
    pub scope: Scope,
    /// The principal commands are made in the name of; ids of commands are kept per principal.
    pub principal: String,
    /// For [`TokenRole::Probe`]: the slot whose link the session is led to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probe_slot: Option<Slot>,
    /// Unix milliseconds after which it is refused; `None` never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<i64>,
}

/// SHA-256 of a token's text, hex.
pub fn hash(token: &str) -> String {
    hex(&Sha256::digest(token.as_bytes()))
}

/// SHA-256 of bytes, hex.
pub fn hash_bytes(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// A new token from the system's randomness, 64 hex digits.
///
/// # Errors
/// Where the system gives no random bytes.
pub fn generate() -> Result<String, getrandom::Error> {
    let mut bytes = [0u8; 32];
    getrandom::fill(&mut bytes)?;
    Ok(hex(&bytes))
}

/// Lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        use std::fmt::Write;
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_of_tasks_has_their_channels_and_the_nodes() {
        let all = Scope::default();
        let one = Scope { tasks: vec!["demo".into()] };
        for (channel, in_one) in [
            ("task:demo", true),
            ("conversation:demo", true),
            ("node", true),
            ("task:demo2", false),
            ("conversation:", false),
            ("tasks", false),
            ("members", false),
            ("other:demo", false),
        ] {
            assert!(all.has_channel(channel));
            assert_eq!(one.has_channel(channel), in_one, "{channel}");
        }
        assert!(one.has_task("demo") && !one.has_task("") && all.has_task("any"));
    }
}
