//! What a worker said that is for the runtime itself: answers to its requests, requests of its own, use of tokens.
//! Pure: the records of the present segment come in, in order, whichever runtime reads them.

mod requests;

use crate::acp::answer::{Asked, Refusal, asked};
use crate::acp::ending::Ending;
use crate::acp::handshake::{Handshake, Numbered, Progress, Wanted};
use crate::acp::line::{Line, parse};
use crate::acp::lines::{Assembled, Lines};
use crate::acp::modes;
use crate::acp::outline::Passed;
use crate::acp::unread::{self, outlined};
use crate::acp::usage::Usage;
use crate::acp::{LINE_BYTES_MAX, LINE_RECORDS, SHOWN_BYTES_MAX, method};
use crate::agent::last_words::LastWords;
use bytes::Bytes;
use holdfast_shared::spool::Stream;
use memchr::memmem;
use requests::Requests;
pub use requests::{REQUEST_BYTES, REQUESTS, Request};
use serde_json::Value;
use std::collections::{BTreeSet, VecDeque};

/// Answers of the agent that are kept until they are looked at; one prompt is asked at a time.
const RESPONSES: usize = 64;
/// Things about its mode that are kept until they are looked at.
const SAID: usize = 64;
/// Lines of the handshake that are kept: it asks a few things, and refuses a few.
const OPENING_LINES: usize = 64;
/// Bytes of those that answer; they are kept as values, which take more.
const OPENING_BYTES: usize = 8 * 1024 * 1024;

/// See the module.
#[derive(Debug)]
pub struct Dialogue {
    lines: Lines,
    /// The record in which the present line began.
    line_begin: Option<u64>,
    /// That was before the present turn: whoever reads the turn sees only its end.
    begun_before: bool,
    /// No turn was marked yet: the handshake's segment.
    opening: Option<Vec<(u64, Line)>>,
    opening_bytes: usize,
    /// What it wrote on standard error in it.
    last_words: LastWords,
    requests: Requests,
    responses: VecDeque<(u64, Response)>,
    usage: Usage,
    /// The last things that concern its mode, of earlier turns too.
    said: VecDeque<(u64, Said)>,
    /// It said something, in a turn before too, that may ask or answer and cannot be understood.
    is_unclear: bool,
}

/// Something that concerns the agent's mode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// It went into this one by itself.
    Mode(String),
    /// It answered a request of ours, perhaps one to go into a mode.
    Answered {
        /// The message.
        number: u64,
        /// With an error.
        refused: bool,
    },
}

/// An answer of the agent.
#[derive(Clone, Debug, PartialEq)]
pub struct Response {
    /// What it means for a turn whose prompt it answers.
    pub ending: Ending,
    /// What was used up to then.
    pub usage: Usage,
    /// The record that ends its line.
    pub seq: u64,
}

/// What the handshake came to, from the lines that are there.
#[derive(Clone, Debug, PartialEq)]
pub struct Opened {
    /// All messages to the agent so far, by number.
    pub messages: Vec<Numbered>,
    /// How far it is.
    pub progress: Progress,
    /// The record that ends the line which made it so.
    pub seq: u64,
}

impl Default for Dialogue {
    fn default() -> Self {
        Self {
            lines: Lines::new(LINE_BYTES_MAX),
            line_begin: None,
            begun_before: false,
            opening: Some(Vec::new()),
            opening_bytes: 0,
            last_words: LastWords::default(),
            requests: Requests::default(),
            responses: VecDeque::new(),
            usage: Usage::default(),
            said: VecDeque::new(),
            is_unclear: false,
        }
    }
}

impl Dialogue {
    /// A turn's segment begins. A line that is being written meanwhile goes on in it, and what was asked of files and
    /// commands before it and is not answered yet is still to be.
    pub fn begin_turn(&mut self) {
        let Self { lines, line_begin, said, is_unclear, mut requests, .. } = std::mem::take(self);
        requests.begin_turn();
        let begun_before = line_begin.is_some();
        let kept = Self { lines, line_begin, begun_before, said, is_unclear, ..Self::default() };
        *self = Self { opening: None, requests, ..kept };
    }

