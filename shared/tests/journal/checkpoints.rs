//! Checkpoints: what they bound, what they keep, what they may remove.

use crate::support::*;
use holdfast_shared::journal::checkpoint::{Kept, Removal, removable};
use holdfast_shared::journal::*;
use std::path::Path;
use std::sync::mpsc::{Receiver, sync_channel};

fn often() -> Limits {
    Limits { checkpoint_records: 50, ..limits() }
}

fn begin(dir: &Path, epoch: u64, limits: Limits) -> WriterThread {
    let request = Request { first: !dir.exists(), limits, ..request(epoch) };
    let (writer, _) = TakeOver::begin(dir, real(), request).unwrap();
    WriterThread::spawn(writer, |_| {}).unwrap()
}

fn spawn<F: Fold>(thread: &WriterThread, held: Option<u64>) -> (Checkpointer, Receiver<CheckpointerEvent>) {
    let (events, seen) = sync_channel(1000);
    let checkpointer =
        Checkpointer::spawn::<F>(thread.client(), held, move |event| events.send(event).unwrap()).unwrap();
    (checkpointer, seen)
}

fn submit(thread: &WriterThread, from: u64, records: impl IntoIterator<Item = NewRecord>) -> u64 {
    let mut next = from;
    for record in records {
        thread.submit(next, vec![record]).unwrap();
        next += 1;
    }
    until("durable", || thread.durable_lsn() == next - 1);
    next
}

