//! The exchange between a simulated runtime and simulated browsers, on virtual time: whatever is held, routed,
//! cut or read slowly, each subscriber sees each event once, in order, from the position it was told, and each
//! command is carried out exactly once and answered once.
#![allow(clippy::unwrap_used, reason = "a test that fails says so by a panic")]

use bytes::{Bytes, BytesMut};
use holdfast_shared::link::frame::{self, Decoder, Message};
use holdfast_shared::link::window::SendWindow;
use holdfast_shared::link::{Piece, Publication, Publications, ToRuntime, ToSidecar};
use holdfast_shared::wished::NodeChannel;
use holdfast_sidecar::exchange::{Exchange, Now};
use holdfast_sidecar::session::{Entrance, SessionId};
use holdfast_sidecar::settings::Settings;
use holdfast_sidecar::tokens::Tokens;
use proptest::prelude::*;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

const CHANNELS: [&str; 2] = ["conversation:x", "tasks"];

#[derive(Clone, Debug)]
enum Step {
    Publish {
        channel: usize,
        count: u8,
    },
    /// The runtime takes what came and answers; its publications come in pieces of this many bytes.
    Runtime {
        bytes: u16,
    },
    /// So many messages of the runtime arrive.
    Deliver(u8),
    Hold,
    Route,
    Cut,
    Open,
    Subscribe {
        browser: usize,
        channel: usize,
        from: Option<u16>,
    },
    Unsubscribe {
        browser: usize,
        channel: usize,
    },
    Command {
        browser: usize,
    },
    /// A socket takes one message.
    Take(usize),
    /// A socket goes away.
    Leave(usize),
    Wait(u16),
    /// A channel's log is lost: another epoch.
    Lose(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let channel = 0..CHANNELS.len();
    prop_oneof![
        6 => (channel.clone(), 1..40u8).prop_map(|(channel, count)| Step::Publish { channel, count }),
        8 => (100..4000u16).prop_map(|bytes| Step::Runtime { bytes }),
        8 => (1..20u8).prop_map(Step::Deliver),
        1 => Just(Step::Hold),
        2 => Just(Step::Route),
        1 => Just(Step::Cut),
        2 => Just(Step::Open),
        4 => (0..6usize, channel.clone(), prop::option::of(0..300u16))
            .prop_map(|(browser, channel, from)| Step::Subscribe { browser, channel, from }),
        1 => (0..6usize, channel.clone())
            .prop_map(|(browser, channel)| Step::Unsubscribe { browser, channel }),
        4 => (0..6usize).prop_map(|browser| Step::Command { browser }),
        8 => (0..6usize).prop_map(Step::Take),
        1 => (0..6usize).prop_map(Step::Leave),
        2 => (1..1500u16).prop_map(Step::Wait),
        1 => channel.prop_map(Step::Lose),
    ]
}

struct Log {
    epoch: u32,
    events: Vec<Bytes>,
}

/// The runtimes' side: one log and one memory of answers, whoever is active.
struct Runtime {
    logs: Vec<Log>,
    answers: BTreeMap<String, u64>,
    executed: Vec<String>,
    link: Option<RuntimeLink>,
}

struct RuntimeLink {
    number: u64,
    epoch: u64,
    decoder: Decoder,
    /// Number, channel, epoch of its log, next offset.
    following: Vec<(u32, usize, u32, u64)>,
    window: SendWindow,
    out: BytesMut,
}

#[derive(Default)]
struct Browser {
    session: Option<SessionId>,
    next: u32,
    /// Subscribe commands without a reply: number, channel.
    subscribing: BTreeMap<u32, usize>,
    unsubscribing: BTreeMap<u32, usize>,
    /// Last offset and epoch by channel.
    at: BTreeMap<usize, (u64, String)>,
    commands: BTreeSet<u32>,
    answered: BTreeSet<u32>,
}

struct World {
    exchange: Exchange,
    runtime: Runtime,
    browsers: Vec<Browser>,
    now: Duration,
    link: u64,
    arriving: VecDeque<u8>,
    arrived: Decoder,
    sent_ids: BTreeSet<String>,
}

impl World {
    fn new() -> Self {
        let settings =
            Settings { hot_tail_bytes: 3000, hold_unavailable_ms: u64::MAX / 2, ..Settings::default() };
        let mut made = 0;
        let make_id = Box::new(move || {
            made += 1;
            format!("made-{made}")
        });
        let mut exchange = Exchange::new(settings, make_id);
        let now = Now { since_start: Duration::ZERO, unix_ms: 0 };
        let node = NodeChannel { epoch: "j".into(), events: vec![] };
        let status = RawValue::from_string("{}".into()).unwrap();
        exchange.informed(Tokens::default(), node, status, now);
        let log = || Log { epoch: 1, events: vec![] };
        let runtime = Runtime {
            logs: CHANNELS.iter().map(|_| log()).collect(),
            answers: BTreeMap::new(),
            executed: vec![],
            link: None,
        };
        let browsers = (0..6).map(|_| Browser::default()).collect();
        Self {
            exchange,
            runtime,
            browsers,
            now: Duration::ZERO,
            link: 0,
            arriving: VecDeque::new(),
            arrived: Decoder::default(),
            sent_ids: BTreeSet::new(),
        }
    }

