//! Why a path is refused, and how that is said.

use super::TEXT_BYTES_MAX;
use crate::acp::answer::Refusal;
use crate::acp::code;
use holdfast_shared::error::{ApiError, Code};

/// Characters of a refused path that an error repeats.
pub(super) const SHOWN_CHARS_MAX: usize = 200;

/// Why a path is refused. Says nothing of what is outside of the workspace, and nothing of where a link leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Reason {
    /// It is no UTF-8.
    #[error("is not valid UTF-8")]
    NotUtf8,
    /// It has a NUL, a newline or another control character.
    #[error("has a control character")]
    Control,
    /// It is empty, or does not begin with a slash.
    #[error("is not absolute")]
    Relative,
    /// A component is `..`.
    #[error("has a component `..`")]
    Parent,
    /// It does not lie beneath the workspace.
    #[error("is not in the workspace")]
    Outside,
    /// It or a component is longer than a file system takes, or it has too many of them.
    #[error("is too long")]
    TooLong,
    /// It names the workspace's identity.
    #[error("is reserved")]
    Reserved,
    /// It or a component is a symbolic link.
    #[error("leads over a symbolic link")]
    Symlink,
    /// A component is a mount point.
    #[error("leads to another file system")]
    Mounted,
    /// A component is no directory.
    #[error("leads through what is no directory")]
    NotDirectory,
    /// It is a directory, or names one by a slash at its end.
    #[error("is a directory")]
    Directory,
    /// It is a FIFO.
    #[error("is a FIFO")]
    Fifo,
    /// It is a socket.
    #[error("is a socket")]
    Socket,
    /// It is a device.
    #[error("is a device")]
    Device,
    /// It has another name, which may be anywhere.
    #[error("has more than one name (hard links)")]
    HardLinks,
    /// Its owner may not write it.
    #[error("is read-only")]
    ReadOnly,
    /// It is larger than [`TEXT_BYTES_MAX`], or what is to be written is.
    #[error("is larger than {TEXT_BYTES_MAX} bytes")]
    TooLarge,
    /// Its bytes are no UTF-8, or have a NUL.
    #[error("is not a text file")]
    NotText,
    /// The workspace's identity is missing.
    #[error("is missing: this is not the task's workspace, or its identity was removed")]
    IdentityMissing,
    /// The workspace's identity is another one, or none that can be read.
    #[error("is not the identity that the task's workspace has")]
    IdentityChanged,
}

/// What came of a path.
#[derive(Debug, thiserror::Error)]
pub enum WorkspaceError {
    /// The policy does not allow it.
    #[error("{path} {reason}")]
    Refused {
        /// The path as it was named.
        path: String,
        /// Why.
        reason: Reason,
    },
    /// There is nothing.
    #[error("{path} does not exist")]
    Missing {
        /// The path as it was named.
        path: String,
    },
    /// The system refused.
    #[error("{operation} {path}: {source}")]
    Io {
        /// What was tried.
        operation: &'static str,
        /// The path as it was named.
        path: String,
        /// The reason.
        #[source]
        source: std::io::Error,
    },
}

impl WorkspaceError {
    /// A refusal of this path.
    pub fn refused(path: &str, reason: Reason) -> Self {
        Self::Refused { path: shown(path), reason }
    }

    /// Why it is refused, where it is.
    pub fn reason(&self) -> Option<Reason> {
        match self {
            Self::Refused { reason, .. } => Some(*reason),
            Self::Missing { .. } | Self::Io { .. } => None,
        }
    }

    /// Its code in the one table of errors.
    pub fn code(&self) -> Code {
        match self {
            Self::Refused { .. } => Code::WorkspacePolicyViolation,
            Self::Missing { .. } => Code::InvalidRequest,
            Self::Io { source, .. } if holdfast_shared::spool::is_no_space(source) => Code::StorageFull,
            Self::Io { .. } => Code::InternalError,
        }
    }

    /// As people and programs of ours see it.
    pub fn to_api(&self) -> ApiError {
        ApiError::new(self.code(), self.to_string())
    }

    /// As the agent sees it that named the path.
    pub fn to_agent(&self) -> Refusal {
        let message = format!("{}: {self}", self.code().as_str());
        match self {
            Self::Refused { .. } => Refusal { code: code::INVALID_PARAMS, message },
            Self::Missing { .. } => Refusal { code: code::RESOURCE_NOT_FOUND, message },
            Self::Io { .. } => Refusal { code: code::INTERNAL_ERROR, message },
        }
    }
}

/// A path as errors repeat it: on one line, and no longer than people read.
pub fn shown(path: &str) -> String {
    let escaped: String = path.chars().take(SHOWN_CHARS_MAX).flat_map(char::escape_debug).collect();
    if path.chars().nth(SHOWN_CHARS_MAX).is_some() { format!("{escaped}…") } else { escaped }
}
