//! Tokens: made, listed, revoked.

use super::{SuperviseError, Supervisor, now_ms};
use crate::command::NewToken;
use crate::node_state::Change;
use crate::order::check_name;
use holdfast_shared::error::{ApiError, Code};
use holdfast_shared::token::{self, Scope, TokenEntry, TokenRole};
use serde_json::{Value, json};

/// Tokens of one node; a journal's fold and every wished state carry them all.
const TOKENS_AT_MOST: usize = 1000;
/// Tasks that one token may be for.
const SCOPE_TASKS_AT_MOST: usize = 32;

impl Supervisor {
    pub(super) fn list_tokens(&self) -> Value {
        let entries = self.journal.state().tokens.iter().map(|entry| {
            json!({"id": entry.id, "role": entry.role, "scope": entry.scope, "principal": entry.principal,
                "expires_at": entry.expires_at})
        });
        json!({"tokens": entries.collect::<Vec<Value>>()})
    }

    pub(super) fn new_token(
        &mut self,
        request: &NewToken,
    ) -> Result<Result<Value, ApiError>, SuperviseError> {
        if request.role == TokenRole::Probe {
            return Ok(Err(ApiError::new(
                Code::InvalidRequest,
                "role: probe tokens are the supervisor's own",
            )));
        }
        if let Err(error) = check_scope(&request.scope) {
            return Ok(Err(error));
        }
        if self.journal.state().tokens.len() >= TOKENS_AT_MOST {
            let message = format!("there are {TOKENS_AT_MOST} tokens; revoke some");
            return Ok(Err(ApiError::new(Code::Busy, message)));
        }
        let text = match super::start::new_token() {
            Ok(text) => text,
            Err(error) => return Ok(Err(error)),
        };
        let hash = token::hash(&text);
        let id = format!("tk-{}", &hash[..8]);
        let lifetime =
            request.expires_in_sec.map(|seconds| i64::try_from(seconds).unwrap_or(i64::MAX / 1000));
        let entry = TokenEntry {
            principal: request.principal.clone().unwrap_or_else(|| id.clone()),
            id,
            hash,
            role: request.role,
            scope: request.scope.clone(),
            probe_slot: None,
            expires_at: lifetime.map(|seconds| now_ms().saturating_add(seconds.saturating_mul(1000))),
        };
        let answer = json!({"id": entry.id, "token": text, "role": entry.role, "scope": entry.scope, "principal": entry.principal,
            "expires_at": entry.expires_at});
        self.journal.append(vec![Change::TokenCreated(entry)])?;
        Ok(Ok(answer))
    }

    pub(super) fn revoke_token(&mut self, id: String) -> Result<Result<Value, ApiError>, SuperviseError> {
        let Some(entry) = self.journal.state().tokens.iter().find(|entry| entry.id == id) else {
            return Ok(Err(ApiError::new(Code::InvalidRequest, format!("there is no token {id:?}"))));
        };
        let successor = match self.successor(&entry.hash) {
            Ok(successor) => successor,
            Err(error) => return Ok(Err(error)),
        };
        let mut changes = vec![Change::TokenRevoked { id: id.clone() }];
        changes.extend(successor.map(Change::TokenCreated));
        self.journal.append(changes)?;
        Ok(Ok(json!({"revoked": id})))
    }

    /// What follows the token with this hash when it is the one in `<home>/token`: with the file as it is, the next
    /// start would make it valid again. The file goes first, so a crash before the journal revokes it all the same.
    fn successor(&self, revoked: &str) -> Result<Option<TokenEntry>, ApiError> {
        match super::start::read_token(&self.home)? {
            Some(text) if token::hash(&text) == revoked => {
                super::start::write_operator_token(&self.home).map(Some)
            }
            _ => Ok(None),
        }
    }
}

/// A scope is bounded, as every wished state carries all of them.
fn check_scope(scope: &Scope) -> Result<(), ApiError> {
    if scope.tasks.len() > SCOPE_TASKS_AT_MOST {
        let message = format!("scope: more than {SCOPE_TASKS_AT_MOST} tasks");
        return Err(ApiError::new(Code::InvalidRequest, message));
    }
    scope.tasks.iter().try_for_each(|task| check_name("scope", task))
}
