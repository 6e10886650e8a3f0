//! The longest time a client sees nothing of a busy turn, around each switch or crash and, in the same run, around
//! moments at which nothing happened.

use crate::options::{Options, What};
use crate::table::{Table, microseconds};
use hdrhistogram::Histogram;
use holdfast_tests::client::{Client, Since};
use holdfast_tests::node::{Node, Options as NodeOptions};
use holdfast_tests::work::{self, PacedTurn, conversation};
use holdfast_tests::{processes, wait};
use nix::sys::signal::Signal;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// Around one fault, or around nothing.
const WINDOW: Duration = Duration::from_millis(1500);
/// Connections opened at once.
const CONNECTING_AT_ONCE: usize = 50;
/// Each switch is measured after the one before has settled.
const SETTLED_DEADLINE: Duration = Duration::from_secs(30);

pub async fn measure(options: &Options) -> Table {
    let config = match options.standby.as_str() {
        "" => String::new(),
        standby => format!("standby = \"{standby}\"\n"),
    };
    let node = Rc::new(Node::up_with(&NodeOptions { config }));
    let channel = conversation("busy");
    let operator = work::client(&node, &[]);
    operator.ready().await;
    work::open_task(&operator, "busy").await;
    let paced = PacedTurn::every(node.scratch(), "0.008");
    work::prompt(&operator, "busy", &paced.command_line(), false).await.expect("an idle task");
    let (watchers, others) = sessions(&node, options, &channel).await;

    let (mut with, mut without, mut took) = (microseconds(), microseconds(), microseconds());
    for number in 1..=options.faults {
        settled(&node).await;
        window(&watchers, &channel, &mut without, async {}).await;
        let fault = async {
            let started = Instant::now();
            fault(&node, options.what).await;
            record(&mut took, started.elapsed());
        };
        window(&watchers, &channel, &mut with, fault).await;
        eprintln!("{number}/{}", options.faults);
    }
    paced.end();

    let what = if options.what == What::Switch { "switch" } else { "SIGKILL of the active" };
    let mut table = Table::new(format!(
        "longest gap on a busy turn per (session, fault): {} sessions, {} watching, {} faults, standby {:?}",
        options.sessions, options.watchers, options.faults, options.standby
    ));
    table.distribution(what, &with);
    table.distribution("nothing (same run, same windows)", &without);
    if options.what == What::Switch {
        table.distribution("the command `holdfast switch`", &took);
    }
    let dropped: usize =
        watchers.iter().chain(&others).map(|client| client.observed(|seen| seen.disconnects.len())).sum();
    let complaints: usize =
        watchers.iter().chain(&others).map(|client| client.observed(|seen| seen.complaints().len())).sum();
    table.note(format!("connections dropped: {dropped}; gaps, repeats and other complaints: {complaints}"));
    table
}

async fn sessions(node: &Node, options: &Options, channel: &str) -> (Vec<Client>, Vec<Client>) {
    let (mut watchers, mut others) = (Vec::new(), Vec::new());
    for number in 0..options.sessions {
        if number < options.watchers {
            watchers.push(work::client(node, &[(channel, Since::Now)]));
        } else {
            others.push(work::client(node, &[("node", Since::Now)]));
        }
        if (number + 1) % CONNECTING_AT_ONCE == 0 {
            for client in watchers.iter().chain(&others) {
                client.ready().await;
            }
        }
    }
    for client in watchers.iter().chain(&others) {
        client.ready().await;
    }
    (watchers, others)
}

/// The update is idle again, so that the next switch is not refused and nothing else runs.
async fn settled(node: &Node) {
    let ends = Instant::now() + SETTLED_DEADLINE;
    loop {
        node.active().await;
        let status = node.status_async().await.unwrap_or_default();
        let ended = ["idle", "succeeded", "failed", "rolled_back"];
        if status["update"]["state"].as_str().is_some_and(|state| ended.contains(&state)) {
            return;
        }
        assert!(Instant::now() < ends, "not settled: {status}");
        wait::pass(Duration::from_millis(50)).await;
    }
}

async fn fault(node: &Node, what: What) {
    if what == What::Switch {
        node.switch().await.expect("a switch");
    } else {
        processes::signal(node.active().await.1, Signal::SIGKILL);
    }
}

/// Runs `event` at the beginning of a window and records each watcher's longest gap in it.
async fn window(
    watchers: &[Client],
    channel: &str,
    gaps: &mut Histogram<u64>,
    event: impl Future<Output = ()>,
) {
    watchers.iter().for_each(|client| client.forget_gaps(channel));
    tokio::join!(event, wait::pass(WINDOW));
    for client in watchers {
        // Past the window, everybody has an event again: a gap that is still open is counted too.
        let before = client.observed(|seen| seen.channel(channel).offset);
        client.wait("the turn goes on", SETTLED_DEADLINE, |seen| seen.channel(channel).offset > before).await;
        record(gaps, client.observed(|seen| seen.channel(channel).longest_gap));
    }
}

fn record(histogram: &mut Histogram<u64>, time: Duration) {
    histogram.saturating_record(u64::try_from(time.as_micros()).unwrap_or(u64::MAX).max(1));
}
