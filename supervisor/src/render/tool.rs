//! Tool calls of a turn: what runs, each folded to a line.

use super::diff::Diff;
use super::harmless::one_line;
use super::words::{content, said, text};
use crate::watch::Tone;
use serde_json::Value;

/// Tool calls that run at once; the oldest is shown as it is and forgotten past it.
const RUNNING_MAX: usize = 256;
/// Bytes of a tool call's text that are kept to be counted and shown.
const TEXT_BYTES_MAX: usize = 64 * 1024;

/// A tool call as it is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tool {
    id: String,
    title: String,
    kind: String,
    status: String,
    said: String,
    /// Changes of files that it makes.
    pub diffs: Vec<Diff>,
}

impl Tool {
    /// From a tool call's object.
    pub fn of(call: &Value) -> Self {
        let mut tool = Tool { id: text(&call["toolCallId"]), ..Tool::default() };
        tool.merge(call);
        tool
    }

    /// Takes what has changed; whether its state did.
    fn merge(&mut self, call: &Value) -> bool {
        let before = (self.title.clone(), self.status.clone());
        for (name, field) in
            [("title", &mut self.title), ("kind", &mut self.kind), ("status", &mut self.status)]
        {
            if let Some(now) = call[name].as_str() {
                *field = one_line(now);
            }
        }
        if let Some(items) = call["content"].as_array() {
            self.diffs = items.iter().filter_map(Diff::of).collect();
            self.said.clear();
            for item in items.iter().filter(|item| item["type"] == "content") {
                self.said.push_str(&content(&item["content"]));
            }
            if self.said.len() > TEXT_BYTES_MAX {
                let cut = (0..=TEXT_BYTES_MAX).rev().find(|at| self.said.is_char_boundary(*at)).unwrap_or(0);
                self.said.truncate(cut);
            }
        }
        before != (self.title.clone(), self.status.clone())
    }

    fn has_ended(&self) -> bool {
        self.status == "completed" || self.status == "failed"
    }

    /// How it is doing.
    pub fn tone(&self) -> Tone {
        match self.status.as_str() {
            "completed" => Tone::Good,
            "failed" => Tone::Bad,
            _ => Tone::Busy,
        }
    }

    /// The call on one line.
    pub fn line(&self) -> String {
        let sign = match self.status.as_str() {
            "completed" => "✓",
            "failed" => "✗",
            _ => "·",
        };
        let title = if self.title.is_empty() { &self.id } else { &self.title };
        let mut line = format!("{sign} {}", one_line(title));
        let mut facts: Vec<String> = Vec::new();
        facts.extend((!self.kind.is_empty() && self.kind != "other").then(|| self.kind.clone()));
        facts.extend((!self.has_ended()).then(|| match self.status.as_str() {
            "in_progress" => "running".to_owned(),
            "" => "pending".to_owned(),
            other => other.to_owned(),
        }));
        let lines = self.said.trim().lines().count();
        facts.extend((lines > 0).then(|| format!("{lines} line{}", if lines == 1 { "" } else { "s" })));
        if !facts.is_empty() {
            line.push_str(&format!(" ({})", facts.join(", ")));
        }
        line
    }

    /// Its text, line by line.
    pub fn about(&self) -> impl Iterator<Item = String> {
        self.said.trim().lines().map(one_line)
    }
}

/// The tool calls of a turn that have not ended.
#[derive(Debug, Default)]
pub struct Tools {
    running: Vec<Tool>,
    /// Whether the last one taken changed its state.
    changed: bool,
}

impl Tools {
    /// Takes a `tool_call` or `tool_call_update`; answers one that had to give way.
    pub fn take(&mut self, update: &Value) -> Option<Tool> {
        let id = said(&update["toolCallId"]);
        if let Some(known) = self.running.iter_mut().find(|tool| tool.id == id) {
            self.changed = known.merge(update);
            return None;
        }
        self.running.push(Tool::of(update));
        self.changed = true;
        (self.running.len() > RUNNING_MAX).then(|| self.running.remove(0))
    }

    /// Gives this one up if it has ended.
    pub fn ended(&mut self, id: &str) -> Option<Tool> {
        let at = self.running.iter().position(|tool| tool.id == id && tool.has_ended())?;
        Some(self.running.remove(at))
    }

    /// This one, if the last update changed its state.
    pub fn changed(&self, id: &str) -> Option<Tool> {
        self.running.iter().find(|tool| tool.id == id && self.changed).cloned()
    }

    /// The title of a call that is asked about, from the question or from what is known of it.
    pub fn title(&self, call: &Value) -> String {
        let known = self.running.iter().find(|tool| tool.id == said(&call["toolCallId"]));
        match (call["title"].as_str(), known) {
            (Some(title), _) => one_line(title),
            (None, Some(known)) if !known.title.is_empty() => known.title.clone(),
            _ => one_line(&text(&call["toolCallId"])),
        }
    }

    /// Those that run.
    pub fn running(&self) -> &[Tool] {
        &self.running
    }

    /// Gives up all: the turn has ended.
    pub fn end(&mut self) -> Vec<Tool> {
        std::mem::take(&mut self.running)
    }
}
