//! Contracts between Holdfast's processes: who may say what to whom, in which words and bytes.
//!
//! Nothing here decides for a process; the modules hold the formats and the mechanisms that more than
//! one process uses.

pub mod blessed;
pub mod control;
pub mod decision;
pub mod durable_file;
pub mod error;
pub mod free_space;
pub mod home;
pub mod inbox;
pub mod journal;
pub mod leftovers;
pub mod link;
pub mod log;
pub mod notify;
pub mod pace;
pub mod peer;
pub mod process;
pub mod release;
pub mod runtime_control;
pub mod skill;
pub mod slot;
pub mod spool;
pub mod supervisor_control;
pub mod token;
pub mod version;
pub mod wished;
pub mod worker;
