//! What a worker's process does to itself before its program runs: enters its group, limits itself, becomes its user.

use crate::hold::HoldError;
use crate::hold::io::cgroup::{Entrance, Group};
use crate::hold::io::log;
use crate::hold::limits::{Controllers, Resource, ResourceLimit, means};
use holdfast_shared::worker::{Order, User};
use nix::errno::Errno;
use nix::sys::resource::{self, getrlimit, setrlimit};
use nix::unistd::{Gid, Uid};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

/// What is done in the worker's process.
#[derive(Debug, Default)]
pub struct Confinement {
    entrance: Option<Entrance>,
    resources: Vec<ResourceLimit>,
    user: Option<User>,
}

/// Makes the worker's group where there is a `base` for it, and what the worker's process is to do. A group that cannot be
/// had is said in the log, and the limits are those of each process then.
///
/// # Errors
/// When the order names a user that this process cannot become.
pub fn prepare(
    directory: &Path,
    order: &Order,
    base: Option<&Path>,
) -> Result<(Option<Group>, Confinement), HoldError> {
    if order.user.is_some() && !nix::unistd::geteuid().is_root() {
        let reason = "names a user, and only root can start work as another one";
        return Err(HoldError::Order { path: Order::path(directory), reason });
    }
    let made = base.and_then(|base| match group(base, order) {
        Ok(made) => Some(made),
        Err(error) => {
            log::warn(directory, "no control group, its limits are those of each process", &error);
            None
        }
    });
    let controllers = made.as_ref().map_or(Controllers::default(), |(group, _)| group.controllers);
    let resources = means(&order.limits, controllers, order.user.is_some()).resources;
    let (group, entrance) = made.unzip();
    Ok((group, Confinement { entrance, resources, user: order.user.clone() }))
}

fn group(base: &Path, order: &Order) -> std::io::Result<(Group, Entrance)> {
    let group = Group::make(base, &order.spawn_id)?;
    for (file, value) in means(&order.limits, group.controllers, false).files {
        match group.limit(file, &value) {
            // A kernel without swap accounting has no such file, and no swap to limit.
            Err(error) if file == "memory.swap.max" && error.kind() == std::io::ErrorKind::NotFound => {}
            other => other?,
        }
    }
    let entrance = group.entrance()?;
    Ok((group, entrance))
}

impl Confinement {
    /// The directory of the worker's group, where it has one.
    pub fn group(&self) -> Option<BorrowedFd<'_>> {
        self.entrance.as_ref().map(|entrance| entrance.directory.as_fd())
    }

    /// Carries it out, in the worker's process, in an order in which each step may still be done. One that is `inside` its
    /// group was born there.
    pub fn enter(&self, inside: bool) -> Result<(), (&'static str, Errno)> {
        if let Some(entrance) = self.entrance.as_ref().filter(|_| !inside) {
            nix::unistd::write(&entrance.procs, b"0")
                .map_err(|errno| ("enter its control group in", errno))?;
        }
        for limit in &self.resources {
            lower(*limit).map_err(|errno| ("limit the worker in", errno))?;
        }
        self.user.as_ref().map_or(Ok(()), become_user).map_err(|errno| ("become the task's user in", errno))
    }
}

/// Limits are only ever lowered: what this process may not have, its worker may not either.
fn lower((which, soft, hard): ResourceLimit) -> Result<(), Errno> {
    let resource = match which {
        Resource::Data => resource::Resource::RLIMIT_DATA,
        Resource::Processes => resource::Resource::RLIMIT_NPROC,
        Resource::OpenFiles => resource::Resource::RLIMIT_NOFILE,
        Resource::Cpu => resource::Resource::RLIMIT_CPU,
        Resource::FileSize => resource::Resource::RLIMIT_FSIZE,
    };
    let (_, most) = getrlimit(resource)?;
    setrlimit(resource, soft.min(most), hard.min(most))
}

/// For good: with all its ids, its groups alone, and no way to gain rights by a program's mode.
fn become_user(user: &User) -> Result<(), Errno> {
    let (uid, gid) = (Uid::from_raw(user.uid), Gid::from_raw(user.gid));
    let groups: Vec<Gid> = user.groups.iter().copied().map(Gid::from_raw).collect();
    nix::unistd::setgroups(&groups)?;
    nix::unistd::setresgid(gid, gid, gid)?;
    nix::unistd::setresuid(uid, uid, uid)?;
    nix::sys::prctl::set_no_new_privs()
}
