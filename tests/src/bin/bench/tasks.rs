//! Tasks of the demo agent: how long it takes until one of many is ready, warm and cold, beside the start of such an
//! agent by itself; a long turn joined late; a flood of lines to many watchers; what holders take of memory.

mod alone;
mod joiner;

use crate::options::Options;
use crate::table::{Table, microseconds};
use hdrhistogram::Histogram;
use holdfast_tests::agents;
use holdfast_tests::client::{Client, Since, text_of};
use holdfast_tests::faults::Moments;
use holdfast_tests::node::{Node, Options as NodeOptions};
use holdfast_tests::work::{self, conversation};
use holdfast_tests::{processes, wait};
use serde_json::json;
use std::io::Write;
use std::time::{Duration, Instant};

/// Argument with which this program writes lines at a rate.
pub const LINES: &str = "write-lines";
/// The flood goes on for so long.
const FLOOD: Duration = Duration::from_secs(5);
const FLOOD_RATE: u64 = 20_000;
const FLOOD_WATCHERS: usize = 100;
/// Lines are written in so many pieces a second.
const PIECES: u64 = 100;
/// Events of the turn that is joined late, and how often that is done.
const LONG_TURN: u64 = 10_000;
const JOINS: usize = 20;
/// Channels that one session has: below the sidecar's 128.
const CHANNELS: usize = 100;
/// One step of a preparation, or the end of a turn.
const STEP_DEADLINE: Duration = Duration::from_secs(120);

/// Between paced switches: processors rest meanwhile, as they do where a person switches, and waking up takes its time.
const PACE: Duration = Duration::from_millis(20);
/// What we want (issue 4): milliseconds, and MiB.
const WARM_P99_MS: f64 = 5.0;
const COLD_SHARE_P99_MS: f64 = 20.0;
const REPLAY_MS: f64 = 250.0;
const HOLDER_MIB: f64 = 3.0;

pub async fn measure(options: &Options, print: impl FnOnce(Table)) {
    let mut table =
        Table::new(format!("{} tasks of the demo agent, {} of them warm", options.tasks, options.warm));
    let config = format!("[runtime]\nwarm_workers = {}\n", options.warm);
    let node = Node::up_with(&NodeOptions { config });
    let operator = work::client(&node, &[]);
    operator.ready().await;
    fill(&node, &operator, options).await;
    switches(&node, options, &mut table).await;
    let memory = holders(&node);
    long_turn(&node, &operator, &mut table).await;
    flood(&node, &operator, &mut table).await;
    table.note(wanted("anonymous memory of a holder, MiB at most", memory, HOLDER_MIB));
    table.figure("holder_anonymous_mib", memory);
    print(table);
}

fn name(task: usize) -> String {
    format!("t{task}")
}

/// Opens all tasks and lets each have a session.
async fn fill(node: &Node, operator: &Client, options: &Options) {
    for task in 0..options.tasks {
        let name = name(task);
        agents::open(operator, &name, "demo").await;
        let watcher = work::recorder(node, &[(&conversation(&name), Since::Start)]);
        let turn =
            work::prompt(operator, &name, &format!("remember {task}"), false).await.expect("an idle task");
        agents::wait_for(&watcher, &name, &turn, "turn.sealed").await;
        if (task + 1) % 50 == 0 {
            eprintln!("{}/{} tasks have a session", task + 1, options.tasks);
        }
    }
}

