//! The promises of the node (docs/ARCHITECTURE.md), each shown by killing, stopping and switching real processes.

mod always_visible;
mod durable;
mod everything;
mod gapless;
mod held;
mod safe_update;
mod single;
mod work_goes_on;
