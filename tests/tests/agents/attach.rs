//! `holdfast task attach` on a terminal of its own.

use holdfast_shared::home::Role;
use holdfast_tests::agents::{Agent, Stage, Step, said, wait_for_nth};
use holdfast_tests::node::{self, Node};
use holdfast_tests::run;
use holdfast_tests::terminal::Terminal;
use holdfast_tests::wait;
use holdfast_tests::work::SEALED_DEADLINE;
use nix::sys::signal::Signal;
use serde_json::{Value, json};

/// `task attach` on a terminal.
fn attach(node: &Node) -> Terminal {
    Terminal::start(node.command(&["task", "attach", "t"]), 80, 30)
}

/// A turn is seen live, its question answered by a key while the other terminal sees who did it, `q` leaves both as
/// they were, and whoever attaches later sees the turn from its beginning.
#[test]
fn attach_shows_a_turn_answers_by_a_key_and_detaches() {
    run(async {
        let stage = Stage::of(Agent::Demo).await;
        let node = &stage.node;
        let mut one = attach(node);
        let mut other = attach(node);
        one.shows("q detaches").await;
        other.shows("q detaches").await;
        one.takes_keys().await;
        let steps = [Step::Count(3, 10), Step::Ask, Step::Count(100, 20)];
        let turn = stage.prompt(&Agent::Demo.prompt(&steps)).await;
        one.shows("1 \u{1b}[0mAllow").await;
        other.shows("1 \u{1b}[0mAllow").await;
        // Delete and Ctrl-Right bear a 3 and a C and are no answers.
        one.press("x\u{1b}[3~\u{1b}[1;5C1");
        one.shows("! asked: Allow").await;
        assert!(!one.text().contains("answered by"), "it was answered from here");
        other.shows("(answered by local:").await;
        one.press("q");
        assert_eq!(one.ends().await.code(), Some(0));
        assert!(one.edits_lines(), "the terminal is as it was");
        one.shows("Detached; the work goes on.").await;

        let mut late = attach(node);
        late.shows("(answered by local:").await;
        late.shows("100\r\n").await;
        late.shows(&format!("[{turn}] end_turn")).await;
        late.press("\u{3}");
        other.press("q");
        assert!(late.ends().await.success() && other.ends().await.success());
        assert!(late.edits_lines() && other.edits_lines());
    });
}

/// Pasted text answers no question and ends nothing, whatever is in it; the list says that the task asks.
#[test]
fn attach_takes_no_answer_from_what_is_pasted() {
    run(async {
        let stage = Stage::of(Agent::Demo).await;
        let node = &stage.node;
        let turn = stage.prompt("permit it\nsay done").await;
        let mut attached = attach(node);
        attached.takes_keys().await;
        attached.shows("\u{1b}[?2004h").await;
        attached.shows("1 \u{1b}[0mAllow").await;
        attached.press("\u{1b}[200~1\nq and c\u{1b}[201~");
        attached.shows("pasted text is no answer").await;
        let list = String::from_utf8(node.holdfast_async(&["task", "list"]).await.stdout).expect("text");
        assert!(list.contains("asks you"), "{list}");
        let listed = node.holdfast_async(&["task", "list", "--json"]).await;
        let listed: Value = serde_json::from_slice(&listed.stdout).expect("JSON");
        let task = &listed["tasks"][0];
        assert_eq!((&task["permissions"], &task["state"]), (&json!(1), &json!("active")), "{listed}");
        let answered = stage.events().iter().any(|event| event["type"] == "permission.answered");
        assert!(!answered, "it still waits");
        attached.press("2");
        attached.shows(&format!("[{turn}] end_turn")).await;
        attached.press("q");
        assert_eq!(attached.ends().await.code(), Some(0));
        attached.shows("\u{1b}[?2004l").await;
        assert!(attached.edits_lines());
        let list = String::from_utf8(node.holdfast_async(&["task", "list"]).await.stdout).expect("text");
        assert!(!list.contains("asks you"), "{list}");
    });
}

