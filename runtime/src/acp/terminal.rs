//! `terminal/*`: commands that an agent has run for it.

use crate::acp::answer::{Refusal, optional, text};
use crate::acp::{method, usage};
use serde_json::{Value, json};

/// Bytes of output that an answer carries at most, whatever the agent asks for; beyond it the beginning is left out.
pub const OUTPUT_BYTES_MAX: usize = 1024 * 1024;

/// What is asked about a terminal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Terminal {
    /// Run a command.
    Create(Command),
    /// What it wrote so far.
    Output(String),
    /// Answer when it has ended.
    WaitForExit(String),
    /// End it, and keep its output.
    Kill(String),
    /// End it if it runs, and forget it.
    Release(String),
}

/// What is to be run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// A program; where there are no `args`, some agents put a whole line for the shell here.
    pub command: String,
    /// Its arguments.
    pub args: Vec<String>,
    /// Added to the environment, in this order.
    pub env: Vec<(String, String)>,
    /// Absolute; the session's where it is missing. Not checked against the workspace here.
    pub cwd: Option<String>,
    /// Bytes of output to be kept, at most [`OUTPUT_BYTES_MAX`].
    pub output_bytes: usize,
}

impl Terminal {
    /// Reads the parameters of `terminal/<what>`; `None` where there is no such method.
    ///
    /// # Errors
    /// With what is wrong with them.
    pub fn read(name: &str, params: &Value) -> Option<Result<Self, Refusal>> {
        let of: fn(String) -> Self = match name {
            method::TERMINAL_CREATE => return Some(create(params).map(Self::Create)),
            method::TERMINAL_OUTPUT => Self::Output,
            method::TERMINAL_WAIT_FOR_EXIT => Self::WaitForExit,
            method::TERMINAL_KILL => Self::Kill,
            method::TERMINAL_RELEASE => Self::Release,
            _ => return None,
        };
        Some(text(params, "terminalId").map(of))
    }
}

fn create(params: &Value) -> Result<Command, Refusal> {
    let command = text(params, "command")?;
    if command.is_empty() {
        return Err(Refusal::invalid("command is empty"));
    }
    let limit = optional(params, "outputByteLimit", usage::count)?;
    let output_bytes = limit.map_or(OUTPUT_BYTES_MAX, |limit| limit.min(OUTPUT_BYTES_MAX as u64) as usize);
    let read = Command {
        command,
        args: list(params, "args", |arg| arg.as_str().map(str::to_owned))?,
        env: list(params, "env", variable)?,
        cwd: optional(params, "cwd", |cwd| cwd.as_str().map(str::to_owned))?,
        output_bytes,
    };
    let texts = [&read.command].into_iter().chain(&read.args).chain(read.env.iter().map(|(_, value)| value));
    if texts.chain(&read.cwd).any(|text| text.contains('\0')) {
        return Err(Refusal::invalid("a NUL cannot be passed to a program"));
    }
    Ok(read)
}

fn variable(variable: &Value) -> Option<(String, String)> {
    let name =
        variable.get("name")?.as_str().filter(|name| !name.is_empty() && !name.contains(['=', '\0']))?;
    Some((name.to_owned(), variable.get("value")?.as_str()?.to_owned()))
}

fn list<T>(params: &Value, field: &str, read: impl Fn(&Value) -> Option<T>) -> Result<Vec<T>, Refusal> {
    let list = optional(params, field, |list| list.as_array()?.iter().map(&read).collect())?;
    Ok(list.unwrap_or_default())
}

/// How a command ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exit {
    /// By itself.
    Code(u32),
    /// By a signal of this name.
    Signal(String),
}

/// The result of `terminal/create`.
pub fn created(terminal_id: &str) -> Value {
    json!({"terminalId": terminal_id})
}

/// The result of `terminal/output`: the end of what was written that fits, cut at a character, invalid UTF-8
/// replaced. `dropped` says that `written` is itself not all of it.
pub fn output(written: &[u8], dropped: bool, limit_bytes: usize, exit: Option<&Exit>) -> Value {
    let mut from = written.len().saturating_sub(limit_bytes);
    // At most three bytes go on from a character before.
    while from > 0 && from < written.len() && written[from] & 0xc0 == 0x80 && limit_bytes > 0 {
        from += 1;
    }
    let text = String::from_utf8_lossy(&written[from..]);
    json!({"output": text, "truncated": dropped || from > 0, "exitStatus": exit.map(exited)})
}

/// The result of `terminal/wait_for_exit`, and the status in that of `terminal/output`.
pub fn exited(exit: &Exit) -> Value {
    match exit {
        Exit::Code(code) => json!({"exitCode": code, "signal": null}),
        Exit::Signal(name) => json!({"exitCode": null, "signal": name}),
    }
}
