//! `holdfast watch`: on a terminal and without one.

use holdfast_tests::node::Node;
use holdfast_tests::terminal::Terminal;
use holdfast_tests::{processes, run, wait};
use nix::sys::signal::Signal;
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::Duration;

const DEADLINE: Duration = Duration::from_secs(20);

#[test]
fn watch_on_a_terminal_shows_the_node_and_gives_the_terminal_back() {
    let node = Node::up();
    let (slot, _) = run(node.active());
    let mut watching = Terminal::start(node.command(&["watch"]), 60, 20);
    run(async {
        watching.shows("\x1b[?1049h").await;
        watching.shows("running").await;
        watching.shows(&format!("slot {slot}, epoch")).await;
    });
    assert!(!watching.edits_lines(), "keys are not shown meanwhile");
    // What happens is shown without being asked for.
    run(node.switch()).expect("it switches");
    run(watching.shows(&format!("slot {}, epoch", slot.other())));
    for line in watching.text().split("\x1b[2K").skip(1) {
        let text: String =
            line.split('\x1b').map(|part| part.split_once('m').map_or("", |(_, text)| text)).collect();
        assert!(text.chars().count() <= 60, "wider than the terminal: {text:?}");
    }

    processes::signal(watching.pid(), Signal::SIGINT);
    let ended = run(watching.ends());
    assert!(ended.success(), "{ended:?}");
    run(watching.shows("\x1b[?25h\x1b[?1049l"));
    assert!(watching.edits_lines(), "the terminal is as it was");
}

#[test]
fn watch_without_a_terminal_prints_an_object_per_change_and_ends_with_its_reader() {
    let node = Node::up();
    let (slot, _) = run(node.active());
    let mut command = node.command(&["watch"]);
    let mut watching = command.stdout(Stdio::piped()).spawn().expect("the binary starts");
    let mut lines = BufReader::new(watching.stdout.take().expect("piped")).lines();
    let mut next = || -> Value {
        let line = lines.next().expect("it goes on").expect("text");
        serde_json::from_str(&line).unwrap_or_else(|_| panic!("no object: {line}"))
    };
    let first = next();
    assert_eq!((&first["node"]["state"], &first["active"]["slot"]), (&"running".into(), &slot.name().into()));
    assert_eq!(first["slots"].as_array().map(Vec::len), Some(2));
    run(node.switch()).expect("it switches");
    let mut last = first.clone();
    while last["active"]["slot"] != slot.other().name() {
        let now = next();
        assert_ne!(now, last, "only changes are printed");
        last = now;
    }
    drop(lines);
    run(node.switch()).expect("it switches");
    wait::until_blocking("nobody reads it", DEADLINE, || watching.try_wait().ok().flatten());
}

#[test]
fn watch_of_nothing_says_so() {
    let mut node = Node::up();
    assert!(node.holdfast(&["stop"]).status.success());
    node.wait_up_ended(DEADLINE);
    assert_eq!(node.holdfast(&["watch"]).status.code(), Some(3));
}
