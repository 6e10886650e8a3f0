//! Skills: what a task's workers are. Two are built in; the others are installed from a manifest, `skill.toml`, into
//! `skills/<name>/` and listed in `skills/index.json`, which the supervisor alone writes, whole.
//!
//! The supervisor decides what is run; the runtime reads the list to know what a task's workers speak.

use crate::home::Home;
use crate::worker::Protocol;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io;

/// Runs each prompt as a shell command line of its own.
pub const COMMAND: &str = "command";
/// A small agent that does as it is told: for first sessions and tests.
pub const DEMO: &str = "demo";
/// The format of `skills/index.json` that this release writes and the highest it reads.
pub const INDEX_FORMAT: u32 = 1;
/// The largest index that is read.
const INDEX_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// What there is to know of an installed skill without its manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Installed {
    /// Its version; that of the release for those built in.
    pub version: String,
    /// What its workers speak.
    pub protocol: Protocol,
    /// SHA-256 of the manifest as it was installed, in hex; empty for those built in. A manifest that was changed
    /// since is not run.
    #[serde(default)]
    pub digest: String,
    /// For an agent that asks for it: the authentication method to be used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authenticate: Option<String>,
}

/// `skills/index.json`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Index {
    /// [`INDEX_FORMAT`]
    pub format: u32,
    /// Installed skills by name.
    pub skills: BTreeMap<String, Installed>,
}

impl Default for Index {
    fn default() -> Self {
        Self { format: INDEX_FORMAT, skills: BTreeMap::new() }
    }
}

impl Index {
    /// The index of a home; empty where nothing was installed yet.
    ///
    /// # Errors
    /// When it cannot be read, is no index, or was written by a later release.
    pub fn read(home: &Home) -> io::Result<Self> {
        let path = home.skill_index();
        let length = match std::fs::metadata(&path) {
            Ok(metadata) => metadata.len(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(error),
        };
        let invalid = |reason: String| io::Error::new(io::ErrorKind::InvalidData, reason);
        if length > INDEX_BYTES_MAX {
            return Err(invalid(format!("{length} bytes, at most {INDEX_BYTES_MAX} are read")));
        }
        let index: Index =
            serde_json::from_slice(&std::fs::read(&path)?).map_err(|error| invalid(error.to_string()))?;
        if index.format > INDEX_FORMAT {
            return Err(invalid(format!("format {}, this release reads up to {INDEX_FORMAT}", index.format)));
        }
        Ok(index)
    }
}

/// A skill that is built in.
pub fn built_in(name: &str) -> Option<Installed> {
    let protocol = match name {
        COMMAND => Protocol::Command,
        DEMO => Protocol::Acp,
        _ => return None,
    };
    let (version, digest) = (env!("CARGO_PKG_VERSION").to_owned(), String::new());
    Some(Installed { version, protocol, digest, authenticate: None })
}

/// The skill of this name, built in or installed.
///
/// # Errors
/// As [`Index::read`].
pub fn find(home: &Home, name: &str) -> io::Result<Option<Installed>> {
    match built_in(name) {
        Some(built_in) => Ok(Some(built_in)),
        None => Ok(Index::read(home)?.skills.remove(name)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_built_in_needs_no_index_and_a_bad_index_is_said() {
        let directory = tempfile::tempdir().unwrap();
        let home = Home::new(directory.path());
        assert_eq!(find(&home, COMMAND).unwrap().unwrap().protocol, Protocol::Command);
        assert_eq!(find(&home, "other").unwrap(), None);
        std::fs::create_dir_all(home.skills()).unwrap();
        for bad in ["{", r#"{"format":9,"skills":{}}"#] {
            std::fs::write(home.skill_index(), bad).unwrap();
            assert!(find(&home, "other").is_err());
            assert!(find(&home, DEMO).unwrap().is_some());
        }
        let text = r#"{"format":1,"skills":{"x":{"version":"1","protocol":"acp","digest":"d","later":1}}}"#;
        std::fs::write(home.skill_index(), text).unwrap();
        assert_eq!(find(&home, "x").unwrap().unwrap().protocol, Protocol::Acp);
    }
}
