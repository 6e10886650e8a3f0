//! The rules of a task's life (CONTRACTS.md 3 and 4), where a real agent adds something to them.

use holdfast_tests::agents::{self, Agent, Stage, Step, TASK, of_kind, said, wait_said};
use holdfast_tests::client::Observed;
use holdfast_tests::node::{Node, told};
use holdfast_tests::terminal::Terminal;
use holdfast_tests::work::{self, SEALED_DEADLINE};
use holdfast_tests::{processes, run, wait};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

/// So many prompts wait at most.
const QUEUED_MAX: usize = 16;

/// A task of the demo agent under these settings.
async fn begin(config: &str) -> Stage {
    Stage::of_skill(config, "demo", |_| ()).await
}

/// Waits for an event of a kind on the task's own channel; the last of them.
async fn told_of_task(life: &Stage, kind: &str) -> Value {
    let last =
        |seen: &Observed| seen.channel("task:t").events.iter().rfind(|event| event["type"] == kind).cloned();
    life.watcher.wait(kind, SEALED_DEADLINE, |seen| last(seen).is_some()).await;
    life.watcher.observed(last).expect("waited for")
}

async fn listed(life: &Stage) -> Value {
    let list = life.operator.command("task.list", json!({})).await.expect("a read");
    let tasks = list["tasks"].as_array().expect("tasks");
    tasks.iter().find(|task| task["task"] == TASK).cloned().expect("it is there")
}

/// Writes a skill's directory and installs it.
fn skill(node: &Node, name: &str, argv: &[&str], more: &str) {
    let directory = node.scratch().join(name);
    std::fs::create_dir(&directory).expect("a new directory");
    let argv = json!(argv);
    let manifest = format!("name = {name:?}\nversion = \"1\"\nprotocol = \"acp\"\nargv = {argv}\n{more}\n");
    std::fs::write(directory.join("skill.toml"), manifest).expect("a new file");
    let output = node.holdfast(&["skill", "install", &directory.to_string_lossy()]);
    assert!(output.status.success(), "{}", told(&output));
}

#[test]
fn open_answers_created_then_resumed_and_the_session_goes_on() {
    run(async {
        let life = begin("").await;
        life.answered("remember blue").await;
        life.command("task.stop", json!({})).await.expect("accepted");
        told_of_task(&life, "task.stopped").await;
        let refused = work::prompt(&life.operator, TASK, "secret", false).await.expect_err("it is stopped");
        assert!(refused.is("TASK_NOT_READY"), "{refused:?}");
        let opened = agents::open(&life.operator, TASK, "demo").await;
        assert_eq!(opened["mode"], json!("resumed"), "{opened}");
        let said = life.answered("secret").await;
        assert!(said.contains("blue"), "{said:?}");
    });
}

#[test]
fn an_unknown_skill_is_refused() {
    run(async {
        let life = begin("").await;
        let opened = life.operator.command("task.open", json!({"task": "x", "skill": "nobody"})).await;
        assert!(opened.expect_err("there is none").is("INVALID_REQUEST"));
    });
}

#[test]
fn switch_answers_at_once_then_says_ready_and_is_a_no_op_in_focus() {
    run(async {
        let life = begin("").await;
        let answer = life.command("task.switch", json!({})).await.expect("accepted");
        assert_eq!(answer["state"], json!("switching"), "{answer}");
        let ready = told_of_task(&life, "task.ready").await;
        assert_eq!(ready["session"]["modes"]["currentModeId"], json!("ask"), "{ready}");
        assert_eq!(listed(&life).await["worker"], json!("warm"));
        let answer = life.command("task.switch", json!({})).await.expect("accepted");
        assert_ne!(answer["state"], json!("switching"), "it is in focus: {answer}");
    });
}

/// Whoever comes back to the task in focus does not pay the start of its agent with the next prompt.
#[test]
fn switch_to_the_task_in_focus_warms_it_where_its_worker_has_gone() {
    run(async {
        let life = begin("").await;
        life.command("task.switch", json!({})).await.expect("accepted");
        told_of_task(&life, "task.ready").await;
        for pid in agents::workers(&life.node, TASK) {
            processes::signal(pid, Signal::SIGKILL);
        }
        let worker = async |state: &str| (listed(&life).await["worker"] == state).then_some(());
        wait::until_asked("the agent is gone", SEALED_DEADLINE, async || worker("none").await).await;
        let answer = life.command("task.switch", json!({})).await.expect("accepted");
        assert_eq!(answer["state"], json!("switching"), "{answer}");
        wait::until_asked("another agent", SEALED_DEADLINE, async || worker("warm").await).await;
    });
}

