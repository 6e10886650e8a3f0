//! The command line, bad input and bad homes, with real processes.

mod cli;
mod demo;
mod homes;
mod hostile;
mod starts;
