//! `doctor`: what this machine and this home offer, and what is not guaranteed here.

use super::output::{CliError, Output};
use super::place::Place;
use crate::io::home::look;
use crate::io::{slots, systemd};
use holdfast_shared::home::Role;
use holdfast_shared::process::{PidFd, read_holder};
use holdfast_shared::slot::Slot;
use serde_json::{Value, json};
use std::path::Path;

/// Less than this on the home's disk and new commands are refused soon.
const LOW_DISK_BYTES: u64 = 1024 * 1024 * 1024;
/// Open files that a sidecar with its bound of sessions needs.
const OPEN_FILES: u64 = 10_000;

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// As it should be.
    Ok,
    /// Works, without a guarantee.
    Warn,
    /// Something will not work.
    Fail,
}

struct Check {
    name: &'static str,
    state: State,
    message: String,
}

/// Runs all checks and prints them; exit code 4 when one failed.
pub fn doctor(place: &Place, output: &Output) -> Result<u8, CliError> {
    let mut checks = vec![binaries(), home(place), settings(place), pidfd(), disk(place), open_files()];
    checks.extend(Slot::BOTH.map(|slot| slot_check(place, slot)));
    checks.extend([task_user(), cgroup(), units(place)]);
    let failed = checks.iter().any(|check| check.state == State::Fail);
    let value = json!({"checks": checks.iter().map(as_json).collect::<Vec<Value>>()});
    output.result(&value, || checks.iter().map(|check| words(check, output)).collect::<Vec<_>>().join("\n"));
    Ok(if failed { crate::exit::DEGRADED } else { crate::exit::FINE })
}

fn as_json(check: &Check) -> Value {
    json!({"check": check.name, "state": name(check.state), "message": check.message})
}

fn words(check: &Check, output: &Output) -> String {
    let colour = match check.state {
        State::Ok => "32",
        State::Warn => "33",
        State::Fail => "31",
    };
    format!(
        "{} {:<12} {}",
        output.paint(colour, &format!("{:<4}", name(check.state))),
        check.name,
        check.message
    )
}

fn name(state: State) -> &'static str {
    match state {
        State::Ok => "ok",
        State::Warn => "warn",
        State::Fail => "fail",
    }
}

fn check(name: &'static str, state: State, message: impl Into<String>) -> Check {
    Check { name, state, message: message.into() }
}

fn binaries() -> Check {
    let missing =
        ["holdfast-runtime", slots::SIDECAR].into_iter().find_map(|name| slots::beside_us(name).err());
    match missing {
        None => check("binaries", State::Ok, "runtime and sidecar are built"),
        Some(error) => check("binaries", State::Fail, error.message),
    }
}

fn home(place: &Place) -> Check {
    let path = place.home.path().display();
    match look(&place.home) {
        Ok(crate::io::home::Found::New) => {
            check("home", State::Ok, format!("{path}: no node was started here yet"))
        }
        Ok(crate::io::home::Found::Node(identity)) => {
            check("home", State::Ok, format!("{path}: node {}", identity.id))
        }
        Err(error) => check("home", State::Fail, format!("{}: {}", error.code.as_str(), error.message)),
    }
}

fn settings(place: &Place) -> Check {
    let path = place.home.config();
    match std::fs::read_to_string(&path) {
        Err(_) => check("settings", State::Ok, "no holdfast.toml; defaults"),
        Ok(text) => match crate::settings::Settings::parse(&text) {
            Ok(_) => check("settings", State::Ok, "holdfast.toml is valid"),
            Err(error) => check("settings", State::Fail, format!("{}: {error}", path.display())),
        },
    }
}

fn pidfd() -> Check {
    match PidFd::open(std::process::id().cast_signed()) {
        Ok(_) => check("pidfd", State::Ok, "processes are held by descriptor"),
        Err(error) => check("pidfd", State::Fail, format!("this kernel has no pidfds: {error}")),
    }
}

fn disk(place: &Place) -> Check {
    let there = place.home.path().ancestors().find(|path| path.is_dir()).unwrap_or(Path::new("/"));
    match nix::sys::statvfs::statvfs(there) {
        Ok(disk) => {
            let free = disk.blocks_available().saturating_mul(disk.fragment_size());
            let state = if free < LOW_DISK_BYTES { State::Warn } else { State::Ok };
            check("disk", state, format!("{} MiB free", free / (1024 * 1024)))
        }
        Err(error) => check("disk", State::Warn, format!("free space of {}: {error}", there.display())),
    }
}

fn open_files() -> Check {
    match nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE) {
        Ok((_, hard)) if hard >= OPEN_FILES => check("open files", State::Ok, format!("{hard} per process")),
        Ok((_, hard)) => check(
            "open files",
            State::Warn,
            format!("{hard} per process: fewer browsers than 9,000 can connect"),
        ),
        Err(error) => check("open files", State::Warn, error.to_string()),
    }
}

fn slot_check(place: &Place, slot: Slot) -> Check {
    let name = if slot == Slot::A { "slot a" } else { "slot b" };
    match slots::issues(&place.home, slot).as_slice() {
        [] => check(name, State::Ok, "whole"),
        ["missing_manifest"] => check(name, State::Warn, "empty; `holdfast up` fills it"),
        issues => check(name, State::Fail, issues.join(", ")),
    }
}

fn task_user() -> Check {
    check(
        "task user",
        State::Warn,
        "work runs as the node's own user: it can read and change what this user can, the node's files too",
    )
}

fn cgroup() -> Check {
    let writable = Path::new("/sys/fs/cgroup/cgroup.procs");
    let v2 = writable.exists() && nix::unistd::access(writable, nix::unistd::AccessFlags::W_OK).is_ok();
    match v2 {
        true => check("cgroup v2", State::Ok, "writable"),
        false => check(
            "cgroup v2",
            State::Warn,
            "not writable here: work is ended by its session and its holder, memory is not limited",
        ),
    }
}

fn units(place: &Place) -> Check {
    let keeper = read_holder(&place.home, Role::Keeper).ok().flatten();
    let message = if keeper.is_some_and(|keeper| systemd::started(keeper.pid)) {
        "holdfast.service keeps this node; `systemctl stop holdfast.target` stops it"
    } else if Path::new("/run/systemd/system").exists() {
        "systemd runs here and does not keep this node; deploy/install sets that up"
    } else {
        "no systemd: the node ends with this machine's session or container"
    };
    check("systemd", State::Ok, message)
}
