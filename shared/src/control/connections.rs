//! The connections of one control socket: how long each has been waiting, and which one makes room.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// An answer that is being written when its connection is to make room has this long to leave.
const LAST_ANSWER: Duration = Duration::from_secs(1);

/// All connections that are served.
#[derive(Debug, Default)]
pub(super) struct Connections {
    served: RefCell<Vec<Rc<Connection>>>,
    /// One has turned idle.
    idle: Notify,
}

/// One connection, shared by who serves it and who may close it.
#[derive(Debug)]
pub(super) struct Connection {
    /// Since when it has asked for nothing; `None` while a handler works for it.
    idle_since: Cell<Option<Instant>>,
    /// It has sent a whole request head.
    asked: Cell<bool>,
    closing: Cell<bool>,
    close: Notify,
}

impl Connections {
    pub(super) fn len(&self) -> usize {
        self.served.borrow().len()
    }

    pub(super) fn add(&self) -> Rc<Connection> {
        let connection = Rc::new(Connection {
            idle_since: Cell::new(Some(Instant::now())),
            asked: Cell::new(false),
            closing: Cell::new(false),
            close: Notify::new(),
        });
        self.served.borrow_mut().push(connection.clone());
        connection
    }

    pub(super) fn remove(&self, connection: &Rc<Connection>) {
        self.served.borrow_mut().retain(|one| !Rc::ptr_eq(one, connection));
    }

    /// Closes the one that has been idle for longest. One at a time: nothing while one that was told to close is
    /// still there, nor while a handler works for each of them.
    pub(super) fn make_room(&self) {
        let served = self.served.borrow();
        if served.iter().any(|one| one.closing.get()) {
            return;
        }
        let idle = served.iter().filter_map(|one| Some((one.idle_since.get()?, one)));
        if let Some((_, longest)) = idle.min_by_key(|(since, _)| *since) {
            longest.closing.set(true);
            longest.close.notify_one();
        }
    }

    /// Resolves when one has turned idle since the last time.
    pub(super) async fn turned_idle(&self) {
        self.idle.notified().await;
    }

    /// A handler works for it from now until the answer is made. Making room does not close it meanwhile.
    pub(super) fn works_for<'a>(&'a self, connection: &'a Connection) -> Working<'a> {
        connection.idle_since.set(None);
        Working { connections: self, connection }
    }
}

impl Connection {
    /// It has sent a whole request head.
    pub(super) fn has_asked(&self) {
        self.asked.set(true);
        self.idle_since.set(Some(Instant::now()));
    }

    /// Resolves when it is to be closed: it makes room, or has sent no whole head in time.
    pub(super) async fn is_to_close(&self, first_within: Duration) {
        let late = async {
            tokio::time::sleep(first_within).await;
            if self.asked.get() {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            () = self.close.notified() => {}
            () = late => {}
        }
    }

    /// What an answer under way is given; nothing where none can be.
    pub(super) fn last_answer(&self) -> Duration {
        if self.asked.get() { LAST_ANSWER } else { Duration::ZERO }
    }
}

/// A handler at work; ends with it, also where the handler is dropped.
pub(super) struct Working<'a> {
    connections: &'a Connections,
    connection: &'a Connection,
}

impl Drop for Working<'_> {
    fn drop(&mut self) {
        self.connection.idle_since.set(Some(Instant::now()));
        self.connections.idle.notify_one();
    }
}
