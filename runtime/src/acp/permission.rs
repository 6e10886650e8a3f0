//! `session/request_permission`: what is asked, and by which answers it can be answered.

use crate::acp::answer::Refusal;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

/// Answers that an agent may offer; with more the request is refused.
pub const OPTIONS_MAX: usize = 64;
/// Bytes of an option's id; with a longer one the request is refused. The one chosen is journaled.
pub const OPTION_ID_BYTES_MAX: usize = 1024;

/// One of the answers that the agent offers.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PermissionOption {
    /// Names it in the answer.
    pub option_id: String,
    /// For people.
    #[serde(default)]
    pub name: String,
    /// `allow_once`, `allow_always`, `reject_once`, `reject_always`, or what a later version adds.
    #[serde(default)]
    pub kind: String,
}

/// A request for permission.
#[derive(Clone, Debug, PartialEq)]
pub struct Permission {
    /// The ACP tool call it is about, as it was written.
    pub tool_call: Value,
    /// In the agent's order, each named once.
    pub options: Vec<PermissionOption>,
}

/// The parameters as they were written, for what is passed on.
#[derive(Deserialize)]
pub(super) struct RawPermission<'a> {
    #[serde(borrow, rename = "toolCall")]
    pub(super) tool_call: &'a RawValue,
    #[serde(borrow)]
    pub(super) options: &'a RawValue,
}

impl Permission {
    /// Reads the parameters of the request.
    ///
    /// # Errors
    /// With what is wrong: no tool call, no options, an option without a name of its own.
    pub fn read(params: &Value) -> Result<Self, Refusal> {
        let tool_call = params.get("toolCall").filter(|call| call.is_object());
        let tool_call = tool_call.ok_or_else(|| Refusal::invalid("toolCall is not an object"))?.clone();
        let options = params.get("options").ok_or_else(|| Refusal::invalid("options are missing"))?;
        Ok(Self { tool_call, options: read_options(options)? })
    }

    /// The option of this name.
    pub fn option(&self, option_id: &str) -> Option<&PermissionOption> {
        self.options.iter().find(|option| option.option_id == option_id)
    }
}

impl<'a> RawPermission<'a> {
    /// Reads what [`Permission::read`] would read, and nothing else.
    pub(super) fn read(params: &'a RawValue) -> Option<Self> {
        // serde would read an array as the members in order.
        let raw: RawPermission<'a> =
            params.get().starts_with('{').then(|| serde_json::from_str(params.get()).ok())??;
        let options: Value = serde_json::from_str(raw.options.get()).ok()?;
        (raw.tool_call.get().starts_with('{') && read_options(&options).is_ok()).then_some(raw)
    }
}

fn read_options(options: &Value) -> Result<Vec<PermissionOption>, Refusal> {
    let options = options.as_array().ok_or_else(|| Refusal::invalid("options are not an array"))?;
    if options.is_empty() || options.len() > OPTIONS_MAX {
        return Err(Refusal::invalid(&format!("{} options, from 1 to {OPTIONS_MAX} can be", options.len())));
    }
    let mut read: Vec<PermissionOption> = Vec::with_capacity(options.len());
    for option in options {
        let option = Some(option).filter(|option| option.is_object());
        let option = option.and_then(|option| PermissionOption::deserialize(option).ok());
        let option = option.ok_or_else(|| Refusal::invalid("an option has no optionId"))?;
        if option.option_id.len() > OPTION_ID_BYTES_MAX {
            return Err(Refusal::invalid("an optionId is too long"));
        }
        if read.iter().any(|other| other.option_id == option.option_id) {
            return Err(Refusal::invalid("two options have the same optionId"));
        }
        read.push(option);
    }
    Ok(read)
}

/// The result that says which option was picked.
pub fn selected(option_id: &str) -> Value {
    json!({"outcome": {"outcome": "selected", "optionId": option_id}})
}

/// The result that says that the turn was cancelled before anyone answered.
pub fn cancelled() -> Value {
    json!({"outcome": {"outcome": "cancelled"}})
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::acp::code;

    #[test]
    fn an_option_is_found_by_its_id_alone() {
        let options = json!([
            {"optionId": "allow", "name": "Allow", "kind": "allow_once", "later": 1},
            {"optionId": "never"},
        ]);
        let permission =
            Permission::read(&json!({"toolCall": {"toolCallId": "c"}, "options": options})).unwrap();
        assert_eq!(permission.tool_call, json!({"toolCallId": "c"}));
        assert_eq!(permission.option("allow").unwrap().kind, "allow_once");
        assert_eq!(permission.option("never").unwrap().name, "");
        for unknown in ["", "Allow", "allow ", "ALLOW", "0"] {
            assert_eq!(permission.option(unknown), None, "{unknown}");
        }
    }

    #[test]
    fn a_request_that_cannot_be_answered_is_refused_and_says_why() {
        let of = |params: Value| Permission::read(&params).unwrap_err();
        assert_eq!(of(json!({"options": []})).message, "invalid params: toolCall is not an object");
        assert_eq!(of(json!({"toolCall": {}})).message, "invalid params: options are missing");
        assert_eq!(of(json!({"toolCall": {}, "options": {}})).code, code::INVALID_PARAMS);
        let none = of(json!({"toolCall": {}, "options": []}));
        assert_eq!(none.message, "invalid params: 0 options, from 1 to 64 can be");
        assert_eq!(of(Value::Null).code, code::INVALID_PARAMS);
    }

    #[test]
    fn outcomes_are_as_the_protocol_has_them() {
        assert_eq!(selected("a"), json!({"outcome": {"outcome": "selected", "optionId": "a"}}));
        assert_eq!(cancelled(), json!({"outcome": {"outcome": "cancelled"}}));
    }
}
