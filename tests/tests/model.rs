//! The exhaustive model holds, and each rule that can be taken away is needed.

use holdfast_tests::model::search::{Explored, explore};
use holdfast_tests::model::{MEDIUM, SMALL, Scenario, WITHOUT};

fn explored(scenario: &Scenario) -> Explored {
    let explored = explore(scenario);
    println!(
        "{}: {} states, {} transitions, {} settled",
        scenario.name, explored.states, explored.transitions, explored.settled
    );
    explored
}

fn holds(scenario: &Scenario) {
    let explored = explored(scenario);
    if let Some(failure) = explored.failure {
        panic!("{}: {}\n{:#?}\n{:#?}", scenario.name, failure.what, failure.path, failure.world);
    }
    assert!(explored.settled > 0);
}

#[test]
fn small_the_small_worlds_hold() {
    SMALL.iter().for_each(holds);
}

#[test]
fn small_each_rule_is_needed() {
    for scenario in WITHOUT {
        let failure =
            explored(scenario).failure.unwrap_or_else(|| panic!("{}: nothing goes wrong", scenario.name));
        println!("  {} after {} moves", failure.what, failure.path.len());
        assert!(!failure.what.ends_with("not complete"), "{}: {}", scenario.name, failure.what);
    }
}

#[test]
fn medium_two_kills_with_one_early_timeout_hold() {
    MEDIUM.iter().for_each(holds);
}
