//! Where everything lies below the home directory. Paths only; nothing here touches the disk.

use crate::slot::Slot;
use std::path::{Path, PathBuf};

/// The home directory of one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Home(PathBuf);

/// A process that takes a role lock at its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// `holdfast keep`
    Keeper,
    /// `holdfast supervise`
    Supervisor,
    /// `holdfast-sidecar`
    Sidecar,
    /// `holdfast-runtime` in a slot
    Runtime(Slot),
}

impl Role {
    /// The name in locks, sockets and logs.
    pub fn name(self) -> &'static str {
        match self {
            Role::Keeper => "keeper",
            Role::Supervisor => "supervisor",
            Role::Sidecar => "sidecar",
            Role::Runtime(Slot::A) => "runtime-a",
            Role::Runtime(Slot::B) => "runtime-b",
        }
    }
}

impl Home {
    /// The home at this directory; use an absolute path.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self(directory.into())
    }

    /// The directory itself.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// `home.json` {format, id}: written last at first start.
    pub fn identity(&self) -> PathBuf {
        self.0.join("home.json")
    }

    /// `holdfast.toml`
    pub fn config(&self) -> PathBuf {
        self.0.join("holdfast.toml")
    }

    /// The operator's token, mode 0600.
    pub fn token(&self) -> PathBuf {
        self.0.join("token")
    }

    /// The remembered listening address.
    pub fn listen(&self) -> PathBuf {
        self.0.join("listen.json")
    }

    /// Sockets and locks of what runs now.
    pub fn run(&self) -> PathBuf {
        self.0.join("run")
    }

    /// `run/<role>.lock`, holding pid and start time of the living process of this role.
    pub fn lock(&self, role: Role) -> PathBuf {
        self.run().join(format!("{}.lock", role.name()))
    }

    /// `run/<role>.sock`, the role's control socket.
    pub fn control(&self, role: Role) -> PathBuf {
        self.run().join(format!("{}.sock", role.name()))
    }

    /// `run/<slot>.link`, where the slot's runtime listens for the sidecar.
    pub fn link(&self, slot: Slot) -> PathBuf {
        self.run().join(format!("{slot}.link"))
    }

    /// The supervisor's sd_notify datagram socket.
    pub fn notify(&self) -> PathBuf {
        self.run().join("notify.sock")
    }

    /// The keeper's sd_notify datagram socket (the supervisor talks to it).
    pub fn keeper_notify(&self) -> PathBuf {
        self.run().join("keeper-notify.sock")
    }

    /// The business journal, shared by both slots.
    pub fn journal(&self) -> PathBuf {
        self.0.join("journal")
    }

    /// The supervisor's own journal.
    pub fn supervisor_journal(&self) -> PathBuf {
        self.0.join("supervisor")
    }

    /// Both slots, and what is being prepared for one.
    pub fn slots(&self) -> PathBuf {
        self.0.join("slots")
    }

    /// One slot: `manifest.json` and `bin/`.
    pub fn slot(&self, slot: Slot) -> PathBuf {
        self.slots().join(slot.name())
    }

    /// Root files (supervisor, sidecar, holder) of releases that were promoted, and which of them are in use.
    pub fn root(&self) -> PathBuf {
        self.0.join("root")
    }

    /// Public keys whose releases are installed here, and the highest version seen of each.
    pub fn keys(&self) -> PathBuf {
        self.0.join("keys")
    }

    /// Bundles that were handed over, each until its update has ended.
    pub fn incoming(&self) -> PathBuf {
        self.0.join("incoming")
    }

    /// One slot's sled view.
    pub fn view(&self, slot: Slot) -> PathBuf {
        self.0.join("views").join(slot.name())
    }

    /// All workers.
    pub fn workers(&self) -> PathBuf {
        self.0.join("workers")
    }

    /// One worker: spool, inbox, order.
    pub fn worker(&self, spawn_id: &str) -> PathBuf {
        self.workers().join(spawn_id)
    }

    /// Filed spans of one conversation.
    pub fn conversation(&self, conversation: &str) -> PathBuf {
        self.0.join("conversations").join(conversation)
    }

    /// The workspaces' root.
    pub fn workspaces(&self) -> PathBuf {
        self.0.join("workspaces")
    }

    /// Installed skills.
    pub fn skills(&self) -> PathBuf {
        self.0.join("skills")
    }

    /// `skills/index.json`: which skills are installed.
    pub fn skill_index(&self) -> PathBuf {
        self.skills().join("index.json")
    }

    /// Log files.
    pub fn logs(&self) -> PathBuf {
        self.0.join("logs")
    }
}
