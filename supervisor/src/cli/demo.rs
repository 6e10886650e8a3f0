//! `holdfast demo`: shows on a node of its own that nothing is dropped, lost or doubled.

use super::output::{CliError, Output, block_on};
use crate::demo::plan::{Fault, faults};
use crate::demo::tally::Total;
use crate::exit;
use crate::io::demo::{Clients, DemoError, DemoNode};
use clap::Args;
use holdfast_shared::process::Signals;
use std::time::Duration;

/// In a temporary home of its own: clients on a running turn, warm switches, SIGKILLs; what was lost.
#[derive(Args, Debug)]
pub struct Arguments {
    /// Local clients that watch the turn.
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u16).range(1..=2000))]
    clients: u16,
    /// Order of the faults; the same seed, the same order.
    #[arg(long)]
    seed: Option<u64>,
}

/// Lines between two faults, 50 a second: a death within a second of READY=1 counts as a failed start and is
/// answered with a pause, which is not what is to be seen here.
const CALM_LINES: u64 = 75;

/// One line of the timeline.
#[derive(serde::Serialize)]
struct Moment {
    at_ms: u64,
    fault: Fault,
    gap_ms: u64,
}

/// What `--json` prints.
#[derive(serde::Serialize)]
struct Report<'a> {
    seed: u64,
    #[serde(flatten)]
    total: &'a Total,
    timeline: Vec<Moment>,
}

/// Ctrl-C: 128 + SIGINT.
const INTERRUPTED: u8 = 130;

/// Runs the demonstration; its exit code is not 0 when anything was dropped, lost or doubled.
///
/// # Errors
/// When it could not be carried out.
pub fn demo(arguments: &Arguments, output: &Output) -> Result<u8, CliError> {
    block_on(async {
        let listened = Signals::listen(&[libc::SIGINT, libc::SIGTERM]);
        let mut signals = listened.map_err(CliError::system("catch Ctrl-C"))?;
        let seed = arguments.seed.unwrap_or_else(|| u64::from(uuid::Uuid::new_v4().as_fields().0));
        output.say("starting a node of its own ...");
        let mut node = DemoNode::start().await?;
        let shown = tokio::select! {
            shown = show(&node, arguments, seed, output) => shown,
            _ = signals.next() => {
                output.say("interrupted; stopping the node and removing its home");
                return Ok(INTERRUPTED);
            }
        };
        let fine = shown.as_ref().is_ok_and(|(_, total)| total.is_fine());
        if !fine {
            node.keep();
            output.say(&format!("logs and state are kept in {}", node.directory().display()));
        }
        let (timeline, total) = shown?;
        let value = serde_json::to_value(Report { seed, timeline, total: &total }).unwrap_or_default();
        output.result(&value, || words(&total, output));
        Ok(if fine { exit::FINE } else { exit::FAILED })
    })
}

async fn show(
    node: &DemoNode,
    arguments: &Arguments,
    seed: u64,
    output: &Output,
) -> Result<(Vec<Moment>, Total), DemoError> {
    node.start_turn().await?;
    let clients = Clients::connect(node, arguments.clients.into()).await?;
    output.say(&format!("{} clients watch a turn; seed {seed}", arguments.clients));
    clients.take_longest_gap();
    after_lines(&clients, 50).await?;
    let quiet = clients.take_longest_gap();
    output.say(&line(clients.elapsed(), "nothing, for comparison", quiet));
    let (mut timeline, mut longest) = (Vec::new(), Duration::ZERO);
    for fault in faults(seed) {
        let at = clients.elapsed();
        node.inflict(fault).await?;
        node.settled().await?;
        after_lines(&clients, CALM_LINES).await?;
        let gap = clients.take_longest_gap();
        longest = longest.max(gap);
        output.say(&line(at, fault.text(), gap));
        timeline.push(Moment { at_ms: at.as_millis() as u64, fault, gap_ms: gap.as_millis() as u64 });
    }
    node.end_turn()?;
    // Whoever does not see the end is counted, not waited for without end.
    let _ = clients.until("every client saw the end", |tally| tally.sealed).await;
    Ok((timeline, clients.total(longest)))
}

/// Every client has seen so many more lines.
async fn after_lines(clients: &Clients, more: u64) -> Result<(), DemoError> {
    let line = clients.line() + more;
    clients.until("events go on", |tally| tally.line >= line).await
}

fn line(at: Duration, what: &str, gap: Duration) -> String {
    format!("{:>6.1} s  {what:<32} longest gap {:>5} ms", at.as_secs_f64(), gap.as_millis())
}

fn words(total: &Total, output: &Output) -> String {
    let number = |value: u64| output.paint(if value == 0 { "32" } else { "31" }, &format!("{value:>8}"));
    format!(
        "{} clients, {} events each\n\
         connections dropped  {}\nevents lost          {}\nevents duplicated    {}\n\
         longest gap          {:>8} ms\n",
        total.clients,
        total.events,
        number(total.connections_dropped),
        number(total.events_lost),
        number(total.events_duplicated),
        total.longest_gap_ms
    )
}