#[test]
fn switch_to_an_agent_that_never_answers_says_so_at_its_deadline() {
    run(async {
        let silent = |node: &Node| skill(node, "silent", &["sleep", "1000"], "");
        let life = Stage::of_skill("[runtime]\nswitch_timeout_ms = 500\n", "silent", silent).await;
        life.command("task.switch", json!({})).await.expect("accepted");
        assert_eq!(told_of_task(&life, "task.error").await["code"], json!("SWITCH_TIMEOUT"));
    });
}

#[test]
fn switch_to_an_agent_that_cannot_start_says_so() {
    run(async {
        let broken = |node: &Node| skill(node, "broken", &["false"], "");
        let life = Stage::of_skill("", "broken", broken).await;
        life.command("task.switch", json!({})).await.expect("accepted");
        assert_eq!(told_of_task(&life, "task.error").await["code"], json!("BOOTSTRAP_FAILED"));
    });
}

#[test]
fn an_agent_that_cannot_start_seals_its_turn_with_a_reason() {
    run(async {
        let broken = |node: &Node| skill(node, "broken", &["false"], "");
        let life = Stage::of_skill("", "broken", broken).await;
        let turn = life.prompt("say hello").await;
        let seal = life.sealed(&turn).await;
        assert_eq!(seal["stop_reason"], json!("failed"), "{seal}");
        let told = told_of_task(&life, "turn.sealed").await;
        assert!(told["error"].is_string() && told["state"] == "errored", "{told}");
        assert_eq!(listed(&life).await["state"], json!("errored"));
        let opened = agents::open(&life.operator, TASK, "broken").await;
        assert_eq!(opened["mode"], json!("recovered"), "{opened}");
    });
}

/// Whoever looks is told why, where they look, what the agent said of it included, and what helps.
#[test]
fn why_an_agent_cannot_start_is_said_where_people_look() {
    run(async {
        let fatal = ["sh", "-c", "printf 'FATAL: no api key\\033[2J\\n' >&2; exit 5"];
        let life = Stage::of_skill("", "broken", |node| skill(node, "broken", &fatal, "")).await;
        let why = "the agent exited with code 5; it said: FATAL: no api key␛[2J";
        assert_eq!(told_of_task(&life, "task.error").await["message"], json!(why));
        let cli = async |arguments: &[&str]| told(&life.node.holdfast_async(arguments).await);
        let helps = "`holdfast task open t --skill broken` starts it again";
        let mut attached = Terminal::start(life.node.command(&["task", "attach", "t"]), 200, 30);
        attached.shows(why).await;
        attached.shows(helps).await;
        attached.press("q");
        assert!(attached.ends().await.success());
        let listed = cli(&["task", "list"]).await;
        assert!(listed.contains(why), "{listed}");
        let refused = cli(&["task", "prompt", "t", "hi"]).await;
        assert!(refused.contains(why) && refused.contains(helps), "{refused}");
        let refused = work::prompt(&life.operator, TASK, "hi", false).await.expect_err("it is errored");
        assert!(refused.is("TASK_NOT_READY") && format!("{refused:?}").contains(why), "{refused:?}");
        agents::open(&life.operator, TASK, "broken").await;
        let turn = life.prompt("hi").await;
        assert_eq!(life.sealed(&turn).await["detail"], json!(why));
    });
}

#[test]
fn an_agent_that_is_silent_past_its_start_limit_seals_its_turn() {
    run(async {
        let silent = |node: &Node| skill(node, "silent", &["sleep", "1000"], "");
        let life = Stage::of_skill("[runtime]\nagent_start_limit_ms = 500\n", "silent", silent).await;
        let turn = life.prompt("say hello").await;
        let seal = life.sealed(&turn).await;
        assert_eq!(seal["stop_reason"], json!("failed"), "{seal}");
    });
}

