//! The matrices of a session and of a subscription, printed to docs/machines and compared.

use super::*;
use crate::session::Entrance;
use bytes::BytesMut;
use holdfast_shared::blessed::blessed;
use holdfast_shared::link::frame::{self, Decoder, Message, Received};
use holdfast_shared::link::{Piece, ToRuntime, ToSidecar};
use holdfast_shared::token::TokenEntry;
use serde_json::{Value, json};

const AT: Now = Now { since_start: Duration::from_secs(1), unix_ms: 1000 };
const CHANNEL: &str = "c";

fn entry(name: &str, role: TokenRole, expires_at: Option<i64>) -> TokenEntry {
    let hash = holdfast_shared::token::hash(name);
    let probe_slot = (role == TokenRole::Probe).then_some(Slot::B);
    TokenEntry {
        id: name.into(),
        hash,
        role,
        scope: Default::default(),
        principal: name.into(),
        probe_slot,
        expires_at,
    }
}

fn exchange() -> Exchange {
    let mut exchange = Exchange::new(Settings::default(), Box::new(|| "made".into()));
    let tokens = Tokens::new(vec![
        entry("operator", TokenRole::Operator, None),
        entry("old", TokenRole::Operator, Some(5)),
        entry("probe", TokenRole::Probe, None),
    ]);
    let node = NodeChannel { epoch: "j".into(), events: vec![] };
    exchange.informed(tokens, node, RawValue::from_string("{}".into()).unwrap(), AT);
    exchange
}

fn say(exchange: &mut Exchange, session: SessionId, command: &str) {
    exchange.receive(session, Bytes::copy_from_slice(command.as_bytes()), AT);
}

/// What a session gets now, in short.
fn heard(exchange: &mut Exchange, session: SessionId) -> String {
    let output = exchange.output(session, AT);
    let lines = output.text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let mut said: Vec<String> = lines.map(|line| short(&serde_json::from_slice(line).unwrap())).collect();
    said.extend(output.close.map(|reason| format!("close {} {}", reason.code, reason.reason)));
    for effect in exchange.take_effects() {
        if matches!(effect, Effect::Probe { .. }) {
            said.push("asks that slot".into());
        }
    }
    said.join(", ")
}

fn short(line: &Value) -> String {
    if let Some(code) = line["error"]["code"].as_u64() {
        let temporary = if line["error"]["temporary"] == json!(true) { " temporary" } else { "" };
        return format!("error {code}{temporary}");
    }
    let push = &line["push"];
    if let Some(code) = push["unsubscribe"]["code"].as_u64() {
        return format!("unsubscribe {code}");
    }
    if push["pub"].is_object() {
        return format!("publication {}", push["pub"]["offset"]);
    }
    let subscribe = &line["subscribe"];
    if subscribe.is_object() {
        let recovered = if subscribe["recovered"] == json!(true) { "recovered" } else { "not recovered" };
        let count = subscribe["publications"].as_array().map_or(0, Vec::len);
        return format!("reply at {}, {recovered}, {count} publications", subscribe["offset"]);
    }
    let kind = line.as_object().and_then(|fields| fields.keys().find(|key| *key != "id"));
    format!("reply {}", kind.map_or("?", String::as_str))
}

fn table(head: &str, columns: &[&str], rows: &[(String, Vec<String>)]) -> String {
    let mut text = format!("| {head} | {} |\n|{}\n", columns.join(" | "), " --- |".repeat(columns.len() + 1));
    for (name, cells) in rows {
        let cells: Vec<&str> = cells.iter().map(|cell| if cell.is_empty() { "-" } else { cell }).collect();
        text += &format!("| {name} | {} |\n", cells.join(" | "));
    }
    text
}

