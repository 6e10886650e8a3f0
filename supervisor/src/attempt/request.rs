//! What is asked for, and the one request that may wait.

use holdfast_shared::slot::Slot;
use serde::{Deserialize, Serialize};

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The release that is in the slot already.
    Switch,
    /// The release that served before, which is in the slot already.
    Rollback,
    /// A bundle.
    Update,
}

impl Kind {
    /// The word in every surface.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Switch => "switch",
            Kind::Rollback => "rollback",
            Kind::Update => "update",
        }
    }
}

/// A request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// What.
    pub kind: Kind,
    /// The slot that is to serve.
    pub slot: Slot,
    /// The release, where it is known.
    pub release: Option<String>,
    /// The bundle's path, of an update.
    pub bundle: Option<String>,
    /// A version below the highest seen from its key is taken, of an update.
    #[serde(default)]
    pub allow_downgrade: bool,
    /// Unix milliseconds.
    pub requested_at: i64,
}

impl Request {
    /// Both would come to the same: another time or another word for it makes no difference.
    pub fn equals(&self, other: &Request) -> bool {
        match (self.kind, other.kind) {
            (Kind::Update, Kind::Update) => {
                self.bundle == other.bundle && self.allow_downgrade == other.allow_downgrade
            }
            (Kind::Update, _) | (_, Kind::Update) => false,
            _ => self.slot == other.slot,
        }
    }

    /// An update has a minimum period, a countdown and a stability window; a switch between slots has none.
    pub fn is_update(&self) -> bool {
        self.kind == Kind::Update
    }
}

/// The request that waits for the end of the attempt under way. A newer one takes its place and keeps the time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subsequent {
    /// The last request.
    pub request: Request,
    /// When the first one came, unix milliseconds.
    pub first_requested_at: i64,
}
