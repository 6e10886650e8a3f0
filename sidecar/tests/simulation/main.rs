//! The exchange between a simulated runtime and simulated browsers, on virtual time: whatever is held, routed,
//! cut or read slowly, each subscriber sees each event once, in order, from the position it was told, and each
//! command is carried out exactly once and answered once.
#![allow(clippy::unwrap_used, reason = "a test that fails says so by a panic")]

mod browser;
mod runtime;
mod step;
mod world;

use proptest::prelude::*;
use std::collections::BTreeSet;
use step::step;
use world::World;

const CHANNELS: [&str; 2] = ["conversation:x", "tasks"];

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, max_shrink_iters: 20_000, ..ProptestConfig::default() })]

    #[test]
    fn gapless_and_exactly_once_whatever_happens(steps in prop::collection::vec(step(), 1..200)) {
        let mut world = World::new();
        world.open();
        for step in steps {
            world.step(step);
        }
        world.settle();
        let executed: BTreeSet<&String> = world.runtime.executed.iter().collect();
        prop_assert_eq!(executed.len(), world.runtime.executed.len(), "nothing twice");
        prop_assert!(world.sent_ids.iter().all(|id| executed.contains(id)), "every command took effect");
    }
}
