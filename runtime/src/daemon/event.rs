//! What happens to the loop: one closed enum.

use crate::io::files::Identity;
use crate::io::link::Link;
use crate::io::workers::SpawnOutcome;
use crate::record::TaskFailure;
use crate::role::Order;
use holdfast_shared::decision::Decision;
use holdfast_shared::error::ApiError;
use holdfast_shared::journal::{CheckpointerEvent, WriterEvent};
use holdfast_shared::link::Caller;
use serde_json::Value;
use serde_json::value::RawValue;
use std::io;
use std::rc::Rc;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

/// What happens to the loop.
pub enum Event {
    /// The supervisor orders.
    Ordered(Ordered),
    /// A call came over a link.
    Call(Box<IncomingCall>),
    /// The journal's writer reports.
    Journal(WriterEvent),
    /// The journal that is followed may have grown.
    JournalGrew,
    /// Spools have grown, or holders ended.
    SpoolsGrew,
    /// The supervisor answered a request for a worker.
    Spawned {
        /// The task.
        task: String,
        /// The worker.
        spawn_id: String,
        /// What it said.
        outcome: SpawnOutcome,
    },
    /// A spool was synced, or not.
    Synced {
        /// The task.
        task: String,
        /// The worker.
        spawn_id: String,
        /// Output records that are durable.
        outputs: u64,
        /// It succeeded.
        ok: bool,
    },
    /// A spool was synced so that its turn can be sealed, or not.
    SealSynced {
        /// The task.
        task: String,
        /// The worker.
        spawn_id: String,
        /// Output records that were read before it.
        outputs: u64,
        /// How it went.
        result: io::Result<()>,
    },
    /// A sealed span is in a file of its own, or not.
    Filed {
        /// The task.
        task: String,
        /// First offset of the span.
        first: u64,
        /// It succeeded.
        ok: bool,
    },
    /// A task's workspace was looked at.
    Workspace {
        /// The task.
        task: String,
        /// The worker that is to start in it.
        spawn_id: String,
        /// What it is, or why no worker may start there.
        found: Result<Identity, TaskFailure>,
    },
    /// An agent's request was served.
    Served {
        /// The task.
        task: String,
        /// The worker.
        spawn_id: String,
        /// The record that ends the request's line.
        seq: u64,
        /// The message that answers it.
        answer: Vec<u8>,
        /// It asked for a command, which does not run.
        in_vain: bool,
    },
    /// A task is to be looked at again.
    Look {
        /// The task.
        task: String,
        /// Its worker.
        spawn_id: String,
    },
    /// The checkpointer reports.
    Checkpoint(CheckpointerEvent),
    /// Half a second has passed.
    Tick,
    /// A signal came.
    Signal(i32),
}

/// An order of the supervisor, and where its answer goes.
pub struct Ordered {
    /// Its decision.
    pub decision: Decision,
    /// The order.
    pub order: Order,
    /// What goes with it.
    pub flags: Flags,
    /// Takes the answer.
    pub reply: oneshot::Sender<Result<Value, ApiError>>,
}

/// What goes with an order and changes nothing about the role.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags {
    /// For activate: create the journal.
    pub first: bool,
    /// For ask: the attempt that made this runtime active has settled.
    pub settled: bool,
}

/// A call as it came over a link.
pub struct IncomingCall {
    /// The link.
    pub link: Rc<Link>,
    /// The call's number on it.
    pub id: u64,
    /// The method.
    pub method: String,
    /// Its parameters.
    pub params: Box<RawValue>,
    /// Its command id.
    pub command_id: String,
    /// Who calls.
    pub caller: Caller,
    /// Its share of what may wait for the loop; given back when it is decided on.
    pub _room: OwnedSemaphorePermit,
}
