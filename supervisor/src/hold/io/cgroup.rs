//! A worker's control group (cgroup v2): made for it, limited, killed at once, removed.

use crate::hold::limits::Controllers;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// A group of its own.
#[derive(Debug)]
pub struct Group {
    directory: PathBuf,
    /// What can be limited in it.
    pub controllers: Controllers,
}

/// The ways into a group.
#[derive(Debug)]
pub struct Entrance {
    /// Its directory, for who is born in it.
    pub directory: OwnedFd,
    /// The file whose writer enters the group by writing `0`.
    pub procs: OwnedFd,
}

impl Group {
    /// Makes the group of this name below `base`; one that a holder which died before the start has left is taken.
    ///
    /// # Errors
    /// What the kernel says, and `InvalidData` where `base` is no control group.
    pub fn make(base: &Path, name: &str) -> io::Result<Self> {
        let directory = base.join(name);
        match std::fs::create_dir(&directory) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        let controllers = Controllers::parse(&std::fs::read_to_string(directory.join("cgroup.controllers"))?);
        Ok(Self { directory, controllers })
    }

    /// Writes a limit.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn limit(&self, file: &str, value: &str) -> io::Result<()> {
        write(&self.directory.join(file), value.as_bytes())
    }

    /// The ways into it.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn entrance(&self) -> io::Result<Entrance> {
        let directory = File::open(&self.directory)?.into();
        let procs = OpenOptions::new().write(true).open(self.directory.join("cgroup.procs"))?.into();
        Ok(Entrance { directory, procs })
    }

    /// Kills all that is in it, at once.
    ///
    /// # Errors
    /// What the kernel says; one before 5.14 cannot.
    pub fn kill(&self) -> io::Result<()> {
        write(&self.directory.join("cgroup.kill"), b"1")
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // One with a process that left its holder's tree stays; the supervisor removes it once it is empty.
        let _ = std::fs::remove_dir(&self.directory);
    }
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    OpenOptions::new().write(true).open(path)?.write_all(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_go_into_the_groups_own_files_and_what_is_not_there_is_said() {
        let base = tempfile::tempdir().unwrap();
        assert!(Group::make(&base.path().join("gone"), "w").is_err());
        assert!(Group::make(base.path(), "plain").is_err(), "no control group");
        let directory = base.path().join("w");
        std::fs::create_dir(&directory).unwrap();
        std::fs::write(directory.join("cgroup.controllers"), "memory pids\n").unwrap();
        for file in ["memory.max", "cgroup.kill", "cgroup.procs"] {
            std::fs::write(directory.join(file), "").unwrap();
        }
        let group = Group::make(base.path(), "w").unwrap();
        assert_eq!(group.controllers, Controllers { memory: true, pids: true, cpu: false });
        group.limit("memory.max", "4096").unwrap();
        assert!(group.limit("cpu.max", "1").is_err());
        group.kill().unwrap();
        nix::unistd::write(group.entrance().unwrap().procs, b"0").unwrap();
        let read = |file: &str| std::fs::read_to_string(directory.join(file)).unwrap();
        assert_eq!([read("memory.max"), read("cgroup.kill"), read("cgroup.procs")], ["4096", "1", "0"]);
    }
}