#[test]
fn a_turn_that_hangs_is_sealed_at_its_silence_limit() {
    run(async {
        let life = begin("[runtime]\nturn_silence_limit_ms = 1000\ncancel_grace_ms = 500\n").await;
        let turn = life.prompt("say before\nhang").await;
        let seal = life.sealed(&turn).await;
        assert_eq!(seal["stop_reason"], json!("limit"), "{seal}");
        assert!(seal["detail"].is_string(), "it says which: {seal}");
        assert_eq!(life.answered("say again").await, "again");
    });
}

#[test]
fn a_second_prompt_is_refused_and_queued_ones_are_turns_of_their_own() {
    run(async {
        let life = begin("").await;
        let first = life.prompt("permit go").await;
        let asked = life.wait(&first, "permission.requested").await;
        let refused = work::prompt(&life.operator, TASK, "say no", false).await.expect_err("a turn runs");
        assert!(refused.is("ALREADY_ACTIVE"), "{refused:?}");
        let mut queued = Vec::new();
        for number in 0..QUEUED_MAX {
            let text = format!("say {number}");
            queued.push(work::prompt(&life.operator, TASK, &text, true).await.expect("there is room"));
        }
        let busy =
            life.operator.rpc("task.prompt", json!({"task": TASK, "text": "say 17", "queue": true})).await;
        assert!(format!("{busy:?}").contains("BUSY"), "{busy:?}");
        life.command("task.dequeue", json!({"turn": queued[3]})).await.expect("it waits");
        let taken_back = queued.remove(3);
        let answer = json!({"request": asked["request"], "option": "allow"});
        life.command("permission.answer", answer).await.expect("answered");
        life.sealed(queued.last().expect("some")).await;
        let events = life.events();
        for turn in &queued {
            assert_eq!(of_kind(&events, turn, "turn.started").len(), 1, "{turn}");
        }
        assert_eq!(of_kind(&events, &taken_back, "turn.started").len(), 0);
        let order: Vec<&str> = events
            .iter()
            .filter(|event| event["type"] == "turn.started")
            .filter_map(|event| event["turn"].as_str())
            .collect();
        assert_eq!(order[1..], queued.iter().map(String::as_str).collect::<Vec<_>>(), "first in, first out");
    });
}

#[test]
fn a_prompt_sent_twice_under_one_id_is_one_turn() {
    run(async {
        let life = begin("").await;
        let id = uuid::Uuid::now_v7().to_string();
        let data = json!({"task": TASK, "text": "say once"});
        let first = life.operator.command_with_id(&id, "task.prompt", data.clone()).await.expect("accepted");
        let again = life.operator.command_with_id(&id, "task.prompt", data).await.expect("the same answer");
        assert_eq!(first, again);
        let turn = first["turn"].as_str().expect("a text").to_owned();
        life.sealed(&turn).await;
        assert_eq!(life.events().iter().filter(|event| event["type"] == "turn.started").count(), 1);
    });
}

#[test]
fn stop_ends_a_running_turn_and_its_agent() {
    run(async {
        let life = begin("").await;
        let turn = life.prompt("count 100000 20").await;
        wait_said(&life.watcher, TASK, &turn, "3\n").await;
        life.command("task.stop", json!({})).await.expect("accepted");
        let seal = life.sealed(&turn).await;
        assert_eq!(seal["stop_reason"], json!("cancelled"), "{seal}");
        holdfast_tests::wait::until("no process of the task is left", SEALED_DEADLINE, || {
            agents::workers(&life.node, TASK).is_empty().then_some(())
        })
        .await;
    });
}

#[test]
fn an_agent_that_ignores_cancel_is_ended_after_its_grace() {
    run(async {
        let life = begin("[runtime]\ncancel_grace_ms = 500\n").await;
        life.answered("remember blue").await;
        let turn = life.prompt("say before\nhang").await;
        wait_said(&life.watcher, TASK, &turn, "before").await;
        life.command("task.cancel", json!({})).await.expect("accepted");
        let seal = life.sealed(&turn).await;
        assert_eq!(seal["stop_reason"], json!("cancelled"), "{seal}");
        assert!(life.answered("secret").await.contains("blue"), "another process goes on with the session");
    });
}

