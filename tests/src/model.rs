//! The exhaustive model of switch and settle: the product's own pure machines (`Transition` of the supervisor,
//! `Role` of the runtime, `Wished` of the sidecar) in a small world with kills, pauses, early timeouts, late and
//! repeated messages.
//!
//! Every reachable world is visited. In each: never two writers, epochs never overlap, an answered command is in
//! the journal exactly once; and from each a settled world can be reached without any help (nothing that is
//! paused needs to go on).

pub mod apply;
pub mod moves;
pub mod search;
pub mod world;

use world::{Bounds, Rules};

/// One named exploration.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    /// Its name.
    pub name: &'static str,
    /// How much may happen.
    pub bounds: Bounds,
    /// Which rules hold.
    pub rules: Rules,
    /// More states than this is a failure of the exploration, not a result.
    pub cap: usize,
}

const NONE: Bounds = Bounds {
    kills: 0,
    pauses: 0,
    early_timeouts: 0,
    repeats: 0,
    switches: 0,
    stops: 0,
    commands: 1,
    second_supervisors: 0,
    sidecar_kills: 0,
};

const fn all_rules(name: &'static str, bounds: Bounds) -> Scenario {
    Scenario { name, bounds, rules: Rules::ALL, cap: 40_000_000 }
}

/// Part of `tests/run`.
pub const SMALL: &[Scenario] = &[
    all_rules("two switches there and back", Bounds { switches: 2, commands: 2, ..NONE }),
    all_rules("one kill with one early timeout", Bounds { switches: 1, kills: 1, early_timeouts: 1, ..NONE }),
    all_rules("one kill with one pause", Bounds { switches: 1, kills: 1, pauses: 1, ..NONE }),
    all_rules("a sidecar's kill in a switch", Bounds { switches: 1, sidecar_kills: 1, ..NONE }),
    all_rules("one stop and switch with one kill", Bounds { stops: 1, kills: 1, early_timeouts: 1, ..NONE }),
    all_rules("a switch, then a stop and switch", Bounds { switches: 1, stops: 1, ..NONE }),
    all_rules("a second supervisor", Bounds { switches: 1, second_supervisors: 1, repeats: 1, ..NONE }),
];

/// Part of `tests/run`, not of its quick mode.
pub const MEDIUM: &[Scenario] = &[all_rules(
    "two kills with one early timeout",
    Bounds { switches: 1, kills: 2, early_timeouts: 1, ..NONE },
)];

/// Part of `tests/model`.
pub const LARGE: &[Scenario] = &[
    all_rules(
        "two switches, one kill, one early timeout",
        Bounds { switches: 2, kills: 1, early_timeouts: 1, ..NONE },
    ),
    all_rules(
        "one kill, one pause, one early timeout",
        Bounds { switches: 1, kills: 1, pauses: 1, early_timeouts: 1, ..NONE },
    ),
];

/// Each with one rule taken away; each must fail.
pub const WITHOUT: &[Scenario] = &[
    Scenario {
        name: "without decision numbers",
        rules: Rules { decision_numbers: false, ..Rules::ALL },
        ..all_rules("", Bounds { switches: 1, kills: 1, early_timeouts: 1, ..NONE })
    },
    Scenario {
        name: "without the re-check under the lock",
        rules: Rules { recheck_under_lock: false, ..Rules::ALL },
        ..all_rules("", Bounds { switches: 1, kills: 1, early_timeouts: 1, ..NONE })
    },
    Scenario {
        name: "without ask-or-kill before reading",
        rules: Rules { ask_or_kill: false, ..Rules::ALL },
        ..all_rules("", Bounds { switches: 1, pauses: 1, ..NONE })
    },
    Scenario {
        name: "without 'active that is not active is a crash'",
        rules: Rules { not_active_is_a_crash: false, ..Rules::ALL },
        ..all_rules("", Bounds { switches: 1, kills: 2, ..NONE })
    },
    Scenario {
        name: "without the supervisor's lock",
        rules: Rules { supervisor_lock: false, ..Rules::ALL },
        ..all_rules("", Bounds { switches: 1, second_supervisors: 1, ..NONE })
    },
];
