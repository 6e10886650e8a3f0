//! What agents do with files of their workspace, and whether it is theirs. All of it waits for a disk: not for a loop.

use crate::acp::answer::{self, Asked, Refusal};
use crate::io::filing::Permit;
use crate::io::workspace::Workspace;
use crate::workspace::WorkspaceError;
use holdfast_shared::error::ApiError;
use holdfast_shared::free_space;
use holdfast_shared::home::Home;
use serde_json::Value;
use std::path::PathBuf;
use uuid::Uuid;

/// What a workspace says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identity {
    /// It is the one that the journal knows.
    Known,
    /// It has this id, which the journal does not know yet.
    New(String),
}

/// Why no agent may be given a prompt: less than `min` bytes are free where it writes. Two calls that wait for no disk.
pub fn no_room(home: &Home, min: u64) -> Option<ApiError> {
    free_space::check(&[&home.workers(), &home.workspaces()], min).err()
}

/// The task's workspace, absolute and without links where it is there.
pub fn workspace(home: &Home, task: &str) -> PathBuf {
    let path = home.workspaces().join(task);
    path.canonicalize().or_else(|_| std::path::absolute(&path)).unwrap_or(path)
}

/// Makes the workspace, with an id, if none is known; else checks that it is the one known.
///
/// # Errors
/// Why no worker may start in it: it is another, or none can be had.
pub fn identify(home: &Home, task: &str, known: Option<&str>) -> Result<Identity, WorkspaceError> {
    let workspaces = home.workspaces();
    if let Some(known) = known {
        let id = Uuid::parse_str(known).unwrap_or(Uuid::nil());
        return Workspace::open_known(&workspaces, task, id).map(|_| Identity::Known);
    }
    std::fs::create_dir_all(&workspaces).map_err(|source| WorkspaceError::Io {
        operation: "make",
        path: workspaces.display().to_string(),
        source,
    })?;
    let id = Workspace::make(&workspaces, task)?.identify(Uuid::new_v4())?;
    Ok(Identity::New(id.to_string()))
}

/// The workspace of a task whose agent lives, if it still is the one of this id: somebody, the agent too, may have put
/// another directory in its place since the agent was started there.
///
/// # Errors
/// What the agent is to be told: it is another, or is gone.
pub fn own_workspace(home: &Home, task: &str, known: Option<&str>) -> Result<Workspace, Refusal> {
    let opened = match known {
        Some(known) => {
            Workspace::open_known(&home.workspaces(), task, Uuid::parse_str(known).unwrap_or(Uuid::nil()))
        }
        // No worker has been started for it yet, so nobody asks.
        None => Workspace::open(&home.workspaces(), task),
    };
    opened.map_err(|error| error.to_agent())
}

/// Serves a request for a file in the workspace of this id. Doing it again does the same. Files are written only by whoever
/// holds the journal.
///
/// # Errors
/// What is to be answered instead.
pub fn serve(
    home: &Home,
    (task, known): (&str, Option<&str>),
    asked: &Asked,
    permit: &impl Permit,
) -> Result<Value, Refusal> {
    let open = || own_workspace(home, task, known);
    match asked {
        Asked::ReadFile { path, line, limit } => {
            let text = open()?.read_text(path, *line, *limit).map_err(|error| error.to_agent())?;
            Ok(answer::read(&text))
        }
        Asked::WriteFile { path, content } => {
            let workspace = open()?;
            let written = permit.hold(|| workspace.write_text(path, content));
            let fenced = || Refusal::internal("another runtime serves now");
            written.ok_or_else(fenced)?.map_err(|error| error.to_agent())?;
            Ok(answer::done())
        }
        Asked::Permission(_) | Asked::Terminal(_) | Asked::Unknown => {
            Err(Refusal::internal("this is no request for a file"))
        }
    }
}
