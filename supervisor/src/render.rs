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
mod plan;
mod sheet;
mod speech;
mod tool;
mod update;
mod words;

pub use harmless::{harmless, json_text, one_line};
pub use permission::{Choice, Permission};

use crate::watch::{Line, Tone};
use harmless::Colours;
use permission::Permissions;
use plan::Plan;
use serde_json::Value;
use speech::{Flow, Speech};
use std::collections::BTreeSet;
use tool::Tools;
use words::{said, text, tokens, usage_of};

/// Waiting turns that are remembered: the node lets no more wait in a task.
const WAITING_MAX: usize = 16;
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
    /// A pipe or a file; or a terminal that can do nothing. Where one of the two ends on a terminal all the same, what a
    /// command writes there is made harmless too.
    Plain {
        /// Stdout is a terminal.
        out: bool,
        /// Stderr is one.
        err: bool,
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
    /// Where the sequences of the output stand: those of stdout and those of stderr end apart.
    colours: [Colours; 2],
    turn: Option<String>,
    waiting: BTreeSet<String>,
    tools: Tools,
    plan: Plan,
    usage: Option<(u64, u64)>,
    mode: Option<String>,
    permissions: Permissions,
    hint: Option<String>,
    /// There are keys to answer with.
    keys: bool,
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
            colours: Default::default(),
            turn: None,
            waiting: BTreeSet::new(),
            tools: Tools::default(),
            plan: Plan::default(),
            usage: None,
            mode: None,
            permissions: Permissions::of(principal),
            hint: None,
            keys: matches!(place, Place::Live { .. }),
        }
    }

    /// Nobody can press a key: a question names the command that answers it.
    pub fn without_keys(&mut self) {
        self.keys = false;
    }

    /// Takes an event.
    pub fn event(&mut self, event: &Value) {
        match said(&event["type"]) {
            "turn.started" => self.started(event),
            "turn.queued" => self.queued(event),
            "turn.output" => self.output(event),
            "turn.update" => {
                self.update(&event["update"]);
                self.not_shown(event);
            }
            "turn.skip" => self.not_shown(event),
            "session.lost" => {
                self.mark(Tone::Warn, "[the agent has begun anew; it does not know what was said before]")
            }
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

    /// Whether a turn runs, as far as was seen.
    pub fn is_running(&self) -> bool {
        self.turn.is_some()
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

    /// Says of what is too long that it is not shown.
    fn not_shown(&mut self, event: &Value) {
        if said(&event["reason"]) == "too_long" {
            let part = if event["type"] == "turn.update" { "the rest of " } else { "" };
            let size = event["bytes"].as_u64().map(|bytes| format!(" of {bytes} bytes")).unwrap_or_default();
            self.mark(Tone::Warn, &format!("[{part}a message{size} is not shown: it is too long]"));
        }
    }

    fn queued(&mut self, event: &Value) {
        let turn = text(&event["turn"]);
        self.mark(Tone::Busy, &format!("[{turn}] queued: {}", text(&event["text"])));
        if self.waiting.len() < WAITING_MAX {
            self.waiting.insert(turn);
        }
    }

    fn started(&mut self, event: &Value) {
        let turn = text(&event["turn"]);
        self.waiting.remove(&turn);
        self.turn = Some(turn);
        if self.marks {
            self.mark(Tone::Busy, &format!("[{}] > {}", text(&event["turn"]), text(&event["text"])));
        }
    }

    fn output(&mut self, event: &Value) {
        let text = said(&event["text"]);
        let errors = event["stream"] == "stderr";
        let (flow, tone) = if errors { (Flow::Errors, Tone::Quiet) } else { (Flow::Output, Tone::Plain) };
        let wanted = match self.place {
            Place::Plain { out, err } if !(if errors { err } else { out }) => {
                return self.speech.say(flow, tone, text);
            }
            Place::Plain { .. } => false,
            Place::Live { colours, .. } => colours,
        };
        let passed = self.colours[usize::from(errors)].pass(text, wanted);
        self.speech.say(flow, tone, &passed);
    }

    fn requested(&mut self, event: &Value) {
        for (tone, line) in self.permissions.requested(event, &self.tools) {
            self.mark(tone, &line);
        }
        if let (false, Some(advice)) = (self.keys, self.permissions.advice(&self.task)) {
            self.mark(Tone::Warn, &advice);
        }
    }

    fn sealed(&mut self, event: &Value) {
        let turn = text(&event["turn"]);
        let other_runs = self.turn.as_ref().is_some_and(|running| *running != turn);
        if self.waiting.remove(&turn) || other_runs {
            // Taken back, or stopped with its task; what runs goes on.
            let reason = said(&event["stop_reason"]);
            return self.mark(Tone::Quiet, &format!("[{turn}] {reason} before it ran"));
        }
        for tool in self.tools.end() {
            self.tool(&tool);
        }
        if matches!(self.place, Place::Live { .. }) {
            self.say_plan();
        }
        let reason = said(&event["stop_reason"]);
        let mut facts = vec![reason.to_owned()];
        facts.extend(event["exit_code"].as_i64().map(|code| format!("exit code {code}")));
        facts.extend(["code", "detail"].iter().filter_map(|name| event[*name].as_str().map(str::to_owned)));
        facts.extend(usage_of(&event["usage"]).or(self.usage).map(|(used, size)| tokens(used, size)));
        if self.marks {
            let tone = if reason == "end_turn" { Tone::Busy } else { Tone::Warn };
            self.mark(tone, &format!("[{turn}] {}", facts.join(", ")));
        } else {
            self.speech.end_line();
        }
        self.turn = None;
        self.plan.clear();
        self.permissions.end();
        self.colours = Default::default();
    }

    fn mark(&mut self, tone: Tone, text: &str) {
        self.speech.mark(tone, &harmless(text));
    }

    fn block(&self, height: usize) -> Vec<Line> {
        block::draw(
            &block::Foot {
                turn: self.turn.as_deref(),
                queued: self.waiting.len(),
                mode: self.mode.as_deref(),
                tools: self.tools.running(),
                plan: self.plan.entries(),
                usage: self.usage,
                permissions: self.permissions.pending(),
                hint: self.hint.as_deref(),
                keys: self.keys,
            },
            height,
        )
    }
}

#[cfg(test)]
mod tests;
