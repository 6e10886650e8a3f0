//! Which faults, in which order. Pure; the same seed gives the same order.

/// One thing done to the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// A warm switch to the other slot.
    Switch,
    /// SIGKILL of the active runtime.
    KillRuntime,
    /// SIGKILL of the supervisor.
    KillSupervisor,
}

impl Fault {
    /// For people.
    pub fn text(self) -> &'static str {
        match self {
            Fault::Switch => "warm switch",
            Fault::KillRuntime => "SIGKILL of the active runtime",
            Fault::KillSupervisor => "SIGKILL of the supervisor",
        }
    }
}

/// Warm switches of one demonstration.
pub const SWITCHES: usize = 10;
/// SIGKILLs of the active runtime.
pub const RUNTIME_KILLS: usize = 5;
/// SIGKILLs of the supervisor.
pub const SUPERVISOR_KILLS: usize = 2;

/// All faults, shuffled by the seed.
pub fn faults(seed: u64) -> Vec<Fault> {
    let mut faults = [
        vec![Fault::Switch; SWITCHES],
        vec![Fault::KillRuntime; RUNTIME_KILLS],
        vec![Fault::KillSupervisor; SUPERVISOR_KILLS],
    ]
    .concat();
    let mut state = seed;
    for last in (1..faults.len()).rev() {
        let other = next(&mut state) % (last as u64 + 1);
        faults.swap(last, other as usize);
    }
    faults
}

/// SplitMix64 (Steele, Lea, Flood 2014): enough to shuffle with.
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_is_there_and_the_seed_decides_the_order() {
        let count = |fault| faults(7).iter().filter(|one| **one == fault).count();
        assert_eq!(
            (count(Fault::Switch), count(Fault::KillRuntime), count(Fault::KillSupervisor)),
            (SWITCHES, RUNTIME_KILLS, SUPERVISOR_KILLS)
        );
        assert_eq!(faults(7), faults(7));
        assert_ne!(faults(7), faults(8));
    }
}
