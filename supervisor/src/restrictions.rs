//! Under which restrictions a process runs, as `/proc/<pid>/status` says. Pure.

use serde_json::{Value, json};

/// Names of the capabilities by their bit (capabilities(7)).
const CAPABILITIES: [&str; 41] = [
    "chown",
    "dac_override",
    "dac_read_search",
    "fowner",
    "fsetid",
    "kill",
    "setgid",
    "setuid",
    "setpcap",
    "linux_immutable",
    "net_bind_service",
    "net_broadcast",
    "net_admin",
    "net_raw",
    "ipc_lock",
    "ipc_owner",
    "sys_module",
    "sys_rawio",
    "sys_chroot",
    "sys_ptrace",
    "sys_pacct",
    "sys_admin",
    "sys_boot",
    "sys_nice",
    "sys_resource",
    "sys_time",
    "sys_tty_config",
    "mknod",
    "lease",
    "audit_write",
    "audit_control",
    "setfcap",
    "mac_override",
    "mac_admin",
    "syslog",
    "wake_alarm",
    "block_suspend",
    "audit_read",
    "perfmon",
    "bpf",
    "checkpoint_restore",
];

/// What a process may not do, or may.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restrictions {
    /// Effective user.
    pub uid: u32,
    /// Effective capabilities, a bit each.
    pub capabilities: u64,
    /// Nothing it executes gains rights.
    pub no_new_privs: bool,
    /// Its system calls are filtered.
    pub seccomp: &'static str,
}

impl Restrictions {
    /// Reads `/proc/<pid>/status`; `None` where a field is missing.
    pub fn read(status: &str) -> Option<Self> {
        let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        Some(Self {
            uid: field("Uid:")?.split_whitespace().nth(1)?.parse().ok()?,
            capabilities: u64::from_str_radix(field("CapEff:")?, 16).ok()?,
            no_new_privs: field("NoNewPrivs:")? == "1",
            seccomp: match field("Seccomp:")? {
                "0" => "none",
                "1" => "strict",
                _ => "filter",
            },
        })
    }

    /// The capabilities in one word: none, all, or how they are called.
    pub fn capabilities_in_words(&self) -> String {
        let names = self.capability_names();
        match names.len() {
            0 => "none".into(),
            count if count >= CAPABILITIES.len() - 1 => "all".into(),
            count if count > 4 => format!("{count} of {}", CAPABILITIES.len()),
            _ => names.join(","),
        }
    }

    /// Names of the capabilities; one that is newer than this program by its number.
    pub fn capability_names(&self) -> Vec<String> {
        let bits = (0..u64::BITS as usize).filter(|bit| self.capabilities & (1 << bit) != 0);
        bits.map(|bit| CAPABILITIES.get(bit).map_or_else(|| bit.to_string(), |name| (*name).to_owned()))
            .collect()
    }

    /// As `doctor --json` has it.
    pub fn as_json(&self, process: &str, pid: i32) -> Value {
        json!({
            "process": process,
            "pid": pid,
            "uid": self.uid,
            "effective_capabilities": self.capability_names(),
            "no_new_privs": self.no_new_privs,
            "seccomp": self.seccomp,
        })
    }

    /// It runs as root, or with rights of root.
    pub fn is_privileged(&self) -> bool {
        self.uid == 0 || self.capabilities != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATUS: &str = "Name:\tholdfast\nUid:\t0\t990\t0\t0\nCapEff:\t0000000000000401\nNoNewPrivs:\t1\nSeccomp:\t2\nSeccomp_filters:\t9\n";

    #[test]
    fn the_kernels_file_is_read() {
        let found = Restrictions::read(STATUS).unwrap();
        assert_eq!((found.uid, found.no_new_privs, found.seccomp), (990, true, "filter"));
        assert_eq!(found.capabilities_in_words(), "chown,net_bind_service");
        assert!(found.is_privileged());
        assert_eq!(Restrictions::read("Name:\tx\n"), None);
    }

    #[test]
    fn none_and_all_are_said_in_a_word_and_unknown_ones_by_number() {
        let with = |capabilities| Restrictions { capabilities, ..Restrictions::read(STATUS).unwrap() };
        assert_eq!(with(0).capabilities_in_words(), "none");
        assert!(!with(0).is_privileged());
        assert_eq!(with((1 << 41) - 1).capabilities_in_words(), "all");
        assert_eq!(with(0b111_1111).capabilities_in_words(), "7 of 41");
        assert_eq!(with(1 << 50).capability_names(), ["50"]);
    }
}
