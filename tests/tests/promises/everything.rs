//! All promises at once: hundreds of watchers of one long turn, commands all along, faults at random moments.

use holdfast_tests::client::{Client, Since, text_of};
use holdfast_tests::faults::{Fault, Moments, plan};
use holdfast_tests::node::Node;
use holdfast_tests::processes;
use holdfast_tests::work::{self, PacedTurn, SEALED_DEADLINE, conversation};
use holdfast_tests::{run, wait};
use nix::sys::signal::Signal;
use serde_json::json;
use std::cell::Cell;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, Instant};

const WATCHERS: usize = 200;
const SWITCHES: usize = 20;
const KILLS: usize = 10;
const STOPS: usize = 5;
/// Between two faults: with 35 of them and what each takes, about two minutes in all.
const PAUSE_LEAST: Duration = Duration::from_millis(500);
const PAUSE_MOST: Duration = Duration::from_millis(5500);
/// A stopped runtime is continued after so long: sometimes before it is found silent (3 s), sometimes after.
const STOPPED_LEAST: Duration = Duration::from_millis(500);
const STOPPED_MOST: Duration = Duration::from_millis(6000);
/// A switch that a kill got in the way of is asked for again; each may be hit by several kills at most.
const SWITCH_TRIES: usize = 12;
/// Between two commands of the sender.
const COMMAND_PAUSE: Duration = Duration::from_millis(150);

/// 20 switches, 10 SIGKILLs and 5 SIGSTOPs of the active runtime: 200 watchers see the turn once and in order
/// without losing their sockets, and each of the commands sent meanwhile has happened exactly once.
#[test]
fn held_durable_gapless_through_switches_kills_and_stops() {
    run(async {
        let node = Rc::new(Node::up());
        let mut moments = Moments::new("everything");
        let operator = work::client(&node, &[("tasks", Since::Start)]);
        operator.ready().await;
        work::open_task(&operator, "busy").await;
        work::open_task(&operator, "count").await;
        let paced = PacedTurn::new(node.scratch());
        let turn = work::prompt(&operator, "busy", &paced.command_line(), false).await.expect("an idle task");
        let channel = conversation("busy");
        let watchers: Vec<Client> = (1..WATCHERS)
            .map(|_| work::client(&node, &[(&channel, Since::Start), ("node", Since::Now)]))
            .collect();
        let witness = work::recorder(&node, &[(&channel, Since::Start)]);
        for watcher in watchers.iter().chain([&witness]) {
            watcher.ready().await;
        }

        let sender = Sender::start(&node);
        let faults = plan(
            &mut moments,
            &[(Fault::Switch, SWITCHES), (Fault::KillActive, KILLS), (Fault::StopActive, STOPS)],
        );
        let mut switching = tokio::task::spawn_local(async {});
        for fault in &faults {
            wait::pass(moments.between(PAUSE_LEAST, PAUSE_MOST)).await;
            match fault {
                // Runs beside the next fault, so that kills and stops also come in the middle of a switch.
                Fault::Switch => {
                    switching.await.expect("the switch before came to its end");
                    switching = tokio::task::spawn_local(switch_until_done(node.clone()));
                }
                _ => hit(&node, *fault, &mut moments).await,
            }
        }
        switching.await.expect("the last switch came to its end");
        node.active().await;
        let sent = sender.finish().await;
        paced.end();

        witness
            .wait("the turn is sealed", SEALED_DEADLINE, |seen| {
                work::sealed(&seen.channel(&channel).events, &turn)
            })
            .await;
        let (top, expected, text) = witness.observed(|seen| {
            let seen = seen.channel(&channel);
            (seen.offset, seen.digests.clone(), text_of(&seen.events, &turn))
        });
        let lines = work::check_paced(&text).expect("every line of the turn, once and in order");
        println!("{} faults, {lines} lines, {top} events, {sent} commands", faults.len());
        for watcher in watchers.iter().chain([&witness, &operator]) {
            watcher
                .wait("the whole turn", SEALED_DEADLINE, |seen| {
                    seen.channels.get(&channel).is_none_or(|seen| seen.offset >= top)
                })
                .await;
            watcher.observed(|seen| {
                assert_eq!(seen.disconnects, Vec::<String>::new(), "held: a socket was closed");
                assert_eq!(seen.complaints(), Vec::<String>::new(), "gapless");
                assert!(
                    seen.channels.get(&channel).is_none_or(|seen| seen.digests == expected),
                    "another sequence"
                );
            });
        }
    });
}

