//! `up`: the whole tree on this machine; `open`: its link again.

use super::output::{CliError, Output};
use super::place::Place;
use super::stop;
use crate::io::child;
use crate::io::home::{look, make_directories};
use crate::io::listener;
use crate::io::programs::{BUILT_RUNTIME, beside_us, own_program};
use crate::io::slots::{Built, manifest};
use holdfast_shared::error::{ApiError, Code};
use holdfast_shared::home::Role;
use holdfast_shared::peer::ProcessStat;
use holdfast_shared::process::{PidFd, Signals, read_holder};
use holdfast_shared::slot::Slot;
use serde_json::{Value, json};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsFd;
use std::process::Child;
use std::time::{Duration, Instant};

/// Between two looks at a node that is starting. The ready line is late by this at most.
const LOOK_AGAIN: Duration = Duration::from_millis(10);
/// After this, people are told that it takes long, and where to look.
const TAKES_LONG: Duration = Duration::from_secs(10);
/// One look.
const LOOK: Duration = Duration::from_secs(2);

/// Starts the node, prints its line, stays until it ends.
pub fn up(place: &Place, listen: Option<SocketAddr>, output: &Output) -> Result<u8, CliError> {
    refuse_if_running(place)?;
    look(&place.home)?;
    check_settings(place)?;
    check_runtime(place)?;
    make_directories(&place.home)?;
    let listener = bind(place, listen, output)?;
    let mut keeper = start_keeper(place, listener.as_ref())?;
    // From here on the tree has it; kept here it would answer nobody when the tree is gone.
    drop(listener);
    super::output::block_on(stay(place, &mut keeper, output))
}

fn refuse_if_running(place: &Place) -> Result<(), CliError> {
    if !place.lives(Role::Keeper) {
        return Ok(());
    }
    let url = listener::remembered(&place.home).ok().flatten().map(listener::url);
    let home = place.home.path().display();
    let message = format!("already running in {home} at {}", url.as_deref().unwrap_or("an unknown address"));
    Err(ApiError::new(Code::Refused, message).with_details(json!({"url": url})).into())
}

fn check_settings(place: &Place) -> Result<(), CliError> {
    let path = place.home.config();
    let Ok(text) = std::fs::read_to_string(&path) else { return Ok(()) };
    crate::settings::Settings::parse(&text)
        .map(drop)
        .map_err(|error| ApiError::new(Code::InvalidRequest, format!("{}: {error}", path.display())).into())
}

/// Without a runtime in a slot or beside us nothing will serve, and the tree would try again for ever.
fn check_runtime(place: &Place) -> Result<(), CliError> {
    if Slot::BOTH.into_iter().any(|slot| manifest(&place.home, slot).ok().flatten().is_some()) {
        return Ok(());
    }
    Ok(beside_us(BUILT_RUNTIME).map(drop)?)
}

/// The listener for a new sidecar; a living one has its own.
fn bind(place: &Place, listen: Option<SocketAddr>, output: &Output) -> Result<Option<TcpListener>, CliError> {
    if place.lives(Role::Sidecar) {
        output.say("The keeper is gone; what lives is taken over.");
        return Ok(None);
    }
    let listener = listener::bind(&place.home, listen)?;
    let address = listener.local_addr().map_err(CliError::system("look at the listener"))?;
    if listener::remembered(&place.home)? != Some(address) {
        listener::remember(&place.home, address)?;
    }
    Ok(Some(listener))
}

fn start_keeper(place: &Place, listener: Option<&TcpListener>) -> Result<Child, CliError> {
    let arguments = vec!["keep".into(), "--home".into(), place.home.path().into()];
    let plan = child::plan(&own_program(), Role::Keeper, arguments)
        .with_listeners(listener.map(AsFd::as_fd).into_iter().collect());
    child::start(&place.home, &plan).map_err(CliError::system("start the keeper"))
}

async fn stay(place: &Place, keeper: &mut Child, output: &Output) -> Result<u8, CliError> {
    let mut signals = Signals::listen(&[libc::SIGINT, libc::SIGTERM, libc::SIGHUP])
        .map_err(CliError::system("catch signals"))?;
    let pidfd = PidFd::open(keeper.id().cast_signed()).map_err(CliError::system("watch the keeper"))?;
    tokio::select! {
        ready = ready(place, keeper.id(), output) => {
            let line = ready?;
            output.write(&format!("{line}\n"));
            output.say(&format!("Ready: {}", line["open"].as_str().unwrap_or_default()));
            advise_switch(place, output);
        }
        signal = signals.next() => return ended_by(signal, place, output).await,
        _ = pidfd.died() => return Ok(keeper_ended(place, keeper, output)),
    }
    tokio::select! {
        signal = signals.next() => ended_by(signal, place, output).await,
        _ = pidfd.died() => Ok(keeper_ended(place, keeper, output)),
    }
}

