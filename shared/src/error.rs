//! The one table of errors for every surface: string code, number, HTTP status, retryable (CONTRACTS.md 3).

use serde::{Deserialize, Serialize};

macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident $code:literal $number:literal $http:literal $retryable:literal;)*) => {
        /// A stable error code.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum Code { $($(#[$doc])* #[serde(rename = $code)] $variant,)* }

        impl Code {
            /// Every code, in the order of its number.
            pub const ALL: &'static [Code] = &[$(Code::$variant,)*];
            /// The code as written in every surface.
            pub fn as_str(self) -> &'static str { match self { $(Code::$variant => $code,)* } }
            /// The number used on `/ws`, always 1000 or more.
            pub fn number(self) -> u32 { match self { $(Code::$variant => $number,)* } }
            /// The HTTP status.
            pub fn http_status(self) -> u16 { match self { $(Code::$variant => $http,)* } }
            /// Whether the same command may be sent again, unchanged (`temporary` on `/ws`).
            pub fn retryable(self) -> bool { match self { $(Code::$variant => $retryable,)* } }
        }
    };
}

codes! {
    /// A bug or an unforeseen condition of ours.
    InternalError "INTERNAL_ERROR" 1000 500 false;
    /// The request is not of the method's form; the message names the field.
    InvalidRequest "INVALID_REQUEST" 1001 400 false;
    /// No such method.
    UnknownMethod "UNKNOWN_METHOD" 1002 404 false;
    /// No such channel.
    UnknownChannel "UNKNOWN_CHANNEL" 1003 404 false;
    /// The principal may not do this.
    Forbidden "FORBIDDEN" 1004 403 false;
    /// No such task.
    TaskNotFound "TASK_NOT_FOUND" 1010 404 false;
    /// The task is not in a state in which this is allowed.
    TaskNotReady "TASK_NOT_READY" 1011 409 false;
    /// The task was not warm within the switch deadline.
    SwitchTimeout "SWITCH_TIMEOUT" 1012 504 true;
    /// The worker is dead.
    WorkerDead "WORKER_DEAD" 1013 409 true;
    /// The worker could not be started.
    BootstrapFailed "BOOTSTRAP_FAILED" 1014 502 true;
    /// The turn wrote more than its quota.
    OutputLimit "OUTPUT_LIMIT" 1015 409 false;
    /// A path or file is outside what the workspace policy allows.
    WorkspacePolicyViolation "WORKSPACE_POLICY_VIOLATION" 1016 403 false;
    /// A bound is reached (queue, window); try again later.
    Busy "BUSY" 1020 429 true;
    /// A turn already runs in this task.
    AlreadyActive "ALREADY_ACTIVE" 1021 409 false;
    /// No room on disk for new commands.
    StorageFull "STORAGE_FULL" 1022 507 true;
    /// The command is queued under its id; its answer is not known yet.
    OutcomePending "OUTCOME_PENDING" 1030 504 true;
    /// Sent without an id and not answered in time: it may or may not have happened.
    OutcomeUnknown "OUTCOME_UNKNOWN" 1031 504 false;
    /// Nothing can serve this now.
    Unavailable "UNAVAILABLE" 1032 503 true;
    /// The command id is older than what is remembered; it was not executed.
    CommandExpired "COMMAND_EXPIRED" 1033 409 false;
    /// The same command id came with another payload.
    CommandIdReused "COMMAND_ID_REUSED" 1034 409 false;
    /// The home directory is damaged; the message names the file.
    HomeDamaged "HOME_DAMAGED" 1040 500 false;
    /// The home directory was written by a newer version; the message names the file.
    HomeNewer "HOME_NEWER" 1041 500 false;
    /// A control message carried an older decision than one already seen.
    StaleDecision "STALE_DECISION" 1050 409 false;
    /// This runtime is not the active one.
    NotActive "NOT_ACTIVE" 1051 409 true;
    /// The state refuses this request; the message says why.
    Refused "REFUSED" 1052 409 false;
    /// The two sides speak no version of the protocol in common.
    VersionMismatch "VERSION_MISMATCH" 1053 409 false;
}

/// An error as every HTTP and CLI surface shows it: `{code, message, retryable, details}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[error("{}: {message}", code.as_str())]
pub struct ApiError {
    /// Stable code.
    pub code: Code,
    /// For people: what was wrong and what to do.
    pub message: String,
    /// Same as [`Code::retryable`], repeated for clients that do not know the code.
    pub retryable: bool,
    /// Facts for programs; `null` when there are none.
    #[serde(default)]
    pub details: serde_json::Value,
}

impl ApiError {
    /// An error without details.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), retryable: code.retryable(), details: serde_json::Value::Null }
    }

    /// The same error with facts for programs.
    #[must_use]
    pub fn with_details(mut self, details: serde_json::Value) -> Self {
        self.details = details;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn codes_and_numbers_are_unique_and_the_code_is_what_serde_writes() {
        let numbers: BTreeSet<u32> = Code::ALL.iter().map(|code| code.number()).collect();
        assert_eq!(numbers.len(), Code::ALL.len());
        for code in Code::ALL {
            assert!(code.number() >= 1000);
            assert_eq!(serde_json::to_string(code).unwrap(), format!("{:?}", code.as_str()));
        }
    }
}
