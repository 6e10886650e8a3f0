//! Which root files the node runs from (docs/decisions/0012): the base, which is what the keeper was started from, or
//! a release's, which a promotion has put below `<home>/root/` and which are on trial until they are confirmed.
//!
//! Pure. [`InUse`] is what is on disk; [`choose`] is what the keeper does with it before each start.

pub mod successor;

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Starts that root files on trial are given (DESIGN.md 2), the `execve` that begins the trial among them.
pub const TRIAL_STARTS: u32 = 3;
/// What they are given to be confirmed (DESIGN.md 2), in milliseconds.
pub const TRIAL_MS: i64 = 180_000;

/// Root files of a release, in a directory of their own that never changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Root {
    /// Name of the directory below `<home>/root/`.
    pub directory: String,
    /// Version of the release.
    pub release: String,
    /// SHA-256 of each file, hex, by name.
    pub digests: BTreeMap<String, String>,
    /// The attempt that promoted it.
    pub attempt: String,
    /// Digest of the program that the keeper ran from then. Where the keeper has another one, a package was installed
    /// since, and these files are void.
    pub base: String,
    /// The sidecar is another one than the one that served when this was placed.
    pub renews_sidecar: bool,
}

/// `<home>/root/in-use.json`: replaced as a whole, so every step of a promotion is there or is not.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct InUse {
    /// What is in use; `None`: the base.
    pub current: Option<Root>,
    /// A later supervisor has run from it and served; without `current` of no meaning.
    pub confirmed: bool,
    /// When it was placed, unix milliseconds.
    pub placed_at: i64,
    /// How often it was started while on trial.
    pub starts: u32,
    /// What was in use before, kept as it was; `None`: the base.
    pub previous: Option<Root>,
    /// What was put back last because nobody confirmed it.
    pub restored: Option<Root>,
}

/// What the keeper does before a start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// Start the base.
    Base,
    /// Start what is in use.
    Current,
    /// Start what is in use, and count it.
    Try,
    /// Put the previous one back.
    Restore,
    /// Forget it: the base is newer.
    Void,
}

/// What is to be done before a start. `base` is the digest of the keeper's own program; `is_there` says whether the
/// program in use exists; `now_ms` is unix milliseconds; `waited_ms` is for how long the keeper itself has seen this
/// trial, as clocks are set.
pub fn choose(in_use: &InUse, base: &str, is_there: bool, now_ms: i64, waited_ms: i64) -> Choice {
    match &in_use.current {
        None => Choice::Base,
        Some(root) if root.base != base => Choice::Void,
        Some(_) if !is_there => Choice::Restore,
        Some(_) if in_use.confirmed => Choice::Current,
        Some(_) if in_use.starts >= TRIAL_STARTS || in_use.is_late(now_ms, waited_ms) => Choice::Restore,
        Some(_) => Choice::Try,
    }
}

impl InUse {
    /// These files are in place and on trial; `root.base` is the keeper's program now.
    #[must_use]
    pub fn placed(self, root: Root, now_ms: i64) -> InUse {
        let is_kept = |before: &Root| self.confirmed && before.base == root.base;
        let previous = self.current.filter(is_kept);
        InUse {
            current: Some(root),
            confirmed: false,
            placed_at: now_ms,
            starts: 1,
            previous,
            restored: None,
        }
    }

    /// They were started once more.
    #[must_use]
    pub fn tried(self) -> InUse {
        InUse { starts: self.starts.saturating_add(1), ..self }
    }

    /// They serve.
    #[must_use]
    pub fn confirmed(self) -> InUse {
        InUse { confirmed: true, ..self }
    }

    /// The previous ones are in use again, which were confirmed in their time.
    #[must_use]
    pub fn restored(self) -> InUse {
        InUse {
            restored: self.current,
            current: self.previous,
            confirmed: true,
            previous: None,
            ..InUse::default()
        }
    }

    /// What is on trial.
    pub fn on_trial(&self) -> Option<&Root> {
        self.current.as_ref().filter(|_| !self.confirmed)
    }

