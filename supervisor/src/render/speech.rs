//! What is written where: on a terminal all on one sheet, in a plain place on stdout and stderr.

use super::sheet::Sheet;
use super::{Place, Shown};
use crate::watch::{Line, Tone};

/// What was said last, so that something else begins on a line of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// An agent's answer.
    Text,
    /// An agent's thoughts.
    Thought,
    /// What a worker wrote on stdout,
    Output,
    /// and on stderr.
    Errors,
    /// A line of ours.
    Mark,
}

impl Flow {
    /// In a plain place: what the worker says is on stdout, all else on stderr.
    fn is_out(self) -> bool {
        matches!(self, Flow::Text | Flow::Output)
    }
}

/// See the module.
#[derive(Debug)]
pub struct Speech {
    place: Place,
    sheet: Sheet,
    shown: Shown,
    flow: Flow,
    /// What was said last, in a plain place, did not end its line.
    midline: bool,
}

impl Speech {
    /// Nothing is said yet.
    pub fn new(place: Place) -> Self {
        Self { place, sheet: Sheet::new(place), shown: Shown::default(), flow: Flow::Mark, midline: false }
    }

    /// The terminal's sheet.
    pub fn sheet(&mut self) -> &mut Sheet {
        &mut self.sheet
    }

    /// What was said since the last time; on a terminal with a block below.
    pub fn take(&mut self, block: Vec<Line>) -> Shown {
        if let Place::Live { .. } = self.place {
            self.shown.out = self.sheet.take(block);
        }
        std::mem::take(&mut self.shown)
    }

    /// Says something; another kind than before begins on a line of its own.
    pub fn say(&mut self, flow: Flow, tone: Tone, text: &str) {
        if self.flow != flow {
            self.end_line();
            (self.flow, self.midline) = (flow, false);
        }
        match self.place {
            Place::Live { .. } => self.sheet.text(tone, text),
            Place::Plain { .. } if text.is_empty() => {}
            Place::Plain { .. } => {
                self.midline = !text.ends_with('\n');
                if flow.is_out() { &mut self.shown.out } else { &mut self.shown.err }.push_str(text);
            }
        }
    }

    /// Says a line of ours.
    pub fn mark(&mut self, tone: Tone, line: &str) {
        if self.flow == Flow::Mark {
            self.end_line();
        }
        self.say(Flow::Mark, tone, line.trim_end_matches('\n'));
        self.say(Flow::Mark, Tone::Plain, "\n");
    }

    /// Ends the line of what was said last, on the stream where it was said. What a command wrote into a pipe is left
    /// exactly as it is.
    pub fn end_line(&mut self) {
        match (self.place, self.flow) {
            (Place::Live { .. }, _) => self.sheet.end_line(),
            (Place::Plain { out: false, .. }, Flow::Output)
            | (Place::Plain { err: false, .. }, Flow::Errors) => {}
            (Place::Plain { .. }, flow) if self.midline => self.say(flow, Tone::Plain, "\n"),
            (Place::Plain { .. }, _) => {}
        }
    }
}
