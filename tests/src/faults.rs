//! Random moments that can be had again: a seeded generator, its seed printed. And the faults of a program that was made
//! to fail.

use std::time::Duration;

/// Faults of `faulty-holdfast` as a keeper, each the last bytes of its file: it ends at once, or hangs; the next two only
/// once it is the keeper, not when it is asked whether it would be. Then one that says nothing to systemd, and two during
/// whose check, or at whose start, the keeper is told to go.
pub const KEEPER_FAULTS: [&str; 7] = [
    "fault: keep exits",
    "fault: keep hangs",
    "fault: keep exits later",
    "fault: keep hangs later",
    "fault: keep says no watchdog",
    "fault: told to go in the check",
    "fault: told to go at the start",
];

/// A small generator (xorshift64*): good enough to choose moments, and the same everywhere.
#[derive(Clone, Debug)]
pub struct Moments {
    state: u64,
}

impl Moments {
    /// From `HOLDFAST_TEST_SEED`, else from the clock; prints the seed.
    pub fn new(test: &str) -> Self {
        let seed = std::env::var("HOLDFAST_TEST_SEED")
            .ok()
            .and_then(|text| text.parse().ok())
            .unwrap_or_else(|| {
                let now =
                    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
                u64::from(now.subsec_nanos()) ^ now.as_secs() << 20
            });
        println!("{test}: HOLDFAST_TEST_SEED={seed}");
        Self { state: seed | 1 }
    }

    /// The next number below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        (self.state.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % bound.max(1)
    }

    /// A time between the two.
    pub fn between(&mut self, least: Duration, most: Duration) -> Duration {
        let span = most.saturating_sub(least).as_micros();
        least + Duration::from_micros(self.below(u64::try_from(span).unwrap_or(u64::MAX)))
    }

    /// Mixes the items.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            let other = usize::try_from(self.below(last as u64 + 1)).unwrap_or(0);
            items.swap(last, other);
        }
    }
}

/// What happens to the active runtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// An ordinary switch to the other slot.
    Switch,
    /// SIGKILL of the active runtime.
    KillActive,
    /// SIGSTOP of the active runtime, continued (if it still lives) a while later.
    StopActive,
    /// SIGKILL of the supervisor.
    KillSupervisor,
}

/// So many of each, in a mixed order.
pub fn plan(moments: &mut Moments, counts: &[(Fault, usize)]) -> Vec<Fault> {
    let mut plan: Vec<Fault> = counts.iter().flat_map(|(fault, count)| vec![*fault; *count]).collect();
    moments.shuffle(&mut plan);
    plan
}
