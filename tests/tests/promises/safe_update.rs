//! safe update: whoever dies in whatever step of a switch, one runtime serves with all that was written.
//!
//! Steps are held open from outside: the process whose answer a step waits for is stopped (SIGSTOP), the victim is
//! killed, the others go on.

use holdfast_shared::home::Role;
use holdfast_shared::slot::Slot;
use holdfast_shared::wished::Wish;
use holdfast_tests::client::{Client, Since};
use holdfast_tests::journal_witness::JournalWitness;
use holdfast_tests::node::Node;
use holdfast_tests::work::{self, PacedTurn, SEALED_DEADLINE, conversation};
use holdfast_tests::{processes, run, wait};
use nix::sys::signal::Signal;
use serde_json::json;
use std::rc::Rc;
use std::time::Duration;
use tokio::task::JoinHandle;

/// A step of a switch (docs/ARCHITECTURE.md).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    /// The candidate has been started.
    Prewarming,
    /// The candidate is ready; the probe goes through a sidecar that stands still.
    Admission,
    /// The supervisor has begun to journal the switch.
    Hold,
    /// The sidecar holds; the active stands still before it fences.
    Fence,
    /// The active is fenced; the candidate stands still before it activates.
    Activate,
    /// The candidate is active; the sidecar stands still before it routes.
    Route,
    /// The sidecar has routed; the stability window runs.
    Probation,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Victim {
    Old,
    Candidate,
    Supervisor,
}

const STEP_DEADLINE: Duration = Duration::from_secs(10);

struct Switching {
    node: Rc<Node>,
    old: (Slot, i32),
    outcome: JoinHandle<Result<(), String>>,
}

impl Switching {
    fn other(&self) -> Role {
        Role::Runtime(self.old.0.other())
    }

    async fn candidate(&self) -> i32 {
        wait::until_asked("a candidate", STEP_DEADLINE, async || self.node.pid_of(self.other())).await
    }

    async fn candidate_ready(&self) -> i32 {
        let slot = self.old.0.other();
        let ready = async || self.node.runtime_report(slot).await.filter(|report| report.caught_up);
        wait::until_asked("the candidate caught up", STEP_DEADLINE, ready).await.pid
    }

    async fn holding(&self) {
        let held = async || self.node.sidecar_report().await.filter(|report| report.effect == Wish::Hold);
        wait::until_asked("the sidecar holds", STEP_DEADLINE, held).await;
    }

    /// Begins a switch and leaves it in this step, with what it waits for stopped.
    async fn begin(node: &Rc<Node>, step: Step) -> Switching {
        let old = node.active().await;
        let sidecar = node.pid_of(Role::Sidecar).expect("a living sidecar");
        match step {
            Step::Admission => processes::stop(sidecar),
            Step::Fence | Step::Activate | Step::Route => processes::stop(old.1),
            Step::Prewarming | Step::Hold | Step::Probation => {}
        }
        let asking = node.clone();
        let outcome = tokio::task::spawn_local(async move { asking.switch().await });
        let switching = Switching { node: node.clone(), old, outcome };
        match step {
            Step::Prewarming => processes::stop(switching.candidate().await),
            Step::Admission => {
                switching.candidate_ready().await;
            }
            Step::Hold => switching.journaling().await,
            Step::Fence => switching.holding().await,
            Step::Activate => switching.fenced().await,
            Step::Route => switching.activated(sidecar).await,
            Step::Probation => switching.routed().await,
        }
        switching
    }

    /// The supervisor's journal has grown since the candidate was ready.
    async fn journaling(&self) {
        self.candidate_ready().await;
        let before = self.supervisor_journal_bytes();
        let grown = async || {
            let done = self.outcome.is_finished();
            (done || self.supervisor_journal_bytes() != before).then_some(())
        };
        wait::until_asked("the switch is journaled", STEP_DEADLINE, grown).await;
    }

    fn supervisor_journal_bytes(&self) -> u64 {
        let entries =
            std::fs::read_dir(self.node.home().supervisor_journal()).into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.metadata().ok()).map(|metadata| metadata.len()).sum()
    }

    async fn fenced(&self) {
        self.holding().await;
        processes::stop(self.candidate().await);
        processes::signal(self.old.1, Signal::SIGCONT);
        let fenced =
            async || self.node.runtime_report(self.old.0).await.filter(|report| report.epoch.is_none());
        wait::until_asked("the old runtime is fenced", STEP_DEADLINE, fenced).await;
    }

    async fn activated(&self, sidecar: i32) {
        self.fenced().await;
        processes::stop(sidecar);
        processes::signal(self.candidate().await, Signal::SIGCONT);
        let slot = self.old.0.other();
        let active = async || self.node.runtime_report(slot).await.filter(|report| report.epoch.is_some());
        wait::until_asked("the candidate is active", STEP_DEADLINE, active).await;
    }

    async fn routed(&self) {
        let routed = async || {
            let effect = self.node.sidecar_report().await?.effect;
            matches!(effect, Wish::Route { slot, .. } if slot != self.old.0).then_some(())
        };
        wait::until_asked("the sidecar has routed", STEP_DEADLINE, routed).await;
    }

    /// Kills the victim, lets everybody else go on, and gives the outcome of the switch.
    async fn kill(self, victim: Victim) -> Result<(), String> {
        let pid = match victim {
            Victim::Old => Some(self.old.1),
            Victim::Candidate => self.node.pid_of(self.other()),
            Victim::Supervisor => self.node.pid_of(Role::Supervisor),
        };
        processes::signal(pid.expect("a living victim"), Signal::SIGKILL);
        for role in [Role::Runtime(Slot::A), Role::Runtime(Slot::B), Role::Sidecar] {
            if let Some(pid) = self.node.pid_of(role) {
                processes::signal(pid, Signal::SIGCONT);
            }
        }
        self.outcome.await.expect("the command came to its end")
    }
}

