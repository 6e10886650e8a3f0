//! Failing writes and syncs: nothing more is written, nothing answered is lost, the next writer goes on.

use crate::faulty_disk::{FaultyDisk, Plan};
use crate::support::*;
use holdfast_shared::journal::*;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::sync_channel;

const ENOSPC: i32 = 28;

#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error(transparent)]
    TakeOver(#[from] TakeOverError),
    #[error(transparent)]
    Write(#[from] WriteError),
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
}

/// Writes, rotates, checkpoints, fences and takes over; `answered` is the last LSN that was said to be durable.
fn script(dir: &Path, plan: &Arc<Plan>, answered: &mut u64) -> Result<(), Failed> {
    for epoch in 1..=2 {
        let disk = Arc::new(FaultyDisk(plan.clone()));
        let request = Request { first: !inspect(dir).unwrap().exists, ..request(epoch) };
        let (mut writer, taken) = TakeOver::begin(dir, disk, request)?;
        *answered = taken.last.lsn;
        let mut write = |writer: &mut Writer| -> Result<(), WriteError> {
            for value in 0..3 {
                let written = writer.append(&[add(value), add(value)]).and_then(|_| writer.sync());
                match written {
                    Ok(last) => *answered = last.lsn,
                    Err(error) => {
                        assert!(matches!(writer.append(&[add(0)]), Err(WriteError::Poisoned)));
                        assert!(matches!(writer.sync(), Err(WriteError::Poisoned)));
                        assert!(!writer.admits(reserve::WriteClass::Essential));
                        return Err(error);
                    }
                }
            }
            Ok(())
        };
        write(&mut writer)?;
        checkpoint_inline(&mut writer, &fold::<Sum>(dir), None)?;
        write(&mut writer)?;
        *answered = writer.fence()?.lsn;
    }
    Ok(())
}

fn fails_at(nth: u64, errno: i32) -> (Result<(), Failed>, Arc<Plan>) {
    let home = Home::new();
    let dir = home.journal();
    let plan = Arc::new(Plan::default());
    plan.fail_at.store(nth, Ordering::SeqCst);
    plan.errno.store(errno, Ordering::SeqCst);
    let mut answered = 0;
    let outcome = script(&dir, &plan, &mut answered);
    let found = inspect(&dir).unwrap();
    assert!(found.end.lsn >= answered, "change {nth}: {} answered, {found:?}", answered);
    let request = Request { first: !found.exists, ..request(9) };
    let (mut writer, taken) = TakeOver::begin(&dir, real(), request).unwrap();
    assert!(taken.before.lsn >= answered);
    writer.append(&[add(1)]).unwrap();
    writer.sync().unwrap();
    let folded = fold::<Sum>(&dir);
    assert_eq!(folded.state.records, folded.position.lsn, "change {nth}: the fold has every record once");
    (outcome, plan)
}

#[test]
fn an_error_at_any_change_ends_the_writer_and_loses_nothing_answered() {
    let (clean, plan) = fails_at(0, 0);
    clean.unwrap();
    let (changes, mut failures) = (plan.changes(), 0);
    for nth in 1..=changes {
        let (outcome, plan) = fails_at(nth, 0);
        assert_eq!(plan.failed.load(Ordering::SeqCst), 1);
        failures += u64::from(outcome.is_err());
    }
    // What only tidies up may fail unnoticed: the mark at a fence, giving blocks back, removing leftovers.
    assert!(changes > 50 && failures > changes * 3 / 5, "{failures} of {changes}");
}

#[test]
fn a_full_disk_at_any_single_change_loses_nothing_answered() {
    let (clean, plan) = fails_at(0, ENOSPC);
    clean.unwrap();
    for nth in 1..=plan.changes() {
        let (_, plan) = fails_at(nth, ENOSPC);
        assert_eq!(plan.failed.load(Ordering::SeqCst), 1);
    }
}

#[test]
fn short_writes_are_completed() {
    for limit in [1, 2, 7, 47, 48, 49, 1000] {
        let home = Home::new();
        let plan = Arc::new(Plan::default());
        plan.short_writes.store(limit, Ordering::SeqCst);
        let mut answered = 0;
        script(&home.journal(), &plan, &mut answered).unwrap();
        assert_eq!(fold::<Sum>(&home.journal()).state.records, answered);
    }
}

#[test]
fn the_thread_reports_a_failure_last_and_gives_the_lock_back() {
    let home = Home::new();
    let dir = home.journal();
    for fail_after in 1..=6 {
        let plan = Arc::new(Plan::default());
        let epoch = fail_after;
        let first = !dir.exists();
        let disk = Arc::new(FaultyDisk(plan.clone()));
        let (writer, taken) = TakeOver::begin(&dir, disk, Request { first, ..request(epoch) }).unwrap();
        let (events, seen) = sync_channel(1000);
        let thread = WriterThread::spawn(writer, move |event| events.send(event).unwrap()).unwrap();
        plan.fail_at.store(plan.changes() + fail_after, Ordering::SeqCst);
        let mut next = taken.last.lsn + 1;
        let gone = loop {
            match thread.submit(next, vec![add(next)]) {
                Ok(()) => next += 1,
                Err(error) => break error,
            }
            until("answered or failed", || {
                thread.durable_lsn() == next - 1 || plan.failed.load(Ordering::SeqCst) == 1
            });
        };
        assert!(matches!(gone, SubmitError::Gone));
        let durable = thread.durable_lsn();
        assert_eq!(thread.fence(), Err(FenceError));
        let events: Vec<_> = seen.iter().collect();
        assert!(
            matches!(events.last(), Some(WriterEvent::Failed { error: WriteError::Disk(_) })),
            "{events:?}"
        );
        let answered = events.iter().filter_map(|event| match event {
            WriterEvent::Durable { lsn } => Some(*lsn),
            _ => None,
        });
        assert_eq!(answered.max().unwrap_or(taken.last.lsn), durable);
        assert!(inspect(&dir).unwrap().end.lsn >= durable);
    }
}