#[test]
fn an_error_of_the_agent_fails_the_turn_and_no_other() {
    run(async {
        let life = begin("").await;
        let turn = life.prompt("say before\nfail").await;
        let seal = life.sealed(&turn).await;
        assert_eq!(seal["stop_reason"], json!("failed"), "{seal}");
        assert!(seal["detail"].is_string(), "{seal}");
        assert_eq!(life.answered("say again").await, "again");
    });
}

#[test]
fn the_tokens_an_agent_says_are_in_the_seal() {
    run(async {
        let life = begin("").await;
        let turn = life.prompt("usage 120 2000").await;
        let seal = life.sealed(&turn).await;
        assert_eq!((&seal["usage"]["used"], &seal["usage"]["size"]), (&json!(120), &json!(2000)), "{seal}");
    });
}

#[test]
fn a_mode_is_set_and_an_unknown_one_refused() {
    run(async {
        let life = begin("").await;
        life.answered("say hello").await;
        let refused = life.command("task.mode", json!({"mode": "nowhere"})).await.expect_err("there is none");
        assert!(refused.is("INVALID_REQUEST"), "{refused:?}");
        let answer = life.command("task.mode", json!({"mode": "code"})).await.expect("there is one");
        assert_eq!(answer["mode"], json!("code"));
        assert!(life.answered("permit it").await.ends_with("it: not asked"), "it does not ask in this mode");
        assert_eq!(listed(&life).await["modes"]["currentModeId"], json!("code"));
    });
}

#[test]
fn junk_and_stderr_of_an_agent_are_shown_and_harm_nothing() {
    run(async {
        let life = begin("").await;
        let turn = life.prompt("say a\njunk\nstderr to the side\npermit on\nsay b").await;
        let asked = life.wait(&turn, "permission.requested").await;
        // What is written into two pipes has no order: the turn goes on when both were shown.
        let is_shown = |seen: &Observed| {
            let events = &seen.channel(&work::conversation(TASK)).events;
            of_kind(events, &turn, "turn.output").iter().any(|event| event["stream"] == "stderr")
        };
        life.watcher.wait("what was written to the side", SEALED_DEADLINE, is_shown).await;
        let answer = json!({"request": asked["request"], "option": "allow"});
        life.command("permission.answer", answer).await.expect("it waits");
        let seal = life.sealed(&turn).await;
        assert_eq!(seal["stop_reason"], json!("end_turn"), "{seal}");
        let events = life.events();
        assert_eq!(said(&events, &turn), "aon: allowb");
        let output = |stream: &str| -> String {
            let of = of_kind(&events, &turn, "turn.output");
            of.iter()
                .filter(|event| event["stream"] == stream)
                .filter_map(|event| event["text"].as_str())
                .collect()
        };
        assert_eq!(
            (output("stdout").as_str(), output("stderr").as_str()),
            ("this line is no JSON\n", "to the side\n")
        );
    });
}

#[test]
fn a_long_line_is_one_update_and_one_past_the_limit_is_none() {
    run(async {
        let life = begin("").await;
        let turn = life.prompt("long 200000\nsay between\nlong 2000000\nsay end").await;
        let seal = life.sealed(&turn).await;
        assert_eq!(seal["stop_reason"], json!("end_turn"), "{seal}");
        let events = life.events();
        let said = said(&events, &turn);
        assert!(said.ends_with("betweenend"), "the longer one is left out");
        assert!((190_000..200_000).contains(&said.len()), "the shorter one is whole: {}", said.len());
        let of = of_kind(&events, &turn, "turn.skip");
        let long: Vec<&&Value> = of.iter().filter(|event| event["reason"] == "too_long").collect();
        let [long] = long[..] else { panic!("one is too long: {long:?}") };
        assert!(long["bytes"].as_u64().is_some_and(|bytes| bytes > 1_900_000), "{long}");
        let joiner = life.joiner().await;
        joiner
            .wait("the same", SEALED_DEADLINE, |seen| {
                seen.channel(&work::conversation(TASK)).events.len() >= events.len()
            })
            .await;
        assert_eq!(joiner.observed(|seen| seen.channel(&work::conversation(TASK)).events.clone()), events);
        let mut attached = Terminal::start(life.node.command(&["task", "attach", "t"]), 200, 30);
        attached.shows(&format!("a message of {} bytes is not shown", long["bytes"])).await;
        attached.press("q");
        attached.ends().await;
    });
}

