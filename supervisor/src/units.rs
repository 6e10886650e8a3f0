//! Units of systemd that come in a release (docs/decisions/0016): what the node asks of root, what root remembers and
//! answers, and what is to be changed where the administrator's units are.
//!
//! Pure. `io::units` brings files and systemd.

use crate::release::UNIT_NAMES;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Where programs are that the package's units name, and where `deploy/install` has put them instead.
const PROGRAMS: [&str; 2] = ["/usr/lib/holdfast/", "/usr/local/lib/holdfast/"];
/// Characters of an attempt's name at most.
const ATTEMPT: usize = 64;
/// Characters of a digest.
const DIGEST: usize = 64;

/// What the node asks for: the units of this bundle. Nothing of it is believed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wish {
    /// The attempt that asks.
    pub attempt: String,
    /// When its root promotion began, unix milliseconds: a node that was restored, or another one in its place, numbers its
    /// attempts again, and an attempt may be promoted twice.
    pub since: i64,
    /// SHA-256 of the bundle, hex: its name below `incoming/`.
    pub sha256: String,
}

impl Wish {
    /// Whether the parts are what they should be: they become names.
    pub fn is_well_formed(&self) -> bool {
        let name = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let is_attempt = (1..=ATTEMPT).contains(&self.attempt.len()) && self.attempt.bytes().all(name);
        let hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        is_attempt && self.sha256.len() == DIGEST && self.sha256.bytes().all(hex)
    }
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// The node runs with these units.
    Applied,
    /// Nothing was changed.
    Refused,
    /// They were placed, and the previous ones are back.
    Restored,
}

/// Root's answer, for the node to read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// To which wish: the whole of it is compared.
    pub wish: Wish,
    /// How it ended.
    pub end: End,
    /// A stable code; empty where it was applied.
    pub reason: String,
    /// For people.
    pub message: String,
}

/// Texts by name; `None`: there is none.
pub type Texts = BTreeMap<String, Option<String>>;

/// What is under way, which the node reads as "heard", and the previous state, durable before anything is changed: whoever
/// finds it puts it back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remembered {
    /// What is carried out.
    pub wish: Wish,
    /// The units that change, as they were; empty: nothing was changed yet.
    pub before: Texts,
    /// What a bundle had placed before.
    pub placed: Placed,
}

/// What a bundle has placed. Everything else where units are is the administrator's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placed {
    /// Text by name.
    pub units: BTreeMap<String, String>,
    /// SHA-256 of the bundle, hex; empty where there was none.
    pub sha256: String,
}

/// What is where the administrator's units are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum There {
    /// A plain file with this text.
    Text(String),
    /// Anything else: a link (a masked unit is one), a directory, what is no text.
    Other,
}

/// What is to be changed so that these units hold: text by name, `None`: to be removed. What the package says in the same
/// words is not placed, so that the package goes on deciding it. Empty: nothing is to be changed.
///
/// # Errors
/// The name of a unit that is the administrator's.
pub fn changes(
    wanted: &BTreeMap<&'static str, String>,
    there: &BTreeMap<&'static str, There>,
    packaged: &BTreeMap<&'static str, String>,
    placed: &Placed,
) -> Result<Texts, &'static str> {
    let mut changes = Texts::new();
    for name in UNIT_NAMES {
        let is = there.get(name);
        let is_ours =
            matches!((is, placed.units.get(name)), (Some(There::Text(is)), Some(placed)) if is == placed);
        let to_be = wanted.get(name).filter(|text| packaged.get(name) != Some(text));
        match (is, to_be) {
            (Some(There::Text(is)), Some(text)) if is == text => {}
            (None, None) => {}
            (Some(_), None) if !is_ours && !wanted.contains_key(name) => {}
            (Some(_), _) if !is_ours => return Err(name),
            (_, to_be) => drop(changes.insert(name.to_owned(), to_be.cloned())),
        }
    }
    Ok(changes)
}

/// A unit's text with the programs where this machine has them.
pub fn with_programs(text: &str, here: &str) -> String {
    match PROGRAMS.contains(&here) {
        true => text.replace(PROGRAMS[0], here),
        false => text.to_owned(),
    }
}

/// The same back: as it stands in a bundle.
pub fn as_packed(text: &str) -> String {
    text.replace(PROGRAMS[1], PROGRAMS[0])
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVICE: &str = "holdfast.service";

    fn one(text: &str) -> BTreeMap<&'static str, String> {
        BTreeMap::from([(SERVICE, text.to_owned())])
    }

    fn text(text: &str) -> There {
        There::Text(text.into())
    }

    #[test]
    fn what_changes_and_what_is_the_administrators() {
        let none = BTreeMap::new;
        // Wanted, there, packaged, placed by a bundle before: the service's new text, or whose it is.
        for (wanted, is, packaged, before, expected) in [
            (one("new"), None, one("old"), None, Ok(Some(Some("new")))),
            (one("old"), None, one("old"), None, Ok(None)),
            (none(), None, one("old"), None, Ok(None)),
            (one("new"), Some(text("new")), one("old"), None, Ok(None)),
            (one("new"), Some(text("placed")), one("old"), Some("placed"), Ok(Some(Some("new")))),
            // Back to what the package says, and a bundle without units: the package's holds again.
            (one("old"), Some(text("placed")), one("old"), Some("placed"), Ok(Some(None))),
            (none(), Some(text("placed")), one("old"), Some("placed"), Ok(Some(None))),
            (one("new"), Some(text("mine")), one("old"), None, Err(SERVICE)),
            (one("new"), Some(text("edited")), one("old"), Some("placed"), Err(SERVICE)),
            (one("new"), Some(There::Other), one("old"), Some("placed"), Err(SERVICE)),
            (one("old"), Some(text("mine")), one("old"), None, Err(SERVICE)),
            (none(), Some(text("mine")), one("old"), None, Ok(None)),
        ] {
            let there = is.iter().map(|is| (SERVICE, is.clone())).collect();
            let units = before.iter().map(|text| (SERVICE.into(), (*text).into())).collect();
            let placed = Placed { units, sha256: String::new() };
            let found = changes(&wanted, &there, &packaged, &placed);
            let found = found.map(|found| found.get(SERVICE).cloned());
            let expected =
                expected.map(|text: Option<Option<&str>>| text.map(|text| text.map(str::to_owned)));
            assert_eq!(found, expected, "{wanted:?} {is:?} {packaged:?} {before:?}");
        }
    }

    #[test]
    fn a_wish_becomes_names_only_where_it_cannot_lead_elsewhere() {
        let wish =
            |attempt: &str, sha256: &str| Wish { attempt: attempt.into(), since: 1, sha256: sha256.into() };
        let digest = "0a".repeat(32);
        assert!(wish("at-7", &digest).is_well_formed());
        for (attempt, sha256) in [
            ("", digest.as_str()),
            ("../x", &digest),
            ("at-7", "../../../etc/shadow"),
            ("at-7", &digest.to_uppercase()),
            ("at-7", &digest[1..]),
        ] {
            assert!(!wish(attempt, sha256).is_well_formed(), "{attempt} {sha256}");
        }
    }

    #[test]
    fn programs_are_named_where_they_are_and_nowhere_else() {
        let packed = "ExecStart=/usr/lib/holdfast/holdfast keep\n";
        let here = with_programs(packed, "/usr/local/lib/holdfast/");
        assert_eq!(here, "ExecStart=/usr/local/lib/holdfast/holdfast keep\n");
        assert_eq!(as_packed(&here), packed);
        assert_eq!(with_programs(packed, "/home/somebody/"), packed);
    }
}