/// Waits until browsers are served under a supervisor of this keeper's; the ready line. One that an earlier keeper left
/// behind may say that all is well, and is about to be replaced.
async fn ready(place: &Place, keeper: u32, output: &Output) -> Result<Value, CliError> {
    let client = place.supervisor();
    let begun = Instant::now();
    let mut said = false;
    loop {
        if let Ok(status) = client.get::<Value>("/v1/status", LOOK).await
            && status["node"]["ready"] == json!(true)
            && is_of(keeper, &status["supervisor"]["pid"])
            && let Some(url) = status["node"]["url"].as_str()
        {
            return ready_line(place, url);
        }
        if begun.elapsed() > TAKES_LONG && !std::mem::replace(&mut said, true) {
            output.say("The node is not ready yet; `holdfast status` and `holdfast logs` say why.");
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

fn is_of(keeper: u32, supervisor: &Value) -> bool {
    let pid = supervisor.as_i64().and_then(|pid| i32::try_from(pid).ok());
    let parent = pid.and_then(|pid| ProcessStat::read(pid).ok()).map(|stat| stat.parent);
    parent == Some(keeper.cast_signed())
}

fn ready_line(place: &Place, url: &str) -> Result<Value, CliError> {
    let path = place.home.token();
    let token = std::fs::read_to_string(&path)
        .map_err(CliError::system(format!("read {}", path.display())))?
        .trim()
        .to_owned();
    Ok(json!({"url": url, "token": token, "home": place.home.path(), "open": format!("{url}#token={token}")}))
}

fn advise_switch(place: &Place, output: &Output) {
    let Ok(built) = Built::find() else { return };
    let active = Slot::BOTH.into_iter().find(|slot| {
        read_holder(&place.home, Role::Runtime(*slot)).ok().flatten().is_some()
            && !built.is_in(&place.home, *slot)
            && !is_signed(place, *slot)
    });
    if active.is_some() {
        output.say("The active runtime is older than the built tree: run holdfast switch");
    }
}

/// An installed release is not measured by what happens to be built here.
fn is_signed(place: &Place, slot: Slot) -> bool {
    manifest(&place.home, slot).ok().flatten().is_some_and(|manifest| manifest.signed_by.is_some())
}

async fn ended_by(signal: i32, place: &Place, output: &Output) -> Result<u8, CliError> {
    if signal == libc::SIGHUP {
        output.say("The terminal is gone; the node goes on. `holdfast stop` stops it.");
        return Ok(crate::exit::FINE);
    }
    output.say("Stopping everything ...");
    stop::stop_and_wait(place, false, output).await?;
    output.say("Stopped.");
    Ok(crate::exit::FINE)
}

/// The keeper has ended: stopped, or it could not go on.
fn keeper_ended(place: &Place, keeper: &mut Child, output: &Output) -> u8 {
    let code = keeper.wait().ok().and_then(|status| status.code());
    match code {
        Some(0) => {
            output.say(match place.anything_lives() {
                true => "The keeper was told to go; what runs goes on. `holdfast up` takes it over.",
                false => "Stopped.",
            });
            crate::exit::FINE
        }
        code => {
            let log = place.home.logs();
            for name in ["supervisor", "keeper"] {
                if let Some(error) = crate::io::logs::last_error(&log, name) {
                    output.say(&format!("holdfast: {error}"));
                    break;
                }
            }
            code.and_then(|code| u8::try_from(code).ok()).unwrap_or(crate::exit::FAILED)
        }
    }
}

/// Prints the link again.
pub fn open(place: &Place, output: &Output) -> Result<u8, CliError> {
    if !place.anything_lives() {
        return Err(place.not_running());
    }
    let address = listener::remembered(&place.home)?.ok_or_else(|| place.not_running())?;
    let line = ready_line(place, &listener::url(address))?;
    output.result(&line, || line["open"].as_str().unwrap_or_default().to_owned());
    Ok(crate::exit::FINE)
}
