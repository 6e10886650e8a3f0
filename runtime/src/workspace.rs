//! What a path that an agent names may be (CONTRACTS.md 3 "Workspace scope"). Pure: words alone are looked at here;
//! what lies at a path is looked at by whoever opens it, on each component, by descriptor.

mod refusal;

pub use refusal::{Reason, WorkspaceError, shown};
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
mod tests;
