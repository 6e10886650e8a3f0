//! Watching a conversation across lost connections: each event once, in order.

use super::output::CliError;
use super::place::Place;
use crate::io::centrifuge_client::{ClientError, Publication, Push, Session};
use holdfast_shared::error::{ApiError, Code};
use holdfast_shared::home::Role;
use holdfast_shared::process::connect_unix;
use serde_json::Value;
use std::collections::VecDeque;
use std::time::{Duration, Instant};
use tokio::net::UnixStream;

/// Between two attempts to connect again.
const AGAIN: Duration = Duration::from_millis(100);
/// After so long without a session, the node is taken for gone.
const GIVES_UP: Duration = Duration::from_secs(60);

/// Where a channel is watched from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start {
    /// Its beginning.
    Beginning,
    /// Behind this event of it.
    Behind {
        /// The epoch of the offset.
        epoch: String,
        /// The event's offset.
        offset: u64,
    },
    /// What comes from now on.
    Now,
}

/// A watched channel.
pub struct Follower<'a> {
    place: &'a Place,
    channel: String,
    session: Session<UnixStream>,
    epoch: String,
    offset: u64,
    ready: VecDeque<Publication>,
    connected: bool,
    elsewhere: bool,
}

impl<'a> Follower<'a> {
    /// Watches a channel. Where it is not any more what `start` is a place in, from its beginning.
    ///
    /// # Errors
    /// When the node is not there, or refuses.
    pub async fn open(place: &'a Place, channel: &str, start: Start) -> Result<Self, CliError> {
        let mut session = connect(place).await?;
        let since = match &start {
            Start::Now => None,
            Start::Beginning => Some(("", 0)),
            Start::Behind { epoch, offset } => Some((epoch.as_str(), *offset)),
        };
        let subscribed = retry_temporary(&mut session, channel, since).await?;
        if matches!(start, Start::Behind { .. }) && !subscribed.recovered {
            let follower = Box::pin(Self::open(place, channel, Start::Beginning)).await?;
            return Ok(Self { elsewhere: true, ..follower });
        }
        let offset = since.map_or(subscribed.offset, |(_, offset)| offset);
        Ok(Self {
            place,
            channel: channel.to_owned(),
            session,
            epoch: subscribed.epoch,
            offset,
            ready: subscribed.publications.into(),
            connected: true,
            elsewhere: false,
        })
    }

    /// Whether it begins with the channel's beginning, since there was no such place in it as it was to begin at.
    pub fn began_elsewhere(&self) -> bool {
        self.elsewhere
    }

    /// Whether there is a session; without one, [`Follower::next`] tries to have one again.
    pub fn connected(&self) -> bool {
        self.connected
    }

    /// The next event, if it has come already.
    pub fn ready(&mut self) -> Option<Value> {
        while let Some(publication) = self.ready.front() {
            if self.offset > 0 && publication.offset > self.offset + 1 && !is_marker(&publication.data) {
                // `next` says so.
                return None;
            }
            let publication = self.ready.pop_front()?;
            if publication.offset > self.offset {
                self.offset = publication.offset;
                return Some(publication.data);
            }
        }
        None
    }

    /// The next event. Safe to drop and call again.
    ///
    /// # Errors
    /// When the node is gone for long, the session is refused, or events are certainly lost.
    pub async fn next(&mut self) -> Result<Value, CliError> {
        loop {
            if let Some(event) = self.ready() {
                return Ok(event);
            }
            if let Some(publication) = self.ready.front() {
                let message = format!("events {} to {} are missing", self.offset + 1, publication.offset - 1);
                return Err(ApiError::new(Code::InternalError, message).into());
            }
            if !self.connected {
                self.reconnect().await?;
                continue;
            }
            match self.session.next().await {
                Ok(Push::Publication(channel, publication)) if channel == self.channel => {
                    self.ready.push_back(publication);
                }
                Ok(Push::Unsubscribed { channel, code, reason }) if channel == self.channel => {
                    if code < 2500 {
                        return Err(ClientError::Refused { code, message: reason, temporary: false }.into());
                    }
                    self.connected = false;
                }
                Ok(_) => {}
                Err(error) if error.may_reconnect() => self.connected = false,
                Err(error) => return Err(error.into()),
            }
        }
    }

