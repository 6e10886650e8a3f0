//! Hostile input: a coded error or a close, and nobody else's session is touched.

use futures_util::{SinkExt, StreamExt};
use holdfast_tests::client::session::open;
use holdfast_tests::client::{Client, Since};
use holdfast_tests::node::Node;
use holdfast_tests::work::{self, PacedTurn, SEALED_DEADLINE, conversation};
use holdfast_tests::{http, run};
use serde_json::{Value, json};
use std::time::Duration;
use tokio_tungstenite::tungstenite::Message;

/// How a session went that sent what it should not.
#[derive(Debug, Default)]
struct Went {
    replies: Vec<Value>,
    close: Option<(u16, String)>,
    ended: bool,
}

const ANSWER_DEADLINE: Duration = Duration::from_secs(15);

impl Went {
    fn error_code(&self, id: u64) -> Option<u64> {
        self.replies.iter().find(|reply| reply["id"] == json!(id))?["error"]["code"].as_u64()
    }

    fn ended_or_refused(&self) -> bool {
        self.ended || self.replies.iter().any(|reply| reply.get("error").is_some())
    }
}

/// Sends these messages on a connection of its own and reads until `enough` or the end.
async fn say(address: &str, messages: Vec<Message>, enough: impl Fn(&Went) -> bool) -> Went {
    let mut socket = open(address).await.expect("a connection");
    let mut went = Went::default();
    for message in messages {
        if socket.send(message).await.is_err() {
            break;
        }
    }
    let reading = async {
        while !enough(&went) {
            match socket.next().await {
                Some(Ok(Message::Text(text))) => went.replies.extend(
                    text.as_str().lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()),
                ),
                Some(Ok(Message::Close(frame))) => {
                    went.close = frame.map(|frame| (frame.code.into(), frame.reason.to_string()));
                    went.ended = true;
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => {
                    went.ended = true;
                    return;
                }
            }
        }
    };
    let _ = tokio::time::timeout(ANSWER_DEADLINE, reading).await;
    went
}

fn connect(token: &str) -> Message {
    Message::text(json!({"id": 1, "connect": {"token": token}}).to_string())
}

fn text(value: Value) -> Message {
    Message::text(value.to_string())
}

struct Bystander {
    client: Client,
    recorder: Client,
    paced: PacedTurn,
    turn: String,
    channel: String,
}

impl Bystander {
    async fn start(node: &Node) -> Bystander {
        let channel = conversation("calm");
        let client = work::client(node, &[]);
        client.ready().await;
        work::open_task(&client, "calm").await;
        let paced = PacedTurn::new(node.scratch());
        let turn = work::prompt(&client, "calm", &paced.command_line(), false).await.expect("accepted");
        let recorder = work::recorder(node, &[(&channel, Since::Start)]);
        recorder.ready().await;
        Bystander { client, recorder, paced, turn, channel }
    }

    async fn untouched(self) {
        self.paced.end();
        self.recorder
            .wait("sealed", SEALED_DEADLINE, |seen| {
                work::sealed(&seen.channel(&self.channel).events, &self.turn)
            })
            .await;
        for client in [&self.client, &self.recorder] {
            client.observed(|seen| {
                assert_eq!(seen.disconnects, Vec::<String>::new());
                assert_eq!(seen.complaints(), Vec::<String>::new());
            });
        }
    }
}

