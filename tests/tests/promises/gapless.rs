//! gapless: every subscriber sees every event of a channel once and in order, whenever it came and however it reads.

use holdfast_shared::spool::{Control, Flushed, SpoolWriter, Stream};
use holdfast_shared::worker::{EndedBy, Exit, ExitStatus, WorkerState};
use holdfast_tests::client::{Client, Since, text_of};
use holdfast_tests::faults::Moments;
use holdfast_tests::node::Node;
use holdfast_tests::work::{self, PacedTurn, SEALED_DEADLINE, conversation};
use holdfast_tests::{processes, run, wait};
use nix::sys::signal::Signal;
use std::path::PathBuf;
use std::time::Duration;

const CUT: &str = "cut by the test";

async fn all_see_the_same(clients: &[Client], channel: &str, turn: &str, recorder: &Client) {
    recorder.wait("sealed", SEALED_DEADLINE, |seen| work::sealed(&seen.channel(channel).events, turn)).await;
    let (top, expected) =
        recorder.observed(|seen| (seen.channel(channel).offset, seen.channel(channel).digests.clone()));
    for client in clients {
        client.wait("the whole turn", SEALED_DEADLINE, |seen| seen.channel(channel).offset >= top).await;
        client.observed(|seen| {
            assert_eq!(seen.complaints(), Vec::<String>::new());
            assert!(seen.disconnects.iter().all(|reason| reason == CUT), "{:?}", seen.disconnects);
            assert!(seen.channel(channel).digests == expected, "another sequence");
        });
    }
}

/// Watchers join at random moments of a turn, lose their connections, and recover, over switches and kills.
#[test]
fn gapless_for_late_joiners_and_cut_connections() {
    run(async {
        let node = Node::up();
        let mut moments = Moments::new("late joiners");
        let channel = conversation("t");
        let operator = work::client(&node, &[]);
        operator.ready().await;
        work::open_task(&operator, "t").await;
        let recorder = work::recorder(&node, &[(&channel, Since::Start)]);
        recorder.ready().await;
        let paced = PacedTurn::every(node.scratch(), "0.005");
        let turn = work::prompt(&operator, "t", &paced.command_line(), false).await.expect("accepted");
        let mut watchers: Vec<Client> = Vec::new();
        for round in 0..60_u32 {
            wait::pass(moments.between(Duration::from_millis(10), Duration::from_millis(200))).await;
            watchers.push(work::client(&node, &[(&channel, Since::Start)]));
            let chosen = usize::try_from(moments.below(watchers.len() as u64)).expect("small");
            watchers[chosen].cut().await;
            if round % 20 == 9 {
                node.switch().await.expect("a switch");
            }
            if round % 20 == 19 {
                processes::signal(node.active().await.1, Signal::SIGKILL);
            }
        }
        paced.end();
        all_see_the_same(&watchers, &channel, &turn, &recorder).await;
        let after = work::client(&node, &[(&channel, Since::Start)]);
        all_see_the_same(&[after], &channel, &turn, &recorder).await;
    });
}

/// A reader that stands still in the middle of a flood delays nobody, and has everything in the end.
#[test]
fn gapless_for_a_slow_reader_who_delays_nobody() {
    run(async {
        let node = Node::up();
        let channel = conversation("t");
        let operator = work::client(&node, &[]);
        operator.ready().await;
        work::open_task(&operator, "t").await;
        let recorder = work::recorder(&node, &[(&channel, Since::Start)]);
        let slow: Vec<Client> = (0..5).map(|_| work::client(&node, &[(&channel, Since::Start)])).collect();
        for client in slow.iter().chain([&recorder]) {
            client.ready().await;
        }
        for client in &slow {
            client.pause(Duration::from_secs(8)).await;
        }
        // 24 MB: past every socket's buffer and the channel's hot tail.
        let line = "seq 1 3000000";
        let turn = work::prompt(&operator, "t", line, false).await.expect("accepted");
        recorder
            .wait("sealed", SEALED_DEADLINE, |seen| work::sealed(&seen.channel(&channel).events, &turn))
            .await;
        let text = recorder.observed(|seen| text_of(&seen.channel(&channel).events, &turn));
        assert_eq!(text.lines().count(), 3_000_000);
        assert!(
            text.lines().zip(1_u64..).all(|(line, number)| line.parse() == Ok(number)),
            "a line is wrong"
        );
        all_see_the_same(&slow, &channel, &turn, &recorder).await;
    });
}

