//! A full disk: nothing is lost, the worker waits, and a cancel is still heard.

use super::support::{Held, Tmpfs, Whole, shell, wait_for, with_stdin};
use holdfast_shared::inbox::Message;
use holdfast_shared::spool::{Control, Stream};
use holdfast_shared::worker::{EndedBy, ExitStatus, OutputMode, WorkerState};
use std::path::Path;
use std::time::{Duration, Instant};

fn size(directory: &Path) -> u64 {
    std::fs::metadata(directory.join("spool")).map_or(0, |file| file.len())
}

/// Waits until the disk is full and the spool has not grown over several of the holder's retries.
fn wait_until_full(held: &Held, disk: &Tmpfs) {
    let mut seen = (0, Instant::now());
    wait_for("a spool that cannot grow", || {
        let now = size(&held.directory);
        if now != seen.0 || disk.free_bytes() > 0 {
            seen = (now, Instant::now());
        }
        (seen.1.elapsed() > Duration::from_millis(600)).then_some(())
    });
    assert!(matches!(held.state(), WorkerState::Alive(_)));
}

#[test]
fn a_worker_waits_while_the_disk_is_full_and_loses_nothing() {
    let Some(disk) = Tmpfs::mount(512) else { return };
    let mut held = Held::start_in(disk.path(), &shell("seq 1 400000"));
    wait_until_full(&held, &disk);
    let worker = held.started().pid;
    assert!(super::support::is_alive(worker), "it waits");
    let before = Whole::read(&held.directory).bytes(Stream::Stdout);
    disk.resize(8192);
    let whole = held.ended();
    assert_eq!(whole.exit().status, ExitStatus::Code(0));
    let expected: String = (1..=400_000).map(|n| format!("{n}\n")).collect();
    assert!(whole.bytes(Stream::Stdout) == expected.as_bytes(), "every byte, in order");
    assert!(expected.as_bytes().starts_with(&before), "what was readable while the disk was full was right");
}

#[test]
fn a_disk_that_fills_up_again_and_again_loses_nothing() {
    let Some(disk) = Tmpfs::mount(128) else { return };
    let mut order = with_stdin("seq 1 100000");
    order.mode = OutputMode::Lines;
    let mut held = Held::start_in(disk.path(), &order);
    for kibibytes in [128, 256, 512, 1024] {
        disk.resize(kibibytes);
        wait_until_full(&held, &disk);
    }
    disk.resize(16 * 1024);
    let pieces = held.ended().pieces(Stream::Stdout);
    assert_eq!(pieces.len(), 100_000);
    assert!((1..).zip(&pieces).all(|(n, (bytes, more))| !more && *bytes == format!("{n}\n").as_bytes()));
}

#[test]
fn a_cancel_is_heard_while_the_disk_is_full_and_the_exit_waits_for_space() {
    let Some(disk) = Tmpfs::mount(256) else { return };
    let mut held = Held::start_in(disk.path(), &shell("trap '' TERM; yes abcdefghij"));
    // Its first page is on the disk before the disk is full; the message fits in.
    let mut inbox = held.inbox(1);
    let worker = held.started().pid;
    wait_until_full(&held, &disk);
    inbox.send(1, &Message::Cancel).unwrap();
    wait_for("the worker's death", || (!super::support::is_alive(worker)).then_some(()));
    assert!(matches!(held.state(), WorkerState::Alive(_)), "the exit is not on disk, so it has not ended");
    disk.resize(4096);
    let whole = held.ended();
    assert_eq!(whole.exit().ended_by, EndedBy::Cancel);
    assert!(whole.controls().contains(&Control::Consumed { number: 1 }));
}

#[test]
fn nothing_is_fed_before_its_consumption_is_on_disk() {
    let Some(disk) = Tmpfs::mount(256) else { return };
    let mut held = Held::start_in(
        disk.path(),
        &with_stdin("yes | head -c 1000000; read line; echo \"got $line\"; read line"),
    );
    let mut inbox = held.inbox(1);
    wait_until_full(&held, &disk);
    inbox.send(1, &Message::Input { bytes: b"hello\n".to_vec() }).unwrap();
    inbox.send(2, &Message::TurnMark { turn: "t2".to_owned() }).unwrap();
    inbox.send(3, &Message::CloseStdin).unwrap();
    wait_until_full(&held, &disk);
    assert!(!Whole::read(&held.directory).controls().contains(&Control::Consumed { number: 1 }));
    disk.resize(8192);
    let whole = held.ended();
    assert!(whole.text(Stream::Stdout).ends_with("got hello\n"));
    assert!(whole.controls().contains(&Control::Mark { turn: "t2".to_owned(), number: 2 }));
}

#[test]
fn without_space_for_its_beginning_a_worker_does_not_start() {
    let Some(disk) = Tmpfs::mount(16) else { return };
    let directory = disk.path().join("worker");
    std::fs::create_dir(&directory).unwrap();
    shell("echo ran").write(&directory).unwrap();
    let ballast = disk.path().join("ballast");
    let _ = std::fs::write(&ballast, vec![1; 64 * 1024]);
    assert_eq!(disk.free_bytes(), 0);
    assert_eq!(super::support::spawn_holder(&directory).wait().unwrap().code(), Some(1));
    assert_eq!(WorkerState::read(&directory).unwrap(), WorkerState::LostBeforeStart);
    std::fs::remove_file(ballast).unwrap();
    assert!(super::support::spawn_holder(&directory).wait().unwrap().success(), "it may be tried again");
    assert_eq!(Whole::read(&directory).text(Stream::Stdout), "ran\n");
}
