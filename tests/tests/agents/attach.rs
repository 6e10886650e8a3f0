//! `holdfast task attach` on a terminal of its own.

use holdfast_tests::agents::{self, Agent, Step, said, wait_for, wait_said};
use holdfast_tests::client::Since;
use holdfast_tests::node::{self, Node};
use holdfast_tests::work::{self, SEALED_DEADLINE, conversation};
use holdfast_tests::{run, wait};
use holdfast_shared::home::Role;
use nix::pty::{OpenptyResult, Winsize, openpty};
use nix::sys::signal::Signal;
use nix::sys::termios::{LocalFlags, tcgetattr};
use serde_json::{Value, json};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::Child;
use std::sync::{Arc, Mutex};
use std::time::Duration;

const DEADLINE: Duration = Duration::from_secs(30);

/// A command on a terminal, everything it writes kept.
struct Terminal {
    child: Child,
    keys: File,
    side: OwnedFd,
    written: Arc<Mutex<Vec<u8>>>,
}

impl Terminal {
    fn start(node: &Node, arguments: &[&str]) -> Terminal {
        let size = Winsize { ws_row: 30, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
        let OpenptyResult { master, slave } = openpty(Some(&size), None).expect("a pty");
        let mut command = node.command(arguments);
        command.env("TERM", "xterm").env_remove("NO_COLOR");
        let side = || slave.try_clone().expect("a descriptor");
        let child = command.stdin(side()).stdout(side()).stderr(side()).spawn().expect("the binary starts");
        let written = Arc::new(Mutex::new(Vec::new()));
        let (mut from, kept) = (File::from(master.try_clone().expect("a descriptor")), written.clone());
        std::thread::spawn(move || {
            let mut piece = [0; 4096];
            while let Ok(length @ 1..) = from.read(&mut piece) {
                kept.lock().expect("nobody panics with it").extend_from_slice(&piece[..length]);
            }
        });
        Terminal { child, keys: File::from(master), side: slave, written }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.written.lock().expect("nobody panics with it")).into_owned()
    }

    async fn shows(&self, text: &str) {
        wait::until(text, DEADLINE, || self.text().contains(text).then_some(())).await;
    }

    fn press(&mut self, key: &str) {
        self.keys.write_all(key.as_bytes()).expect("somebody reads it");
    }

    fn edits_lines(&self) -> bool {
        let flags = tcgetattr(&self.side).expect("a terminal").local_flags;
        flags.contains(LocalFlags::ICANON | LocalFlags::ECHO)
    }

