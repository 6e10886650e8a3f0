//! `doctor`: what is wrong, why, and the next step; and what is not guaranteed on this machine.

mod restricted;

use super::output::{CliError, Output};
use super::place::Place;
use crate::doctor::{self, Check, State};
use crate::io::home::{free_bytes, look};
use crate::io::{logs, programs, slots, systemd};
use crate::memory;
use crate::settings::Settings;
use holdfast_shared::home::Role;
use holdfast_shared::process::{PidFd, read_holder};
use holdfast_shared::slot::Slot;
use restricted::{Restricted, restricted, restriction_check, table};
use serde_json::{Value, json};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

/// Open files that a sidecar with its bound of sessions needs.
const OPEN_FILES: u64 = 10_000;
/// The supervisor answers from memory, the listener of metrics is on this machine.
const ANSWERS: Duration = Duration::from_secs(5);
/// Runs all checks and prints them; exit code 4 when one failed.
pub fn doctor(place: &Place, output: &Output) -> Result<u8, CliError> {
    let restricted = restricted(place);
    let mut checks = vec![binaries(), home(place)];
    checks.extend(modes(place, &restricted));
    checks.push(settings(place));
    checks.extend(running(place));
    checks.extend([memory_check(place, &restricted), disk(place), pidfd(), open_files()]);
    checks.extend(Slot::BOTH.map(|slot| doctor::slot(slot, &slots::issues(&place.home, slot))));
    checks.extend(restriction_check(&restricted));
    checks.extend(work(place));
    checks.extend(units(place));
    slots_as_told(place, &mut checks);
    let failed = checks.iter().any(|check| check.state == State::Fail);
    let value = json!({
        "checks": checks.iter().map(Check::as_json).collect::<Vec<Value>>(),
        "restrictions": restricted.iter()
            .map(|one| one.restrictions.as_json(one.role.name(), one.pid)).collect::<Vec<Value>>(),
    });
    output.result(&value, || {
        let mut lines: Vec<String> = checks.iter().map(|check| words(check, output)).collect();
        lines.extend(table(&restricted));
        lines.join("\n")
    });
    Ok(if failed { crate::exit::DEGRADED } else { crate::exit::FINE })
}

fn words(check: &Check, output: &Output) -> String {
    let colour = match check.state {
        State::Ok => "32",
        State::Warn => "33",
        State::Fail => "31",
    };
    let state = output.paint(colour, &format!("{:<4}", check.state.name()));
    let next =
        if check.next.is_empty() { String::new() } else { format!("\n{:18} next: {}", "", check.next) };
    format!("{state} {:<12}  {}{next}", check.name, check.message)
}

/// What the supervisor answers to a read; `Null` where it does not.
fn told(place: &Place, path: &str) -> Value {
    let asked = super::output::block_on(async { Ok(place.supervisor().get::<Value>(path, ANSWERS).await?) });
    asked.unwrap_or_default()
}

/// The supervisor's word of the slots takes the place of our own look where it has one: a member of the node's group
/// operates it and may not look into its home.
fn slots_as_told(place: &Place, checks: &mut [Check]) {
    let told = told(place, "/v1/slots");
    for one in told["slots"].as_array().into_iter().flatten() {
        let slot = one["slot"].as_str().and_then(Slot::from_name);
        let (Some(slot), Some(issues)) = (slot, one["issues"].as_array()) else { continue };
        let issues: Vec<&str> = issues.iter().filter_map(Value::as_str).collect();
        let said = doctor::slot(slot, &issues);
        checks.iter_mut().filter(|check| check.name == said.name).for_each(|check| *check = said.clone());
    }
}

/// What the living node says of itself; whether it lives at all.
fn running(place: &Place) -> Vec<Check> {
    let asked = super::output::block_on(async {
        let client = place.supervisor();
        let status: Value = client.get("/v1/status", ANSWERS).await?;
        let tokens: Value = client.get("/v1/tokens", ANSWERS).await?;
        Ok((status, tokens))
    });
    let (status, tokens) = match asked {
        Ok(asked) => asked,
        Err(error) if place.anything_lives() => return vec![without_supervisor(place, &error)],
        Err(_) => return vec![Check::warn("node", "not running", "`holdfast up` starts it")],
    };
    let mut checks = vec![doctor::node(&status, &last_errors(place)), doctor::update(&status)];
    checks.extend(doctor::keeper(&status));
    checks.extend(doctor::not_applied(&status));
    checks.push(doctor::tokens(&tokens, jiff::Timestamp::now().as_millisecond()));
    checks.extend(metrics(place));
    checks
}

fn without_supervisor(place: &Place, error: &CliError) -> Check {
    let next = match place.lives(Role::Keeper) {
        true => "the keeper starts another one; `holdfast logs supervisor` says why it does not come up",
        false => "`holdfast up` takes over what lives (installed: `systemctl restart holdfast`)",
    };
    Check::fail("node", format!("its processes live and no supervisor answers: {error}"), next)
}

/// What the runtimes' logs end with, where that is an error.
fn last_errors(place: &Place) -> Vec<(String, String)> {
    let names = Slot::BOTH.map(|slot| Role::Runtime(slot).name());
    let said = |name: &str| Some((name.to_owned(), logs::last_error(&place.home.logs(), name)?));
    names.into_iter().filter_map(said).collect()
}

/// Whether the listener of metrics is there.
fn metrics(place: &Place) -> Option<Check> {
    let text = std::fs::read_to_string(place.home.config()).ok()?;
    let address: SocketAddr = Settings::parse(&text).ok()?.supervisor.metrics_listen?;
    Some(match TcpStream::connect_timeout(&address, ANSWERS) {
        Ok(_) => Check::ok("metrics", format!("http://{address}/metrics")),
        Err(error) => Check::warn(
            "metrics",
            format!("nobody answers at {address}: {error}"),
            "`holdfast logs supervisor` says why; the address may be taken, or the setting not yet applied",
        ),
    })
}

