//! Lines in and out, and the file that sessions are kept in.

use super::memory::Memory;
use serde_json::{Value, json};
use std::io::{self, BufRead, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, sync_channel};

/// Bytes of a line at most; a longer one ends the agent.
const LINE_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Lines that wait while the agent is at work; more wait in the pipe.
const WAITING_MAX: usize = 64;
/// The file that sessions are kept in, in the directory of each.
const FILE: &str = ".holdfast-demo";
/// The largest such file that is read.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// A line that came: a message, or what is none.
pub type Line = Result<Value, String>;

/// Reads lines on a thread of its own, so that the agent hears a cancel while it waits. Ends with stdin.
pub fn lines() -> Receiver<Line> {
    let (lines, received) = sync_channel(WAITING_MAX);
    std::thread::spawn(move || {
        let mut stdin = io::stdin().lock();
        loop {
            let mut line = Vec::new();
            let read = (&mut stdin).take(LINE_BYTES_MAX).read_until(b'\n', &mut line);
            if line.iter().all(u8::is_ascii_whitespace) && !line.is_empty() {
                continue;
            }
            let message = serde_json::from_slice(&line).map_err(|error| error.to_string());
            if read.is_err() || line.last() != Some(&b'\n') || lines.send(message).is_err() {
                return;
            }
        }
    });
    received
}

/// Writes a message.
pub fn send(message: &Value) -> io::Result<()> {
    line(&message.to_string())
}

/// Writes a line.
pub fn line(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.write_all(b"\n")?;
    stdout.flush()
}

/// What is kept in this directory; nothing where there is no such file, or none of ours.
pub fn remembered(directory: &Path) -> Memory {
    let read = || -> io::Result<Memory> {
        let mut text = Vec::new();
        std::fs::File::open(directory.join(FILE))?.take(FILE_BYTES_MAX).read_to_end(&mut text)?;
        Ok(serde_json::from_slice(&text)?)
    };
    read().unwrap_or_default()
}

/// Keeps it. A directory that cannot be written only means that nothing is kept.
pub fn remember(directory: &Path, memory: &Memory) {
    let (file, temporary) = (directory.join(FILE), directory.join(format!("{FILE}.tmp")));
    let kept = std::fs::write(&temporary, json!(memory).to_string())
        .and_then(|()| std::fs::rename(&temporary, &file));
    if let Err(error) = kept {
        eprintln!("holdfast agent-demo: {}: {error}", file.display());
    }
}

/// The directory that a client names.
pub fn directory(params: &Value) -> PathBuf {
    params["cwd"].as_str().unwrap_or(".").into()
}
