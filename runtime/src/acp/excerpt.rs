//! What is short in a report of a tool call that is too long to be shown: without it the call would never end for people.

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use std::collections::BTreeMap;

/// Fields that are kept: what is called so elsewhere may hold anything.
const KEPT: [&str; 6] = ["sessionUpdate", "toolCallId", "title", "kind", "status", "locations"];
/// Bytes of a field that is kept; six of them are far below what is shown.
const FIELD_BYTES_MAX: usize = 16 * 1024;

/// The fields of a `tool_call` or `tool_call_update` that are short, as they were written; `None` of another update, and of
/// one whose call cannot be named.
pub(super) fn excerpt(update: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Fields<'a>(#[serde(borrow)] BTreeMap<String, &'a RawValue>);
    let Fields(fields) = serde_json::from_str(update).ok()?;
    let text = |name: &str| fields.get(name).and_then(|json| serde_json::from_str::<Value>(json.get()).ok());
    let kind = text("sessionUpdate")?;
    let is_report = ["tool_call", "tool_call_update"].iter().any(|report| kind == *report);
    let short = |name: &&str| fields.get(*name).filter(|json| json.get().len() <= FIELD_BYTES_MAX);
    if !is_report || short(&"toolCallId").is_none() {
        return None;
    }
    let kept = KEPT.iter().filter_map(|name| Some(format!("\"{name}\":{}", short(name)?.get())));
    Some(format!("{{{}}}", kept.collect::<Vec<String>>().join(",")))
}
