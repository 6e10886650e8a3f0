//! One loop over one closed event enum: what the supervisor wishes, links, time. Sessions' bytes do not come
//! by here.

mod wishes;

use crate::exchange::Exchange;
use crate::io::world::{EVENTS, World};
use crate::io::{control, link, listener};
use crate::settings::Settings;
use crate::wish::{Deed, Target, Wished};
use holdfast_shared::decision::Decision;
use holdfast_shared::error::{ApiError, Code};
use holdfast_shared::home::{Home, Role};
use holdfast_shared::link::frame::Received;
use holdfast_shared::notify::{Notifier, WATCHDOG_MILLISECONDS};
use holdfast_shared::process::{LockError, RoleLock, Signals, bind_unix};
use holdfast_shared::wished::{WishedReport, WishedState};
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

/// What sessions get to hear that the sidecar stops.
const GOODBYE_WITHIN: Duration = Duration::from_millis(500);

/// A wished state with the way to answer it.
pub struct WishedPut {
    /// The wished state.
    pub wished: WishedState,
    /// Takes the answer.
    pub answer: oneshot::Sender<Result<WishedReport, ApiError>>,
}

/// Everything the loop hears.
pub enum Event {
    /// The supervisor put a wished state.
    Wished(Box<WishedPut>),
    /// Somebody asks for the status.
    Status(oneshot::Sender<WishedReport>),
    /// A dialled runtime said hello.
    LinkGreeted {
        /// Number of the link.
        link: u64,
        /// Who was dialled.
        target: Target,
        /// The epoch it is active with.
        epoch: Option<u64>,
    },
    /// A message of the routed runtime.
    LinkMessage {
        /// Number of the link.
        link: u64,
        /// The message.
        received: Received,
    },
    /// A link ended or could not be made.
    LinkLost {
        /// Number of the link.
        link: u64,
        /// Who was dialled.
        target: Target,
    },
}

/// Why the sidecar did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Another one lives, or its lock cannot be taken.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// No listener was passed, or it is not one.
    #[error("the public listener: {0}")]
    Listener(io::Error),
    /// The control socket cannot be made.
    #[error("the control socket: {0}")]
    Control(io::Error),
    /// Signals cannot be listened to.
    #[error("signals: {0}")]
    Signals(io::Error),
}

/// What a sidecar is started with.
pub struct Start {
    /// The home directory.
    pub home: Home,
    /// Its settings.
    pub settings: Settings,
    /// The public listener, as passed.
    pub listener: std::net::TcpListener,
    /// `sc-<8 hex>`, new per start.
    pub instance: String,
}

struct Daemon {
    world: Rc<World>,
    wished: Wished,
    waiting: Vec<(Decision, oneshot::Sender<Result<WishedReport, ApiError>>)>,
    link: Option<(u64, JoinHandle<()>)>,
    next_link: u64,
    redial: Duration,
    notifier: Notifier,
    listener: std::net::TcpListener,
    listening: SocketAddr,
    stored_for: Option<u64>,
}

/// Runs until told to stop.
///
/// # Errors
/// [`StartError`] where it cannot start.
pub async fn run(start: Start) -> Result<(), StartError> {
    let Start { home, settings, listener, instance } = start;
    let _lock = RoleLock::take(&home, Role::Sidecar, &instance)?;
    let stop = [libc::SIGTERM, libc::SIGINT, libc::SIGHUP];
    let mut signals = Signals::listen(&stop).map_err(StartError::Signals)?;
    listener.set_nonblocking(true).map_err(StartError::Listener)?;
    let listening = listener.local_addr().map_err(StartError::Listener)?;
    let public = listener.try_clone().and_then(tokio::net::TcpListener::from_std);
    let public = public.map_err(StartError::Listener)?;
    let control = bind_unix(&home.control(Role::Sidecar)).and_then(tokio::net::UnixListener::from_std);
    let control = control.map_err(StartError::Control)?;

    let redial = Duration::from_millis(settings.redial_ms);
    let (sender, mut events) = mpsc::channel(EVENTS);
    let make_id = Box::new(|| uuid::Uuid::now_v7().to_string());
    let world = World::new(home, instance, Exchange::new(settings, make_id), sender);
    tokio::task::spawn_local(control::serve(world.clone(), control));
    tokio::task::spawn_local(listener::serve(world.clone(), public));
    let mut daemon = Daemon {
        world,
        wished: Wished::default(),
        waiting: Vec::new(),
        link: None,
        next_link: 0,
        redial,
        notifier: Notifier::from_env(),
        listener,
        listening,
        stored_for: None,
    };
    daemon.notifier.store_fd("listener", daemon.listener.as_fd());
    daemon.notifier.ready();
    tracing::info!(%listening, "serving");
    daemon.run(&mut events, &mut signals).await;
    Ok(())
}

