//! A subscriber that only counts: what a replay takes is then the node's, and not that of a client which checks.

use futures_util::{SinkExt, StreamExt};
use holdfast_tests::client::session;
use holdfast_tests::node::Node;
use serde_json::json;
use std::time::{Duration, Instant};
use tokio_tungstenite::tungstenite::Message;

/// Every publication has one: `"data":{`, since events are objects.
const EVENT: &str = "\"data\":{";

/// Joins a channel from its beginning; the times from connecting to the first and to the last of so many events.
pub async fn join(node: &Node, channel: &str, events: usize) -> (Duration, Duration) {
    let began = Instant::now();
    let mut socket = session::open(&node.ready.address()).await.expect("it listens");
    let connect = json!({"id": 1, "connect": {"token": node.ready.token}});
    let subscribe =
        json!({"id": 2, "subscribe": {"channel": channel, "recover": true, "epoch": "", "offset": 0}});
    let both = format!("{connect}\n{subscribe}");
    socket.send(Message::text(both)).await.expect("it reads");
    let (mut seen, mut first) = (0, None);
    while seen < events {
        let message = socket.next().await.expect("it goes on").expect("it goes on");
        let Message::Text(text) = message else { continue };
        seen += text.as_str().matches(EVENT).count();
        if seen > 0 {
            first.get_or_insert_with(|| began.elapsed());
        }
    }
    (first.unwrap_or_default(), began.elapsed())
}
