//! Values of events as words.

use serde_json::Value;

/// What an agent said of its tokens, in the seal of a turn.
pub fn usage_of(usage: &Value) -> Option<(u64, u64)> {
    let used = ["used", "total_tokens"].iter().find_map(|name| usage[*name].as_u64())?;
    Some((used, usage["size"].as_u64().unwrap_or(0)))
}

/// So many of so many; a context of 0 is one that is not known.
pub fn tokens(used: u64, size: u64) -> String {
    if size > 0 { format!("{used} of {size} tokens") } else { format!("{used} tokens") }
}

/// A content block as text.
pub fn content(content: &Value) -> String {
    match said(&content["type"]) {
        "text" => text(&content["text"]),
        "resource" => format!("[{}]", text(&content["resource"]["uri"])),
        "resource_link" => format!("[{}]", text(&content["uri"])),
        kind => format!("[{kind}]"),
    }
}

/// A text, or nothing.
pub fn said(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// A text, or whatever it is as JSON.
pub fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
