//! The world: files, sockets, other processes.

pub mod control;
pub mod descriptors;
pub mod files;
pub mod filing;
pub mod history;
pub mod journal;
pub mod late;
pub mod link;
pub mod readable;
#[cfg(test)]
mod sample;
pub mod self_check;
pub mod served;
pub mod spools;
pub mod terminals;
pub mod view;
pub mod workers;
pub mod workspace;
