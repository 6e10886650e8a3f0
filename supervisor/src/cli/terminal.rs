//! The terminal while a command has it to itself: keys come as they are pressed, and it is given back as it was.

use nix::sys::signal::{Signal, raise};
use nix::sys::termios::{LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};
use std::io::{IsTerminal, Read, Write};
use tokio::sync::mpsc;

/// Keys that were pressed and not taken yet.
const KEYS: usize = 16;
/// A terminal that does not say its size.
const SIZE: (usize, usize) = (80, 24);

/// Whether a key ends what is shown: `q`, or Ctrl-C and Ctrl-D where the terminal passes them on as keys.
pub fn leaves(key: u8) -> bool {
    matches!(key, b'q' | b'Q' | 3 | 4)
}

/// What is pasted comes between marks from here on, so that it is told from keys; and no longer.
const MARK_PASTES: &str = "\x1b[?2004h";
const MARK_NO_PASTES: &str = "\x1b[?2004l";
/// The mark behind what is pasted.
const PASTE_END: &[u8] = b"\x1b[201~";
/// The parameter of the mark before it.
const PASTE_BEGINS: u16 = 200;

/// The terminal's keys without echo and line editing, and pastes between marks; as it was before when this is dropped,
/// after a panic too.
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
            tell_terminal(MARK_PASTES);
        }
        Self { before }
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            tell_terminal(MARK_NO_PASTES);
            let _ = tcsetattr(std::io::stdin(), SetArg::TCSANOW, before);
        }
    }
}

/// Something for the terminal itself, where stdout is one.
fn tell_terminal(sequence: &str) {
    let mut stdout = std::io::stdout().lock();
    if stdout.is_terminal() {
        let _ = stdout.write_all(sequence.as_bytes()).and_then(|()| stdout.flush());
    }
}

/// What came from the keyboard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pressed {
    /// A key that is a character.
    Key(u8),
    /// Text was pasted. It is no key, whatever is in it.
    Paste,
}

/// The keys that are pressed, where they can be read. The thread ends with the process.
pub fn pressed() -> mpsc::Receiver<Pressed> {
    let (pressed, keys) = mpsc::channel(KEYS);
    if std::io::stdin().is_terminal() {
        std::thread::spawn(move || {
            let (mut one, mut plain) = ([0_u8], PlainKeys::default());
            while std::io::stdin().read_exact(&mut one).is_ok() {
                if let Some(key) = plain.take(one[0])
                    && pressed.blocking_send(key).is_err()
                {
                    return;
                }
            }
        });
    }
    keys
}

/// Keys that are a character. Arrows, function keys and the like come as sequences, whose characters are no keys: Home is
/// `ESC [ 1 ~`, and is not to answer with the first option. Nor is what is pasted, which lies between two of them.
#[derive(Debug, Default)]
enum PlainKeys {
    #[default]
    Ground,
    /// Behind ESC.
    Escape,
    /// Behind ESC `[`.
    Begun,
    /// In the parameters of a sequence: the last number.
    Sequence(u16),
    /// One more character belongs to it.
    Last,
    /// In what is pasted, with so many bytes of the mark behind it read.
    Pasted(usize),
}

impl PlainKeys {
    /// What this byte is by itself, if it is something.
    fn take(&mut self, byte: u8) -> Option<Pressed> {
        let (next, pressed) = match (&*self, byte) {
            (PlainKeys::Pasted(seen), _) => return self.pasted(*seen, byte),
            (PlainKeys::Ground | PlainKeys::Escape, 0x1b) => (PlainKeys::Escape, None),
            (PlainKeys::Escape, b'[') => (PlainKeys::Begun, None),
            (PlainKeys::Escape, b'O') => (PlainKeys::Last, None),
            (PlainKeys::Ground | PlainKeys::Escape, key) => (PlainKeys::Ground, Some(Pressed::Key(key))),
            // Function keys of the Linux console: ESC [ [ A.
            (PlainKeys::Begun, b'[') => (PlainKeys::Last, None),
            (PlainKeys::Begun, b'0'..=b'9') => (PlainKeys::Sequence(u16::from(byte - b'0')), None),
            (PlainKeys::Sequence(number), b'0'..=b'9') => {
                let number = number.saturating_mul(10).saturating_add(u16::from(byte - b'0'));
                (PlainKeys::Sequence(number), None)
            }
            (PlainKeys::Begun | PlainKeys::Sequence(_), 0x20..=0x3f) => (PlainKeys::Sequence(0), None),
            (PlainKeys::Sequence(PASTE_BEGINS), b'~') => (PlainKeys::Pasted(0), None),
            (PlainKeys::Begun | PlainKeys::Sequence(_) | PlainKeys::Last, _) => (PlainKeys::Ground, None),
        };
        *self = next;
        pressed
    }

    /// The next byte of what is pasted; at its end it is said that there was something.
    fn pasted(&mut self, seen: usize, byte: u8) -> Option<Pressed> {
        let seen = match byte {
            _ if PASTE_END[seen] == byte => seen + 1,
            0x1b => 1,
            _ => 0,
        };
        let ended = seen == PASTE_END.len();
        *self = if ended { PlainKeys::Ground } else { PlainKeys::Pasted(seen) };
        ended.then_some(Pressed::Paste)
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
        let cases: [(&[u8], &[u8]); 13] = [
            (b"1cq", b"1cq"),
            (b"\x1b[A\x1b[Cx", b"x"),
            (b"\x1b[1~\x1b[1;5C\x1b[15~1", b"1"),
            (b"\x1bOC\x1bOP2", b"2"),
            (b"\x1b[[C\x1b[[A3", b"3"),
            (b"\x1b\x1b[Dq", b"q"),
            (b"\x1b1", b"1"),
            (b"\x1b[200~1c\x1b[201~x", b"Px"),
            (b"\x1b[200~q\x1b[1~\x1b[20\x1b[201~1", b"P1"),
            (b"\x1b[200~never ends: 1q\x03", b""),
            (b"\x1b[1;200x\x1b[2000~\x1b[20;0~1", b"1"),
            (b"\x1b[201~2", b"2"),
            ("\u{e9}\u{3}".as_bytes(), "\u{e9}\u{3}".as_bytes()),
        ];
        for (typed, keys) in cases {
            let mut plain = PlainKeys::default();
            let named = |pressed| match pressed {
                Pressed::Key(key) => key,
                Pressed::Paste => b'P',
            };
            let taken: Vec<u8> = typed.iter().filter_map(|byte| plain.take(*byte)).map(named).collect();
            assert_eq!(taken, keys, "{typed:?}");
        }
    }
}
