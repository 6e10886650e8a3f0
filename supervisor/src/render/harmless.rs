//! What others wrote, made harmless for a terminal.
//!
//! An agent's text has no business with the terminal: every control character is shown as a picture of itself, so that
//! nothing hides and nothing moves. A command's output may have colours: of its escape sequences those for colours
//! (SGR) alone pass, whole, and all else is left out.

/// Characters of an escape sequence at most; longer ones are none.
const SEQUENCE_MAX: usize = 64;

/// An agent's text with line ends and tabs; other control characters, those that turn the direction of writing and those
/// that carry text nobody sees become visible.
pub fn harmless(text: &str) -> String {
    text.chars().filter(|one| *one != '\r').map(visible).collect()
}

/// The same on one line.
pub fn one_line(text: &str) -> String {
    harmless(text.trim_end()).replace(['\n', '\t'], " ")
}

fn visible(one: char) -> char {
    match one {
        '\n' | '\t' => one,
        '\u{0}'..='\u{1f}' => char::from_u32(0x2400 + u32::from(one)).unwrap_or(char::REPLACEMENT_CHARACTER),
        '\u{7f}' => '\u{2421}',
        other if is_hidden(other) => char::REPLACEMENT_CHARACTER,
        _ => one,
    }
}

/// C1 controls, marks of direction, annotations and tags.
fn is_hidden(one: char) -> bool {
    matches!(one,
        '\u{80}'..='\u{9f}' | '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{206f}'
        | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// JSON that is the same value and holds none of what [`harmless`] makes visible: such characters stand only in texts,
/// where they are written as escapes.
pub fn json_text(text: String) -> String {
    if !text.contains(|one| one == '\u{7f}' || is_hidden(one)) {
        return text;
    }
    let mut escaped = String::with_capacity(text.len());
    for one in text.chars() {
        if one == '\u{7f}' || is_hidden(one) {
            let mut units = [0_u16; 2];
            one.encode_utf16(&mut units).iter().for_each(|unit| escaped.push_str(&format!("\\u{unit:04x}")));
        } else {
            escaped.push(one);
        }
    }
    escaped
}

/// Lets the colours of a command's output pass, whatever pieces it comes in.
#[derive(Debug, Default)]
pub struct Colours {
    state: State,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Ground,
    /// Behind ESC.
    Escape,
    /// Behind ESC `[`, with what came since.
    Sequence(String),
    /// In a string of the terminal (a title, a link, a picture): up to its end, or that of the line.
    String,
}

impl Colours {
    /// The text without what does more than write and colour; without colours too where they are not wanted.
    pub fn pass(&mut self, text: &str, wanted: bool) -> String {
        let mut passed = String::with_capacity(text.len());
        for one in text.chars() {
            self.take(one, wanted, &mut passed);
        }
        passed
    }

    fn take(&mut self, one: char, wanted: bool, passed: &mut String) {
        self.state = match std::mem::take(&mut self.state) {
            State::Ground => ground(one, passed),
            State::Escape => match one {
                '[' => State::Sequence(String::new()),
                ']' | 'P' | 'X' | '^' | '_' => State::String,
                '\u{1b}' => State::Escape,
                // Intermediate characters, as in the choice of a character set.
                ' '..='/' => State::Escape,
                '\n' => ground(one, passed),
                _ => State::Ground,
            },
            State::Sequence(mut so_far) => match one {
                '0'..='?' | ' '..='/' if so_far.len() < SEQUENCE_MAX => {
                    so_far.push(one);
                    State::Sequence(so_far)
                }
                'm' if wanted
                    && so_far.bytes().all(|byte| byte.is_ascii_digit() || byte == b';' || byte == b':') =>
                {
                    passed.extend(["\u{1b}[", &so_far, "m"]);
                    State::Ground
                }
                '@'..='~' => State::Ground,
                _ => ground(one, passed),
            },
            State::String => match one {
                '\u{7}' | '\u{9c}' => State::Ground,
                // ESC \ ends it; any other begins something of its own.
                '\u{1b}' => State::Escape,
                '\n' => ground(one, passed),
                _ => State::String,
            },
        };
    }
}

fn ground(one: char, passed: &mut String) -> State {
    match one {
        '\u{1b}' => return State::Escape,
        '\u{9b}' => return State::Sequence(String::new()),
        '\u{90}' | '\u{98}' | '\u{9d}'..='\u{9f}' => return State::String,
        '\n' | '\t' | '\r' => passed.push(one),
        '\u{0}'..='\u{1f}' | '\u{7f}'..='\u{9f}' => {}
        _ => passed.push(one),
    }
    State::Ground
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agents_text_moves_and_hides_nothing() {
        let cases = [
            ("plain\n\ttext ✓", "plain\n\ttext ✓"),
            ("a\u{1b}[2Jb", "a␛[2Jb"),
            ("a\r\nb\rc", "a\nbc"),
            ("\u{1b}]0;title\u{7}", "␛]0;title␇"),
            ("\u{9b}31m\u{7f}\u{0}", "�31m␡␀"),
            ("safe\u{202e}evil\u{2066}", "safe�evil�"),
            ("a\u{61c}b\u{2028}c\u{e0041}d\u{fff9}", "a�b�c�d�"),
            ("👩\u{200d}👧 ä\u{308}", "👩\u{200d}👧 ä\u{308}"),
        ];
        for (given, shown) in cases {
            assert_eq!(harmless(given), shown, "{given:?}");
        }
        assert_eq!(one_line("two\nlines\t \n"), "two lines");
    }

    #[test]
    fn json_holds_nothing_that_a_terminal_takes_for_its_own() {
        let value = serde_json::json!({"a\u{9b}": "x\u{7f}\u{202e}\u{e0041}\u{1b}[2J ✓", "n": [1, null]});
        let text = json_text(value.to_string());
        assert_eq!(text.parse::<serde_json::Value>().expect("JSON"), value);
        assert!(!text.contains(|one: char| one.is_control() || is_hidden(one)), "{text:?}");
        assert!(text.contains(r"\u009b") && text.contains(r"\udb40\udc41") && text.contains('✓'), "{text}");
    }

    #[test]
    fn a_commands_output_keeps_its_colours_alone() {
        let cases = [
            ("\u{1b}[31mred\u{1b}[0m", "\u{1b}[31mred\u{1b}[0m"),
            ("\u{1b}[38;2;1;2;3mx\u{1b}[4:3m\u{1b}[m", "\u{1b}[38;2;1;2;3mx\u{1b}[4:3m\u{1b}[m"),
            ("a\u{1b}[2J\u{1b}[1;1H\u{1b}[?1049hb", "ab"),
            ("\u{1b}[>4;1mx", "x"),
            ("\u{1b}]0;title\u{7}b\u{1b}]8;;http://x\u{1b}\\link", "blink"),
            ("\u{1b}Pq#0\u{1b}\\c\u{1b}_x\u{9c}d", "cd"),
            ("\u{1b}]unended\nnext", "\nnext"),
            ("\u{1b}(0line\u{1b}c\u{1b}7e\u{8}\u{7}", "linee"),
            ("\u{9b}2Jx\u{9b}32my\u{85}", "x\u{1b}[32my"),
            ("\u{1b}[3\n1m", "\n1m"),
            ("50%\r100%\n", "50%\r100%\n"),
        ];
        for (given, shown) in cases {
            assert_eq!(Colours::default().pass(given, true), shown, "{given:?}");
            let mut pieces = Colours::default();
            let one_by_one: String = given.chars().map(|one| pieces.pass(&one.to_string(), true)).collect();
            assert_eq!(one_by_one, shown, "in pieces: {given:?}");
        }
        assert_eq!(Colours::default().pass("\u{1b}[31mred\u{1b}[0m", false), "red");
        let long = format!("\u{1b}[{}mx", "1;".repeat(SEQUENCE_MAX));
        assert!(!Colours::default().pass(&long, true).contains('\u{1b}'));
    }
}
