//! The world of the model: processes, the journal, messages under way, and what may still happen.

use holdfast_runtime::role::Role;
use holdfast_shared::decision::Decision;
use holdfast_shared::slot::Slot;
use holdfast_shared::wished::Wish;
use holdfast_sidecar::wish::{Target, Wished};
use holdfast_supervisor::transition::{Owner, Phase, Refusal, Report, Transition};

/// How much may happen in one exploration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Bounds {
    /// SIGKILLs of a runtime or the supervisor.
    pub kills: u8,
    /// SIGSTOPs of a runtime (it may go on at any time, or never).
    pub pauses: u8,
    /// Deadlines that pass although the answer would still come.
    pub early_timeouts: u8,
    /// Messages that arrive twice.
    pub repeats: u8,
    /// Switches asked for.
    pub switches: u8,
    /// Switches asked for with too little memory for two runtimes.
    pub stops: u8,
    /// Commands sent by clients.
    pub commands: u8,
    /// Supervisors started while one lives (what a lost keeper and a second `up` lead to).
    pub second_supervisors: u8,
    /// SIGKILLs of the sidecar.
    pub sidecar_kills: u8,
}

/// The rules that can be taken away to see that each is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rules {
    /// Receivers refuse lower decisions.
    pub decision_numbers: bool,
    /// A take-over looks again, under the lock, for epochs not below its own.
    pub recheck_under_lock: bool,
    /// Who does not answer an ask is killed, and dead, before the journal is read.
    pub ask_or_kill: bool,
    /// An owner that lives but is not active is a crash like any other.
    pub not_active_is_a_crash: bool,
    /// A new supervisor kills whoever has the lock and waits for its death.
    pub supervisor_lock: bool,
}

impl Rules {
    /// All of them.
    pub const ALL: Rules = Rules {
        decision_numbers: true,
        recheck_under_lock: true,
        ask_or_kill: true,
        not_active_is_a_crash: true,
        supervisor_lock: true,
    };
}

/// A supervisor process: its machine and the instances it has pidfds of.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Supervisor {
    /// Its machine.
    pub transition: Transition,
    /// The process it knows in each slot, by instance.
    pub known: [Option<u8>; 2],
    /// The decision whose deadline is armed.
    pub armed: Option<Decision>,
    /// The sidecar's instance it knows of.
    pub sidecar: u8,
}

/// A runtime process.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Process {
    /// New per start.
    pub instance: u8,
    /// Its machine.
    pub role: Role,
    /// SIGSTOPped.
    pub paused: bool,
    /// A take-over under way: it hears nothing until this is done.
    pub taking_over: Option<TakeOver>,
}

/// A take-over between two of its steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TakeOver {
    /// The epoch.
    pub epoch: u64,
    /// The decision to answer, and whose.
    pub decision: Decision,
    /// It has the lock.
    pub locked: bool,
}

/// One record of the business journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Entry {
    /// `Activated`.
    Activated(Owner),
    /// What a command did.
    Command(u64, u8),
}

/// What the supervisors' journal keeps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct SupervisorJournal {
    /// Raised at each start.
    pub generation: u64,
    /// Highest epoch taken.
    pub highest_epoch: u64,
    /// There was a `Committed`.
    pub committed: bool,
}

/// The sidecar process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Sidecar {
    /// New per start.
    pub instance: u8,
    /// Its machine.
    pub wished: Wished,
    /// The instance its link leads to.
    pub link: Option<u8>,
    /// Unanswered commands, in order of arrival; the flag: sent on this link.
    pub unanswered: Vec<(u8, bool)>,
}

/// A message under way. Delivered in any order, late, or never.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Message {
    /// Supervisor to whatever process listens in the slot when it arrives.
    Order(Decision, Slot, OrderKind),
    /// Supervisor to sidecar.
    Wish(Decision, WishKind),
    /// Runtime to supervisor.
    Asked(Decision, Slot, bool, Option<u64>),
    /// Runtime to supervisor.
    Fenced(Decision, bool),
    /// Runtime to supervisor; the error as a number (0 fine, 1 stale, 2 not now).
    Activated(Decision, u8),
    /// Sidecar to supervisor.
    Held(Decision),
    /// Sidecar to supervisor.
    Routed(Decision, bool),
    /// Sidecar to the runtime instance at the other end of the link.
    Call(u8, u64, u8),
    /// Runtime to sidecar, on the link of this instance and epoch.
    Reply(u8, u64, u8),
}

/// An order as in [`Message::Order`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum OrderKind {
    /// Ask.
    Ask,
    /// Fence.
    Fence(u64),
    /// Activate.
    Activate(u64),
}

