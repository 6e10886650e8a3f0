//! What is said with agents: ACP v1 (Agent Client Protocol), JSON-RPC 2.0, one message a line on stdin and stdout.
//!
//! Pure: lines come in, texts go out. Liberal in what is read (fields, updates and methods that are not known
//! pass), strict in what is written. The schema is at agentclientprotocol.com/protocol; what is named here is of
//! protocol version 1. The published types are not used: decision 0014 says why.

pub mod answer;
pub mod ending;
pub mod event;
mod excerpt;
pub mod handshake;
pub mod line;
pub mod lines;
pub mod modes;
pub mod outgoing;
pub mod outline;
pub mod permission;
pub mod terminal;
mod text;
pub mod unread;
pub mod usage;

/// The version of the protocol that is spoken.
pub const PROTOCOL_VERSION: u64 = 1;

/// A line longer than this is not shown: its event says so (`turn.skip` with `reason` and `bytes`), or has of a tool call what
/// is short. Every watcher gets each event whole.
pub const SHOWN_BYTES_MAX: usize = 1024 * 1024;
/// Records over which a line that is shown extends at most, those of standard error in between included: four times
/// what the longest takes by itself. A longer one is not shown.
pub const LINE_RECORDS: u64 = 256;
/// A line longer than this is not held, which costs memory, nor parsed, which holds up all tasks: as much as a message to
/// an agent may have, so what a file gave to read can be written back, and any text within the policy fits. Of a longer
/// one it is found what it is: a request is refused, an answer counts as an error.
pub const LINE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// A line longer than this is not looked into for what of it could be shown.
pub const EXCERPT_BYTES_MAX: usize = 4 * SHOWN_BYTES_MAX;

/// JSON-RPC error codes, and those that ACP adds.
pub mod code {
    /// The agent asks for authentication first.
    pub const AUTH_REQUIRED: i64 = -32000;
    /// A file or another thing that was named is not there.
    pub const RESOURCE_NOT_FOUND: i64 = -32002;
    /// The message is no request that can be served now.
    pub const INVALID_REQUEST: i64 = -32600;
    /// There is no such method.
    pub const METHOD_NOT_FOUND: i64 = -32601;
    /// The parameters are not of the method's form, or not allowed.
    pub const INVALID_PARAMS: i64 = -32602;
    /// Something failed that the other side has no part in.
    pub const INTERNAL_ERROR: i64 = -32603;
    /// What came is no JSON that can be held.
    pub const PARSE_ERROR: i64 = -32700;
    /// The request was cancelled before it was answered.
    pub const REQUEST_CANCELLED: i64 = -32800;
}

/// Methods of ACP v1.
pub mod method {
    /// First request: versions and capabilities.
    pub const INITIALIZE: &str = "initialize";
    /// Log in by a method that the agent offers.
    pub const AUTHENTICATE: &str = "authenticate";
    /// A session from nothing.
    pub const SESSION_NEW: &str = "session/new";
    /// A session that was, with a replay of what was said.
    pub const SESSION_LOAD: &str = "session/load";
    /// A session that was, without a replay.
    pub const SESSION_RESUME: &str = "session/resume";
    /// A turn.
    pub const SESSION_PROMPT: &str = "session/prompt";
    /// Notification: the turn is to end.
    pub const SESSION_CANCEL: &str = "session/cancel";
    /// Another mode.
    pub const SESSION_SET_MODE: &str = "session/set_mode";
    /// Notification of the agent: anything it does.
    pub const SESSION_UPDATE: &str = "session/update";
    /// Notification: an answer to an earlier request is not waited for any more.
    pub const CANCEL_REQUEST: &str = "$/cancel_request";
    /// The agent asks whether it may.
    pub const REQUEST_PERMISSION: &str = "session/request_permission";
    /// The agent reads a file.
    pub const READ_TEXT_FILE: &str = "fs/read_text_file";
    /// The agent writes a file.
    pub const WRITE_TEXT_FILE: &str = "fs/write_text_file";
    /// The agent runs a command.
    pub const TERMINAL_CREATE: &str = "terminal/create";
    /// What the command wrote so far.
    pub const TERMINAL_OUTPUT: &str = "terminal/output";
    /// Answered once the command has ended.
    pub const TERMINAL_WAIT_FOR_EXIT: &str = "terminal/wait_for_exit";
    /// The command is to end.
    pub const TERMINAL_KILL: &str = "terminal/kill";
    /// The command is to end, and to be forgotten.
    pub const TERMINAL_RELEASE: &str = "terminal/release";
}
