//! What is due by the clock: who of the warm goes, which switch was not in time. Pure functions of the state, what is
//! observed and the time.

use crate::agent::Agent;
use crate::record::TaskFailure;
use crate::task::{Standing, Task};
use holdfast_shared::error::Code;

/// The tasks whose idle workers are ended so that no more than `warm` of those stay: the least recently used first.
pub fn least_used<'a>(tasks: impl Iterator<Item = &'a Task>, warm: usize) -> Vec<String> {
    let mut idle: Vec<(bool, u64, &str)> = tasks.filter_map(idle).collect();
    let over = idle.len().saturating_sub(warm);
    // One that is still starting is what somebody waits for.
    idle.sort_unstable();
    idle.iter().filter(|(starting, ..)| !starting).take(over).map(|(_, _, id)| (*id).to_owned()).collect()
}

/// Whether its worker stands without work: is it starting, when was it of use, whose is it.
fn idle(task: &Task) -> Option<(bool, u64, &str)> {
    let worker = task.agent.as_ref()?.worker.as_ref()?;
    let works = task.running.is_some() || !task.queue.is_empty() || worker.ending.is_some();
    (!works).then_some((!worker.ready, worker.used_at, task.id.as_str()))
}

/// What those who look at the task are to be told: why its turn could not be run, or why a switch to it cannot be answered
/// with a session any more.
pub fn failed_switch(agent: &Agent, standing: &Standing, now_ms: u64) -> Option<TaskFailure> {
    if let Some(failed) = &agent.failed {
        return Some(failed.clone());
    }
    let deadline = agent.switching?;
    let failure =
        |code: Code, message: &str| TaskFailure { code: code.as_str().into(), message: message.into() };
    match standing {
        Standing::Errored(error) => Some(failure(Code::BootstrapFailed, error)),
        Standing::Stopped | Standing::Stopping => Some(failure(Code::WorkerDead, "the task was stopped")),
        Standing::Open => (now_ms >= deadline)
            .then(|| failure(Code::SwitchTimeout, "the agent was not ready in time; it is still starting")),
    }
}

/// Whether a wait of `limit_ms` that began at `since_ms` is over. A clock that was set back ends none.
pub fn is_over(since_ms: u64, limit_ms: u64, now_ms: u64) -> bool {
    now_ms.saturating_sub(since_ms) >= limit_ms
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::StandingWorker;
    use crate::lifetime::agent_task;

    fn with(id: &str, used_at: u64, change: impl FnOnce(&mut StandingWorker)) -> Task {
        let mut task = agent_task(id);
        let worker = task.agent.get_or_insert_default().order("w", 1, used_at);
        worker.ready = true;
        change(worker);
        task
    }

    #[test]
    fn the_least_recently_used_go_and_whoever_works_or_starts_stays() {
        let mut tasks = vec![with("a", 30, |_| {}), with("b", 10, |_| {}), with("c", 20, |_| {})];
        assert_eq!(least_used(tasks.iter(), 3), Vec::<String>::new());
        assert_eq!(least_used(tasks.iter(), 1), ["b", "c"]);
        tasks.push(with("new", 1, |worker| worker.ready = false));
        assert_eq!(least_used(tasks.iter(), 3), ["b"], "the new one counts, and stays");
        assert_eq!(least_used(tasks.iter(), 0), ["b", "c", "a"]);
        let ending = crate::agent::Ending { why: crate::record::EndingFor::Lru, number: 20, detail: None };
        tasks[1] = with("b", 10, |worker| worker.ending = Some(ending));
        assert_eq!(least_used(tasks.iter(), 3), Vec::<String>::new(), "it goes already");
        tasks.push(agent_task("none"));
        assert_eq!(least_used(tasks.iter(), 3), Vec::<String>::new());
    }

    #[test]
    fn a_switch_is_answered_once_it_cannot_succeed_in_time() {
        let agent = Agent { switching: Some(100), ..Agent::default() };
        let code =
            |standing: Standing, now| failed_switch(&agent, &standing, now).map(|failure| failure.code);
        assert_eq!(code(Standing::Open, 99), None);
        assert_eq!(code(Standing::Open, 100).as_deref(), Some("SWITCH_TIMEOUT"));
        assert_eq!(code(Standing::Errored("why".into()), 0).as_deref(), Some("BOOTSTRAP_FAILED"));
        assert_eq!(code(Standing::Stopped, 0).as_deref(), Some("WORKER_DEAD"));
        assert_eq!(failed_switch(&Agent::default(), &Standing::Open, 999), None);
        let failed = TaskFailure { code: "C".into(), message: "m".into() };
        let agent = Agent { failed: Some(failed.clone()), ..agent };
        assert_eq!(failed_switch(&agent, &Standing::Errored("m".into()), 0), Some(failed), "once for both");
        assert!(!is_over(500, 100, 400) && !is_over(500, 100, 599) && is_over(500, 100, 600));
    }
}
