//! One writer, take-over, followers, inspection, where nothing goes wrong.

use crate::support::*;
use holdfast_shared::journal::*;
use std::sync::mpsc::sync_channel;

#[test]
fn a_new_journal_begins_with_its_activation() {
    let home = Home::new();
    let (writer, taken) = take_over(&home.journal(), 1).unwrap();
    assert_eq!(taken.last, Position { epoch: 1, lsn: 1 });
    assert_eq!(taken.journal_id, ID);
    assert_eq!(writer.next_lsn(), 2);
    let records = read_all(&home.journal());
    assert_eq!(positions(&records), [Position { epoch: 1, lsn: 1 }]);
    let activated: Activated = serde_json::from_slice(&records[0].payload).unwrap();
    assert_eq!((activated.epoch, activated.instance.as_str()), (1, "rt-a-00000001"));
}

#[test]
fn records_are_read_back_in_order_across_take_overs() {
    let home = Home::new();
    let dir = home.journal();
    let mut expected = Vec::new();
    for epoch in 1..=4 {
        let (mut writer, taken) = take_over(&dir, epoch * 10).unwrap();
        expected.push(taken.last);
        for value in 0..5 {
            let range = writer.append(&[add(value), add(value + 1)]).unwrap();
            expected.extend((range.first..=range.last).map(|lsn| Position { epoch: epoch * 10, lsn }));
        }
        // The odd ones die, the even ones are fenced.
        if epoch % 2 == 0 {
            assert_eq!(writer.fence().unwrap(), *expected.last().unwrap());
        }
    }
    assert_eq!(positions(&read_all(&dir)), expected);
    assert!(expected.iter().enumerate().all(|(nth, position)| position.lsn == nth as u64 + 1));
}

#[test]
fn a_second_writer_is_refused_while_the_first_lives() {
    let home = Home::new();
    let (writer, _) = take_over(&home.journal(), 1).unwrap();
    let refused = take_over(&home.journal(), 2);
    let Err(TakeOverError::Lock(LockError::Locked { holder: Some(holder) })) = refused else {
        panic!("two writers: {:?}", refused.map(|(_, taken)| taken))
    };
    assert_eq!(holder.pid, std::process::id() as i32);
    drop(writer);
    take_over(&home.journal(), 2).unwrap();
}

#[test]
fn a_stale_epoch_is_refused_and_changes_nothing() {
    let home = Home::new();
    drop(take_over(&home.journal(), 7).unwrap());
    for stale in [1, 6, 7] {
        let refused = take_over(&home.journal(), stale).map(|(_, taken)| taken);
        let Err(TakeOverError::Refused(takeover::Refused::EpochSeen { own, highest })) = refused else {
            panic!("epoch {stale}: {refused:?}")
        };
        assert_eq!((own, highest), (stale, 7));
    }
    assert_eq!(inspect(&home.journal()).unwrap().highest_epoch, 7);
    take_over(&home.journal(), 8).unwrap();
}

#[test]
fn first_and_not_first_are_never_mixed_up() {
    let home = Home::new();
    let begin = |first| {
        let request = Request { first, ..request(9) };
        TakeOver::begin(&home.journal(), real(), request).map(|(_, taken)| taken.last)
    };
    assert!(matches!(begin(false), Err(TakeOverError::Refused(takeover::Refused::Missing))));
    assert!(!home.journal().exists(), "a refusal made a directory");
    assert_eq!(begin(true).unwrap(), Position { epoch: 9, lsn: 1 });
    assert!(matches!(begin(true), Err(TakeOverError::Refused(takeover::Refused::AlreadyExists))));
}

#[test]
fn a_kind_that_must_be_understood_keeps_an_older_release_out() {
    let home = Home::new();
    let dir = home.journal();
    let (mut writer, _) = take_over(&dir, 1).unwrap();
    writer.append(&[NewRecord::new("new.thing", b"{}".to_vec()).must_understand()]).unwrap();
    // Known to be durable, so no take-over brings the record itself along.
    writer.fence().unwrap();
    for _ in 0..2 {
        let refused = take_over(&dir, 2).map(|(_, taken)| taken);
        let Err(TakeOverError::Refused(takeover::Refused::MustUnderstand { kind })) = refused else {
            panic!("{refused:?}")
        };
        assert_eq!(kind, "new.thing");
    }
    assert!(inspect(&dir).unwrap().must_understand_kinds.contains("new.thing"));
    let newer = Request { known_kinds: &["add", "new.thing"], ..request(3) };
    drop(TakeOver::begin(&dir, real(), newer).unwrap());
    // Known from the next segment's header, too, where the record itself is not.
    assert!(take_over(&dir, 4).is_err());
    assert!(inspect(&dir).unwrap().must_understand_kinds.contains("new.thing"));
}