    /// What comes next does not go on from what came before: the line that was being written is lost.
    pub fn lose_line(&mut self) {
        self.lines = Lines::new(LINE_BYTES_MAX);
        (self.line_begin, self.begun_before) = (None, false);
    }

    /// Takes the next output record.
    pub fn take(&mut self, seq: u64, stream: Stream, more: bool, bytes: &Bytes) {
        if stream != Stream::Stdout {
            if self.opening.is_some() {
                self.last_words.push(bytes);
            }
            return;
        }
        let begin = *self.line_begin.get_or_insert(seq);
        let begun_before = self.begun_before;
        if !more {
            (self.line_begin, self.begun_before) = (None, false);
        }
        match self.lines.push(more, bytes) {
            Assembled::Line(line) if may_concern(&line) => {
                let is_shown = !begun_before && line.len() <= SHOWN_BYTES_MAX && seq - begin < LINE_RECORDS;
                self.take_line(seq, &line, is_shown);
            }
            Assembled::TooLong { passed, .. } => self.take_too_long(seq, passed),
            Assembled::Line(_) | Assembled::Part => {}
        }
    }

    /// Whoever waits for an answer gets one, and whoever was answered does not wait on.
    fn take_too_long(&mut self, seq: u64, passed: Passed) {
        match passed {
            Passed::Request(id) => {
                let (method, params) = (String::new(), Value::Null);
                self.note_opening(seq, &Line::Request { id: id.clone(), method, params });
                self.requests.take(seq, id, Err(Refusal::too_long()), 0);
            }
            Passed::Response(Some(number)) => {
                let line =
                    unread::answer(number, format!("the answer is longer than {LINE_BYTES_MAX} bytes"));
                self.note_opening(seq, &line);
                self.answered(seq, number, true, Ending::too_long());
            }
            Passed::Unclear => self.is_unclear = true,
            Passed::Notification | Passed::Response(None) | Passed::Nothing => {}
        }
    }

    /// What the handshake needs of a line, which is kept until the first turn: of requests their name.
    fn note_opening(&mut self, seq: u64, line: &Line) {
        let Some(opening) = self.opening.as_mut().filter(|opening| opening.len() < OPENING_LINES) else {
            return;
        };
        match line {
            Line::Request { id, .. } => {
                let (id, method, params) = (id.clone(), String::new(), Value::Null);
                opening.push((seq, Line::Request { id, method, params }));
            }
            Line::Invalid { .. } | Line::Response { .. } => opening.push((seq, line.clone())),
            Line::Notification { .. } | Line::Junk => {}
        }
    }

    fn take_line(&mut self, seq: u64, line: &[u8], is_shown: bool) {
        let mut parsed = parse(line);
        if let Line::Junk = parsed {
            parsed = outlined(line);
        }
        if let Line::Response { id: Some(id), .. } = parsed
            && self.opening.is_some()
        {
            self.opening_bytes += line.len();
            if self.opening_bytes > OPENING_BYTES {
                let why = format!("the answers of the handshake are longer than {OPENING_BYTES} bytes");
                parsed = unread::answer(id, why);
            }
        }
        self.note_opening(seq, &parsed);
        match parsed {
            Line::Request { id, method, params } => {
                let asked = match asked(&method, &params) {
                    // Nobody sees it, so nobody would answer it.
                    Ok(Asked::Permission(_)) if !is_shown => {
                        Err(Refusal::invalid("it is too long to be shown"))
                    }
                    Ok(Asked::Unknown) => Err(Refusal::unknown_method(&method)),
                    asked => asked,
                };
                self.requests.take(seq, id, asked, line.len());
            }
            Line::Response { id: Some(number), outcome } => {
                if let Ok(result) = &outcome {
                    self.usage.note_result(result);
                }
                self.answered(seq, number, outcome.is_err(), Ending::of(&outcome));
            }
            Line::Invalid { id } => self.requests.take(seq, id, Err(Refusal::malformed()), 0),
            Line::Notification { method, params } if method == method::CANCEL_REQUEST => {
                self.requests.withdraw(seq, params.get("requestId"));
            }
            Line::Notification { params, .. } => self.update(seq, params.get("update")),
            Line::Response { id: None, .. } | Line::Junk => {}
        }
    }

