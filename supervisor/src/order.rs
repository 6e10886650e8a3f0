//! Which worker a request becomes: the work order of the built-in skill, its environment from an allow-list.

use crate::settings::CommandSettings;
use holdfast_shared::error::{ApiError, Code};
use holdfast_shared::home::Home;
use holdfast_shared::supervisor_control::SpawnWorker;
use holdfast_shared::worker::{Limits, Order, OutputMode, Protocol, TERM_GRACE_MS};
use std::collections::BTreeMap;

/// Bytes of a task's, turn's or spawn's name at most: they become names of directories.
const NAME_BYTES: usize = 64;

/// The order of a worker.
///
/// # Errors
/// `INVALID_REQUEST` for names that are no names and for a skill that is not installed.
pub fn order(
    request: &SpawnWorker,
    home: &Home,
    settings: &CommandSettings,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<Order, ApiError> {
    for (what, name) in [("spawn_id", &request.spawn_id), ("task", &request.task), ("turn", &request.turn)] {
        check_name(what, name)?;
    }
    if request.skill != "command" {
        let message = format!("skill {:?} is not installed", request.skill);
        return Err(ApiError::new(Code::InvalidRequest, message));
    }
    if request.prompt.contains('\0') {
        return Err(ApiError::new(Code::InvalidRequest, "prompt: a command line holds no NUL"));
    }
    Ok(Order {
        spawn_id: request.spawn_id.clone(),
        task: request.task.clone(),
        turn: request.turn.clone(),
        protocol: Protocol::Command,
        mode: OutputMode::Bytes,
        argv: vec!["/bin/sh".into(), "-c".into(), request.prompt.clone()],
        env: environment(request, settings, variable),
        cwd: home.workspaces().join(&request.task),
        output_quota_bytes: settings.output_quota_bytes,
        term_grace_ms: TERM_GRACE_MS,
        kill_grace_ms: settings.kill_grace_ms,
        limits: Limits::default(),
        user: None,
    })
}

fn environment(
    request: &SpawnWorker,
    settings: &CommandSettings,
    variable: impl Fn(&str) -> Option<String>,
) -> BTreeMap<String, String> {
    let allowed = settings.environment.iter().filter_map(|name| Some((name.clone(), variable(name)?)));
    let mut environment: BTreeMap<String, String> = allowed.collect();
    environment.insert("HOLDFAST_TASK".into(), request.task.clone());
    environment.insert("HOLDFAST_TURN".into(), request.turn.clone());
    environment
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
mod tests {
    use super::*;

    fn request(task: &str, skill: &str) -> SpawnWorker {
        SpawnWorker {
            spawn_id: "s1".into(),
            skill: skill.into(),
            version: String::new(),
            task: task.into(),
            turn: "t1".into(),
            epoch: 1,
            prompt: "echo hi".into(),
            terminal: None,
        }
    }

    fn make(task: &str, skill: &str) -> Result<Order, ApiError> {
        let variable = |name: &str| (name == "PATH" || name == "SECRET").then(|| "x".to_owned());
        order(&request(task, skill), &Home::new("/h"), &CommandSettings::default(), variable)
    }

    #[test]
    fn a_command_gets_a_shell_and_only_allowed_variables() {
        let order = make("demo", "command").unwrap();
        assert_eq!(order.argv, ["/bin/sh", "-c", "echo hi"]);
        let names: Vec<&str> = order.env.keys().map(String::as_str).collect();
        assert_eq!(names, ["HOLDFAST_TASK", "HOLDFAST_TURN", "PATH"]);
    }

    #[test]
    fn names_that_lead_elsewhere_and_unknown_skills_are_refused() {
        for task in ["", "..", "a/b", ".x", "a b", "ä", &"x".repeat(65)] {
            assert_eq!(make(task, "command").unwrap_err().code, Code::InvalidRequest, "{task:?}");
        }
        assert_eq!(make("demo", "other").unwrap_err().code, Code::InvalidRequest);
    }
}
