//! What a path that an agent names may be (CONTRACTS.md 3 "Workspace scope"). Pure: words alone are looked at here;
//! what lies at a path is looked at by whoever opens it, on each component, by descriptor.

use crate::acp::answer::Refusal;
use crate::acp::code;
use holdfast_shared::error::{ApiError, Code};
use std::path::Path;

/// The file that says which workspace it is where the file system has no attributes. No path of an agent may name it.
pub const IDENTITY_NAME: &str = ".holdfast-workspace";
/// The longest path, in bytes: the system takes no longer ones.
pub const PATH_BYTES_MAX: usize = 4095;
/// The longest component, in bytes: file systems take no longer ones.
pub const COMPONENT_BYTES_MAX: usize = 255;
/// Components beneath the workspace; each costs a look when the system cannot do it in one.
pub const COMPONENTS_MAX: usize = 128;
/// Bytes of a text file that is read or written for an agent.
pub const TEXT_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// Characters of a refused path that an error repeats.
const SHOWN_CHARS_MAX: usize = 200;

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
    #[error("is or names a directory")]
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
        let message = || format!("{}: {self}", self.code().as_str());
        match self {
            // Whatever it had named would have been refused.
            Self::Refused { reason: Reason::IdentityMissing | Reason::IdentityChanged, .. } => {
                Refusal { code: code::INTERNAL_ERROR, message: message() }
            }
            Self::Refused { .. } => Refusal { code: code::INVALID_PARAMS, message: message() },
            Self::Missing { .. } => Refusal::not_found(&self.to_string()),
            Self::Io { .. } => Refusal { code: code::INTERNAL_ERROR, message: message() },
        }
    }
}

/// A path as errors repeat it: on one line, and no longer than people read.
pub fn shown(path: &str) -> String {
    let escaped: String = path.chars().take(SHOWN_CHARS_MAX).flat_map(char::escape_debug).collect();
    if path.chars().nth(SHOWN_CHARS_MAX).is_some() { format!("{escaped}…") } else { escaped }
}

/// A path beneath the workspace: components that are names, joined by single slashes. Empty: the workspace itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Beneath(String);

impl Beneath {
    /// The path, relative to the workspace.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its components.
    pub fn components(&self) -> impl Iterator<Item = &str> {
        self.0.split('/').filter(|component| !component.is_empty())
    }

    /// Whether it is the workspace itself.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The directory it lies in, and its name there; `None` for the workspace itself.
    pub fn split_last(&self) -> Option<(Beneath, &str)> {
        let (parent, name) = self.0.rsplit_once('/').unwrap_or(("", &self.0));
        (!name.is_empty()).then(|| (Beneath(parent.to_owned()), name))
    }
}

/// A path that is to be a file. `roots` are the names of the workspace: the one it was given and the one it has once
/// links are resolved.
///
/// # Errors
/// What is wrong with the path by its words.
pub fn file(roots: &[&Path], path: &[u8]) -> Result<Beneath, Reason> {
    let beneath = directory(roots, path)?;
    let names_a_directory = path.ends_with(b"/") || path.ends_with(b"/.");
    if beneath.is_root() || names_a_directory { Err(Reason::Directory) } else { Ok(beneath) }
}

/// A path that is to be a directory, as [`file`]; may be the workspace itself.
///
/// # Errors
/// What is wrong with the path by its words.
pub fn directory(roots: &[&Path], path: &[u8]) -> Result<Beneath, Reason> {
    let path = std::str::from_utf8(path).map_err(|_| Reason::NotUtf8)?;
    if path.chars().any(char::is_control) {
        return Err(Reason::Control);
    }
    if !path.starts_with('/') {
        return Err(Reason::Relative);
    }
    // A slash more and a component `.` mean nothing to anyone; `..` means something else where links are followed.
    let components: Vec<&str> = path.split('/').filter(|name| !matches!(*name, "" | ".")).collect();
    if components.contains(&"..") {
        return Err(Reason::Parent);
    }
    let too_long = components.iter().any(|component| component.len() > COMPONENT_BYTES_MAX);
    if path.len() > PATH_BYTES_MAX || too_long {
        return Err(Reason::TooLong);
    }
    let inner = roots.iter().find_map(|root| strip(root, &components)).ok_or(Reason::Outside)?;
    if inner.len() > COMPONENTS_MAX {
        return Err(Reason::TooLong);
    }
    if inner.first().is_some_and(|name| name.eq_ignore_ascii_case(IDENTITY_NAME)) {
        return Err(Reason::Reserved);
    }
    Ok(Beneath(inner.join("/")))
}