    fn now(&self) -> Now {
        Now { since_start: self.now, unix_ms: 0 }
    }

    fn cut(&mut self) {
        self.runtime.link = None;
        self.arriving.clear();
        self.arrived = Decoder::default();
        let now = self.now();
        self.exchange.hold(now);
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Publish { channel, count } => {
                for _ in 0..count {
                    let events = &mut self.runtime.logs[channel].events;
                    let n = events.len() + 1;
                    events.push(Bytes::from(json!({"n": n, "pad": "x".repeat(n % 90)}).to_string()));
                }
            }
            Step::Runtime { bytes } => self.runtime_step(bytes.into()),
            Step::Deliver(count) => self.deliver(count.into()),
            Step::Hold | Step::Cut => self.cut(),
            Step::Route => self.route(),
            Step::Open => self.open(),
            Step::Subscribe { browser, channel, from } => self.subscribe(browser, channel, from),
            Step::Unsubscribe { browser, channel } => self.unsubscribe(browser, channel),
            Step::Command { browser } => self.command(browser),
            Step::Take(browser) => {
                self.take(browser);
            }
            Step::Leave(browser) => {
                let now = self.now();
                if let Some(session) = self.browsers[browser].session {
                    self.exchange.closed(session, now);
                    self.browsers[browser] = Browser::default();
                }
            }
            Step::Wait(ms) => {
                self.now += Duration::from_millis(ms.into());
                let now = self.now();
                self.exchange.tick(now);
            }
            Step::Lose(channel) => {
                let epoch = self.runtime.logs[channel].epoch + 1;
                self.runtime.logs[channel] = Log { epoch, events: vec![] };
            }
        }
        self.exchange.take_effects();
    }

    fn route(&mut self) {
        self.cut();
        self.link += 1;
        self.exchange.forward(self.link, self.link);
        self.runtime.link = Some(RuntimeLink {
            number: self.link,
            epoch: self.link,
            decoder: Decoder::default(),
            following: vec![],
            window: SendWindow::default(),
            out: BytesMut::new(),
        });
    }

    fn runtime_step(&mut self, piece_bytes: usize) {
        let Some(mut link) = self.runtime.link.take() else { return };
        self.exchange.link_output(link.number, link.decoder.input());
        while let Some(received) = link.decoder.next_message().unwrap() {
            assert_eq!(received.epoch, link.epoch);
            let Message::Json(text) = received.message else { panic!("the sidecar sends JSON only") };
            self.runtime.take(&mut link, serde_json::from_slice(&text).unwrap(), piece_bytes);
        }
        self.runtime.publish(&mut link, piece_bytes);
        self.arriving.extend(link.out.split().iter());
        self.runtime.link = Some(link);
    }

    fn deliver(&mut self, count: usize) {
        let now = self.now();
        for _ in 0..count {
            let received = loop {
                if let Some(received) = self.arrived.next_message().unwrap() {
                    break received;
                }
                let Some(byte) = self.arriving.pop_front() else { return };
                self.arrived.input().extend_from_slice(&[byte]);
                while self.arriving.len() > 100 && self.arrived.input().len() < 100 {
                    let byte = self.arriving.pop_front().unwrap();
                    self.arrived.input().extend_from_slice(&[byte]);
                }
            };
            self.exchange.link_input(received, now).unwrap();
        }
    }

