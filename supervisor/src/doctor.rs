//! What `doctor` says of what it has found: what is wrong, why, and the next step. Pure.

pub mod work;

use crate::memory::{self, Gate};
use holdfast_shared::free_space::is_enough;
use holdfast_shared::journal::Limits;
use holdfast_shared::slot::Slot;
use serde_json::{Value, json};

/// Less than this on the home's disk is said before anything is refused: a bundle, its slot and a conversation fit.
const LOW_DISK_BYTES: u64 = 1024 * 1024 * 1024;
/// Bits of a mode by which others than the owner may write.
const WRITES_OF_OTHERS: u32 = 0o022;
/// Bits of a mode by which others than the owner may do anything.
const ALL_OF_OTHERS: u32 = 0o077;

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// As it should be.
    Ok,
    /// Works, without a guarantee.
    Warn,
    /// Something does not work, or will not.
    Fail,
}

impl State {
    /// The word.
    pub fn name(self) -> &'static str {
        match self {
            State::Ok => "ok",
            State::Warn => "warn",
            State::Fail => "fail",
        }
    }
}

/// One check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// What was looked at.
    pub name: &'static str,
    /// How it ended.
    pub state: State,
    /// What is, and why.
    pub message: String,
    /// What to do; empty where nothing is to be done.
    pub next: String,
}

impl Check {
    /// As it should be.
    pub fn ok(name: &'static str, message: impl Into<String>) -> Self {
        Self { name, state: State::Ok, message: message.into(), next: String::new() }
    }

    /// Works, without a guarantee.
    pub fn warn(name: &'static str, message: impl Into<String>, next: impl Into<String>) -> Self {
        Self { name, state: State::Warn, message: message.into(), next: next.into() }
    }

    /// Something does not work, or will not.
    pub fn fail(name: &'static str, message: impl Into<String>, next: impl Into<String>) -> Self {
        Self { name, state: State::Fail, message: message.into(), next: next.into() }
    }

    /// As `doctor --json` has it.
    pub fn as_json(&self) -> Value {
        let next = (!self.next.is_empty()).then_some(&self.next);
        json!({"check": self.name, "state": self.state.name(), "message": self.message, "next": next})
    }
}

