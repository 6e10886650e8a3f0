//! Work as another user of this machine: who that is, and that it gets to its workspace and to nothing else of ours.

use crate::io::home::on_file;
use holdfast_shared::error::{ApiError, Code};
use holdfast_shared::home::Home;
use holdfast_shared::worker::User;
use nix::sys::stat::{Mode, fchmod, fstat};
use nix::unistd::{Gid, Uid, fchown, geteuid, getgrouplist};
use std::ffi::CString;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

/// All may go through.
const SEARCHED: u32 = 0o111;
/// Others may look, and write.
const LOOKED_INTO: u32 = 0o006;
/// The part of a mode that lets others in at all.
const OTHERS: u32 = 0o007;

/// The user of this name with its groups, where this process may start work as it.
///
/// # Errors
/// `REFUSED` where this process is not root, there is no such user, or it is root itself.
pub fn find(name: &str) -> Result<User, ApiError> {
    let refused = |what: String| Err(ApiError::new(Code::Refused, format!("user {name:?}: {what}")));
    if !geteuid().is_root() {
        return refused(format!(
            "work runs as another user only where the supervisor runs as root; it runs as uid {}",
            geteuid()
        ));
    }
    let user = match nix::unistd::User::from_name(name) {
        Ok(Some(user)) => user,
        Ok(None) => return refused("there is no such user on this machine".to_owned()),
        Err(error) => return refused(error.desc().to_owned()),
    };
    if user.uid.is_root() {
        return refused("work is not given to root by name".to_owned());
    }
    let name = CString::new(name).map_err(|error| ApiError::new(Code::InvalidRequest, error.to_string()))?;
    let groups = getgrouplist(&name, user.gid).unwrap_or_else(|_| vec![user.gid]);
    let groups = groups.into_iter().map(Gid::as_raw).collect();
    Ok(User { uid: user.uid.as_raw(), gid: user.gid.as_raw(), groups })
}

/// Gives a workspace to its task's user, for itself alone, and opens the way to it: the home and the workspaces' root can
/// be gone through and not looked into, everything else directly below the home is closed to others.
///
/// # Errors
/// `REFUSED` where a directory above the home lets this user not through; what the file system says.
pub fn give(home: &Home, workspace: &OwnedFd, user: &User) -> Result<(), ApiError> {
    let workspaces = home.workspaces();
    let given = || -> io::Result<()> {
        close_the_rest(home)?;
        for directory in [home.path(), &workspaces, &home.skills()] {
            if directory.exists() {
                searched(directory)?;
            }
        }
        let stat = fstat(workspace)?;
        if (stat.st_uid, stat.st_gid) != (user.uid, user.gid) {
            fchown(workspace, Some(Uid::from_raw(user.uid)), Some(Gid::from_raw(user.gid)))?;
        }
        Ok(fchmod(workspace, Mode::S_IRWXU)?)
    };
    given().map_err(|error| on_file("give to the task's user", &workspaces, &error))?;
    match barred(home.path(), user) {
        None => Ok(()),
        Some(path) => Err(ApiError::new(
            Code::Refused,
            format!(
                "{} lets user {} not through; `chmod o+x` opens it, or a home elsewhere",
                path.display(),
                user.uid
            ),
        )),
    }
}

/// Opens a directory for going through, and closes it for others' looking and writing.
fn searched(directory: &Path) -> io::Result<()> {
    let mode = directory.metadata()?.permissions().mode() & 0o7777;
    let wanted = (mode | SEARCHED) & !LOOKED_INTO;
    if wanted == mode {
        return Ok(());
    }
    std::fs::set_permissions(directory, PermissionsExt::from_mode(wanted))
}

/// What is directly below the home was protected by the home's own mode until now.
fn close_the_rest(home: &Home) -> io::Result<()> {
    let open = [home.workspaces(), home.skills()];
    for entry in std::fs::read_dir(home.path())? {
        let path = entry?.path();
        if open.contains(&path) {
            continue;
        }
        match closed(&path) {
            // Small files of the home are written beside their place and renamed into it.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            closed => closed?,
        }
    }
    Ok(())
}

/// Closes what is there for others; what a link leads to is no concern.
fn closed(path: &Path) -> io::Result<()> {
    let metadata = path.symlink_metadata()?;
    let mode = metadata.permissions().mode() & 0o7777;
    if metadata.is_symlink() || mode & OTHERS == 0 {
        return Ok(());
    }
    std::fs::set_permissions(path, PermissionsExt::from_mode(mode & !OTHERS))
}

/// The first directory on the way that this user may not go through.
fn barred<'a>(path: &'a Path, user: &User) -> Option<&'a Path> {
    let mut ways: Vec<&Path> = path.ancestors().collect();
    ways.reverse();
    ways.into_iter().find(|way| way.metadata().is_ok_and(|found| !goes_through(&found, user)))
}

fn goes_through(found: &std::fs::Metadata, user: &User) -> bool {
    let shift = match () {
        () if found.uid() == user.uid => 6,
        () if found.gid() == user.gid || user.groups.contains(&found.gid()) => 3,
        () => 0,
    };
    found.mode() >> shift & 1 == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_cannot_be_started_as_is_refused_by_name() {
        let refused = find("no-such-user-here").unwrap_err();
        assert!(
            refused.code == Code::Refused && refused.message.contains("no-such-user-here"),
            "{refused:?}"
        );
        if geteuid().is_root() {
            assert!(find("root").unwrap_err().message.contains("not given to root"));
            assert_ne!(find("nobody").unwrap().uid, 0);
        }
    }

    #[test]
    fn the_way_is_opened_and_the_rest_closed() {
        if !geteuid().is_root() {
            eprintln!("SKIPPED: needs root");
            return;
        }
        let directory = tempfile::tempdir().unwrap();
        let home = Home::new(directory.path().join("home"));
        std::fs::create_dir_all(home.workspaces().join("t")).unwrap();
        std::fs::create_dir_all(home.journal()).unwrap();
        std::fs::write(home.config(), "").unwrap();
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
        let set =
            |path: &Path, mode| std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
        set(home.path(), 0o700);
        set(directory.path(), 0o700);
        let user = User { uid: 65_534, gid: 65_534, groups: Vec::new() };
        let open = || OwnedFd::from(std::fs::File::open(home.workspaces().join("t")).unwrap());
        let refused = give(&home, &open(), &user).unwrap_err();
        assert!(refused.message.contains(directory.path().to_str().unwrap()), "{refused:?}");
        set(directory.path(), 0o711);
        give(&home, &open(), &user).unwrap();
        assert_eq!(
            (mode(home.path()), mode(&home.journal()) & 0o007, mode(&home.config()) & 0o007),
            (0o711, 0, 0)
        );
        let given = home.workspaces().join("t").metadata().unwrap();
        assert_eq!((given.uid(), given.gid(), given.mode() & 0o777), (65_534, 65_534, 0o700));
    }
}
