//! One prompt's run: word by word, while a cancel and the client's answers are heard.

use super::agent::{Agent, refuse_second, update};
use super::io;
use super::script::{Word, parse};
use super::updates;
use serde_json::{Value, json};
use std::path::Path;
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

/// The longest single wait; a word that waits longer waits again.
const WAIT_MAX: Duration = Duration::from_secs(3600);

/// How a prompt ended.
pub enum Ended {
    /// As it should.
    Turn,
    /// The client cancelled it.
    Cancelled,
    /// With an error.
    Failed(String),
    /// The process is to end with this code.
    Dies(u8),
    /// There is no client any more.
    Gone,
}

/// What a wait ended with.
enum Heard {
    /// Its time was over.
    Time,
    /// The client's answer to our request.
    Answer(Value),
    /// The prompt is over.
    End(Ended),
}

/// See the module.
pub struct Turn<'a> {
    agent: &'a mut Agent,
    session: String,
    said: String,
    usage: Option<u64>,
}

type Step = std::io::Result<Option<Ended>>;

impl<'a> Turn<'a> {
    pub fn new(agent: &'a mut Agent, session: String) -> Self {
        Self { agent, session, said: String::new(), usage: None }
    }

    /// What was said, and the tokens that were said to be used.
    pub fn end(self) -> (String, Option<u64>) {
        (self.said, self.usage)
    }

    pub fn run(&mut self, prompt: &str) -> std::io::Result<Ended> {
        for word in parse(prompt) {
            let ended = match self.word(word)? {
                None => self.pass(Duration::ZERO)?,
                ended => ended,
            };
            if let Some(ended) = ended {
                return Ok(ended);
            }
        }
        Ok(Ended::Turn)
    }

    fn word(&mut self, word: Word) -> Step {
        match word {
            Word::Say(text) => self.say(&text)?,
            Word::Think(text) => self.tell(updates::chunk("agent_thought_chunk", &text))?,
            Word::Plan(entries) => self.tell(updates::plan(&entries))?,
            Word::Tool(name) => {
                self.tool(&name, "other", vec![updates::tool_text(&format!("{name} is done"))])?
            }
            Word::Edit { path, old, new } => {
                let path = self.absolute(&path);
                self.tool(&format!("Edit {path}"), "edit", vec![updates::tool_diff(&path, &old, &new)])?;
            }
            Word::Permit(name) => return self.permit(&name),
            Word::Read(path) => {
                let params = json!({"sessionId": self.session, "path": self.absolute(&path)});
                return self.ask_and_say("fs/read_text_file", params, |answer| text(&answer["content"]));
            }
            Word::Write { path, text } => {
                let path = self.absolute(&path);
                let params = json!({"sessionId": self.session, "path": path, "content": text});
                return self.ask_and_say("fs/write_text_file", params, |_| format!("wrote {path}"));
            }
            Word::Run(line) => return self.terminal(&line),
            Word::Sleep(ms) => return self.pass(Duration::from_millis(ms)),
            Word::Count { to, every_ms } => return self.count(to, Duration::from_millis(every_ms)),
            Word::Remember(text) => {
                self.agent.change(&self.session, |kept| kept.told = Some(text));
                self.say("I will remember.")?;
            }
            Word::Secret => {
                let told = self.agent.kept(&self.session).told;
                self.say(
                    &told.map_or_else(
                        || "I was told nothing.".to_owned(),
                        |told| format!("I was told: {told}"),
                    ),
                )?;
            }
            Word::Usage { used, size } => {
                self.usage = Some(used);
                self.tell(updates::usage(used, size))?;
            }
            Word::Junk => io::line("this line is no JSON")?,
            Word::Long(bytes) => self.long(bytes)?,
            Word::Stderr(text) => eprintln!("{text}"),
            Word::Die(code) => return Ok(Some(Ended::Dies(code))),
            Word::Hang => loop {
                std::thread::park();
            },
            Word::Fail => return Ok(Some(Ended::Failed("it was asked to fail".to_owned()))),
        }
        Ok(None)
    }

    fn tell(&self, what: Value) -> std::io::Result<()> {
        update(&self.session, what)
    }

    fn say(&mut self, text: &str) -> std::io::Result<()> {
        self.said.push_str(text);
        self.tell(updates::chunk("agent_message_chunk", text))
    }

    fn tool(&mut self, name: &str, kind: &str, content: Vec<Value>) -> std::io::Result<()> {
        let id = self.number("call");
        self.tell(updates::tool(&id, name, kind))?;
        self.tell(updates::tool_update(&id, "in_progress", Vec::new()))?;
        self.tell(updates::tool_update(&id, "completed", content))
    }

    fn permit(&mut self, name: &str) -> Step {
        let id = self.number("call");
        self.tell(updates::tool(&id, name, "edit"))?;
        let outcome = match self.agent.kept(&self.session).mode == updates::MODES[1] {
            true => "not asked".to_owned(),
            false => {
                let params = updates::permission(&self.session, &id, name);
                match self.ask("session/request_permission", params)? {
                    Ok(answer) if answer["outcome"]["outcome"] == "selected" => {
                        text(&answer["outcome"]["optionId"])
                    }
                    Ok(answer) => text(&answer["outcome"]["outcome"]),
                    Err(Heard::Answer(error)) => text(&error["message"]),
                    Err(Heard::End(ended)) => return Ok(Some(ended)),
                    Err(Heard::Time) => String::new(),
                }
            }
        };
        let done = matches!(outcome.as_str(), "allow" | "always" | "not asked");
        self.tell(updates::tool_update(&id, if done { "completed" } else { "failed" }, Vec::new()))?;
        self.say(&format!("{name}: {outcome}"))?;
        Ok(None)
    }