#[test]
fn the_matrix_of_a_session_is_as_committed() {
    let phases: [(&str, Option<&str>); 3] =
        [("fresh", None), ("connected", Some("operator")), ("a probe's", Some("probe"))];
    let commands = [
        ("connect, good token", r#"{"id":2,"connect":{"token":"operator"}}"#),
        ("connect, wrong token", r#"{"id":2,"connect":{"token":"x"}}"#),
        ("connect, expired token", r#"{"id":2,"connect":{"token":"old"}}"#),
        ("refresh, same principal", r#"{"id":2,"refresh":{"token":"operator"}}"#),
        ("refresh, expired token", r#"{"id":2,"refresh":{"token":"old"}}"#),
        ("ping", r#"{"id":2,"ping":{}}"#),
        ("pong", "{}"),
        ("send", r#"{"send":{"data":{}}}"#),
        ("rpc node.state", r#"{"id":2,"rpc":{"method":"node.state"}}"#),
        ("rpc node.probe", r#"{"id":2,"rpc":{"method":"node.probe"}}"#),
        ("rpc, parameters that are no object", r#"{"id":2,"rpc":{"method":"m","data":[]}}"#),
        ("subscribe node", r#"{"id":2,"subscribe":{"channel":"node"}}"#),
        ("subscribe without a name", r#"{"id":2,"subscribe":{"channel":""}}"#),
        ("unsubscribe", r#"{"id":2,"unsubscribe":{"channel":"node"}}"#),
        ("history of node", r#"{"id":2,"history":{"channel":"node"}}"#),
        ("publish, presence", r#"{"id":2,"presence":{"channel":"node"}}"#),
        ("no command of the protocol", "nonsense"),
        ("a command without an id", r#"{"ping":{}}"#),
    ];
    let rows: Vec<(String, Vec<String>)> = commands
        .iter()
        .map(|(name, command)| {
            let cell = |token: Option<&str>| {
                let mut exchange = exchange();
                let session = exchange.open(Entrance::Public { bearer: None }, AT);
                if let Some(token) = token {
                    say(&mut exchange, session, &format!(r#"{{"id":1,"connect":{{"token":"{token}"}}}}"#));
                    let _ = heard(&mut exchange, session);
                }
                say(&mut exchange, session, command);
                heard(&mut exchange, session)
            };
            ((*name).to_owned(), phases.iter().map(|(_, token)| cell(*token)).collect())
        })
        .collect();
    let text = format!(
        "# A browser session: what each command is answered\n\nPrinted by a test of sidecar/src/exchange. \
         `-`: nothing is said; rpc node.probe of a connected session waits for the runtime.\n\n{}",
        table("command", &phases.map(|(name, _)| name), &rows)
    );
    blessed("docs/machines/session.md", &text);
}

/// A subscription brought to a stage, with its runtime's side of the link.
struct Followed {
    exchange: Exchange,
    session: SessionId,
    /// Number of the channel on the link; number of the read under way.
    no: u32,
    read: u64,
    /// The offset it reads after.
    after: u64,
}

fn told(exchange: &mut Exchange, message: &ToSidecar) {
    let text = Bytes::from(serde_json::to_vec(message).unwrap());
    let received = Received { epoch: 1, frame_bytes: text.len(), message: Message::Json(text) };
    exchange.link_input(received, AT).unwrap();
}

impl Followed {
    fn sent(&mut self) {
        let (mut wire, mut decoder) = (BytesMut::new(), Decoder::default());
        self.exchange.link_output(1, &mut wire);
        decoder.input().extend_from_slice(&wire);
        while let Some(received) = decoder.next_message().unwrap() {
            let Message::Json(text) = received.message else { panic!("the sidecar sends JSON only") };
            match serde_json::from_slice(&text).unwrap() {
                ToRuntime::Subscribe { no, .. } => self.no = no,
                ToRuntime::Read { id, offset, .. } => (self.read, self.after) = (id, offset),
                _ => {}
            }
        }
    }

    fn subscribed(&mut self, epoch: &str, from: u64) {
        let (no, epoch) = (self.no, epoch.to_owned());
        told(&mut self.exchange, &ToSidecar::Subscribed { no, epoch, top: from, from, recovered: true });
    }

    fn piece(&mut self, recovered: bool) {
        let publications =
            if recovered { (self.after + 1..=self.after + 2).map(publication).collect() } else { vec![] };
        let piece = Piece { id: self.read, epoch: "e".into(), top: 9, recovered, publications };
        let message = Message::Piece(piece);
        self.exchange.link_input(Received { epoch: 1, frame_bytes: 9, message }, AT).unwrap();
    }

    fn at(stage: &str) -> Self {
        let mut exchange = exchange();
        exchange.forward(1, 1);
        let session = exchange.open(Entrance::Local { uid: 0 }, AT);
        say(&mut exchange, session, r#"{"id":1,"connect":{}}"#);
        let mut followed = Self { exchange, session, no: 0, read: 0, after: 0 };
        let command = format!(
            r#"{{"id":2,"subscribe":{{"channel":"{CHANNEL}","recover":true,"offset":4,"epoch":"e"}}}}"#
        );
        say(&mut followed.exchange, session, &command);
        followed.sent();
        if stage != "waits for the channel" {
            followed.subscribed("e", 9);
            followed.sent();
        }
        if stage == "live" || stage == "live, reads history" {
            followed.piece(true);
        }
        let _ = heard(&mut followed.exchange, session);
        followed.sent();
        if stage == "live" {
            let publications = (7..=9).map(publication).collect();
            let piece = Piece { id: followed.read, epoch: "e".into(), top: 9, recovered: true, publications };
            let message = Message::Piece(piece);
            followed.exchange.link_input(Received { epoch: 1, frame_bytes: 9, message }, AT).unwrap();
            let _ = heard(&mut followed.exchange, session);
        }
        followed
    }
}

fn publication(offset: u64) -> Publication {
    Publication { offset, data: Bytes::from_static(b"{}") }
}

#[test]
fn the_matrix_of_a_subscription_is_as_committed() {
    let stages = ["waits for the channel", "waits for its first piece", "live, reads history", "live"];
    type Event = (&'static str, fn(&mut Followed));
    let events: [Event; 13] = [
        ("the channel is ready, as asked", |f| f.subscribed("e", 4)),
        ("the channel is ready, another epoch", |f| f.subscribed("f", 2)),
        ("the channel is refused", |f| {
            let error = ApiError::new(Code::UnknownChannel, "no such channel");
            told(&mut f.exchange, &ToSidecar::SubscribeFailed { no: f.no, error });
        }),
        ("the channel begins anew", |f| {
            told(&mut f.exchange, &ToSidecar::Reset { no: f.no });
            f.sent();
            f.subscribed("f", 0);
        }),
        ("publication 10", |f| {
            let mut wire = BytesMut::new();
            let message =
                holdfast_shared::link::Publications { no: f.no, publications: vec![publication(10)] };
            frame::encode_publications(1, &message, &mut wire);
            let mut decoder = Decoder::default();
            decoder.input().extend_from_slice(&wire);
            f.exchange.link_input(decoder.next_message().unwrap().unwrap(), AT).unwrap();
        }),
        ("a piece with the next two", |f| f.piece(true)),
        ("history does not reach back", |f| f.piece(false)),
        ("the read is refused", |f| {
            let error = Some(ApiError::new(Code::UnknownChannel, "no such channel"));
            told(&mut f.exchange, &ToSidecar::Reply { id: f.read, result: None, error });
        }),
        ("hold", |f| f.exchange.hold(AT)),
        ("2 s after the subscribe", |f| {
            f.exchange.tick(Now { since_start: Duration::from_secs(3), ..AT });
        }),
        ("the client subscribes again", |f| {
            say(&mut f.exchange, f.session, r#"{"id":3,"subscribe":{"channel":"c"}}"#);
        }),
        ("the client unsubscribes", |f| {
            say(&mut f.exchange, f.session, r#"{"id":3,"unsubscribe":{"channel":"c"}}"#);
        }),
        ("its socket is gone", |f| f.exchange.closed(f.session, AT)),
    ];
    let rows: Vec<(String, Vec<String>)> = events
        .iter()
        .map(|(name, happen)| {
            let cell = |stage: &&str| {
                let mut followed = Followed::at(stage);
                happen(&mut followed);
                heard(&mut followed.exchange, followed.session)
            };
            ((*name).to_owned(), stages.iter().map(cell).collect())
        })
        .collect();
    let text = format!(
        "# A subscription: what its session hears\n\nPrinted by a test of sidecar/src/exchange: a subscribe with \
         recovery from offset 4 of epoch `e`, in a channel whose top is 9 and whose hot tail is empty. `-`: nothing \
         is said, or what cannot come at this stage is passed over.\n\n{}\n\
         ```mermaid\nstateDiagram-v2\n    [*] --> waits_for_the_channel: subscribe\n    \
         waits_for_the_channel --> waits_for_its_first_piece: ready, position below the hot tail\n    \
         waits_for_the_channel --> live: ready, position in the hot tail or none\n    \
         waits_for_its_first_piece --> live: piece, reply\n    live --> live_reads_history: fell below the hot tail\n    \
         live_reads_history --> live: pieces up to the hot tail\n    waits_for_the_channel --> [*]: 2 s, refused\n    \
         waits_for_its_first_piece --> [*]: 2 s, refused\n    live --> [*]: unsubscribed, begins anew\n    \
         live_reads_history --> [*]: unsubscribed, begins anew, cut away\n```\n",
        table("event", &stages, &rows)
    );
    blessed("docs/machines/subscription.md", &text);
}

#[test]
fn command_ids_are_taken_out_of_parameters_and_checked() {
    use super::commands::split_command_id;
    let split = |text: &str| {
        let raw = RawValue::from_string(text.to_owned()).unwrap();
        split_command_id(Some(&raw)).map(|(params, id)| (params.get().to_owned(), id)).map_err(|e| e.code)
    };
    assert_eq!(split(r#"{"a": 1}"#), Ok((r#"{"a": 1}"#.into(), None)));
    assert_eq!(split(r#"{"b":1.50,"command_id":"x"}"#), Ok((r#"{"b":1.50}"#.into(), Some("x".into()))));
    assert_eq!(split(r#"{"text":"command_id"}"#), Ok((r#"{"text":"command_id"}"#.into(), None)));
    for wrong in ["[]", "1", "null", r#"{"command_id":1}"#, r#"{"command_id":""}"#] {
        assert_eq!(split(wrong), Err(Code::InvalidRequest), "{wrong}");
    }
}

#[test]
fn a_runtime_that_breaks_the_links_rules_is_a_fault() {
    let json = |text: &str| Message::Json(Bytes::copy_from_slice(text.as_bytes()));
    let hello = concat!(
        r#"{"hello":{"version":1,"slot":"a","epoch":1,"role":"active","#,
        r#""runtime_instance_id":"rt-a-1","release":"1"}}"#
    );
    for (epoch, message, fault) in [
        (2, json(r#"{"window":{"bytes":1}}"#), Some("link frame of epoch 2 on a link of epoch 1")),
        (1, json("{"), Some("cannot be read")),
        (1, json(r#"{"nonsense":{}}"#), Some("cannot be read")),
        (1, json(hello), Some("hello twice")),
        (1, json(r#"{"reply":{"id":77,"result":{}}}"#), None),
        (1, json(r#"{"subscribed":{"no":9,"epoch":"e","top":1,"from":1,"recovered":true}}"#), None),
        (1, json(r#"{"reset":{"no":9}}"#), None),
        (
            1,
            Message::Piece(Piece { id: 5, epoch: "e".into(), top: 1, recovered: true, publications: vec![] }),
            None,
        ),
    ] {
        let mut exchange = exchange();
        exchange.forward(1, 1);
        let shown = format!("{message:?}");
        let taken = exchange.link_input(Received { epoch, frame_bytes: 9, message }, AT);
        match fault {
            Some(fault) => assert!(taken.unwrap_err().to_string().contains(fault), "{shown}"),
            None => assert!(taken.is_ok(), "late, but no fault: {shown}"),
        }
    }
    let mut holding = exchange();
    let message = json("{");
    assert!(
        holding.link_input(Received { epoch: 9, frame_bytes: 9, message }, AT).is_ok(),
        "unread while holding"
    );
}

#[test]
fn a_token_for_one_task_sees_no_channel_of_another() {
    let mut exchange = Exchange::new(Settings::default(), Box::new(|| "made".into()));
    let mut scoped = entry("scoped", TokenRole::Operator, None);
    scoped.scope.tasks.push("demo".into());
    let node = NodeChannel { epoch: "j".into(), events: vec![] };
    exchange.informed(Tokens::new(vec![scoped]), node, RawValue::from_string("{}".into()).unwrap(), AT);
    let session = exchange.open(Entrance::Public { bearer: None }, AT);
    say(&mut exchange, session, r#"{"id":1,"connect":{"token":"scoped"}}"#);
    assert_eq!(heard(&mut exchange, session), "reply connect");
    for (channel, answer) in [
        ("conversation:other", "error 103"),
        ("task:other", "error 103"),
        ("tasks", "error 103"),
        // Asked of the runtime, which there is none of.
        ("conversation:demo", ""),
    ] {
        let subscribe = format!(r#"{{"id":2,"subscribe":{{"channel":"{channel}"}}}}"#);
        say(&mut exchange, session, &subscribe);
        assert_eq!(heard(&mut exchange, session), answer, "{channel}");
    }
    say(&mut exchange, session, r#"{"id":3,"history":{"channel":"conversation:other","limit":1}}"#);
    assert!(heard(&mut exchange, session).starts_with("error "));
}

#[test]
fn what_came_is_granted_back_even_when_nothing_may_be_sent() {
    let mut exchange = exchange();
    exchange.forward(1, 1);
    for _ in 0..4 {
        let frame_bytes = holdfast_shared::link::WINDOW_BYTES as usize / 8;
        let message = Message::Json(Bytes::from_static(br#"{"reset":{"no":9}}"#));
        exchange.link_input(Received { epoch: 1, frame_bytes, message }, AT).unwrap();
    }
    let (mut wire, mut decoder) = (BytesMut::new(), Decoder::default());
    exchange.link_output(1, &mut wire);
    decoder.input().extend_from_slice(&wire);
    let Message::Json(text) = decoder.next_message().unwrap().unwrap().message else { panic!("not JSON") };
    let granted: Value = serde_json::from_slice(&text).unwrap();
    assert_eq!(granted, json!({"window": {"bytes": holdfast_shared::link::WINDOW_BYTES / 2}}));
    exchange.link_output(2, &mut wire);
    assert!(decoder.next_message().unwrap().is_none(), "nothing for a link that is not the present one");
}
