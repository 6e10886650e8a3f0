//! Whether a line is JSON that everybody on its way can read.
//!
//! What an agent says is passed on without being parsed and written again. serde_json, JavaScript and other readers
//! differ at the edges (half surrogate pairs, numbers without a value, nesting without end), so a line is looked at
//! once, and only one at an edge costs more than that look.

use serde_json::Value;
use std::borrow::Cow;

/// Arrays and objects within each other in a line. serde_json reads 128, and an event wraps what it passes on into at
/// most six more.
const DEPTH_MAX: usize = 96;
/// Commas outside of strings in a line: each stands for a value, which takes some 32 bytes however short it is written.
/// More than a line has that is shown.
const COMMAS_MAX: usize = 1024 * 1024;
/// Digits of a number from which on it might have no finite value.
const DIGITS_SURE: usize = 300;
/// U+FFFD, as long as what it replaces.
const REPLACEMENT: &[u8; 6] = br"\ufffd";

/// What a first look at a line says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Look {
    /// Nothing that readers differ in.
    Plain,
    /// Perhaps something.
    Doubtful,
    /// Nested deeper than [`DEPTH_MAX`], or with more than [`COMMAS_MAX`].
    TooMuch,
}

/// The line as JSON that any reader takes, half surrogate pairs replaced; `None` where that cannot be had. A line
/// that is answered may still be no JSON at all, but then no reader takes it.
pub(super) fn readable(line: &[u8]) -> Option<Cow<'_, [u8]>> {
    match look(line) {
        Look::Plain => Some(Cow::Borrowed(line)),
        Look::TooMuch => None,
        Look::Doubtful if is_json(line) => Some(Cow::Borrowed(line)),
        Look::Doubtful => {
            let mended = without_half_surrogates(line);
            is_json(&mended).then_some(Cow::Owned(mended))
        }
    }
}

fn is_json(text: &[u8]) -> bool {
    serde_json::from_slice::<Value>(text).is_ok()
}

fn look(line: &[u8]) -> Look {
    let (mut at, mut depth, mut commas, mut digits, mut doubtful) = (0, 0_usize, 0, 0, false);
    while at < line.len() {
        match line[at] {
            b'"' => {
                let (end, escapes_surrogate) = behind_string(line, at + 1);
                doubtful |= escapes_surrogate;
                at = end;
                digits = 0;
                continue;
            }
            b'[' | b'{' => {
                depth += 1;
                if depth > DEPTH_MAX {
                    return Look::TooMuch;
                }
            }
            b',' => {
                commas += 1;
                if commas > COMMAS_MAX {
                    return Look::TooMuch;
                }
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            b'e' | b'E' if digits > 0 => doubtful = true,
            _ => {}
        }
        digits = if line[at].is_ascii_digit() || line[at] == b'.' { digits + 1 } else { 0 };
        doubtful |= digits >= DIGITS_SURE;
        at += 1;
    }
    if doubtful { Look::Doubtful } else { Look::Plain }
}

/// Where the string that begins at `at` is over, and whether it has an escape of a surrogate.
fn behind_string(line: &[u8], mut at: usize) -> (usize, bool) {
    let mut escapes_surrogate = false;
    while let Some(found) = line.get(at..).and_then(|rest| memchr::memchr2(b'"', b'\\', rest)) {
        at += found;
        if line[at] == b'"' {
            return (at + 1, escapes_surrogate);
        }
        escapes_surrogate |= surrogate(line, at).is_some();
        at += 2;
    }
    (line.len(), escapes_surrogate)
}

/// The surrogate that the escape at `at` stands for.
fn surrogate(text: &[u8], at: usize) -> Option<u16> {
    let escape = text.get(at..at + 6)?;
    let digits = escape.strip_prefix(br"\u").filter(|digits| digits.iter().all(u8::is_ascii_hexdigit))?;
    let unit = u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    (0xd800..=0xdfff).contains(&unit).then_some(unit)
}

fn without_half_surrogates(line: &[u8]) -> Vec<u8> {
    let mut mended = line.to_vec();
    let mut at = 0;
    while let Some(found) = line.get(at..).and_then(|rest| memchr::memchr(b'\\', rest)) {
        at += found;
        match (surrogate(line, at), surrogate(line, at + 6)) {
            (Some(0xd800..=0xdbff), Some(0xdc00..=0xdfff)) => at += 12,
            (Some(_), _) => {
                mended[at..at + 6].copy_from_slice(REPLACEMENT);
                at += 6;
            }
            (None, _) => at += 2,
        }
    }
    mended
}
