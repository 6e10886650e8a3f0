//! A change of a file, as an agent told it: what goes and what comes, with a little around it.

use super::harmless::one_line;
use crate::watch::Tone;
use serde_json::Value;
use similar::{ChangeTag, TextDiff};

/// Lines around a change.
const CONTEXT: usize = 2;
/// Lines of a change that are shown; whoever wants more looks at the file.
const LINES_MAX: usize = 60;
/// Bytes of both texts up to which they are compared: the time grows with the square of what differs.
const COMPARED_BYTES_MAX: usize = 256 * 1024;

/// A change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diff {
    path: String,
    old: String,
    new: String,
}

impl Diff {
    /// From a tool call's content; `None` when it is none.
    pub fn of(content: &Value) -> Option<Self> {
        let text = |name: &str| content[name].as_str().unwrap_or_default().to_owned();
        (content["type"] == "diff").then(|| Self {
            path: one_line(&text("path")),
            old: text("oldText"),
            new: text("newText"),
        })
    }

    /// Its lines, no more than a number of them.
    pub fn lines(&self) -> Vec<(Tone, String)> {
        let mut lines = vec![(Tone::Strong, self.path.clone())];
        if self.old.len() + self.new.len() > COMPARED_BYTES_MAX {
            let sizes = format!("  {} bytes became {}", self.old.len(), self.new.len());
            lines.push((Tone::Quiet, sizes));
            return lines;
        }
        let compared = TextDiff::from_lines(&self.old, &self.new);
        for (group, operations) in compared.grouped_ops(CONTEXT).iter().enumerate() {
            if group > 0 {
                lines.push((Tone::Quiet, "  ...".into()));
            }
            for change in operations.iter().flat_map(|operation| compared.iter_changes(operation)) {
                let (tone, sign) = match change.tag() {
                    ChangeTag::Delete => (Tone::Bad, '-'),
                    ChangeTag::Insert => (Tone::Good, '+'),
                    ChangeTag::Equal => (Tone::Quiet, ' '),
                };
                lines.push((tone, format!("{sign} {}", one_line(change.value()))));
            }
        }
        if lines.len() > LINES_MAX {
            let more = lines.len() - LINES_MAX;
            lines.truncate(LINES_MAX);
            lines.push((Tone::Quiet, format!("  ... and {more} more lines")));
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn shown(old: &str, new: &str) -> Vec<String> {
        let diff = Diff::of(&json!({"type": "diff", "path": "a", "oldText": old, "newText": new})).unwrap();
        diff.lines().into_iter().map(|(_, line)| line).collect()
    }

    #[test]
    fn what_differs_is_shown_with_a_little_around_it() {
        assert_eq!(
            shown("1\n2\n3\n4\n5\n", "1\n2\n3\nfour\n5\n"),
            ["a", "  2", "  3", "- 4", "+ four", "  5"]
        );
        assert_eq!(shown("", "new\n"), ["a", "+ new"]);
        let whole = shown("", &"x\n".repeat(100));
        assert_eq!(whole.len(), LINES_MAX + 1);
        assert_eq!(whole[LINES_MAX], "  ... and 41 more lines");
        assert_eq!(shown(&"x".repeat(COMPARED_BYTES_MAX), "y"), ["a", "  262144 bytes became 1"]);
        assert_eq!(shown("", "a\u{1b}[2J\n"), ["a", "+ a␛[2J"]);
        assert_eq!(Diff::of(&json!({"type": "content"})), None);
    }
}
