//! Prometheus' text exposition format, version 0.0.4.

use super::Histogram;
use std::fmt::{Display, Write};

/// The content type of what is written here.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What a family's samples are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Goes up only, from 0 at the supervisor's start.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Observations in buckets.
    Histogram,
}

/// The text, made family by family.
#[derive(Debug, Default)]
pub struct Exposition {
    text: String,
    family: &'static str,
}

impl Exposition {
    /// Begins a family; the samples that follow are its own.
    pub fn family(&mut self, name: &'static str, kind: Kind, help: &str) {
        self.family = name;
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        self.line(format_args!("# HELP {name} {help}"));
        self.line(format_args!("# TYPE {name} {kind}"));
    }

    /// One sample.
    pub fn sample(&mut self, labels: &[(&str, &str)], value: impl Display) {
        let family = self.family;
        self.line(format_args!("{family}{} {value}", Labels(labels)));
    }

    /// One sample, where it is known.
    pub fn optional(&mut self, labels: &[(&str, &str)], value: Option<impl Display>) {
        if let Some(value) = value {
            self.sample(labels, value);
        }
    }

    /// The samples of a histogram.
    pub fn histogram(&mut self, labels: &[(&str, &str)], histogram: &Histogram) {
        let family = self.family;
        for (bound, count) in histogram.cumulative() {
            let bound = bound.map_or_else(|| "+Inf".to_owned(), |bound| bound.to_string());
            let all: Vec<(&str, &str)> = labels.iter().copied().chain([("le", bound.as_str())]).collect();
            self.line(format_args!("{family}_bucket{} {count}", Labels(&all)));
        }
        self.line(format_args!("{family}_sum{} {}", Labels(labels), histogram.sum_seconds()));
        self.line(format_args!("{family}_count{} {}", Labels(labels), histogram.count()));
    }

    /// The whole text.
    pub fn finish(self) -> String {
        self.text
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        // Writing into a string cannot fail.
        let _ = writeln!(self.text, "{line}");
    }
}

struct Labels<'a>(&'a [(&'a str, &'a str)]);

impl Display for Labels<'_> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (at, (name, value)) in self.0.iter().enumerate() {
            let before = if at == 0 { '{' } else { ',' };
            write!(out, "{before}{name}=\"{}\"", escaped(value))?;
        }
        if self.0.is_empty() { Ok(()) } else { out.write_char('}') }
    }
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_escaped() {
        let mut out = Exposition::default();
        out.family("x", Kind::Gauge, "Help.");
        out.sample(&[("a", "1"), ("b", "\"\\\n")], 0.5);
        out.optional(&[], None::<u64>);
        assert_eq!(out.finish(), "# HELP x Help.\n# TYPE x gauge\nx{a=\"1\",b=\"\\\"\\\\\\n\"} 0.5\n");
    }
}
