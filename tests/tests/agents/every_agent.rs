//! Each agent through the same trials.

use crate::outlives;
use holdfast_tests::agents::Agent;

macro_rules! each {
    ($($name:ident: $agent:expr;)*) => { $(
        mod $name {
            use super::*;

            #[test]
            fn a_turn_ends_as_it_would_have_over_switches_and_kills() {
                outlives::a_turn_over_switches_and_kills($agent);
            }

            #[test]
            fn a_cancel_ends_the_turn_and_the_next_prompt_is_answered() {
                outlives::a_cancel($agent);
            }

            #[test]
            fn an_agent_that_died_is_resumed_and_knows_what_it_was_told() {
                outlives::a_death($agent);
            }
        }
    )* };
}

each! {
    demo: Agent::Demo;
    npm_sdk: Agent::Npm;
    pypi_sdk: Agent::Pypi;
    codex: Agent::Codex;
}
