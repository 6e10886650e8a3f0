//! Which keeper: the one that the node was installed with, or the promoted one that follows it in the same process.
//!
//! Pure. What judges root files must not come from them, so a keeper follows only files that are confirmed, and has a
//! trial of its own: [`Succession`] counts its starts, and only keepers write it.

use super::{InUse, Root};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::time::Duration;

/// Starts of a promoted keeper that did not come to [`shown_after`]; then the installed one stays.
pub const KEEPER_STARTS: u32 = 3;
/// A keeper that has kept its supervisor for so long has shown itself, where nobody waits for its WATCHDOG.
const SHOWN_AFTER: Duration = Duration::from_secs(10);

/// How long a keeper has to keep its supervisor until it has shown itself. `watchdog` is the time within which systemd
/// ends one that says no WATCHDOG: it must have come to twice of it, so it has passed on those of its supervisor.
pub fn shown_after(watchdog: Option<Duration>) -> Duration {
    watchdog.map_or(SHOWN_AFTER, |watchdog| watchdog.saturating_mul(2).max(SHOWN_AFTER))
}

/// The keeper that a node was installed with. It is what starts, also under a promoted one's name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Base {
    /// Its program.
    pub program: PathBuf,
    /// The program's SHA-256, hex, when it was started.
    pub digest: String,
}

/// `<home>/root/keeper.json`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Succession {
    /// The keeper that was followed.
    pub base: Base,
    /// The attempt whose keeper was started last.
    pub attempt: String,
    /// How often, since it showed itself last; 0: it did.
    pub starts: u32,
    /// The keeper after its last start has found that it was enough.
    pub gave_up: bool,
}

impl Succession {
    /// A keeper of this attempt is about to be started.
    #[must_use]
    pub fn started(self, base: Base, attempt: &str) -> Succession {
        let before = if self.attempt == attempt { self.starts } else { 0 };
        Succession { base, attempt: attempt.to_owned(), starts: before.saturating_add(1), gave_up: false }
    }

    /// No further start.
    #[must_use]
    pub fn given_up(self) -> Succession {
        Succession { gave_up: true, ..self }
    }

    /// It has shown itself.
    #[must_use]
    pub fn shown(self) -> Succession {
        Succession { starts: 0, ..self }
    }

    /// It was told to go before it could show itself: that start says nothing.
    #[must_use]
    pub fn taken_back(self) -> Succession {
        Succession { starts: self.starts.saturating_sub(1), ..self }
    }

    /// The last start of this attempt's keeper did not come to show itself.
    pub fn has_failed(&self, attempt: &str) -> bool {
        self.attempt == attempt && self.starts > 0
    }

    /// This attempt's keeper was started often enough and never showed itself.
    pub fn was_tried_enough(&self, attempt: &str) -> bool {
        self.attempt == attempt && self.starts >= KEEPER_STARTS
    }
}

/// The root files whose keeper is to follow the one that runs. `program` is the name of the keeper's file among them,
/// `own` the digest of what runs, `base` that of the keeper that the node was installed with.
pub fn successor<'a>(
    in_use: &'a InUse,
    succession: &Succession,
    program: &str,
    own: &str,
    base: &str,
) -> Option<&'a Root> {
    let root = in_use.current.as_ref().filter(|root| in_use.confirmed && root.base == base)?;
    let is_other = root.digests.get(program).is_some_and(|digest| digest != own);
    (is_other && !succession.was_tried_enough(&root.attempt)).then_some(root)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn placed(attempt: &str) -> InUse {
        let root = Root {
            directory: attempt.into(),
            release: "2.0.0".into(),
            digests: BTreeMap::from([("holdfast".into(), "new".into())]),
            attempt: attempt.into(),
            base: "base".into(),
            renews_sidecar: true,
        };
        InUse::default().placed(root, 0)
    }

    fn started(attempt: &str, times: u32) -> Succession {
        (0..times).fold(Succession::default(), |before, _| before.started(Base::default(), attempt))
    }

    #[test]
    fn only_another_keeper_of_confirmed_files_follows_and_only_so_often() {
        let confirmed = || placed("at-2").confirmed();
        // What is in use, how the last ones went, digest of what runs, of what was installed, does it follow.
        for (in_use, before, own, base, follows) in [
            (InUse::default(), started("", 0), "base", "base", false),
            (placed("at-2"), started("", 0), "base", "base", false),
            (confirmed(), started("", 0), "base", "base", true),
            (confirmed(), started("", 0), "new", "base", false),
            (confirmed(), started("", 0), "newer", "newer", false),
            // A promoted one is followed by the next.
            (confirmed(), started("at-1", 1), "old", "base", true),
            (confirmed(), started("at-1", 9), "base", "base", true),
            (confirmed(), started("at-2", 2), "base", "base", true),
            (confirmed(), started("at-2", 3), "base", "base", false),
            (confirmed(), started("at-2", 3).shown(), "base", "base", true),
            (confirmed().restored(), started("at-2", 1), "base", "base", false),
        ] {
            let found = successor(&in_use, &before, "holdfast", own, base);
            assert_eq!(found.is_some(), follows, "{in_use:?} {before:?} {own} {base}");
        }
    }

    #[test]
    fn it_has_shown_itself_only_when_systemd_would_have_ended_it_without_watchdog() {
        assert_eq!(shown_after(None), SHOWN_AFTER);
        assert_eq!(shown_after(Some(Duration::from_secs(1))), SHOWN_AFTER);
        assert_eq!(shown_after(Some(Duration::from_secs(60))), Duration::from_secs(120));
        assert_eq!(shown_after(Some(Duration::MAX)), Duration::MAX);
    }

    #[test]
    fn starts_are_counted_for_each_attempt_until_it_has_shown_itself() {
        assert_eq!(started("at-1", 2).starts, 2);
        assert_eq!(started("at-1", 2).started(Base::default(), "at-2").starts, 1);
        assert_eq!(started("at-1", 2).shown().starts, 0);
        assert_eq!(started("at-1", 2).taken_back().starts, 1);
        assert_eq!(started("at-1", 2).shown().taken_back().starts, 0);
        assert!(started("at-1", 1).has_failed("at-1") && !started("at-1", 1).has_failed("at-2"));
        assert!(!started("at-1", 1).shown().has_failed("at-1"));
        let text = serde_json::to_vec(&started("at-1", 2)).unwrap();
        assert_eq!(serde_json::from_slice::<Succession>(&text).unwrap(), started("at-1", 2));
        assert_eq!(serde_json::from_str::<Succession>("{}").unwrap(), Succession::default());
    }
}
