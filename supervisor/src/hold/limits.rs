//! How a worker is held to its limits: by its control group where that can, else by resource limits of each of its
//! processes. Pure.

use holdfast_shared::worker::Limits;

/// The period that a share of processors is counted over, in microseconds; the kernel's own default.
const CPU_PERIOD_US: u64 = 100_000;
/// What a process that used up its processor time is given to say so, in seconds, before it is killed.
const CPU_GRACE_SECONDS: u64 = 5;

/// What a control group can limit here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Controllers {
    /// Memory of all its processes together.
    pub memory: bool,
    /// How many processes and threads there are.
    pub pids: bool,
    /// Their share of processors.
    pub cpu: bool,
}

/// The names of what is used, as the kernel has them.
pub const CONTROLLERS: [&str; 3] = ["memory", "pids", "cpu"];

/// A limit of each process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource {
    /// Private writable memory. Not address space: runtimes like V8 and Go reserve far more of that than they use.
    Data,
    /// Processes of the user.
    Processes,
    /// Open files.
    OpenFiles,
    /// Seconds of processor time.
    Cpu,
    /// Bytes of a file.
    FileSize,
}

/// A resource with its soft and its hard limit.
pub type ResourceLimit = (Resource, u64, u64);

/// How the limits of an order are kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Means {
    /// Files of the control group and what is written into them.
    pub files: Vec<(&'static str, String)>,
    /// Set in the worker's process, and inherited.
    pub resources: Vec<ResourceLimit>,
}

impl Controllers {
    /// Reads a `cgroup.controllers`.
    pub fn parse(text: &str) -> Self {
        let has = |name: &str| text.split_ascii_whitespace().any(|word| word == name);
        Self { memory: has("memory"), pids: has("pids"), cpu: has("cpu") }
    }

    /// How many there are.
    pub fn count(self) -> usize {
        [self.memory, self.pids, self.cpu].into_iter().filter(|has| *has).count()
    }
}

/// How these limits are kept. `own_user`: the worker has a user of its own, so that a count of the user's processes is one
/// of the worker's; otherwise it would be one of the whole node's.
pub fn means(limits: &Limits, controllers: Controllers, own_user: bool) -> Means {
    let mut means = Means::default();
    if let Some(bytes) = limits.memory_bytes {
        if controllers.memory {
            means.files.push(("memory.max", bytes.to_string()));
            means.files.push(("memory.swap.max", "0".to_owned()));
            // A part of an agent that is killed leaves the rest waiting for it.
            means.files.push(("memory.oom.group", "1".to_owned()));
        } else {
            means.resources.push((Resource::Data, bytes, bytes));
        }
    }
    if let Some(count) = limits.processes {
        if controllers.pids {
            means.files.push(("pids.max", count.to_string()));
        } else if own_user {
            means.resources.push((Resource::Processes, count, count));
        }
    }
    if let Some(percent) = limits.cpu_percent.filter(|_| controllers.cpu) {
        let quota = percent.saturating_mul(CPU_PERIOD_US / 100);
        means.files.push(("cpu.max", format!("{quota} {CPU_PERIOD_US}")));
    }
    if let Some(count) = limits.open_files {
        means.resources.push((Resource::OpenFiles, count, count));
    }
    if let Some(seconds) = limits.cpu_seconds {
        means.resources.push((Resource::Cpu, seconds, seconds.saturating_add(CPU_GRACE_SECONDS)));
    }
    if let Some(bytes) = limits.file_bytes {
        means.resources.push((Resource::FileSize, bytes, bytes));
    }
    means
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Limits = Limits {
        memory_bytes: Some(1000),
        processes: Some(20),
        open_files: Some(30),
        cpu_seconds: Some(40),
        cpu_percent: Some(150),
        file_bytes: Some(60),
    };

    #[test]
    fn what_a_control_group_can_it_does_and_the_rest_is_of_each_process() {
        let controllers = Controllers::parse("cpuset cpu io memory pids\n");
        assert_eq!(controllers.count(), 3);
        let found = means(&ALL, controllers, true);
        let files: Vec<String> = found.files.iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(
            files,
            [
                "memory.max=1000",
                "memory.swap.max=0",
                "memory.oom.group=1",
                "pids.max=20",
                "cpu.max=150000 100000"
            ]
        );
        let resources =
            [(Resource::OpenFiles, 30, 30), (Resource::Cpu, 40, 45), (Resource::FileSize, 60, 60)];
        assert_eq!(found.resources, resources);
    }

    #[test]
    fn without_controllers_processes_are_counted_only_for_a_user_of_its_own() {
        let found = means(&ALL, Controllers::parse("hugetlb"), true);
        assert!(found.files.is_empty());
        assert_eq!(found.resources[..2], [(Resource::Data, 1000, 1000), (Resource::Processes, 20, 20)]);
        let shared = means(&ALL, Controllers::default(), false);
        assert!(shared.resources.iter().all(|(resource, ..)| *resource != Resource::Processes));
        assert_eq!(means(&Limits::default(), Controllers::default(), true), Means::default());
    }
}
