//! A conversation as a terminal shows it: events in, text out. Pure; `cli/attach.rs` writes what this says.
//!
//! Live, on a terminal, text goes on above and a block stays below it: what runs, the plan, the question that waits for
//! an answer. Plain, everywhere else: what the worker says on stdout, all the rest on stderr, nothing in place, no
//! colours. What an agent wrote is made harmless everywhere; a command's output loses all but colours on a terminal and
//! is left as it is in a pipe.

mod block;
mod diff;
mod harmless;
mod permission;
mod sheet;
mod speech;
mod tool;

pub use permission::{Choice, Permission};

use crate::watch::{Line, Tone};
use harmless::{Colours, harmless, one_line};
use permission::Permissions;
use serde_json::Value;
use speech::{Flow, Speech};
use tool::{Tool, Tools};

/// Entries of a plan that are kept.
const PLAN_MAX: usize = 64;
/// Options that have a key.
const KEYS: usize = 9;

/// Where it is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// A terminal of so many cells, in colours or not.
    Live {
        /// Cells of a row.
        width: usize,
        /// Rows.
        height: usize,
        /// Colours are wanted.
        colours: bool,
    },
    /// A pipe or a file; or a terminal that can do nothing, for which a command's output is made harmless too.
    Plain {
        /// It is a terminal all the same.
        terminal: bool,
    },
}

/// What is to be written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shown {
    /// On stdout.
    pub out: String,
    /// On stderr.
    pub err: String,
}

/// Shows a conversation.
#[derive(Debug)]
pub struct Renderer {
    place: Place,
    /// The task, for commands that are named.
    task: String,
    /// Beginnings and ends of turns are said.
    marks: bool,
    speech: Speech,
    colours: Colours,
    turn: Option<String>,
    queued: usize,
    tools: Tools,
    plan: Vec<(String, String)>,
    usage: Option<(u64, u64)>,
    mode: Option<String>,
    permissions: Permissions,
    hint: Option<String>,
}

impl Renderer {
    /// Shows the conversation of a task to a principal; with the beginnings and ends of turns or, for one turn alone,
    /// without.
    pub fn new(place: Place, task: &str, principal: &str, marks: bool) -> Self {
        Self {
            place,
            task: one_line(task),
            marks,
            speech: Speech::new(place),
            colours: Colours::default(),
            turn: None,
            queued: 0,
            tools: Tools::default(),
            plan: Vec::new(),
            usage: None,
            mode: None,
            permissions: Permissions::of(principal),
            hint: None,
        }
    }

    /// Takes an event.
    pub fn event(&mut self, event: &Value) {
        match said(&event["type"]) {
            "turn.started" => self.started(event),
            "turn.queued" => {
                self.queued += 1;
                self.mark(
                    Tone::Busy,
                    &format!("[{}] queued: {}", text(&event["turn"]), text(&event["text"])),
                );
            }
            "turn.output" => self.output(event),
            "turn.update" => self.update(&event["update"]),
            "permission.requested" => self.requested(event),
            "permission.answered" => {
                let line = self.permissions.answered(event);
                self.mark(Tone::Warn, &line);
            }
            "turn.sealed" => self.sealed(event),
            "truncated" => self.mark(Tone::Quiet, "[older turns are gone]"),
            _ => {}
        }
    }

    /// Something of ours that is to be read: on a line of its own.
    pub fn note(&mut self, tone: Tone, text: &str) {
        self.mark(tone, text);
    }

    /// A line at the foot of the block until it is taken away; nothing in a plain place.
    pub fn hint(&mut self, hint: Option<&str>) {
        self.hint = hint.map(one_line);
    }

    /// The terminal has another size.
    pub fn resized(&mut self, width: usize, height: usize) {
        if let Place::Live { colours, .. } = self.place {
            self.place = Place::Live { width, height, colours };
            self.speech.sheet().resized(width);
        }
    }

    /// The request that waits for an answer, the oldest first.
    pub fn pending(&self) -> Option<&Permission> {
        self.permissions.pending().front()
    }

    /// What a key answers to it.
    pub fn choice(&self, key: u8) -> Option<Choice> {
        self.permissions.choice(key)
    }

    /// This request was answered from here: when all are told of it, nobody need be named.
    pub fn answered_from_here(&mut self, request: &str) {
        self.permissions.is_ours(request);
    }

    /// What is to be written now: what came since, and the block.
    pub fn take(&mut self) -> Shown {
        let block = match self.place {
            Place::Live { height, .. } => self.block(height),
            Place::Plain { .. } => Vec::new(),
        };
        self.speech.take(block)
    }

    /// What is to be written at the end: no block is left, and the cursor is at the beginning of a line.
    pub fn leave(&mut self) -> Shown {
        self.speech.end_line();
        self.speech.take(Vec::new())
    }

    fn started(&mut self, event: &Value) {
        self.turn = Some(text(&event["turn"]));
        self.queued = self.queued.saturating_sub(1);
        if self.marks {
            self.mark(Tone::Busy, &format!("[{}] > {}", text(&event["turn"]), text(&event["text"])));
        }
    }

    fn output(&mut self, event: &Value) {
        let text = said(&event["text"]);
        let (flow, tone) = match event["stream"] == "stderr" {
            true => (Flow::Errors, Tone::Quiet),
            false => (Flow::Output, Tone::Plain),
        };
        match self.place {
            Place::Plain { terminal: false } => self.speech.say(flow, tone, text),
            Place::Plain { terminal: true } => self.speech.say(flow, tone, &self.colours.pass(text, false)),
            Place::Live { colours, .. } => self.speech.say(flow, tone, &self.colours.pass(text, colours)),
        }
    }

