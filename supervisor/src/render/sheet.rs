//! A terminal's rows: text that goes on, and a block below it that is taken away before more text is written.
//!
//! Lines are broken here, at the width, so that the place of the cursor is known without asking the terminal. Where
//! what is known is wrong (a character that this terminal draws wider), a line breaks early or a cell is left over;
//! nothing that was written is written over.

use super::Place;
use crate::watch::{Line, Tone};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Cells from one tab stop to the next.
const TAB: usize = 8;
/// Bytes of colour sequences since the last reset that are kept to go on with; what is older has no effect any more in
/// any output that is sane.
const STYLE_BYTES_MAX: usize = 256;
/// A terminal so narrow is written to as if it were wider.
const WIDTH_LEAST: usize = 10;

/// The sheet.
#[derive(Debug)]
pub struct Sheet {
    width: usize,
    colours: bool,
    out: String,
    /// Cells written in the row where text goes on.
    column: usize,
    /// Rows of the block on the screen; the cursor is at the end of the last.
    rows: usize,
    block: Vec<Line>,
    /// A carriage return came: what is written next replaces the row.
    restart: bool,
    /// The output's own colours, as they are now.
    style: String,
}

impl Sheet {
    /// An empty one.
    pub fn new(place: Place) -> Self {
        let (width, colours) = match place {
            Place::Live { width, colours, .. } => (width, colours),
            Place::Plain { .. } => (usize::MAX, false),
        };
        Self {
            width: width.max(WIDTH_LEAST),
            colours,
            out: String::new(),
            column: 0,
            rows: 0,
            block: Vec::new(),
            restart: false,
            style: String::new(),
        }
    }

    /// Another size: the block is drawn anew where it began, or, where the terminal has become narrower and broke its
    /// lines in a way of its own, where the cursor is now.
    pub fn resized(&mut self, width: usize) {
        let before = std::mem::replace(&mut self.width, width.max(WIDTH_LEAST));
        if self.rows > 0 {
            if self.rows > 1 && self.width >= before {
                self.out.push_str(&format!("\x1b[{}A", self.rows - 1));
            }
            self.out.push_str("\r\x1b[J");
            (self.rows, self.column) = (0, 0);
        }
        self.block.clear();
    }

    /// Text, with its own line ends, tabs, carriage returns and colours.
    pub fn text(&mut self, tone: Tone, text: &str) {
        if text.is_empty() {
            return;
        }
        self.erase();
        let toned = self.colours && !tone.colour().is_empty();
        if toned {
            self.out.push_str(&format!("\x1b[{}m", tone.colour()));
        } else if tone == Tone::Plain {
            self.out.push_str(&self.style);
        }
        let mut rest = text.chars();
        while let Some(one) = rest.next() {
            match one {
                '\u{1b}' => self.colour(&mut rest),
                other => self.put(other),
            }
        }
        if toned || !self.style.is_empty() {
            self.out.push_str("\x1b[0m");
        }
    }

    /// Goes to the beginning of a line, where it is not there.
    pub fn end_line(&mut self) {
        if self.column > 0 || self.restart {
            self.style.clear();
            self.text(Tone::Plain, "\n");
        }
    }

    /// What is to be written: all since the last time, and the block below.
    pub fn take(&mut self, block: Vec<Line>) -> String {
        let block: Vec<Line> = block.into_iter().map(|line| cut(line, self.width)).collect();
        if block != self.block || (self.rows == 0 && !block.is_empty()) {
            self.erase();
            self.draw(&block);
            self.block = block;
        }
        std::mem::take(&mut self.out)
    }

    /// A sequence of the output's own; only colours come here.
    fn colour(&mut self, rest: &mut std::str::Chars<'_>) {
        let mut sequence = String::from("\x1b");
        for one in rest.by_ref() {
            sequence.push(one);
            if one.is_ascii_alphabetic() {
                break;
            }
        }
        if !self.colours {
            return;
        }
        if sequence == "\x1b[m" || sequence == "\x1b[0m" || self.style.len() > STYLE_BYTES_MAX {
            self.style.clear();
        }
        self.out.push_str(&sequence);
        if sequence != "\x1b[m" && sequence != "\x1b[0m" {
            self.style.push_str(&sequence);
        }
    }

    fn put(&mut self, one: char) {
        match one {
            '\r' => return self.restart = true,
            '\n' => {
                self.out.push('\n');
                self.column = 0;
                return self.restart = false;
            }
            _ => {}
        }
        if std::mem::take(&mut self.restart) && self.column > 0 {
            self.out.push_str("\r\x1b[K");
            self.column = 0;
        }
        if one == '\t' {
            let cells = (TAB - self.column % TAB).min(self.width.saturating_sub(self.column)).max(1);
            (0..cells).for_each(|_| self.cell(' ', 1));
        } else {
            self.cell(one, one.width().unwrap_or(0));
        }
    }

    fn cell(&mut self, one: char, width: usize) {
        if self.column + width > self.width {
            self.out.push('\n');
            self.column = 0;
        }
        self.out.push(one);
        self.column += width;
    }

    /// Takes the block away; the cursor is where the text goes on.
    fn erase(&mut self) {
        if self.rows == 0 {
            return;
        }
        if self.rows > 1 {
            self.out.push_str(&format!("\x1b[{}A", self.rows - 1));
        }
        self.out.push_str("\r\x1b[J");
        if self.column > 0 {
            self.out.push_str(&format!("\x1b[1A\x1b[{}G", self.column + 1));
        }
        self.rows = 0;
        self.block.clear();
    }

    fn draw(&mut self, block: &[Line]) {
        for (at, line) in block.iter().enumerate() {
            if at > 0 || self.column > 0 {
                self.out.push('\n');
            }
            self.out.push_str(&if self.colours { line.coloured() } else { line.text() });
        }
        self.rows = block.len();
    }
}

/// No more than so many cells, one less than the width: the cursor then stays in the row.
fn cut(line: Line, width: usize) -> Line {
    let text = line.text();
    if text.width() < width {
        return line;
    }
    let mut cells = 0;
    let fits = text.chars().take_while(|one| {
        cells += one.width().unwrap_or(0);
        cells < width
    });
    let count = fits.count();
    line.cut(count)
}
