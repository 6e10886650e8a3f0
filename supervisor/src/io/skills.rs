//! Installed skills on disk: `skills/<name>/` with its manifest, listed in `skills/index.json`.

mod copy;
mod install;
pub mod lease;

pub use install::{install, remove};

use crate::io::home::on_file;
use crate::io::programs::own_program;
use crate::io::task_user;
use crate::order::{SKILL_VARIABLE, Skill};
use crate::skill::{MANIFEST, MANIFEST_BYTES_MAX, Manifest, digest};
use holdfast_shared::error::{ApiError, Code};
use holdfast_shared::home::Home;
use holdfast_shared::skill::{COMMAND, DEMO, Index, Installed, built_in};
use holdfast_shared::spool::is_locked;
use holdfast_shared::worker::Order;
use serde_json::{Value, json};
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// A skill by name, as a worker is made of it now. Reads files: not for the loop.
///
/// # Errors
/// `INVALID_REQUEST` where it is not installed, or not in this version; `BUSY` while skills are changed; `REFUSED` where
/// what is installed was changed or cannot be run here; `HOME_DAMAGED` where the list of skills cannot be read.
pub fn load(home: &Home, name: &str, version: &str) -> Result<Skill, ApiError> {
    match name {
        COMMAND => return Ok(Skill::Command),
        DEMO => return Ok(Skill::Demo { program: own_program() }),
        _ => {}
    }
    let index = read_index(home)?;
    let Some(installed) = index.skills.get(name) else {
        let message = format!("skill {name:?} is not installed; `holdfast skill list` shows which are");
        return Err(ApiError::new(Code::InvalidRequest, message));
    };
    if !version.is_empty() && version != installed.version {
        let message = format!("skill {name:?} is installed in version {}, not {version}", installed.version);
        return Err(ApiError::new(Code::InvalidRequest, message));
    }
    let manifest = unchanged(home, name, installed).map_err(|error| match install::is_changing(home) {
        // Its files and the list change one after the other.
        true => ApiError::new(Code::Busy, format!("skill {name:?} may be changing now")),
        false => error,
    })?;
    let user = manifest.user.as_deref().map(task_user::find).transpose()?;
    Ok(Skill::Installed { directory: home.skills().join(name), manifest: Box::new(manifest), user })
}

/// The list of installed skills.
///
/// # Errors
/// `HOME_DAMAGED`, `HOME_NEWER` or what the file system says.
pub fn read_index(home: &Home) -> Result<Index, ApiError> {
    Index::read(home).map_err(|error| match error.kind() {
        io::ErrorKind::InvalidData => {
            ApiError::new(Code::HomeDamaged, format!("{}: {error}", home.skill_index().display()))
        }
        _ => on_file("read", &home.skill_index(), &error),
    })
}

/// The manifest of an installed skill, if it is what was installed.
fn unchanged(home: &Home, name: &str, installed: &Installed) -> Result<Manifest, ApiError> {
    let path = home.skills().join(name).join(MANIFEST);
    let again = format!("`holdfast skill install` puts it right, `holdfast skill remove {name}` removes it");
    let refused = |what: String| ApiError::new(Code::Refused, format!("skill {name:?}: {what}; {again}"));
    let text = match read_manifest(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(refused(format!("{} is missing", path.display())));
        }
        Err(error) => return Err(refused(format!("{}: {error}", path.display()))),
    };
    if digest(text.as_bytes()) != installed.digest {
        return Err(refused(format!("{} was changed since it was installed", path.display())));
    }
    Manifest::parse(&text).map_err(|mistakes| refused(format!("{}: {mistakes}", path.display())))
}