/// The components behind those of the root; `None` where it is no beginning of them.
fn strip<'a, 'b>(root: &Path, components: &'a [&'b str]) -> Option<&'a [&'b str]> {
    let root: Vec<&str> = root.to_str()?.split('/').filter(|name| !name.is_empty()).collect();
    components.starts_with(&root).then(|| &components[root.len()..])
}

/// The lines of a text from `line` (counted from 1) on, at most `limit`, with their ends. A line behind the last one is
/// an empty text.
pub fn lines(text: &str, line: Option<u64>, limit: Option<u64>) -> &str {
    let begin = end_of_lines(text, line.unwrap_or(1).saturating_sub(1));
    let rest = &text[begin..];
    &rest[..limit.map_or(rest.len(), |limit| end_of_lines(rest, limit))]
}

/// Where the first `count` lines of a text are over.
fn end_of_lines(text: &str, count: u64) -> usize {
    let Some(before_last) = count.checked_sub(1) else { return 0 };
    let mut ends = memchr::memchr_iter(b'\n', text.as_bytes());
    let last = usize::try_from(before_last).ok().and_then(|before| ends.nth(before));
    last.map_or(text.len(), |end| end + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ROOT: &str = "/home/u/.holdfast/workspaces/x";

    fn of(path: &str) -> Result<String, Reason> {
        let roots = [Path::new(ROOT), Path::new("/data/x")];
        file(&roots, path.as_bytes()).map(|beneath| beneath.as_str().to_owned())
    }

    #[test]
    fn what_lies_beneath_by_its_words_is_allowed() {
        let cases = [
            ("a", "a"),
            ("a/b/c.txt", "a/b/c.txt"),
            ("a//b", "a/b"),
            ("./a/./b", "a/b"),
            ("...", "..."),
            ("..a/b..", "..a/b.."),
            (".git/config", ".git/config"),
            ("~", "~"),
            ("-rf", "-rf"),
            ("a b", "a b"),
            ("a\\..\\b", "a\\..\\b"),
            ("%2e%2e/x", "%2e%2e/x"),
            ("․․/x", "․․/x"),
            ("häß/世界/🦀", "häß/世界/🦀"),
            ("sub/.holdfast-workspace", "sub/.holdfast-workspace"),
            (".holdfast-workspace2", ".holdfast-workspace2"),
        ];
        for (path, beneath) in cases {
            assert_eq!(of(&format!("{ROOT}/{path}")), Ok(beneath.to_owned()), "{path}");
            assert_eq!(of(&format!("/data/x/{path}")), Ok(beneath.to_owned()), "by the other name: {path}");
            assert_eq!(of(&format!("//data/./x//{path}")), Ok(beneath.to_owned()), "{path}");
        }
    }

    #[test]
    fn what_does_not_lie_beneath_by_its_words_is_refused() {
        let cases = [
            ("", Reason::Relative),
            ("a", Reason::Relative),
            ("./a", Reason::Relative),
            ("../x/a", Reason::Relative),
            ("~", Reason::Relative),
            ("~/a", Reason::Relative),
            ("~root/a", Reason::Relative),
            ("$HOME/a", Reason::Relative),
            ("file:///data/x/a", Reason::Relative),
            ("C:\\data\\x\\a", Reason::Relative),
            ("\\\\host\\share", Reason::Relative),
            (" /data/x/a", Reason::Relative),
            ("/", Reason::Outside),
            ("/a", Reason::Outside),
            ("/data", Reason::Outside),
            ("/etc/passwd", Reason::Outside),
            ("/data/xy/a", Reason::Outside),
            ("/data/x.bak", Reason::Outside),
            ("/data/X/a", Reason::Outside),
            ("/data /x/a", Reason::Outside),
            ("/proc/self/cwd/a", Reason::Outside),
            ("/dev/fd/0", Reason::Outside),
            ("/data/x/..", Reason::Parent),
            ("/data/x/../x/a", Reason::Parent),
            ("/data/x/a/../b", Reason::Parent),
            ("/data/x/a/..", Reason::Parent),
            ("/data/../data/x/a", Reason::Parent),
            ("/../data/x/a", Reason::Parent),
            ("/data/x/..//a", Reason::Parent),
            ("/data/x/./../a", Reason::Parent),
            ("/data/x", Reason::Directory),
            ("/data/x/", Reason::Directory),
            ("/data/x/.", Reason::Directory),
            ("/data/x/a/", Reason::Directory),
            ("/data/x/a//", Reason::Directory),
            ("/data/x/a/.", Reason::Directory),
            ("/data/x/.holdfast-workspace", Reason::Reserved),
            ("/data/x//./.holdfast-workspace", Reason::Reserved),
            ("/data/x/.HOLDFAST-Workspace", Reason::Reserved),
            ("/data/x/.holdfast-workspace/a", Reason::Reserved),
            ("/data/x/a\0", Reason::Control),
            ("/data/x/a\0/../../../etc/passwd", Reason::Control),
            ("\0", Reason::Control),
            ("/data/x/a\nb", Reason::Control),
            ("/data/x/a\r", Reason::Control),
            ("/data/x/\u{1b}[2J", Reason::Control),
            ("/data/x/\u{7f}", Reason::Control),
            ("/data/x/\u{85}", Reason::Control),
        ];
        for (path, reason) in cases {
            assert_eq!(of(path), Err(reason), "{path:?}");
        }
        assert_eq!(file(&[Path::new("/data/x")], b"/data/x/\xff"), Err(Reason::NotUtf8));
        assert_eq!(file(&[Path::new("/data/x")], b"/data/x/\xc0\xae\xc0\xae/a"), Err(Reason::NotUtf8));
    }

    #[test]
    fn what_is_too_long_is_refused() {
        let component = |bytes: usize| of(&format!("/data/x/{}", "a".repeat(bytes)));
        assert!(component(COMPONENT_BYTES_MAX).is_ok());
        assert_eq!(component(COMPONENT_BYTES_MAX + 1), Err(Reason::TooLong));
        assert_eq!(of(&format!("/data/x{}", "/a".repeat(COMPONENTS_MAX + 1))), Err(Reason::TooLong));
        assert!(of(&format!("/data/x{}", "/a".repeat(COMPONENTS_MAX))).is_ok());
        assert_eq!(of(&format!("/data/x{}a", "/".repeat(PATH_BYTES_MAX))), Err(Reason::TooLong));
        assert_eq!(
            of(&format!("/data/x/{}", "ä".repeat(128))),
            Err(Reason::TooLong),
            "bytes, not characters"
        );
    }

    #[test]
    fn a_directory_may_be_the_workspace_itself() {
        let roots = [Path::new("/data/x")];
        for path in ["/data/x", "/data/x/", "/data/x/."] {
            assert!(directory(&roots, path.as_bytes()).unwrap().is_root(), "{path}");
        }
        assert_eq!(directory(&roots, b"/data/x/a/").unwrap().as_str(), "a");
        assert_eq!(directory(&roots, b"/data"), Err(Reason::Outside));
        assert_eq!(directory(&[], b"/data/x/a"), Err(Reason::Outside));
    }

    #[test]
    fn a_path_is_a_directory_and_a_name_in_it() {
        let beneath = |path: &str| file(&[Path::new("/w")], path.as_bytes()).unwrap();
        let (parent, path) = (beneath("/w/a/b"), beneath("/w/a/b/c"));
        assert_eq!(path.split_last(), Some((parent, "c")));
        let (parent, name) = (beneath("/w/c"), "c");
        let (root, last) = parent.split_last().unwrap();
        assert!(root.is_root() && last == name && root.split_last().is_none());
        assert_eq!(path.components().collect::<Vec<_>>(), ["a", "b", "c"]);
        assert_eq!(root.components().count(), 0);
    }

    #[test]
    fn errors_name_path_and_reason_on_one_short_line() {
        let error = WorkspaceError::refused("/data/x/a\n\u{1b}[2J", Reason::Control);
        assert_eq!(error.to_string(), r"/data/x/a\n\u{1b}[2J has a control character");
        assert_eq!(error.code(), Code::WorkspacePolicyViolation);
        assert_eq!(error.to_api().message, error.to_string());
        let agent = error.to_agent();
        assert_eq!(agent.code, -32602);
        assert!(agent.message.starts_with("WORKSPACE_POLICY_VIOLATION: /data/x/a"));
        let long = WorkspaceError::refused(&"/ä".repeat(100_000), Reason::TooLong).to_string();
        assert!(long.chars().count() < SHOWN_CHARS_MAX + 30);
        let missing = WorkspaceError::Missing { path: "/data/x/a".to_owned() };
        assert_eq!((missing.code(), missing.to_agent().code), (Code::InvalidRequest, -32002));
        assert_eq!(missing.to_agent().message, "not found: /data/x/a does not exist");
        for reason in [Reason::IdentityMissing, Reason::IdentityChanged] {
            let changed = WorkspaceError::refused("/data/x", reason).to_agent();
            assert_eq!(changed.code, -32603, "no other path would be served");
            assert!(changed.message.starts_with("WORKSPACE_POLICY_VIOLATION: "), "{}", changed.message);
        }
        let full = std::io::Error::from_raw_os_error(libc::ENOSPC);
        let full = WorkspaceError::Io { operation: "write", path: "/data/x/a".to_owned(), source: full };
        assert_eq!((full.code(), full.to_agent().code), (Code::StorageFull, -32603));
    }

    #[test]
    fn lines_are_counted_from_one_and_keep_their_ends() {
        let text = "a\nb\r\n\nd";
        let cases = [
            (None, None, text),
            (Some(1), None, text),
            (Some(0), None, text),
            (Some(2), None, "b\r\n\nd"),
            (Some(2), Some(1), "b\r\n"),
            (Some(3), Some(1), "\n"),
            (Some(4), Some(1), "d"),
            (Some(4), Some(9), "d"),
            (Some(5), None, ""),
            (Some(u64::MAX), Some(u64::MAX), ""),
            (None, Some(0), ""),
            (None, Some(2), "a\nb\r\n"),
        ];
        for (line, limit, expected) in cases {
            assert_eq!(lines(text, line, limit), expected, "{line:?} {limit:?}");
        }
        assert_eq!(lines("", Some(1), Some(1)), "");
    }

    proptest! {
        #[test]
        fn whatever_is_allowed_has_names_alone_and_comes_back_as_itself(path in "[a./~\u{0}-\u{1f}x]{0,40}") {
            let roots = [Path::new("/data/x")];
            for path in [path.clone(), format!("/data/x/{path}")] {
                let Ok(beneath) = file(&roots, path.as_bytes()) else { continue };
                prop_assert!(beneath.components().all(|name| !matches!(name, "" | "." | "..")));
                let again = file(&roots, format!("/data/x/{}", beneath.as_str()).as_bytes());
                prop_assert_eq!(again, Ok(beneath));
            }
        }

        #[test]
        fn the_lines_of_a_text_are_all_of_it(text in "[a\n]{0,30}", at in 1u64..20) {
            let (before, behind) = (lines(&text, None, Some(at)), lines(&text, Some(at + 1), None));
            prop_assert_eq!(format!("{before}{behind}"), text);
        }
    }
}