/// The turn that runs, or the last one, is shown; earlier ones where that is asked for.
#[test]
fn attach_begins_with_the_last_turn_or_as_many_as_are_asked_for() {
    run(async {
        let stage = Stage::of(Agent::Demo).await;
        let node = &stage.node;
        for word in ["first", "second", "third"] {
            let turn = stage.prompt(&format!("say {word}")).await;
            stage.sealed(&turn).await;
        }
        for (more, shown, hidden) in [
            (&[][..], &["[t3] end_turn", "earlier turns are not shown"][..], &["[t2]", "[t1]"][..]),
            (&["--turns", "2"], &["[t2] end_turn", "[t3] end_turn", "earlier turns"], &["[t1]"]),
            (&["--turns", "9"], &["[t1] end_turn", "[t3] end_turn"], &["earlier turns"]),
            (&["--all"], &["[t1] end_turn", "[t3] end_turn"], &["earlier turns"]),
        ] {
            let arguments = [&["task", "attach", "t"], more].concat();
            let mut attached = Terminal::start(node.command(&arguments), 80, 30);
            for text in shown {
                attached.shows(text).await;
            }
            let text = attached.text();
            assert!(hidden.iter().all(|hidden| !text.contains(hidden)), "{more:?}: {text}");
            attached.press("q");
            attached.ends().await;
        }
        let wrong = node.holdfast_async(&["task", "attach", "t", "--turns", "0"]).await;
        assert_eq!(wrong.status.code(), Some(2), "{}", node::told(&wrong));
        let wrong = node.holdfast_async(&["task", "attach", "u"]).await;
        assert!(String::from_utf8_lossy(&wrong.stderr).contains("task open u"), "{}", node::told(&wrong));
    });
}

/// No runtime answers for longer than the sidecar lets a read wait: attaching goes on asking, says so, and then begins with
/// the last turn as ever.
#[test]
fn attach_waits_for_a_runtime_that_does_not_answer() {
    run(async {
        let stage = Stage::of(Agent::Demo).await;
        let node = &stage.node;
        for word in ["first", "second"] {
            let turn = stage.prompt(&format!("say {word}")).await;
            stage.sealed(&turn).await;
        }
        let (_, runtime) = node.active().await;
        // Nobody puts another one in its place.
        let supervisor = node.signal(Role::Supervisor, Signal::SIGSTOP);
        holdfast_tests::processes::stop(runtime);
        let mut attached = attach(node);
        attached.shows("The node does not answer; trying again (OUTCOME_UNKNOWN").await;
        holdfast_tests::processes::signal(runtime, Signal::SIGCONT);
        holdfast_tests::processes::signal(supervisor, Signal::SIGCONT);
        attached.shows("[t2] end_turn").await;
        let text = attached.text();
        assert!(text.contains("earlier turns are not shown") && !text.contains("[t1]"), "{text}");
        attached.press("q");
        assert_eq!(attached.ends().await.code(), Some(0));
    });
}

/// The sidecar dies under a terminal: it says so and goes on where it was.
#[test]
fn attach_goes_on_over_a_restart_of_the_sidecar() {
    run(async {
        let stage = Stage::of(Agent::Demo).await;
        let node = &stage.node;
        let turn = stage.prompt("count 150 20").await;
        let mut attached = attach(node);
        attached.shows("10\r\n").await;
        node.signal(Role::Sidecar, Signal::SIGKILL);
        attached.shows(&format!("[{turn}] end_turn")).await;
        attached.press("q");
        assert_eq!(attached.ends().await.code(), Some(0));
        // Rows of the block come between; the numbers are rows of their own, once each and in order.
        let text = attached.text();
        let numbers = text
            .split("\r\n")
            .filter_map(|row| row.rsplit(['\u{1b}', 'J', 'm', 'K', 'G']).next()?.parse().ok());
        assert_eq!(numbers.collect::<Vec<u64>>(), (1..=150).collect::<Vec<u64>>(), "{text}");
    });
}

/// A signal ends it like a key does; the terminal is given back.
#[test]
fn attach_gives_the_terminal_back_when_it_is_ended() {
    run(async {
        let stage = Stage::of_skill("", "command", |_| ()).await;
        let node = &stage.node;
        for signal in [Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT, Signal::SIGINT] {
            let mut attached = attach(node);
            attached.takes_keys().await;
            attached.shows("q detaches").await;
            holdfast_tests::processes::signal(attached.pid(), signal);
            attached.ends().await;
            assert!(attached.edits_lines(), "{signal}");
            attached.shows("\u{1b}[?2004l").await;
        }
    });
}

