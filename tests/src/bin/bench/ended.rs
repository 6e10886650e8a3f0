//! A home as it is after very many ended turns: the journal with its checkpoints, and the filed turns.
//!
//! Records go through the product's own writer and checkpointer, filed turns through the product's own types. The
//! turns wrote nothing; what is left out is running them, their workers' directories (which nothing reads once a turn
//! without output is filed), and waiting for the disk after each file.

use holdfast_runtime::command_id;
use holdfast_runtime::conversation::Conversation;
use holdfast_runtime::event;
use holdfast_runtime::filed::{FILED_FORMAT, Filed, FiledBody, file_name};
use holdfast_runtime::record::{Answered, Body, KINDS, OpenMode, Record};
use holdfast_runtime::record::{SpanFiled, TaskOpened, TurnSealed, TurnStarted};
use holdfast_runtime::span::{Seal, Span, StopReason};
use holdfast_runtime::state::State;
use holdfast_shared::home::Home;
use holdfast_shared::journal::{
    Checkpointer, CheckpointerEvent, Limits, NewRecord, RealDisk, Request, TakeOver, WriterEvent,
    WriterThread, inspect,
};
use holdfast_shared::worker::Protocol;
use holdfast_tests::wait;
use serde_json::json;
use std::fs;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Tasks among which the turns are divided.
const TASKS: usize = 64;
/// Records of one turn: started, sealed, filed.
const RECORDS_OF_A_TURN: usize = 3;
/// Turns whose records are handed to the writer at once.
const TURNS_AT_ONCE: usize = 100;
/// A checkpoint, a batch: each far below a second.
const STEP_DEADLINE: Duration = Duration::from_secs(60);

/// Appends at least `records` records of ended turns to a stopped node's journal; answers how many were appended.
///
/// # Panics
/// When the node is not stopped, or the disk refuses.
pub fn fill(home: &Home, records: usize) -> u64 {
    let turns = records.saturating_sub(TASKS).div_ceil(RECORDS_OF_A_TURN);
    let mut journal = Filling::begin(home);
    let mut tasks: Vec<Conversation> = (0..TASKS).map(|_| Conversation::new("0badcafe")).collect();
    let opened = (0..TASKS).map(|task| record(Body::TaskOpened(opened(task)))).collect();
    journal.append(opened);
    for first in (0..turns).step_by(TURNS_AT_ONCE) {
        let mut group = Vec::with_capacity(TURNS_AT_ONCE * RECORDS_OF_A_TURN);
        for number in first..turns.min(first + TURNS_AT_ONCE) {
            let task = number % TASKS;
            group.extend(turn(home, task, number / TASKS + 1, &mut tasks[task]));
        }
        journal.append(group);
        if first % (TURNS_AT_ONCE * 500) == 0 {
            eprintln!("{} of {records} records of ended turns", journal.appended);
        }
    }
    journal.end()
}

fn task_id(task: usize) -> String {
    format!("ended-{task:02}")
}

fn opened(task: usize) -> TaskOpened {
    TaskOpened {
        task: task_id(task),
        skill: "command".into(),
        mode: OpenMode::Created,
        conversation_epoch: "0badcafe".into(),
        protocol: Protocol::Command,
    }
}

fn record(body: Body) -> NewRecord {
    Record::new(now_ms(), body).encode()
}

