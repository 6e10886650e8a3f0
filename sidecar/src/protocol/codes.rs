//! Errors of commands, reasons to close a session, in the protocol's numbers.

use holdfast_shared::error::ApiError;

/// An error in a reply to a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandError {
    /// Below 400 the protocol's own, from 1000 ours ([`holdfast_shared::error::Code::number`]).
    pub code: u32,
    /// For people; ours begin with the code's name.
    pub message: String,
    /// The same command may succeed later; SDKs resubscribe by themselves then.
    pub temporary: bool,
}

macro_rules! protocol_errors {
    ($($(#[$doc:meta])* $name:ident $code:literal $message:literal $temporary:literal;)*) => {
        impl CommandError { $($(#[$doc])* pub fn $name() -> Self {
            Self { code: $code, message: $message.to_owned(), temporary: $temporary }
        })* }
    };
}

protocol_errors! {
    /// The role of the session does not reach that far.
    permission_denied 103 "permission denied" false;
    /// The session has this subscription, or is about to.
    already_subscribed 105 "already subscribed" false;
    /// A bound of this session is reached.
    limit_exceeded 106 "limit exceeded" false;
    /// The command's fields make no sense.
    bad_request 107 "bad request" false;
    /// A part of the protocol that this server does not have.
    not_available 108 "not available" false;
    /// The connection token is past its time.
    token_expired 109 "token expired" false;
    /// History was asked from a position that is gone.
    unrecoverable_position 112 "unrecoverable position" false;
}

impl From<ApiError> for CommandError {
    fn from(error: ApiError) -> Self {
        Self { code: error.code.number(), message: error.to_string(), temporary: error.retryable }
    }
}

/// Why a session's socket is closed: a WebSocket close code with its reason. SDKs reconnect by themselves
/// except after codes 3500 to 3999.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Disconnect {
    /// The close code.
    pub code: u16,
    /// At most 123 bytes.
    pub reason: &'static str,
}

macro_rules! disconnects {
    ($($(#[$doc:meta])* $name:ident $code:literal $reason:literal;)*) => {
        impl Disconnect { $($(#[$doc])* pub const $name: Disconnect = Disconnect { code: $code, reason: $reason };)* }
    };
}

disconnects! {
    /// The sidecar stops.
    SHUTDOWN 3001 "shutdown";
    /// The token's time is over and it was not refreshed.
    EXPIRED 3005 "connection expired";
    /// No sign of life in either direction.
    NO_PONG 3012 "no pong";
    /// The token is not known, or no longer.
    INVALID_TOKEN 3500 "invalid token";
    /// Something that is not this protocol.
    BAD_REQUEST 3501 "bad request";
    /// No connect command came in time.
    STALE 3502 "stale";
    /// Too many sessions.
    CONNECTION_LIMIT 3504 "connection limit";
    /// A message above the bound (RFC 6455, 7.4.1).
    TOO_BIG 1009 "message too big";
}

/// The channel's epoch changed or its log no longer reaches back: SDKs subscribe again (codes from 2500 on)
/// and are then told `recovered: false`.
pub const INSUFFICIENT_STATE: (u32, &str) = (2500, "insufficient state");
