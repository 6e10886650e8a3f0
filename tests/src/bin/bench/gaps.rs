//! The longest time a client sees nothing of a busy turn, around each switch or crash and, in the same run, around
//! moments at which nothing happened.

use crate::ended;
use crate::options::{Options, What};
use crate::releases::Releases;
use crate::table::{Table, microseconds};
use hdrhistogram::Histogram;
use holdfast_tests::client::{Client, Observed, Since};
use holdfast_tests::node::{Node, Options as NodeOptions, told};
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
/// Indexes of a million records are made within that time.
const CALM_DEADLINE: Duration = Duration::from_secs(180);
/// Over this time ...
const CALM_LOOK: Duration = Duration::from_secs(1);
/// ... at most so many hundredths of a second of a core are used,
const CALM_TICKS: u64 = 10;
/// so many times in a row.
const CALM_LOOKS: u32 = 4;

/// What was measured, each over (session, fault) pairs.
struct Measured {
    /// Longest gaps of the watchers around faults.
    with: Histogram<u64>,
    /// The same around nothing.
    without: Histogram<u64>,
    /// From a fault's beginning until a `node` session has heard of it.
    news: Histogram<u64>,
    /// `node` sessions that heard nothing in a fault's window.
    unheard: usize,
    /// How long the command took.
    took: Histogram<u64>,
}

/// What no session should have seen.
struct Complaints {
    dropped_watchers: usize,
    dropped_others: usize,
    complaints: usize,
}

fn count(clients: &[Client], of: impl Fn(&Observed) -> usize) -> usize {
    clients.iter().map(|client| client.observed(&of)).sum()
}

pub async fn measure(options: &Options, print: impl FnOnce(Table)) {
    let (node, records) = node(options);
    prepared(&node, options).await;
    let releases = (options.what == What::Update).then(|| Releases::pack(&node, options.faults));
    let channel = conversation("busy");
    let operator = work::client(&node, &[]);
    operator.ready().await;
    work::open_task(&operator, "busy").await;
    let paced = PacedTurn::every(node.scratch(), "0.008");
    work::prompt(&operator, "busy", &paced.command_line(), false).await.expect("an idle task");
    let (watchers, others) = sessions(&node, options, &channel).await;

    let mut measured = Measured {
        with: microseconds(),
        without: microseconds(),
        news: microseconds(),
        unheard: 0,
        took: microseconds(),
    };
    for number in 1..=options.faults {
        settled(&node, options).await;
        window(&watchers, &channel, &mut measured.without, async {}).await;
        others.iter().for_each(|client| client.forget_gaps("node"));
        // Whom it hits is asked before the time runs.
        let active = node.active().await.1;
        let began = Instant::now();
        let fault = async {
            match (options.what, &releases) {
                (What::Update, Some(releases)) => releases.update(&node, number).await,
                (What::Switch, _) => node.switch().await.expect("a switch"),
                _ => processes::signal(active, Signal::SIGKILL),
            }
            record(&mut measured.took, began.elapsed());
        };
        window(&watchers, &channel, &mut measured.with, fault).await;
        for client in &others {
            match client.observed(|seen| seen.channel("node").first_at) {
                Some(first) => record(&mut measured.news, first.duration_since(began)),
                None => measured.unheard += 1,
            }
        }
        eprintln!("{number}/{}: {}", options.faults, worst(&watchers, &channel, began));
    }
    paced.end();
    let seen = Complaints {
        dropped_watchers: count(&watchers, |seen| seen.disconnects.len()),
        dropped_others: count(&others, |seen| seen.disconnects.len()),
        complaints: count(&watchers, |seen| seen.complaints().len())
            + count(&others, |seen| seen.complaints().len()),
    };
    print(table(options, records, &measured, &seen));
}

