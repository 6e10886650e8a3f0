//! Business logic and its durability: tasks, turns, conversations.
//!
//! The state is a fold of the journal; files here decide on it and are pure, `io` touches the world, `daemon`
//! joins both in one loop.

#![deny(unsafe_code)]

pub mod abilities;
pub mod acp;
pub mod agent;
pub mod channels;
pub mod command_id;
pub mod commands;
pub mod conversation;
pub mod daemon;
pub mod event;
pub mod filed;
pub mod io;
#[cfg(test)]
mod lifetime;
pub mod order;
pub mod outbound;
pub mod params;
pub mod readiness;
pub mod recent;
pub mod record;
pub mod role;
pub mod settings;
pub mod span;
pub mod state;
pub mod task;
pub mod turn;
pub mod view;
pub mod workers;
pub mod workspace;
