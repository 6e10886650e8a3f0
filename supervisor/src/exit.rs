//! Exit codes of every command (DESIGN.md 10).

/// Fine.
pub const FINE: u8 = 0;
/// Something failed that has no code of its own.
pub const FAILED: u8 = 1;
/// The command line is wrong.
pub const USAGE: u8 = 2;
/// No node runs here.
pub const NOT_RUNNING: u8 = 3;
/// The node runs, but cannot do all it should.
pub const DEGRADED: u8 = 4;
/// Refused; nothing was changed.
pub const REFUSED: u8 = 5;
