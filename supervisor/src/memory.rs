//! The memory gate: two runtimes at once only where there is room for both (CONTRACTS.md 2).

/// A candidate is granted this much at least.
const CANDIDATE_BYTES: u64 = 192 * 1024 * 1024;
/// What must stay free beside it.
const RESERVE_BYTES: u64 = 256 * 1024 * 1024;

/// What must be available before two runtimes overlap and while they do, in bytes, from their resident sets: what a
/// candidate has already is no longer available, and not needed again.
pub fn needed(active_resident_bytes: u64, candidate_resident_bytes: u64) -> u64 {
    let as_large = active_resident_bytes.saturating_add(active_resident_bytes.saturating_mul(15) / 100);
    let candidate = as_large.max(CANDIDATE_BYTES).saturating_sub(candidate_resident_bytes);
    candidate.saturating_add(RESERVE_BYTES)
}

/// `MemAvailable` of `/proc/meminfo`, in bytes.
pub fn available(meminfo: &str) -> Option<u64> {
    field(meminfo, "MemAvailable:")
}

/// `VmRSS` of `/proc/<pid>/status`, in bytes.
pub fn resident(status: &str) -> Option<u64> {
    field(status, "VmRSS:")
}

fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1024 * 1024;

    #[test]
    fn a_small_active_asks_for_the_least_and_a_large_one_for_as_much_again() {
        assert_eq!(needed(10 * MIB, 0), 448 * MIB);
        assert_eq!(needed(1000 * MIB, 0), (1150 + 256) * MIB);
    }

    #[test]
    fn what_a_candidate_has_is_not_asked_for_again() {
        assert_eq!(needed(10 * MIB, 100 * MIB), (92 + 256) * MIB);
        assert_eq!(needed(10 * MIB, 900 * MIB), 256 * MIB);
    }

    #[test]
    fn the_kernels_files_are_read() {
        assert_eq!(available("MemTotal:  9 kB\nMemAvailable:   2048 kB\n"), Some(2 * MIB));
        assert_eq!(resident("Name:\tx\nVmRSS:\t    1024 kB\n"), Some(MIB));
        assert_eq!(resident("Name:\tx\n"), None);
    }
}
