//! A browser: what it asked, and what it must get.

use super::CHANNELS;
use holdfast_sidecar::session::SessionId;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

#[derive(Default)]
pub struct Browser {
    pub session: Option<SessionId>,
    pub next: u32,
    /// Subscribe commands without a reply: number, channel.
    pub subscribing: BTreeMap<u32, usize>,
    pub unsubscribing: BTreeMap<u32, usize>,
    /// Last offset and epoch by channel.
    pub at: BTreeMap<usize, (u64, String)>,
    pub commands: BTreeSet<u32>,
    pub answered: BTreeSet<u32>,
}

impl Browser {
    pub fn line(&mut self, line: Value) {
        let push = &line["push"];
        if push.is_object() {
            let channel = CHANNELS.iter().position(|name| *name == push["channel"]).unwrap();
            if push["unsubscribe"].is_object() {
                assert!(self.at.remove(&channel).is_some(), "only what is subscribed to is ended");
            } else {
                self.publication(channel, &push["pub"]);
            }
            return;
        }
        let Some(id) = line["id"].as_u64() else { return assert_eq!(line, json!({})) };
        let id = u32::try_from(id).unwrap();
        if let Some(channel) = self.subscribing.remove(&id) {
            let reply = &line["subscribe"];
            if let Some(offset) = reply["offset"].as_u64() {
                self.at.insert(channel, (offset, reply["epoch"].as_str().unwrap().to_owned()));
                for publication in reply["publications"].as_array().into_iter().flatten() {
                    self.publication(channel, publication);
                }
            } else {
                assert_eq!(line["error"]["temporary"], json!(true), "{line}");
            }
        } else if let Some(channel) = self.unsubscribing.remove(&id) {
            self.at.remove(&channel);
        } else if self.commands.contains(&id) {
            assert!(self.answered.insert(id), "answered twice: {line}");
        }
    }

    fn publication(&mut self, channel: usize, publication: &Value) {
        let (at, _) = self.at.get_mut(&channel).unwrap_or_else(|| panic!("not subscribed: {publication}"));
        assert_eq!(publication["offset"], json!(*at + 1), "the next of {}", CHANNELS[channel]);
        assert_eq!(publication["data"]["n"], json!(*at + 1), "the event of this offset");
        *at += 1;
    }
}
