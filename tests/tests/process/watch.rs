//! `holdfast watch`: on a terminal and without one.

use holdfast_tests::node::Node;
use holdfast_tests::{processes, run, wait};
use nix::pty::{Winsize, openpty};
use nix::sys::signal::Signal;
use nix::sys::termios::{LocalFlags, tcgetattr};
use serde_json::Value;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::os::fd::AsFd;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

const DEADLINE: Duration = Duration::from_secs(20);

#[test]
fn watch_on_a_terminal_shows_the_node_and_gives_the_terminal_back() {
    let node = Node::up();
    let (slot, _) = run(node.active());
    let size = Winsize { ws_row: 20, ws_col: 60, ws_xpixel: 0, ws_ypixel: 0 };
    let terminal = openpty(Some(&size), None).expect("a terminal");
    let before = tcgetattr(terminal.slave.as_fd()).expect("its settings");
    let end = || Stdio::from(terminal.slave.try_clone().expect("a descriptor"));
    let mut command = node.command(&["watch"]);
    let mut watching = command.stdin(end()).stdout(end()).stderr(end()).spawn().expect("the binary starts");

    let shown = Arc::new(Mutex::new(String::new()));
    let (all, mut master) = (shown.clone(), File::from(terminal.master));
    std::thread::spawn(move || {
        let mut piece = [0_u8; 4096];
        while let Ok(count @ 1..) = master.read(&mut piece) {
            all.lock().expect("whole").push_str(&String::from_utf8_lossy(&piece[..count]));
        }
    });
    let says = |what: &str| {
        wait::until_blocking(what, DEADLINE, || shown.lock().expect("whole").contains(what).then_some(()));
    };
    says("\x1b[?1049h");
    says("running");
    says(&format!("slot {slot}, epoch"));
    let now = tcgetattr(terminal.slave.as_fd()).expect("its settings");
    assert!(!now.local_flags.contains(LocalFlags::ECHO), "keys are not shown meanwhile");
    // What happens is shown without being asked for.
    run(node.switch()).expect("it switches");
    says(&format!("slot {}, epoch", slot.other()));
    for line in shown.lock().expect("whole").split("\x1b[2K").skip(1) {
        let text: String =
            line.split('\x1b').map(|part| part.split_once('m').map_or("", |(_, text)| text)).collect();
        assert!(text.chars().count() <= 60, "wider than the terminal: {text:?}");
    }

    processes::signal(watching.id().cast_signed(), Signal::SIGINT);
    let ended = wait::until_blocking("watch ends", DEADLINE, || watching.try_wait().ok().flatten());
    assert!(ended.success(), "{ended:?}");
    says("\x1b[?25h\x1b[?1049l");
    let after = tcgetattr(terminal.slave.as_fd()).expect("its settings");
    assert_eq!(after.local_flags, before.local_flags, "the terminal is as it was");
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
