//! Log files: bounded by copying and truncating, so that writers that append never notice.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek};
use std::path::{Path, PathBuf};

/// A log larger than this is rotated.
pub const ROTATE_BYTES: u64 = 16 * 1024 * 1024;
/// Older files kept beside each log: `.1` is the newest.
pub const KEPT: usize = 4;

/// Rotates every log of the directory that has grown past `limit_bytes`. What is written between copy and
/// truncation is lost; logs are no truth.
///
/// # Errors
/// The first that failed; the others are rotated all the same.
pub fn rotate(directory: &Path, limit_bytes: u64) -> io::Result<()> {
    let mut outcome = Ok(());
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        let is_log = path.extension().is_some_and(|extension| extension == "log");
        if is_log && std::fs::metadata(&path)?.len() > limit_bytes {
            outcome = outcome.and(rotate_one(&path));
        }
    }
    outcome
}

fn rotate_one(path: &Path) -> io::Result<()> {
    for number in (1..KEPT).rev() {
        match std::fs::rename(older(path, number), older(path, number + 1)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    let mut from = File::open(path)?;
    let mut to = File::create(older(path, 1))?;
    let copied = io::copy(&mut from, &mut to);
    // A disk without room for the copy has even less for the log.
    OpenOptions::new().write(true).open(path)?.set_len(0)?;
    copied.map(|_| ())
}

/// The message of the last error in a process's log, where its last lines hold one. A line that is none of ours is one:
/// only a panic, a loader, or a program that is no runtime writes such.
pub fn last_error(directory: &Path, name: &str) -> Option<String> {
    const LOOKED_AT_BYTES: u64 = 16 * 1024;
    const MESSAGE_CHARACTERS: usize = 300;
    let mut log = File::open(directory.join(format!("{name}.log"))).ok()?;
    let end = log.metadata().ok()?.len();
    log.seek(io::SeekFrom::Start(end.saturating_sub(LOOKED_AT_BYTES))).ok()?;
    let mut bytes = Vec::new();
    log.take(LOOKED_AT_BYTES).read_to_end(&mut bytes).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    // The first line may have lost its beginning, the last one its end.
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    let whole =
        if end > LOOKED_AT_BYTES { whole.split_once('\n').map_or("", |(_, rest)| rest) } else { whole };
    let lines: Vec<&str> = whole.lines().collect();
    lines.iter().enumerate().rev().find_map(|(at, text)| {
        let Ok(line) = serde_json::from_str::<serde_json::Value>(text) else {
            let before = at.checked_sub(1).map(|before| lines[before]);
            return plain(before, text).map(|words| words.chars().take(MESSAGE_CHARACTERS).collect());
        };
        let is_error = line["level"].as_str().is_some_and(|level| level.eq_ignore_ascii_case("error"));
        let word = |name: &str| line[name].as_str().filter(|text| !text.is_empty());
        let words: Vec<&str> = [word("msg"), word("error")].into_iter().flatten().collect();
        is_error.then(|| words.join(": ").chars().take(MESSAGE_CHARACTERS).collect())
    })
}

/// The words of a line that is none of ours; of a panic, whose message is a line of its own, with where it was.
fn plain(before: Option<&str>, line: &str) -> Option<String> {
    // Advice and frames behind a panic's message.
    const BEHIND: [&str; 2] = ["note: ", "stack backtrace:"];
    let text = line.trim();
    let is_frame =
        line.starts_with(' ') && text.starts_with(|first: char| first.is_ascii_digit() || first == 'a');
    if text.is_empty() || is_frame || BEHIND.iter().any(|advice| text.starts_with(advice)) {
        return None;
    }
    match before.filter(|before| before.starts_with("thread '") && before.contains(" panicked at ")) {
        Some(panic) => Some(format!("{panic} {text}")),
        None => Some(text.to_owned()),
    }
}

/// The last lines, at most `at_most`, that a process wrote between two times in unix milliseconds. A line without a
/// time, as a panic writes it, counts as written between the dated ones around it. Looks at the end of the log and of
/// its newest older file.
pub fn lines_between(directory: &Path, name: &str, from: i64, to: i64, at_most: usize) -> Vec<String> {
    const LOOKED_AT_BYTES: u64 = 256 * 1024;
    let path = directory.join(format!("{name}.log"));
    let texts = [older(&path, 1), path].map(|path| tail(&path, LOOKED_AT_BYTES).unwrap_or_default());
    let mut lines: Vec<(i64, String)> = Vec::new();
    let mut undated = Vec::new();
    let mut last = i64::MIN;
    for line in texts.iter().flat_map(|text| text.lines()).filter(|line| !line.is_empty()) {
        match time_of(line) {
            Some(at) => {
                // What is between lines before and in the time was written in it as well as before.
                let between = if last < from && at >= from { from } else { last };
                lines.extend(undated.drain(..).map(|line| (between, line)));
                lines.push((at, line.to_owned()));
                last = at;
            }
            None => undated.push(line.to_owned()),
        }
    }
    let behind = last.max(from);
    lines.extend(undated.drain(..).map(|line| (behind, line)));
    let mut within: Vec<String> =
        lines.into_iter().filter(|(at, _)| (from..=to).contains(at)).map(|(_, line)| line).collect();
    within.split_off(within.len().saturating_sub(at_most))
}

fn time_of(line: &str) -> Option<i64> {
    let line: serde_json::Value = serde_json::from_str(line).ok()?;
    let time: jiff::Timestamp = line.get("ts")?.as_str()?.parse().ok()?;
    Some(time.as_millisecond())
}

/// The end of a file, without the line that it cuts.
fn tail(path: &Path, at_most_bytes: u64) -> io::Result<String> {
    let mut file = File::open(path)?;
    let from = file.metadata()?.len().saturating_sub(at_most_bytes);
    file.seek(io::SeekFrom::Start(from))?;
    let mut bytes = Vec::new();
    file.take(at_most_bytes).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    Ok(match (from, text.split_once('\n')) {
        (1.., Some((_, rest))) => rest.to_owned(),
        _ => text.into_owned(),
    })
}

/// The path of an older file of a log.
pub fn older(path: &Path, number: usize) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn the_last_error_is_found_behind_what_is_no_line() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(last_error(directory.path(), "sidecar"), None);
        let long = "x".repeat(20 * 1024);
        let text = format!(
            "{long}\n{{\"level\":\"ERROR\",\"msg\":\"one\"}}\n{{\"level\":\"ERROR\",\"msg\":\"two\",\"error\":\"disk\"}}\n{{\"level\":\"INFO\"}}\n{{"
        );
        std::fs::write(directory.path().join("sidecar.log"), text).unwrap();
        assert_eq!(last_error(directory.path(), "sidecar").as_deref(), Some("two: disk"));
    }

    #[test]
    fn a_panic_and_a_loaders_word_are_last_errors_too() {
        let directory = tempfile::tempdir().unwrap();
        let error = "{\"level\":\"ERROR\",\"msg\":\"ours\"}\n";
        let panic = "\nthread 'main' (7) panicked at src/x.rs:1:2:\nno such luck\nnote: run with `RUST_BACKTRACE=1`\n";
        let loader = "rt: error while loading shared libraries: libx.so.1\n";
        for (text, last) in [
            (format!("{error}{panic}"), "thread 'main' (7) panicked at src/x.rs:1:2: no such luck"),
            (
                format!(
                    "{panic}stack backtrace:\n   0: main\n             at src/x.rs:1\n{{\"level\":\"INFO\"}}\n"
                ),
                "thread 'main' (7) panicked at src/x.rs:1:2: no such luck",
            ),
            (format!("{error}{loader}"), loader.trim()),
            (format!("{loader}{error}"), "ours"),
        ] {
            std::fs::write(directory.path().join("runtime-a.log"), &text).unwrap();
            assert_eq!(last_error(directory.path(), "runtime-a").as_deref(), Some(last), "{text}");
        }
    }

    #[test]
    fn lines_of_a_time_are_found_with_the_undated_ones_among_them() {
        let directory = tempfile::tempdir().unwrap();
        let line =
            |second: u32| format!("{{\"ts\":\"2026-01-01T00:00:{second:02}Z\",\"msg\":\"{second}\"}}\n");
        let path = directory.path().join("runtime-b.log");
        std::fs::write(older(&path, 1), line(1)).unwrap();
        let text =
            [line(2), "panic one\n".into(), line(5), "panic two\n".into(), line(9), "panic three\n".into()];
        std::fs::write(&path, text.concat()).unwrap();
        let start = "2026-01-01T00:00:00Z".parse::<jiff::Timestamp>().unwrap().as_millisecond();
        let found = |from: i64, to: i64, at_most| -> Vec<String> {
            let at = |second: i64| start + second * 1000;
            let lines = lines_between(directory.path(), "runtime-b", at(from), at(to), at_most);
            let word = |line: String| {
                line.split("msg\":\"").nth(1).unwrap_or(&line).trim_end_matches("\"}").to_owned()
            };
            lines.into_iter().map(word).collect()
        };
        assert_eq!(found(3, 6, 9), ["panic one", "5", "panic two"]);
        assert_eq!(found(3, 6, 2), ["5", "panic two"]);
        assert_eq!(found(20, 30, 9), ["panic three"]);
        assert_eq!(found(0, 1, 9), ["1"]);
        assert!(lines_between(directory.path(), "sidecar", 0, i64::MAX, 9).is_empty());
    }

    #[test]
    fn past_the_limit_a_log_is_copied_and_truncated_and_four_are_kept() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("sidecar.log");
        let mut log = OpenOptions::new().append(true).create(true).open(&path).unwrap();
        for round in 0..6 {
            writeln!(log, "round {round}").unwrap();
            rotate(directory.path(), 4).unwrap();
            assert_eq!(std::fs::metadata(&path).unwrap().len(), 0);
        }
        let text = |number| std::fs::read_to_string(older(&path, number)).unwrap();
        assert_eq!((text(1).as_str(), text(4).as_str()), ("round 5\n", "round 2\n"));
        assert!(!older(&path, 5).exists());
        writeln!(log, "x").unwrap();
        rotate(directory.path(), 4).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "x\n");
    }
}
