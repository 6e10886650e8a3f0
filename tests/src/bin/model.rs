//! Runs explorations of the model and prints what they found.

use holdfast_tests::model::search::explore;
use holdfast_tests::model::{LARGE, MEDIUM, SMALL, Scenario, WITHOUT};
use std::process::ExitCode;
use std::time::Instant;

fn main() -> ExitCode {
    let large = std::env::args().any(|argument| argument == "--large");
    let mut fine = true;
    for scenario in SMALL.iter().chain(MEDIUM).chain(if large { LARGE } else { &[] }) {
        fine &= run(scenario, false);
    }
    for scenario in WITHOUT {
        fine &= run(scenario, true);
    }
    if fine { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn run(scenario: &Scenario, must_fail: bool) -> bool {
    let start = Instant::now();
    let explored = explore(scenario);
    let seconds = start.elapsed().as_secs_f64();
    println!(
        "{}: {} states, {} transitions, {} settled, {seconds:.1} s",
        scenario.name, explored.states, explored.transitions, explored.settled
    );
    let capped = explored.failure.as_ref().is_some_and(|failure| failure.what.ends_with("not complete"));
    match (&explored.failure, must_fail) {
        (None, false) => println!("  holds; steps seen: {:?}", explored.steps),
        (None, true) => println!("  FAILED: nothing goes wrong without the rule"),
        (Some(failure), _) => {
            println!("  {}: {}", if must_fail && !capped { "as expected" } else { "FAILED" }, failure.what);
            failure.path.iter().for_each(|one| println!("    {one:?}"));
            if !must_fail || capped {
                println!("{:#?}", failure.world);
            }
        }
    }
    explored.failure.is_some() == must_fail && !capped
}
