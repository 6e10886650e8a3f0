//! Deliveries per second inside one process: one publisher, 1,000 sessions, no sockets. `cargo bench -p
//! holdfast-sidecar`; the figure with sockets is `tests/bench fanout`.
#![allow(clippy::unwrap_used, reason = "a bench that fails says so by a panic")]

use bytes::{Bytes, BytesMut};
use holdfast_shared::link::frame::{Decoder, Message, Received};
use holdfast_shared::link::{Publication, Publications, ToRuntime};
use holdfast_shared::wished::NodeChannel;
use holdfast_sidecar::exchange::{Exchange, Now};
use holdfast_sidecar::session::{Entrance, SessionId};
use holdfast_sidecar::settings::Settings;
use holdfast_sidecar::tokens::Tokens;
use serde_json::value::RawValue;
use std::time::{Duration, Instant};

const SESSIONS: usize = 1000;
const BATCHES: u64 = 200;

fn main() {
    for batch in [1, 5, 20, 100] {
        let (deliveries, seconds) = measure(batch);
        let rate = deliveries as f64 / seconds / 1e6;
        println!(
            "{batch:4} publications per flush: {rate:6.2} M deliveries/s ({deliveries} in {seconds:.3} s)"
        );
    }
}

fn measure(batch: u64) -> (u64, f64) {
    let mut exchange = Exchange::new(Settings::default(), Box::new(|| "id".into()));
    let now = Now { since_start: Duration::ZERO, unix_ms: 0 };
    let node = NodeChannel { epoch: "j".into(), events: vec![] };
    exchange.informed(Tokens::default(), node, RawValue::from_string("{}".into()).unwrap(), now);
    exchange.forward(1, 1);
    let sessions: Vec<SessionId> = (0..SESSIONS).map(|_| subscribed(&mut exchange, now)).collect();
    let no = number_of_the_channel(&mut exchange);
    let hello = br#"{"subscribed":{"no":NO,"epoch":"e","top":0,"from":0,"recovered":true}}"#;
    let hello = String::from_utf8_lossy(hello).replace("NO", &no.to_string());
    let message = Message::Json(Bytes::from(hello));
    exchange.link_input(Received { epoch: 1, frame_bytes: 10, message }, now).unwrap();
    sessions.iter().for_each(|session| drop(exchange.output(*session, now)));
    let data = Bytes::from(format!(r#"{{"type":"turn.output","turn":"t1","text":"{}"}}"#, "x".repeat(80)));
    let mut bytes = 0;
    let start = Instant::now();
    for round in 0..BATCHES {
        let offsets = round * batch + 1..=(round + 1) * batch;
        let publications = offsets.map(|offset| Publication { offset, data: data.clone() }).collect();
        let message = Message::Publications(Publications { no, publications });
        exchange.link_input(Received { epoch: 1, frame_bytes: 10, message }, now).unwrap();
        exchange.take_effects();
        for session in &sessions {
            loop {
                let output = exchange.output(*session, now);
                bytes += output.text.len();
                if !output.more {
                    break;
                }
            }
        }
    }
    let seconds = start.elapsed().as_secs_f64();
    assert!(bytes > 0);
    (SESSIONS as u64 * BATCHES * batch, seconds)
}

fn subscribed(exchange: &mut Exchange, now: Now) -> SessionId {
    let session = exchange.open(Entrance::Local { uid: 0 }, now);
    let commands = "{\"id\":1,\"connect\":{}}\n{\"id\":2,\"subscribe\":{\"channel\":\"conversation:x\"}}";
    exchange.receive(session, Bytes::from_static(commands.as_bytes()), now);
    session
}

fn number_of_the_channel(exchange: &mut Exchange) -> u32 {
    let mut decoder = Decoder::default();
    let mut wire = BytesMut::new();
    exchange.link_output(1, &mut wire);
    decoder.input().extend_from_slice(&wire);
    let Message::Json(text) = decoder.next_message().unwrap().unwrap().message else { panic!("not JSON") };
    match serde_json::from_slice(&text).unwrap() {
        ToRuntime::Subscribe { no, .. } => no,
        other => panic!("{other:?}"),
    }
}
