//! Which worker a request becomes: the work order of its skill, or of a command that an agent asks for.

use crate::settings::CommandSettings;
use crate::skill::Manifest;
use holdfast_shared::error::{ApiError, Code};
use holdfast_shared::home::Home;
use holdfast_shared::skill::{COMMAND, DEMO};
use holdfast_shared::supervisor_control::{SpawnWorker, Terminal};
use holdfast_shared::worker::{Limits, Order, OutputMode, Protocol, TERM_GRACE_MS, User};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Bytes of a task's, turn's or spawn's name at most: they become names of directories.
const NAME_BYTES: usize = 64;
/// Words and variables of a terminal at most.
const TERMINAL_ENTRIES_MAX: usize = 1_024;
/// Names the skill to its workers; also how a living worker's skill is known.
pub const SKILL_VARIABLE: &str = "HOLDFAST_SKILL";

/// What a skill is on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Skill {
    /// Built in: each prompt is a shell command line.
    Command,
    /// Built in: our own program as an agent.
    Demo {
        /// The program.
        program: PathBuf,
    },
    /// Installed.
    Installed {
        /// Its directory.
        directory: PathBuf,
        /// Its manifest, unchanged.
        manifest: Box<Manifest>,
        /// The user that it names.
        user: Option<User>,
    },
}

/// What a worker of a skill is, whichever skill it is.
struct Runs {
    name: String,
    protocol: Protocol,
    argv: Vec<String>,
    env: BTreeMap<String, String>,
    pass_env: Vec<String>,
    output_bytes: Option<u64>,
    limits: Limits,
    user: Option<User>,
}

/// Looks at what a request names, before anything is read for it.
///
/// # Errors
/// `INVALID_REQUEST` for names that are no names, and for a terminal that cannot be one.
pub fn check(request: &SpawnWorker) -> Result<(), ApiError> {
    for (what, name) in [("spawn_id", &request.spawn_id), ("task", &request.task)] {
        check_name(what, name)?;
    }
    if !request.turn.is_empty() {
        check_name("turn", &request.turn)?;
    }
    request.terminal.as_ref().map_or(Ok(()), check_terminal)
}

