//! Directories of workers that no turn has output of and that nobody names any more: a crash came between the record that
//! a worker is gone and the removal of its directory.

use super::{Permit, is_name, remove_unused};
use holdfast_shared::home::Home;
use holdfast_shared::spool::{SpoolTail, TAIL_PIECE_BYTES_MAX, is_locked, segments};
use holdfast_shared::worker::{Order, Protocol, Started};
use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::Path;

/// Directories that one sweep looks at; others have their turn with another activation.
const LOOKED_AT: usize = 20_000;
/// Directories that one sweep removes.
const REMOVED: usize = 1000;

/// Removes what is left of workers that agents had in earlier epochs and that served no turn, and of their commands,
/// unless they are in use; answers how many. Reads and removes files: not for a loop.
///
/// # Errors
/// When the workers cannot be listed. What cannot be removed is left.
pub fn sweep_unused(
    home: &Home,
    epoch: u64,
    in_use: &BTreeSet<String>,
    permit: &impl Permit,
) -> io::Result<usize> {
    let mut removed = 0;
    for entry in fs::read_dir(home.workers())?.take(LOOKED_AT) {
        let Ok(name) = entry?.file_name().into_string() else { continue };
        if removed == REMOVED {
            break;
        }
        if !is_name(&name) || !is_of_before(&name, epoch, in_use) || !is_unused(home, &name) {
            continue;
        }
        match remove_unused(home, &name, permit) {
            Ok(()) => removed += 1,
            Err(error) => tracing::warn!(%error, worker = name, "left behind"),
        }
    }
    Ok(removed)
}

/// Ordered in an earlier epoch and not in use. An agent that stands may ask for more commands in this one.
fn is_of_before(name: &str, epoch: u64, in_use: &BTreeSet<String>) -> bool {
    let worker = name.rsplit_once("-t").map_or(name, |(worker, _)| worker);
    let ordered = worker.strip_prefix("w-").and_then(|rest| rest.split_once('-'));
    let ordered = ordered.and_then(|(epoch, _)| epoch.parse::<u64>().ok());
    ordered.is_some_and(|ordered| ordered < epoch) && !in_use.contains(name) && !in_use.contains(worker)
}

/// It was for no turn when it was ordered, and none was brought to it. Where that cannot be told, it stays.
fn is_unused(home: &Home, name: &str) -> bool {
    let directory = home.worker(name);
    let served_no_turn = match Order::read(&directory) {
        Ok(order) => {
            let is_command = name.contains("-t") && order.protocol == Protocol::Command;
            let is_agent = || order.protocol == Protocol::Acp && served_none(&directory);
            order.turn.is_empty() && (is_command || is_agent())
        }
        Err(_) => lost_its_order(&directory) && served_none(&directory) && was_for_none(&directory),
    };
    served_no_turn && matches!(is_locked(&directory), Ok(false))
}

/// A power cut took the order, which nobody waits for: the file is cut, or not there.
fn lost_its_order(directory: &Path) -> bool {
    match fs::read(Order::path(directory)) {
        Ok(bytes) => is_cut(&bytes),
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    }
}

/// The same, by what is on disk before a program runs: it did not start, or its spool begins without a turn.
fn was_for_none(directory: &Path) -> bool {
    match Started::read(directory) {
        Ok(None) => true,
        Ok(Some(_)) => {
            let mut tail = SpoolTail::open(directory);
            tail.poll(TAIL_PIECE_BYTES_MAX).is_ok() && tail.turn() == Some("")
        }
        Err(_) => false,
    }
}

/// Nothing, nothing but zeros, or a text that ends before its end. Anything else may be another release's.
fn is_cut(bytes: &[u8]) -> bool {
    let written = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
    serde_json::from_slice::<serde::de::IgnoredAny>(written).is_err_and(|error| error.is_eof())
}