/// What the node says of itself; `last_errors` is what each runtime's log says at its end, where it ends with an
/// error.
pub fn node(status: &Value, last_errors: &[(String, String)]) -> Check {
    let state = status["node"]["state"].as_str().unwrap_or("unknown");
    let said = status["node"]["problems"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let mut why: Vec<String> = said.map(str::to_owned).collect();
    if state == "degraded" {
        why.extend(last_errors.iter().map(|(log, error)| format!("{log} ended with: {error}")));
        return Check::fail(
            "node",
            format!("degraded, no runtime serves: {}", why.join("; ")),
            "mend what the runtime says; it is tried again by itself (`holdfast logs --since 10m` has all of it)",
        );
    }
    match why.is_empty() {
        true => Check::ok("node", state),
        false => {
            Check::warn("node", format!("{state}, and: {}", why.join("; ")), "`holdfast logs --since 10m`")
        }
    }
}

/// The last attempt, and the one under way.
pub fn update(status: &Value) -> Check {
    let update = &status["update"];
    let text = |name: &str| update[name].as_str().unwrap_or_default();
    let state = text("state");
    match state {
        "failed" | "rolled_back" | "expired" => {
            let stage =
                update["failed_stage"].as_str().map_or_else(String::new, |stage| format!(" in {stage}"));
            let reason = if text("failure_reason").is_empty() { "no reason" } else { text("failure_reason") };
            Check::warn(
                "update",
                format!("the last change {state}{stage}: {reason}; the release before it serves"),
                "`holdfast attempts` says why, with the last lines of the candidate's log",
            )
        }
        "root_promotion_pending" => Check::warn("update", text("message"), "`holdfast promote`"),
        "idle" | "" => Check::ok("update", "nothing is planned"),
        _ => Check::ok("update", format!("{state}: {}", text("message"))),
    }
}

/// A promoted keeper that did not live, in whose place the installed one goes on.
pub fn keeper(status: &Value) -> Option<Check> {
    let attempt = status["keeper"]["gave_up"].as_str()?;
    Some(Check::warn(
        "keeper",
        format!("the keeper promoted by {attempt} failed its starts; the installed one keeps the node"),
        "`holdfast logs keeper` says why; the next release that is promoted is tried again",
    ))
}

/// Settings that say something else than the running processes were given.
pub fn not_applied(status: &Value) -> Option<Check> {
    let parts = status["node"]["settings_not_applied"].as_array().map(Vec::as_slice).unwrap_or_default();
    let parts: Vec<&str> = parts.iter().filter_map(Value::as_str).collect();
    let next = match parts.as_slice() {
        [] => return None,
        ["runtime"] => "`holdfast switch`",
        parts if parts.contains(&"runtime") => {
            "`holdfast switch` for the runtime; the rest with the next start: `holdfast stop --keep-workers`, then start it"
        }
        _ => "they apply with the next start: `holdfast stop --keep-workers`, then start it",
    };
    Some(Check::warn("applied", format!("settings not yet applied: {}", parts.join(", ")), next))
}

/// Memory against the gate of a switch.
pub fn memory(available: Option<u64>, active_resident: Option<u64>, gate: Gate) -> Check {
    let Some(available) = available else {
        return Check::warn("memory", "the kernel does not say how much is available", "");
    };
    let needed = memory::needed(active_resident.unwrap_or(0), 0, gate);
    let message =
        format!("{} available; a switch needs {} for the second runtime", mib(available), mib(needed));
    match available < needed {
        true => Check::warn(
            "memory",
            format!("{message}: it would wait as memory_blocked"),
            "end something on this machine, or give it more memory",
        ),
        false => Check::ok("memory", message),
    }
}

/// The disk against what the runtime keeps for itself, and what has to be free before work is begun (`min_work`, 0: not
/// looked at).
pub fn disk(free: u64, min_work: u64) -> Check {
    let limits = Limits::RUNTIME;
    let own = format!(
        "{} free; new commands are refused below {}, beside the reserve of {} and {} ahead of the journal",
        mib(free),
        mib(limits.low_space_bytes),
        mib(limits.reserve_bytes),
        mib(limits.headroom_bytes)
    );
    let next = "make room on the disk of the home; the node goes on by itself";
    match free {
        free if free < limits.low_space_bytes => Check::fail("disk", own, next),
        free if !is_enough(free, min_work) => {
            let message = format!("{own}; no worker is started below {} (min_free_bytes)", mib(min_work));
            Check::fail("disk", message, next)
        }
        free if free < LOW_DISK_BYTES => Check::warn("disk", own, next),
        _ => Check::ok("disk", own),
    }
}

/// What is in a slot, as issue codes.
pub fn slot(slot: Slot, issues: &[&str]) -> Check {
    let name = if slot == Slot::A { "slot a" } else { "slot b" };
    match issues {
        [] => Check::ok(name, "whole"),
        ["missing_manifest"] => Check::warn(
            name,
            "empty (missing_manifest): there is nothing to switch or roll back to",
            "`holdfast up` fills it with the built tree, `holdfast update FILE` with a release",
        ),
        issues => Check::fail(
            name,
            format!("{}: nothing is started from it", issues.join(", ")),
            "`holdfast update FILE` puts a release there; the slot that serves is restored by the next switch back",
        ),
    }
}

/// Tokens of `GET /v1/tokens` at a time in unix milliseconds.
pub fn tokens(tokens: &Value, now: i64) -> Check {
    let all = tokens["tokens"].as_array().map(Vec::as_slice).unwrap_or_default();
    let expired = all.iter().filter(|token| token["expires_at"].as_i64().is_some_and(|at| at <= now));
    let expired: Vec<&str> = expired.filter_map(|token| token["id"].as_str()).collect();
    match expired.as_slice() {
        [] => Check::ok("tokens", format!("{} known, none has expired", all.len())),
        [first, ..] => Check::warn(
            "tokens",
            format!("expired, and refused with error 109: {}", expired.join(", ")),
            format!(
                "`holdfast token new` makes one in its place, `holdfast token revoke {first}` removes it"
            ),
        ),
    }
}

/// Whom a path of the home belongs to and who else may write it (or, of a secret, read it). `node` is the user whom the
/// node runs as.
pub fn modes(path: &str, mode: u32, owner: u32, node: u32, secret: bool) -> Option<Check> {
    let forbidden = if secret { ALL_OF_OTHERS } else { WRITES_OF_OTHERS };
    if owner != node && owner != 0 {
        let message = format!("{path} belongs to user {owner}, and the node runs as {node}");
        return Some(Check::fail("home mode", message, format!("`chown {node} {path}`")));
    }
    if mode & forbidden == 0 {
        return None;
    }
    let may = if secret { "read the operator's token" } else { "replace what is in it, programs too" };
    let message = format!("{path} has mode {:04o}: others may {may}", mode & 0o7777);
    let mut next = format!("`chmod {:04o} {path}`", mode & 0o7777 & !forbidden);
    if secret {
        next.push_str(", then `holdfast token revoke operator`, which makes another one");
    }
    Some(Check::fail("home mode", message, next))
}

fn mib(bytes: u64) -> String {
    format!("{} MiB", bytes / (1024 * 1024))
}

#[cfg(test)]
mod tests;
