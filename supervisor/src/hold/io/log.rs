//! The holder's few log lines, in the format of all our logs, without a logging library's memory.

use std::error::Error;
use std::fmt::Write;
use std::path::Path;

/// Writes an error with its causes to stderr as one JSON line.
pub fn error(directory: &Path, error: &dyn Error) {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(source) = cause {
        let link = source.to_string();
        // An error that is transparent, or names its source itself, is not said twice.
        if !text.ends_with(&link) {
            // Writing to a string does not fail.
            let _ = write!(text, ": {link}");
        }
        cause = source.source();
    }
    line(directory, "ERROR", &text);
}

/// Writes that something is done otherwise, and why, as one JSON line.
pub fn warn(directory: &Path, what: &str, error: &dyn Error) {
    line(directory, "WARN", &format!("{what}: {error}"));
}

fn line(directory: &Path, level: &str, text: &str) {
    let instance = directory.file_name().unwrap_or_default().to_string_lossy();
    let line = serde_json::json!({
        "ts": jiff::Timestamp::now().to_string(),
        "level": level,
        "process": "holder",
        "instance": instance,
        "msg": text,
    });
    eprintln!("{line}");
}
