//! Agents on a real node, written by others and the built-in one: whatever happens to the programs around them, a turn
//! ends as it would have.
//!
//! Tests of the agents that `tests/agents/install` installs bear the agent's name; `tests/run` leaves out those of an
//! agent that could not be installed, and says so.

mod attach;
mod every_agent;
mod lifecycle;
mod no_bleed;
mod outlives;
mod warm;
mod workspace;
