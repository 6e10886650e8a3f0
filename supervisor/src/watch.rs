//! The live view of `holdfast watch`, drawn from what was asked: pure, lines of a width and no more than a height.

mod line;

pub use line::{Line, Tone};

use serde_json::{Value, json};

/// Cells of the progress bar at most.
const BAR_CELLS: usize = 32;
/// States of an attempt that wait for a time: their end is what is looked forward to, not a limit.
const DUE: [&str; 2] = ["planned", "countdown"];
/// States in which nothing is under way.
const AT_REST: [&str; 6] = ["idle", "succeeded", "failed", "rolled_back", "cancelled", "expired"];

/// What was asked last; `Null` what did not answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct View {
    /// `GET /v1/status` of the supervisor, or what is said without one.
    pub status: Value,
    /// `GET /v1/slots`.
    pub slots: Value,
    /// `GET /v1/events`: the last events of channel `node`.
    pub events: Value,
    /// `GET /v1/status` of the sidecar, which knows its sessions better than the supervisor.
    pub sidecar: Value,
}

/// The screen at a time in unix milliseconds. `clock` says a time as people read it.
pub fn draw(view: &View, width: usize, height: usize, now: i64, clock: impl Fn(i64) -> String) -> Vec<Line> {
    let mut lines = head(view, &clock(now));
    lines.push(Line::default());
    lines.extend(slots(view));
    lines.push(Line::default());
    lines.extend(update(&view.status, now, &clock));
    for problem in list(&view.status["node"]["problems"]) {
        lines.push(Line::of(Tone::Warn, format!("problem   {}", text(problem))));
    }
    // One line stays for the hint at the end.
    let room = height.saturating_sub(lines.len() + 3);
    if room > 0 {
        lines.push(Line::default());
        lines.push(Line::of(Tone::Quiet, "last events"));
        lines.extend(events(&view.events, room, &clock));
    }
    lines.truncate(height.saturating_sub(1));
    if height > 0 {
        lines.push(Line::of(Tone::Quiet, "q or Ctrl-C ends this; the node goes on"));
    }
    lines.into_iter().map(|line| line.cut(width)).collect()
}

/// What `watch --json` prints: the status with the sidecar's own numbers, without what changes by itself as time
/// passes.
pub fn status_object(view: &View) -> Value {
    let mut status = view.status.clone();
    for (name, of) in [("sessions", "sessions"), ("unanswered", "unanswered")] {
        if let (Some(object), false) = (status["sidecar"].as_object_mut(), view.sidecar[of].is_null()) {
            object.insert(name.into(), view.sidecar[of].clone());
        }
    }
    if let Some(update) = status["update"].as_object_mut() {
        update.remove("countdown_remaining_sec");
        update.remove("updated_at");
    }
    status["slots"] = view.slots["slots"].clone();
    status
}

fn head(view: &View, time: &str) -> Vec<Line> {
    let (node, status) = (&view.status["node"], &view.status);
    let state = text(&node["state"]);
    let tone = match state.as_str() {
        "running" => Tone::Good,
        "degraded" | "not_running" => Tone::Bad,
        _ => Tone::Busy,
    };
    let sessions = match &view.sidecar["sessions"] {
        Value::Null => &status["sidecar"]["sessions"],
        known => known,
    };
    vec![
        Line::of(Tone::Strong, "Holdfast  ")
            .and(tone, state)
            .and(Tone::Plain, format!("  {}", text(&node["url"])))
            .and(Tone::Quiet, format!("  {time}")),
        Line::of(
            Tone::Plain,
            format!(
                "sidecar {}, {} sessions, {} unanswered   turns {}   supervisor generation {}",
                text(&status["sidecar"]["state"]),
                text(sessions),
                text(&view.sidecar["unanswered"]),
                text(&status["active"]["running_turns"]),
                text(&status["supervisor"]["generation"]),
            ),
        ),
    ]
}

fn slots(view: &View) -> Vec<Line> {
    let head = format!("{:<5} {:<16} {:<10} {:>6} {:>8}  {}", "slot", "release", "role", "epoch", "pid", "");
    let mut lines = vec![Line::of(Tone::Quiet, head)];
    for slot in list(&view.slots["slots"]) {
        let active = view.status["active"]["slot"] == slot["slot"];
        let epoch = if active { &view.status["active"]["epoch"] } else { &Value::Null };
        let role = match &slot["transition_role"] {
            Value::Null if slot["pid"].is_null() => "empty".to_owned(),
            Value::Null => "starting".to_owned(),
            role => text(role),
        };
        let role = if role == "empty" && !slot["release"].is_null() { "at rest".to_owned() } else { role };
        let issues: Vec<String> = list(&slot["issues"]).iter().map(text).collect();
        let tone = match (issues.is_empty(), active) {
            (false, _) => Tone::Warn,
            (true, true) => Tone::Good,
            (true, false) => Tone::Plain,
        };
        let line = format!(
            "{:<5} {:<16} {:<10} {:>6} {:>8}  {}",
            text(&slot["slot"]),
            text(&slot["release"]),
            role,
            text(epoch),
            text(&slot["pid"]),
            issues.join(", ")
        );
        lines.push(Line::of(tone, line));
    }
    lines
}

