//! A line of the screen: pieces of text in tones, cut to a width.

/// How a piece is meant; a terminal shows it as a colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// Ordinary.
    Plain,
    /// A heading.
    Strong,
    /// Beside the point.
    Quiet,
    /// As it should be.
    Good,
    /// Under way.
    Busy,
    /// Worth a look.
    Warn,
    /// Wrong.
    Bad,
}

impl Tone {
    /// The code of the terminal's colour; empty: none.
    pub fn colour(self) -> &'static str {
        match self {
            Tone::Plain => "",
            Tone::Strong => "1",
            Tone::Quiet => "2",
            Tone::Good => "32",
            Tone::Busy => "36",
            Tone::Warn => "33",
            Tone::Bad => "31",
        }
    }
}

/// One line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Line {
    pieces: Vec<(Tone, String)>,
}

impl Line {
    /// A line of one piece.
    pub fn of(tone: Tone, text: impl Into<String>) -> Self {
        Self::default().and(tone, text)
    }

    /// The same with one more piece. What would move the cursor or change the terminal becomes `?`.
    #[must_use]
    pub fn and(mut self, tone: Tone, text: impl Into<String>) -> Self {
        let text = text.into().chars().map(|one| if one.is_control() { '?' } else { one }).collect();
        self.pieces.push((tone, text));
        self
    }

    /// No more than so many characters.
    #[must_use]
    pub fn cut(self, width: usize) -> Self {
        let mut left = width;
        let pieces = self.pieces.into_iter().map(|(tone, text)| {
            let text: String = text.chars().take(left).collect();
            left -= text.chars().count();
            (tone, text)
        });
        Self { pieces: pieces.filter(|(_, text)| !text.is_empty()).collect() }
    }

    /// The text alone.
    pub fn text(&self) -> String {
        self.pieces.iter().map(|(_, text)| text.as_str()).collect()
    }

    /// The text with the terminal's colours.
    pub fn coloured(&self) -> String {
        let piece = |(tone, text): &(Tone, String)| match tone.colour() {
            "" => text.clone(),
            colour => format!("\x1b[{colour}m{text}\x1b[0m"),
        };
        self.pieces.iter().map(piece).collect()
    }
}