    fn terminal(&mut self, line: &str) -> Step {
        let session = self.session.clone();
        let params = json!({"sessionId": session, "command": "/bin/sh", "args": ["-c", line]});
        let created = match self.ask("terminal/create", params)? {
            Ok(created) => created,
            Err(heard) => return self.refused(heard),
        };
        let params = json!({"sessionId": session, "terminalId": created["terminalId"]});
        let id = self.number("call");
        self.tell(updates::tool(&id, line, "execute"))?;
        let shown = json!({"type": "terminal", "terminalId": created["terminalId"]});
        self.tell(updates::tool_update(&id, "in_progress", vec![shown]))?;
        for method in ["terminal/wait_for_exit", "terminal/output", "terminal/release"] {
            match self.ask(method, params.clone())? {
                Ok(answer) if method == "terminal/output" => self.say(&text(&answer["output"]))?,
                Ok(_) => {}
                Err(heard) => return self.refused(heard),
            }
        }
        self.tell(updates::tool_update(&id, "completed", Vec::new()))?;
        Ok(None)
    }

    fn count(&mut self, to: u64, every: Duration) -> Step {
        for number in 1..=to {
            self.say(&format!("{number}\n"))?;
            if let Some(ended) = self.pass(every)? {
                return Ok(Some(ended));
            }
        }
        Ok(None)
    }

    /// An update whose line has so many bytes, its newline not counted; at least what an update needs.
    fn long(&mut self, bytes: usize) -> std::io::Result<()> {
        let params = json!({"sessionId": self.session, "update": updates::chunk("agent_message_chunk", "")});
        let empty = json!({"jsonrpc": "2.0", "method": "session/update", "params": params}).to_string();
        let text = "x".repeat(bytes.saturating_sub(empty.len()));
        self.tell(updates::chunk("agent_message_chunk", &text))
    }

    /// Asks the client and says what it answered.
    fn ask_and_say(&mut self, method: &str, params: Value, says: impl FnOnce(&Value) -> String) -> Step {
        match self.ask(method, params)? {
            Ok(answer) => self.say(&says(&answer)).map(|()| None),
            Err(heard) => self.refused(heard),
        }
    }

    fn refused(&mut self, heard: Heard) -> Step {
        match heard {
            Heard::Answer(error) => self.say(&format!("refused: {}", text(&error["message"]))).map(|()| None),
            Heard::End(ended) => Ok(Some(ended)),
            Heard::Time => Ok(None),
        }
    }

    /// Sends a request and waits for its answer: the result, or an error's object, or the prompt's end.
    fn ask(&mut self, method: &str, params: Value) -> std::io::Result<Result<Value, Heard>> {
        let id = self.agent.next;
        self.agent.next += 1;
        io::send(&json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}))?;
        Ok(match self.hear(Some(id), None)? {
            Heard::Answer(mut answer) => match answer.get_mut("error") {
                Some(error) => Err(Heard::Answer(error.take())),
                None => Ok(answer["result"].take()),
            },
            other => Err(other),
        })
    }

    /// Lets time pass.
    fn pass(&mut self, time: Duration) -> Step {
        Ok(match self.hear(None, Some(Instant::now() + time.min(WAIT_MAX)))? {
            Heard::End(ended) => Some(ended),
            Heard::Time | Heard::Answer(_) => None,
        })
    }

    /// Hears until the answer to a request came, or the time is over.
    fn hear(&mut self, awaited: Option<u64>, until: Option<Instant>) -> std::io::Result<Heard> {
        loop {
            let left = until.map_or(WAIT_MAX, |until| until.saturating_duration_since(Instant::now()));
            let line = match self.agent.lines.recv_timeout(left) {
                Ok(line) => line,
                Err(RecvTimeoutError::Timeout) if until.is_some() => return Ok(Heard::Time),
                Err(RecvTimeoutError::Timeout) => continue,
                Err(RecvTimeoutError::Disconnected) => return Ok(Heard::End(Ended::Gone)),
            };
            let Ok(message) = line else { continue };
            match message["method"].as_str() {
                Some("session/cancel") if message["params"]["sessionId"] == self.session.as_str() => {
                    return Ok(Heard::End(Ended::Cancelled));
                }
                Some(_) if message.get("id").is_some() => refuse_second(&message["id"])?,
                Some(_) => {}
                None if awaited.is_some() && message["id"].as_u64() == awaited => {
                    return Ok(Heard::Answer(message));
                }
                None => {}
            }
        }
    }

    fn absolute(&self, path: &str) -> String {
        let directory = self.agent.open.get(&self.session);
        directory
            .map_or(Path::new(path).into(), |directory| directory.join(path))
            .to_string_lossy()
            .into_owned()
    }

    fn number(&mut self, what: &str) -> String {
        self.agent.next += 1;
        format!("{what}-{}", self.agent.next)
    }
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
