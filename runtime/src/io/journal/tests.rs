use super::*;
use crate::lifetime::Lifetime;
use crate::span::StopReason;
use holdfast_shared::journal::WriterEvent;
use holdfast_shared::slot::Slot;
use proptest::prelude::*;
use serde_json::json;
use std::time::{Duration, Instant};

fn taker(epoch: u64, first: bool) -> Taker<'static> {
    Taker {
        epoch,
        first,
        slot: Slot::A,
        instance: "rt-a-test",
        release: "test",
        now_ms: 1,
        checkpoint_records: 10,
        queue_bytes: 1 << 20,
    }
}

fn act(life: &mut Lifetime, number: u8) {
    let task = ["a", "b"][usize::from(number & 1)];
    // Refusals are answers too; what matters is what was written.
    let _answer = match number >> 1 & 7 {
        0 | 1 => life.call("task.open", json!({"task": task, "skill": "command"})),
        2 | 3 => life.call("task.prompt", json!({"task": task, "text": "p", "queue": true})),
        4 => life.call("task.cancel", json!({"task": task})),
        5 => life.call("task.stop", json!({"task": task})),
        _ => {
            *life.outputs.entry(task.into()).or_default() += 1;
            life.seal(task, StopReason::EndTurn, None);
            life.start_queued(task);
            Ok(json!(null))
        }
    };
}

/// Takes over as soon as the predecessor's thread has let go of the lock.
fn take_over(following: &mut Following, folded: &mut Folded<State>, epoch: u64) -> Writing {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        match Writing::take_over(following, folded, None, &taker(epoch, epoch == 1)) {
            Ok(writing) => return writing,
            Err(JournalError::TakeOver(TakeOverError::Lock(_))) if Instant::now() < deadline => {
                std::thread::yield_now();
            }
            Err(error) => panic!("take over: {error}"),
        }
    }
}

fn wait_durable(writing: &mut Writing, lsn: u64) {
    while writing.durable() < lsn {
        match writing.events.blocking_recv() {
            Some(WriterEvent::Failed { error }) => panic!("{error}"),
            Some(_) => {}
            None => panic!("the writer is gone"),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    /// Each life begins with a take-over, from what its predecessor's crash left in a real journal; a follower
    /// looks on all the time. What was durable is there, in the same state, however often.
    #[test]
    fn live_state_is_what_the_next_one_finds_and_what_a_follower_has(
        lives in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..30), 1..5),
    ) {
        let home = tempfile::tempdir().expect("a directory");
        let dir = home.path().join("journal");
        let mut live = State::default();
        let mut on_looker = Following::open(&dir).expect("an absent journal is waited for");
        for (epoch, actions) in (1u64..).zip(&lives) {
            let (mut following, mut folded) = Following::open(&dir).expect("open");
            let mut writing = take_over(&mut following, &mut folded, epoch);
            prop_assert_eq!(&folded.state, &live, "recovered");
            let base = folded.position.lsn;
            let mut life = Lifetime::behind(folded.state.clone(), epoch * 1000);
            let mut written = 0;
            for number in actions {
                act(&mut life, *number);
                while written < life.records.len() {
                    writing.submit(&[&life.records[written]]).expect("submit");
                    written += 1;
                }
            }
            let end = base + written as u64;
            wait_durable(&mut writing, end);
            // The state names records by their LSN in the journal.
            let mut again = folded.state;
            for (lsn, record) in (base + 1..).zip(&life.records) {
                again.take(lsn, record);
            }
            live = again;
            // As a kill: nothing is said to anybody. The lock goes with the last descriptor.
            drop(writing);
            let (follower, seen) = (&mut on_looker.0, &mut on_looker.1);
            while seen.position.lsn < end {
                follower.step(seen, None).expect("follow");
            }
            prop_assert_eq!(&seen.state, &live, "followed");
        }
    }
}