    fn update(&mut self, update: &Value) {
        match said(&update["sessionUpdate"]) {
            "agent_message_chunk" => self.chunk(Flow::Text, &update["content"]),
            "agent_thought_chunk" => self.chunk(Flow::Thought, &update["content"]),
            "user_message_chunk" => self.mark(Tone::Busy, &format!("> {}", content(&update["content"]))),
            "tool_call" | "tool_call_update" => {
                if let Some(gone) = self.tools.take(update) {
                    self.tool(&gone);
                }
                self.tool_now(said(&update["toolCallId"]));
            }
            "plan" => self.planned(update),
            "usage_update" => self.usage = update["used"].as_u64().zip(update["size"].as_u64()),
            "current_mode_update" => {
                self.mode = Some(one_line(&text(&update["currentModeId"])));
                self.mark(Tone::Quiet, &format!("mode: {}", text(&update["currentModeId"])));
            }
            // What an agent offers, not what it does.
            "available_commands_update" | "config_option_update" | "session_info_update" => {}
            kind => self.mark(Tone::Quiet, &format!("({kind})")),
        }
    }

    fn chunk(&mut self, flow: Flow, said: &Value) {
        let tone = if flow == Flow::Thought { Tone::Quiet } else { Tone::Plain };
        self.speech.say(flow, tone, &harmless(&content(said)));
    }

    /// Shows a tool call that has come to its end, or in a plain place every change of its state.
    fn tool_now(&mut self, id: &str) {
        if let Some(ended) = self.tools.ended(id) {
            self.tool(&ended);
        } else if matches!(self.place, Place::Plain { .. })
            && let Some(tool) = self.tools.changed(id)
        {
            self.tool(&tool);
        }
    }

    fn tool(&mut self, tool: &Tool) {
        self.mark(tool.tone(), &tool.line());
        for diff in &tool.diffs {
            for (tone, line) in diff.lines() {
                self.mark(tone, &format!("  {line}"));
            }
        }
    }

    fn planned(&mut self, update: &Value) {
        let entries = update["entries"].as_array().into_iter().flatten().take(PLAN_MAX);
        let plan =
            entries.map(|entry| (text(&entry["status"]), one_line(&text(&entry["content"])))).collect();
        if self.plan != plan {
            self.plan = plan;
            if matches!(self.place, Place::Plain { .. }) {
                self.say_plan();
            }
        }
    }

    fn say_plan(&mut self) {
        for (status, entry) in self.plan.clone() {
            self.mark(Tone::Plain, &format!("  {} {entry}", block::tick(&status)));
        }
    }

    fn requested(&mut self, event: &Value) {
        for (tone, line) in self.permissions.requested(event, &self.tools) {
            self.mark(tone, &line);
        }
        if let (Place::Plain { .. }, Some(advice)) = (self.place, self.permissions.advice(&self.task)) {
            self.mark(Tone::Warn, &advice);
        }
    }

    fn sealed(&mut self, event: &Value) {
        for tool in self.tools.end() {
            self.tool(&tool);
        }
        if matches!(self.place, Place::Live { .. }) {
            self.say_plan();
        }
        let reason = said(&event["stop_reason"]);
        let mut facts = vec![reason.to_owned()];
        facts.extend(event["exit_code"].as_i64().map(|code| format!("exit code {code}")));
        facts.extend(event["code"].as_str().map(str::to_owned));
        facts.extend(event["detail"].as_str().map(str::to_owned));
        facts.extend(usage_of(&event["usage"]).or(self.usage).map(|(used, size)| tokens(used, size)));
        let turn = text(&event["turn"]);
        if self.marks {
            let tone = if reason == "end_turn" { Tone::Busy } else { Tone::Warn };
            self.mark(tone, &format!("[{turn}] {}", facts.join(", ")));
        } else {
            self.speech.end_line();
        }
        self.turn = None;
        self.plan.clear();
        self.permissions.end();
        self.colours = Colours::default();
    }

    fn mark(&mut self, tone: Tone, text: &str) {
        self.speech.mark(tone, &harmless(text));
    }

    fn block(&self, height: usize) -> Vec<Line> {
        block::draw(
            &block::Foot {
                turn: self.turn.as_deref(),
                queued: self.queued,
                mode: self.mode.as_deref(),
                tools: self.tools.running(),
                plan: &self.plan,
                usage: self.usage,
                permissions: self.permissions.pending(),
                hint: self.hint.as_deref(),
            },
            height,
        )
    }
}

/// What an agent said of its tokens, in the seal of a turn.
fn usage_of(usage: &Value) -> Option<(u64, u64)> {
    let used = ["used", "total_tokens"].iter().find_map(|name| usage[*name].as_u64())?;
    Some((used, usage["size"].as_u64().unwrap_or(0)))
}

fn tokens(used: u64, size: u64) -> String {
    if size > 0 { format!("{used} of {size} tokens") } else { format!("{used} tokens") }
}

/// A content block as text.
fn content(content: &Value) -> String {
    match said(&content["type"]) {
        "text" => text(&content["text"]),
        "resource" => format!("[{}]", text(&content["resource"]["uri"])),
        "resource_link" => format!("[{}]", text(&content["uri"])),
        kind => format!("[{kind}]"),
    }
}

fn said(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests;
