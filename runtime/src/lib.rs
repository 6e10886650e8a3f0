//! Business logic and its durability: tasks, turns, conversations.
pub mod role;

pub mod event;
pub mod span;
