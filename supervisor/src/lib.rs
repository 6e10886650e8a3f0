//! Supervisor, keeper, holder and the operator command line.

pub mod admission;
pub mod attempt;
pub mod breaker;
pub mod cli;
pub mod command;
pub mod daemon;
pub mod demo;
pub mod doctor;
pub mod exit;
pub mod hold;
pub mod io;
pub mod keeper;
pub mod memory;
pub mod metrics;
pub mod node_state;
pub mod order;
pub mod promotion;
pub mod release;
pub mod restart;
pub mod restrictions;
pub mod settings;
pub mod settle;
pub mod status;
pub mod switch;
pub mod transition;
pub mod watch;