/// Has a checkpoint written that holds record `lsn`.
fn checkpoint_to(checkpointer: &Checkpointer, seen: &Receiver<CheckpointerEvent>, lsn: u64) -> Checkpointed {
    loop {
        checkpointer.checkpoint_now();
        match seen.recv_timeout(DEADLINE).unwrap() {
            CheckpointerEvent::Written(done) if done.position.lsn >= lsn => return done,
            CheckpointerEvent::Written(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

fn count(dir: &Path, suffix: &str) -> usize {
    contents(dir).iter().filter(|(path, _)| path.to_str().unwrap().ends_with(suffix)).count()
}

#[test]
fn checkpoints_bound_reading_and_disk_and_the_fold_stays_the_same() {
    let home = Home::new();
    let dir = home.journal();
    let thread = begin(&dir, 1, often());
    let (checkpointer, seen) = spawn::<Sum>(&thread, None);
    let mut live = Folded::<Sum>::empty();
    let mut whole = Follower::open(&dir, None).unwrap().unwrap();
    let mut next = 2;
    for round in 0..6 {
        next = submit(&thread, next, (0..60).map(|value| add(value * round)));
        drain(&mut whole).into_iter().for_each(|record| live.apply(record));
        checkpoint_to(&checkpointer, &seen, next - 1);
        assert_eq!(fold::<Sum>(&dir).state, live.state);
        assert_eq!(fold::<Sum>(&dir).position, live.position);
    }
    checkpointer.stop();
    thread.fence().unwrap();
    assert_eq!(count(&dir, ".checkpoint"), 2);
    assert!(count(&dir, ".segment") <= 3, "segments behind the older checkpoint stayed");
    assert_eq!(inspect(&dir).unwrap().end.lsn, next - 1);
    assert_eq!(fold::<Sum>(&dir).state, live.state);
    let (_, taken) = take_over(&dir, 2).unwrap();
    assert_eq!(taken.last.lsn, next);
}

#[test]
fn a_follower_left_behind_starts_again_from_a_checkpoint_and_ends_with_the_same_state() {
    let home = Home::new();
    let dir = home.journal();
    let thread = begin(&dir, 1, often());
    let mut slow = Follower::open(&dir, None).unwrap().unwrap();
    assert!(matches!(slow.poll(1).unwrap(), Followed::Records(_)));
    let (checkpointer, seen) = spawn::<Sum>(&thread, None);
    let mut next = 2;
    for _ in 0..4 {
        next = submit(&thread, next, (0..60).map(add));
        checkpoint_to(&checkpointer, &seen, next - 1);
    }
    checkpointer.stop();
    let outcome = loop {
        match slow.poll(1000).unwrap() {
            Followed::Records(_) => {}
            other => break other,
        }
    };
    assert_eq!(outcome, Followed::Restart);
    assert_eq!(slow.poll(1).unwrap(), Followed::Restart, "and it stays so");
    let folded = fold::<Sum>(&dir);
    assert_eq!((folded.position.lsn, folded.state.records), (next - 1, next - 1));
    assert!(Follower::open(&dir, None).unwrap().is_none(), "the first record is gone");
    let gone = Follower::open_behind(&dir, Position { epoch: 1, lsn: 3 }).unwrap();
    assert!(gone.is_none());
}

/// Knows only one of the kinds.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Old(Sum);

impl Fold for Old {
    const VERSION: u32 = 1;
    fn empty() -> Self {
        Self(Sum::empty())
    }
    fn apply(&mut self, record: &Record) {
        assert!(record.kind == "add" || record.kind == ACTIVATED, "the fold was given what it does not know");
        self.0.apply(record);
    }
    fn save(&self) -> Vec<u8> {
        self.0.save()
    }
    fn load(version: u32, bytes: &[u8]) -> Result<Self, LoadError> {
        Sum::load(version, bytes).map(Self)
    }
    fn kinds() -> &'static [&'static str] {
        &["add"]
    }
}

#[test]
fn unknown_kinds_survive_checkpoints_verbatim_and_come_back_to_a_fold_that_knows_them() {
    let home = Home::new();
    let dir = home.journal();
    let thread = begin(&dir, 1, often());
    let (checkpointer, seen) = spawn::<Old>(&thread, None);
    let odd = |kind: &'static str, n: u64| NewRecord::new(kind, format!("{n}").into_bytes());
    let mut next = 2;
    for round in 0..5u64 {
        let records = (0..60).map(|n| match n {
            7 => odd("sub", round),
            8 => odd("from.the.future", round).must_understand(),
            _ => add(n),
        });
        next = submit(&thread, next, records);
        checkpoint_to(&checkpointer, &seen, next - 1);
    }
    checkpointer.stop();
    thread.fence().unwrap();
    let old = fold::<Old>(&dir);
    assert_eq!(old.unknown.len(), 10);
    let first: Vec<_> =
        old.unknown.iter().take(2).map(|r| (r.lsn, r.kind.as_str(), &r.payload[..])).collect();
    assert_eq!(first, [(9, "sub", &b"0"[..]), (10, "from.the.future", b"0")]);
    assert!(old.unknown.iter().filter(|record| record.kind == "from.the.future").all(|r| r.must_understand));
    let new = fold::<Sum>(&dir);
    assert_eq!(new.state.total, old.state.0.total - (0..5).sum::<i128>());
    assert_eq!(new.unknown.len(), 5);
    assert_eq!(new.state.records + 5, next - 1);
    assert!(inspect(&dir).unwrap().must_understand_kinds.contains("from.the.future"));
    assert!(take_over(&dir, 2).is_err(), "checkpointed away, but still to be understood");
}

#[test]
fn too_much_of_unknown_kind_ends_checkpoints_and_loses_nothing() {
    let home = Home::new();
    let dir = home.journal();
    let thread = begin(&dir, 1, Limits { unknown_bytes: 1000, ..often() });
    let (checkpointer, seen) = spawn::<Old>(&thread, None);
    let next = submit(&thread, 2, (0..200).map(|n| NewRecord::new("sub", format!("{n:040}").into_bytes())));
    let told = seen.recv_timeout(DEADLINE).unwrap();
    assert!(matches!(told, CheckpointerEvent::TooMuchUnknown { bytes } if bytes > 1000), "{told:?}");
    checkpointer.stop();
    assert_eq!(count(&dir, ".checkpoint"), 0);
    assert_eq!(read_all(&dir).len() as u64, next - 1);
}

#[test]
fn nothing_after_an_unsettled_switch_is_truncated() {
    let home = Home::new();
    let dir = home.journal();
    let thread = begin(&dir, 1, often());
    let (checkpointer, seen) = spawn::<Sum>(&thread, None);
    let mut next = submit(&thread, 2, (0..60).map(add));
    checkpoint_to(&checkpointer, &seen, next - 1);
    let (switch, expected) = (Position { epoch: 1, lsn: next - 1 }, 4 * 60);
    checkpointer.hold_truncation(Some(switch.lsn));
    for _ in 0..4 {
        next = submit(&thread, next, (0..60).map(add));
        checkpoint_to(&checkpointer, &seen, next - 1);
    }
    let mut since = Follower::open_behind(&dir, switch).unwrap().unwrap();
    assert_eq!(drain(&mut since).len(), expected);
    checkpointer.hold_truncation(None);
    next = submit(&thread, next, (0..60).map(add));
    checkpoint_to(&checkpointer, &seen, next - 1);
    assert!(Follower::open_behind(&dir, switch).unwrap().is_none());
    checkpointer.stop();
}

#[test]
fn a_damaged_newest_checkpoint_is_passed_over() {
    let home = Home::new();
    let dir = home.journal();
    let (mut writer, _) = take_over(&dir, 1).unwrap();
    for value in 0..3 {
        writer.append(&[add(value)]).unwrap();
        writer.sync().unwrap();
        checkpoint_inline(&mut writer, &fold::<Sum>(&dir), None).unwrap();
    }
    drop(writer);
    let whole = fold::<Sum>(&dir);
    let (newest, bytes) = contents(&dir)
        .into_iter()
        .rfind(|(path, _)| path.to_str().unwrap().ends_with(".checkpoint"))
        .unwrap();
    for byte in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[byte] ^= 0x10;
        std::fs::write(&newest, &damaged).unwrap();
        assert_eq!(fold::<Sum>(&dir), whole, "byte {byte}");
    }
    for length in 0..bytes.len() {
        std::fs::write(&newest, &bytes[..length]).unwrap();
        assert_eq!(fold::<Sum>(&dir), whole, "cut to {length}");
        assert!(inspect(&dir).unwrap().exists);
    }
    take_over(&dir, 2).unwrap();
}

#[test]
fn a_state_that_is_behind_makes_no_checkpoint() {
    let home = Home::new();
    let (mut writer, _) = take_over(&home.journal(), 1).unwrap();
    let folded = fold::<Sum>(&home.journal());
    writer.append(&[add(1)]).unwrap();
    let refused = checkpoint_inline(&mut writer, &folded, None);
    assert!(matches!(refused, Err(CheckpointError::Behind { folded: 1, journal: 2 })));
}

#[test]
fn without_the_lock_a_checkpointer_puts_nothing_into_place() {
    let home = Home::new();
    let dir = home.journal();
    let thread = begin(&dir, 1, often());
    let client = thread.client();
    assert_eq!(client.with_lock(|| 1), Some(1));
    let (checkpointer, seen) = spawn::<Sum>(&thread, None);
    let end = thread.fence().unwrap();
    assert_eq!(client.with_lock(|| 1), None);
    checkpointer.checkpoint_now();
    assert!(seen.recv().is_err(), "its thread ended without an event");
    assert_eq!(count(&dir, ".checkpoint"), 0);
    assert_eq!(end.lsn, 1);
}

#[test]
fn a_panicking_fold_is_reported_and_harms_nothing_else() {
    struct Panics;
    impl Fold for Panics {
        const VERSION: u32 = 1;
        fn empty() -> Self {
            Self
        }
        fn apply(&mut self, record: &Record) {
            assert!(record.kind == ACTIVATED, "on purpose");
        }
        fn save(&self) -> Vec<u8> {
            Vec::new()
        }
        fn load(_: u32, _: &[u8]) -> Result<Self, LoadError> {
            Ok(Self)
        }
        fn kinds() -> &'static [&'static str] {
            &["add"]
        }
    }
    let home = Home::new();
    let thread = begin(&home.journal(), 1, limits());
    let (checkpointer, seen) = spawn::<Panics>(&thread, None);
    let next = submit(&thread, 2, [add(1)]);
    checkpointer.checkpoint_now();
    let event = seen.recv_timeout(DEADLINE).unwrap();
    assert!(matches!(event, CheckpointerEvent::Failed { error: CheckpointError::Panicked }), "{event:?}");
    submit(&thread, next, [add(2)]);
}

#[test]
fn what_may_be_removed() {
    let checkpoints: Vec<Kept> =
        [(10, 2), (20, 3), (30, 5), (40, 6)].map(|(lsn, segment)| Kept { lsn, segment }).to_vec();
    let check = |count: usize, held, gone: &[u64], segments_below| {
        let expected = Removal { checkpoints: gone.to_vec(), segments_below };
        assert_eq!(removable(&checkpoints[..count], held), expected, "{count} checkpoints, held {held:?}");
    };
    check(0, None, &[], 0);
    check(1, None, &[], 0);
    check(2, None, &[], 2);
    check(3, None, &[10], 3);
    check(4, None, &[10, 20], 5);
    check(4, Some(35), &[10, 20], 5);
    check(4, Some(29), &[10], 3);
    check(4, Some(20), &[10], 3);
    check(4, Some(19), &[], 2);
    check(4, Some(9), &[], 0);
}

#[test]
fn a_checkpoint_is_due_after_so_many_records_or_bytes_and_not_before() {
    let limits = Limits { checkpoint_records: 10, checkpoint_bytes: 100, ..Limits::SMALL };
    let due =
        [(9, 99), (10, 0), (0, 100)].map(|(records, bytes)| checkpoint::is_due(records, bytes, &limits));
    assert_eq!(due, [false, true, true]);
}

#[test]
fn a_checkpoint_that_is_due_is_written_without_being_asked_for() {
    let home = Home::new();
    let thread = begin(&home.journal(), 1, often());
    let (checkpointer, seen) = spawn::<Sum>(&thread, None);
    submit(&thread, 2, (0..60).map(add));
    let event = seen.recv_timeout(DEADLINE).unwrap();
    assert!(matches!(event, CheckpointerEvent::Written(done) if done.position.lsn >= 50));
    checkpointer.stop();
}