#[test]
fn inspection_says_who_wrote_last_and_where_the_journal_ends() {
    let home = Home::new();
    let dir = home.journal();
    assert!(!inspect(&dir).unwrap().exists);
    let (mut writer, _) = take_over(&dir, 3).unwrap();
    writer.append(&[add(1)]).unwrap();
    writer.rotate().unwrap();
    writer.append(&[add(2), add(3)]).unwrap();
    let seen = inspect(&dir).unwrap();
    assert!(seen.exists);
    assert_eq!(seen.journal_id, Some(ID));
    assert_eq!(seen.last_activated.unwrap().instance, "rt-a-00000003");
    assert_eq!(seen.last_activated_position, Some(Position { epoch: 3, lsn: 1 }));
    assert_eq!((seen.highest_epoch, seen.end), (3, Position { epoch: 3, lsn: 4 }));
}

#[test]
fn a_follower_that_is_slower_or_faster_sees_each_record_once() {
    let home = Home::new();
    let dir = home.journal();
    let mut waiting = Follower::open(&dir, None).unwrap().unwrap();
    assert_eq!(waiting.poll(10).unwrap(), Followed::UpToDate);
    let mut fast = Vec::new();
    let mut epoch = 0;
    for round in 0..30u64 {
        epoch += 1;
        let (mut writer, _) = take_over(&dir, epoch).unwrap();
        fast.extend(drain(&mut waiting));
        for value in 0..round % 5 {
            writer.append(&[add(value)]).unwrap();
            if value % 2 == 0 {
                fast.extend(drain(&mut waiting));
            }
        }
        if round % 3 == 0 {
            writer.rotate().unwrap();
        }
    }
    fast.extend(drain(&mut waiting));
    let slow = read_all(&dir);
    assert_eq!(positions(&fast), positions(&slow));
    assert!(slow.iter().enumerate().all(|(nth, record)| record.lsn == nth as u64 + 1));
}

#[test]
fn a_warm_take_over_reads_only_what_is_new_and_its_follower_ends_at_its_own_activation() {
    let home = Home::new();
    let dir = home.journal();
    let (mut writer, _) = take_over(&dir, 1).unwrap();
    writer.append(&[add(1)]).unwrap();
    let mut follower = Follower::open(&dir, None).unwrap().unwrap();
    assert_eq!(drain(&mut follower).len(), 2);
    writer.append(&[add(2)]).unwrap();
    drop(writer);
    let (_writer, taken) = TakeOver::begin_warm(&dir, real(), request(2), &follower).unwrap();
    let mut seen = Vec::new();
    assert!(follower.drain_to(taken.last, |record| seen.push(record)).unwrap());
    assert_eq!(positions(&seen), [Position { epoch: 1, lsn: 3 }, Position { epoch: 2, lsn: 4 }]);
    assert_eq!(follower.position(), taken.last);
}

#[test]
fn a_follower_opens_behind_a_record_only_if_that_very_record_is_there() {
    let home = Home::new();
    let dir = home.journal();
    let (mut writer, _) = take_over(&dir, 1).unwrap();
    writer.append(&[add(1), add(2), add(3)]).unwrap();
    writer.rotate().unwrap();
    writer.append(&[add(4)]).unwrap();
    for lsn in 1..=5 {
        let position = Position { epoch: 1, lsn };
        let mut follower = Follower::open_behind(&dir, position).unwrap().expect("it is there");
        assert_eq!(follower.position(), position);
        let expected: Vec<_> = (lsn + 1..=5).map(|lsn| Position { epoch: 1, lsn }).collect();
        assert_eq!(positions(&drain(&mut follower)), expected);
        assert!(Follower::open_behind(&dir, Position { epoch: 2, lsn }).unwrap().is_none());
    }
    assert!(Follower::open_behind(&dir, Position { epoch: 1, lsn: 6 }).unwrap().is_none());
}

#[test]
fn the_thread_answers_what_is_durable_and_gives_the_lock_back() {
    let home = Home::new();
    let dir = home.journal();
    let (writer, taken) = take_over(&dir, 1).unwrap();
    let (events, seen) = sync_channel(10_000);
    let thread = WriterThread::spawn(writer, move |event| events.send(event).unwrap()).unwrap();
    let mut next = taken.last.lsn + 1;
    for value in 0..500 {
        thread.submit(next, vec![add(value), add(value)]).unwrap();
        next += 2;
    }
    until("everything is durable", || thread.durable_lsn() == next - 1);
    let end = thread.fence().unwrap();
    assert_eq!(end, Position { epoch: 1, lsn: next - 1 });
    let events: Vec<_> = seen.iter().collect();
    let durable: Vec<u64> = events
        .iter()
        .filter_map(|event| match event {
            WriterEvent::Durable { lsn } => Some(*lsn),
            _ => None,
        })
        .collect();
    assert!(durable.is_sorted() && durable.last() == Some(&(next - 1)));
    assert!(matches!(events.last(), Some(WriterEvent::Fenced { end: fenced }) if *fenced == end));
    take_over(&dir, 2).unwrap();
    assert_eq!(read_all(&dir).len() as u64, next);
}

#[test]
fn after_a_fence_nothing_is_taken() {
    let home = Home::new();
    let (writer, _) = take_over(&home.journal(), 1).unwrap();
    let (events, seen) = sync_channel(10);
    let thread = WriterThread::spawn(writer, move |event| events.send(event).unwrap()).unwrap();
    thread.submit(2, vec![add(1)]).unwrap();
    thread.request_fence().unwrap();
    assert!(seen.iter().any(|event| matches!(event, WriterEvent::Fenced { .. })));
    assert!(matches!(thread.submit(3, vec![add(2)]), Err(SubmitError::Gone)));
    assert_eq!(thread.fence(), Err(FenceError));
}

