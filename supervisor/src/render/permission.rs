//! Requests for permission: what is asked, and how it was answered.

use super::harmless::one_line;
use super::tool::{Tool, Tools};
use super::words::{said, text};
use crate::watch::Tone;
use serde_json::Value;
use std::collections::VecDeque;

/// Requests that are kept; an agent with more waits for the first of them anyway.
const PENDING_MAX: usize = 64;
/// Lines of what a request is about that are shown with it.
const ABOUT_LINES: usize = 8;

/// A request that waits for its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permission {
    /// Its name in `permission.answer`.
    pub request: String,
    /// What it is for.
    pub title: String,
    /// Ids and names of what may be answered.
    pub options: Vec<(String, String)>,
}

/// An answer that a key stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// The request.
    pub request: String,
    /// The option; `None`: cancelled.
    pub option: Option<String>,
}

/// All that wait, the oldest first.
#[derive(Debug, Default)]
pub struct Permissions {
    pending: VecDeque<Permission>,
    /// Those that were answered from here.
    ours: VecDeque<String>,
    principal: String,
}

impl Permissions {
    /// None yet, shown to a principal.
    pub fn of(principal: &str) -> Self {
        Self { principal: principal.to_owned(), ..Self::default() }
    }

    /// Takes `permission.requested`; the lines that show it.
    pub fn requested(&mut self, event: &Value, tools: &Tools) -> Vec<(Tone, String)> {
        let call = &event["tool_call"];
        let options = event["options"].as_array().into_iter().flatten();
        let permission = Permission {
            request: text(&event["request"]),
            title: tools.title(call),
            options: options.map(|one| (text(&one["optionId"]), one_line(&text(&one["name"])))).collect(),
        };
        let mut lines = vec![(Tone::Warn, format!("? may it: {}", permission.title))];
        let about = Tool::of(call);
        lines.extend(about.about().take(ABOUT_LINES).map(|line| (Tone::Quiet, format!("  {line}"))));
        let changes = about.diffs.iter().flat_map(super::diff::Diff::lines);
        lines.extend(changes.map(|(tone, line)| (tone, format!("  {line}"))));
        self.pending.push_back(permission);
        if self.pending.len() > PENDING_MAX {
            self.pending.pop_front();
        }
        lines
    }

    /// How the newest is answered where there are no keys.
    pub fn advice(&self, task: &str) -> Option<String> {
        let newest = self.pending.back()?;
        let name = |(id, name): &(String, String)| format!("{} ({name})", one_line(id));
        let names: Vec<String> = newest.options.iter().map(name).collect();
        let request = one_line(&newest.request);
        Some(format!("  holdfast task permit {task} {request} OPTION answers it: {}", names.join(", ")))
    }

    /// Takes `permission.answered`; the line that says so, with who did it where that was not here.
    pub fn answered(&mut self, event: &Value) -> String {
        let request = text(&event["request"]);
        let known = self.pending.iter().position(|one| one.request == request);
        let permission = known.and_then(|at| self.pending.remove(at));
        let options = permission.as_ref().map(|permission| permission.options.as_slice()).unwrap_or_default();
        let answer = match event["option_id"].as_str() {
            Some(id) => options.iter().find(|(option, _)| option == id).map_or(id, |(_, name)| name),
            None => said(&event["outcome"]),
        };
        let by = match event["by"].as_str() {
            Some(by) if by == self.principal && self.ours.contains(&request) => String::new(),
            Some(by) => format!(" (answered by {})", one_line(by)),
            None if event["withdrawn"] == true => " (the agent asks no longer)".to_owned(),
            None => " (answered by the node)".to_owned(),
        };
        let title = permission.as_ref().map_or_else(String::new, |one| format!("{}: ", one.title));
        format!("! {title}{answer}{by}")
    }

    /// This one was answered from here.
    pub fn is_ours(&mut self, request: &str) {
        self.ours.push_back(request.to_owned());
        if self.ours.len() > PENDING_MAX {
            self.ours.pop_front();
        }
    }

    /// Those that wait.
    pub fn pending(&self) -> &VecDeque<Permission> {
        &self.pending
    }

    /// What a key answers to the oldest.
    pub fn choice(&self, key: u8) -> Option<Choice> {
        let permission = self.pending.front()?;
        let request = permission.request.clone();
        match key {
            b'c' | b'C' => Some(Choice { request, option: None }),
            b'1'..=b'9' => {
                let (option, _) = permission.options.get(usize::from(key - b'1'))?;
                Some(Choice { request, option: Some(option.clone()) })
            }
            _ => None,
        }
    }

    /// The turn has ended: nothing waits any more.
    pub fn end(&mut self) {
        self.pending.clear();
    }
}
