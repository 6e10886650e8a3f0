//! `task attach` and `task prompt --wait`: a conversation as it goes on, in a terminal or a pipe.
//!
//! What is shown is decided in `render.rs`; this reads events, keys and signals and writes what that says. Leaving
//! cancels nothing: the turn is the node's, and whoever attaches next sees the same events.

use super::at_rest::{at_rest, look_up};
pub use super::begin::Begin;
use super::begin::{no_task, start};
use super::call::write;
use super::follow::Follower;
use super::front::Front;
use super::output::{CliError, Output};
use super::place::Place;
use super::terminal::{self, Keys, Pressed};
use crate::io::centrifuge_client::ClientError;
use crate::render::{self, Choice, Renderer};
use crate::watch::Tone;
use holdfast_shared::error::Code;
use holdfast_shared::process::Signals;
use serde_json::{Value, json};
use std::io::{IsTerminal, Write};
use std::pin::Pin;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// Events that are taken before what they change is written: a replay then is not drawn event by event.
const AT_ONCE: usize = 4_096;
/// How often it looks when nothing comes: a lost connection is said so late, and a reader who has gone is noticed.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// How it ended.
pub enum Ended {
    /// The reader left.
    Detached {
        /// A turn was seen running; it goes on.
        running: bool,
    },
    /// The one turn that was watched was sealed, with this event.
    Sealed(Value),
}

type Answering<'a> = Pin<Box<dyn Future<Output = (Choice, Result<Value, CliError>)> + 'a>>;

/// A conversation that is watched.
pub struct Attached<'a> {
    place: &'a Place,
    task: String,
    follower: Follower<'a>,
    output: &'a Output,
    renderer: Renderer,
    /// On a terminal, with keys and a block.
    live: bool,
    /// The one turn that is shown.
    only: Option<Value>,
    answering: Option<Answering<'a>>,
    keys: Option<Keys>,
    front: Front,
    /// How the task is, where nothing runs in it, and the turn behind whose end that is said.
    at_rest: Option<(Value, String)>,
    /// Nobody reads stdout any more.
    gone: bool,
}

impl<'a> Attached<'a> {
    /// Follows a task's conversation.
    ///
    /// # Errors
    /// When there is no such task, or no node.
    pub async fn open(
        place: &'a Place,
        task: &str,
        from: Begin,
        output: &'a Output,
    ) -> Result<Self, CliError> {
        let (start, more) = start(place, task, from, output).await?;
        let opened = Follower::open(place, &format!("conversation:{task}"), start).await;
        let follower = opened.map_err(|error| match error {
            CliError::Session(ClientError::Refused { code, .. }) if code == Code::UnknownChannel.number() => {
                no_task(task)
            }
            error => error,
        })?;
        let shown_on = shown_on(output);
        let live = matches!(shown_on, render::Place::Live { .. });
        let principal = format!("local:{}", nix::unistd::geteuid());
        let mut renderer = Renderer::new(shown_on, task, &principal, from != Begin::Now);
        if more && !follower.began_elsewhere() && !output.json {
            renderer.note(Tone::Quiet, "[earlier turns are not shown; --all shows them]");
        }
        let mut resting = None;
        if from != Begin::Now && !output.json {
            let found = look_up(place, task).await;
            resting = at_rest(&found).map(|said| (json!(format!("t{}", found["turns"])), said));
            // No turn comes whose end could be waited for.
            if let Some((_, said)) = resting.take_if(|_| found["turns"] == 0) {
                renderer.note(Tone::Warn, &said);
            }
        }
        if !std::io::stdin().is_terminal() {
            renderer.without_keys();
        }
        Ok(Self {
            place,
            task: task.to_owned(),
            follower,
            output,
            renderer,
            live,
            only: None,
            answering: None,
            keys: None,
            front: Front::default(),
            at_rest: resting,
            gone: false,
        })
    }

    /// Shows one turn alone, and ends with it.
    pub fn only(&mut self, turn: Value) {
        self.only = Some(turn);
    }

    /// Shows what comes until it ends.
    ///
    /// # Errors
    /// When the node is gone for long, or events are certainly lost.
    pub async fn run(mut self) -> Result<Ended, CliError> {
        self.keys = self.live.then(Keys::take);
        let ended = self.follow().await;
        let rest = self.renderer.leave();
        self.put(&rest);
        ended
    }

    async fn follow(&mut self) -> Result<Ended, CliError> {
        let mut caught = vec![libc::SIGINT];
        let mut keys = mpsc::channel(1).1;
        if self.live {
            caught.extend([libc::SIGTERM, libc::SIGHUP, libc::SIGQUIT, libc::SIGWINCH, libc::SIGTSTP]);
            keys = terminal::pressed();
        }
        let mut signals = Signals::listen(&caught).map_err(CliError::system("catch signals"))?;
        loop {
            if !self.show() {
                return Ok(self.detached());
            }
            tokio::select! {
                event = self.follower.next() => {
                    if let Some(sealed) = self.take(event?) {
                        return Ok(Ended::Sealed(sealed));
                    }
                }
                signal = signals.next() => match signal {
                    libc::SIGWINCH => self.resized(),
                    libc::SIGTSTP => self.pause(),
                    _ => return Ok(self.detached()),
                },
                Some(pressed) = keys.recv() => match pressed {
                    Pressed::Key(key) if self.key(key) => return Ok(self.detached()),
                    Pressed::Key(_) => {}
                    Pressed::Paste => self.pasted(),
                },
                (choice, answer) = answer_of(&mut self.answering) => self.answered(&choice, answer),
                () = tokio::time::sleep(LOOK_AGAIN) => self.gone |= self.output.reader_is_gone(),
            }
        }
    }

