//! A prompt as a script. Pure.

/// Entries that one `count` says at most, and bytes that one `long` has at most.
const COUNT_MAX: u64 = 1_000_000;
const LONG_MAX: usize = 16 * 1024 * 1024;

/// One word with what belongs to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Word {
    /// See [`super::WORDS`], as for all of them.
    Say(String),
    Think(String),
    Plan(Vec<String>),
    Tool(String),
    Edit {
        path: String,
        old: String,
        new: String,
    },
    Permit(String),
    Read(String),
    Write {
        path: String,
        text: String,
    },
    Run(String),
    Sleep(u64),
    Count {
        to: u64,
        every_ms: u64,
    },
    Remember(String),
    Secret,
    Usage {
        used: u64,
        size: u64,
    },
    Junk,
    Long(usize),
    Stderr(String),
    Die(u8),
    Hang,
    Fail,
}

/// The words of a prompt. Where there is none that is known, the prompt is what is said; among known ones, what is no
/// word is said as it is.
pub fn parse(prompt: &str) -> Vec<Word> {
    let lines = prompt.split(['\n', ';']).map(str::trim).filter(|line| !line.is_empty());
    let words: Vec<(Option<Word>, &str)> = lines.map(|line| (word(line), line)).collect();
    if words.iter().all(|(word, _)| word.is_none()) {
        return vec![Word::Say(prompt.to_owned())];
    }
    words.into_iter().map(|(word, line)| word.unwrap_or_else(|| Word::Say(line.to_owned()))).collect()
}

fn word(line: &str) -> Option<Word> {
    let (name, rest) = split(line);
    let text = || (!rest.is_empty()).then(|| rest.to_owned());
    let number = |text: &str| text.parse::<u64>().ok();
    let (first, second) = split(rest);
    Some(match name {
        "say" => Word::Say(text()?),
        "think" => Word::Think(text()?),
        "plan" => Word::Plan(text()?.split('|').map(|entry| entry.trim().to_owned()).collect()),
        "tool" => Word::Tool(text()?),
        "edit" => {
            let (old, new) = second.split_once('|')?;
            Word::Edit { path: first.to_owned(), old: old.to_owned(), new: new.to_owned() }
        }
        "permit" => Word::Permit(text()?),
        "read" => Word::Read(text()?),
        "write" if !first.is_empty() => Word::Write { path: first.to_owned(), text: second.to_owned() },
        "run" => Word::Run(text()?),
        "sleep" => Word::Sleep(number(rest)?),
        "count" => {
            let every_ms = if second.is_empty() { 0 } else { number(second)? };
            Word::Count { to: number(first)?.min(COUNT_MAX), every_ms }
        }
        "remember" => Word::Remember(text()?),
        "secret" if rest.is_empty() => Word::Secret,
        "usage" => Word::Usage { used: number(first)?, size: number(second)? },
        "junk" if rest.is_empty() => Word::Junk,
        "long" => Word::Long(rest.parse::<usize>().ok()?.min(LONG_MAX)),
        "stderr" => Word::Stderr(text()?),
        "die" => Word::Die(rest.parse().ok()?),
        "hang" if rest.is_empty() => Word::Hang,
        "fail" if rest.is_empty() => Word::Fail,
        _ => return None,
    })
}

fn split(text: &str) -> (&str, &str) {
    let (first, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    (first, rest.trim_start())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_is_read_word_by_word() {
        let prompt = "say hello there; think  hm\nplan a | b;count 3 10;count 2;write a.txt some text;usage 5 100;\
            edit a.txt x y|z ;die 7;secret;;long 99999999999";
        let words = parse(prompt);
        assert_eq!(words[0], Word::Say("hello there".into()));
        assert_eq!(words[1], Word::Think("hm".into()));
        assert_eq!(words[2], Word::Plan(vec!["a".into(), "b".into()]));
        assert_eq!(words[3], Word::Count { to: 3, every_ms: 10 });
        assert_eq!(words[4], Word::Count { to: 2, every_ms: 0 });
        assert_eq!(words[5], Word::Write { path: "a.txt".into(), text: "some text".into() });
        assert_eq!(words[6], Word::Usage { used: 5, size: 100 });
        assert_eq!(words[7], Word::Edit { path: "a.txt".into(), old: "x y".into(), new: "z".into() });
        assert_eq!(words[8..], [Word::Die(7), Word::Secret, Word::Long(LONG_MAX)]);
    }

    #[test]
    fn what_is_no_script_is_echoed_whole_and_what_is_no_word_is_said() {
        for prompt in ["How are you; fine?", "sleep well", "hang on", "die 1000", ""] {
            assert_eq!(parse(prompt), [Word::Say(prompt.to_owned())]);
        }
        assert_eq!(parse("junk; what"), [Word::Junk, Word::Say("what".into())]);
    }
}
