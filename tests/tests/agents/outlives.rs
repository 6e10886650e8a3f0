//! What each agent is put through.

use holdfast_shared::home::Role;
use holdfast_tests::agents::{self, Agent, Stage, Step, TASK, counts, of_kind, said, wait_said};
use holdfast_tests::client::{Client, Observed};
use holdfast_tests::work::{SEALED_DEADLINE, conversation};
use holdfast_tests::{processes, run};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

const WATCHERS: usize = 4;
/// Counted before and after the question: 4 s each, so that faults come in the middle.
const COUNT: u64 = 200;
const PAUSE_MS: u64 = 20;

struct Trial {
    agent: Agent,
    stage: Stage,
    channel: String,
}

impl Trial {
    async fn begin(agent: Agent) -> Trial {
        Trial { agent, stage: Stage::of(agent).await, channel: conversation(TASK) }
    }

    async fn prompt(&self, steps: &[Step]) -> String {
        self.stage.prompt(&self.agent.prompt(steps)).await
    }

    /// The count after the question has come to this number, as the one before it had.
    async fn says_again(&self, turn: &str, number: &str) {
        let is_it = |line: &&str| line.trim_start_matches("tick ").trim() == number;
        let twice = |events: &[Value]| said(events, turn).lines().filter(is_it).count() >= 2;
        let watcher = &self.stage.watcher;
        let seen = |seen: &Observed| twice(&seen.channel(&self.channel).events);
        watcher.wait("it goes on", SEALED_DEADLINE, seen).await;
    }

    async fn kill_active(&self) {
        let (_, pid) = self.stage.node.active().await;
        processes::signal(pid, Signal::SIGKILL);
    }
}

/// Text, a tool call and a pending permission, over a switch and a kill of each process around it; every watcher sees
/// the same events, once.
pub fn a_turn_over_switches_and_kills(agent: Agent) {
    run(async {
        let trial = Trial::begin(agent).await;
        let mut watchers = Vec::new();
        for _ in 0..WATCHERS {
            watchers.push(trial.stage.joiner().await);
        }
        let first = &trial.stage.watcher;
        let steps =
            [Step::Remember("blue"), Step::Count(COUNT, PAUSE_MS), Step::Ask, Step::Count(COUNT, PAUSE_MS)];
        let turn = trial.prompt(&steps).await;

        wait_said(first, TASK, &turn, "10\n").await;
        trial.stage.node.switch().await.expect("a switch in mid-turn");
        wait_said(first, TASK, &turn, "60\n").await;
        trial.kill_active().await;
        wait_said(first, TASK, &turn, "110\n").await;
        trial.stage.node.signal(Role::Supervisor, Signal::SIGKILL);

        let asked = trial.stage.wait(&turn, "permission.requested").await;
        trial.stage.node.active().await;
        trial.stage.node.switch().await.expect("a switch with a question pending");
        trial.kill_active().await;
        trial.stage.node.active().await;
        trial.stage.node.signal(Role::Supervisor, Signal::SIGKILL);
        trial.stage.node.signal(Role::Sidecar, Signal::SIGKILL);
        let late = trial.stage.joiner().await;
        answer_twice(&trial, &asked, [&watchers[0], &watchers[1]]).await;

        trial.says_again(&turn, "20").await;
        trial.stage.node.signal(Role::Sidecar, Signal::SIGKILL);
        trial.says_again(&turn, "90").await;
        trial.kill_active().await;
        let seal = trial.stage.sealed(&turn).await;
        assert_eq!(seal["stop_reason"], json!("end_turn"), "{seal}");

        let events = trial.stage.events();
        assert_eq!(counts(&events, &turn, COUNT), 2, "all that it said, once");
        assert_eq!(of_kind(&events, &turn, "permission.requested").len(), 1);
        assert_eq!(
            of_kind(&events, &turn, "permission.answered").len(),
            1,
            "answered once, and all are told"
        );
        let recalls = trial.prompt(&[Step::Recall]).await;
        trial.stage.sealed(&recalls).await;
        let recalled = trial.stage.said(&recalls);
        assert!(recalled.contains("blue"), "the same session goes on: {recalled}");

        let after = trial.stage.joiner().await;
        watchers.extend([late, after]);
        same_for_all(&trial, &watchers).await;
    });
}