    fn answered(&mut self, seq: u64, number: u64, refused: bool, ending: Ending) {
        self.note(seq, Said::Answered { number, refused });
        let response = Response { ending, usage: self.usage.clone(), seq };
        if self.responses.len() == RESPONSES {
            self.responses.pop_front();
        }
        self.responses.push_back((number, response));
    }

    /// Whether the agent has withdrawn its request of this name in the line that ends with this record.
    pub fn is_withdrawn(&self, seq: u64, name: &str) -> bool {
        self.requests.is_withdrawn(seq, name)
    }

    /// By the journal, requests up to this record are taken, those for permission left aside, and only the named ones
    /// are still needed. So whoever reads a long turn at once does not hold what was answered long ago.
    pub fn settle(&mut self, taken_to: u64, needed: BTreeSet<u64>) {
        self.requests.settle(taken_to, needed);
    }

    /// Requests for permission that are over are dropped, those whose answer is still to be written left aside.
    pub fn forget_permissions(&mut self, is_over: impl Fn(u64) -> bool) {
        self.requests.forget_permissions(is_over);
    }

    fn update(&mut self, seq: u64, update: Option<&Value>) {
        let Some(update) = update else { return };
        self.usage.note_update(update);
        if let Some(mode) = modes::of_update(update) {
            self.note(seq, Said::Mode(mode.to_owned()));
        }
    }

    fn note(&mut self, seq: u64, said: Said) {
        // Of changes that nobody has looked at in between the last counts.
        let is_mode = |said: &Said| matches!(said, Said::Mode(_));
        let replaces = is_mode(&said) && self.said.back().is_some_and(|(_, last)| is_mode(last));
        if replaces || self.said.len() == SAID {
            let _gone = if replaces { self.said.pop_back() } else { self.said.pop_front() };
        }
        self.said.push_back((seq, said));
    }

    /// The handshake, from its beginning to where the lines that are there bring it. `None` once a turn was marked.
    pub fn opened(&self, wanted: Wanted) -> Option<Opened> {
        let lines = self.opening.as_ref()?;
        let (mut handshake, first) = Handshake::begin(wanted);
        let (mut messages, mut at) = (vec![first], 0);
        for (seq, line) in lines {
            if *handshake.progress() != Progress::Waiting {
                break;
            }
            messages.extend(handshake.feed(line));
            at = *seq;
        }
        Some(Opened { messages, progress: handshake.progress().clone(), seq: at })
    }

    /// The last of what it wrote on standard error before its first turn, on one line; `None` where that is nothing, or once
    /// a turn was marked.
    pub fn last_words(&self) -> Option<String> {
        self.last_words.said()
    }

    /// Requests behind this output record that are there, in order.
    pub fn requests_behind(&self, seq: u64) -> impl Iterator<Item = (u64, &Request)> {
        self.requests.behind(seq)
    }

    /// The request whose line ends with this record.
    pub fn request_at(&self, seq: u64) -> Option<&Request> {
        self.requests.at(seq)
    }

    /// A request is answered for good.
    pub fn forget(&mut self, seq: u64) {
        self.requests.forget(seq);
    }

    /// The first answer to our request with this number.
    pub fn response(&self, number: u64) -> Option<&Response> {
        self.responses.iter().find(|(of, _)| *of == number).map(|(_, response)| response)
    }

    /// It said something that may ask or answer and is too long to be understood: somebody might wait for ever.
    pub fn is_unclear(&self) -> bool {
        self.is_unclear
    }

    /// What was used so far, as far as it was said.
    pub fn usage(&self) -> &Usage {
        &self.usage
    }

    /// What it said behind this output record that concerns its mode.
    pub fn said_behind(&self, seq: u64) -> impl Iterator<Item = (u64, &Said)> {
        self.said.iter().filter(move |(at, _)| *at > seq).map(|(at, said)| (*at, said))
    }
}

/// Most lines are updates that only browsers read: those are not parsed. A request or an answer has an `id`, written
/// so or with escapes.
fn may_concern(line: &[u8]) -> bool {
    let has = |word: &[u8]| memmem::find(line, word).is_some();
    has(br#""id""#)
        || has(b"usage_update")
        || has(b"current_mode_update")
        || has(b"cancel_request")
        || has(b"\\u006")
}

#[cfg(test)]
mod tests;
