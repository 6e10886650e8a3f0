//! For tests: a runtime's decisions and their fold, without a world.

use crate::command_id::tests::id_at;
use crate::commands::{Call, Decision, Given, PendingPermission, Seen, decide};
use crate::record::{self, Body, Record};
use crate::span::StopReason;
use crate::state::{Placed, State};
use crate::task::Task;
use holdfast_shared::error::{ApiError, Code};
use holdfast_shared::link::Caller;
use holdfast_shared::skill::built_in;
use holdfast_shared::token::TokenRole;
use holdfast_shared::worker::Protocol;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// When tests take place, unix milliseconds.
pub const NOW: u64 = 1_800_000_000_000;

/// A state, the records that made it, and how much each task's worker has written.
#[derive(Clone, Debug, Default)]
pub struct Lifetime {
    pub state: State,
    pub records: Vec<Record>,
    pub outputs: BTreeMap<String, u64>,
    pub outputs_unknown: bool,
    pub storage_full: bool,
    pub no_room: Option<ApiError>,
    pub passive: bool,
    pub permissions: BTreeMap<(String, u64), PendingPermission>,
    ids: u64,
}

impl Seen for Lifetime {
    fn outputs(&self, task: &str) -> Option<u64> {
        (!self.outputs_unknown).then(|| self.outputs.get(task).copied().unwrap_or(0))
    }

    fn permission(&self, task: &str, seq: u64) -> Option<PendingPermission> {
        self.permissions.get(&(task.to_owned(), seq)).cloned()
    }

    fn consumed(&self, _task: &str) -> u64 {
        0
    }

    fn protocol(&self, skill: &str) -> Result<Option<Protocol>, String> {
        Ok(built_in(skill).map(|skill| skill.protocol))
    }
}

/// A task of the skill `demo`, just opened.
pub fn agent_task(id: &str) -> Task {
    let mut life = Lifetime::default();
    life.does("task.open", json!({"task": id, "skill": "demo"}));
    life.state.tasks.remove(id).expect("it was opened")
}

pub fn caller(role: TokenRole) -> Caller {
    Caller { principal: "p".into(), role, focus: None, scope: Default::default() }
}

impl Lifetime {
    /// Another life with this state; its command ids begin at `ids`.
    pub fn behind(state: State, ids: u64) -> Self {
        Self { state, ids, ..Self::default() }
    }

    pub fn lsn(&self) -> u64 {
        self.records.len() as u64
    }

    /// Decides on a call, and takes what is to be written.
    pub fn call_as(
        &mut self,
        method: &str,
        params: &Value,
        id: &str,
        who: &Caller,
    ) -> Result<Value, ApiError> {
        let given = Given {
            now_ms: NOW,
            next: (1, self.lsn() + 1),
            fresh_epoch: format!("{:08x}", self.lsn()),
            active: !self.passive,
            storage_full: self.storage_full,
            no_room: self.no_room.clone(),
            switch_timeout_ms: 5000,
        };
        let params = params.to_string();
        let call = Call { method, params: &params, command_id: id, caller: who };
        let decided = decide(&self.state, &call, &given, &*self)?;
        match decided {
            Decision::Answer { result, .. } => Ok(result),
            Decision::Write(record) => {
                let answer = record.command.clone().expect("a command's record answers it").answer;
                self.take(*record);
                Ok(answer)
            }
            Decision::History(_) => Ok(json!("history")),
            Decision::Late(_) => Ok(json!("late")),
            Decision::Probe => Ok(json!("probe")),
        }
    }

    /// The operator's call under a fresh id.
    pub fn call(&mut self, method: &str, params: Value) -> Result<Value, ApiError> {
        self.ids += 1;
        let id = id_at(NOW, self.ids);
        self.call_as(method, &params, &id, &caller(TokenRole::Operator))
    }

    #[track_caller]
    pub fn does(&mut self, method: &str, params: Value) -> Value {
        self.call(method, params).unwrap_or_else(|error| panic!("{method}: {error}"))
    }

    #[track_caller]
    pub fn refuses(&mut self, method: &str, params: Value, code: Code) -> ApiError {
        let before = self.state.clone();
        match self.call(method, params.clone()) {
            Ok(answer) => panic!("{method} {params} answered {answer}"),
            Err(error) => {
                assert_eq!(error.code, code, "{error}");
                assert_eq!(self.state, before, "a refusal changes nothing");
                error
            }
        }
    }

    pub fn take(&mut self, record: Record) -> Vec<Placed> {
        let placed = self.state.take(self.lsn() + 1, &record);
        self.records.push(record);
        placed
    }

    /// The turn that runs in a task ends, with as many outputs as were written.
    pub fn seal(&mut self, task: &str, stop_reason: StopReason, errored: Option<&str>) {
        let Some(running) = self.state.task(task).and_then(|task| task.running.as_ref()) else { return };
        let agent = running.numbers.map(|_| record::AgentSeal { segment: 1, ..Default::default() });
        let sealed = record::TurnSealed {
            agent,
            task: task.into(),
            turn: running.turn.clone(),
            stop_reason,
            exit_code: Some(0),
            outputs: self.outputs.remove(task).unwrap_or(0),
            errored: errored.map(str::to_owned),
            code: None,
        };
        self.take(Record::new(NOW, Body::TurnSealed(sealed)));
    }

    /// The first prompt that waits begins, if it can.
    pub fn start_queued(&mut self, task: &str) {
        let Some(found) = self.state.task(task) else { return };
        let Some(first) = found.queue.front().filter(|_| found.running.is_none()) else { return };
        let (turn, text) = (first.turn.clone(), first.text.clone());
        let started = crate::order::turn_started(found, turn, text, (1, self.lsn() + 1));
        self.take(Record::new(NOW, Body::TurnStarted(started)));
    }
}
