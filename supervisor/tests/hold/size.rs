//! A holder is small: there is one for every worker.

use super::support::{Held, shell, with_stdin};
use holdfast_shared::inbox::Message;
use holdfast_shared::peer::is_worker;
use holdfast_shared::worker::{Limits, OutputMode};

const ANONYMOUS_KIB_MAX: u64 = 3 * 1024;

fn anonymous_kib(pid: u32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
    let line = text.lines().find(|line| line.starts_with("Anonymous:")).unwrap();
    line.split_ascii_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn a_holder_takes_at_most_three_mebibytes_whatever_the_worker_writes_and_reads() {
    let mut order = with_stdin(
        "seq 1 300000; yes '' | head -c 400000; head -c 4000000 >/dev/null; echo read; sleep 1000",
    );
    order.mode = OutputMode::Lines;
    order.limits = Limits { open_files: Some(100), memory_bytes: Some(1 << 30), ..Limits::default() };
    let held = Held::start(&order);
    held.inbox(1).send(1, &Message::Input { bytes: vec![b'x'; 4_000_000] }).unwrap();
    held.wait_for_output("read");
    let kib = anonymous_kib(held.holder.id());
    assert!(kib <= ANONYMOUS_KIB_MAX, "{kib} KiB");
    eprintln!("a holder takes {kib} KiB of anonymous memory");
}

#[test]
fn a_worker_and_what_it_starts_are_workers_and_the_holder_is_not() {
    let held = Held::start(&shell("echo $$; (setsid sleep 1000 & echo $!); echo on; sleep 1000"));
    held.wait_for_output("on");
    let text = super::support::Whole::read(&held.directory).text(holdfast_shared::spool::Stream::Stdout);
    let pids: Vec<i32> = text.split_ascii_whitespace().filter_map(|word| word.parse().ok()).collect();
    assert_eq!(pids.len(), 2);
    assert!(pids.iter().all(|pid| is_worker(*pid)), "{pids:?}");
    let holder = held.holder.id();
    assert!(!is_worker(i32::try_from(holder).unwrap()));
    assert_eq!(std::fs::read_to_string(format!("/proc/{holder}/comm")).unwrap(), "holdfast-hold\n");
}
