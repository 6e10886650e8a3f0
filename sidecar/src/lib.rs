//! Browser transport: listeners, sessions, fan-out, holding during a switch.
//!
//! Files here decide and are pure; `io/` touches the world; `daemon.rs` joins them.

pub mod console;
pub mod cursor;
pub mod daemon;
pub mod exchange;
pub mod hot_tail;
pub mod hub;
pub mod io;
pub mod origin;
pub mod pacing;
pub mod pending;
pub mod protocol;
pub mod public_http;
pub mod public_status;
pub mod reads;
pub mod session;
pub mod settings;
pub mod tokens;
pub mod wish;
