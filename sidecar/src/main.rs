//! Browser transport: listeners, sessions, fan-out, holding during a switch.

fn main() {}
