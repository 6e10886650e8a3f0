//! One publisher, many subscribers: deliveries per second, and what the way through the node adds to an event's age.
//! Beside it, in turn, a bare loop that writes the same frames to as many sockets.

use crate::options::Options;
use crate::table::{Table, microseconds};
use hdrhistogram::Histogram;
use holdfast_tests::client::{Client, Since};
use holdfast_tests::node::Node;
use holdfast_tests::wait;
use holdfast_tests::work::{self, conversation};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A line is read into a record of its own when they are at least 5 ms apart (DESIGN.md 6).
const PACE: Duration = Duration::from_millis(10);
const CONNECTING_AT_ONCE: usize = 50;
const END_DEADLINE: Duration = Duration::from_secs(60);

pub async fn measure(options: &Options) -> Table {
    let mut table =
        Table::new(format!("1 publisher, {} subscribers, one event each {PACE:?}", options.sessions));
    let (mut ours, mut bare) = (Run::default(), Run::default());
    let rounds = 3;
    for round in 1..=rounds {
        eprintln!("round {round}/{rounds}");
        ours.add(through_the_node(options).await);
        bare.add(bare_loop(options).await);
    }
    for (name, run) in [("through the node", &ours), ("bare loop over sockets", &bare)] {
        table.row(
            name,
            &[
                ("deliveries/s", run.deliveries as f64 / run.seconds),
                ("p50 ms", run.latency.value_at_quantile(0.5) as f64 / 1000.0),
                ("p99 ms", run.latency.value_at_quantile(0.99) as f64 / 1000.0),
                ("max ms", run.latency.max() as f64 / 1000.0),
            ],
        );
    }
    table.note(format!("ratio of median ages: {:.2}", ours.median() / bare.median()));
    table
}

struct Run {
    deliveries: u64,
    seconds: f64,
    latency: Histogram<u64>,
}

impl Default for Run {
    fn default() -> Self {
        Run { deliveries: 0, seconds: 0.0, latency: microseconds() }
    }
}

impl Run {
    fn add(&mut self, other: Run) {
        self.deliveries += other.deliveries;
        self.seconds += other.seconds;
        self.latency.add(other.latency).expect("the same bounds");
    }

    fn median(&self) -> f64 {
        self.latency.value_at_quantile(0.5) as f64
    }
}

async fn through_the_node(options: &Options) -> Run {
    let node = Node::up();
    let operator = work::client(&node, &[]);
    operator.ready().await;
    work::open_task(&operator, "busy").await;
    let channel = conversation("busy");
    let mut clients: Vec<Client> = Vec::new();
    for number in 1..=options.sessions {
        clients.push(work::recorder(&node, &[(&channel, Since::Start)]));
        if number % CONNECTING_AT_ONCE == 0 || number == options.sessions {
            for client in &clients {
                client.ready().await;
            }
        }
    }
    let lines = options.seconds * 1000 / u64::try_from(PACE.as_millis()).unwrap_or(1);
    // Bash writes the time itself, so that an event's age is not a fork's.
    let script = format!(
        "exec bash -c 'exec 3<> <(:); for ((i = 0; i < {lines}; i++)); do echo $EPOCHREALTIME; read -t {} -u 3; done'",
        PACE.as_secs_f64()
    );
    let started = Instant::now();
    let turn = work::prompt(&operator, "busy", &script, false).await.expect("an idle task");
    let mut run = Run::default();
    for client in &clients {
        client
            .wait("the whole turn", END_DEADLINE, |seen| work::sealed(&seen.channel(&channel).events, &turn))
            .await;
    }
    run.seconds = started.elapsed().as_secs_f64();
    for client in &clients {
        client.observed(|seen| {
            run.deliveries += seen.channel(&channel).events.len() as u64;
            for age in seen.channel(&channel).ages() {
                run.latency.saturating_record(age.max(1));
            }
        });
    }
    run
}

async fn bare_loop(options: &Options) -> Run {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    let (mut writers, mut readers) = (Vec::new(), Vec::new());
    for _ in 0..options.sessions {
        let (connected, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
        let reader = connected.expect("it listens");
        let (writer, _) = accepted.expect("somebody connects");
        writer.set_nodelay(true).expect("a TCP socket");
        writers.push(writer);
        readers.push(tokio::task::spawn_local(read_ages(reader)));
    }
    let started = Instant::now();
    let events = options.seconds * 1000 / u64::try_from(PACE.as_millis()).unwrap_or(1);
    for _ in 0..events {
        let frame = format!("{:>120}", now_microseconds());
        for writer in &mut writers {
            writer.write_all(frame.as_bytes()).await.expect("it reads");
        }
        wait::pass(PACE).await;
    }
    drop(writers);
    let mut run = Run { seconds: started.elapsed().as_secs_f64(), ..Run::default() };
    for reader in readers {
        for age in reader.await.expect("it ends") {
            run.deliveries += 1;
            run.latency.saturating_record(age.max(1));
        }
    }
    run
}

async fn read_ages(mut stream: TcpStream) -> Vec<u64> {
    let mut ages = Vec::new();
    let mut frame = [0_u8; 120];
    while stream.read_exact(&mut frame).await.is_ok() {
        let text = String::from_utf8_lossy(&frame);
        let sent: u64 = text.trim().parse().unwrap_or(0);
        ages.push(now_microseconds().saturating_sub(sent));
    }
    ages
}

fn now_microseconds() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_micros()).unwrap_or(u64::MAX)
}