/// Warm switches among the tasks used last, cold ones through all others, each cold one beside an agent alone.
async fn switches(node: &Node, options: &Options, table: &mut Table) {
    let names: Vec<String> = (0..options.tasks).map(|task| format!("task:{}", name(task))).collect();
    let listener = |names: &[String]| {
        let channels: Vec<(&str, Since)> = names.iter().map(|name| (name.as_str(), Since::Now)).collect();
        work::recorder(node, &channels)
    };
    let clients: Vec<Client> = names.chunks(CHANNELS).map(listener).collect();
    for client in &clients {
        client.ready().await;
    }
    let mut moments = Moments::new("bench tasks");
    let (mut warm, mut paced) = (microseconds(), microseconds());
    let (mut cold, mut alone) = (microseconds(), microseconds());
    let first_warm = options.tasks - options.warm.min(options.tasks);
    let mut focus = options.tasks - 1;
    for (pace, of) in [(None, &mut warm), (Some(PACE), &mut paced)] {
        for _ in 0..options.switches {
            let mut task = focus;
            while task == focus {
                task = first_warm + usize::try_from(moments.below(options.warm as u64)).unwrap_or(0);
            }
            focus = task;
            of.saturating_record(switch(&clients, task).await);
            if let Some(pace) = pace {
                wait::pass(pace).await;
            }
        }
    }
    // One after the other through all: each was used longest ago, and so is cold.
    for number in 0..options.switches {
        alone.saturating_record(alone::start_and_load());
        cold.saturating_record(switch(&clients, number % options.tasks).await);
        if (number + 1) % 50 == 0 {
            eprintln!("{}/{} cold switches", number + 1, options.switches);
        }
    }
    table.distribution("warm, one after the other: switch to ready", &warm);
    table.distribution("warm, 50 a second: switch to ready", &paced);
    table.distribution("cold: task.switch to task.ready", &cold);
    table.distribution("an agent alone: start to session/load", &alone);
    let p99 = |of: &Histogram<u64>| of.value_at_quantile(0.99) as f64 / 1000.0;
    table.note(wanted("warm switch p99, one right after the other, ms", p99(&warm), WARM_P99_MS));
    table.note(wanted("warm switch p99, 50 a second, ms", p99(&paced), WARM_P99_MS));
    table.note(wanted("our share of a cold resume p99, ms", p99(&cold) - p99(&alone), COLD_SHARE_P99_MS));
}

/// Switches to a task; microseconds until it is ready.
async fn switch(clients: &[Client], task: usize) -> u64 {
    let began = Instant::now();
    agents::switch(&clients[task / CHANNELS], &name(task)).await;
    microseconds_of(began.elapsed())
}

/// A turn of many events, joined while it waits for an answer and after its end.
async fn long_turn(node: &Node, operator: &Client, table: &mut Table) {
    let channel = conversation("long");
    agents::open(operator, "long", "demo").await;
    let witness = work::recorder(node, &[(&channel, Since::Start)]);
    let text = format!("count {LONG_TURN}\npermit end");
    let turn = work::prompt(operator, "long", &text, false).await.expect("an idle task");
    let asked = agents::wait_for(&witness, "long", &turn, "permission.requested").await;
    let joined = join(node, &channel, witness.observed(|seen| seen.channel(&channel).events.len())).await;
    rows(table, "in mid-turn", &joined);
    let answer = json!({"task": "long", "request": asked["request"], "option": "allow"});
    operator.command("permission.answer", answer).await.expect("it waits");
    agents::wait_for(&witness, "long", &turn, "turn.sealed").await;
    let joined = join(node, &channel, witness.observed(|seen| seen.channel(&channel).events.len())).await;
    rows(table, "after its end", &joined);
    let whole = joined.1.value_at_quantile(0.5) as f64 / 1000.0;
    table.note(wanted("whole replay of a turn of 10,000 events, median ms", whole, REPLAY_MS));
}

fn rows(table: &mut Table, when: &str, (first, whole): &(Histogram<u64>, Histogram<u64>)) {
    table.distribution(format!("{LONG_TURN} events joined {when}: first"), first);
    table.distribution(format!("{LONG_TURN} events joined {when}: all"), whole);
}