/// The agent lives on when every program around it is stopped with the work left running, and again started.
#[test]
fn a_pending_question_outlives_stop_keep_workers_and_up() {
    run(async {
        let mut life = begin("").await;
        let turn = life.prompt(&Agent::Demo.prompt(&[Step::Remember("blue"), Step::Ask])).await;
        let asked = life.wait(&turn, "permission.requested").await;
        let workers = agents::workers(&life.node, TASK);
        let stopped = life.node.holdfast_async(&["stop", "--keep-workers"]).await;
        assert!(stopped.status.success(), "{}", told(&stopped));
        life.node.wait_up_ended(std::time::Duration::from_secs(20));
        life.up_again().await;
        let answer = json!({"request": asked["request"], "option": "allow"});
        life.command("permission.answer", answer).await.expect("answered");
        let seal = life.sealed(&turn).await;
        assert_eq!(seal["stop_reason"], json!("end_turn"), "{seal}");
        assert_eq!(agents::workers(&life.node, TASK), workers, "the same process");
    });
}

/// Everything is killed at once, holders and agents too, as a power cut does: the turn is sealed, and the next prompt
/// is answered by another process with the same session in the same workspace.
#[test]
fn when_everything_dies_the_turn_is_sealed_and_the_session_goes_on() {
    run(async {
        let mut life = begin("").await;
        life.answered("remember blue\nwrite kept here").await;
        let turn = life.prompt("permit it").await;
        life.wait(&turn, "permission.requested").await;
        life.node.kill_everything();
        life.up_again().await;
        let seal = life.sealed(&turn).await;
        assert_eq!(seal["stop_reason"], json!("interrupted"), "{seal}");
        let said = life.answered("secret\nread kept").await;
        assert_eq!(said, "I was told: bluehere");
    });
}

/// An agent that ends between two turns is no error: the next prompt has another.
#[test]
fn an_agent_that_ends_between_turns_is_started_again_with_the_next_prompt() {
    run(async {
        let life = begin("").await;
        life.answered("remember blue").await;
        for pid in agents::workers(&life.node, TASK) {
            processes::signal(pid, Signal::SIGKILL);
        }
        // A prompt that its holder took before it saw the death would be the interrupted turn of a dead agent.
        let gone = async || (listed(&life).await["worker"] == "none").then_some(());
        wait::until_asked("the agent is gone", SEALED_DEADLINE, gone).await;
        let said = life.answered("secret").await;
        assert!(said.contains("blue"), "{said:?}");
    });
}

/// How a turn ends of an agent that takes its prompt and then does this.
async fn seal_of_agent_that(does: &str, more: &str) -> Value {
    let script = format!(
        r#"read -r a; echo '{{"jsonrpc":"2.0","id":1,"result":{{"protocolVersion":1}}}}'
        read -r b; echo '{{"jsonrpc":"2.0","id":2,"result":{{"sessionId":"s"}}}}'
        read -r c; {does}"#
    );
    let prepare = |node: &Node| skill(node, "odd", &["/bin/sh", "-c", &script], more);
    let life = Stage::of_skill("", "odd", prepare).await;
    let turn = life.prompt("go").await;
    life.sealed(&turn).await
}

/// The holder sees it, which is long before the silence limit.
#[test]
fn an_agent_that_closes_its_stdout_in_a_turn_is_ended_and_its_turn_sealed() {
    run(async {
        let seal = seal_of_agent_that("exec >&-; exec sleep 1000", "").await;
        assert_eq!((&seal["stop_reason"], &seal["code"]), (&json!("interrupted"), &json!("WORKER_DEAD")));
    });
}

#[test]
fn an_agent_that_used_up_its_processor_time_ends_its_turn_as_limit() {
    run(async {
        let seal = seal_of_agent_that("while :; do :; done", "[limits]\ncpu_seconds = 1").await;
        assert_eq!(seal["stop_reason"], json!("limit"), "{seal}");
        let detail = seal["detail"].as_str().expect("it says why");
        assert!(detail.contains("time of processors"), "{detail}");
    });
}
