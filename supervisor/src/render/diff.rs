//! A change of a file, as an agent told it: what goes and what comes, with a little around it.

use super::harmless::one_line;
use crate::watch::Tone;
use imara_diff::{Algorithm, Diff as Compared, Hunk, InternedInput, Token};
use serde_json::Value;

/// Lines around a change.
const CONTEXT: u32 = 2;
/// Lines of a change that are shown; whoever wants more looks at the file.
const LINES_MAX: usize = 60;
/// Bytes of both texts up to which they are compared: a page's worth of work at each redraw, whatever an agent tells.
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
        lines.extend(compare(&self.old, &self.new));
        if lines.len() > LINES_MAX {
            let more = lines.len() - LINES_MAX;
            lines.truncate(LINES_MAX);
            lines.push((Tone::Quiet, format!("  ... and {more} more lines")));
        }
        lines
    }
}

/// The lines that differ, each with its sign, between the lines around them.
fn compare(old: &str, new: &str) -> Vec<(Tone, String)> {
    let input = InternedInput::new(old, new);
    let mut compared = Compared::compute(Algorithm::Histogram, &input);
    compared.postprocess_lines(&input);
    let hunks: Vec<Hunk> = compared.hunks().collect();
    let of = |tone: Tone, sign: char, tokens: &[Token]| -> Vec<(Tone, String)> {
        let line = |token: &Token| one_line(input.interner[*token].trim_end_matches('\n'));
        tokens.iter().map(|token| (tone, format!("{sign} {}", line(token)))).collect()
    };
    let mut lines = Vec::new();
    // Lines of the old text that are told.
    let mut told = 0;
    for (at, hunk) in hunks.iter().enumerate() {
        let from = hunk.before.start.saturating_sub(CONTEXT).max(told);
        if at > 0 && from > told {
            lines.push((Tone::Quiet, "  ...".into()));
        }
        lines.extend(of(Tone::Quiet, ' ', &input.before[from as usize..hunk.before.start as usize]));
        lines.extend(of(Tone::Bad, '-', &input.before[hunk.before.start as usize..hunk.before.end as usize]));
        lines.extend(of(Tone::Good, '+', &input.after[hunk.after.start as usize..hunk.after.end as usize]));
        let next = hunks.get(at + 1).map_or(input.before.len() as u32, |next| next.before.start);
        told = next.min(hunk.before.end.saturating_add(CONTEXT));
        lines.extend(of(Tone::Quiet, ' ', &input.before[hunk.before.end as usize..told as usize]));
    }
    lines
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
        assert_eq!(
            shown("1\n2\n3\n4\n5\n6\n7\n8\n9", "1\n3\n4\n5\n6\n7\n8\nnine"),
            ["a", "  1", "- 2", "  3", "  4", "  ...", "  7", "  8", "- 9", "+ nine"]
        );
        assert_eq!(
            shown("1\n2\n3\n4\n5\n", "one\n2\n3\n4\nfive\n"),
            ["a", "- 1", "+ one", "  2", "  3", "  4", "- 5", "+ five"]
        );
        let whole = shown("", &"x\n".repeat(100));
        assert_eq!(whole.len(), LINES_MAX + 1);
        assert_eq!(whole[LINES_MAX], "  ... and 41 more lines");
        assert_eq!(shown(&"x".repeat(COMPARED_BYTES_MAX), "y"), ["a", "  262144 bytes became 1"]);
        assert_eq!(shown("", "a\u{1b}[2J\n"), ["a", "+ a␛[2J"]);
        assert_eq!(Diff::of(&json!({"type": "content"})), None);
    }
}
