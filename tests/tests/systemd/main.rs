//! A real systemd in a container: installed, restarted, killed, upgraded, rebooted, removed. `tests/run systemd`
//! prepares image and packages.

mod agent;
mod group;
mod installed;
mod keeper;
mod machine;
mod operator;
mod package;
mod units;
mod updates;
mod watcher;
