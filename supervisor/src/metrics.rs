//! What the node measures, as Prometheus reads it (docs/OPERATING.md, "Metrics"). Pure: [`Measured`] comes in, text
//! goes out. Nothing in it is secret: no token, path, command line or task name.

mod counted;
mod exposition;

pub use counted::{Counted, Histogram};
pub use exposition::{CONTENT_TYPE, Exposition, Kind};

use crate::attempt::State;
use holdfast_shared::slot::Slot;

/// The words of `holdfast_node_state`.
const NODE_STATES: [&str; 6] = ["starting", "running", "switching", "settling", "degraded", "stopping"];

/// One look at the node. What could not be found out is `None`, and its sample is left out.
#[derive(Clone, Debug, Default)]
pub struct Measured {
    /// Version of the supervisor's release.
    pub version: &'static str,
    /// The node's state in one word.
    pub state: &'static str,
    /// Browsers are served.
    pub ready: bool,
    /// How often a supervisor took the home over.
    pub generation: u64,
    /// The active runtime's epoch.
    pub epoch: Option<u64>,
    /// The active runtime's slot.
    pub active: Option<Slot>,
    /// The attempt under way.
    pub attempt: Option<Standing>,
    /// A request waits for its end.
    pub queued: bool,
    /// What has happened since the supervisor started.
    pub counted: Counted,
    /// The sidecar's process lives.
    pub sidecar: bool,
    /// Browser sessions connected.
    pub sessions: Option<u64>,
    /// Commands of browsers read and not answered yet.
    pub unanswered: Option<u64>,
    /// Turns that run.
    pub running_turns: Option<u64>,
    /// Resident bytes by role.
    pub resident_bytes: Vec<(&'static str, u64)>,
    /// What the kernel would give to programs, in bytes.
    pub memory_available_bytes: Option<u64>,
    /// What must be available before a second runtime starts, in bytes.
    pub memory_needed_bytes: Option<u64>,
    /// Free on the home's disk, in bytes.
    pub disk_free_bytes: Option<u64>,
}

/// Where the attempt under way stands.
#[derive(Clone, Copy, Debug)]
pub struct Standing {
    /// Its state.
    pub state: State,
    /// Seconds in it.
    pub seconds: f64,
    /// Seconds until it is left at the latest.
    pub left_seconds: f64,
}

/// The whole answer to a scrape.
pub fn render(measured: &Measured) -> String {
    let mut out = Exposition::default();
    node(&mut out, measured);
    processes(&mut out, measured);
    attempts(&mut out, measured);
    work(&mut out, measured);
    resources(&mut out, measured);
    out.finish()
}

fn node(out: &mut Exposition, measured: &Measured) {
    out.family("holdfast_build_info", Kind::Gauge, "The release of the supervisor; always 1.");
    out.sample(&[("version", measured.version)], 1);
    out.family("holdfast_node_state", Kind::Gauge, "1 for the node's state, 0 for the others.");
    for state in NODE_STATES {
        out.sample(&[("state", state)], u8::from(state == measured.state));
    }
    out.family("holdfast_node_ready", Kind::Gauge, "1 while browsers are served by an active runtime.");
    out.sample(&[], u8::from(measured.ready));
    out.family(
        "holdfast_supervisor_generation",
        Kind::Gauge,
        "How often a supervisor has taken this home over.",
    );
    out.sample(&[], measured.generation);
    out.family(
        "holdfast_active_epoch",
        Kind::Gauge,
        "Epoch of the active runtime; absent while none is known.",
    );
    out.optional(&[], measured.epoch);
    out.family("holdfast_active_slot", Kind::Gauge, "1 for the slot of the active runtime, 0 for the other.");
    for slot in Slot::BOTH {
        out.sample(&[("slot", slot.name())], u8::from(measured.active == Some(slot)));
    }
}

fn processes(out: &mut Exposition, measured: &Measured) {
    let counted = &measured.counted;
    out.family(
        "holdfast_process_starts_total",
        Kind::Counter,
        "Starts of a process since the supervisor started.",
    );
    counted.starts().for_each(|(process, count)| out.sample(&[("process", process)], count));
    out.family(
        "holdfast_process_deaths_total",
        Kind::Counter,
        "Ends of a process that nobody had asked for, each followed by a restart, since the supervisor started.",
    );
    counted.deaths().for_each(|(process, count)| out.sample(&[("process", process)], count));
}

fn attempts(out: &mut Exposition, measured: &Measured) {
    out.family(
        "holdfast_attempt_state",
        Kind::Gauge,
        "1 for the state of the attempt under way (idle: none), 0 for the others.",
    );
    let standing = measured.attempt;
    out.sample(&[("state", "idle")], u8::from(standing.is_none()));
    for state in State::ALL.into_iter().filter(|state| !state.has_ended()) {
        out.sample(&[("state", state.name())], u8::from(standing.is_some_and(|now| now.state == state)));
    }
    out.family(
        "holdfast_attempt_state_seconds",
        Kind::Gauge,
        "Time that the attempt under way has spent in its state.",
    );
    out.optional(&[], standing.map(|now| now.seconds));
    out.family(
        "holdfast_attempt_state_left_seconds",
        Kind::Gauge,
        "Time until the attempt under way leaves its state at the latest.",
    );
    out.optional(&[], standing.map(|now| now.left_seconds));
    out.family("holdfast_attempt_queued", Kind::Gauge, "1 while a request waits for the attempt's end.");
    out.sample(&[], u8::from(measured.queued));
    out.family(
        "holdfast_attempts_total",
        Kind::Counter,
        "Attempts that have ended since the supervisor started, by how; reason is empty where nothing failed.",
    );
    for ((action, state, reason), count) in measured.counted.ended() {
        out.sample(&[("action", action), ("state", state), ("reason", reason)], count);
    }
    out.family(
        "holdfast_hold_duration_seconds",
        Kind::Histogram,
        "From the hold of browser traffic to its next route, by what it was held for: a switch, or settling.",
    );
    for (kind, histogram) in measured.counted.holds() {
        out.histogram(&[("for", kind)], histogram);
    }
}

fn work(out: &mut Exposition, measured: &Measured) {
    out.family("holdfast_sidecar_up", Kind::Gauge, "1 while the sidecar's process lives.");
    out.sample(&[], u8::from(measured.sidecar));
    out.family("holdfast_sessions", Kind::Gauge, "Browser and command line sessions connected.");
    out.optional(&[], measured.sessions);
    out.family(
        "holdfast_unanswered_commands",
        Kind::Gauge,
        "Commands read from sessions and not answered yet.",
    );
    out.optional(&[], measured.unanswered);
    out.family("holdfast_running_turns", Kind::Gauge, "Turns that run.");
    out.optional(&[], measured.running_turns);
}

fn resources(out: &mut Exposition, measured: &Measured) {
    out.family("holdfast_process_resident_memory_bytes", Kind::Gauge, "Resident memory of a process.");
    for (role, bytes) in &measured.resident_bytes {
        out.sample(&[("role", role)], bytes);
    }
    out.family("holdfast_memory_available_bytes", Kind::Gauge, "Memory that the kernel can still give.");
    out.optional(&[], measured.memory_available_bytes);
    out.family(
        "holdfast_memory_needed_bytes",
        Kind::Gauge,
        "Memory that must be available before a second runtime starts; with less, a switch waits or stops the old one first.",
    );
    out.optional(&[], measured.memory_needed_bytes);
    out.family("holdfast_disk_free_bytes", Kind::Gauge, "Free on the disk of the home.");
    out.optional(&[], measured.disk_free_bytes);
}

#[cfg(test)]
mod tests;