/// The order of a worker.
///
/// # Errors
/// `INVALID_REQUEST` for names that are no names and what cannot be a command line.
pub fn order(
    request: &SpawnWorker,
    home: &Home,
    skill: Skill,
    settings: &CommandSettings,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<Order, ApiError> {
    check(request)?;
    if request.prompt.contains('\0') {
        return Err(ApiError::new(Code::InvalidRequest, "prompt: a command line holds no NUL"));
    }
    let runs = runs(request, skill, settings);
    let terminal = request.terminal.as_ref();
    let mode = match runs.protocol {
        Protocol::Acp if terminal.is_none() => OutputMode::Lines,
        Protocol::Acp | Protocol::Command => OutputMode::Bytes,
    };
    if request.turn.is_empty() && mode == OutputMode::Bytes && terminal.is_none() {
        return Err(ApiError::new(Code::InvalidRequest, "turn: a command runs for one"));
    }
    let mut env = environment(request, settings, &runs, variable);
    let argv = match terminal {
        None => runs.argv,
        Some(terminal) => {
            env.extend(terminal.env.clone());
            [terminal.command.clone()].into_iter().chain(terminal.args.iter().cloned()).collect()
        }
    };
    let workspace = home.workspaces().join(&request.task);
    Ok(Order {
        spawn_id: request.spawn_id.clone(),
        task: request.task.clone(),
        turn: request.turn.clone(),
        protocol: if terminal.is_some() { Protocol::Command } else { runs.protocol },
        mode,
        argv,
        env,
        cwd: terminal.map_or_else(|| workspace.clone(), |terminal| workspace.join(&terminal.cwd)),
        output_quota_bytes: runs.output_bytes.unwrap_or(settings.output_quota_bytes),
        term_grace_ms: TERM_GRACE_MS,
        kill_grace_ms: settings.kill_grace_ms,
        limits: runs.limits,
        user: runs.user,
    })
}

fn runs(request: &SpawnWorker, skill: Skill, settings: &CommandSettings) -> Runs {
    let built_in = |name: &str, protocol, argv| Runs {
        name: name.to_owned(),
        protocol,
        argv,
        env: BTreeMap::new(),
        pass_env: Vec::new(),
        output_bytes: None,
        limits: Limits::default(),
        user: None,
    };
    match skill {
        Skill::Command => {
            let argv = vec!["/bin/sh".into(), "-c".into(), request.prompt.clone()];
            Runs { limits: settings.limits, ..built_in(COMMAND, Protocol::Command, argv) }
        }
        Skill::Demo { program } => {
            let argv = vec![program.to_string_lossy().into_owned(), "agent-demo".into()];
            built_in(DEMO, Protocol::Acp, argv)
        }
        Skill::Installed { directory, manifest, user } => Runs {
            argv: command_line(&directory, &manifest, &request.prompt),
            name: manifest.name,
            protocol: manifest.protocol,
            env: manifest.env,
            pass_env: manifest.pass_env,
            output_bytes: manifest.output_bytes,
            limits: manifest.limits,
            user,
        },
    }
}

/// The manifest's words; a command has the prompt as one more at the end.
fn command_line(directory: &Path, manifest: &Manifest, prompt: &str) -> Vec<String> {
    let mut argv = manifest.argv.clone();
    if let (Some(own), Some(program)) = (manifest.own_program(), argv.first_mut()) {
        *program = directory.join(own).to_string_lossy().into_owned();
    }
    if manifest.protocol == Protocol::Command {
        argv.push(prompt.to_owned());
    }
    argv
}

/// From the least to the most particular: what is allowed of ours, what the skill says, what is always there.
fn environment(
    request: &SpawnWorker,
    settings: &CommandSettings,
    runs: &Runs,
    variable: impl Fn(&str) -> Option<String>,
) -> BTreeMap<String, String> {
    let names = settings.environment.iter().chain(&runs.pass_env);
    let mut environment: BTreeMap<String, String> =
        names.filter_map(|name| Some((name.clone(), variable(name)?))).collect();
    environment.extend(runs.env.clone());
    environment.insert(SKILL_VARIABLE.into(), runs.name.clone());
    environment.insert("HOLDFAST_TASK".into(), request.task.clone());
    if !request.turn.is_empty() {
        environment.insert("HOLDFAST_TURN".into(), request.turn.clone());
    }
    environment
}

fn check_terminal(terminal: &Terminal) -> Result<(), ApiError> {
    let invalid = |what: String| Err(ApiError::new(Code::InvalidRequest, format!("terminal: {what}")));
    if terminal.command.is_empty() {
        return invalid("no command".to_owned());
    }
    let entries = terminal.args.len().max(terminal.env.len());
    if entries > TERMINAL_ENTRIES_MAX {
        return invalid(format!("{entries} words or variables, at most {TERMINAL_ENTRIES_MAX} are taken"));
    }
    let named = |name: &String| !name.is_empty() && !name.contains('=') && !name.starts_with("HOLDFAST_");
    if let Some(name) = terminal.env.keys().find(|name| !named(name)) {
        return invalid(format!("{name:?} is no variable to be set"));
    }
    let variables = terminal.env.iter().flat_map(|(name, value)| [name, value]);
    let mut texts = terminal.args.iter().chain([&terminal.command, &terminal.cwd]).chain(variables);
    if texts.any(|text| text.contains('\0')) {
        return invalid("a NUL byte".to_owned());
    }
    match steps(&terminal.cwd) {
        Some(_) => Ok(()),
        None => {
            let message = format!("terminal: {:?} is no directory below the workspace", terminal.cwd);
            Err(ApiError::new(Code::WorkspacePolicyViolation, message))
        }
    }
}

/// The steps of a path below a workspace; `None` for one that leads elsewhere or is not plain.
pub fn steps(path: &str) -> Option<Vec<&str>> {
    if path.is_empty() {
        return Some(Vec::new());
    }
    let steps: Vec<&str> = path.trim_end_matches('/').split('/').collect();
    steps.iter().all(|step| !["", ".", ".."].contains(step)).then_some(steps)
}

/// Names become directories: `[A-Za-z0-9][A-Za-z0-9._-]*`, so neither `..` nor a slash is one.
///
/// # Errors
/// `INVALID_REQUEST`, naming what it was for.
pub fn check_name(what: &str, name: &str) -> Result<(), ApiError> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    let first = name.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    if first && name.len() <= NAME_BYTES && name.bytes().all(allowed) {
        return Ok(());
    }
    let message = format!("{what}: {name:?} is not 1 to {NAME_BYTES} of letters, digits, '.', '_', '-'");
    Err(ApiError::new(Code::InvalidRequest, message))
}

#[cfg(test)]
mod tests;
