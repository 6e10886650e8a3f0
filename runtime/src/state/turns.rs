//! The part of the fold that is about turns: each change of a task answers the offsets that it placed in the conversation.

use crate::agent::What;
use crate::event;
use crate::order::{END_MESSAGE, WorkOrder};
use crate::record::{self, TaskFailure};
use crate::span::Seal;
use crate::task::{Queued, Running, Standing, Task};
use crate::turn::TurnState;

pub(super) fn start(task: &mut Task, started: &record::TurnStarted, at: u64) -> Vec<u64> {
    match task.queue.front() {
        Some(first) if first.turn == started.turn => drop(task.queue.pop_front()),
        _ => task.turns += 1,
    }
    let order = WorkOrder::new(&started.spawn_id, 1, &started.text);
    let worker = order.spawn_id.clone();
    if let (Some(agent), Some(numbers)) = (&mut task.agent, started.numbers) {
        let standing = match agent.worker_mut(&worker) {
            Some(_) => agent.worker.as_mut(),
            None => Some(agent.order(&worker, 1, at)),
        };
        if let Some(standing) = standing {
            standing.bring(&started.turn, numbers, at);
        }
    }
    let (turn, numbers) = (started.turn.clone(), started.numbers);
    task.running = Some(Running { turn, state: TurnState::Ordered, order, numbers, cancelled_at: None });
    let event = event::turn_started(&started.turn, &started.text, at);
    vec![task.conversation.begin(&task.id, &started.turn, &worker, event)]
}

pub(super) fn queue(task: &mut Task, queued: &record::TurnQueued, at: u64) -> Vec<u64> {
    task.turns += 1;
    task.queue.push_back(Queued { turn: queued.turn.clone(), text: queued.text.clone() });
    let event = event::turn_queued(&queued.turn, &queued.text, at);
    task.conversation.place(queued.after, event).into_iter().collect()
}

pub(super) fn dequeue(task: &mut Task, taken: &record::TurnDequeued, at: u64) -> Vec<u64> {
    task.queue.retain(|queued| queued.turn != taken.turn);
    task.conversation.place(taken.after, event::turn_dequeued(&taken.turn, at)).into_iter().collect()
}

pub(super) fn cancel(task: &mut Task, number: Option<u64>, at: u64) -> Vec<u64> {
    let Some(running) = &mut task.running else { return Vec::new() };
    running.state = TurnState::Cancelling;
    running.cancelled_at.get_or_insert(at);
    match &mut task.agent {
        None => running.order.end_message = Some(END_MESSAGE),
        Some(agent) => {
            if let (Some(worker), Some(number)) = (&mut agent.worker, number) {
                worker.send(number, What::Cancel);
                agent.call_off();
            }
        }
    }
    Vec::new()
}

pub(super) fn stop(task: &mut Task, stopped: &record::TaskStopped, at: u64) -> Vec<u64> {
    let offsets = seal_queue(task, stopped.after, at);
    task.standing = if task.running.is_some() { Standing::Stopping } else { Standing::Stopped };
    if let Some(agent) = &mut task.agent {
        agent.wanted = false;
    }
    cancel(task, stopped.number, at);
    offsets
}

/// Prompts that will not run any more are sealed where they stand.
fn seal_queue(task: &mut Task, after: u64, at: u64) -> Vec<u64> {
    let turns: Vec<String> = task.queue.drain(..).map(|queued| queued.turn).collect();
    let events = turns.iter().map(|turn| event::turn_dequeued(turn, at));
    events.filter_map(|event| task.conversation.place(after, event)).collect()
}

pub(super) fn retry(task: &mut Task, retried: &record::OrderRetried, at: u64) -> Vec<u64> {
    let Some(running) = &mut task.running else { return Vec::new() };
    let number = running.order.number + u32::from(!retried.same_try);
    running.order = WorkOrder::new(&retried.spawn_id, number, &running.order.text);
    running.numbers = retried.numbers;
    if let Some(span) = &mut task.conversation.open {
        let before = span.worker.replace(retried.spawn_id.clone());
        // A standing worker may have served earlier turns; one that did not is removed by whoever saw its end.
        if task.agent.is_none() {
            span.given_up.extend(before);
        }
    }
    if let (Some(agent), Some(numbers)) = (&mut task.agent, retried.numbers) {
        agent.order(&retried.spawn_id, number, at).bring(&running.turn, numbers, at);
    }
    Vec::new()
}

pub(super) fn seal(task: &mut Task, sealed: &record::TurnSealed, at: u64) -> Vec<u64> {
    let mut offsets = Vec::new();
    if let Some(error) = &sealed.errored {
        // Nobody waits for prompts that cannot run.
        offsets = seal_queue(task, sealed.outputs, at);
        if task.standing == Standing::Open {
            task.standing = Standing::Errored(error.clone());
        }
        // Who sealed without a code (a release before them) owes no word beside the seal: what was over then stays so.
        if let (Some(agent), Some(code)) = (&mut task.agent, &sealed.code) {
            agent.failed = Some(TaskFailure { code: code.clone(), message: error.clone() });
        }
    }
    if task.standing == Standing::Stopping {
        task.standing = Standing::Stopped;
    }
    task.running = None;
    let said = sealed.agent.clone().unwrap_or_default();
    if let (Some(agent), Some(_)) = (&mut task.agent, &sealed.agent) {
        match &mut agent.worker {
            Some(worker) if !said.worker_ended => {
                worker.turn_over(said.base + sealed.outputs, said.segment > 0, at);
            }
            _ => agent.worker_gone(),
        }
        // No turn of a worker that took none keeps its directory.
        if said.segment == 0
            && let Some(span) = &mut task.conversation.open
        {
            span.worker = None;
        }
    }
    let (stop_reason, exit_code, outputs) = (sealed.stop_reason, sealed.exit_code, sealed.outputs);
    let (code, detail, usage) = (sealed.code.clone(), said.detail, said.usage);
    let seal = Seal { stop_reason, exit_code, sealed_at: at, outputs, code, detail, usage };
    offsets.extend(task.conversation.seal(seal, said.segment, said.base));
    offsets
}
