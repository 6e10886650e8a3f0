//! Workers' holders: started once per spawn id.

use crate::hold::{CGROUP_VARIABLE, LEASE_FD_VARIABLE};
use crate::io::child::{self, ChildPlan};
use crate::io::home::on_file;
use crate::io::programs::own_program;
use crate::io::skills::lease::Lease;
use crate::io::{cgroups, skills, task_user};
use crate::order::{self, order};
use crate::settings::Settings;
use holdfast_shared::error::{ApiError, Code};
use holdfast_shared::free_space;
use holdfast_shared::home::Home;
use holdfast_shared::process::FIRST_PASSED;
use holdfast_shared::skill::built_in;
use holdfast_shared::spool::is_locked;
use holdfast_shared::supervisor_control::{SpawnWorker, Spawned};
use holdfast_shared::version::Contracts;
use holdfast_shared::worker::{CWD_FD_VARIABLE, Order, REMOVED, Started};
use nix::fcntl::{OFlag, open, openat};
use nix::sys::stat::{Mode, mkdirat};
use std::fs::DirBuilder;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

/// Removes what a runtime that was killed had only moved aside, and the empty groups of workers without a holder. May take long: not for the loop.
pub fn sweep_removed(home: &Home) {
    cgroups::sweep(home);
    let entries = std::fs::read_dir(home.workers()).into_iter().flatten().flatten();
    for entry in entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(REMOVED)) {
        match std::fs::remove_dir_all(entry.path()) {
            // A runtime that lives may be at it too.
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(%error, path = %entry.path().display(), "left behind");
            }
            _ => {}
        }
    }
}

/// What the holders of living workers speak, each once: they may be of an earlier release. Reads a file for each
/// worker: not for the loop.
pub fn living_contracts(home: &Home) -> Vec<Contracts> {
    let entries = std::fs::read_dir(home.workers()).into_iter().flatten().flatten();
    let living = entries.map(|entry| entry.path()).filter(|path| matches!(is_locked(path), Ok(true)));
    let mut all: Vec<Contracts> = Vec::new();
    for started in living.filter_map(|path| Started::read(&path).ok().flatten()) {
        if !all.contains(&started.contracts) {
            all.push(started.contracts);
        }
    }
    all
}

/// Starts the worker that is asked for, unless its directory is there: then it was started before, whatever its skill has
/// become since. Reads and writes files: not for the loop.
///
/// # Errors
/// `BUSY` while skills are exchanged; `INVALID_REQUEST` and `REFUSED` for what is no worker or cannot be one here, `WORKSPACE_POLICY_VIOLATION`,
/// `STORAGE_FULL`, `BOOTSTRAP_FAILED`; a directory that was made stays, so this spawn id never runs.
pub fn start(home: &Home, request: &SpawnWorker, settings: &Settings) -> Result<Spawned, ApiError> {
    order::check(request)?;
    let directory = home.worker(&request.spawn_id);
    if directory.try_exists().map_err(|error| on_file("look for", &directory, &error))? {
        return Ok(Spawned { spawn_id: request.spawn_id.clone(), started: false });
    }
    // Until its holder can be seen, so that the skill's files stay what its manifest says.
    let lease = match built_in(&request.skill) {
        Some(_) => None,
        None => skills::lease::share(home)?,
    };
    let skill = skills::load(home, &request.skill, &request.version)?;
    let order = order(request, home, skill, &settings.command, |name| std::env::var(name).ok())?;
    // Before anything is made: what is refused here may be asked for again under its name.
    free_space::check(&[&home.workers(), &home.workspaces()], settings.supervisor.min_free_bytes)?;
    let below = request.terminal.as_ref().map_or("", |terminal| terminal.cwd.as_str());
    spawn(home, &order, below, settings.supervisor.worker_cgroup.as_deref(), lease)
}

fn spawn(
    home: &Home,
    order: &Order,
    below: &str,
    worker_cgroup: Option<&Path>,
    lease: Option<Lease>,
) -> Result<Spawned, ApiError> {
    let directory = home.worker(&order.spawn_id);
    let spawned = |started| Spawned { spawn_id: order.spawn_id.clone(), started };
    match DirBuilder::new().mode(0o700).create(&directory) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(spawned(false)),
        Err(error) => return Err(on_file("create", &directory, &error)),
        Ok(()) => {}
    }
    // Its name is made durable by the holder, with all else that says that the worker was started.
    let mut workspace = open_workspace(home, &order.task)?;
    if let Some(user) = &order.user {
        task_user::give(home, &workspace, user)?;
    }
    for step in order::steps(below).unwrap_or_default() {
        workspace = open_step(&workspace, step, &order.cwd)?;
    }
    order.write(&directory).map_err(|error| on_file("write", &Order::path(&directory), &error))?;
    let mut variables = vec![(CWD_FD_VARIABLE, FIRST_PASSED.to_string().into())];
    let mut passed = vec![workspace.as_fd()];
    if let Some(lease) = &lease {
        variables.push((LEASE_FD_VARIABLE, (FIRST_PASSED + 1).to_string().into()));
        passed.push(lease.as_fd());
    }
    variables.extend(cgroups::base(home, worker_cgroup).map(|base| (CGROUP_VARIABLE, base.into())));
    let plan = ChildPlan {
        program: own_program(),
        arguments: vec!["hold".into(), directory.clone().into()],
        log: "holder",
        notify: None,
        passed,
        variables,
    };
    child::start(home, &plan)
        .map(|_| spawned(true))
        .map_err(|error| ApiError::new(Code::BootstrapFailed, format!("start the holder: {error}")))
}

/// How a directory is opened on the way to where a worker starts: never through a link.
const DIRECTORY: OFlag = OFlag::O_DIRECTORY.union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC);

/// Opens a task's workspace beneath the workspaces' root, made when missing. No symlink is followed.
fn open_workspace(home: &Home, task: &str) -> Result<OwnedFd, ApiError> {
    let root_path = home.workspaces();
    let path = root_path.join(task);
    let root = open(&root_path, DIRECTORY, Mode::empty())
        .map_err(|error| on_file("open", &root_path, &error.into()))?;
    match mkdirat(&root, task, Mode::S_IRWXU) {
        Ok(()) | Err(nix::Error::EEXIST) => {}
        Err(error) => return Err(on_file("create", &path, &error.into())),
    }
    open_step(&root, task, &path)
}

/// Opens one directory in another; `path` is what is being opened, for people.
fn open_step(parent: &OwnedFd, step: &str, path: &Path) -> Result<OwnedFd, ApiError> {
    openat(parent, step, DIRECTORY, Mode::empty()).map_err(|error| match error {
        nix::Error::ELOOP | nix::Error::ENOTDIR => {
            let message = format!("{}: {step:?} is no directory, or a link", path.display());
            ApiError::new(Code::WorkspacePolicyViolation, message)
        }
        nix::Error::ENOENT => {
            ApiError::new(Code::InvalidRequest, format!("{}: {step:?} does not exist", path.display()))
        }
        error => on_file("open", path, &error.into()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_moved_aside_is_swept() {
        let directory = tempfile::tempdir().unwrap();
        let home = Home::new(directory.path());
        for name in ["w-1-1", ".removed-w-1-2"] {
            std::fs::create_dir_all(home.workers().join(name)).unwrap();
            std::fs::write(home.workers().join(name).join("spool"), "x").unwrap();
        }
        sweep_removed(&home);
        assert!(home.worker("w-1-1").join("spool").is_file());
        assert_eq!(std::fs::read_dir(home.workers()).unwrap().count(), 1);
    }
}