/// The longest gap after a fault, and when it began.
fn worst(watchers: &[Client], channel: &str, began: Instant) -> String {
    let gaps = watchers.iter().map(|client| {
        client.observed(|seen| (seen.channel(channel).longest_gap, seen.channel(channel).longest_gap_at))
    });
    let (gap, at) = gaps.max().unwrap_or_default();
    let at = at.map(|at| at.saturating_duration_since(began)).unwrap_or_default();
    format!("at most {:.1} ms, {:.0} ms after it began", ms(gap), ms(at))
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// A running node, with as many records of ended turns in its journal as are wished for.
fn node(options: &Options) -> (Rc<Node>, u64) {
    let mut config = format!("standby = \"{}\"\n", options.standby);
    if options.what == What::Update {
        config += crate::releases::AT_ONCE;
    }
    let mut node = Node::up_with(&NodeOptions { config });
    let mut records = 0;
    if options.records > 0 {
        let stopped = node.holdfast(&["stop"]);
        assert!(stopped.status.success(), "{}", told(&stopped));
        records = ended::fill(node.home(), options.records);
        // Hundreds of thousands of new files: what the system still has to write of them is not the node's doing.
        nix::unistd::sync();
        node.up_again().unwrap_or_else(|failed| panic!("{failed:?}"));
    }
    (Rc::new(node), records)
}

fn table(options: &Options, records: u64, measured: &Measured, seen: &Complaints) -> Table {
    let what = match options.what {
        What::Switch => "switch",
        What::Update => "update",
        _ => "SIGKILL of the active",
    };
    let mut table = Table::new(format!(
        "{what}: {} sessions, {} of them watching a busy turn, the others `node`; {} faults, standby {}, \
         {records} records of ended turns in the journal",
        options.sessions, options.watchers, options.faults, options.standby
    ));
    table.figure("records", records as f64);
    table.distribution("watchers: longest gap around the fault", &measured.with);
    table.distribution("watchers: the same, around nothing", &measured.without);
    table.distribution("`node` sessions: until the first event", &measured.news);
    match options.what {
        What::Switch => table.distribution("the command `holdfast switch`", &measured.took),
        What::Update => table.distribution("the command `holdfast update FILE`", &measured.took),
        _ => {}
    }
    table.note(format!(
        "connections dropped: {} of watchers, {} of `node` sessions; gaps, repeats and other complaints: {}",
        seen.dropped_watchers, seen.dropped_others, seen.complaints
    ));
    if measured.unheard > 0 {
        table.note(format!("`node` sessions without an event in a fault's window: {}", measured.unheard));
    }
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

/// The update is idle again and a wished standby is warm, so that the next switch is not refused and nothing else
/// runs.
async fn settled(node: &Node, options: &Options) {
    let ends = Instant::now() + SETTLED_DEADLINE;
    loop {
        node.active().await;
        let status = node.status_async().await.unwrap_or_default();
        let ended = ["idle", "succeeded", "failed", "rolled_back"];
        let idle = status["update"]["state"].as_str().is_some_and(|state| ended.contains(&state));
        let warm = options.standby != "warm" || status["candidate"]["ready"] == true;
        if idle && warm {
            return;
        }
        assert!(Instant::now() < ends, "not settled: {status}");
        wait::pass(Duration::from_millis(50)).await;
    }
}

/// A node that has had its records for long has its indexes: each slot's runtime makes its own when it finds none.
async fn prepared(node: &Node, options: &Options) {
    if options.records == 0 {
        return;
    }
    for _ in 0..2 {
        settled(node, options).await;
        calm(node).await;
        node.switch().await.expect("a switch");
    }
    settled(node, options).await;
    calm(node).await;
    nix::unistd::sync();
}

/// None of the node's processes has much to do, for so long that what begins late has ended, too.
async fn calm(node: &Node) {
    let ends = Instant::now() + CALM_DEADLINE;
    let mut calm = 0;
    while calm < CALM_LOOKS {
        let before = processes::processor_ticks_below(node.home().path());
        wait::pass(CALM_LOOK).await;
        let used = processes::processor_ticks_below(node.home().path()).saturating_sub(before);
        calm = if used <= CALM_TICKS { calm + 1 } else { 0 };
        assert!(Instant::now() < ends, "the node is not calm: {used} ticks in {CALM_LOOK:?}");
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
    // Past the window, everybody has an event again: a gap that is still open is counted too. Where each stands is
    // looked at before anybody is waited for, else each would be waited for in turn.
    let offset = |seen: &Observed| seen.channel(channel).offset;
    let before: Vec<u64> = watchers.iter().map(|client| client.observed(offset)).collect();
    for (client, before) in watchers.iter().zip(before) {
        client.wait("the turn goes on", SETTLED_DEADLINE, |seen| offset(seen) > before).await;
        record(gaps, client.observed(|seen| seen.channel(channel).longest_gap));
    }
}

fn record(histogram: &mut Histogram<u64>, time: Duration) {
    histogram.saturating_record(u64::try_from(time.as_micros()).unwrap_or(u64::MAX).max(1));
}
