//! `skill list|install|remove|validate`.

use super::output::{CliError, Output};
use super::place::Place;
use crate::command::{InstallSkill, RemoveSkill};
use crate::io::skills;
use clap::Subcommand;
use holdfast_shared::error::{ApiError, Code};
use hyper::Method;
use serde::Serialize;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A large agent is some hundred megabytes to copy and to sync.
const ANSWERS: Duration = Duration::from_secs(300);

/// How long a change is asked for again while another one is made.
const ASKS_AGAIN: Duration = Duration::from_secs(60);
/// Between two of these.
const AGAIN: Duration = Duration::from_millis(200);

/// Skills.
#[derive(Debug, Subcommand)]
pub enum SkillCommand {
    /// List what may run in tasks: built in and installed, and what stands against running it.
    List,
    /// Install the skill in a directory, or put another version in its place. Its files are copied; workers of it must
    /// not be running.
    Install {
        /// The directory with its skill.toml; a running node's user has to be able to read it.
        directory: PathBuf,
    },
    /// Remove an installed skill with its files. Workers of it must not be running.
    Remove {
        /// Its name.
        name: String,
    },
    /// Check a directory's skill.toml, say every mistake, and change nothing.
    Validate {
        /// The directory.
        directory: PathBuf,
    },
}

/// Runs it.
pub fn skill(home: Option<PathBuf>, command: SkillCommand, output: &Output) -> Result<u8, CliError> {
    if let SkillCommand::Validate { directory } = command {
        return validate(&directory, output);
    }
    let place = Place::find(home)?;
    match command {
        SkillCommand::List => {
            let all = ask(&place, Method::GET, None::<&()>, || skills::list(&place.home))?;
            output.result(&all, || table(&all["skills"]));
        }
        SkillCommand::Install { directory } => {
            let request = InstallSkill { directory: real(&directory)? };
            let answer = again(ASKS_AGAIN, || {
                ask(&place, Method::POST, Some(&request), || skills::install(&place.home, &request.directory))
            })?;
            output.result(&answer, || installed(&answer));
        }
        SkillCommand::Remove { name } => {
            let request = RemoveSkill { name };
            let answer = again(ASKS_AGAIN, || {
                ask(&place, Method::DELETE, Some(&request), || skills::remove(&place.home, &request.name))
            })?;
            output.result(&answer, || format!("{} is removed.", text(&answer["name"])));
        }
        SkillCommand::Validate { .. } => {}
    }
    Ok(crate::exit::FINE)
}

/// Asks the supervisor; where nothing of the node lives, does it itself.
fn ask<B: Serialize>(
    place: &Place,
    method: Method,
    request: Option<&B>,
    itself: impl FnOnce() -> Result<Value, ApiError>,
) -> Result<Value, CliError> {
    if !place.anything_lives() {
        return Ok(itself()?);
    }
    super::output::block_on(async {
        let answer = place.supervisor().call(method, "/v1/skills", request, ANSWERS).await;
        answer.map_err(|error| place.explain(error))
    })
}

/// Asks again while something else is being changed. Workers that run are not waited for: somebody has to end those.
fn again(limit: Duration, mut asked: impl FnMut() -> Result<Value, CliError>) -> Result<Value, CliError> {
    let deadline = Instant::now() + limit;
    loop {
        match asked() {
            Err(CliError::Refused(refused)) if passes(&refused) && Instant::now() < deadline => {
                std::thread::sleep(AGAIN);
            }
            answer => return answer,
        }
    }
}

fn passes(refused: &ApiError) -> bool {
    refused.code == Code::Busy && refused.retryable && refused.details.get("tasks").is_none()
}

fn validate(directory: &Path, output: &Output) -> Result<u8, CliError> {
    let (manifest, _) = skills::validate(&real(directory)?)?;
    let answer = json!({"name": manifest.name, "version": manifest.version, "protocol": manifest.protocol});
    output.result(&answer, || {
        format!("{} {} ({}) can be installed.", manifest.name, manifest.version, text(&answer["protocol"]))
    });
    Ok(crate::exit::FINE)
}

fn real(directory: &Path) -> Result<PathBuf, CliError> {
    directory.canonicalize().map_err(|error| CliError::Usage(format!("{}: {error}", directory.display())))
}

fn installed(answer: &Value) -> String {
    let now = format!("{} {} is installed", text(&answer["name"]), text(&answer["version"]));
    match answer["replaced"].as_str() {
        Some(before) => format!("{now} in place of {before}."),
        None => format!("{now}; `holdfast task open TASK --skill {}` uses it.", text(&answer["name"])),
    }
}

fn table(skills: &Value) -> String {
    let row = |skill: &Value| {
        let problem = skill["problem"].as_str().or(skill["description"].as_str()).unwrap_or_default();
        format!(
            "{:<20} {:<12} {:<8} {:<9} {problem}",
            text(&skill["name"]),
            text(&skill["version"]),
            text(&skill["protocol"]),
            text(&skill["state"]),
        )
    };
    let rows = skills.as_array().into_iter().flatten().map(|skill| row(skill).trim_end().to_owned());
    rows.collect::<Vec<String>>().join("\n")
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_asked_for_again_while_another_is_made_and_not_while_workers_run() {
        let busy = || ApiError::new(Code::Busy, "another skill is being installed or removed");
        let times = |refused: ApiError, limit: Duration| {
            let mut asked = 0;
            let answer = again(limit, || {
                asked += 1;
                if asked < 3 { Err(refused.clone().into()) } else { Ok(json!({})) }
            });
            (asked, answer.is_ok())
        };
        assert_eq!(times(busy(), ASKS_AGAIN), (3, true));
        assert_eq!(times(busy(), Duration::ZERO), (1, false), "not for ever");
        assert_eq!(times(busy().with_details(json!({"tasks": ["a"]})), ASKS_AGAIN), (1, false));
        assert_eq!(times(ApiError::new(Code::InvalidRequest, "no"), ASKS_AGAIN), (1, false));
    }
}