/// Two answer the same question at once: one wins, and both are told what holds.
async fn answer_twice(trial: &Trial, asked: &Value, who: [&Client; 2]) {
    let allows = trial.agent.allows(asked);
    let answer = json!({"task": TASK, "request": asked["request"], "option": allows});
    let (one, other) = tokio::join!(
        who[0].command("permission.answer", answer.clone()),
        who[1].command("permission.answer", answer.clone())
    );
    let answers = [one.expect("answered"), other.expect("answered")];
    let won = answers.iter().filter(|answer| answer["won"] == true).count();
    assert_eq!(won, 1, "{answers:?}");
    assert!(answers.iter().all(|answer| answer["option_id"] == allows.as_str()), "{answers:?}");
}

async fn same_for_all(trial: &Trial, others: &[Client]) {
    let first = &trial.stage.watcher;
    let (top, digests) = first.observed(|seen| {
        let seen = seen.channel(&trial.channel);
        (seen.offset, seen.digests.clone())
    });
    for watcher in others.iter().chain([first]) {
        watcher
            .wait("the whole conversation", SEALED_DEADLINE, |seen| {
                seen.channel(&trial.channel).offset >= top
            })
            .await;
        watcher.observed(|seen| {
            assert_eq!(seen.complaints(), Vec::<String>::new());
            assert!(seen.channel(&trial.channel).digests == digests, "another sequence");
        });
    }
}

/// Cancelled in mid-text and with a question pending; the agent itself goes on.
pub fn a_cancel(agent: Agent) {
    run(async {
        let trial = Trial::begin(agent).await;
        let watcher = &trial.stage.watcher;
        let text = trial.prompt(&[Step::Remember("blue"), Step::Count(10_000, PAUSE_MS)]).await;
        wait_said(watcher, TASK, &text, "5\n").await;
        trial.stage.command("task.cancel", json!({})).await.expect("accepted");
        let seal = trial.stage.sealed(&text).await;
        assert_eq!(seal["stop_reason"], json!("cancelled"), "{seal}");
        let asks = trial.prompt(&[Step::Ask]).await;
        let asked = trial.stage.wait(&asks, "permission.requested").await;
        trial.stage.command("task.cancel", json!({})).await.expect("accepted");
        let seal = trial.stage.sealed(&asks).await;
        assert_eq!(seal["stop_reason"], json!("cancelled"), "{seal}");
        let answered = trial.stage.wait(&asks, "permission.answered").await;
        assert_eq!(answered["outcome"], json!("cancelled"), "{answered}");
        let allows = trial.agent.allows(&asked);
        let late = json!({"task": TASK, "request": asked["request"], "option": allows});
        let late = trial.stage.command("permission.answer", late).await.expect("it was a request");
        assert_eq!(late["won"], json!(false), "{late}");
        let recalls = trial.prompt(&[Step::Recall]).await;
        trial.stage.sealed(&recalls).await;
        assert!(trial.stage.said(&recalls).contains("blue"), "it is the same agent still");
    });
}

/// The agent's process is killed in mid-turn: that turn is sealed, and the next prompt goes to another process with
/// the same session. What that one replays is recorded nowhere.
pub fn a_death(agent: Agent) {
    run(async {
        let trial = Trial::begin(agent).await;
        let watcher = &trial.stage.watcher;
        let told = trial.prompt(&[Step::Remember("blue")]).await;
        trial.stage.sealed(&told).await;
        let text = trial.prompt(&[Step::Count(10_000, PAUSE_MS)]).await;
        wait_said(watcher, TASK, &text, "5\n").await;
        let workers = agents::workers(&trial.stage.node, TASK);
        assert!(!workers.is_empty(), "a process works in the task's workspace");
        workers.iter().for_each(|pid| processes::signal(*pid, Signal::SIGKILL));
        let seal = trial.stage.sealed(&text).await;
        assert_eq!(seal["stop_reason"], json!("interrupted"), "{seal}");
        let before = trial.stage.said(&told);
        let recalls = trial.prompt(&[Step::Recall]).await;
        let seal = trial.stage.sealed(&recalls).await;
        assert_eq!(seal["stop_reason"], json!("end_turn"), "{seal}");
        // What an agent replays late lies before what it says to a prompt that it is given later.
        let follows = trial.prompt(&[Step::Recall]).await;
        trial.stage.sealed(&follows).await;
        let events = trial.stage.events();
        for turn in [&recalls, &follows] {
            let recalled = said(&events, turn);
            assert!(recalled.contains("blue"), "{recalled}");
            assert!(!recalled.contains("5\n"), "a replay was recorded: {recalled}");
        }
        assert_eq!(said(&events, &told), before);
        let now = agents::workers(&trial.stage.node, TASK);
        assert!(!now.is_empty() && now.iter().all(|pid| !workers.contains(pid)), "another process");
    });
}
