//! Where workers' control groups are made (cgroup v2), and what can be limited there.
//!
//! Nothing is moved into another group and no group with processes of others is changed: a group whose controllers cannot
//! be used without that is used without them.

use crate::hold::limits::{CONTROLLERS, Controllers};
use crate::settings::Settings;
use holdfast_shared::home::Home;
use serde_json::{Value, json};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The directory in which holders make their workers' groups, made where it can be; `named` is the setting.
pub fn base(home: &Home, named: Option<&Path>) -> Option<PathBuf> {
    let made: Vec<(PathBuf, Controllers)> = places(home, named).into_iter().filter_map(made).collect();
    let most = made.iter().map(|(_, controllers)| controllers.count()).max()?;
    // The last of the equal ones is the nearest to us.
    let chosen = made.iter().rposition(|(_, controllers)| controllers.count() == most)?;
    for (path, _) in made.iter().enumerate().filter(|(at, _)| *at != chosen).map(|(_, other)| other) {
        // Fails where workers of an earlier start are in it.
        let _ = std::fs::remove_dir(path);
    }
    made.into_iter().nth(chosen).map(|(path, _)| path)
}

/// Where such a directory can be, whether it is there or not.
fn places(home: &Home, named: Option<&Path>) -> Vec<PathBuf> {
    let Some(name) = group_name(home) else { return Vec::new() };
    let own = || own_group().map(|own| [own.parent().map(Path::to_owned), Some(own)]);
    let parents: Vec<PathBuf> = match named {
        Some(named) => vec![named.to_owned()],
        // Beside our own group first: where that is possible, no process of ours is in the way of its controllers.
        None => own().into_iter().flatten().flatten().collect(),
    };
    parents.into_iter().map(|parent| parent.join(&name)).collect()
}

/// How each limit is kept on this machine, as `GET /v1/skills` says it.
pub fn means(home: &Home, named: Option<&Path>) -> Value {
    let base = base(home, named);
    let controllers = base.as_deref().map(available).unwrap_or_default();
    json!({
        "group": base, "memory": controllers.memory, "processes": controllers.pids, "cpu": controllers.cpu,
        "users": nix::unistd::geteuid().is_root(),
    })
}

/// Removes groups that workers without a holder have left and that are empty now.
pub fn sweep(home: &Home) {
    for base in places(home, named(home).as_deref()) {
        for entry in std::fs::read_dir(&base).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                // One with a process stays.
                let _ = std::fs::remove_dir(entry.path());
            }
        }
    }
}

/// Removes all groups of a node whose workers have ended.
pub fn remove(home: &Home) {
    sweep(home);
    for base in places(home, named(home).as_deref()) {
        // Not there, or not empty: then something lives on in it.
        let _ = std::fs::remove_dir(base);
    }
}

/// The setting as it is in the file now.
fn named(home: &Home) -> Option<PathBuf> {
    let text = std::fs::read_to_string(home.config()).ok()?;
    Settings::parse(&text).ok()?.supervisor.worker_cgroup
}

/// Names this home on this machine.
fn group_name(home: &Home) -> Option<String> {
    let found = home.path().metadata().ok()?;
    Some(format!("holdfast-{:x}-{:x}", found.dev(), found.ino()))
}

/// Makes the group and asks for controllers; what can be limited in groups below it.
fn made(base: PathBuf) -> Option<(PathBuf, Controllers)> {
    let parent = base.parent().filter(|parent| parent.join("cgroup.procs").is_file())?;
    if !base.is_dir() {
        std::fs::create_dir(&base).ok()?;
    }
    for directory in [parent, &base] {
        for controller in CONTROLLERS {
            // Refused where it is not there, or where processes are in this very group.
            let _ = std::fs::write(directory.join("cgroup.subtree_control"), format!("+{controller}"));
        }
    }
    let controllers = available(&base);
    Some((base, controllers))
}

/// What groups below `base` can be limited by.
fn available(base: &Path) -> Controllers {
    Controllers::parse(&std::fs::read_to_string(base.join("cgroup.subtree_control")).unwrap_or_default())
}