/// Joins again and again: from connecting to the first event, and to the last.
async fn join(node: &Node, channel: &str, events: usize) -> (Histogram<u64>, Histogram<u64>) {
    let (mut first, mut whole) = (microseconds(), microseconds());
    for _ in 0..JOINS {
        let (came_first, came_last) = joiner::join(node, channel, events).await;
        first.saturating_record(microseconds_of(came_first));
        whole.saturating_record(microseconds_of(came_last));
    }
    (first, whole)
}

/// A command writes lines at a rate; all watchers must see all of them.
async fn flood(node: &Node, operator: &Client, table: &mut Table) {
    let channel = conversation("flood");
    work::open_task(operator, "flood").await;
    let witness = work::recorder(node, &[(&channel, Since::Start)]);
    let watchers: Vec<Client> =
        (1..FLOOD_WATCHERS).map(|_| work::client(node, &[(&channel, Since::Start)])).collect();
    for watcher in watchers.iter().chain([&witness]) {
        watcher.ready().await;
    }
    let own = std::env::current_exe().expect("a running program has a path");
    let line = format!("exec '{}' {LINES} {FLOOD_RATE}", own.display());
    let began = Instant::now();
    let turn = work::prompt(operator, "flood", &line, false).await.expect("an idle task");
    agents::wait_for(&witness, "flood", &turn, "turn.sealed").await;
    let (top, digests, text) = witness.observed(|seen| {
        let seen = seen.channel(&channel);
        (seen.offset, seen.digests.clone(), text_of(&seen.events, &turn))
    });
    let mut differ = 0;
    for watcher in &watchers {
        watcher.wait("the whole flood", STEP_DEADLINE, |seen| seen.channel(&channel).offset >= top).await;
        differ += usize::from(watcher.observed(|seen| seen.channel(&channel).digests != digests));
    }
    let took = began.elapsed();
    let written = FLOOD_RATE * FLOOD.as_secs();
    let whole =
        text.lines().zip(1..).take_while(|(line, number)| *line == format!("line {number}")).count() as u64;
    table.note(format!(
        "a flood of {FLOOD_RATE} lines/s for {FLOOD:?}, {FLOOD_WATCHERS} watchers: {whole} of {written} lines, once and in \
         order; {differ} watchers saw anything else (wanted: all, 0); the last had all {:.2} s after it began",
        took.as_secs_f64()
    ));
}

/// Writes numbered lines on stdout at a rate a second, as the flood does.
pub fn write_lines(rate: u64) {
    let (mut stdout, began) = (std::io::stdout().lock(), Instant::now());
    let mut number = 0;
    for piece in 0..PIECES * FLOOD.as_secs() {
        let due = Duration::from_millis(piece * 1000 / PIECES);
        wait::pause(due.saturating_sub(began.elapsed()));
        let lines: String = (0..rate / PIECES).map(|line| format!("line {}\n", number + line + 1)).collect();
        number += rate / PIECES;
        stdout.write_all(lines.as_bytes()).expect("somebody reads it");
    }
}

/// The most anonymous memory that a holder of this node has, in MiB.
fn holders(node: &Node) -> f64 {
    let anonymous = |pid: i32| -> Option<f64> {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let line = status.lines().find(|line| line.starts_with("RssAnon:"))?;
        line.split_whitespace().nth(1)?.parse::<f64>().ok().map(|kib| kib / 1024.0)
    };
    let is_holder = |pid: &i32| {
        std::fs::read(format!("/proc/{pid}/cmdline"))
            .is_ok_and(|line| line.split(|byte| *byte == 0).nth(1) == Some(b"hold"))
    };
    let all = processes::below(node.home().path()).into_iter().filter(is_holder).filter_map(anonymous);
    all.reduce(f64::max).expect("warm tasks have holders")
}

fn wanted(what: &str, is: f64, at_most: f64) -> String {
    let met = if is <= at_most { "met" } else { "NOT met" };
    format!("{what}: {is:.2} (wanted: at most {at_most}): {met}")
}

fn microseconds_of(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX).max(1)
}
