//! The memory gate: two runtimes at once only where there is room for both (CONTRACTS.md 2).

const MIB: u64 = 1024 * 1024;
/// A candidate may take so much of the machine's memory, in percent, ...
const LIMIT_PERCENT: u64 = 40;
/// ... at least so much and ...
const LIMIT_LEAST_BYTES: u64 = 512 * MIB;
/// ... at most so much.
const LIMIT_MOST_BYTES: u64 = 1536 * MIB;

/// The gate's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gate {
    /// A candidate is granted this much at least.
    pub candidate_bytes: u64,
    /// What must stay free beside it.
    pub reserve_bytes: u64,
    /// What a candidate may take at most; `None`: a share of the machine's memory.
    pub limit_bytes: Option<u64>,
}

impl Default for Gate {
    fn default() -> Self {
        Self { candidate_bytes: 192 * MIB, reserve_bytes: 256 * MIB, limit_bytes: None }
    }
}

/// What must be available before two runtimes overlap and while they do, in bytes, from their resident sets: what a
/// candidate has already is no longer available, and not needed again.
pub fn needed(active_resident_bytes: u64, candidate_resident_bytes: u64, gate: Gate) -> u64 {
    let as_large = active_resident_bytes.saturating_add(active_resident_bytes.saturating_mul(15) / 100);
    let candidate = as_large.max(gate.candidate_bytes).saturating_sub(candidate_resident_bytes);
    candidate.saturating_add(gate.reserve_bytes)
}

/// What a candidate may take at most, whatever is available.
pub fn candidate_limit(total_bytes: u64, gate: Gate) -> u64 {
    let share = (total_bytes / 100 * LIMIT_PERCENT).clamp(LIMIT_LEAST_BYTES, LIMIT_MOST_BYTES);
    gate.limit_bytes.unwrap_or(share)
}

/// `MemTotal` of `/proc/meminfo`, in bytes.
pub fn total(meminfo: &str) -> Option<u64> {
    field(meminfo, "MemTotal:")
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

    #[test]
    fn a_small_active_asks_for_the_least_and_a_large_one_for_as_much_again() {
        assert_eq!(needed(10 * MIB, 0, Gate::default()), 448 * MIB);
        assert_eq!(needed(1000 * MIB, 0, Gate::default()), (1150 + 256) * MIB);
    }

    #[test]
    fn what_a_candidate_has_is_not_asked_for_again() {
        assert_eq!(needed(10 * MIB, 100 * MIB, Gate::default()), (92 + 256) * MIB);
        assert_eq!(needed(10 * MIB, 900 * MIB, Gate::default()), 256 * MIB);
    }

    #[test]
    fn a_candidates_own_limit_is_a_share_of_the_machine() {
        assert_eq!(candidate_limit(1024 * MIB, Gate::default()), 512 * MIB);
        assert_eq!(candidate_limit(2000 * MIB, Gate::default()), 800 * MIB);
        assert_eq!(candidate_limit(64_000 * MIB, Gate::default()), 1536 * MIB);
    }

    #[test]
    fn the_kernels_files_are_read() {
        assert_eq!(available("MemTotal:  9 kB\nMemAvailable:   2048 kB\n"), Some(2 * MIB));
        assert_eq!(total("MemTotal:  9 kB\n"), Some(9 * 1024));
        assert_eq!(resident("Name:\tx\nVmRSS:\t    1024 kB\n"), Some(MIB));
        assert_eq!(resident("Name:\tx\n"), None);
    }
}