fn update(status: &Value, now: i64, clock: &impl Fn(i64) -> String) -> Vec<Line> {
    let update = &status["update"];
    let state = text(&update["state"]);
    let failed = ["failed", "rolled_back", "expired"].contains(&state.as_str());
    let tone = match AT_REST.contains(&state.as_str()) {
        _ if failed => Tone::Bad,
        true => Tone::Plain,
        false => Tone::Busy,
    };
    let mut lines = vec![
        Line::of(Tone::Plain, "update    ")
            .and(tone, state.clone())
            .and(Tone::Plain, format!("  {}", said(&update["message"]))),
    ];
    lines.extend(
        progress(update, &state, now).map(|words| Line::of(Tone::Busy, format!("          {words}"))),
    );
    let due = update["scheduled_for"].as_i64().map(|at| json!(clock(at)));
    let facts = [
        ("release", update["target_version"].clone()),
        ("mode", status["transition_mode"].clone()),
        ("because", update["planned_reason"].clone()),
        ("due", due.unwrap_or_default()),
        ("failed", update["failure_reason"].clone()),
        ("then", update["subsequent_transition"]["action"].clone()),
    ];
    let facts: Vec<String> = facts
        .iter()
        .filter(|(_, value)| !value.is_null())
        .map(|(name, value)| format!("{name} {}", text(value)))
        .collect();
    if !facts.is_empty() {
        lines.push(Line::of(Tone::Plain, format!("          {}", facts.join(" · "))));
    }
    let commands: Vec<&str> = list(&update["operator_actions"]).iter().filter_map(command).collect();
    if !commands.is_empty() && state != "idle" {
        lines.push(Line::of(Tone::Quiet, format!("          possible: {}", commands.join(", "))));
    }
    lines
}

/// The command that does what the status offers.
fn command(action: &Value) -> Option<&'static str> {
    Some(match action.as_str()? {
        "cancel" => "holdfast update cancel",
        "defer" => "holdfast update defer",
        "rollback" => "holdfast rollback",
        "promote_root" => "holdfast promote",
        _ => return None,
    })
}

/// A bar of the time in this state, and the time that is left.
fn progress(update: &Value, state: &str, now: i64) -> Option<String> {
    if AT_REST.contains(&state) {
        return None;
    }
    let (since, until) = (update["state_since"].as_i64()?, update["state_until"].as_i64()?);
    let whole = (until - since).max(1);
    let done = (now - since).clamp(0, whole);
    let left = duration((until - now).max(0));
    let cells = usize::try_from(done.saturating_mul(BAR_CELLS as i64) / whole).unwrap_or(0).min(BAR_CELLS);
    let bar = format!("[{}{}]", "#".repeat(cells), "-".repeat(BAR_CELLS - cells));
    Some(match DUE.contains(&state) {
        true => format!("{bar} begins in {left}"),
        false => format!("{bar} for {}, at most {left} more", duration(done)),
    })
}

fn duration(milliseconds: i64) -> String {
    let seconds = (milliseconds + 999) / 1000;
    match seconds {
        ..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min {} s", seconds / 60, seconds % 60),
        7_200..172_800 => format!("{} h {} min", seconds / 3_600, seconds / 60 % 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds / 3_600 % 24),
    }
}

fn events(events: &Value, room: usize, clock: &impl Fn(i64) -> String) -> Vec<Line> {
    // What changed may be what is not shown here: a line that says the same as the one before it is left out.
    let shown = |event: &Value| {
        let active = &event["active"];
        [&event["state"], &event["update"]["state"], &active["slot"], &active["epoch"]].map(Value::clone)
    };
    let mut all: Vec<&Value> = list(&events["events"]).iter().collect();
    all.dedup_by(|later, earlier| shown(later) == shown(earlier));
    let one = |event: &Value| {
        let at = event["at"].as_i64().map_or_else(String::new, clock);
        let active = &event["active"];
        let place = match active.is_object() {
            true => format!("slot {}, epoch {}", text(&active["slot"]), text(&active["epoch"])),
            false => String::new(),
        };
        let line =
            format!("{at}  {:<10} {:<24} {place}", text(&event["state"]), text(&event["update"]["state"]));
        Line::of(Tone::Plain, line)
    };
    all.into_iter().rev().take(room).map(one).collect()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => "-".into(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn said(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests;
