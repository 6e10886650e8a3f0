//! What a client saw, checked as it comes: offsets without a gap or a repeat, epochs that stay.

use super::{Since, Wanted};
use serde_json::Value;
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Everything one client saw.
#[derive(Debug, Default)]
pub struct Observed {
    /// Times a connection was established.
    pub connects: u32,
    /// Why connections ended, each time one did.
    pub disconnects: Vec<String>,
    /// Whether a connection is established now.
    pub connected: bool,
    /// By name.
    pub channels: BTreeMap<String, Channel>,
    /// What should never come: frames that mean nothing, replies to nothing.
    pub violations: Vec<String>,
}

/// One subscribed channel.
#[derive(Debug)]
pub struct Channel {
    /// Where the first subscription began.
    pub since: Since,
    /// Whether every event's data is kept.
    keep_data: bool,
    /// Subscribed on the present connection.
    pub subscribed: bool,
    /// Epoch of the channel, once known.
    pub epoch: String,
    /// Offset of the last event taken (or of the top at subscription, for [`Since::Now`]).
    pub offset: u64,
    /// Offset before the first event taken.
    pub base: u64,
    /// Top that the last subscribe reply named.
    pub top: u64,
    /// Digest of each event's data, in order, whatever the order of its fields was.
    pub digests: Vec<u64>,
    /// The events' data, when kept.
    pub events: Vec<Value>,
    /// Gaps, repeats, changed epochs, failed recoveries.
    pub violations: Vec<String>,
    /// Unsubscribed by the server: code and reason.
    pub unsubscribes: Vec<String>,
    /// Longest time between two events, and when the last one came.
    pub longest_gap: Duration,
    /// When the longest one began.
    pub longest_gap_at: Option<Instant>,
    last_at: Option<Instant>,
    /// When the first event came since gaps were last forgotten.
    pub first_at: Option<Instant>,
    /// When each kept event came, in microseconds since the Unix epoch.
    came_at: Vec<u64>,
}

impl Observed {
    pub(crate) fn new(wanted: &Wanted) -> Self {
        let channels = wanted
            .channels
            .iter()
            .map(|(name, since)| (name.clone(), Channel::new(*since, wanted.keep_data)))
            .collect();
        Self { channels, ..Self::default() }
    }

    /// Connected, and every channel subscribed.
    pub fn is_ready(&self) -> bool {
        self.connected && self.channels.values().all(|channel| channel.subscribed)
    }

    /// The channel of this name.
    ///
    /// # Panics
    /// When it was not asked for.
    pub fn channel(&self, name: &str) -> &Channel {
        self.channels.get(name).unwrap_or_else(|| panic!("{name} was not asked for"))
    }

    /// Whatever should not have happened, over all channels.
    pub fn complaints(&self) -> Vec<String> {
        let of_channels = self.channels.iter().flat_map(|(name, channel)| {
            channel.violations.iter().chain(&channel.unsubscribes).map(move |text| format!("{name}: {text}"))
        });
        self.violations.iter().cloned().chain(of_channels).collect()
    }

    /// One line for messages.
    pub fn summary(&self) -> String {
        let channels: Vec<String> = self
            .channels
            .iter()
            .map(|(name, channel)| {
                format!("{name}: offset {} subscribed {}", channel.offset, channel.subscribed)
            })
            .collect();
        format!(
            "connected {} connects {} disconnects {:?}; {}; complaints {:?}",
            self.connected,
            self.connects,
            self.disconnects,
            channels.join(", "),
            self.complaints()
        )
    }

    pub(crate) fn disconnected(&mut self, reason: String) {
        self.connected = false;
        self.disconnects.push(reason);
        self.channels.values_mut().for_each(|channel| channel.subscribed = false);
    }
}

impl Channel {
    fn new(since: Since, keep_data: bool) -> Self {
        Self {
            since,
            keep_data,
            subscribed: false,
            epoch: String::new(),
            offset: 0,
            base: 0,
            top: 0,
            digests: Vec::new(),
            events: Vec::new(),
            violations: Vec::new(),
            unsubscribes: Vec::new(),
            longest_gap: Duration::ZERO,
            longest_gap_at: None,
            last_at: None,
            first_at: None,
            came_at: Vec::new(),
        }
    }

    /// Whether the channel was subscribed before, so that the next subscription continues.
    pub(crate) fn known(&self) -> bool {
        !self.epoch.is_empty()
    }

    /// Takes the reply to a subscribe.
    pub(crate) fn subscribed(&mut self, reply: &Value, now: Instant) {
        let epoch = reply["epoch"].as_str().unwrap_or_default();
        let recovering = self.known() || self.since == Since::Start;
        self.top = reply["offset"].as_u64().unwrap_or(0);
        if self.known() && epoch != self.epoch {
            self.violations.push(format!("epoch {} became {epoch}", self.epoch));
        }
        if recovering && reply["recovered"].as_bool() != Some(true) {
            self.violations.push(format!("not recovered at offset {}: {}", self.offset, brief(reply)));
        }
        self.epoch = epoch.to_owned();
        if !recovering {
            self.offset = self.top;
            self.base = self.top;
        }
        self.subscribed = true;
        for publication in reply["publications"].as_array().into_iter().flatten() {
            self.publication(publication, now);
        }
    }

    /// Takes one publication.
    pub(crate) fn publication(&mut self, publication: &Value, now: Instant) {
        let offset = publication["offset"].as_u64().unwrap_or(0);
        if offset != self.offset + 1 {
            self.violations.push(format!("offset {offset} came after {}", self.offset));
            return;
        }
        self.offset = offset;
        self.digests.push(digest(&publication["data"]));
        if self.keep_data {
            self.events.push(publication["data"].clone());
            self.came_at.push(unix_microseconds());
        }
        if let Some(last) = self.last_at
            && now.duration_since(last) > self.longest_gap
        {
            self.longest_gap = now.duration_since(last);
            self.longest_gap_at = Some(last);
        }
        self.last_at = Some(now);
        self.first_at.get_or_insert(now);
    }

    /// For output that begins with the time it was written (`seconds.microseconds`): its age on arrival, in
    /// microseconds.
    pub fn ages(&self) -> impl Iterator<Item = u64> {
        self.events.iter().zip(&self.came_at).filter_map(|(event, came_at)| {
            let first = event["text"].as_str()?.lines().next()?;
            let written: u64 = first.replace(['.', ','], "").parse().ok()?;
            Some(came_at.saturating_sub(written))
        })
    }

    /// Starts the measurement of gaps anew.
    pub fn forget_gaps(&mut self) {
        self.longest_gap = Duration::ZERO;
        self.first_at = None;
    }
}

fn unix_microseconds() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_micros()).unwrap_or(u64::MAX)
}

/// The same for the same data, whatever the order of fields on the wire (`Value` sorts them).
fn digest(data: &Value) -> u64 {
    let mut hasher = DefaultHasher::new();
    data.to_string().hash(&mut hasher);
    hasher.finish()
}

fn brief(value: &Value) -> String {
    value.to_string().chars().take(200).collect()
}
