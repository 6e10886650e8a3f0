//! The command line, bad input and bad homes, with real processes.

mod attempts;
mod cli;
mod demo;
mod doctor;
mod homes;
mod hostile;
mod metrics;
mod promotion;
mod public_status;
mod skills;
mod starts;
mod updates;
mod watch;
