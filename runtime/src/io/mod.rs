//! The runtime's world: files, sockets, threads.

pub mod filing;
pub mod history;
#[cfg(test)]
mod sample;
pub mod view;
