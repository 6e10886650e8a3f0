//! What all tasks of the sidecar share on its one thread: the exchange, the time, who is to be woken.

use crate::daemon::Event;
use crate::exchange::{Effect, Exchange, Now};
use crate::io::bell::Bell;
use crate::io::probe;
use crate::pacing::{Flushes, Pacing};
use crate::session::{Entrance, SessionId};
use crate::tokens::{Identity, TokenError};
use bytes::Bytes;
use holdfast_shared::error::{ApiError, Code};
use holdfast_shared::home::Home;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::{mpsc, oneshot};

/// In the details of a refusal because of the token: whether that has expired (else it is not known).
pub const BAD_TOKEN: &str = "expired";

/// HTTP requests waiting for an answer at most; more are refused with `BUSY`.
pub const WAITING_REQUESTS: usize = 1024;
/// Events on their way to the daemon's loop at most; whoever has more waits.
pub const EVENTS: usize = 64;

/// The shared state.
pub struct World {
    /// The home directory.
    pub home: Home,
    /// New per start.
    pub instance: String,
    /// To the daemon's loop.
    pub events: mpsc::Sender<Event>,
    /// Rings when the link has output.
    pub link_bell: Rc<Bell>,
    /// Rings when the daemon's next deadline may have changed.
    pub time_bell: Bell,
    exchange: RefCell<Exchange>,
    pacing: RefCell<Pacing>,
    start: Instant,
    bells: RefCell<HashMap<SessionId, Rc<Bell>>>,
    waiting: RefCell<HashMap<u64, oneshot::Sender<Result<Bytes, ApiError>>>>,
    next_ticket: Cell<u64>,
}

impl World {
    /// A world around an exchange.
    pub fn new(home: Home, instance: String, exchange: Exchange, events: mpsc::Sender<Event>) -> Rc<Self> {
        let interval = Duration::from_millis(exchange.settings().flush_ms);
        Rc::new(Self {
            home,
            instance,
            events,
            link_bell: Rc::default(),
            time_bell: Bell::default(),
            exchange: RefCell::new(exchange),
            pacing: RefCell::new(Pacing::new(interval)),
            start: Instant::now(),
            bells: RefCell::default(),
            waiting: RefCell::default(),
            next_ticket: Cell::new(0),
        })
    }

    /// The time.
    pub fn now(&self) -> Now {
        let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let unix_ms = i64::try_from(unix.as_millis()).unwrap_or(i64::MAX);
        Now { since_start: self.start.elapsed(), unix_ms }
    }

    /// The instant of a time since start.
    pub fn instant(&self, since_start: Duration) -> tokio::time::Instant {
        let far = Duration::from_secs(3600);
        let now = Instant::now();
        self.start.checked_add(since_start).unwrap_or(now + far).min(now + far).into()
    }

    /// Does something with the exchange and performs what follows.
    pub fn act<T>(self: &Rc<Self>, action: impl FnOnce(&mut Exchange, Now) -> T) -> T {
        let now = self.now();
        let mut exchange = self.exchange.borrow_mut();
        let result = action(&mut exchange, now);
        let effects = exchange.take_effects();
        drop(exchange);
        effects.into_iter().for_each(|effect| self.perform(effect));
        result
    }

    /// Looks something up in the exchange.
    pub fn look<T>(&self, look: impl FnOnce(&Exchange) -> T) -> T {
        look(&self.exchange.borrow())
    }

    /// When this socket may be flushed: now, or at the time given.
    pub fn may_flush(&self, id: SessionId, socket: &Flushes, now: Duration) -> Result<(), Duration> {
        let complete = self.look(|exchange| exchange.has_answered(id));
        self.pacing.borrow_mut().may_flush(socket, complete, now)
    }

    fn perform(self: &Rc<Self>, effect: Effect) {
        match effect {
            Effect::Wake(session) => {
                if let Some(bell) = self.bells.borrow().get(&session) {
                    bell.ring();
                }
            }
            Effect::WakeLink => {
                self.link_bell.ring();
                self.time_bell.ring();
            }
            Effect::WakeTime => self.time_bell.ring(),
            Effect::Answer { ticket, result } => {
                if let Some(waiting) = self.waiting.borrow_mut().remove(&ticket) {
                    let _ = waiting.send(result);
                }
            }
            Effect::Probe { session, command, slot, params, caller } => {
                let world = self.clone();
                tokio::task::spawn_local(async move {
                    let result = probe::ask(&world, slot, params, caller).await;
                    world.act(|exchange, _| exchange.probed(session, command, result));
                });
            }
        }
    }

    /// Opens a session.
    pub fn open(self: &Rc<Self>, entrance: Entrance) -> (SessionId, Rc<Bell>) {
        let id = self.act(|exchange, now| exchange.open(entrance, now));
        let bell = Rc::new(Bell::default());
        self.bells.borrow_mut().insert(id, bell.clone());
        (id, bell)
    }

    /// Forgets a session whose socket is gone.
    pub fn closed(self: &Rc<Self>, id: SessionId) {
        self.bells.borrow_mut().remove(&id);
        self.act(|exchange, now| exchange.closed(id, now));
    }

    /// Asks the exchange something for an HTTP request and waits for its answer. Dropping this future leaves
    /// what was commanded queued.
    ///
    /// # Errors
    /// What the exchange or the runtime refuses, and `BUSY` past [`WAITING_REQUESTS`].
    pub async fn ask(
        self: &Rc<Self>,
        question: impl FnOnce(&mut Exchange, u64, Now),
    ) -> Result<Bytes, ApiError> {
        if self.waiting.borrow().len() >= WAITING_REQUESTS {
            return Err(ApiError::new(Code::Busy, "too many requests wait for an answer"));
        }
        let ticket = self.next_ticket.replace(self.next_ticket.get() + 1);
        let (sender, answer) = oneshot::channel();
        self.waiting.borrow_mut().insert(ticket, sender);
        let forget = Forget { world: self.clone(), ticket };
        self.act(|exchange, now| question(exchange, ticket, now));
        let answer = answer.await;
        drop(forget);
        answer.unwrap_or_else(|_| Err(ApiError::new(Code::InternalError, "the request was forgotten")))
    }

    /// Who a request's bearer is.
    ///
    /// # Errors
    /// `FORBIDDEN` where the token opens nothing, `UNAVAILABLE` before the tokens are known.
    pub fn identify(&self, token: Option<&str>) -> Result<Identity, ApiError> {
        let now = self.now();
        self.look(|exchange| {
            let tokens = exchange.tokens();
            let tokens = tokens.ok_or_else(|| ApiError::new(Code::Unavailable, "starting"))?;
            let identity = tokens.identify(token.unwrap_or_default(), now.unix_ms);
            identity.map_err(|error| {
                let details = serde_json::json!({ BAD_TOKEN: error == TokenError::Expired });
                ApiError::new(Code::Forbidden, error.to_string()).with_details(details)
            })
        })
    }
}

/// Forgets a waiting request when its future is dropped.
struct Forget {
    world: Rc<World>,
    ticket: u64,
}

impl Drop for Forget {
    fn drop(&mut self) {
        if self.world.waiting.borrow_mut().remove(&self.ticket).is_some() {
            let ticket = self.ticket;
            self.world.act(|exchange, _| exchange.abandon(ticket));
        }
    }
}
