//! Control groups of a machine's own. `systemd-nspawn --keep-unit` makes the machine's groups below those of whoever
//! starts it, so two machines of one test run would have the same: a unit that one starts while the other removes its
//! group fails ("Failed at step CGROUP").

use std::path::{Path, PathBuf};

/// Where systemd keeps its groups: its own hierarchy of version 1, and version 2 beside it or alone.
const HIERARCHIES: [(&str, &str); 3] =
    [("name=systemd", "/sys/fs/cgroup/systemd"), ("", "/sys/fs/cgroup/unified"), ("", "/sys/fs/cgroup")];

/// Groups that are removed with the machine; none where this process may not make any.
#[derive(Debug)]
pub struct Groups(Vec<PathBuf>);

impl Groups {
    /// Groups of this name below this process's own.
    pub fn make(name: &str) -> Self {
        let own = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let made = HIERARCHIES.iter().filter_map(|(controllers, mounted)| {
            let below = own.lines().find_map(|line| {
                let (_, line) = line.split_once(':')?;
                line.split_once(':').filter(|(of, _)| of == controllers).map(|(_, path)| path)
            })?;
            let group = Path::new(mounted).join(below.trim_start_matches('/')).join(name);
            std::fs::create_dir(&group).ok()?;
            // A directory of something else than groups has none of these.
            if group.join("cgroup.procs").exists() {
                return Some(group);
            }
            let _ = std::fs::remove_dir(&group);
            None
        });
        Self(made.collect())
    }

    /// The files into which whoever is to be in the groups writes its number.
    pub fn entrances(&self) -> impl Iterator<Item = PathBuf> {
        self.0.iter().map(|group| group.join("cgroup.procs"))
    }
}

impl Drop for Groups {
    fn drop(&mut self) {
        for group in &self.0 {
            remove(group);
        }
    }
}

/// A group can be removed once it is empty, those below it first.
fn remove(group: &Path) {
    for below in std::fs::read_dir(group).into_iter().flatten().flatten() {
        if below.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove(&below.path());
        }
    }
    let _ = std::fs::remove_dir(group);
}
