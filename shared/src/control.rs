//! Control sockets: HTTP/1.1 + JSON over a Unix socket, both sides (DESIGN.md 2).
//!
//! The server knows who is connected ([`Peer`]), judges once per connection whether that is the node's own user and no
//! worker, bounds bodies, times and connections, and turns every refusal into an [`ApiError`](crate::error::ApiError) with its status. Requests
//! that ask for an upgrade are passed on whole, so a handler may speak WebSocket on the same socket. The
//! client keeps its connections, so a call costs one round trip.

mod client;
mod connections;
mod reply;
mod request;
mod server;
mod versions;

pub use client::{CallError, Client};
pub use reply::Reply;
pub use request::{Request, parse, unknown_method};
pub use server::{Limits, Peer, serve};

#[cfg(test)]
mod tests;
