//! What a worker is told: in order, once, whoever writes.

use super::support::{Held, Whole, shell, wait_for, with_stdin};
use holdfast_shared::inbox::Message;
use holdfast_shared::spool::{Control, SpoolRecord, Stream};
use holdfast_shared::worker::{EndedBy, ExitStatus, WorkerState};

fn input(text: &str) -> Message {
    Message::Input { bytes: text.as_bytes().to_vec() }
}

#[test]
fn a_command_reads_nothing() {
    let whole = Held::start(&shell("cat; echo end")).ended();
    assert_eq!(whole.text(Stream::Stdout), "end\n");
}

#[test]
fn messages_reach_the_worker_in_order_and_each_is_consumed_before() {
    let mut held = Held::start(&with_stdin("cat"));
    let mut inbox = held.inbox(1);
    for number in 1..=100 {
        inbox.send(number, &input(&format!("message {number}\n"))).unwrap();
    }
    inbox.send(101, &Message::CloseStdin).unwrap();
    let whole = held.ended();
    let expected: String = (1..=100).map(|number| format!("message {number}\n")).collect();
    assert_eq!(whole.text(Stream::Stdout), expected);
    let consumed: Vec<_> =
        whole.controls().into_iter().filter(|c| matches!(c, Control::Consumed { .. })).collect();
    assert_eq!(consumed, (1..=101).map(|number| Control::Consumed { number }).collect::<Vec<_>>());
    assert!(matches!(whole.records[1], SpoolRecord::Control { outputs_before: 0, .. }), "consumed, then fed");
    assert_eq!(whole.exit().status, ExitStatus::Code(0));
}

#[test]
fn each_number_is_fed_once_over_a_change_of_epoch() {
    let mut held = Held::start(&with_stdin("cat"));
    let mut old = held.inbox(1);
    old.send(1, &input("one\n")).unwrap();
    held.wait_for_output("one");
    // The next active writes again what it does not yet know to be consumed, and then its own.
    let mut new = held.inbox(5);
    for (number, text) in [(1, "one\n"), (2, "two\n"), (3, "three\n")] {
        new.send(number, &input(text)).unwrap();
    }
    held.wait_for_output("three");
    // What comes late from the one before is not followed any more.
    old.send(9, &input("stale\n")).unwrap();
    new.send(4, &Message::CloseStdin).unwrap();
    let whole = held.ended();
    assert_eq!(whole.text(Stream::Stdout), "one\ntwo\nthree\n");
}

#[test]
fn both_files_there_from_the_start_feed_each_number_once() {
    let home = tempfile::tempdir().unwrap();
    let directory = home.path().join("worker");
    std::fs::create_dir(&directory).unwrap();
    with_stdin("cat").write(&directory).unwrap();
    for epoch in [3, 7] {
        let mut inbox = holdfast_shared::inbox::InboxWriter::create(&directory, epoch).unwrap();
        for number in 1..=3 {
            inbox.send(number, &input(&format!("{number}\n"))).unwrap();
        }
        if epoch == 7 {
            inbox.send(4, &Message::CloseStdin).unwrap();
        }
    }
    assert!(super::support::spawn_holder(&directory).wait().unwrap().success());
    assert_eq!(Whole::read(&directory).text(Stream::Stdout), "1\n2\n3\n");
}

#[test]
fn an_inbox_begun_again_by_the_same_epoch_is_followed() {
    let mut held = Held::start(&with_stdin("cat"));
    held.inbox(2).send(1, &input("one\n")).unwrap();
    held.wait_for_output("one");
    let mut again = held.inbox(2);
    again.send(2, &input("two\n")).unwrap();
    again.send(3, &Message::CloseStdin).unwrap();
    assert_eq!(held.ended().text(Stream::Stdout), "one\ntwo\n");
}

#[test]
fn an_input_larger_than_every_buffer_arrives_whole() {
    let mut held = Held::start(&with_stdin("md5sum"));
    let bytes: Vec<u8> = (0..3_000_000u32).map(|n| (n % 251) as u8).collect();
    let mut inbox = held.inbox(1);
    inbox.send(1, &Message::Input { bytes: bytes.clone() }).unwrap();
    inbox.send(2, &Message::CloseStdin).unwrap();
    let whole = held.ended();
    let file = held.directory.join("expected");
    std::fs::write(&file, bytes).unwrap();
    let expected =
        std::process::Command::new("md5sum").stdin(std::fs::File::open(file).unwrap()).output().unwrap();
    assert_eq!(whole.bytes(Stream::Stdout), expected.stdout);
}