/// A wish as in [`Message::Wish`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum WishKind {
    /// Hold.
    Hold,
    /// Route.
    Route(Slot, u64),
}

impl WishKind {
    /// As the sidecar's machine takes it.
    pub fn wish(self) -> Wish {
        match self {
            WishKind::Hold => Wish::Hold,
            WishKind::Route(slot, epoch) => Wish::Route { slot, epoch },
        }
    }
}

/// The whole world.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct World {
    /// Living supervisors; more than one only where the lock is taken away.
    pub supervisors: Vec<Supervisor>,
    /// Their journal.
    pub supervisor_journal: SupervisorJournal,
    /// The slots' processes.
    pub processes: [Option<Process>; 2],
    /// Who has the business journal's lock, by instance.
    pub lock: Option<u8>,
    /// The business journal.
    pub journal: Vec<Entry>,
    /// The sidecar.
    pub sidecar: Sidecar,
    /// Messages under way, sorted.
    pub messages: Vec<Message>,
    /// Commands answered to their client.
    pub answered: Vec<u8>,
    /// Commands sent so far.
    pub sent: u8,
    /// The next process instance.
    pub next_instance: u8,
    /// What may still happen.
    pub left: Bounds,
}

impl World {
    /// A node at its first start: nothing runs, nothing is on disk.
    pub fn new(bounds: Bounds) -> World {
        World {
            supervisors: Vec::new(),
            supervisor_journal: SupervisorJournal::default(),
            processes: [None, None],
            lock: None,
            journal: Vec::new(),
            sidecar: Sidecar::default(),
            messages: Vec::new(),
            answered: Vec::new(),
            sent: 0,
            next_instance: 1,
            left: bounds,
        }
    }

    /// The process with this instance.
    pub fn by_instance(&self, instance: u8) -> Option<&Process> {
        self.processes.iter().flatten().find(|process| process.instance == instance)
    }

    /// Highest epoch in the business journal.
    pub fn highest_epoch(&self) -> u64 {
        let epoch = |entry: &Entry| match entry {
            Entry::Activated(owner) => owner.epoch,
            Entry::Command(epoch, _) => *epoch,
        };
        self.journal.iter().map(epoch).max().unwrap_or(0)
    }

    /// Owner of the last `Activated`.
    pub fn last_owner(&self) -> Option<Owner> {
        self.journal.iter().rev().find_map(|entry| match entry {
            Entry::Activated(owner) => Some(*owner),
            Entry::Command(..) => None,
        })
    }

    /// Puts a message under way. An answer that its supervisor no longer waits for would change nothing, ever,
    /// and is left out.
    pub fn send(&mut self, message: Message) {
        let at = self.messages.binary_search(&message).unwrap_or_else(|at| at);
        self.messages.insert(at, message);
    }

    /// Answers nobody waits for are as good as lost.
    pub fn forget_vain_answers(&mut self) {
        let awaited: Vec<Decision> = self.supervisors.iter().map(|one| one.transition.decision).collect();
        let sidecar_link = self.sidecar.link;
        self.messages.retain(|message| match message {
            Message::Asked(decision, ..)
            | Message::Fenced(decision, _)
            | Message::Activated(decision, _)
            | Message::Held(decision)
            | Message::Routed(decision, _) => awaited.contains(decision),
            Message::Call(instance, ..) | Message::Reply(instance, ..) => sidecar_link == Some(*instance),
            Message::Order(..) | Message::Wish(..) => true,
        });
    }
}

/// What a refusal's number in [`Message::Activated`] stands for.
pub fn refusal(number: u8) -> Result<(), Refusal> {
    match number {
        0 => Ok(()),
        1 => Err(Refusal::Stale),
        _ => Err(Refusal::NotNow),
    }
}

/// A report as the supervisor hears it.
pub fn report(active: Option<u64>, fit: bool) -> Report {
    Report { active, fit }
}

/// A supervisor that is settled, its runtime active, the sidecar forwarding to it, every command answered.
pub fn settled(world: &World) -> bool {
    let owner = world.supervisors.iter().find_map(|supervisor| match supervisor.transition.phase {
        Phase::Settled { owner, routed: true } => Some(owner),
        _ => None,
    });
    let Some(owner) = owner else { return false };
    let active = world.processes[owner.slot as usize].as_ref();
    active.is_some_and(|process| {
        !process.paused
            && process.role.epoch() == Some(owner.epoch)
            && world.sidecar.link == Some(process.instance)
            && world.sidecar.wished.forwarding() == Some(Target { slot: owner.slot, epoch: owner.epoch })
    }) && world.sidecar.unanswered.is_empty()
}
