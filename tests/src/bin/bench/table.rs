//! Results: rows of named figures, for people and for programs.

use hdrhistogram::Histogram;
use serde_json::{Map, Value, json};

/// A titled table; all rows have the same columns.
#[derive(Debug, Default)]
pub struct Table {
    title: String,
    figures: Vec<(&'static str, f64)>,
    rows: Vec<(String, Vec<(String, f64)>)>,
    notes: Vec<String>,
}

impl Table {
    /// An empty table.
    pub fn new(title: impl Into<String>) -> Table {
        Table { title: title.into(), ..Table::default() }
    }

    /// Adds a row.
    pub fn row(&mut self, name: impl Into<String>, figures: &[(&str, f64)]) {
        self.rows.push((
            name.into(),
            figures.iter().map(|(name, figure)| ((*name).to_owned(), *figure)).collect(),
        ));
    }

    /// Adds a row of a distribution of microseconds, shown in milliseconds.
    pub fn distribution(&mut self, name: impl Into<String>, microseconds: &Histogram<u64>) {
        let at = |quantile: f64| microseconds.value_at_quantile(quantile) as f64 / 1000.0;
        let figures = [
            ("n", microseconds.len() as f64),
            ("p50 ms", at(0.5)),
            ("p90 ms", at(0.9)),
            ("p99 ms", at(0.99)),
            ("max ms", microseconds.max() as f64 / 1000.0),
        ];
        self.row(name, &figures);
    }

    /// Adds a figure that programs read beside the rows.
    pub fn figure(&mut self, name: &'static str, figure: f64) {
        self.figures.push((name, figure));
    }

    /// Adds a line below the table.
    pub fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    /// Prints it.
    pub fn print(&self, as_json: bool) {
        if as_json {
            println!("{}", self.json());
            return;
        }
        println!("{}", self.title);
        if let Some((_, figures)) = self.rows.first() {
            let heads: Vec<String> = figures.iter().map(|(name, _)| format!("{name:>14}")).collect();
            println!("{:<44}{}", "", heads.concat());
        }
        for (name, figures) in &self.rows {
            let figures: Vec<String> = figures.iter().map(|(_, figure)| format!("{figure:>14.2}")).collect();
            println!("{name:<44}{}", figures.concat());
        }
        self.notes.iter().for_each(|note| println!("{note}"));
    }

    fn json(&self) -> Value {
        let rows: Vec<Value> = self
            .rows
            .iter()
            .map(|(name, figures)| {
                let mut row: Map<String, Value> =
                    figures.iter().map(|(name, figure)| (name.clone(), json!(figure))).collect();
                row.insert("name".into(), json!(name));
                Value::Object(row)
            })
            .collect();
        let mut json = json!({"title": self.title, "rows": rows, "notes": self.notes});
        self.figures.iter().for_each(|(name, figure)| json[*name] = json!(figure));
        json
    }
}

/// A histogram of microseconds up to a minute.
pub fn microseconds() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 60_000_000, 3).expect("these bounds are valid")
}