/// `prompt --wait` is the same for one turn: its answer on stdout, the rest on stderr, the question answered by
/// `task permit`.
#[test]
fn prompt_wait_shows_one_turn_in_a_pipe_and_permit_answers_it() {
    run(async {
        let stage = Stage::of(Agent::Demo).await;
        let node = &stage.node;
        // The turn goes on behind the first question until the second one is answered, too.
        let text = "think hm\nsay the answer\npermit it\npermit more";
        let mut command = node.command(&["task", "prompt", "t", "--wait", text]);
        command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
        let waiting = command.spawn().expect("the binary starts");
        let asked = stage.wait("t1", "permission.requested").await;
        let request = asked["request"].as_str().expect("a text");
        let permitted = node.holdfast_async(&["task", "permit", "t", request, "reject"]).await;
        assert!(permitted.status.success(), "{}", node::told(&permitted));
        let again = node.holdfast_async(&["task", "permit", "t", request, "allow", "--json"]).await;
        let again: Value = serde_json::from_slice(&again.stdout).expect("JSON");
        assert_eq!((&again["won"], &again["option_id"]), (&json!(false), &json!("reject")), "{again}");
        let more = wait_for_nth(&stage.watcher, "t", "t1", "permission.requested", 2).await;
        let request = more["request"].as_str().expect("a text");
        let permitted = node.holdfast_async(&["task", "permit", "t", request, "reject"]).await;
        assert!(permitted.status.success(), "{}", node::told(&permitted));
        let output = tokio::task::spawn_blocking(|| waiting.wait_with_output())
            .await
            .expect("no panic")
            .expect("it ends");
        assert_eq!(output.status.code(), Some(0), "{}", node::told(&output));
        assert_eq!(String::from_utf8_lossy(&output.stdout), "the answer\nit: reject\nmore: reject\n");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(stderr.contains("hm\n") && stderr.contains("✗ it"), "{stderr}");
        assert!(!stderr.contains('\u{1b}'), "no colours in a pipe");
    });
}

/// `attach --json` prints each event of the conversation as it is, one to a line, from the first turn on.
#[test]
fn attach_prints_events_as_json_lines() {
    run(async {
        let stage = Stage::of(Agent::Demo).await;
        let node = &stage.node;
        let earlier = stage.prompt("say first").await;
        stage.sealed(&earlier).await;
        let turn = stage.prompt("count 20").await;
        stage.sealed(&turn).await;
        let mut command = node.command(&["task", "attach", "t", "--json"]);
        let mut attached = command.stdout(std::process::Stdio::piped()).spawn().expect("the binary starts");
        let lines = std::io::BufRead::lines(std::io::BufReader::new(attached.stdout.take().expect("piped")));
        let read = tokio::task::spawn_blocking(move || {
            let mut events: Vec<Value> = Vec::new();
            for line in lines.map_while(Result::ok) {
                events.push(serde_json::from_str(&line).expect("JSON"));
                if events.last().is_some_and(|event| event["type"] == "turn.sealed" && event["turn"] == "t2")
                {
                    break;
                }
            }
            events
        });
        let events =
            tokio::time::timeout(SEALED_DEADLINE, read).await.expect("it is sealed").expect("no panic");
        assert_eq!(events, stage.events());
        assert!(said(&events, &turn).ends_with("20\n"));
        let _ = attached.kill();
        let _ = attached.wait();
    });
}

/// A reader that goes (`| head -1`) ends it, also while nothing more is said; the turn goes on.
#[test]
fn attach_as_json_ends_when_nobody_reads_it() {
    run(async {
        let stage = Stage::of(Agent::Demo).await;
        let node = &stage.node;
        let turn = stage.prompt("say a word\npermit more").await;
        stage.wait(&turn, "permission.requested").await;
        let mut command = node.command(&["task", "attach", "t", "--json"]);
        let mut attached = command.stdout(std::process::Stdio::piped()).spawn().expect("the binary starts");
        let mut events = std::io::BufReader::new(attached.stdout.take().expect("piped"));
        let read = tokio::task::spawn_blocking(move || {
            let mut line = String::new();
            std::io::BufRead::read_line(&mut events, &mut line).map(|_| line)
        });
        let first = tokio::time::timeout(SEALED_DEADLINE, read).await.expect("an event").expect("no panic");
        assert!(first.expect("a line").contains("turn.started"));
        let ended = || attached.try_wait().expect("a child of ours");
        let code = wait::until("attach ends", SEALED_DEADLINE, ended).await;
        assert_eq!(code.code(), Some(0));
        let cancelled = node.holdfast_async(&["task", "cancel", "t"]).await;
        assert!(cancelled.status.success(), "{}", node::told(&cancelled));
        assert_eq!(stage.sealed(&turn).await["stop_reason"], json!("cancelled"));
    });
}