/// What the late joiners' turn has said before anybody looks, and after.
const EVENTS_BEFORE: u64 = 60_000;
const EVENTS: u64 = 100_000;

/// A turn of 100,000 events, its spool written by this test in the holder's place: joiners that come late, while it
/// grows, over a switch and a crash, and after its end, all see every event once.
#[test]
fn gapless_for_late_joiners_of_a_hundred_thousand_events() {
    run(async {
        let mut node = Node::up();
        let operator = work::client(&node, &[]);
        operator.ready().await;
        work::open_task(&operator, "t").await;
        let paced = PacedTurn::every(node.scratch(), "1");
        let silent = format!("( {} ) > /dev/null", paced.command_line());
        let turn = work::prompt(&operator, "t", &silent, false).await.expect("accepted");
        let worker = wait::until("a started worker", Duration::from_secs(20), || started_worker(&node)).await;
        drop(operator);
        node.kill_everything();

        let mut spool = SpoolWriter::create(&worker, &turn).expect("its holder is dead");
        say(&mut spool, EVENTS_BEFORE);
        node.up_again().unwrap_or_else(|failed| panic!("{failed:?}"));
        let channel = conversation("t");
        let recorder = work::recorder(&node, &[(&channel, Since::Start)]);
        let mut joiners = Vec::new();
        for piece in 1..=20 {
            joiners.push(work::client(&node, &[(&channel, Since::Start)]));
            say(&mut spool, EVENTS_BEFORE + (EVENTS - EVENTS_BEFORE) / 20 * piece);
            match piece {
                7 => node.switch().await.expect("a switch"),
                14 => processes::signal(node.active().await.1, Signal::SIGKILL),
                // The next one joins further behind.
                _ => joiners[piece as usize - 1].ready().await,
            }
        }
        spool.control(&Control::Exit(Exit {
            status: ExitStatus::Code(0),
            final_seq: spool.outputs(),
            ended_by: EndedBy::Worker,
        }));
        assert_eq!(spool.flush().expect("written"), Flushed::Done);
        assert_eq!(spool.sync().expect("synced"), Flushed::Done);
        drop(spool);
        joiners.push(work::client(&node, &[(&channel, Since::Start)]));
        all_see_the_same(&joiners, &channel, &turn, &recorder).await;
        let text = recorder.observed(|seen| text_of(&seen.channel(&channel).events, &turn));
        assert_eq!(text.lines().count() as u64, EVENTS);
        assert!(
            text.lines().zip(1_u64..).all(|(line, number)| line == format!("event {number}")),
            "a line is wrong"
        );
        recorder.observed(|seen| {
            assert_eq!(seen.channel(&channel).offset, EVENTS + 2, "started, outputs, sealed")
        });
    });
}

fn started_worker(node: &Node) -> Option<PathBuf> {
    let mut directories = std::fs::read_dir(node.home().workers()).ok()?.flatten().map(|entry| entry.path());
    directories.find(|path| matches!(WorkerState::read(path), Ok(WorkerState::Alive(Some(_)))))
}

/// Writes records up to this many.
fn say(spool: &mut SpoolWriter, up_to: u64) {
    for number in spool.outputs() + 1..=up_to {
        spool.output(Stream::Stdout, false, format!("event {number}\n").as_bytes());
    }
    assert_eq!(spool.flush().expect("written"), Flushed::Done);
}
