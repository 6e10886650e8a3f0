//! A browser as the tests need it: speaks the Centrifuge JSON protocol, checks every offset, reconnects with
//! recovery, sends commands again under their ids, and counts what it should never see.

mod observed;
pub mod session;

pub use observed::{Channel, Observed};

use serde_json::{Value, json};
use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot, watch};

/// Orders waiting for the session's task; more than any test sends at once.
const QUEUE_ORDERS: usize = 256;
/// A command that stays unanswered this long fails its test.
const COMMAND_DEADLINE: Duration = Duration::from_secs(60);
/// Between two tries of a command whose error was marked temporary.
const RETRY_PAUSE: Duration = Duration::from_millis(200);

/// What a client does beyond connecting.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// `host:port`.
    pub address: String,
    /// Token given at connect.
    pub token: String,
    /// Channels, each from its first event (`since` zero) or from now.
    pub channels: Vec<(String, Since)>,
    /// Whether every event's data is kept (else only a digest of each).
    pub keep_data: bool,
}

/// Where a subscription begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Since {
    /// The channel's first event: the whole history comes.
    Start,
    /// What is published from now on.
    Now,
}

/// An error reply to a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Number of the code.
    pub code: u64,
    /// `CODE: text`.
    pub message: String,
    /// Whether it may be sent again.
    pub temporary: bool,
}

impl Refusal {
    /// Whether it bears this string code.
    pub fn is(&self, code: &str) -> bool {
        self.message.split(':').next() == Some(code)
    }
}

/// How an rpc ended.
#[derive(Clone, Debug)]
pub enum RpcError {
    /// The server said no.
    Refused(Refusal),
    /// The connection ended before the answer.
    Disconnected,
}

/// What the handle tells its session's task.
pub(crate) enum Order {
    Rpc(Command),
    /// Cut the connection, as a lost network does; the session connects again.
    Cut,
    /// Read nothing for so long, as a browser in a suspended laptop does.
    Pause(Duration),
}

pub(crate) struct Command {
    pub(crate) method: String,
    pub(crate) data: Value,
    pub(crate) answer: oneshot::Sender<Result<Value, RpcError>>,
}

/// A running client; ends with its handle.
pub struct Client {
    observed: Rc<RefCell<Observed>>,
    changes: watch::Receiver<u64>,
    orders: mpsc::Sender<Order>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Client {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Client {
    /// Starts a client on this thread's local set; it connects, and reconnects for ever.
    pub fn start(wanted: Wanted) -> Client {
        let (orders, queue) = mpsc::channel(QUEUE_ORDERS);
        let (changed, changes) = watch::channel(0);
        let observed = Rc::new(RefCell::new(Observed::new(&wanted)));
        let task = tokio::task::spawn_local(session::run(wanted, observed.clone(), queue, changed));
        Client { observed, changes, orders, task }
    }

    /// Looks at what was seen so far.
    pub fn observed<T>(&self, look: impl FnOnce(&Observed) -> T) -> T {
        look(&self.observed.borrow())
    }

    /// Starts the measurement of a channel's gaps anew.
    pub fn forget_gaps(&self, channel: &str) {
        if let Some(channel) = self.observed.borrow_mut().channels.get_mut(channel) {
            channel.forget_gaps();
        }
    }

    /// Waits until what was seen satisfies `level`.
    ///
    /// # Panics
    /// At the deadline, with what was seen.
    pub async fn wait(&self, what: &str, deadline: Duration, mut level: impl FnMut(&Observed) -> bool) {
        let mut changes = self.changes.clone();
        let ends = Instant::now() + deadline;
        while !level(&self.observed.borrow()) {
            let left = ends.saturating_duration_since(Instant::now());
            let changed = tokio::time::timeout(left, changes.changed()).await;
            assert!(
                changed.is_ok_and(|sent| sent.is_ok()) || level(&self.observed.borrow()),
                "after {deadline:?} still not: {what}; seen: {}",
                self.observed.borrow().summary()
            );
        }
    }

    /// Waits until the client is connected and every channel is subscribed.
    ///
    /// # Panics
    /// After 30 s.
    pub async fn ready(&self) {
        self.wait("connected and subscribed", Duration::from_secs(30), Observed::is_ready).await;
    }

    /// Cuts the connection; the client connects again and recovers.
    pub async fn cut(&self) {
        let _ = self.orders.send(Order::Cut).await;
    }

    /// Lets the client read nothing for so long.
    pub async fn pause(&self, time: Duration) {
        let _ = self.orders.send(Order::Pause(time)).await;
    }

    /// Sends one rpc and waits for its answer.
    ///
    /// # Errors
    /// The server's refusal, or a lost connection.
    ///
    /// # Panics
    /// When nothing comes back for a minute.
    pub async fn rpc(&self, method: &str, data: Value) -> Result<Value, RpcError> {
        let (answer, answered) = oneshot::channel();
        let command = Command { method: method.to_owned(), data, answer };
        if self.orders.send(Order::Rpc(command)).await.is_err() {
            return Err(RpcError::Disconnected);
        }
        match tokio::time::timeout(COMMAND_DEADLINE, answered).await {
            Ok(answer) => answer.unwrap_or(Err(RpcError::Disconnected)),
            Err(_) => panic!("{method} was not answered within {COMMAND_DEADLINE:?}"),
        }
    }

    /// Sends a command under an id of its own until it is answered for good: again after every error marked
    /// temporary and after every lost connection.
    ///
    /// # Errors
    /// The server's final refusal.
    ///
    /// # Panics
    /// When there is no final answer within a minute.
    pub async fn command(&self, method: &str, data: Value) -> Result<Value, Refusal> {
        self.command_with_id(&uuid::Uuid::now_v7().to_string(), method, data).await
    }

    /// [`Client::command`] under a given id.
    ///
    /// # Errors
    /// The server's final refusal.
    ///
    /// # Panics
    /// When there is no final answer within a minute.
    pub async fn command_with_id(&self, id: &str, method: &str, mut data: Value) -> Result<Value, Refusal> {
        data["command_id"] = json!(id);
        let ends = Instant::now() + COMMAND_DEADLINE;
        loop {
            let last = match self.rpc(method, data.clone()).await {
                Ok(answer) => return Ok(answer),
                Err(RpcError::Refused(refusal)) if !refusal.temporary => return Err(refusal),
                Err(error) => error,
            };
            assert!(Instant::now() < ends, "{method} {data} has no final answer within a minute: {last:?}");
            crate::wait::pass(RETRY_PAUSE).await;
        }
    }
}

/// The whole text a conversation's turn wrote, from its events.
pub fn text_of(events: &[Value], turn: &str) -> String {
    events
        .iter()
        .filter(|event| event["type"] == "turn.output" && event["turn"] == turn)
        .filter_map(|event| event["text"].as_str())
        .collect()
}
