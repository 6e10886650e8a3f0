//! `terminal/*`: commands that an agent has run for it.

use crate::acp::answer::{Refusal, optional, text};
use crate::acp::{method, usage};
use crate::workspace::shown;
use serde_json::{Value, json};

/// Bytes of output that an answer carries at most, whatever the agent asks for; beyond it the beginning is left out.
pub const OUTPUT_BYTES_MAX: usize = 1024 * 1024;

/// Variables of the environment that begin so are set for a command, and by nobody else.
const OWN_VARIABLES: &str = "HOLDFAST_";

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
    if let Some((name, _)) = read.env.iter().find(|(name, _)| name.starts_with(OWN_VARIABLES)) {
        return Err(Refusal::invalid(&format!("{} is set by Holdfast", shown(name))));
    }
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
    let begin = written.len().saturating_sub(limit_bytes);
    let is_cut = dropped || begin > 0;
    // At most three bytes go on from a character before; whoever read `written` may have cut it already.
    let goes_on = |byte: &&u8| **byte & 0xc0 == 0x80;
    let from = begin + written[begin..].iter().take(3).take_while(|byte| is_cut && goes_on(byte)).count();
    let text = String::from_utf8_lossy(&written[from..]);
    json!({"output": text, "truncated": is_cut, "exitStatus": exit.map(exited)})
}

/// The result of `terminal/wait_for_exit`, and the status in that of `terminal/output`.
pub fn exited(exit: &Exit) -> Value {
    match exit {
        Exit::Code(code) => json!({"exitCode": code, "signal": null}),
        Exit::Signal(name) => json!({"exitCode": null, "signal": name}),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn create(params: Value) -> Result<Command, Refusal> {
        match Terminal::read(method::TERMINAL_CREATE, &params).unwrap()? {
            Terminal::Create(command) => Ok(command),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_command_is_read_with_all_that_may_be_missing() {
        let whole = create(json!({"sessionId": "s", "command": "npm", "args": ["t", ""], "cwd": "/w",
            "env": [{"name": "A", "value": "1"}, {"name": "A", "value": ""}], "outputByteLimit": 10}));
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let expected = Command {
            command: "npm".to_owned(),
            args: vec!["t".to_owned(), String::new()],
            env: vec![pair("A", "1"), pair("A", "")],
            cwd: Some("/w".to_owned()),
            output_bytes: 10,
        };
        assert_eq!(whole.unwrap(), expected);
        let bare = create(json!({"command": "a b", "args": null, "env": null, "cwd": null})).unwrap();
        assert_eq!((bare.args.len(), bare.cwd, bare.output_bytes), (0, None, OUTPUT_BYTES_MAX));
        let greedy = create(json!({"command": "x", "outputByteLimit": u64::MAX})).unwrap();
        assert_eq!(greedy.output_bytes, OUTPUT_BYTES_MAX);
    }

    #[test]
    fn what_cannot_be_run_is_refused() {
        let cases = [
            json!({}),
            json!({"command": ""}),
            json!({"command": 1}),
            json!({"command": "x\0"}),
            json!({"command": "x", "args": "y"}),
            json!({"command": "x", "args": [1]}),
            json!({"command": "x", "args": ["\0"]}),
            json!({"command": "x", "env": {"A": "1"}}),
            json!({"command": "x", "env": [{"name": "", "value": ""}]}),
            json!({"command": "x", "env": [{"name": "A=B", "value": ""}]}),
            json!({"command": "x", "env": [{"name": "HOLDFAST_TASK", "value": "other"}]}),
            json!({"command": "x", "env": [{"name": "A"}]}),
            json!({"command": "x", "env": [{"name": "A", "value": "\0"}]}),
            json!({"command": "x", "cwd": 1}),
            json!({"command": "x", "cwd": "/w\0"}),
            json!({"command": "x", "outputByteLimit": -1}),
            json!({"command": "x", "outputByteLimit": "10"}),
        ];
        for params in cases {
            assert_eq!(
                create(params.clone()).unwrap_err().code,
                crate::acp::code::INVALID_PARAMS,
                "{params}"
            );
        }
    }

    #[test]
    fn the_other_methods_name_their_terminal() {
        let params = json!({"sessionId": "s", "terminalId": "t"});
        let read = |name| Terminal::read(name, &params).map(Result::unwrap);
        assert_eq!(read("terminal/output"), Some(Terminal::Output("t".to_owned())));
        assert_eq!(read("terminal/wait_for_exit"), Some(Terminal::WaitForExit("t".to_owned())));
        assert_eq!(read("terminal/kill"), Some(Terminal::Kill("t".to_owned())));
        assert_eq!(read("terminal/release"), Some(Terminal::Release("t".to_owned())));
        assert_eq!(read("terminal/later"), None);
        assert!(Terminal::read("terminal/kill", &json!({"terminalId": 1})).unwrap().is_err());
    }

    #[test]
    fn the_end_of_the_output_is_kept_and_cut_at_a_character() {
        let of = |written: &str, limit| output(written.as_bytes(), false, limit, None);
        assert_eq!(of("abc", 3), json!({"output": "abc", "truncated": false, "exitStatus": null}));
        assert_eq!(of("abc", 2), json!({"output": "bc", "truncated": true, "exitStatus": null}));
        assert_eq!(of("äöü", 3)["output"], "ü");
        assert_eq!(of("äöü", 0)["output"], "");
        assert_eq!(of("", 0)["truncated"], false);
        let cut_before =
            |from: usize| output(&"äöü".as_bytes()[from..], true, 6 - from, None)["output"].clone();
        assert_eq!((cut_before(3), cut_before(4), cut_before(5)), (json!("ü"), json!("ü"), json!("")));
        assert_eq!(output(&"x😀".as_bytes()[2..], true, 3, None)["output"], "");
        assert_eq!(output(b"a\xffb", true, 9, None)["output"], "a\u{fffd}b");
        assert_eq!(output(b"a", true, 9, None)["truncated"], true);
    }

    #[test]
    fn an_exit_has_a_code_or_a_signal() {
        assert_eq!(exited(&Exit::Code(3)), json!({"exitCode": 3, "signal": null}));
        let killed = Exit::Signal("SIGKILL".to_owned());
        let status = output(b"", false, 9, Some(&killed))["exitStatus"].clone();
        assert_eq!(status, json!({"exitCode": null, "signal": "SIGKILL"}));
        assert_eq!(created("t"), json!({"terminalId": "t"}));
    }
}
