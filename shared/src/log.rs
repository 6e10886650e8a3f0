//! Logs: JSON lines {ts, level, process, instance, msg} and the event's own fields, on stderr.
//!
//! The stderr of a child is a file opened for append by its parent, so one line is one write and lines of
//! several threads never mix. What may be logged is chosen by HOLDFAST_LOG (`info` by default), in the
//! syntax of tracing's `EnvFilter`.

use serde_json::{Map, Value};
use std::io::Write;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

/// Starts logging for this process; once, first thing in `main`. A second call changes nothing.
pub fn init(process: &str, instance: &str) {
    let filter = EnvFilter::try_from_env("HOLDFAST_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let lines = JsonLines { process: process.to_owned(), instance: instance.to_owned() };
    let _ = tracing_subscriber::registry().with(lines.with_filter(filter)).try_init();
}

struct JsonLines {
    process: String,
    instance: String,
}

impl<S: Subscriber> Layer<S> for JsonLines {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        let line = self.line(event, &jiff::Timestamp::now().to_string());
        // A log that cannot be written must not stop what it is about.
        let _ = std::io::stderr().lock().write_all(line.as_bytes());
    }
}

impl JsonLines {
    fn line(&self, event: &Event<'_>, timestamp: &str) -> String {
        let mut line = Map::new();
        line.insert("ts".into(), timestamp.into());
        line.insert("level".into(), event.metadata().level().as_str().to_ascii_lowercase().into());
        line.insert("process".into(), self.process.as_str().into());
        line.insert("instance".into(), self.instance.as_str().into());
        line.insert("msg".into(), "".into());
        event.record(&mut Fields(&mut line));
        let mut text = Value::Object(line).to_string();
        text.push('\n');
        text
    }
}

struct Fields<'a>(&'a mut Map<String, Value>);

impl Fields<'_> {
    fn set(&mut self, field: &Field, value: Value) {
        let name = if field.name() == "message" { "msg" } else { field.name() };
        self.0.insert(name.to_owned(), value);
    }
}

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.set(field, format!("{value:?}").into());
    }
    fn record_str(&mut self, field: &Field, value: &str) {
        self.set(field, value.into());
    }
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.set(field, value.into());
    }
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.set(field, value.into());
    }
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.set(field, value.into());
    }
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.set(field, value.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    struct Kept(JsonLines, Arc<Mutex<Vec<String>>>);

    impl<S: Subscriber> Layer<S> for Kept {
        fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
            self.1.lock().unwrap().push(self.0.line(event, "2026-01-01T00:00:00Z"));
        }
    }

    #[test]
    fn a_line_is_one_json_object_with_its_fields() {
        let kept = Arc::new(Mutex::new(Vec::new()));
        let lines = JsonLines { process: "sidecar".to_owned(), instance: "sc-1".to_owned() };
        let subscriber = tracing_subscriber::registry().with(Kept(lines, kept.clone()));
        tracing::subscriber::with_default(subscriber, || {
            tracing::warn!(pid = 7, what = "a\nb", "lost {}", "x")
        });
        let line: Value = serde_json::from_str(&kept.lock().unwrap()[0]).unwrap();
        assert_eq!(
            line,
            serde_json::json!({"ts": "2026-01-01T00:00:00Z", "level": "warn", "process": "sidecar",
                "instance": "sc-1", "msg": "lost x", "pid": 7, "what": "a\nb"})
        );
    }
}