    fn open(&mut self) {
        let now = self.now();
        let Some(browser) = self.browsers.iter_mut().find(|browser| browser.session.is_none()) else {
            return;
        };
        let session = self.exchange.open(Entrance::Local { uid: 0 }, now);
        browser.session = Some(session);
        self.exchange.receive(session, Bytes::from_static(br#"{"id":1000000,"connect":{}}"#), now);
    }

    fn say(&mut self, browser: usize, mut command: Value) -> Option<u32> {
        let now = self.now();
        let session = self.browsers[browser].session?;
        if !self.exchange.may_read(session) {
            return None;
        }
        let browser = &mut self.browsers[browser];
        browser.next += 1;
        command["id"] = json!(browser.next);
        let number = browser.next;
        self.exchange.receive(session, Bytes::from(command.to_string()), now);
        self.exchange.alive(session, true, true, now);
        Some(number)
    }

    fn subscribe(&mut self, browser: usize, channel: usize, from: Option<u16>) {
        let mine = &self.browsers[browser];
        let busy = mine.at.contains_key(&channel)
            || mine.subscribing.values().chain(mine.unsubscribing.values()).any(|other| *other == channel);
        if busy {
            return;
        }
        let mut fields = json!({"channel": CHANNELS[channel]});
        if let Some(from) = from {
            let epoch =
                if from % 3 == 0 { String::new() } else { self.runtime.logs[channel].epoch.to_string() };
            fields["recover"] = json!(true);
            fields["offset"] = json!(from);
            fields["epoch"] = json!(epoch);
        }
        if let Some(number) = self.say(browser, json!({"subscribe": fields})) {
            self.browsers[browser].subscribing.insert(number, channel);
        }
    }

    fn unsubscribe(&mut self, browser: usize, channel: usize) {
        if !self.browsers[browser].at.contains_key(&channel) {
            return;
        }
        let command = json!({"unsubscribe": {"channel": CHANNELS[channel]}});
        if let Some(number) = self.say(browser, command) {
            self.browsers[browser].unsubscribing.insert(number, channel);
        }
    }

    fn command(&mut self, browser: usize) {
        let id = format!("{browser}-{}-{}", self.sent_ids.len(), self.now.as_millis());
        let command = json!({"rpc": {"method": "count", "data": {"command_id": id}}});
        if let Some(number) = self.say(browser, command) {
            self.browsers[browser].commands.insert(number);
            self.sent_ids.insert(id);
        }
    }

    /// The socket takes one message; `true` when there was one.
    fn take(&mut self, index: usize) -> bool {
        let now = self.now();
        let Some(session) = self.browsers[index].session else { return false };
        self.exchange.alive(session, true, true, now);
        let output = self.exchange.output(session, now);
        assert_eq!(output.close, None, "nobody is closed");
        if output.text.is_empty() {
            return false;
        }
        for line in output.text.split(|byte| *byte == b'\n') {
            self.browsers[index].line(serde_json::from_slice(line).unwrap());
        }
        true
    }

    /// Everything flows until nothing moves any more.
    fn settle(&mut self) {
        self.route();
        for _ in 0..10_000 {
            self.runtime_step(4000);
            self.deliver(usize::MAX);
            let mut moved = self.arriving.len();
            for browser in 0..self.browsers.len() {
                moved += usize::from(self.take(browser));
            }
            self.exchange.take_effects();
            if moved == 0 && self.quiet() {
                return;
            }
        }
        panic!("it never settles");
    }

    fn quiet(&self) -> bool {
        let done = |browser: &Browser| {
            let all_seen = browser.at.iter().all(|(channel, (at, epoch))| {
                let log = &self.runtime.logs[*channel];
                *epoch == log.epoch.to_string() && *at == log.events.len() as u64
            });
            all_seen && browser.subscribing.is_empty() && browser.commands.is_subset(&browser.answered)
        };
        self.exchange.unanswered() == 0 && self.browsers.iter().all(done)
    }
}

impl Browser {
    fn line(&mut self, line: Value) {
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

impl Runtime {
    fn take(&mut self, link: &mut RuntimeLink, message: ToRuntime, piece_bytes: usize) {
        let epoch = link.epoch;
        match message {
            ToRuntime::Subscribe { no, channel, epoch: known, offset, .. } => {
                let index = CHANNELS.iter().position(|name| *name == channel).unwrap();
                let log = &self.logs[index];
                let top = log.events.len() as u64;
                let same = known.is_empty() || known == log.epoch.to_string();
                let recovered = same && offset.is_none_or(|offset| offset <= top);
                let from = offset.filter(|_| recovered).unwrap_or(top);
                let (name, log_epoch) = (log.epoch.to_string(), log.epoch);
                let answer = ToSidecar::Subscribed { no, epoch: name, top, from, recovered };
                frame::encode_json(epoch, &answer, &mut link.out);
                link.following.push((no, index, log_epoch, from + 1));
            }
            ToRuntime::Unsubscribe { no } => link.following.retain(|(number, ..)| *number != no),
            ToRuntime::Call { id, command_id, .. } => {
                let executed = &mut self.executed;
                let count = *self.answers.entry(command_id.clone()).or_insert_with(|| {
                    executed.push(command_id);
                    executed.len() as u64
                });
                let result = Some(to_raw_value(&json!({"count": count})).unwrap());
                frame::encode_json(epoch, &ToSidecar::Reply { id, result, error: None }, &mut link.out);
            }
            ToRuntime::Read { id, channel, epoch: known, offset, limit, .. } => {
                let index = CHANNELS.iter().position(|name| *name == channel).unwrap();
                let log = &self.logs[index];
                let top = log.events.len() as u64;
                let recovered = (known.is_empty() || known == log.epoch.to_string()) && offset <= top;
                let from = usize::try_from(offset.min(top)).unwrap();
                let mut bytes = 0;
                let publications = (offset + 1..)
                    .zip(log.events[from..].iter().take(if recovered { limit as usize } else { 0 }))
                    .take_while(|(_, data)| {
                        bytes += data.len();
                        bytes <= piece_bytes || bytes == data.len()
                    })
                    .map(|(offset, data)| Publication { offset, data: data.clone() })
                    .collect();
                let piece = Piece { id, epoch: log.epoch.to_string(), top, recovered, publications };
                frame::encode_piece(epoch, &piece, &mut link.out);
            }
            ToRuntime::Window { bytes } => link.window.granted(bytes),
            ToRuntime::Hello { .. } => panic!("the exchange says no hello"),
        }
    }

    fn publish(&mut self, link: &mut RuntimeLink, bytes: usize) {
        let mut index = 0;
        while index < link.following.len() {
            let (no, channel, log_epoch, next) = link.following[index];
            let log = &self.logs[channel];
            if log.epoch != log_epoch {
                link.following.remove(index);
                frame::encode_json(link.epoch, &ToSidecar::Reset { no }, &mut link.out);
                continue;
            }
            index += 1;
            let from = usize::try_from(next - 1).unwrap();
            let count = (bytes / 60).max(1);
            let publications: Vec<Publication> = (next..)
                .zip(log.events[from..].iter().take(count))
                .map(|(offset, data)| Publication { offset, data: data.clone() })
                .collect();
            if publications.is_empty() || !link.window.open() {
                continue;
            }
            link.following[index - 1].3 += publications.len() as u64;
            let message = Publications { no, publications };
            let sent = frame::encode_publications(link.epoch, &message, &mut link.out);
            link.window.sent(sent);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, max_shrink_iters: 20_000, ..ProptestConfig::default() })]

    #[test]
    fn gapless_and_exactly_once_whatever_happens(steps in prop::collection::vec(step(), 1..200)) {
        let mut world = World::new();
        world.open();
        for step in steps {
            world.step(step);
        }
        world.settle();
        let executed: BTreeSet<&String> = world.runtime.executed.iter().collect();
        prop_assert_eq!(executed.len(), world.runtime.executed.len(), "nothing twice");
        prop_assert!(world.sent_ids.iter().all(|id| executed.contains(id)), "every command took effect");
    }
}
