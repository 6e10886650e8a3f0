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
            let (mut one, mut plain) = ([0_u8], PlainKeys::default());
            while std::io::stdin().read_exact(&mut one).is_ok() {
                if plain.is_one(one[0]) && pressed.blocking_send(one[0]).is_err() {
                    return;
                }
            }
        });
    }
    keys
}

/// Keys that are a character. Arrows, function keys and the like come as sequences, whose characters are no keys: Home is
/// `ESC [ 1 ~`, and is not to answer with the first option.
#[derive(Debug, Default)]
enum PlainKeys {
    #[default]
    Ground,
    /// Behind ESC.
    Escape,
    /// Behind ESC `[`.
    Begun,
    /// In the parameters of a sequence.
    Sequence,
    /// One more character belongs to it.
    Last,
}

impl PlainKeys {
    /// Whether this byte is a key by itself.
    fn is_one(&mut self, byte: u8) -> bool {
        let (next, is_one) = match (&self, byte) {
            (PlainKeys::Ground | PlainKeys::Escape, 0x1b) => (PlainKeys::Escape, false),
            (PlainKeys::Escape, b'[') => (PlainKeys::Begun, false),
            (PlainKeys::Escape, b'O') => (PlainKeys::Last, false),
            (PlainKeys::Ground | PlainKeys::Escape, _) => (PlainKeys::Ground, true),
            // Function keys of the Linux console: ESC [ [ A.
            (PlainKeys::Begun, b'[') => (PlainKeys::Last, false),
            (PlainKeys::Begun | PlainKeys::Sequence, 0x20..=0x3f) => (PlainKeys::Sequence, false),
            (PlainKeys::Begun | PlainKeys::Sequence | PlainKeys::Last, _) => (PlainKeys::Ground, false),
        };
        *self = next;
        is_one
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_character_is_no_key() {
        let cases: [(&[u8], &[u8]); 9] = [
            (b"1cq", b"1cq"),
            (b"\x1b[A\x1b[Cx", b"x"),
            (b"\x1b[1~\x1b[1;5C\x1b[15~1", b"1"),
            (b"\x1bOC\x1bOP2", b"2"),
            (b"\x1b[[C\x1b[[A3", b"3"),
            (b"\x1b\x1b[Dq", b"q"),
            (b"\x1b1", b"1"),
            (b"\x1b[200~c", b"c"),
            ("\u{e9}\u{3}".as_bytes(), "\u{e9}\u{3}".as_bytes()),
        ];
        for (typed, keys) in cases {
            let mut plain = PlainKeys::default();
            let taken: Vec<u8> = typed.iter().copied().filter(|byte| plain.is_one(*byte)).collect();
            assert_eq!(taken, keys, "{typed:?}");
        }
    }
}
