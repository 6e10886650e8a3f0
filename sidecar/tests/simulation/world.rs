//! The exchange between both, on virtual time.

use super::CHANNELS;
use super::browser::Browser;
use super::runtime::{Log, Runtime, RuntimeLink};
use super::step::Step;
use bytes::{Bytes, BytesMut};
use holdfast_shared::link::frame::{Decoder, Message};
use holdfast_shared::link::window::SendWindow;
use holdfast_shared::wished::NodeChannel;
use holdfast_sidecar::exchange::{Exchange, Now};
use holdfast_sidecar::session::Entrance;
use holdfast_sidecar::settings::Settings;
use holdfast_sidecar::tokens::Tokens;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

pub struct World {
    exchange: Exchange,
    pub runtime: Runtime,
    browsers: Vec<Browser>,
    now: Duration,
    link: u64,
    arriving: VecDeque<u8>,
    arrived: Decoder,
    pub sent_ids: BTreeSet<String>,
}

impl World {
    pub fn new() -> Self {
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

    pub fn step(&mut self, step: Step) {
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

    pub fn open(&mut self) {
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
    pub fn settle(&mut self) {
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