impl Daemon {
    async fn run(&mut self, events: &mut mpsc::Receiver<Event>, signals: &mut Signals) {
        let mut watchdog = tokio::time::interval(Duration::from_millis(WATCHDOG_MILLISECONDS));
        watchdog.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let now = self.world.now();
            let deadline = self.world.look(|exchange| exchange.next_deadline(now));
            let world = self.world.clone();
            tokio::select! {
                Some(event) = events.recv() => self.handle(event),
                () = tokio::time::sleep_until(self.world.instant(deadline)) => {
                    self.world.act(|exchange, now| exchange.tick(now));
                }
                () = world.time_bell.rung() => {}
                _ = watchdog.tick() => self.notifier.watchdog(),
                signal = signals.next() => {
                    tracing::info!(signal, "stopping");
                    return self.stop().await;
                }
            }
        }
    }

    async fn stop(&mut self) {
        self.notifier.stopping();
        self.close_link();
        self.world.act(|exchange, _| exchange.shut_down());
        let gone = async {
            while self.world.look(Exchange::session_count) > 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let _ = tokio::time::timeout(GOODBYE_WITHIN, gone).await;
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Wished(put) => self.put(*put),
            Event::Status(answer) => {
                let _ = answer.send(self.report());
            }
            Event::LinkGreeted { link, target, epoch } if self.is_current(link) => {
                let deeds = self.wished.greeted(target, epoch);
                self.perform(deeds);
            }
            Event::LinkMessage { link, received } if self.is_current(link) => {
                let taken = self.world.act(|exchange, now| exchange.link_input(received, now));
                if let Err(error) = taken {
                    tracing::warn!(%error, "closing the link");
                    self.lost();
                }
            }
            Event::LinkLost { link, .. } if self.is_current(link) => self.lost(),
            // Of a link that was closed before; nothing it says counts.
            Event::LinkGreeted { .. } | Event::LinkMessage { .. } | Event::LinkLost { .. } => {}
        }
    }

    fn is_current(&self, link: u64) -> bool {
        self.link.as_ref().is_some_and(|(current, _)| *current == link)
    }

    fn perform(&mut self, deeds: Vec<Deed>) {
        for deed in deeds {
            match deed {
                Deed::CloseLinks => self.close_link(),
                Deed::Dial(target) => self.dial(target, Duration::ZERO),
                Deed::AnswerInEffect => self.answer(|report| Ok(report.clone())),
                Deed::AnswerNotActive => {
                    let text = "the runtime of that slot is not active with that epoch";
                    self.answer(|_| Err(ApiError::new(Code::NotActive, text)));
                }
                Deed::Forward => {
                    if let (Some(target), Some((link, _))) = (self.wished.forwarding(), &self.link) {
                        let link = *link;
                        self.world.act(|exchange, _| exchange.forward(link, target.epoch));
                        tracing::info!(slot = %target.slot, epoch = target.epoch, "forwarding");
                    }
                }
            }
        }
    }

    fn close_link(&mut self) {
        if let Some((_, task)) = self.link.take() {
            task.abort();
        }
        self.world.act(|exchange, now| exchange.hold(now));
    }

    /// The link is gone: holds, and dials again while the wish stands.
    fn lost(&mut self) {
        self.close_link();
        let Some(target) = self.wished.target() else { return };
        for deed in self.wished.lost(target) {
            if let Deed::Dial(target) = deed {
                self.dial(target, self.redial);
            }
        }
    }

    fn dial(&mut self, target: Target, after: Duration) {
        self.next_link += 1;
        let (number, world) = (self.next_link, self.world.clone());
        let task = tokio::task::spawn_local(async move {
            // Even a sleep of nothing lasts until the next millisecond.
            if after > Duration::ZERO {
                tokio::time::sleep(after).await;
            }
            link::run(world, target, number).await;
        });
        self.link = Some((number, task));
    }
}
