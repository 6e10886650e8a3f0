//! The block below the text: what runs, the plan, what waits for an answer.

use super::plan::tick;
use super::tool::Tool;
use super::words::tokens;
use super::{KEYS, Permission};
use crate::watch::{Line, Tone};
use std::collections::VecDeque;

/// Tool calls that are named; how many more run is said.
const TOOLS: usize = 5;
/// Entries of the plan that are shown, from the one under way on.
const PLAN: usize = 6;
/// Rows of the terminal that stay for the text.
const TEXT_ROWS: usize = 4;

/// What the block is drawn from.
pub struct Foot<'a> {
    /// The turn that runs.
    pub turn: Option<&'a str>,
    /// Turns that wait.
    pub queued: usize,
    /// The agent's mode.
    pub mode: Option<&'a str>,
    /// Tool calls that run.
    pub tools: &'a [Tool],
    /// Status and text of the plan's entries.
    pub plan: &'a [(String, String)],
    /// Tokens used, and how many there are.
    pub usage: Option<(u64, u64)>,
    /// What waits for an answer.
    pub permissions: &'a VecDeque<Permission>,
    /// A word of ours.
    pub hint: Option<&'a str>,
    /// There are keys to answer with and to leave by.
    pub keys: bool,
}

/// The block's lines, so few that some of the text stays. What asks for an answer is what stays longest.
pub fn draw(foot: &Foot<'_>, height: usize) -> Vec<Line> {
    let room = height.saturating_sub(TEXT_ROWS);
    let mut last = permission(foot.permissions, foot.keys);
    last.push(status(foot));
    last.truncate(room.max(1));
    let mut lines: Vec<Line> =
        foot.tools.iter().take(TOOLS).map(|tool| Line::of(tool.tone(), tool.line())).collect();
    if foot.tools.len() > TOOLS {
        lines.push(Line::of(Tone::Quiet, format!("  and {} more", foot.tools.len() - TOOLS)));
    }
    lines.extend(plan(foot.plan));
    lines.truncate(room.saturating_sub(last.len()));
    lines.extend(last);
    lines
}

fn plan(plan: &[(String, String)]) -> Vec<Line> {
    let first_open = plan.iter().position(|(status, _)| status != "completed").unwrap_or(0);
    let from = first_open.min(plan.len().saturating_sub(PLAN));
    let entry = |(status, text): &(String, String)| {
        let tone = match status.as_str() {
            "completed" => Tone::Quiet,
            "in_progress" => Tone::Busy,
            _ => Tone::Plain,
        };
        Line::of(tone, format!("{} {text}", tick(status)))
    };
    plan.iter().skip(from).take(PLAN).map(entry).collect()
}

fn permission(permissions: &VecDeque<Permission>, keys: bool) -> Vec<Line> {
    let Some(first) = permissions.front() else { return Vec::new() };
    let count = match permissions.len() {
        1 => String::new(),
        more => format!("  (the first of {more})"),
    };
    let mut lines = vec![Line::of(Tone::Warn, format!("? {}{count}", first.title))];
    if !keys {
        return lines;
    }
    for (at, (_, name)) in first.options.iter().take(KEYS).enumerate() {
        lines.push(Line::of(Tone::Strong, format!("  {} ", at + 1)).and(Tone::Plain, name.clone()));
    }
    lines.push(Line::of(Tone::Strong, "  c ").and(Tone::Plain, "cancel"));
    lines
}

fn status(foot: &Foot<'_>) -> Line {
    let mut facts = vec![match foot.turn {
        Some(turn) => format!("[{turn}] running"),
        None => "no turn is running".to_owned(),
    }];
    facts.extend((foot.queued > 0).then(|| format!("{} queued", foot.queued)));
    facts.extend(foot.mode.map(|mode| format!("mode {mode}")));
    facts.extend(foot.usage.map(|(used, size)| tokens(used, size)));
    facts.push(if foot.keys { "q detaches" } else { "Ctrl-C detaches" }.to_owned());
    let line = Line::of(Tone::Quiet, facts.join(" · "));
    match foot.hint {
        Some(hint) => line.and(Tone::Warn, format!("  {hint}")),
        None => line,
    }
}