#[test]
fn a_cancel_behind_an_input_that_the_worker_does_not_read_is_heard() {
    let mut held = Held::start(&with_stdin("echo on; sleep 1000"));
    held.wait_for_output("on");
    let mut inbox = held.inbox(1);
    inbox.send(1, &Message::Input { bytes: vec![b'x'; 1_000_000] }).unwrap();
    inbox.send(2, &input("never read")).unwrap();
    inbox.send(3, &Message::Cancel).unwrap();
    let whole = held.ended();
    assert_eq!(whole.exit().ended_by, EndedBy::Cancel);
    assert!(!whole.controls().contains(&Control::Consumed { number: 2 }), "what was not fed is not consumed");
}

#[test]
fn a_kill_from_a_new_epoch_is_heard_while_an_old_input_is_stuck() {
    let mut held = Held::start(&with_stdin("echo on; sleep 1000"));
    held.wait_for_output("on");
    held.inbox(1).send(1, &Message::Input { bytes: vec![b'x'; 1_000_000] }).unwrap();
    wait_for("consumption", || {
        Whole::read(&held.directory).controls().contains(&Control::Consumed { number: 1 }).then_some(())
    });
    held.inbox(2).send(2, &Message::Kill).unwrap();
    assert_eq!(held.ended().exit().ended_by, EndedBy::Kill);
}

#[test]
fn a_worker_that_closed_its_stdin_goes_on() {
    // The pause is the case: a worker that lives on without its stdin.
    let mut held = Held::start(&with_stdin("exec 0<&-; echo on; sleep 0.5; echo end"));
    held.wait_for_output("on");
    let mut inbox = held.inbox(1);
    for number in 1..=3 {
        inbox.send(number, &Message::Input { bytes: vec![b'x'; 100_000] }).unwrap();
    }
    let whole = held.ended();
    assert_eq!(whole.text(Stream::Stdout), "on\nend\n");
}

#[test]
fn a_turn_mark_begins_a_new_segment() {
    let mut held = Held::start(&with_stdin("while read line; do echo \"got $line\"; done"));
    let mut inbox = held.inbox(1);
    inbox.send(1, &input("a\n")).unwrap();
    held.wait_for_output("got a");
    inbox.send(2, &Message::TurnMark { turn: "t2".to_owned() }).unwrap();
    inbox.send(3, &input("b\n")).unwrap();
    held.wait_for_output("got b");
    inbox.send(4, &Message::CloseStdin).unwrap();
    let whole = held.ended();
    assert_eq!(whole.text(Stream::Stdout), "got a\ngot b\n");
    assert_eq!(holdfast_shared::spool::segments(&held.directory).unwrap(), [0, 1]);
    let marked: Vec<_> = whole.controls().into_iter().filter(|c| matches!(c, Control::Mark { .. })).collect();
    let mark = |turn: &str, number| Control::Mark { turn: turn.to_owned(), number };
    assert_eq!(marked, [mark("t1", 0), mark("t2", 2)]);
}

#[test]
fn messages_left_when_the_worker_ends_are_not_consumed() {
    // The pause is the case: a worker that lives on without its stdin.
    let mut held = Held::start(&with_stdin("head -c 2; exec 0<&-; sleep 0.3"));
    let mut inbox = held.inbox(1);
    inbox.send(1, &input("a\n")).unwrap();
    let whole = held.ended();
    assert!(whole.controls().contains(&Control::Consumed { number: 1 }));
    inbox.send(2, &input("b\n")).unwrap();
    assert!(matches!(held.state(), WorkerState::Ended(_)));
    assert_eq!(Whole::read(&held.directory).records.len(), whole.records.len());
}

#[test]
fn numbers_written_by_two_epochs_at_once_are_each_fed_once_and_in_order() {
    const LAST: u64 = 400;
    let mut held = Held::start(&with_stdin("cat"));
    let mut old = held.inbox(1);
    let directory = held.directory.clone();
    // The old active goes on for a while after the new one has begun, as one that is being fenced does.
    let fenced = std::thread::spawn(move || {
        for number in 1..=LAST / 2 {
            old.send(number, &input(&format!("{number}\n"))).unwrap();
        }
    });
    held.wait_for_output("20\n");
    let mut tail = holdfast_shared::spool::SpoolTail::open(&directory);
    while !tail.poll(usize::MAX).unwrap().is_empty() {}
    let mut new = held.inbox(2);
    for number in tail.consumed() + 1..=LAST {
        new.send(number, &input(&format!("{number}\n"))).unwrap();
    }
    new.send(LAST + 1, &Message::CloseStdin).unwrap();
    fenced.join().unwrap();
    let expected: String = (1..=LAST).map(|number| format!("{number}\n")).collect();
    assert_eq!(held.ended().text(Stream::Stdout), expected);
}
