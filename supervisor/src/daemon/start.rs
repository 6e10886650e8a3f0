//! From `main` to the first turn of the loop: lock, journal, home, adoption.

use super::processes::{self, Processes};
use super::{Event, SuperviseError, Supervisor, now_ms, promote, sidecar};
use crate::io::home::{self, Found};
use crate::io::journal::SupervisorJournal;
use crate::io::replace::Kept;
use crate::io::{control, root, slots};
use crate::node_state::Change;
use crate::settings::Settings;
use crate::transition::Transition;
use holdfast_shared::error::{ApiError, Code};
use holdfast_shared::home::{Home, Role};
use holdfast_shared::notify::{Notifier, NotifySocket};
use holdfast_shared::process::{LockError, PassedFd, RoleLock};
use holdfast_shared::slot::Slot;
use holdfast_shared::token::{self, TokenEntry, TokenRole};
use std::io;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// The predecessor that had the journal's lock is dead; its role lock goes with it, a moment later at most.
const ROLE_LOCK: Duration = Duration::from_secs(5);
/// Id of the token in `<home>/token`.
const OPERATOR: &str = "operator";

pub(super) async fn start(
    home: &Home,
    instance: String,
    kept: Kept,
    events: mpsc::Sender<Event>,
) -> Result<(Supervisor, NotifySocket), SuperviseError> {
    let found = home::look(home)?;
    home::make_directories(home)?;
    let Kept { journal, role, listener, failed } = kept;
    let listener = listener.map(|fd| PassedFd { name: "listener".into(), fd });
    crate::io::listener::remember_passed(home, listener.as_slice())?;
    let settings = read_settings(home)?;
    let now = u64::try_from(now_ms()).unwrap_or(0);
    let mut journal = match journal {
        Some(lock) => SupervisorJournal::open_kept(home, lock, &instance, now)?,
        None => SupervisorJournal::open(home, &instance, now)?,
    };
    let lock = match role {
        Some(lock) => RoleLock::adopt(home, Role::Supervisor, &instance, lock)?,
        None => take_lock(home, &instance)?,
    };
    let adopted = processes::find(home).map_err(SuperviseError::system("look for living processes"))?;
    let notify =
        NotifySocket::bind(&home.notify()).map_err(SuperviseError::system("bind run/notify.sock"))?;
    fill_slots(home, &adopted)?;
    ensure_operator_token(home, &mut journal)?;
    let identity = match found {
        Found::Node(identity) => identity,
        Found::New => home::write_identity(home, &uuid::Uuid::new_v4().to_string())?,
    };
    control::listen(home, events.clone()).map_err(SuperviseError::system("bind run/supervisor.sock"))?;
    if let Some(address) = settings.supervisor.metrics_listen {
        crate::io::metrics::listen(address, events.clone());
    }
    let (processes, runtimes, sidecar_serves) =
        Processes::adopt(home, adopted, listener.map(|passed| passed.fd), &events, journal.generation())
            .await
            .map_err(SuperviseError::system("watch living processes"))?;
    let state = journal.state();
    let has_served =
        state.committed.is_some() && runtimes.iter().any(|one| *one != crate::transition::Runtime::Absent);
    let (transition, actions) = Transition::boot(
        journal.generation(),
        state.highest_epoch,
        state.committed.is_some(),
        runtimes,
        sidecar_serves,
    );
    let probes = [new_token()?, new_token()?];
    let mut supervisor = Supervisor {
        home: home.clone(),
        instance,
        node_id: identity.id,
        settings,
        lock,
        attempt_no: 0,
        preparation: Default::default(),
        attempt_timer: None,
        probes_in_a_row: 0,
        recovering: true,
        waiting: Default::default(),
        promotion: promote::Promotion::new(failed),
        sidecar: sidecar::Sidecar::new(home, transition.decision, probes),
        transition: transition.clone(),
        processes,
        journal,
        has_served,
        degraded: false,
        stopping: None,
        problems: Vec::new(),
        counted: Default::default(),
        held: (None, false),
        keeper: Notifier::from_env(),
        timer: None,
        ticks: 0,
        events,
        last_event: serde_json::Value::Null,
    };
    supervisor.arm_attempt();
    supervisor.adopt_and_act(transition, actions)?;
    supervisor.ensure_sidecar()?;
    let swept = home.clone();
    tokio::task::spawn_blocking(move || crate::io::workers::sweep_removed(&swept));
    Ok((supervisor, notify))
}

