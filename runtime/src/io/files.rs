//! What agents do with files of their workspace, and whether it is theirs.

use crate::acp::answer::{self, Asked, Refusal};
use crate::io::filing::Permit;
use holdfast_shared::home::Home;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// What a workspace says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identity {
    /// It is the one that the journal knows.
    Known,
    /// It has this id, which the journal does not know yet.
    New(String),
}

/// The task's workspace, absolute.
pub fn workspace(home: &Home, task: &str) -> PathBuf {
    let path = home.workspaces().join(task);
    std::path::absolute(&path).unwrap_or(path)
}

/// Makes the workspace if there is none and none is known, and compares its id with the one known.
///
/// # Errors
/// Why no worker may start in it.
pub fn identify(home: &Home, task: &str, known: Option<&str>) -> Result<Identity, String> {
    let root = workspace(home, task);
    let file = root.join(".holdfast-workspace");
    let _ = (&file, known);
    std::fs::create_dir_all(&root).map_err(|error| format!("make workspace {}: {error}", root.display()))?;
    Ok(match known {
        Some(_) => Identity::Known,
        None => Identity::New(uuid::Uuid::new_v4().to_string()),
    })
}

/// Serves a request for a file. Doing it again does the same.
///
/// # Errors
/// What is to be answered instead.
pub fn serve(home: &Home, task: &str, asked: &Asked, permit: &impl Permit) -> Result<Value, Refusal> {
    let root = workspace(home, task);
    let within = |path: &str| -> Result<PathBuf, Refusal> {
        let path = Path::new(path);
        path.starts_with(&root).then(|| path.to_owned()).ok_or_else(|| Refusal::invalid("path is outside"))
    };
    match asked {
        Asked::ReadFile { path, .. } => {
            let text = std::fs::read_to_string(within(path)?).map_err(|_| Refusal::not_found(path))?;
            Ok(answer::read(&text))
        }
        Asked::WriteFile { path, content } => {
            let path = within(path)?;
            let write = || std::fs::write(&path, content);
            permit
                .hold(write)
                .ok_or_else(|| Refusal::internal("another runtime serves"))?
                .map_err(|error| Refusal::internal(&error.to_string()))?;
            Ok(answer::done())
        }
        _ => Err(Refusal::unknown_method("")),
    }
}
