//! `logs`: what the node's processes wrote, in the order of time.

use super::output::{CliError, Output};
use super::place::Place;
use crate::io::logs::{KEPT, older};
use crate::render::{json_text, one_line};
use serde_json::Value;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Between two looks at files that are followed.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Prints logs.
pub fn logs(
    place: &Place,
    name: Option<&str>,
    follow: bool,
    since: Option<&str>,
    output: &Output,
) -> Result<u8, CliError> {
    let since = since.map(parse_since).transpose()?.unwrap_or_default();
    let files = files(place, name)?;
    let mut lines = Vec::new();
    for file in &files {
        for number in (1..=KEPT).rev() {
            read_lines(&older(file, number), &mut lines);
        }
        read_lines(file, &mut lines);
    }
    // Stable: lines without a time stay behind the one before them.
    let mut last = String::new();
    let mut dated: Vec<(String, String)> = lines
        .into_iter()
        .map(|line| {
            last = time_of(&line).unwrap_or_else(|| last.clone());
            (last.clone(), line)
        })
        .collect();
    dated.sort_by(|one, other| one.0.cmp(&other.0));
    for (_, line) in dated.iter().filter(|(time, _)| *time >= since) {
        print(line, output);
    }
    if follow {
        follow_files(&files, output)?;
    }
    Ok(crate::exit::FINE)
}

fn files(place: &Place, name: Option<&str>) -> Result<Vec<PathBuf>, CliError> {
    let directory = place.home.logs();
    let mut files: Vec<PathBuf> = std::fs::read_dir(&directory)
        .map_err(|_| place.not_running())?
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "log"))
        .collect();
    files.sort();
    let Some(name) = name else { return Ok(files) };
    let names: Vec<String> =
        files.iter().filter_map(|file| Some(file.file_stem()?.to_str()?.to_owned())).collect();
    files.retain(|file| file.file_stem().is_some_and(|stem| stem == name));
    if files.is_empty() {
        return Err(CliError::Usage(format!("no log {name:?}; there are: {}", names.join(", "))));
    }
    Ok(files)
}

fn read_lines(path: &Path, lines: &mut Vec<String>) {
    if let Ok(file) = File::open(path) {
        lines.extend(BufReader::new(file).lines().map_while(Result::ok));
    }
}

fn follow_files(files: &[PathBuf], output: &Output) -> Result<(), CliError> {
    let mut positions: Vec<u64> =
        files.iter().map(|file| std::fs::metadata(file).map_or(0, |metadata| metadata.len())).collect();
    loop {
        for (file, position) in files.iter().zip(&mut positions) {
            follow_one(file, position, output)
                .map_err(CliError::system(format!("read {}", file.display())))?;
        }
        std::thread::sleep(LOOK_AGAIN);
    }
}

/// Prints the whole lines behind a position; a file that is shorter was rotated and is read from its beginning.
fn follow_one(path: &Path, position: &mut u64, output: &Output) -> std::io::Result<()> {
    let mut file = File::open(path)?;
    if file.metadata()?.len() < *position {
        *position = 0;
    }
    file.seek(SeekFrom::Start(*position))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    let Some(end) = bytes.iter().rposition(|byte| *byte == b'\n') else { return Ok(()) };
    *position += end as u64 + 1;
    String::from_utf8_lossy(&bytes[..end]).lines().for_each(|line| print(line, output));
    Ok(())
}

fn print(line: &str, output: &Output) {
    output.write(&format!("{}\n", words(line, output)));
}

/// A line as people read it; as it is where JSON was asked for, and where it is none. It may quote what an agent said:
/// nothing of it moves or hides anything on a terminal.
pub(super) fn words(line: &str, output: &Output) -> String {
    let words = match serde_json::from_str::<Value>(line) {
        Ok(Value::Object(fields)) if !output.json => {
            let text = |name: &str| one_line(fields.get(name).and_then(Value::as_str).unwrap_or_default());
            let rest: Vec<String> = fields
                .iter()
                .filter(|(name, _)| !["ts", "level", "process", "instance", "msg"].contains(&name.as_str()))
                .map(|(name, value)| {
                    let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                    one_line(&format!("{name}={value}"))
                })
                .collect();
            let colour = match text("level").as_str() {
                "error" => "31",
                "warn" => "33",
                _ => "0",
            };
            let level = output.paint(colour, &format!("{:<5}", text("level")));
            format!("{} {level} {:<10} {} {}", text("ts"), text("process"), text("msg"), rest.join(" "))
        }
        Ok(_) => json_text(line.to_owned()),
        Err(_) => one_line(line),
    };
    words.trim_end().to_owned()
}

fn time_of(line: &str) -> Option<String> {
    let value: Value = serde_json::from_str(line).ok()?;
    let time: jiff::Timestamp = value.get("ts")?.as_str()?.parse().ok()?;
    Some(sortable(time))
}

/// Times that compare as text.
fn sortable(time: jiff::Timestamp) -> String {
    format!("{:020}", time.as_microsecond())
}

fn parse_since(text: &str) -> Result<String, CliError> {
    if let Ok(time) = text.parse::<jiff::Timestamp>() {
        return Ok(sortable(time));
    }
    let seconds = i64::try_from(seconds(text)?).unwrap_or(i64::MAX / 1000);
    let now = jiff::Timestamp::now();
    Ok(sortable(
        now.checked_sub(jiff::SignedDuration::from_secs(seconds)).unwrap_or(jiff::Timestamp::UNIX_EPOCH),
    ))
}

/// Seconds of a time like `90s`, `10m`, `2h`, `1d`.
///
/// # Errors
/// For anything else.
pub fn seconds(text: &str) -> Result<u64, CliError> {
    let wrong = || CliError::Usage(format!("{text:?} is no time like 90s, 10m, 2h, 1d"));
    let unit = text.chars().last().ok_or_else(wrong)?;
    let number: u64 = text.strip_suffix(unit).unwrap_or_default().parse().map_err(|_| wrong())?;
    let factor = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        _ => return Err(wrong()),
    };
    number.checked_mul(factor).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_line_quotes_reaches_no_terminal_as_a_sequence() {
        let evil = "a\u{1b}]52;c;eA==\u{7}b\u{9b}2J\u{202e}c\r";
        let line = serde_json::json!({"ts": "t", "level": "warn", "process": "runtime-a", "msg": evil, "why": evil, evil: 1});
        for json in [false, true] {
            let output = Output { json, colours: false };
            for line in [line.to_string(), evil.to_owned()] {
                let words = words(&line, &output);
                assert!(!words.chars().any(|one| one.is_control() || one == '\u{202e}'), "{words:?}");
            }
            assert!(words(&line.to_string(), &output).contains("runtime-a"));
        }
    }

    #[test]
    fn times_have_a_unit() {
        assert_eq!(seconds("90s").unwrap(), 90);
        assert_eq!(seconds("2h").unwrap(), 7200);
        for wrong in ["", "5", "m", "-1s", "1y", "99999999999999999999d"] {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
        assert!(parse_since("2026-01-31T12:00:00Z").unwrap() < parse_since("1s").unwrap());
    }
}