async fn one_case(step: Step, victim: Victim) {
    let node = Rc::new(Node::up());
    let channel = conversation("t");
    let operator = work::client(&node, &[("node", Since::Now)]);
    operator.ready().await;
    work::open_task(&operator, "t").await;
    work::open_task(&operator, "count").await;
    let paced = PacedTurn::new(node.scratch());
    let turn = work::prompt(&operator, "t", &paced.command_line(), false).await.expect("accepted");
    let recorder = work::recorder(&node, &[(&channel, Since::Start)]);
    let watchers: Vec<Client> = (0..5).map(|_| work::client(&node, &[(&channel, Since::Start)])).collect();
    for client in watchers.iter().chain([&recorder]) {
        client.ready().await;
    }
    let effects = node.scratch().join("effects");
    let count = async |number: u32| {
        let text = format!("echo {number} >> '{}'", effects.display());
        let data = json!({"task": "count", "text": text, "queue": true});
        operator.command("task.prompt", data).await.expect("accepted");
    };
    count(1).await;

    let switching = Switching::begin(&node, step).await;
    let old = switching.old;
    // Sent in the middle of the switch: answered by whoever serves afterwards.
    let (outcome, ()) = tokio::join!(switching.kill(victim), count(2));
    let now = node.active().await;
    println!("{step:?}, {victim:?} killed: {outcome:?}, active was {old:?}, is {now:?}");
    // `Hold` passes within a millisecond; the kill may come after the commit.
    if victim == Victim::Candidate && step < Step::Route && step != Step::Hold {
        assert_eq!(now, old, "a failure before commit leaves the old runtime serving");
        assert!(outcome.is_err(), "a switch without a candidate did not succeed");
    }

    count(3).await;
    node.switch().await.expect("the next switch works");
    count(4).await;
    paced.end();
    recorder
        .wait("sealed", SEALED_DEADLINE, |seen| work::sealed(&seen.channel(&channel).events, &turn))
        .await;
    let top = recorder.observed(|seen| seen.channel(&channel).offset);
    for client in watchers.iter().chain([&recorder]) {
        client.wait("the whole turn", SEALED_DEADLINE, |seen| seen.channel(&channel).offset >= top).await;
    }
    for client in watchers.iter().chain([&recorder, &operator]) {
        client.observed(|seen| {
            assert_eq!(seen.disconnects, Vec::<String>::new());
            assert_eq!(seen.complaints(), Vec::<String>::new());
        });
    }
    wait::until("every command had its effect", SEALED_DEADLINE, || {
        std::fs::read_to_string(&effects).ok().filter(|text| text == "1\n2\n3\n4\n")
    })
    .await;
    JournalWitness::new(&node.home().journal()).look().expect("one writer after the other");
}

macro_rules! cases {
    ($($name:ident: $step:ident $victim:ident;)*) => {
        $(#[test]
        fn $name() {
            run(one_case(Step::$step, Victim::$victim));
        })*
    };
}

cases! {
    safe_update_old_killed_in_prewarming: Prewarming Old;
    safe_update_candidate_killed_in_prewarming: Prewarming Candidate;
    safe_update_supervisor_killed_in_prewarming: Prewarming Supervisor;
    safe_update_old_killed_in_admission: Admission Old;
    safe_update_candidate_killed_in_admission: Admission Candidate;
    safe_update_supervisor_killed_in_admission: Admission Supervisor;
    safe_update_old_killed_in_hold: Hold Old;
    safe_update_candidate_killed_in_hold: Hold Candidate;
    safe_update_supervisor_killed_in_hold: Hold Supervisor;
    safe_update_old_killed_in_fence: Fence Old;
    safe_update_candidate_killed_in_fence: Fence Candidate;
    safe_update_supervisor_killed_in_fence: Fence Supervisor;
    safe_update_old_killed_in_activate: Activate Old;
    safe_update_candidate_killed_in_activate: Activate Candidate;
    safe_update_supervisor_killed_in_activate: Activate Supervisor;
    safe_update_old_killed_in_route: Route Old;
    safe_update_candidate_killed_in_route: Route Candidate;
    safe_update_supervisor_killed_in_route: Route Supervisor;
    safe_update_old_killed_in_probation: Probation Old;
    safe_update_candidate_killed_in_probation: Probation Candidate;
    safe_update_supervisor_killed_in_probation: Probation Supervisor;
}

/// A candidate that stands still in its activation is killed at the deadline; the old release serves on.
#[test]
fn safe_update_a_candidate_that_does_not_answer_leaves_the_old_one_serving() {
    run(async {
        let node = Rc::new(Node::up());
        let client = work::client(&node, &[("node", Since::Now)]);
        client.ready().await;
        work::open_task(&client, "t").await;
        let switching = Switching::begin(&node, Step::Activate).await;
        let old = switching.old;
        let outcome = switching.outcome.await.expect("the command came to its end");
        assert!(outcome.is_err(), "nothing was switched");
        assert_eq!(node.active().await, old);
        work::prompt(&client, "t", "true", false).await.expect("accepted");
        client.observed(|seen| assert_eq!(seen.disconnects, Vec::<String>::new()));
    });
}
