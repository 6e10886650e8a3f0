//! Browser transport: listeners, sessions, fan-out, holding during a switch.
pub mod wish;
