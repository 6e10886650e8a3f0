//! What an agent says while its turn runs.

use super::harmless::{harmless, one_line};
use super::speech::Flow;
use super::tool::Tool;
use super::words::{content, said, text};
use super::{Place, Renderer};
use crate::watch::Tone;
use serde_json::Value;

impl Renderer {
    pub(super) fn update(&mut self, update: &Value) {
        match said(&update["sessionUpdate"]) {
            "agent_message_chunk" => self.chunk(Flow::Text, &update["content"]),
            "agent_thought_chunk" => self.chunk(Flow::Thought, &update["content"]),
            "user_message_chunk" => self.mark(Tone::Busy, &format!("> {}", content(&update["content"]))),
            "tool_call" | "tool_call_update" => {
                if let Some(gone) = self.tools.take(update) {
                    self.tool(&gone);
                }
                self.tool_now(said(&update["toolCallId"]));
            }
            "plan" => self.planned(update),
            "usage_update" => self.usage = update["used"].as_u64().zip(update["size"].as_u64()),
            "current_mode_update" => {
                self.mode = Some(one_line(&text(&update["currentModeId"])));
                self.mark(Tone::Quiet, &format!("mode: {}", text(&update["currentModeId"])));
            }
            // What an agent offers, not what it does.
            "available_commands_update" | "config_option_update" | "session_info_update" => {}
            kind => self.mark(Tone::Quiet, &format!("({kind})")),
        }
    }

    fn chunk(&mut self, flow: Flow, said: &Value) {
        let tone = if flow == Flow::Thought { Tone::Quiet } else { Tone::Plain };
        self.speech.say(flow, tone, &harmless(&content(said)));
    }

    /// Shows a tool call that has come to its end, or in a plain place every change of its state.
    fn tool_now(&mut self, id: &str) {
        if let Some(ended) = self.tools.ended(id) {
            self.tool(&ended);
        } else if matches!(self.place, Place::Plain { .. })
            && let Some(tool) = self.tools.changed(id)
        {
            self.tool(&tool);
        }
    }

    pub(super) fn tool(&mut self, tool: &Tool) {
        self.mark(tool.tone(), &tool.line());
        for diff in &tool.diffs {
            for (tone, line) in diff.lines() {
                self.mark(tone, &format!("  {line}"));
            }
        }
    }

    fn planned(&mut self, update: &Value) {
        if self.plan.take(update) && matches!(self.place, Place::Plain { .. }) {
            self.say_plan();
        }
    }

    pub(super) fn say_plan(&mut self) {
        self.plan.lines().iter().for_each(|line| self.mark(Tone::Plain, line));
    }
}
