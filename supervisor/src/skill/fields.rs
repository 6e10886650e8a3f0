//! Fields taken out of a table one by one; what is wrong, missing or left over is remembered, all of it.

use super::{ENTRIES_MAX, TEXT_BYTES_MAX};
use std::collections::BTreeMap;
use toml::{Table, Value};

/// A table from which each field is taken once.
pub struct Fields {
    left: Table,
    mistakes: Vec<String>,
}

impl Fields {
    pub fn new(table: Table) -> Self {
        Self { left: table, mistakes: Vec::new() }
    }

    /// Every mistake; fields that nobody took are among them.
    pub fn end(self) -> Vec<String> {
        let unknown = self.left.keys().map(|name| format!("{name}: is no field of a manifest"));
        self.mistakes.into_iter().chain(unknown).collect()
    }

    pub fn mistake(&mut self, what: String) {
        self.mistakes.push(what);
    }

    /// A text that has to be there and may not be empty.
    pub fn text(&mut self, name: &str) -> Option<String> {
        if !self.left.contains_key(name) {
            self.mistake(format!("{name}: is missing"));
        }
        self.optional_text(name)
    }

    /// A text; empty ones are a mistake.
    pub fn optional_text(&mut self, name: &str) -> Option<String> {
        let value = self.left.remove(name)?;
        let text = self.checked(name, &value)?;
        if text.is_empty() {
            self.mistake(format!("{name}: is empty"));
        }
        Some(text)
    }

    /// A list of texts that has to be there with one at least.
    pub fn list(&mut self, name: &str) -> Option<Vec<String>> {
        if !self.left.contains_key(name) {
            self.mistake(format!("{name}: is missing"));
            return None;
        }
        let before = self.mistakes.len();
        let list = self.optional_list(name);
        if list.is_empty() && self.mistakes.len() == before {
            self.mistake(format!("{name}: is empty"));
        }
        Some(list)
    }

    /// A list of texts.
    pub fn optional_list(&mut self, name: &str) -> Vec<String> {
        match self.left.remove(name) {
            None => Vec::new(),
            Some(Value::Array(values)) => {
                self.bound(name, values.len());
                values.iter().filter_map(|value| self.checked(name, value)).collect()
            }
            Some(_) => {
                self.mistake(format!("{name}: is no list of texts"));
                Vec::new()
            }
        }
    }

    /// Texts by name.
    pub fn map(&mut self, name: &str) -> BTreeMap<String, String> {
        let table = self.taken_table(name);
        self.bound(name, table.len());
        let entries = table.into_iter().map(|(key, value)| {
            let text = self.checked(&format!("{name}.{key}"), &value).unwrap_or_default();
            (key, text)
        });
        entries.collect()
    }

    /// A table with fields of its own.
    pub fn table(&mut self, name: &str) -> Fields {
        Fields::new(self.taken_table(name))
    }

    /// A whole number in a range.
    pub fn number(&mut self, name: &str, low: u64, high: u64) -> Option<u64> {
        let value = self.left.remove(name)?;
        let number = value.as_integer().and_then(|number| u64::try_from(number).ok());
        match number.filter(|number| (low..=high).contains(number)) {
            Some(number) => Some(number),
            None => {
                self.mistake(format!("{name}: is {value}; allowed are whole numbers from {low} to {high}"));
                None
            }
        }
    }

    fn taken_table(&mut self, name: &str) -> Table {
        match self.left.remove(name) {
            None => Table::new(),
            Some(Value::Table(table)) => table,
            Some(_) => {
                self.mistake(format!("{name}: is no table"));
                Table::new()
            }
        }
    }

    fn checked(&mut self, name: &str, value: &Value) -> Option<String> {
        let Some(text) = value.as_str() else {
            self.mistake(format!("{name}: {value} is no text"));
            return None;
        };
        if text.contains('\0') {
            self.mistake(format!("{name}: holds a NUL byte"));
        }
        if text.len() > TEXT_BYTES_MAX {
            self.mistake(format!("{name}: is longer than {TEXT_BYTES_MAX} bytes"));
        }
        Some(text.to_owned())
    }

    fn bound(&mut self, name: &str, entries: usize) {
        if entries > ENTRIES_MAX {
            self.mistake(format!("{name}: has {entries} entries, at most {ENTRIES_MAX} are taken"));
        }
    }
}