    /// A key was pressed; whether it detaches.
    fn key(&mut self, key: u8) -> bool {
        match self.renderer.choice(key) {
            Some(choice) if self.front.takes_keys(Instant::now()) => self.answer(choice),
            Some(_) => self.renderer.note(Tone::Warn, "another question stands there now; press again"),
            None => return terminal::leaves(key),
        }
        false
    }

    /// Pasted text answers nothing and ends nothing. Where a question stands that is said.
    fn pasted(&mut self) {
        if self.renderer.pending().is_some() {
            self.renderer.note(Tone::Warn, "pasted text is no answer; press a key");
        }
    }

    fn detached(&self) -> Ended {
        Ended::Detached { running: self.renderer.is_running() }
    }

    /// Takes an event and those that lie ready behind it; the seal of the one turn, when it is among them.
    fn take(&mut self, event: Value) -> Option<Value> {
        let mut next = Some(event);
        let mut taken = 0;
        while let Some(event) = next {
            taken += 1;
            let wanted = self.only.as_ref().is_none_or(|turn| event["turn"] == *turn);
            if wanted && self.output.json {
                self.gone |=
                    !self.output.write_or_gone(&format!("{}\n", render::json_text(event.to_string())));
            } else if wanted {
                self.renderer.event(&event);
                self.say_at_rest(&event);
            }
            if wanted && self.only.is_some() && event["type"] == "turn.sealed" {
                return Some(event);
            }
            next = if taken < AT_ONCE { self.follower.ready() } else { None };
        }
        None
    }

    /// Behind the last turn: how the task is.
    fn say_at_rest(&mut self, event: &Value) {
        let is_last =
            |(turn, _): &mut (Value, String)| event["type"] == "turn.sealed" && event["turn"] == *turn;
        if let Some((_, said)) = self.at_rest.take_if(is_last) {
            self.renderer.note(Tone::Warn, &said);
        }
    }

    /// Writes what there is; whether anybody still reads it.
    fn show(&mut self) -> bool {
        let lost = (!self.follower.connected()).then_some("the node does not answer; trying again");
        self.renderer.hint(lost);
        let shown = self.renderer.take();
        self.front.shown(self.renderer.pending().map(|one| one.request.as_str()), Instant::now());
        self.put(&shown) && !self.gone
    }

    fn put(&self, shown: &render::Shown) -> bool {
        if !shown.err.is_empty() {
            let mut stderr = std::io::stderr().lock();
            let _ = stderr.write_all(shown.err.as_bytes()).and_then(|()| stderr.flush());
        }
        shown.out.is_empty() || self.output.write_or_gone(&shown.out)
    }

    fn resized(&mut self) {
        let (width, height) = terminal::size();
        self.renderer.resized(width, height);
    }

    /// Ctrl-Z: the terminal is the shell's until it brings this back.
    fn pause(&mut self) {
        let rest = self.renderer.leave();
        self.put(&rest);
        self.keys = None;
        terminal::pause();
        self.keys = Some(Keys::take());
        self.resized();
    }

    fn answer(&mut self, choice: Choice) {
        if self.answering.is_some() {
            return;
        }
        self.renderer.answered_from_here(&choice.request);
        let (place, task) = (self.place, self.task.clone());
        self.answering = Some(Box::pin(async move {
            let answer = json!({"task": task, "request": choice.request, "option": choice.option});
            let answered = write(place, "permission.answer", answer).await;
            (choice, answered)
        }));
    }

    fn answered(&mut self, choice: &Choice, answer: Result<Value, CliError>) {
        self.answering = None;
        let note = match answer {
            Ok(answer) if answer["won"] == false => "another answer was first".to_owned(),
            Ok(_) => return,
            Err(error) => format!("request {} was not answered: {error}", choice.request),
        };
        self.renderer.note(Tone::Warn, &note);
    }
}

/// The answer that is under way, if one is; else never.
async fn answer_of(answering: &mut Option<Answering<'_>>) -> (Choice, Result<Value, CliError>) {
    match answering {
        Some(answering) => answering.await,
        None => std::future::pending().await,
    }
}

/// Live on a terminal that can do something, plain elsewhere.
fn shown_on(output: &Output) -> render::Place {
    let (out, err) = (std::io::stdout().is_terminal(), std::io::stderr().is_terminal());
    let dumb = std::env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb");
    if output.json || !out || dumb {
        return render::Place::Plain { out, err };
    }
    let (width, height) = terminal::size();
    render::Place::Live { width, height, colours: output.colours }
}