/// Reads `holdfast.toml`; none means defaults.
pub(super) fn read_settings(home: &Home) -> Result<Settings, ApiError> {
    let path = home.config();
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Settings::default()),
        Err(error) => return Err(home::on_file("read", &path, &error)),
    };
    Settings::parse(&text)
        .map_err(|error| ApiError::new(Code::InvalidRequest, format!("{}: {error}", path.display())))
}

fn take_lock(home: &Home, instance: &str) -> Result<RoleLock, LockError> {
    let deadline = Instant::now() + ROLE_LOCK;
    loop {
        match RoleLock::take(home, Role::Supervisor, instance) {
            Err(LockError::Taken { .. }) if Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(2));
            }
            taken => return taken,
        }
    }
}

/// Puts the built runtime into slots that nothing alive runs from. A tree that was not built is no reason not to
/// run what the slots have.
fn fill_slots(home: &Home, adopted: &processes::Found) -> Result<(), ApiError> {
    let free = Slot::BOTH.into_iter().filter(|slot| !adopted.runs_from(*slot));
    let mut free = free.peekable();
    // Promoted root files have no built runtime beside them: the slots have what the node was updated to.
    let in_use = root::read(home).unwrap_or_else(|error| {
        tracing::error!(%error, "root files are not used");
        Default::default()
    });
    if free.peek().is_none() || in_use.current.is_some_and(|root| root::is_ours(home, &root)) {
        return Ok(());
    }
    match slots::Built::find() {
        Ok(built) => free.try_for_each(|slot| built.fill(home, slot)),
        Err(error) if Slot::BOTH.iter().any(|slot| slots::manifest(home, *slot).ok().flatten().is_some()) => {
            tracing::warn!(%error, "the slots stay as they are");
            Ok(())
        }
        Err(error) => Err(error),
    }
}

/// The operator's token is in its file, and the file's token is valid.
fn ensure_operator_token(home: &Home, journal: &mut SupervisorJournal) -> Result<(), SuperviseError> {
    let entry = match read_token(home)? {
        Some(text) => operator(&text),
        None => write_operator_token(home)?,
    };
    if journal.state().tokens.iter().any(|known| known.hash == entry.hash) {
        return Ok(());
    }
    Ok(journal.append(vec![Change::TokenCreated(entry)])?)
}

/// The token in `<home>/token`.
pub(super) fn read_token(home: &Home) -> Result<Option<String>, ApiError> {
    let path = home.token();
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok(Some(text.trim().to_owned()).filter(|text| !text.is_empty())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(home::on_file("read", &path, &error)),
    }
}

/// Puts a new operator's token into `<home>/token`; its entry, to be journaled.
pub(super) fn write_operator_token(home: &Home) -> Result<TokenEntry, ApiError> {
    let text = new_token()?;
    home::write_file(&home.token(), format!("{text}\n").as_bytes())?;
    Ok(operator(&text))
}

fn operator(text: &str) -> TokenEntry {
    TokenEntry {
        id: OPERATOR.into(),
        hash: token::hash(text),
        role: TokenRole::Operator,
        scope: Default::default(),
        principal: OPERATOR.into(),
        probe_slot: None,
        expires_at: None,
    }
}

/// A new token's text.
pub(super) fn new_token() -> Result<String, ApiError> {
    token::generate().map_err(|error| ApiError::new(Code::InternalError, format!("make a token: {error}")))
}