#[test]
fn hostile_frames_end_or_refuse_their_own_session_only() {
    run(async {
        let node = Node::up();
        let bystander = Bystander::start(&node).await;
        let address = node.ready.address();
        let good = connect(&node.ready.token);
        let cases: Vec<(&str, Vec<Message>)> = vec![
            ("malformed JSON before connect", vec![Message::text("{not json")]),
            ("malformed JSON", vec![good.clone(), Message::text("{\"id\":2,\"rpc\":{")]),
            ("not an object", vec![good.clone(), Message::text("[1,2,3]")]),
            ("unknown command", vec![good.clone(), text(json!({"id": 2, "explode": {}}))]),
            ("a command without an id", vec![good.clone(), text(json!({"rpc": {"method": "task.list"}}))]),
            ("rpc before connect", vec![text(json!({"id": 1, "rpc": {"method": "task.list", "data": {}}}))]),
            ("connect twice", vec![good.clone(), good.clone()]),
            (
                // Fields of the protocol that are not ours are ignored: SDKs send some. Those of our methods are not.
                "an unknown field",
                vec![
                    good.clone(),
                    text(json!({"id": 2, "rpc": {"method": "task.list", "data": {"nonsense": 1}}})),
                ],
            ),
            ("deep nesting", vec![good.clone(), Message::text("[".repeat(100_000))]),
            ("oversize", vec![good.clone(), Message::text("x".repeat(3 * 1024 * 1024))]),
            ("binary", vec![good.clone(), Message::binary(vec![0xFF_u8; 512])]),
            ("a huge id", vec![good.clone(), Message::text("{\"id\":99999999999999999999999,\"ping\":{}}")]),
            ("NUL bytes", vec![good.clone(), Message::text("\0\0\0\0")]),
        ];
        for (name, messages) in cases {
            let went = say(&address, messages, Went::ended_or_refused).await;
            assert!(went.ended_or_refused(), "{name}: {went:?}");
            println!("{name}: close {:?}, last reply {:?}", went.close, went.replies.last());
        }
        bystander.untouched().await;
    });
}

#[test]
fn hostile_wrong_tokens_are_refused_with_their_codes() {
    run(async {
        let node = Node::up();
        let bystander = Bystander::start(&node).await;
        let address = node.ready.address();
        for token in ["", "wrong", &node.ready.token[1..]] {
            let went = say(&address, vec![connect(token)], |went| went.ended).await;
            assert_eq!(went.close.as_ref().map(|(code, _)| *code), Some(3500), "{token:?}: {went:?}");
        }
        for path in ["/api/v1/rpc/task.list", "/api/v1/rpc/task.open"] {
            for token in [None, Some("wrong")] {
                let reply = http::post(&address, path, token, "{}").await.expect("answered");
                assert_eq!(reply.status, 401, "{path} {token:?}: {reply:?}");
            }
        }
        let history = http::get(&address, "/api/v1/history/conversation:calm", None).await.expect("answered");
        assert_eq!(history.status, 401, "{history:?}");
        bystander.untouched().await;
    });
}

#[test]
fn hostile_unknown_methods_channels_and_payloads_have_stable_codes() {
    run(async {
        let node = Node::up();
        let bystander = Bystander::start(&node).await;
        let address = node.ready.address();
        let asked: Vec<(Value, u64)> = vec![
            (json!({"rpc": {"method": "no.such", "data": {}}}), 1002),
            (json!({"rpc": {"method": "", "data": {}}}), 1002),
            (
                json!({"rpc": {"method": "task.open", "data": {"task": "x", "skill": "command", "more": 1}}}),
                1001,
            ),
            (
                json!({"rpc": {"method": "task.open", "data": {"task": "../../etc", "skill": "command"}}}),
                1001,
            ),
            (json!({"rpc": {"method": "task.open", "data": {"task": "", "skill": "command"}}}), 1001),
            (json!({"rpc": {"method": "task.open", "data": [1]}}), 1001),
            (json!({"rpc": {"method": "task.prompt", "data": {"task": "missing", "text": "true"}}}), 1010),
            (json!({"rpc": {"method": "task.prompt", "data": {"task": "calm", "text": "true"}}}), 1021),
            (
                json!({"rpc": {"method": "task.open", "data": {"task": "y", "skill": "command", "command_id": "short"}}}),
                1001,
            ),
        ];
        for (number, (command, code)) in asked.into_iter().enumerate() {
            let mut command = command;
            command["id"] = json!(2);
            let shown = command.to_string();
            let went = say(&address, vec![connect(&node.ready.token), text(command)], |went| {
                went.error_code(2).is_some() || went.ended
            })
            .await;
            assert_eq!(went.error_code(2), Some(code), "case {number} {shown}: {went:?}");
        }
        for channel in ["no-such", "conversation:missing", "conversation:../../x", ""] {
            let subscribe = text(json!({"id": 2, "subscribe": {"channel": channel}}));
            let enough = |went: &Went| went.error_code(2).is_some() || went.ended;
            let went = say(&address, vec![connect(&node.ready.token), subscribe], enough).await;
            assert!(went.ended_or_refused(), "channel {channel:?}: {went:?}");
        }
        bystander.untouched().await;
    });
}

