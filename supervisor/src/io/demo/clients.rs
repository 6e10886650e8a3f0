//! Those who watch: each client connects again whenever it is dropped, goes on behind the last event it has seen, and
//! counts what it sees until the turn has ended.

use super::{DemoError, DemoNode, LOOK, PATIENCE, TASK};
use crate::demo::tally::{Tally, Total};
use crate::io::centrifuge_client::{ClientError, Push, Session};
use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;

/// Clients that watch the turn, each on a connection of its own.
pub struct Clients {
    tallies: Vec<Rc<RefCell<Tally>>>,
    begun: Instant,
}

impl Clients {
    /// Connects `number` clients; each counts what it sees from the conversation's beginning on.
    ///
    /// # Errors
    /// When they have not all seen the turn in time.
    pub async fn connect(node: &DemoNode, number: usize) -> Result<Self, DemoError> {
        let begun = Instant::now();
        let address = node.address().to_owned();
        let mut clients = Clients { tallies: Vec::new(), begun };
        for _ in 0..number {
            let tally = Rc::new(RefCell::new(Tally::default()));
            clients.tallies.push(tally.clone());
            let (address, token) = (address.clone(), node.token.clone());
            tokio::task::spawn_local(async move {
                while !tally.borrow().sealed {
                    if watch(&address, &token, &tally, begun).await.is_err() {
                        tally.borrow_mut().dropped += 1;
                        tokio::time::sleep(LOOK).await;
                    }
                }
            });
        }
        clients.until("every client watches", |tally| tally.line > 0).await?;
        Ok(clients)
    }

    /// Waits until every client's count is so.
    ///
    /// # Errors
    /// When that takes too long.
    pub async fn until(&self, what: &str, so: impl Fn(&Tally) -> bool) -> Result<(), DemoError> {
        let begun = Instant::now();
        while !self.tallies.iter().all(|tally| so(&tally.borrow())) {
            if begun.elapsed() > PATIENCE {
                let missing = self.tallies.iter().filter(|tally| !so(&tally.borrow())).count();
                return Err(DemoError::Late(format!("{what}: not so for {missing} clients")));
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }

    /// The highest line any client has seen.
    pub fn line(&self) -> u64 {
        self.tallies.iter().map(|tally| tally.borrow().line).max().unwrap_or(0)
    }

    /// The longest gap of any client since the last call.
    pub fn take_longest_gap(&self) -> Duration {
        let take = |tally: &Rc<RefCell<Tally>>| {
            let gap = tally.borrow().longest_gap;
            tally.borrow_mut().forget_gap();
            gap
        };
        self.tallies.iter().map(take).max().unwrap_or_default()
    }

    /// Since the clients began to connect.
    pub fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }

    /// The four numbers.
    pub fn total(&self, longest_gap: Duration) -> Total {
        let tallies: Vec<Tally> = self.tallies.iter().map(|tally| tally.borrow().clone()).collect();
        Total::of(&tallies, longest_gap)
    }
}

/// Connects to the node, as one client.
pub(super) async fn connect(address: &str, token: &str) -> Result<Session<TcpStream>, ClientError> {
    let io = |error| ClientError::Transport(tokio_tungstenite::tungstenite::Error::Io(error));
    let stream = TcpStream::connect(address).await.map_err(io)?;
    Session::connect(stream, &format!("ws://{address}/ws"), Some(token)).await
}

/// One connection of one client, until the turn's end.
async fn watch(
    address: &str,
    token: &str,
    tally: &Rc<RefCell<Tally>>,
    begun: Instant,
) -> Result<(), ClientError> {
    let mut session = connect(address, token).await?;
    let offset = tally.borrow().offset;
    let subscribed = session.subscribe(&format!("conversation:{TASK}"), Some(("", offset))).await?;
    for publication in subscribed.publications {
        tally.borrow_mut().event(publication.offset, &publication.data, begun.elapsed());
    }
    while !tally.borrow().sealed {
        match session.next().await? {
            Push::Publication(_, publication) => {
                tally.borrow_mut().event(publication.offset, &publication.data, begun.elapsed());
            }
            Push::Unsubscribed { reason, .. } => return Err(ClientError::Protocol(reason)),
        }
    }
    session.close().await;
    Ok(())
}
