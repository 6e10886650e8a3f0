//! `GET /metrics`, scraped as Prometheus does it.

use holdfast_shared::home::Role;
use holdfast_tests::client::Since;
use holdfast_tests::http::{self, Reply};
use holdfast_tests::node::{Node, Options};
use holdfast_tests::{run, wait, work};
use nix::sys::signal::Signal;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

const DEADLINE: Duration = Duration::from_secs(20);

/// Samples by their name and labels, checked line by line against the text format.
fn samples(reply: &Reply) -> BTreeMap<String, f64> {
    assert_eq!(reply.status, 200, "{}", reply.head);
    let head = reply.head.to_ascii_lowercase();
    assert!(head.contains("content-type: text/plain; version=0.0.4; charset=utf-8"), "{head}");
    assert!(reply.body.ends_with('\n'), "the last line has an end");
    let (mut helped, mut typed) = (BTreeSet::new(), BTreeSet::new());
    let mut samples = BTreeMap::new();
    for line in reply.body.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, words) = help.split_once(' ').expect("a name and words");
            assert!(!words.is_empty() && helped.insert(name), "{line}");
        } else if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').expect("a name and a type");
            assert!(["counter", "gauge", "histogram"].contains(&kind) && typed.insert(name), "{line}");
        } else {
            let (series, value) = line.rsplit_once(' ').expect("a series and a value");
            let name = series.split('{').next().expect("a name");
            let family = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
            let family = family.filter(|family| typed.contains(family)).unwrap_or(name);
            assert!(helped.contains(family) && typed.contains(family), "{line} before its family");
            let value: f64 = value.parse().unwrap_or_else(|_| panic!("{line}"));
            assert!(samples.insert(series.to_owned(), value).is_none(), "{series} comes twice");
        }
    }
    assert_eq!(helped, typed);
    samples
}

async fn scrape(node: &Node) -> BTreeMap<String, f64> {
    let socket = node.home().control(Role::Supervisor);
    samples(&http::get_local(&socket, "/metrics").await.expect("the supervisor answers"))
}

/// A port that was free a moment ago.
fn free_address() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("its address").to_string()
}

#[test]
fn metrics_are_scraped_from_the_control_socket_and_move_with_a_switch() {
    let node = Node::up();
    run(async {
        let (slot, _) = node.active().await;
        let client = work::client(&node, &[("node", Since::Now)]);
        client.ready().await;
        let before = scrape(&node).await;
        assert_eq!(before["holdfast_node_state{state=\"running\"}"], 1.0);
        assert_eq!(before["holdfast_node_ready"], 1.0);
        assert_eq!(before["holdfast_sessions"], 1.0, "the session above");
        assert_eq!(before[&format!("holdfast_active_slot{{slot=\"{slot}\"}}")], 1.0);
        assert!(before["holdfast_process_resident_memory_bytes{role=\"active\"}"] > 1e6);
        assert!(before["holdfast_disk_free_bytes"] > 0.0);
        let switches = "holdfast_hold_duration_seconds_count{for=\"switch\"}";
        assert_eq!(before[switches], 0.0);

        node.switch().await.expect("it switches");
        let after = scrape(&node).await;
        assert_eq!(after[switches], 1.0);
        assert!(after["holdfast_hold_duration_seconds_sum{for=\"switch\"}"] > 0.0);
        let ended = "holdfast_attempts_total{action=\"switch\",state=\"succeeded\",reason=\"\"}";
        assert_eq!(after[ended], 1.0);
        assert_eq!(after[&format!("holdfast_active_slot{{slot=\"{slot}\"}}")], 0.0);
        assert!(after["holdfast_active_epoch"] > before["holdfast_active_epoch"]);

        node.signal(Role::Sidecar, Signal::SIGKILL);
        let deaths = "holdfast_process_deaths_total{process=\"sidecar\"}";
        let counted = async || scrape(&node).await.remove(deaths).filter(|deaths| *deaths == 1.0);
        wait::until_asked("the sidecar's death is counted", DEADLINE, counted).await;
    });
}

#[test]
fn metrics_have_a_listener_of_their_own_where_one_is_configured_and_nothing_else_there() {
    let address = free_address();
    let config = format!("[supervisor]\nmetrics_listen = \"{address}\"\n");
    let node = Node::up_with(&Options { config });
    run(async {
        node.active().await;
        let found = samples(&http::get(&address, "/metrics", None).await.expect("it answers"));
        assert_eq!(found["holdfast_node_ready"], 1.0);
        assert!(!found.keys().any(|series| series.contains(&node.ready.token)));
        assert_eq!(http::post(&address, "/metrics", None, "{}").await.expect("it answers").status, 405);
        for other in ["/", "/v1/status", "/v1/tokens", "/metrics/x"] {
            assert_eq!(http::get(&address, other, None).await.expect("it answers").status, 404, "{other}");
        }
        // Connections that say nothing do not keep a scraper out for ever, nor the node from its work.
        let mut silent = Vec::new();
        for _ in 0..32 {
            silent.push(tokio::net::TcpStream::connect(&address).await.expect("the backlog takes it"));
        }
        node.switch().await.expect("the node works on");
        drop(silent);
        let found = samples(&http::get(&address, "/metrics", None).await.expect("it answers"));
        assert_eq!(found["holdfast_hold_duration_seconds_count{for=\"switch\"}"], 1.0);

        node.signal(Role::Supervisor, Signal::SIGKILL);
        let again = async || {
            let reply = http::get(&address, "/metrics", None).await.ok()?;
            samples(&reply).remove("holdfast_node_ready").filter(|ready| *ready == 1.0)
        };
        wait::until_asked("the next supervisor listens", DEADLINE, again).await;
    });
}