#[test]
fn records_numbered_otherwise_than_the_journal_end_the_writer() {
    let home = Home::new();
    let (writer, _) = take_over(&home.journal(), 1).unwrap();
    let (events, seen) = sync_channel(10);
    let thread = WriterThread::spawn(writer, move |event| events.send(event).unwrap()).unwrap();
    thread.submit(5, vec![add(1)]).unwrap();
    let failed = seen.iter().last();
    assert!(matches!(
        failed,
        Some(WriterEvent::Failed { error: WriteError::OutOfOrder { submitted: 5, next: 2 } })
    ));
    take_over(&home.journal(), 2).unwrap();
}

#[test]
fn a_queue_past_its_bound_says_so_and_gives_the_records_back() {
    let home = Home::new();
    let (writer, _) = take_over(&home.journal(), 1).unwrap();
    let (hold, held) = sync_channel::<()>(0);
    let thread = WriterThread::spawn(writer, move |_| while held.recv().is_ok() {}).unwrap();
    let big = || vec![NewRecord::new("add", vec![b'1'; 100 << 10])];
    let refused = (2..).find_map(|lsn| thread.submit(lsn, big()).err()).unwrap();
    assert!(matches!(refused, SubmitError::Full(records) if records == big()));
    assert!(!thread.has_room(100 << 10));
    drop(hold);
    until("there is room", || thread.has_room(100 << 10));
}

#[test]
fn what_does_not_fit_is_refused_whole() {
    let home = Home::new();
    let (mut writer, _) = take_over(&home.journal(), 1).unwrap();
    let large = |bytes| NewRecord::new("add", vec![b'1'; bytes]);
    assert!(matches!(writer.append(&[large((1 << 20) + 1)]), Err(WriteError::RecordTooLarge { .. })));
    let five = vec![large(1 << 20); 5];
    assert!(matches!(writer.append(&five), Err(WriteError::BatchTooLarge { .. })));
    assert!(matches!(writer.append(&[NewRecord::new("Bad Kind", vec![])]), Err(WriteError::BadKind { .. })));
    assert!(matches!(writer.append(&[]), Err(WriteError::Empty)));
    let range = writer.append(&[large(1 << 20), large(1 << 20), large(1 << 20)]).unwrap();
    assert_eq!(range, LsnRange { first: 2, last: 4 });
    assert_eq!(read_all(&home.journal()).len(), 4);
}

#[test]
fn a_watch_wakes_up_for_records_and_for_segments() {
    let home = Home::new();
    let (mut writer, _) = take_over(&home.journal(), 1).unwrap();
    let watch = Watch::new(&home.journal()).unwrap();
    assert!(!watch.clear().unwrap());
    writer.append(&[add(1)]).unwrap();
    assert!(watch.clear().unwrap());
    assert!(!watch.clear().unwrap());
    writer.rotate().unwrap();
    assert!(watch.clear().unwrap());
}

#[test]
fn a_fence_finds_a_place_in_a_full_queue() {
    let home = Home::new();
    let (writer, _) = take_over(&home.journal(), 1).unwrap();
    let (hold, held) = sync_channel::<()>(0);
    let thread = WriterThread::spawn(writer, move |_| while held.recv().is_ok() {}).unwrap();
    let mut next = 2;
    while thread.submit(next, vec![add(1)]).is_ok() {
        next += 1;
    }
    assert!(next as usize > limits::MAX_QUEUED_GROUPS, "small groups are bounded by their number");
    thread.request_fence().unwrap();
    drop(hold);
    until("fenced", || JournalLock::try_acquire(&home.journal()).is_ok());
    assert_eq!(inspect(&home.journal()).unwrap().end.lsn, next - 1);
}

#[test]
fn a_lock_that_is_handed_on_is_never_free() {
    let home = Home::new();
    let dir = home.journal();
    let (writer, _) = take_over(&dir, 1).unwrap();
    let (end, lock) = writer.fence_and_keep_lock().unwrap();
    let taken = || matches!(JournalLock::try_acquire(&dir), Err(LockError::Locked { .. }));
    assert!(taken());
    let descriptor = lock.hand_over_exec().unwrap();
    assert!(taken());
    let flags = nix::fcntl::fcntl(&descriptor, nix::fcntl::FcntlArg::F_GETFD).unwrap();
    assert_eq!(flags, 0, "the descriptor goes through an exec");
    let lock = JournalLock::adopt(&dir, descriptor).unwrap();
    assert!(taken());
    let (writer, taken_over) = TakeOver::begin_locked(lock, real(), request(2), None).unwrap();
    assert_eq!(taken_over.before, end);
    drop(writer);
    assert!(!taken());
    let other = std::fs::File::open(dir.join("reserve")).unwrap();
    assert!(JournalLock::adopt(&dir, other.into()).is_err());
}
