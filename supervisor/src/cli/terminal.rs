//! The terminal while a command has it to itself: keys come as they are pressed, and it is given back as it was.

use nix::sys::signal::{Signal, raise};
use nix::sys::termios::{LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};
use std::io::{IsTerminal, Read};
use tokio::sync::mpsc;

/// Keys that were pressed and not taken yet.
const KEYS: usize = 16;
/// A terminal that does not say its size.
const SIZE: (usize, usize) = (80, 24);

/// Whether a key ends what is shown: `q`, or Ctrl-C and Ctrl-D where the terminal passes them on as keys.
pub fn leaves(key: u8) -> bool {
    matches!(key, b'q' | b'Q' | 3 | 4)
}

/// The terminal's keys without echo and line editing; as they were before when this is dropped, after a panic too.
#[derive(Debug)]
pub struct Keys {
    before: Option<Termios>,
}

impl Keys {
    /// Takes them. Where stdin is no terminal nothing is changed.
    pub fn take() -> Self {
        let before = std::io::stdin().is_terminal().then(|| tcgetattr(std::io::stdin()).ok()).flatten();
        if let Some(before) = &before {
            let mut quiet = before.clone();
            quiet.local_flags.remove(LocalFlags::ECHO | LocalFlags::ICANON);
            let _ = tcsetattr(std::io::stdin(), SetArg::TCSANOW, &quiet);
        }
        Self { before }
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            let _ = tcsetattr(std::io::stdin(), SetArg::TCSANOW, before);
        }
    }
}

/// The keys that are pressed, where they can be read. The thread ends with the process.
pub fn pressed() -> mpsc::Receiver<u8> {
    let (pressed, keys) = mpsc::channel(KEYS);
    if std::io::stdin().is_terminal() {
        std::thread::spawn(move || {
            let mut one = [0_u8];
            while std::io::stdin().read_exact(&mut one).is_ok() && pressed.blocking_send(one[0]).is_ok() {}
        });
    }
    keys
}

/// Columns and rows.
pub fn size() -> (usize, usize) {
    terminal_size::terminal_size()
        .map_or(SIZE, |(width, height)| (usize::from(width.0), usize::from(height.0)))
}

/// Stops this process, as Ctrl-Z asks, until the shell brings it back. What was taken of the terminal is given back
/// before.
pub fn pause() {
    let _ = raise(Signal::SIGSTOP);
}
