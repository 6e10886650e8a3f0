//! Who a token's bearer is. The tokens are the supervisor's; here they are only looked up. Pure.

use holdfast_shared::slot::Slot;
use holdfast_shared::token::{self, Scope, TokenEntry, TokenRole};
use std::collections::HashMap;

/// In whose name a session or request acts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Id of the token; `None` for a local principal.
    pub token: Option<String>,
    /// The principal.
    pub principal: String,
    /// What it may do.
    pub role: TokenRole,
    /// On which tasks.
    pub scope: Scope,
    /// For a probe: the slot it is led to.
    pub probe_slot: Option<Slot>,
    /// Unix milliseconds after which it ends.
    pub expires_at: Option<i64>,
}

/// A token that opens nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// No such token, or none given.
    #[error("invalid token")]
    Invalid,
    /// Its time is over.
    #[error("token expired")]
    Expired,
}

/// All valid tokens, by hash.
#[derive(Debug, Default)]
pub struct Tokens {
    by_hash: HashMap<String, TokenEntry>,
}

impl Tokens {
    /// Takes all tokens anew.
    pub fn new(entries: Vec<TokenEntry>) -> Self {
        Self { by_hash: entries.into_iter().map(|entry| (entry.hash.clone(), entry)).collect() }
    }

    /// The bearer of this token. Looked up by hash, so that the time it takes says nothing about it.
    ///
    /// # Errors
    /// [`TokenError`] where it is unknown or expired at `unix_ms`.
    pub fn identify(&self, token: &str, unix_ms: i64) -> Result<Identity, TokenError> {
        let entry = self.by_hash.get(&token::hash(token)).ok_or(TokenError::Invalid)?;
        if entry.expires_at.is_some_and(|at| at <= unix_ms) {
            return Err(TokenError::Expired);
        }
        Ok(Identity {
            token: Some(entry.id.clone()),
            principal: entry.principal.clone(),
            role: entry.role,
            scope: entry.scope.clone(),
            probe_slot: entry.probe_slot,
            expires_at: entry.expires_at,
        })
    }

    /// Whether a token with this id is still there.
    pub fn has(&self, id: &str) -> bool {
        self.by_hash.values().any(|entry| entry.id == id)
    }
}

/// A local principal, named by its user id; it needs no token.
pub fn local(uid: u32) -> Identity {
    Identity {
        token: None,
        principal: format!("local:{uid}"),
        role: TokenRole::Operator,
        scope: Scope::default(),
        probe_slot: None,
        expires_at: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_and_expired_tokens_are_told_apart() {
        let entry = |id: &str, expires_at| TokenEntry {
            id: id.into(),
            hash: token::hash(id),
            role: TokenRole::Viewer,
            scope: Scope::default(),
            principal: "viewer".into(),
            probe_slot: None,
            expires_at,
        };
        let tokens = Tokens::new(vec![entry("good", None), entry("short", Some(100))]);
        assert_eq!(tokens.identify("good", 1).map(|bearer| bearer.principal), Ok("viewer".into()));
        assert_eq!(tokens.identify("short", 99).map(|bearer| bearer.expires_at), Ok(Some(100)));
        assert_eq!(tokens.identify("short", 100), Err(TokenError::Expired));
        assert_eq!(tokens.identify("", 1), Err(TokenError::Invalid));
        assert_eq!(
            tokens.identify(&token::hash("good"), 1),
            Err(TokenError::Invalid),
            "the hash opens nothing"
        );
        assert!(tokens.has("good") && !tokens.has("gone"));
    }
}