fn read_manifest(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(MANIFEST_BYTES_MAX + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MANIFEST_BYTES_MAX {
        let what = format!("longer than {MANIFEST_BYTES_MAX} bytes");
        return Err(io::Error::new(io::ErrorKind::InvalidData, what));
    }
    Ok(text)
}

/// A directory that is to be installed, looked at: its manifest and that manifest's text.
///
/// # Errors
/// `INVALID_REQUEST` with all mistakes.
pub fn validate(directory: &Path) -> Result<(Manifest, String), ApiError> {
    let path = directory.join(MANIFEST);
    let invalid = |what: String| ApiError::new(Code::InvalidRequest, format!("{}: {what}", path.display()));
    let text = read_manifest(&path).map_err(|error| invalid(error.to_string()))?;
    let manifest = Manifest::parse(&text)
        .map_err(|mistakes| invalid(mistakes.to_string()).with_details(json!({"mistakes": mistakes.0})))?;
    missing_program(directory, &manifest).map_or(Ok(()), |why| Err(invalid(why)))?;
    Ok((manifest, text))
}

/// Why the manifest's program cannot be run; one that is looked for in PATH is not judged.
fn missing_program(directory: &Path, manifest: &Manifest) -> Option<String> {
    let program = manifest.argv.first()?;
    let path = match manifest.own_program() {
        Some(own) => directory.join(own),
        None if program.starts_with('/') => program.into(),
        None => return None,
    };
    match path.metadata() {
        Ok(metadata) if !metadata.is_file() => Some(format!("argv: {} is no file", path.display())),
        Ok(metadata) if metadata.permissions().mode() & 0o111 == 0 => {
            Some(format!("argv: {} is not executable", path.display()))
        }
        Ok(_) => None,
        Err(error) => Some(format!("argv: {}: {error}", path.display())),
    }
}

/// Every skill with what stands against running it, as `holdfast skill list --json` has it.
///
/// # Errors
/// As [`read_index`].
pub fn list(home: &Home) -> Result<Value, ApiError> {
    let built_in = [COMMAND, DEMO].into_iter().filter_map(|name| Some((name, built_in(name)?)));
    let mut skills: Vec<Value> = built_in.map(|(name, skill)| entry(name, &skill, "built_in")).collect();
    for (name, installed) in read_index(home)?.skills {
        skills.push(installed_entry(home, &name, &installed));
    }
    Ok(json!({"skills": skills}))
}

fn installed_entry(home: &Home, name: &str, installed: &Installed) -> Value {
    let manifest = match unchanged(home, name, installed) {
        Ok(manifest) => manifest,
        Err(error) => {
            let mut entry = entry(name, installed, "refused");
            entry["problem"] = json!(error.message);
            return entry;
        }
    };
    let user = manifest.user.as_deref().map_or(Ok(()), |user| task_user::find(user).map(drop));
    let problem =
        missing_program(&home.skills().join(name), &manifest).or(user.err().map(|error| error.message));
    let mut entry = entry(name, installed, if problem.is_some() { "refused" } else { "ok" });
    entry["problem"] = json!(problem);
    entry["description"] = json!(manifest.description);
    entry["user"] = json!(manifest.user);
    entry["limits"] = json!(manifest.limits);
    entry
}

fn entry(name: &str, skill: &Installed, state: &str) -> Value {
    json!({
        "name": name, "version": skill.version, "protocol": skill.protocol, "state": state,
        "digest": skill.digest, "problem": null,
    })
}

/// Tasks with a living worker of this skill.
///
/// # Errors
/// What the file system says.
fn tasks_with(home: &Home, name: &str) -> io::Result<Vec<String>> {
    let mut tasks = Vec::new();
    let entries = match std::fs::read_dir(home.workers()) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(tasks),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let directory = entry?.path();
        // One whose order cannot be read has none yet, or is on its way out.
        let Ok(order) = Order::read(&directory) else { continue };
        let is_of_skill = order.env.get(SKILL_VARIABLE).is_some_and(|skill| skill == name);
        if is_of_skill && !matches!(is_locked(&directory), Ok(false)) {
            tasks.push(order.task);
        }
    }
    tasks.sort_unstable();
    tasks.dedup();
    Ok(tasks)
}

#[cfg(test)]
mod tests;
