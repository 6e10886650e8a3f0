//! What one client saw, counted as it comes, and the four numbers of all. Pure.

use serde_json::Value;
use std::time::Duration;

/// One client's count.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// The last offset.
    pub offset: u64,
    /// The last number the command printed.
    pub line: u64,
    /// Connections that ended.
    pub dropped: u64,
    /// Events or lines that were skipped.
    pub lost: u64,
    /// Events or lines that came again.
    pub duplicated: u64,
    /// The turn's end was seen.
    pub sealed: bool,
    /// When the last event came, since the beginning.
    pub last_at: Option<Duration>,
    /// Longest time between two events.
    pub longest_gap: Duration,
}

impl Tally {
    /// Counts an event that came at `at`.
    pub fn event(&mut self, offset: u64, data: &Value, at: Duration) {
        match offset {
            offset if offset <= self.offset => self.duplicated += 1,
            offset => self.lost += offset - self.offset - 1,
        }
        self.offset = self.offset.max(offset);
        if let Some(last) = self.last_at.replace(at) {
            self.longest_gap = self.longest_gap.max(at.saturating_sub(last));
        }
        match data["type"].as_str() {
            Some("turn.output") => self.text(data["text"].as_str().unwrap_or_default()),
            Some("turn.sealed") => self.sealed = true,
            _ => {}
        }
    }

    /// The command prints one number a line, and each line at once.
    fn text(&mut self, text: &str) {
        for number in text.lines().filter_map(|line| line.parse::<u64>().ok()) {
            match number {
                number if number <= self.line => self.duplicated += 1,
                number => self.lost += number - self.line - 1,
            }
            self.line = self.line.max(number);
        }
    }

    /// Starts to look for the longest gap anew, from the last event on.
    pub fn forget_gap(&mut self) {
        self.longest_gap = Duration::ZERO;
    }
}

/// The four numbers, and what they were taken from.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Total {
    /// Clients.
    pub clients: usize,
    /// Events each should have seen.
    pub events: u64,
    /// Connections dropped.
    pub connections_dropped: u64,
    /// Events lost.
    pub events_lost: u64,
    /// Events duplicated.
    pub events_duplicated: u64,
    /// Longest gap that any client saw, milliseconds.
    pub longest_gap_ms: u64,
}

impl Total {
    /// Adds up; events that a client has not seen although the turn has ended are lost.
    pub fn of(tallies: &[Tally], longest_gap: Duration) -> Self {
        let events = tallies.iter().map(|tally| tally.offset).max().unwrap_or(0);
        let missing =
            |tally: &Tally| (events - tally.offset) + u64::from(!tally.sealed && tally.offset == events);
        Self {
            clients: tallies.len(),
            events,
            connections_dropped: tallies.iter().map(|tally| tally.dropped).sum(),
            events_lost: tallies.iter().map(|tally| tally.lost + missing(tally)).sum(),
            events_duplicated: tallies.iter().map(|tally| tally.duplicated).sum(),
            longest_gap_ms: u64::try_from(longest_gap.as_millis()).unwrap_or(u64::MAX),
        }
    }

    /// Nothing dropped, lost or doubled.
    pub fn is_fine(&self) -> bool {
        self.events > 0 && (self.connections_dropped, self.events_lost, self.events_duplicated) == (0, 0, 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn output(text: &str) -> Value {
        json!({"type": "turn.output", "turn": "t1", "stream": "stdout", "text": text})
    }

    fn at(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    #[test]
    fn holes_and_repeats_are_counted_by_offset_and_by_line() {
        let mut tally = Tally::default();
        tally.event(1, &json!({"type": "turn.started"}), at(0));
        tally.event(2, &output("1\n2\n"), at(5));
        tally.event(3, &output("4\n"), at(25));
        tally.event(3, &output("4\n"), at(30));
        tally.event(6, &json!({"type": "turn.sealed"}), at(31));
        assert_eq!((tally.lost, tally.duplicated), (1 + 2, 2));
        assert_eq!(tally.longest_gap, at(20));
        assert!(tally.sealed);
    }

    #[test]
    fn who_did_not_see_the_end_has_lost_it() {
        let mut whole = Tally::default();
        (1..=3).for_each(|offset| whole.event(offset, &Value::Null, at(offset)));
        whole.sealed = true;
        let mut short = Tally::default();
        short.event(1, &Value::Null, at(1));
        let total = Total::of(&[whole.clone(), short], at(9));
        assert_eq!((total.events_lost, total.is_fine()), (2, false));
        assert!(Total::of(&[whole], at(9)).is_fine());
        assert!(!Total::of(&[Tally::default()], at(9)).is_fine(), "nothing seen is not fine");
    }
}
