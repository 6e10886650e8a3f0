//! What others ask of the supervisor on its control socket, typed; each is answered by the daemon's loop.

use crate::attempt::Operation;
use holdfast_shared::slot::Slot;
use holdfast_shared::supervisor_control::SpawnWorker;
use holdfast_shared::token::{Scope, TokenRole};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// A request.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// `GET /v1/status`
    Status,
    /// `POST /v1/switch`
    Switch(Switch),
    /// `POST /v1/rollback`
    Rollback(Rollback),
    /// `POST /v1/update`
    Update(Update),
    /// `GET /v1/attempts`
    Attempts,
    /// `POST /v1/update/cancel`, `defer`, `promote`
    Operate(Operation),
    /// `POST /v1/stop`
    Stop(Stop),
    /// `GET /v1/tokens`
    ListTokens,
    /// `POST /v1/tokens`
    NewToken(NewToken),
    /// `DELETE /v1/tokens`
    RevokeToken(RevokeToken),
    /// `GET /v1/slots`
    Slots,
    /// `GET /v1/events`
    Events,
    /// `GET /metrics`; answered with a text.
    Metrics,
    /// `GET /v1/skills`
    ListSkills,
    /// `POST /v1/skills`
    InstallSkill(InstallSkill),
    /// `DELETE /v1/skills`
    RemoveSkill(RemoveSkill),
    /// `POST /v1/workers`
    Spawn(SpawnWorker),
}

/// Asks that a skill be installed, or put in the place of the one with its name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InstallSkill {
    /// Absolute path of the directory with its `skill.toml`, which the supervisor's user can read.
    pub directory: PathBuf,
}

/// Asks that an installed skill be removed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RemoveSkill {
    /// Its name.
    pub name: String,
}

/// Asks for a warm switch.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Switch {
    /// The slot that is to serve; the inactive one when not named.
    pub to: Option<Slot>,
}

/// Asks for another release.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Update {
    /// The bundle's path; its signature is beside it.
    pub bundle: String,
    /// Take a version below the highest seen from its key.
    #[serde(default)]
    pub allow_downgrade: bool,
}

/// Asks for the way back to the release that served before.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rollback {}

/// Asks to stop everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Stop {
    /// Leave holders and workers running for the next start.
    pub keep_workers: bool,
}

/// Asks for a token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewToken {
    /// `operator` or `viewer`.
    pub role: TokenRole,
    /// Which tasks it is for; all when none is named.
    #[serde(default)]
    pub scope: Scope,
    /// In whose name its bearer acts; made from the id when not named.
    #[serde(default)]
    pub principal: Option<String>,
    /// Seconds until it expires; never when not named.
    #[serde(default)]
    pub expires_in_sec: Option<u64>,
}

/// Asks that a token be valid no longer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RevokeToken {
    /// Its id.
    pub id: String,
}
