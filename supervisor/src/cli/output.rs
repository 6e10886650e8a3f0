//! What commands print: JSON or words, errors once, colours only on a terminal.

use crate::render::{harmless, json_text};
use holdfast_shared::control::CallError;
use holdfast_shared::error::{ApiError, Code};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde_json::Value;
use std::io::{IsTerminal, Write};
use std::os::fd::AsFd;

/// Why a command did not do what it was to.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// The command line makes no sense.
    #[error("{0}")]
    Usage(String),
    /// No node runs in this home.
    #[error("no node is running in {home}; `holdfast up` starts one")]
    NotRunning {
        /// The home.
        home: String,
    },
    /// There is no home to be found.
    #[error("there is no node here: no .holdfast in {here} or above it; `holdfast up` starts one")]
    NoHome {
        /// The current directory.
        here: String,
    },
    /// Refused, with a stable code.
    #[error("{0}")]
    Refused(#[from] ApiError),
    /// The other side did not answer.
    #[error("{0}")]
    Call(CallError),
    /// The demonstration could not be carried out.
    #[error("the demonstration stopped: {0}")]
    Demo(#[from] crate::io::demo::DemoError),
    /// The session with the node failed.
    #[error("{0}")]
    Session(#[from] crate::io::centrifuge_client::ClientError),
    /// The system refused.
    #[error("{operation}: {source}")]
    System {
        /// What was tried.
        operation: String,
        /// What it said.
        source: std::io::Error,
    },
}

impl From<CallError> for CliError {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Refused(error) => CliError::Refused(error),
            other => CliError::Call(other),
        }
    }
}

impl CliError {
    /// An error of the system.
    pub fn system(operation: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let operation = operation.into();
        move |source| CliError::System { operation, source }
    }

    /// The exit code (DESIGN.md 10).
    pub fn exit_code(&self) -> u8 {
        match self {
            CliError::Usage(_) => crate::exit::USAGE,
            CliError::NotRunning { .. } | CliError::NoHome { .. } => crate::exit::NOT_RUNNING,
            CliError::Refused(error) if error.code == Code::Unavailable => crate::exit::DEGRADED,
            CliError::Refused(_) | CliError::Session(_) => crate::exit::REFUSED,
            CliError::Call(_) => crate::exit::DEGRADED,
            CliError::System { .. } | CliError::Demo(_) => crate::exit::FAILED,
        }
    }

    fn as_api(&self) -> ApiError {
        match self {
            CliError::Refused(error) => error.clone(),
            CliError::Usage(message) => ApiError::new(Code::InvalidRequest, message.clone()),
            CliError::NotRunning { .. } | CliError::NoHome { .. } | CliError::Call(_) => {
                ApiError::new(Code::Unavailable, self.to_string())
            }
            CliError::Session(_) | CliError::System { .. } | CliError::Demo(_) => {
                ApiError::new(Code::InternalError, self.to_string())
            }
        }
    }
}

/// Where and how a command prints.
#[derive(Clone, Copy, Debug)]
pub struct Output {
    /// JSON was asked for.
    pub json: bool,
    /// Colours are shown.
    pub colours: bool,
}

impl Output {
    /// Colours only on a terminal that wants them.
    pub fn new(json: bool) -> Self {
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self { json, colours: wanted && std::io::stdout().is_terminal() && std::io::stderr().is_terminal() }
    }

    /// The result: `value` as JSON, or else the words.
    pub fn result(&self, value: &Value, words: impl FnOnce() -> String) {
        let mut text = if self.json { json_text(value.to_string()) } else { words() };
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        self.write(&text);
    }

    /// Text on stdout as it is. A reader that has gone is no error.
    pub fn write(&self, text: &str) {
        let mut stdout = std::io::stdout().lock();
        let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
    }

    /// The same; answers whether anybody still reads it.
    pub fn write_or_gone(&self, text: &str) -> bool {
        let mut stdout = std::io::stdout().lock();
        stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).is_ok()
    }

    /// Whether stdout is a pipe whose reader has gone, asked without writing.
    pub fn reader_is_gone(&self) -> bool {
        let stdout = std::io::stdout();
        let mut watched = [PollFd::new(stdout.as_fd(), PollFlags::empty())];
        let looked = poll(&mut watched, PollTimeout::ZERO);
        looked.is_ok() && watched[0].revents().is_some_and(|what| what.contains(PollFlags::POLLERR))
    }

    /// A line for people, on stderr.
    pub fn say(&self, line: &str) {
        let _ = writeln!(std::io::stderr().lock(), "{line}");
    }

    /// An error, once.
    pub fn error(&self, error: &CliError) {
        if self.json {
            let error = serde_json::to_string(&error.as_api()).unwrap_or_default();
            self.write(&format!("{}\n", json_text(error)));
        }
        // It may quote what an agent said.
        let error = harmless(&error.to_string());
        self.say(&format!("{} {error}", self.paint("31", "holdfast:")));
    }

    /// Text in a colour of the terminal, where there is one.
    pub fn paint(&self, colour: &str, text: &str) -> String {
        if self.colours { format!("\x1b[{colour}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// Runs a command's asynchronous part.
///
/// # Errors
/// When there is no event loop, or what the part answers.
pub fn block_on<T>(part: impl Future<Output = Result<T, CliError>>) -> Result<T, CliError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(CliError::system("start the event loop"))?;
    let outcome = tokio::task::LocalSet::new().block_on(&runtime, part);
    runtime.shutdown_background();
    outcome
}
