//! Business logic and its durability: tasks, turns, conversations.
pub mod role;

pub mod event;
pub mod filed;
pub mod io;
pub mod recent;
pub mod span;
pub mod view;