    /// Whether this attempt's files are in use.
    pub fn is_of(&self, attempt: &str) -> bool {
        self.current.as_ref().is_some_and(|root| root.attempt == attempt)
    }

    /// Whether this attempt's files were put back.
    pub fn was_restored(&self, attempt: &str) -> bool {
        self.restored.as_ref().is_some_and(|root| root.attempt == attempt)
    }

    /// The trial has lasted for its time.
    pub fn is_late(&self, now_ms: i64, waited_ms: i64) -> bool {
        (now_ms - self.placed_at).max(waited_ms) >= TRIAL_MS
    }

    /// Directories that something in here names; the others are of no use.
    pub fn directories(&self) -> impl Iterator<Item = &str> {
        self.current.iter().chain(&self.previous).map(|root| root.directory.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::Choice::*;
    use super::*;

    const NOW: i64 = 1_000_000;

    fn root(attempt: &str) -> Root {
        Root {
            directory: format!("{attempt}-x"),
            release: "2.0.0".into(),
            digests: BTreeMap::new(),
            attempt: attempt.into(),
            base: "base".into(),
            renews_sidecar: true,
        }
    }

    fn placed() -> InUse {
        InUse::default().placed(root("at-1"), NOW)
    }

    #[test]
    fn what_the_keeper_starts() {
        let tried = |times: u32| (0..times).fold(placed(), |in_use, _| in_use.tried());
        // What is in use, the keeper's digest, is it there, milliseconds since, seen by the keeper for, choice.
        for (in_use, base, is_there, since, waited, choice) in [
            (InUse::default(), "base", false, 0, 0, Base),
            (placed(), "base", true, 0, 0, Try),
            (placed(), "base", true, TRIAL_MS - 1, 0, Try),
            (placed(), "base", true, TRIAL_MS, 0, Restore),
            // The clock was set back.
            (placed(), "base", true, -NOW, TRIAL_MS - 1, Try),
            (placed(), "base", true, -NOW, TRIAL_MS, Restore),
            (placed(), "base", false, 0, 0, Restore),
            (placed(), "newer", true, 0, 0, Void),
            (tried(1), "base", true, 0, 0, Try),
            (tried(2), "base", true, 0, 0, Restore),
            (tried(9), "base", true, 0, 0, Restore),
            (tried(9).confirmed(), "base", true, TRIAL_MS, TRIAL_MS, Current),
            (placed().confirmed(), "base", false, 0, 0, Restore),
            (placed().confirmed(), "newer", true, 0, 0, Void),
            (placed().restored(), "base", false, 0, 0, Base),
        ] {
            assert_eq!(choose(&in_use, base, is_there, NOW + since, waited), choice, "{in_use:?} {base}");
        }
    }

    #[test]
    fn a_trial_that_fails_brings_back_what_was_confirmed_before_it() {
        let first = placed().confirmed();
        let second = first.clone().placed(root("at-2"), NOW);
        assert_eq!(second.previous, first.current);
        assert_eq!(second.directories().collect::<Vec<&str>>(), ["at-2-x", "at-1-x"]);
        let back = second.restored();
        assert_eq!((&back.current, back.confirmed), (&first.current, true));
        assert!(back.was_restored("at-2") && back.is_of("at-1"));
        assert_eq!(back.on_trial(), None);
    }

    #[test]
    fn neither_what_was_never_confirmed_nor_what_is_void_is_gone_back_to() {
        assert_eq!(placed().placed(root("at-2"), NOW).previous, None);
        let newer = Root { base: "newer".into(), ..root("at-2") };
        assert_eq!(placed().confirmed().placed(newer, NOW).previous, None);
    }

    #[test]
    fn what_is_written_is_read_again_and_nothing_is_the_base() {
        let in_use = placed().confirmed().placed(root("at-2"), NOW).tried();
        let text = serde_json::to_vec(&in_use).unwrap();
        assert_eq!(serde_json::from_slice::<InUse>(&text).unwrap(), in_use);
        assert_eq!(serde_json::from_str::<InUse>("{}").unwrap(), InUse::default());
    }
}