/// One turn that wrote nothing and ended: its file and its records.
fn turn(home: &Home, task: usize, number: usize, said: &mut Conversation) -> Vec<NewRecord> {
    let (task, turn) = (task_id(task), format!("t{number}"));
    let (worker, text) = (format!("w-0-{task}-{number}"), "true");
    let (at, outputs) = (now_ms(), 0);
    said.begin(&task, &turn, &worker, event::turn_started(&turn, text, at));
    said.seal(Seal::new(StopReason::EndTurn, Some(0), at, outputs), 0, 0);
    let span = said.unfiled.pop().expect("it was sealed now");
    let first = span.first;
    file(home, span, number);
    let started = TurnStarted {
        task: task.clone(),
        turn: turn.clone(),
        text: text.into(),
        spawn_id: worker,
        numbers: None,
    };
    let sealed = TurnSealed {
        task: task.clone(),
        turn: turn.clone(),
        stop_reason: StopReason::EndTurn,
        exit_code: Some(0),
        outputs,
        errored: None,
        code: None,
        agent: None,
    };
    let prompt = json!({"task": task, "text": text});
    let command = Answered {
        principal: "local:0".into(),
        id: uuid::Uuid::now_v7().to_string(),
        digest: command_id::digest("task.prompt", &prompt),
        answer: json!({"turn": turn}),
    };
    let prompted = Record { at, command: Some(command), body: Body::TurnStarted(started) };
    let filed = SpanFiled { task, first };
    vec![prompted.encode(), record(Body::TurnSealed(sealed)), record(Body::SpanFiled(filed))]
}

fn file(home: &Home, span: Span, number: usize) {
    const BYTES: u64 = 512;
    let directory = home.conversation(&span.conversation);
    if number == 1 {
        fs::create_dir_all(&directory).expect("room");
    }
    let path = directory.join(file_name(span.first));
    let body = FiledBody::Turn { span, bytes: BYTES, index: Vec::new() };
    let filed = Filed { format: FILED_FORMAT, cumulative_bytes: BYTES * number as u64, body };
    fs::write(path, serde_json::to_vec(&filed).expect("it has string keys")).expect("room");
}

fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}

/// The journal, taken over as a runtime takes it over.
struct Filling {
    thread: WriterThread,
    checkpointer: Checkpointer,
    checkpoints: Receiver<u64>,
    next: u64,
    /// Position of the newest checkpoint, or of the beginning.
    checkpointed: u64,
    appended: u64,
}

impl Filling {
    fn begin(home: &Home) -> Filling {
        let directory = home.journal();
        let inspection = inspect(&directory).expect("a good journal");
        let request = Request {
            epoch: inspection.highest_epoch + 1,
            owner: "a".into(),
            instance: "bench".into(),
            release: env!("CARGO_PKG_VERSION").into(),
            at_ms: now_ms(),
            first: false,
            journal_id: inspection.journal_id.expect("there is a journal"),
            known_kinds: KINDS,
            limits: Limits::RUNTIME,
        };
        let (writer, taken) =
            TakeOver::begin(&directory, Arc::new(RealDisk), request).expect("a stopped node");
        let thread = WriterThread::spawn(writer, |event| {
            if let WriterEvent::Failed { error } = event {
                panic!("{error}");
            }
        })
        .expect("a thread");
        let (told, checkpoints) = sync_channel(1024);
        let checkpointer = Checkpointer::spawn::<State>(thread.client(), None, move |event| match event {
            CheckpointerEvent::Written(written) => drop(told.try_send(written.position.lsn)),
            other => panic!("{other:?}"),
        })
        .expect("a thread");
        let last = taken.last.lsn;
        Filling { thread, checkpointer, checkpoints, next: last + 1, checkpointed: last, appended: 0 }
    }

    /// Appends a group; never further past a checkpoint than a runtime would come.
    fn append(&mut self, group: Vec<NewRecord>) {
        while self.next - self.checkpointed > Limits::RUNTIME.checkpoint_records {
            self.checkpointed = self.checkpoints.recv_timeout(STEP_DEADLINE).expect("a checkpoint");
        }
        let count = group.len() as u64;
        let bytes = group.iter().map(|record| record.payload.len() as u64 + 64).sum();
        wait::until_blocking("the writer has room", STEP_DEADLINE, || {
            self.thread.has_room(bytes).then_some(())
        });
        self.thread.submit(self.next, group).expect("it has room");
        self.next += count;
        self.appended += count;
    }

    fn end(self) -> u64 {
        let last = self.next - 1;
        wait::until_blocking("everything is durable", STEP_DEADLINE, || {
            (self.thread.durable_lsn() >= last).then_some(())
        });
        self.checkpointer.stop();
        self.thread.fence().expect("it lives");
        self.appended
    }
}
