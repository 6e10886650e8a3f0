//! What the machine of an attempt is told, and what it has done.

use super::{Attempt, Operation, PlannedReason, Reason, Request};
use holdfast_shared::slot::Slot;

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Something is asked for.
    Request {
        /// What.
        request: Request,
        /// The runtime in its slot is ready already.
        ready: bool,
        /// The last probe of the runtime in probation was good.
        settled: bool,
    },
    /// An operator's wish for the attempt under way.
    Operate(Operation),
    /// The release is in its slot; or why not, code and words.
    Prepared(Result<Prepared, (String, String)>),
    /// The bundle is the release that serves already.
    ServesAlready,
    /// The bundle is the release that serves already, its version; its root files or units are not those in use.
    RootIsOther(String),
    /// The runtime in this slot said READY=1.
    Ready(Slot),
    /// The runtime in this slot died; its last error, if it wrote one.
    Died(Slot, String),
    /// A probe of this slot ended; good ones in a row, 0: it was bad.
    Probed(Slot, u32),
    /// This slot's runtime serves, by a switch or by settling.
    Serves(Slot),
    /// The machine of the transition refused to begin.
    Refused(String),
    /// Two runtimes must not overlap now; the transition has not begun.
    Blocked(PlannedReason),
    /// Work runs that a switch does not carry; it is worth trying again after so many milliseconds.
    LiveWork(i64),
    /// The node is to be settled on what the slot holds that is being prepared.
    SlotNeeded,
    /// The candidate takes more memory than a candidate may.
    TooLarge(Slot),
    /// The root files are in place; or why they are not, or cannot be run from.
    RootPlaced(Result<(), String>),
    /// The root files serve and their promotion has failed all the same: root of the machine did not place its units.
    RootRefused(Reason),
    /// A later supervisor runs: from the new root files, or from those put back.
    RootConfirmed(bool),
    /// The state has lasted for its time.
    Deadline,
    /// A supervisor found the attempt in its journal and has settled the node.
    Recovered {
        /// The slot that serves.
        serves: Slot,
        /// The other slot's runtime is ready.
        ready: bool,
    },
    /// The request that waited turned out to be impossible.
    Dropped,
}

/// A release that was put into its slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prepared {
    /// Its version.
    pub release: String,
    /// It brings other root files than those in use.
    pub root_files: bool,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Verify the bundle and unpack it into the slot.
    Prepare,
    /// Whoever verifies or unpacks is to stop.
    Revoke,
    /// Start a runtime in this slot.
    Start(Slot),
    /// Probe this slot, after the interval unless it is the first probe of the state.
    Probe(Slot),
    /// Begin the switch to this slot; where its runtime is not ready, start it and say when it is.
    Switch(Slot),
    /// Stop the runtime that serves, then have this slot's take over, started where it does not run.
    StopAndSwitch(Slot),
    /// The runtime in this slot is of no use: end it.
    Stop(Slot),
    /// Put the new root files in place, keeping the old ones, and run from them.
    PlaceRoot,
    /// Put the old root files back.
    RestoreRoot,
    /// Tell whoever waits for this attempt.
    Ended(Box<Attempt>),
    /// See whether the request that waited is possible, then ask for it.
    Next(Box<Request>),
    /// Tell whoever asked for the request that waited: it came to what was just done.
    Deduplicated,
}

/// What an operator asked for is not possible; nothing changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refused(pub &'static str);