fn modes(place: &Place, restricted: &[Restricted]) -> Vec<Check> {
    let node = restricted.iter().find(|one| one.role == Role::Supervisor).map(|one| one.restrictions.uid);
    let one = |path: &Path, secret: bool| {
        let metadata = std::fs::metadata(path).ok()?;
        let node = node.unwrap_or(metadata.uid());
        doctor::modes(&path.display().to_string(), metadata.mode(), metadata.uid(), node, secret)
    };
    [one(place.home.path(), false), one(&place.home.token(), true)].into_iter().flatten().collect()
}

/// The settings in the file; what is wrong with it is told by its own check.
fn settings_here(place: &Place) -> Settings {
    let text = std::fs::read_to_string(place.home.config()).ok();
    text.and_then(|text| Settings::parse(&text).ok()).unwrap_or_default()
}

fn memory_check(place: &Place, restricted: &[Restricted]) -> Check {
    let resident = |one: &Restricted| {
        memory::resident(&std::fs::read_to_string(format!("/proc/{}/status", one.pid)).ok()?)
    };
    // The larger one: which is active makes no difference to a machine that has room for both.
    let runtimes = restricted.iter().filter(|one| matches!(one.role, Role::Runtime(_)));
    let resident = runtimes.filter_map(resident).max();
    let meminfo = std::fs::read_to_string("/proc/meminfo").ok();
    let gate = settings_here(place).supervisor.memory_gate();
    doctor::memory(meminfo.and_then(|text| memory::available(&text)), resident, gate)
}

fn binaries() -> Check {
    let missing =
        ["holdfast-runtime", programs::SIDECAR].into_iter().find_map(|name| programs::beside_us(name).err());
    match missing {
        None => Check::ok("binaries", "runtime and sidecar are built"),
        Some(error) => {
            Check::fail("binaries", error.message, "`cargo build --release --workspace`, or install it again")
        }
    }
}

fn home(place: &Place) -> Check {
    let path = place.home.path().display();
    match look(&place.home) {
        Ok(crate::io::home::Found::New) => Check::ok("home", format!("{path}: no node was started here yet")),
        Ok(crate::io::home::Found::Node(identity)) => {
            Check::ok("home", format!("{path}: node {}", identity.id))
        }
        // Another user's home: a member of the group may operate the node and not look into its files.
        Err(error) if error.code == holdfast_shared::error::Code::Refused => Check::warn(
            "home",
            format!("not all of it can be looked at: {}", error.message),
            "run doctor as the home's owner, or as root",
        ),
        Err(error) => Check::fail(
            "home",
            format!("{}: {}", error.code.as_str(), error.message),
            "restore what the message names from a backup; nothing was written here",
        ),
    }
}

fn settings(place: &Place) -> Check {
    let path = place.home.config();
    match std::fs::read_to_string(&path) {
        Err(_) => Check::ok("settings", "no holdfast.toml; defaults"),
        Ok(text) => match Settings::parse(&text) {
            Ok(_) => Check::ok("settings", "holdfast.toml is valid"),
            Err(error) => Check::fail(
                "settings",
                format!("{}: {error}", path.display()),
                "correct the file; until then the node goes on with the settings it has",
            ),
        },
    }
}

fn pidfd() -> Check {
    match PidFd::open(std::process::id().cast_signed()) {
        Ok(_) => Check::ok("pidfd", "processes are held by descriptor"),
        Err(error) => Check::fail(
            "pidfd",
            format!("this kernel has no pidfds: {error}"),
            "Linux 5.3 or later is needed",
        ),
    }
}

fn disk(place: &Place) -> Check {
    let there = place.home.path().ancestors().find(|path| path.is_dir()).unwrap_or(Path::new("/"));
    match free_bytes(there) {
        Ok(free) => doctor::disk(free, settings_here(place).supervisor.min_free_bytes),
        Err(error) => Check::warn("disk", format!("free space of {}: {error}", there.display()), ""),
    }
}

fn open_files() -> Check {
    match nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE) {
        Ok((_, hard)) if hard >= OPEN_FILES => Check::ok("open files", format!("{hard} per process")),
        Ok((_, hard)) => Check::warn(
            "open files",
            format!("{hard} per process: fewer browsers than 9,000 can connect"),
            "`ulimit -Hn` before `up`; under systemd LimitNOFILE=",
        ),
        Err(error) => Check::warn("open files", error.to_string(), ""),
    }
}

/// Skills and limits: the supervisor's word, who knows what is possible for it; of a node that does not run, what lies in
/// its home.
fn work(place: &Place) -> Vec<Check> {
    let told = told(place, "/v1/skills");
    let known = match told.is_object() {
        true => Ok(told),
        false => crate::io::skills::list(&place.home),
    };
    match known {
        Ok(known) => {
            let mut checks = doctor::work::skills(&known);
            checks.extend(doctor::work::limits(&known["limits"]));
            checks
        }
        Err(error) => vec![Check::fail(
            "skills",
            error.message,
            "restore the file, or remove it and install the skills again",
        )],
    }
}

fn units(place: &Place) -> Option<Check> {
    let keeper = read_holder(&place.home, Role::Keeper).ok().flatten();
    let message = if keeper.is_some_and(|keeper| systemd::started(keeper.pid)) {
        "holdfast.service keeps this node; `systemctl stop holdfast.target` stops it"
    } else if Path::new("/run/systemd/system").exists() {
        "systemd runs here and does not keep this node; deploy/install sets that up"
    } else {
        "no systemd: the node ends with this machine's session or container"
    };
    Some(Check::ok("systemd", message))
}
