//! The full disk: commands are refused before the reserve is touched; what was admitted is written.

use crate::small_disk::SmallDisk;
use crate::support::*;
use holdfast_shared::journal::*;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;

const RESERVE: u64 = 64 << 10;
const HEADROOM: u64 = 64 << 10;

fn limits() -> Limits {
    Limits {
        reserve_bytes: RESERVE,
        headroom_bytes: HEADROOM,
        queue_bytes: 16 << 10,
        low_space_bytes: 4 << 10,
        // Only when asked for.
        checkpoint_records: u64::MAX,
        checkpoint_bytes: u64::MAX,
        ..Limits::SMALL
    }
}

fn command(n: u64) -> NewRecord {
    NewRecord::new("add", format!("{n:0200}").into_bytes())
}

fn begin(home: &Home, disk: &SmallDisk, epoch: u64) -> Result<(Writer, TakenOver), TakeOverError> {
    begin_within(home, disk, epoch, limits())
}

fn begin_within(
    home: &Home,
    disk: &SmallDisk,
    epoch: u64,
    limits: Limits,
) -> Result<(Writer, TakenOver), TakeOverError> {
    let first = !inspect(&home.journal()).unwrap().exists;
    let request = Request { first, limits, ..request(epoch) };
    TakeOver::begin(&home.journal(), Arc::new(disk.clone()), request)
}

#[test]
fn commands_are_refused_before_the_reserve_is_touched_and_what_was_admitted_is_written() {
    for capacity in (200..400).map(|kib| kib * 1000 + 7 * kib) {
        // Half of them never look at the free space: the headroom alone must be enough.
        let looks = capacity % 2 == 0;
        let low_space_bytes = if looks { limits().low_space_bytes } else { 0 };
        let home = Home::new();
        let disk = SmallDisk::new(capacity);
        let reserve = home.journal().join("reserve");
        let left = || disk.0.lock().unwrap().bytes_of(&reserve);
        let limits = Limits { low_space_bytes, ..limits() };
        let (mut writer, _) = begin_within(&home, &disk, 1, limits).unwrap();
        let mut answered = writer.last().lsn;
        while writer.admits(WriteClass::Command) {
            assert_eq!(
                left(),
                RESERVE,
                "capacity {capacity}: the reserve was touched while commands are admitted"
            );
            writer.append(&[command(answered)]).unwrap();
            answered = writer.sync().unwrap().lsn;
            if looks {
                writer.look_at_space().unwrap();
            }
        }
        assert_eq!(left(), RESERVE, "capacity {capacity}: full, and the reserve is whole");
        let mut essential = 0;
        let error = loop {
            assert!(!writer.admits(WriteClass::Command));
            if essential == 100 {
                checkpoint_inline(&mut writer, &fold::<Sum>(&home.journal()), None).unwrap();
            }
            match writer.append(&[command(answered)]).and_then(|_| writer.sync()) {
                Ok(last) => (answered, essential) = (last.lsn, essential + 1),
                Err(error) => break error,
            }
        };
        assert!(matches!(&error, WriteError::Disk(disk) if disk.is_full()), "{error}");
        assert!(essential >= RESERVE / 300, "capacity {capacity}: only {essential} essential writes");
        drop(writer);
        assert!(inspect(&home.journal()).unwrap().end.lsn >= answered);
        disk.0.lock().unwrap().capacity = 1 << 20;
        let (writer, taken) = begin(&home, &disk, 2).unwrap();
        assert!(taken.before.lsn >= answered);
        assert!(writer.admits(WriteClass::Command));
        assert_eq!(left(), RESERVE);
        assert_eq!(fold::<Sum>(&home.journal()).state.records, taken.last.lsn);
    }
}