    async fn ends(&mut self) -> Option<i32> {
        let child = &mut self.child;
        wait::until("it ends", DEADLINE, || child.try_wait().ok().flatten()).await.code()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A turn is seen live, its question answered by a key while the other terminal sees who did it, `q` leaves both as
/// they were, and whoever attaches later sees the turn from its beginning.
#[test]
fn attach_shows_a_turn_answers_by_a_key_and_detaches() {
    run(async {
        let node = Node::up();
        let operator = work::client(&node, &[]);
        operator.ready().await;
        agents::open(&operator, "t", "demo").await;
        let mut one = Terminal::start(&node, &["task", "attach", "t"]);
        let mut other = Terminal::start(&node, &["task", "attach", "t"]);
        one.shows("q detaches").await;
        other.shows("q detaches").await;
        wait::until("keys come as they are pressed", DEADLINE, || (!one.edits_lines()).then_some(())).await;
        let steps = [Step::Count(3, 10), Step::Ask, Step::Count(100, 20)];
        let turn = work::prompt(&operator, "t", &Agent::Demo.prompt(&steps), false).await.expect("an idle task");
        one.shows("1 \u{1b}[0mAllow").await;
        other.shows("1 \u{1b}[0mAllow").await;
        one.press("x1");
        one.shows("! asked: Allow").await;
        assert!(!one.text().contains("answered by"), "it was answered from here");
        other.shows("(answered by local:").await;
        one.press("q");
        assert_eq!(one.ends().await, Some(0));
        assert!(one.edits_lines(), "the terminal is as it was");
        one.shows("Detached; the work goes on.").await;

        let mut late = Terminal::start(&node, &["task", "attach", "t"]);
        late.shows("(answered by local:").await;
        late.shows("100\r\n").await;
        late.shows(&format!("[{turn}] end_turn")).await;
        late.press("\u{3}");
        other.press("q");
        assert_eq!((late.ends().await, other.ends().await), (Some(0), Some(0)));
        assert!(late.edits_lines() && other.edits_lines());
    });
}

/// The sidecar dies under a terminal: it says so and goes on where it was.
#[test]
fn attach_goes_on_over_a_restart_of_the_sidecar() {
    run(async {
        let node = Node::up();
        let operator = work::client(&node, &[]);
        operator.ready().await;
        agents::open(&operator, "t", "demo").await;
        let turn = work::prompt(&operator, "t", "count 150 20", false).await.expect("an idle task");
        let mut attached = Terminal::start(&node, &["task", "attach", "t"]);
        attached.shows("10\r\n").await;
        node.signal(Role::Sidecar, Signal::SIGKILL);
        attached.shows(&format!("[{turn}] end_turn")).await;
        attached.press("q");
        assert_eq!(attached.ends().await, Some(0));
        // Rows of the block come between; the numbers are rows of their own, once each and in order.
        let text = attached.text();
        let numbers = text.split("\r\n").filter_map(|row| row.rsplit(['\u{1b}', 'J', 'm', 'K', 'G']).next()?.parse().ok());
        assert_eq!(numbers.collect::<Vec<u64>>(), (1..=150).collect::<Vec<u64>>(), "{text}");
    });
}

/// SIGTERM ends it like a key does; the terminal is given back.
#[test]
fn attach_gives_the_terminal_back_when_it_is_ended() {
    run(async {
        let node = Node::up();
        let operator = work::client(&node, &[]);
        operator.ready().await;
        work::open_task(&operator, "t").await;
        let mut attached = Terminal::start(&node, &["task", "attach", "t"]);
        wait::until("keys come as they are pressed", DEADLINE, || (!attached.edits_lines()).then_some(())).await;
        attached.shows("q detaches").await;
        holdfast_tests::processes::signal(attached.child.id().cast_signed(), Signal::SIGTERM);
        attached.ends().await;
        assert!(attached.edits_lines());
    });
}

/// `prompt --wait` is the same for one turn: its answer on stdout, the rest on stderr, the question answered by
/// `task permit`.
#[test]
fn prompt_wait_shows_one_turn_in_a_pipe_and_permit_answers_it() {
    run(async {
        let node = Node::up();
        let operator = work::client(&node, &[]);
        operator.ready().await;
        agents::open(&operator, "t", "demo").await;
        let watcher = work::recorder(&node, &[(&conversation("t"), Since::Start)]);
        watcher.ready().await;
        let text = "think hm\nsay the answer\npermit it";
        let mut command = node.command(&["task", "prompt", "t", "--wait", text]);
        command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
        let waiting = command.spawn().expect("the binary starts");
        let asked = wait_for(&watcher, "t", "t1", "permission.requested").await;
        let request = asked["request"].as_str().expect("a text");
        let permitted = node.holdfast_async(&["task", "permit", "t", request, "reject"]).await;
        assert!(permitted.status.success(), "{}", node::told(&permitted));
        let again = node.holdfast_async(&["task", "permit", "t", request, "allow", "--json"]).await;
        let again: Value = serde_json::from_slice(&again.stdout).expect("JSON");
        assert_eq!((&again["won"], &again["option_id"]), (&json!(false), &json!("reject")), "{again}");
        let output =
            tokio::task::spawn_blocking(|| waiting.wait_with_output()).await.expect("no panic").expect("it ends");
        assert_eq!(output.status.code(), Some(0), "{}", node::told(&output));
        assert_eq!(String::from_utf8_lossy(&output.stdout), "the answer\nit: reject\n");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(stderr.contains("hm\n") && stderr.contains("✗ it"), "{stderr}");
        assert!(!stderr.contains('\u{1b}'), "no colours in a pipe");
    });
}

/// `attach --json` prints each event of the conversation as it is, one to a line.
#[test]
fn attach_prints_events_as_json_lines() {
    run(async {
        let node = Node::up();
        let operator = work::client(&node, &[]);
        operator.ready().await;
        agents::open(&operator, "t", "demo").await;
        let watcher = work::recorder(&node, &[(&conversation("t"), Since::Start)]);
        watcher.ready().await;
        let turn = work::prompt(&operator, "t", "count 20", false).await.expect("an idle task");
        wait_said(&watcher, "t", &turn, "20\n").await;
        wait_for(&watcher, "t", &turn, "turn.sealed").await;
        let mut command = node.command(&["task", "attach", "t", "--json"]);
        let mut attached = command.stdout(std::process::Stdio::piped()).spawn().expect("the binary starts");
        let lines = std::io::BufRead::lines(std::io::BufReader::new(attached.stdout.take().expect("piped")));
        let read = tokio::task::spawn_blocking(move || {
            let mut events: Vec<Value> = Vec::new();
            for line in lines.map_while(Result::ok) {
                events.push(serde_json::from_str(&line).expect("JSON"));
                if events.last().is_some_and(|event| event["type"] == "turn.sealed") {
                    break;
                }
            }
            events
        });
        let events = tokio::time::timeout(SEALED_DEADLINE, read).await.expect("it is sealed").expect("no panic");
        assert_eq!(events, watcher.observed(|seen| seen.channel(&conversation("t")).events.clone()));
        assert!(said(&events, &turn).ends_with("20\n"));
        let _ = attached.kill();
        let _ = attached.wait();
    });
}
