//! What the kernel lets each living process of the node do.

use super::told;
use crate::cli::place::Place;
use crate::doctor::Check;
use crate::restrictions::Restrictions;
use holdfast_shared::home::Role;
use holdfast_shared::process::read_holder;
use holdfast_shared::slot::Slot;
use serde_json::Value;

/// The processes whose restrictions are told.
const PROCESSES: [Role; 5] =
    [Role::Keeper, Role::Supervisor, Role::Sidecar, Role::Runtime(Slot::A), Role::Runtime(Slot::B)];

/// A living process and what it may not do.
pub(super) struct Restricted {
    pub(super) role: Role,
    pub(super) pid: i32,
    pub(super) restrictions: Restrictions,
}

/// The pid of a role's process in the status.
fn told_pid(status: &Value, role: Role) -> Option<i32> {
    let part = match role {
        Role::Keeper => "keeper",
        Role::Supervisor => "supervisor",
        Role::Sidecar => "sidecar",
        Role::Runtime(slot) => {
            ["active", "candidate"].into_iter().find(|part| status[*part]["slot"] == slot.name())?
        }
    };
    status[part]["pid"].as_i64().and_then(|pid| i32::try_from(pid).ok())
}

/// What lives, and the restrictions that the kernel says it is under. The supervisor knows its processes; where it does
/// not answer, their locks do, which not everybody may look at.
pub(super) fn restricted(place: &Place) -> Vec<Restricted> {
    let status = told(place, "/v1/status");
    let one = |role: Role| {
        let held = || Some(read_holder(&place.home, role).ok().flatten()?.pid);
        let pid = told_pid(&status, role).or_else(held)?;
        let restrictions = Restrictions::read(&std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?)?;
        Some(Restricted { role, pid, restrictions })
    };
    PROCESSES.into_iter().filter_map(one).collect()
}

pub(super) fn restriction_check(restricted: &[Restricted]) -> Option<Check> {
    if restricted.is_empty() {
        return None;
    }
    let named = |wanted: fn(&Restrictions) -> bool| {
        let names = restricted.iter().filter(|one| wanted(&one.restrictions)).map(|one| one.role.name());
        names.collect::<Vec<&str>>().join(", ")
    };
    let (privileged, may_gain) = (named(Restrictions::is_privileged), named(|one| !one.no_new_privs));
    let next =
        "install it (deploy/install, or the package): the units run it as a user of its own, restricted";
    Some(match (privileged.is_empty(), may_gain.is_empty()) {
        (true, true) => {
            Check::ok("restrictions", "no process has rights of root or can gain any (table below)")
        }
        (false, _) => {
            Check::warn("restrictions", format!("with rights of root: {privileged} (table below)"), next)
        }
        (true, false) => {
            Check::warn("restrictions", format!("without no_new_privs: {may_gain} (table below)"), next)
        }
    })
}

pub(super) fn table(restricted: &[Restricted]) -> Vec<String> {
    if restricted.is_empty() {
        return Vec::new();
    }
    let head = format!(
        "\n{:<11} {:>8} {:>7}  {:<14} {:<12} seccomp",
        "process", "pid", "uid", "capabilities", "no_new_privs"
    );
    let row = |one: &Restricted| {
        let found = &one.restrictions;
        format!(
            "{:<11} {:>8} {:>7}  {:<14} {:<12} {}",
            one.role.name(),
            one.pid,
            found.uid,
            found.capabilities_in_words(),
            if found.no_new_privs { "yes" } else { "no" },
            found.seccomp
        )
    };
    std::iter::once(head).chain(restricted.iter().map(row)).collect()
}