fn own_group() -> Option<PathBuf> {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").ok()?;
    own_group_of(&mounts, &std::fs::read_to_string("/proc/self/cgroup").ok()?)
}

/// The directory of a process's group, of `/proc/self/mountinfo` and `/proc/self/cgroup`.
fn own_group_of(mounts: &str, cgroup: &str) -> Option<PathBuf> {
    let path = cgroup.lines().find_map(|line| line.strip_prefix("0::"))?;
    let (root, point) = mounts.lines().find_map(|line| {
        let (fields, kind) = line.split_once(" - ")?;
        let mut fields = fields.split(' ').skip(3);
        kind.starts_with("cgroup2 ").then_some((fields.next()?, fields.next()?))
    })?;
    let below = match root {
        "/" => path,
        root => path.strip_prefix(root)?,
    };
    // `/../x` is a group outside of our view.
    let below = below.trim_start_matches('/');
    let directory = if below.is_empty() { PathBuf::from(point) } else { Path::new(point).join(below) };
    (!below.split('/').any(|step| step == "..")).then_some(directory)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_group_is_found_from_what_the_kernel_says() {
        let mounts = "30 20 0:26 / /sys/fs/cgroup rw shared:9 - tmpfs tmpfs rw\n\
            31 30 0:27 / /sys/fs/cgroup/unified rw,relatime shared:10 - cgroup2 cgroup2 rw\n";
        let found = |mounts: &str, cgroup: &str| own_group_of(mounts, cgroup);
        let of = |path: &str| Some(PathBuf::from(path));
        assert_eq!(found(mounts, "1:cpu:/x\n0::/\n"), of("/sys/fs/cgroup/unified"));
        assert_eq!(found(mounts, "0::/a.slice/b.service\n"), of("/sys/fs/cgroup/unified/a.slice/b.service"));
        let within = "31 30 0:27 /box /sys/fs/cgroup rw - cgroup2 cgroup2 rw";
        assert_eq!(found(within, "0::/box/in\n"), of("/sys/fs/cgroup/in"));
        assert_eq!(found(within, "0::/box\n"), of("/sys/fs/cgroup"));
        assert_eq!(found(mounts, "0::/../other\n"), None);
        assert_eq!(found(within, "0::/elsewhere\n"), None);
        assert_eq!(found("", "0::/\n"), None);
        assert_eq!(found(mounts, "1:cpu:/\n"), None);
    }

    /// A directory that looks like a group with these controllers switched on for what is below it.
    fn fake(path: &Path, switched_on: &str) {
        std::fs::create_dir_all(path).unwrap();
        std::fs::write(path.join("cgroup.procs"), "").unwrap();
        std::fs::write(path.join("cgroup.subtree_control"), switched_on).unwrap();
    }

    #[test]
    fn the_named_group_is_used_and_what_is_none_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let home = Home::new(directory.path().join("home"));
        std::fs::create_dir(home.path()).unwrap();
        let parent = directory.path().join("group");
        assert_eq!(base(&home, Some(&parent)), None);
        std::fs::create_dir(&parent).unwrap();
        assert_eq!(base(&home, Some(&parent)), None, "a directory that is no group");
        fake(&parent, "");
        let made = base(&home, Some(&parent)).unwrap();
        assert!(made.is_dir() && made.parent() == Some(&parent));
        assert_eq!(base(&home, Some(&parent)), Some(made.clone()), "the same again");
        std::fs::create_dir(made.join("w1")).unwrap();
        std::fs::create_dir_all(made.join("w2/busy")).unwrap();
        std::fs::write(home.config(), format!("[supervisor]\nworker_cgroup = {parent:?}\n")).unwrap();
        sweep(&home);
        assert!(!made.join("w1").exists() && made.join("w2").exists());
        std::fs::write(made.join("cgroup.subtree_control"), "pids").unwrap();
        assert!(!available(&made).memory && available(&made).pids);
        std::fs::remove_dir_all(made.join("w2")).unwrap();
        std::fs::remove_file(made.join("cgroup.subtree_control")).unwrap();
        remove(&home);
        assert!(!made.exists() && parent.is_dir());
    }
}
