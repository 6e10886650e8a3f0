//! Business logic and its durability: tasks, turns, conversations.
pub mod role;
