//! Units of systemd in a release, as the node sees them: whether they are others than those in effect, the wish that it
//! writes, and what root of the machine has answered. Placing them is root's own, see [`placing`].

pub mod placing;
pub mod systemctl;
mod taken;

use crate::io::home::write_file;
use crate::io::slots::digest_of;
use crate::io::systemd;
use crate::release::unit_name;
use crate::units::{Outcome, Remembered, Wish, as_packed};
use holdfast_shared::error::ApiError;
use holdfast_shared::home::Home;
use holdfast_shared::release::Manifest;
use std::io;
use std::path::{Path, PathBuf};

/// Keys whose units root places, and the highest version seen of each. Only root writes there.
pub const KEYS: &str = "/etc/holdfast/keys";
/// What root remembers and answers; everybody may read it.
pub const STATE: &str = "/var/lib/holdfast-units";
/// Where the administrator's units are, in which root places those of a bundle.
pub const ADMINISTRATORS: &str = "/etc/systemd/system";
/// Where packages have theirs, the first one that has a unit decides.
pub const PACKAGED: [&str; 3] =
    ["/usr/local/lib/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"];
/// The wish, below `run/`.
const WISH: &str = "units-wanted.json";
/// Root's answer.
const OUTCOME: &str = "outcome.json";
/// What root carries out and puts back, from its beginning to its end.
const REMEMBERED: &str = "remembered.json";

/// How a wish stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Root has said nothing of it.
    Unheard,
    /// Root carries it out.
    UnderWay,
    /// Root has answered.
    Ended(Outcome),
}

/// Units of the release in a slot that are others than those in effect here; none where systemd does not keep this node,
/// as there is nothing to put them into effect.
pub fn differing(home: &Home, manifest: &Manifest) -> Vec<String> {
    if manifest.units.is_empty() || !systemd::keeps(home) {
        return Vec::new();
    }
    let differs = |path: &&String| {
        let in_effect = unit_name(path).and_then(in_effect).and_then(|text| digest_of(text.as_bytes()).ok());
        in_effect.as_ref() != manifest.digests.get(*path)
    };
    manifest.units.iter().filter(differs).cloned().collect()
}

/// The text of a unit as it is now, in a bundle's words.
fn in_effect(name: &str) -> Option<String> {
    let all = [ADMINISTRATORS].into_iter().chain(PACKAGED);
    let text =
        all.into_iter().find_map(|directory| std::fs::read_to_string(Path::new(directory).join(name)).ok());
    text.map(|text| as_packed(&text))
}

/// Writes the wish; `holdfast-units.path` hears it each time it is written.
///
/// # Errors
/// What the file system says.
pub fn wish(home: &Home, wish: &Wish) -> Result<(), ApiError> {
    write_file(&path_of_wish(home), &serde_json::to_vec(wish).unwrap_or_default())
}

/// Takes the wish back: what root has not placed by now it does not place.
///
/// # Errors
/// What the file system says.
pub fn withdraw(home: &Home) -> io::Result<()> {
    match std::fs::remove_file(path_of_wish(home)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn path_of_wish(home: &Home) -> PathBuf {
    home.run().join(WISH)
}

/// How a wish of this home stands. Root answers the installed node alone.
pub fn standing(home: &Home, wish: &Wish) -> Standing {
    if !systemd::keeps(home) {
        return Standing::Unheard;
    }
    standing_in(Path::new(STATE), wish)
}

fn standing_in(state: &Path, wish: &Wish) -> Standing {
    let read = |name: &str| std::fs::read(state.join(name)).unwrap_or_default();
    if let Ok(outcome) = serde_json::from_slice::<Outcome>(&read(OUTCOME))
        && outcome.wish == *wish
    {
        return Standing::Ended(outcome);
    }
    match serde_json::from_slice::<Remembered>(&read(REMEMBERED)) {
        Ok(remembered) if remembered.wish == *wish => Standing::UnderWay,
        _ => Standing::Unheard,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::{End, Placed, Texts};

    #[test]
    fn an_answer_is_known_by_the_whole_wish() {
        let state = tempfile::tempdir().unwrap();
        let wish = Wish { attempt: "at-3".into(), since: 1, sha256: "ab".repeat(32) };
        assert_eq!(standing_in(state.path(), &wish), Standing::Unheard);
        let remembered = Remembered { wish: wish.clone(), before: Texts::new(), placed: Placed::default() };
        std::fs::write(state.path().join(REMEMBERED), serde_json::to_vec(&remembered).unwrap()).unwrap();
        assert_eq!(standing_in(state.path(), &wish), Standing::UnderWay);
        let outcome = Outcome {
            wish: wish.clone(),
            end: End::Refused,
            reason: "units_key_missing".into(),
            message: String::new(),
        };
        std::fs::write(state.path().join(OUTCOME), serde_json::to_vec(&outcome).unwrap()).unwrap();
        assert_eq!(standing_in(state.path(), &wish), Standing::Ended(outcome));
        for other in [
            Wish { attempt: "at-4".into(), ..wish.clone() },
            Wish { since: 2, ..wish.clone() },
            Wish { sha256: "cd".repeat(32), ..wish },
        ] {
            assert_eq!(standing_in(state.path(), &other), Standing::Unheard);
        }
    }
}