#[test]
fn room_again_makes_the_reserve_whole_and_admits_commands() {
    let home = Home::new();
    let disk = SmallDisk::new(1 << 20);
    let (mut writer, _) = begin(&home, &disk, 1).unwrap();
    assert!(writer.admits(WriteClass::Command));
    let free = disk.0.lock().unwrap().free();
    disk.0.lock().unwrap().taken = free;
    assert!(writer.look_at_space().unwrap());
    assert!(!writer.admits(WriteClass::Command));
    assert!(writer.admits(WriteClass::Essential));
    for n in 0..300 {
        writer.append(&[command(n)]).unwrap();
    }
    let left = || disk.0.lock().unwrap().bytes_of(&home.journal().join("reserve"));
    assert!(left() < RESERVE);
    // A little room is not enough: no flapping.
    disk.0.lock().unwrap().taken -= 30 << 10;
    assert!(writer.look_at_space().unwrap());
    disk.0.lock().unwrap().taken = 0;
    assert!(!writer.look_at_space().unwrap());
    assert!(writer.admits(WriteClass::Command));
    assert_eq!(left(), RESERVE);
}

#[test]
fn a_take_over_on_a_full_disk_uses_the_reserve() {
    let home = Home::new();
    let disk = SmallDisk::new(1 << 20);
    drop(begin(&home, &disk, 1).unwrap());
    for epoch in 2..10 {
        let free = disk.0.lock().unwrap().free();
        disk.0.lock().unwrap().taken += free;
        let (writer, taken) = begin(&home, &disk, epoch).unwrap();
        assert_eq!(taken.last.epoch, epoch);
        assert!(!writer.admits(WriteClass::Command));
    }
}

#[test]
fn what_is_queued_when_the_disk_fills_up_is_written() {
    let home = Home::new();
    let disk = SmallDisk::new(1 << 20);
    let (writer, _) = begin(&home, &disk, 1).unwrap();
    let (events, seen) = sync_channel(1000);
    let thread = WriterThread::spawn(writer, move |event| events.send(event).unwrap()).unwrap();
    let mut next = 2;
    for round in 0..200 {
        if round == 100 {
            disk.0.lock().unwrap().taken = 1 << 20;
        }
        if !thread.admits(WriteClass::Command) {
            break;
        }
        match thread.submit(next, vec![command(next)]) {
            Ok(()) => next += 1,
            Err(SubmitError::Full(_)) => until("room", || thread.has_room(300)),
            Err(error) => panic!("{error}"),
        }
    }
    until("full", || thread.storage_full());
    until("durable", || thread.durable_lsn() == next - 1);
    let reserve = home.journal().join("reserve");
    assert_eq!(disk.0.lock().unwrap().bytes_of(&reserve), RESERVE);
    disk.0.lock().unwrap().taken = 0;
    until("freed", || !thread.storage_full());
    thread.fence().unwrap();
    let told: Vec<_> = seen
        .iter()
        .filter(|event| matches!(event, WriterEvent::StorageFull | WriterEvent::StorageFreed))
        .collect();
    assert!(matches!(told[..], [WriterEvent::StorageFull, WriterEvent::StorageFreed]), "{told:?}");
}

#[test]
fn a_checkpoint_on_a_full_disk_uses_the_reserve_and_makes_room() {
    let home = Home::new();
    let disk = SmallDisk::new(600 << 10);
    let (writer, _) = begin(&home, &disk, 1).unwrap();
    let thread = WriterThread::spawn(writer, |_| {}).unwrap();
    let (events, seen) = sync_channel(1000);
    let on_event = move |event| events.send(event).unwrap();
    let checkpointer = Checkpointer::spawn::<Sum>(thread.client(), None, on_event).unwrap();
    let mut next = 2;
    let mut submit_until = |reached: &dyn Fn(u64) -> bool| {
        until("submitted", || {
            if thread.admits(WriteClass::Command) && thread.submit(next, vec![command(next)]).is_ok() {
                next += 1;
            }
            reached(next)
        });
        next
    };
    let written = || {
        checkpointer.checkpoint_now();
        let event = seen.recv_timeout(DEADLINE).unwrap();
        assert!(matches!(event, CheckpointerEvent::Written(_)), "{event:?}");
    };
    submit_until(&|next| next > 1000);
    written();
    let next = submit_until(&|_| thread.storage_full());
    until("durable", || thread.durable_lsn() == next - 1);
    let free = disk.0.lock().unwrap().free();
    disk.0.lock().unwrap().taken = free;
    written();
    until("freed", || !thread.storage_full());
    checkpointer.stop();
    assert_eq!(thread.fence().unwrap().lsn, next - 1);
    assert_eq!(fold::<Sum>(&home.journal()).state.records, next - 1);
}
