//! The home directory at start: made, recognised, or refused without touching it (DESIGN.md 3, "First start").

use holdfast_shared::error::{ApiError, Code};
pub use holdfast_shared::free_space::free_bytes;
use holdfast_shared::home::Home;
use holdfast_shared::journal::{Inspection, inspect};
use holdfast_shared::version;
use serde::{Deserialize, Serialize};
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

/// `home.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Format of the whole directory.
    pub format: u32,
    /// The node's id, a UUID, for ever.
    pub id: String,
}

/// What is in the home directory before anything is started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// No node was ever started here, or its first start did not get as far as `home.json`.
    New,
    /// A node.
    Node(Identity),
}

/// Looks at the home and writes nothing.
///
/// # Errors
/// `HOME_DAMAGED` and `HOME_NEWER` with the file's name.
pub fn look(home: &Home) -> Result<Found, ApiError> {
    let identity = read_identity(home)?;
    let business = inspect_journal(&home.journal())?;
    let own = inspect_journal(&home.supervisor_journal())?;
    match identity {
        None if business.exists => Err(damaged(&home.identity(), "is missing, but there is a journal")),
        None if own.exists && has_committed(&home.supervisor_journal())? => Err(damaged(
            &home.identity(),
            "is missing, as is the journal, but the supervisor's journal says that it was written",
        )),
        None => Ok(Found::New),
        Some(_) if !own.exists => {
            Err(damaged(&home.supervisor_journal(), "is missing, but there is home.json"))
        }
        Some(_) if !business.exists && has_committed(&home.supervisor_journal())? => {
            Err(damaged(&home.journal(), "is missing, but the supervisor's journal says that it was written"))
        }
        Some(identity) => Ok(Found::Node(identity)),
    }
}

/// Whether the supervisor's journal says that a runtime has committed.
fn has_committed(directory: &Path) -> Result<bool, ApiError> {
    let read = crate::io::journal::read(directory);
    read.map(|state| state.committed.is_some()).map_err(|error| damaged(directory, &error.to_string()))
}

fn read_identity(home: &Home) -> Result<Option<Identity>, ApiError> {
    let path = home.identity();
    let text = match std::fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(on_file("read", &path, &error)),
    };
    let identity: Identity = serde_json::from_slice(&text)
        .map_err(|error| damaged(&path, &format!("is not readable: {error}")))?;
    if identity.format > version::HOME.max {
        let newest = version::HOME.max;
        let message = format!(
            "{}: format {} is newer than {newest}, the newest known here",
            path.display(),
            identity.format
        );
        return Err(ApiError::new(Code::HomeNewer, message));
    }
    Ok(Some(identity))
}

fn inspect_journal(directory: &Path) -> Result<Inspection, ApiError> {
    use holdfast_shared::journal::io::survey::SurveyError;
    inspect(directory).map_err(|error| match error {
        SurveyError::Newer { .. } => {
            ApiError::new(Code::HomeNewer, format!("{}: {error}", directory.display()))
        }
        SurveyError::Damaged(_) => damaged(directory, &error.to_string()),
        SurveyError::Io { path, source } => on_file("read", &path, &source),
    })
}

fn damaged(path: &Path, what: &str) -> ApiError {
    ApiError::new(Code::HomeDamaged, format!("{}: {what}", path.display()))
}

/// A failure of the file system, said with the file and what to do.
pub fn on_file(operation: &str, path: &Path, error: &io::Error) -> ApiError {
    let (code, advice) = match error.raw_os_error() {
        Some(libc::ENOSPC | libc::EDQUOT) => (Code::StorageFull, "; free some space and start again"),
        Some(libc::EROFS) => (Code::Refused, "; the home directory must be writable"),
        Some(libc::EACCES | libc::EPERM) => (Code::Refused, "; start it as the directory's owner"),
        _ => (Code::InternalError, ""),
    };
    ApiError::new(code, format!("{operation} {}: {error}{advice}", path.display()))
}

/// Makes the directories that every start needs; what is there stays.
///
/// # Errors
/// What the file system says, with the path.
pub fn make_directories(home: &Home) -> Result<(), ApiError> {
    let below = [home.run(), home.logs(), home.workers(), home.workspaces()];
    for directory in std::iter::once(home.path().to_owned()).chain(below) {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&directory)
            .map_err(|error| on_file("create", &directory, &error))?;
    }
    Ok(())
}

/// Writes `home.json`, last of everything at the first start.
///
/// # Errors
/// What the file system says, with the path.
pub fn write_identity(home: &Home, id: &str) -> Result<Identity, ApiError> {
    let identity = Identity { format: version::HOME.max, id: id.to_owned() };
    write_file(&home.identity(), &serde_json::to_vec(&identity).unwrap_or_default())?;
    Ok(identity)
}

/// Replaces a small file durably: temporary, fsync, rename, fsync of the directory. Mode 0600.
///
/// # Errors
/// What the file system says, with the path.
pub fn write_file(path: &Path, bytes: &[u8]) -> Result<(), ApiError> {
    holdfast_shared::durable_file::write(path, bytes).map_err(|error| on_file("write", path, &error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::journal::SupervisorJournal;
    use crate::node_state::{Change, Epoch};
    use holdfast_shared::slot::Slot;

    fn home() -> (tempfile::TempDir, Home) {
        let directory = tempfile::tempdir().unwrap();
        let home = Home::new(directory.path().join("home"));
        (directory, home)
    }

    #[test]
    fn nothing_is_new_and_looking_makes_nothing() {
        let (_directory, home) = home();
        assert_eq!(look(&home).unwrap(), Found::New);
        assert!(!home.path().exists());
    }

    #[test]
    fn without_identity_and_journal_a_node_that_has_committed_is_damaged_and_another_one_new() {
        let (_directory, home) = home();
        let mut journal = SupervisorJournal::open(&home, "sv-test", 1).unwrap();
        let epoch = Epoch { slot: Slot::A, epoch: 1 };
        journal.append(vec![Change::Switching(epoch)]).unwrap();
        assert_eq!(look(&home).unwrap(), Found::New);
        journal.append(vec![Change::Committed(epoch)]).unwrap();
        assert_eq!(look(&home).unwrap_err().code, Code::HomeDamaged);
        assert!(!home.identity().exists() && !home.journal().exists());
    }

    #[test]
    fn an_unreadable_a_newer_and_a_lonely_identity_are_refused_by_name() {
        let (_directory, home) = home();
        make_directories(&home).unwrap();
        for (text, code) in [
            ("{", Code::HomeDamaged),
            (r#"{"format":99,"id":"x"}"#, Code::HomeNewer),
            (r#"{"format":1,"id":"x"}"#, Code::HomeDamaged),
        ] {
            std::fs::write(home.identity(), text).unwrap();
            let error = look(&home).unwrap_err();
            assert_eq!(error.code, code, "{text}");
            assert!(error.message.contains(home.path().to_str().unwrap()), "{}", error.message);
        }
    }
}
