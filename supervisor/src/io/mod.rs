//! The world of supervisor, keeper and command line: files, processes, sockets.

pub mod bundle;
pub mod centrifuge_client;
pub mod cgroups;
pub mod child;
pub mod control;
pub mod demo;
pub mod found;
pub mod home;
pub mod journal;
pub mod listener;
pub mod logs;
pub mod metrics;
pub mod packing;
pub mod preflight;
pub mod probe;
pub mod reap;
pub mod replace;
pub mod root;
pub mod signing;
pub mod skills;
pub mod slots;
pub mod stop_tree;
pub mod systemd;
pub mod task_user;
pub mod workers;