fn served_none(directory: &Path) -> bool {
    segments(directory).is_ok_and(|segments| segments.iter().all(|segment| *segment == 0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_shared::spool::SpoolWriter;
    use serde_json::json;

    struct Always;

    impl Permit for Always {
        fn hold<T>(&self, change: impl FnOnce() -> T) -> Option<T> {
            Some(change())
        }
    }

    fn worker(home: &Home, name: &str, turn: &str, protocol: &str, segments: &[u32]) {
        let directory = home.worker(name);
        fs::create_dir_all(&directory).unwrap();
        let order = json!({
            "spawn_id": name, "task": "x", "turn": turn, "protocol": protocol, "mode": "lines", "argv": ["a"],
            "env": {}, "cwd": "/",
        });
        fs::write(Order::path(&directory), order.to_string()).unwrap();
        for segment in segments {
            fs::write(holdfast_shared::spool::segment_path(&directory, *segment), "").unwrap();
        }
    }

    #[test]
    fn only_what_served_no_turn_and_is_not_in_use_is_removed() {
        let directory = tempfile::tempdir().unwrap();
        let home = Home::new(directory.path());
        worker(&home, "w-1-1", "", "acp", &[0]);
        worker(&home, "w-1-2", "", "acp", &[0, 3]);
        worker(&home, "w-1-3", "", "acp", &[0]);
        worker(&home, "w-1-3-t5", "", "command", &[0]);
        worker(&home, "w-1-1-t5", "", "command", &[0]);
        worker(&home, "w-1-4", "t1", "command", &[0]);
        worker(&home, "w-1-5", "", "command", &[0]);
        worker(&home, "w-2-1", "", "acp", &[0]);
        worker(&home, "odd", "", "acp", &[0]);
        fs::create_dir_all(home.worker("w-1-6")).unwrap();
        fs::write(Order::path(&home.worker("w-1-6")), "[]").unwrap();
        let in_use = BTreeSet::from(["w-1-3".to_owned()]);
        assert_eq!(sweep_unused(&home, 2, &in_use, &Always).unwrap(), 2);
        let mut left: Vec<String> = fs::read_dir(home.workers())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        left.sort_unstable();
        assert_eq!(left, ["odd", "w-1-2", "w-1-3", "w-1-3-t5", "w-1-4", "w-1-5", "w-1-6", "w-2-1"]);
        assert_eq!(sweep_unused(&home, 2, &in_use, &Always).unwrap(), 0);
    }

    /// What a power cut leaves of an order that was not on disk yet.
    const CUT: [Option<&[u8]>; 4] = [None, Some(b""), Some(&[0; 64]), Some(b"{\"spawn_id\":\"w-1\0\0")];

    fn start(home: &Home, name: &str, turn: &str, order: Option<&[u8]>) {
        let directory = home.worker(name);
        fs::create_dir_all(&directory).unwrap();
        if let Some(bytes) = order {
            fs::write(Order::path(&directory), bytes).unwrap();
        }
        let (boot_id, contracts) = ("b".to_owned(), Default::default());
        let started = Started { pid: 1, start_time: 2, boot_id, holder_pid: 3, contracts };
        started.write(&directory, &SpoolWriter::create(&directory, turn).unwrap()).unwrap();
    }

    #[test]
    fn what_a_power_cut_left_without_its_order_is_swept_unless_a_turn_may_be_in_it() {
        let directory = tempfile::tempdir().unwrap();
        let home = Home::new(directory.path());
        for (number, order) in CUT.into_iter().enumerate() {
            // Never started; an agent or a command of one, started; the same of a turn.
            fs::create_dir_all(home.worker(&format!("w-1-{number}1"))).unwrap();
            if let Some(bytes) = order {
                fs::write(Order::path(&home.worker(&format!("w-1-{number}1"))), bytes).unwrap();
            }
            start(&home, &format!("w-1-{number}2"), "", order);
            start(&home, &format!("w-1-{number}3"), "t1", order);
        }
        worker(&home, "w-1-9", "", "acp", &[0, 1]);
        fs::write(Order::path(&home.worker("w-1-9")), "").unwrap();
        let in_use = BTreeSet::from(["w-1-01".to_owned()]);
        assert_eq!(sweep_unused(&home, 2, &in_use, &Always).unwrap(), 2 * CUT.len() - 1);
        for name in ["w-1-01", "w-1-03", "w-1-13", "w-1-23", "w-1-33", "w-1-9"] {
            assert!(home.worker(name).exists(), "{name}");
        }
    }
}
