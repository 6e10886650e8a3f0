//! The sidecar's world: sockets, time, ids.

pub mod bell;
pub mod control;
pub mod link;
pub mod listener;
pub mod metered;
pub mod probe;
pub mod upgrade;
pub mod websocket;
pub mod world;
