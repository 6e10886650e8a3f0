//! `holdfast demo`: what is done to a node of its own, and what its clients saw of it.

pub mod plan;
pub mod tally;