#[test]
fn hostile_positions_in_a_log_are_answered() {
    run(async {
        let node = Node::up();
        let bystander = Bystander::start(&node).await;
        let (address, token) = (node.ready.address(), Some(node.ready.token.as_str()));
        for channel in ["tasks", "node", bystander.channel.as_str()] {
            for query in [
                "reverse=1&offset=0",
                "reverse=1&offset=1",
                "offset=18446744073709551615",
                "reverse=1&offset=18446744073709551615",
            ] {
                let path = format!("/api/v1/history/{channel}?{query}");
                let reply = http::get(&address, &path, token).await.expect("answered");
                assert!(reply.status < 500, "{path}: {reply:?}");
            }
        }
        let params = json!({"conversation": bystander.channel.trim_start_matches("conversation:"), "since": {"offset": u64::MAX}});
        let reply =
            http::post(&address, "/api/v1/rpc/conversation.history", token, &params.to_string()).await;
        assert!(reply.expect("answered").status < 500);
        let subscribe =
            json!({"id": 2, "subscribe": {"channel": "tasks", "recover": true, "offset": u64::MAX}});
        say(&address, vec![connect(&node.ready.token), text(subscribe)], |went| went.replies.len() > 1).await;
        bystander.untouched().await;
    });
}

#[test]
fn hostile_http_is_answered_or_closed_and_says_nothing_without_a_token() {
    run(async {
        let node = Node::up();
        let bystander = Bystander::start(&node).await;
        let address = node.ready.address();
        for path in [
            "/../../etc/passwd",
            "/console/../../token",
            "/console/%2e%2e/%2e%2e/token",
            "/nothing",
            "/token",
        ] {
            let reply = http::get(&address, path, None).await.expect("answered");
            assert!(reply.status >= 400, "{path}: {reply:?}");
            assert!(
                !reply.body.contains(&node.ready.token) && !reply.body.contains("root:"),
                "{path}: {reply:?}"
            );
        }
        let page = http::get(&address, "/", None).await.expect("answered");
        assert_eq!(page.status, 200, "{}", page.head);
        assert!(!page.body.contains(&node.ready.token));
        for garbage in [
            "\x16\x03\x01\x02\x00garbage\r\n\r\n",
            "GET\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        ] {
            let _ = http::raw(&address, garbage.as_bytes()).await;
        }
        let foreign = format!(
            "GET /ws HTTP/1.1\r\nHost: {address}\r\nOrigin: http://evil.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        let reply = http::raw(&address, foreign.as_bytes()).await.expect("answered");
        assert_eq!(reply.status, 403, "a page of another origin must not connect: {}", reply.head);
        let rebound = "GET /supervisor/public/update-status HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n";
        let reply = http::raw(&address, rebound.as_bytes()).await.expect("answered");
        assert!(reply.status >= 400, "another Host: {}", reply.head);
        bystander.untouched().await;
    });
}

/// More unanswered commands than a session may have: it is not read further, everybody else is served, none is lost.
#[test]
fn hostile_floods_of_commands_are_bounded_and_all_answered() {
    run(async {
        const COMMANDS: u64 = 2000;
        let node = Node::up();
        let bystander = Bystander::start(&node).await;
        let mut messages = vec![connect(&node.ready.token)];
        messages.extend(
            (2..COMMANDS + 2).map(|id| text(json!({"id": id, "rpc": {"method": "task.list", "data": {}}}))),
        );
        let all = |went: &Went| went.replies.len() as u64 > COMMANDS || went.ended;
        let went = say(&node.ready.address(), messages, all).await;
        assert!(!went.ended, "{:?}", went.close);
        let answered = went.replies.iter().filter(|reply| reply.get("rpc").is_some()).count() as u64;
        assert_eq!(answered, COMMANDS, "last reply {:?}", went.replies.last());
        bystander.untouched().await;
    });
}