async fn switch_until_done(node: Rc<Node>) {
    let mut refusals = Vec::new();
    while refusals.len() < SWITCH_TRIES {
        match node.switch().await {
            Ok(()) => return,
            Err(refusal) => refusals.push(refusal),
        }
        node.active().await;
    }
    panic!("{SWITCH_TRIES} switches in a row failed: {refusals:#?}");
}

async fn hit(node: &Node, fault: Fault, moments: &mut Moments) {
    let (slot, pid) = node.active().await;
    println!("{fault:?} slot {slot} pid {pid}");
    match fault {
        Fault::KillActive => processes::signal(pid, Signal::SIGKILL),
        Fault::StopActive => {
            processes::signal(pid, Signal::SIGSTOP);
            wait::pass(moments.between(STOPPED_LEAST, STOPPED_MOST)).await;
            processes::signal(pid, Signal::SIGCONT);
        }
        Fault::KillSupervisor | Fault::Switch => unreachable!("not planned here"),
    }
}

/// Sends commands all along: each appends its number to a file, so that twice and never both show.
struct Sender {
    stop: Rc<Cell<bool>>,
    task: tokio::task::JoinHandle<u64>,
    file: PathBuf,
    client: Rc<Client>,
}

impl Sender {
    fn start(node: &Node) -> Sender {
        let file = node.scratch().join("effects");
        let client = Rc::new(work::recorder(node, &[(&conversation("count"), Since::Now)]));
        let stop = Rc::new(Cell::new(false));
        let task = tokio::task::spawn_local(send(client.clone(), file.clone(), stop.clone()));
        Sender { stop, task, file, client }
    }

    /// Stops sending, waits until every command has had its effect, and counts the effects.
    async fn finish(self) -> u64 {
        self.stop.set(true);
        let sent = self.task.await.expect("the sender came to its end");
        let channel = conversation("count");
        self.client
            .wait("every turn is sealed", SEALED_DEADLINE, |seen| {
                let events = &seen.channel(&channel).events;
                events.iter().filter(|event| event["type"] == "turn.sealed").count() as u64 >= sent
            })
            .await;
        let effects = std::fs::read_to_string(&self.file).expect("effects");
        let seen: Vec<u64> = effects.lines().filter_map(|line| line.parse().ok()).collect();
        assert_eq!(
            seen,
            (1..=sent).collect::<Vec<_>>(),
            "durable: each command exactly once, first in first out"
        );
        self.client.observed(|seen| {
            assert_eq!(seen.disconnects, Vec::<String>::new());
            assert_eq!(seen.complaints(), Vec::<String>::new());
        });
        sent
    }
}

async fn send(client: Rc<Client>, file: PathBuf, stop: Rc<Cell<bool>>) -> u64 {
    client.ready().await;
    let mut sent = 0;
    while !stop.get() {
        let text = format!("echo {} >> '{}'", sent + 1, file.display());
        let asked = Instant::now();
        // BUSY (sixteen are queued) is temporary: the same command is sent again under its id.
        let answer =
            client.command("task.prompt", json!({"task": "count", "text": text, "queue": true})).await;
        assert!(answer.is_ok(), "{answer:?}");
        sent += 1;
        wait::pass(COMMAND_PAUSE.saturating_sub(asked.elapsed())).await;
    }
    sent
}