    async fn reconnect(&mut self) -> Result<(), CliError> {
        let deadline = Instant::now() + GIVES_UP;
        loop {
            match self.resume().await {
                Ok(()) => return Ok(()),
                Err(error) if Instant::now() >= deadline => return Err(error),
                Err(CliError::Session(error)) if !error.may_reconnect() => return Err(error.into()),
                Err(_) => tokio::time::sleep(AGAIN).await,
            }
        }
    }

    async fn resume(&mut self) -> Result<(), CliError> {
        let mut session = connect(self.place).await?;
        let since = Some((self.epoch.as_str(), self.offset));
        let subscribed = session.subscribe(&self.channel, since).await?;
        if !subscribed.recovered {
            let message = "the history behind the last event seen is no longer there";
            return Err(ClientError::Refused { code: 0, message: message.into(), temporary: false }.into());
        }
        self.epoch = subscribed.epoch;
        self.ready = subscribed.publications.into();
        self.session = session;
        self.connected = true;
        Ok(())
    }
}

/// It stands for events that the node has let go of.
fn is_marker(event: &Value) -> bool {
    event["type"] == "truncated"
}

/// A session on the sidecar's control socket.
async fn connect(place: &Place) -> Result<Session<UnixStream>, CliError> {
    let path = place.home.control(Role::Sidecar);
    let stream = connect_unix(&path).map_err(|source| match place.anything_lives() {
        false => place.not_running(),
        true => CliError::System { operation: format!("connect {}", path.display()), source },
    })?;
    Ok(Session::connect(stream, "ws://localhost/ws", None).await?)
}

async fn retry_temporary(
    session: &mut Session<UnixStream>,
    channel: &str,
    since: Option<(&str, u64)>,
) -> Result<crate::io::centrifuge_client::Subscribed, CliError> {
    let deadline = Instant::now() + GIVES_UP;
    loop {
        match session.subscribe(channel, since).await {
            Err(ClientError::Refused { temporary: true, .. }) if Instant::now() < deadline => {
                tokio::time::sleep(AGAIN).await;
            }
            subscribed => return Ok(subscribed?),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::{SinkExt, StreamExt};
    use holdfast_shared::home::Home;
    use holdfast_shared::process::bind_unix;
    use serde_json::json;
    use tokio_tungstenite::tungstenite::Message;

    /// A stand-in for the sidecar with one event in its channel, whose epoch is `e2`.
    async fn channel_of_another_epoch(socket: UnixStream) {
        let mut session = tokio_tungstenite::accept_async(socket).await.unwrap();
        while let Some(Ok(Message::Text(text))) = session.next().await {
            let command: Value = serde_json::from_str(&text).unwrap();
            let subscribe = &command["subscribe"];
            let reply = if subscribe.is_null() {
                json!({"id": command["id"], "connect": {}})
            } else {
                let recovered = subscribe["epoch"] != "e1";
                let publications =
                    if recovered { json!([{"offset": 1, "data": {"type": "first"}}]) } else { json!([]) };
                json!({"id": command["id"], "subscribe": {"epoch": "e2", "offset": 0, "recovered": recovered,
                    "was_recovering": true, "publications": publications}})
            };
            session.send(Message::text(reply.to_string())).await.unwrap();
        }
    }

    #[test]
    fn a_place_that_is_none_any_more_is_said_and_all_is_shown() {
        let directory = tempfile::tempdir().unwrap();
        let place = Place { home: Home::new(directory.path()) };
        std::fs::create_dir_all(place.home.run()).unwrap();
        let followed = super::super::output::block_on(async {
            let socket = bind_unix(&place.home.control(Role::Sidecar)).unwrap();
            let listener = tokio::net::UnixListener::from_std(socket).unwrap();
            let serving = tokio::task::spawn_local(async move {
                while let Ok((socket, _)) = listener.accept().await {
                    tokio::task::spawn_local(channel_of_another_epoch(socket));
                }
            });
            let mut seen = Vec::new();
            for epoch in ["e1", "e2"] {
                let start = Start::Behind { epoch: epoch.into(), offset: 0 };
                let mut follower = Follower::open(&place, "conversation:t", start).await?;
                seen.push((follower.began_elsewhere(), follower.next().await?["type"].clone()));
            }
            serving.abort();
            Ok(seen)
        });
        assert_eq!(followed.unwrap(), [(true, json!("first")), (false, json!("first"))]);
    }
}
