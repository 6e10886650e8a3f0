//! The agent: its sessions, and what it answers to each request. A prompt's run is in [`turn`](super::turn).

use super::io::{self, Line};
use super::memory::{Memory, Session};
use super::turn::{Ended, Turn};
use super::updates;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::mpsc::Receiver;

/// Codes of JSON-RPC and of the protocol.
const NO_JSON: i64 = -32700;
const NO_REQUEST: i64 = -32600;
const NO_METHOD: i64 = -32601;
const BAD_PARAMS: i64 = -32602;
const FAILED: i64 = -32603;
const NOT_FOUND: i64 = -32002;

/// The agent of one process.
pub struct Agent {
    pub(super) lines: Receiver<Line>,
    /// Directories of the sessions that are open.
    pub(super) open: HashMap<String, PathBuf>,
    /// The number of the next request to the client, and of the next tool call.
    pub(super) next: u64,
}

impl Agent {
    /// Begins to read.
    pub fn start() -> Self {
        Self { lines: io::lines(), open: HashMap::new(), next: 0 }
    }

    /// Answers until stdin ends or a prompt says `die`; the code to end with.
    pub fn serve(&mut self) -> std::io::Result<u8> {
        while let Ok(line) = self.lines.recv() {
            match line {
                Err(why) => refuse(&Value::Null, NO_JSON, &why)?,
                // Answers and notifications outside of a prompt are about what is over.
                Ok(message) if message.get("id").is_none() || message.get("method").is_none() => {}
                Ok(message) => {
                    if let Some(code) = self.request(&message)? {
                        return Ok(code);
                    }
                }
            }
        }
        Ok(0)
    }

    fn request(&mut self, message: &Value) -> std::io::Result<Option<u8>> {
        let (id, params) = (&message["id"], &message["params"]);
        match message["method"].as_str().unwrap_or_default() {
            "initialize" => answer(id, updates::initialized())?,
            "authenticate" => answer(id, json!({}))?,
            "session/new" => self.new_session(id, params)?,
            "session/load" => self.load(id, params)?,
            "session/set_mode" => self.set_mode(id, params)?,
            "session/prompt" => return self.prompt(id, params),
            other => refuse(id, NO_METHOD, &format!("no method {other:?}"))?,
        }
        Ok(None)
    }

    fn new_session(&mut self, id: &Value, params: &Value) -> std::io::Result<()> {
        let directory = io::directory(params);
        let mut memory = io::remembered(&directory);
        let session = memory.make(updates::MODES[0]);
        io::remember(&directory, &memory);
        self.open.insert(session.clone(), directory);
        answer(id, json!({"sessionId": session, "modes": updates::modes(updates::MODES[0])}))
    }

    fn load(&mut self, id: &Value, params: &Value) -> std::io::Result<()> {
        let directory = io::directory(params);
        let session = params["sessionId"].as_str().unwrap_or_default().to_owned();
        let mut memory = io::remembered(&directory);
        let Some(kept) = memory.sessions.remove(&session) else {
            return refuse(id, NOT_FOUND, &format!("no session {session:?}"));
        };
        for (kind, text) in &kept.history {
            update(&session, updates::chunk(kind, text))?;
        }
        self.open.insert(session, directory);
        answer(id, json!({"modes": updates::modes(&kept.mode)}))
    }

    fn set_mode(&mut self, id: &Value, params: &Value) -> std::io::Result<()> {
        let Some(session) = self.known(params) else { return refuse(id, NOT_FOUND, "no such session") };
        let mode = params["modeId"].as_str().unwrap_or_default();
        if !updates::MODES.contains(&mode) {
            return refuse(id, BAD_PARAMS, &format!("no mode {mode:?}"));
        }
        self.change(&session, |kept| mode.clone_into(&mut kept.mode));
        answer(id, json!({}))?;
        update(&session, json!({"sessionUpdate": "current_mode_update", "currentModeId": mode}))
    }

    fn prompt(&mut self, id: &Value, params: &Value) -> std::io::Result<Option<u8>> {
        let Some(session) = self.known(params) else {
            return refuse(id, NOT_FOUND, "no such session").map(|()| None);
        };
        let blocks = params["prompt"].as_array().map(Vec::as_slice).unwrap_or_default();
        let text: String = blocks.iter().filter_map(|block| block["text"].as_str()).collect();
        self.change(&session, |kept| kept.add("user_message_chunk", &text));
        let mut turn = Turn::new(self, session.clone());
        let ended = turn.run(&text)?;
        let (said, usage) = turn.end();
        self.change(&session, |kept| kept.add("agent_message_chunk", &said));
        let stopped = |reason: &str| match usage {
            Some(used) => json!({
                "stopReason": reason,
                "usage": {"inputTokens": used, "outputTokens": 0, "totalTokens": used},
            }),
            None => json!({"stopReason": reason}),
        };
        match ended {
            Ended::Turn => answer(id, stopped("end_turn"))?,
            Ended::Cancelled => answer(id, stopped("cancelled"))?,
            Ended::Failed(why) => refuse(id, FAILED, &why)?,
            Ended::Dies(code) => return Ok(Some(code)),
            Ended::Gone => return Ok(Some(0)),
        }
        Ok(None)
    }

    fn known(&self, params: &Value) -> Option<String> {
        let session = params["sessionId"].as_str()?;
        self.open.contains_key(session).then(|| session.to_owned())
    }

    /// What is kept of a session; one that was forgotten begins anew.
    pub(super) fn kept(&self, session: &str) -> Session {
        let memory = self.open.get(session).map(|directory| io::remembered(directory)).unwrap_or_default();
        memory.sessions.get(session).cloned().unwrap_or_else(forgotten)
    }

    /// Changes what is kept of a session.
    pub(super) fn change(&self, session: &str, change: impl FnOnce(&mut Session)) {
        let Some(directory) = self.open.get(session) else { return };
        let mut memory: Memory = io::remembered(directory);
        change(memory.sessions.entry(session.to_owned()).or_insert_with(forgotten));
        io::remember(directory, &memory);
    }
}

fn forgotten() -> Session {
    Session { mode: updates::MODES[0].to_owned(), told: None, history: Vec::new() }
}

/// Tells the client what happens in a session.
pub fn update(session: &str, update: Value) -> std::io::Result<()> {
    let params = json!({"sessionId": session, "update": update});
    io::send(&json!({"jsonrpc": "2.0", "method": "session/update", "params": params}))
}

/// Refuses a prompt that comes while another one runs.
pub fn refuse_second(id: &Value) -> std::io::Result<()> {
    refuse(id, NO_REQUEST, "a prompt is being answered")
}

fn answer(id: &Value, result: Value) -> std::io::Result<()> {
    io::send(&json!({"jsonrpc": "2.0", "id": id, "result": result}))
}

fn refuse(id: &Value, code: i64, message: &str) -> std::io::Result<()> {
    io::send(&json!({"jsonrpc": "2.0", "id": id, "error": {"code": code, "message": message}}))
}
