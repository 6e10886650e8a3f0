//! `stop`: everything, also with a dead supervisor, and waits for the end.

use super::output::{CliError, Output};
use super::place::Place;
use crate::command::Stop;
use crate::io::stop_tree::{Stopped, living_workers, stop_everything};
use crate::io::systemd;
use holdfast_shared::control::CallError;
use holdfast_shared::home::Role;
use holdfast_shared::process::read_holder;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// The longest stop: workers' ladder, then runtimes' and sidecar's, with margins.
const STOPS: Duration = Duration::from_secs(90);
/// A keeper brings its supervisor back in this time, or not at all.
const COMES_BACK: Duration = Duration::from_secs(3);
/// What the keeper takes to end after its supervisor.
const KEEPER_ENDS: Duration = Duration::from_secs(10);

/// Stops the node. One that systemd has started is stopped by its units, which else would start it again.
pub fn stop(
    place: &Place,
    keep_workers: bool,
    without_systemd: bool,
    output: &Output,
) -> Result<u8, CliError> {
    let workers_run = !keep_workers && living_workers(&place.home) > 0;
    if !place.anything_lives() && !workers_run {
        return Err(place.not_running());
    }
    if !without_systemd && is_of_systemd(place) {
        // A connection to the socket would start the node again; the target's stop ends work too.
        let units = if keep_workers { &[systemd::SOCKET] } else { systemd::ALL };
        systemd::stop_units(units)
            .map_err(CliError::system(format!("systemctl stop {}", units.join(" "))))?;
        if !keep_workers && !place.anything_lives() {
            output.result(&json!({"stopped": {"units": units, "left": 0}}), || "Stopped.".into());
            return Ok(crate::exit::FINE);
        }
    }
    let stopped = super::output::block_on(stop_and_wait(place, keep_workers, output))?;
    output.result(&json!({"stopped": stopped}), || "Stopped.".into());
    Ok(crate::exit::FINE)
}

/// Whether systemd has started what lives.
fn is_of_systemd(place: &Place) -> bool {
    let roles = [Role::Keeper, Role::Supervisor, Role::Sidecar];
    roles.into_iter().any(|role| match read_holder(&place.home, role) {
        Ok(living) => living.is_some_and(|living| systemd::started(living.pid)),
        // Another user's: the installed node's, seen by a member of its group. systemctl says who may stop it.
        Err(error) => error.kind() == std::io::ErrorKind::PermissionDenied,
    })
}

/// Stops the node and waits for its end; what was stopped. Prints nothing on stdout.
///
/// # Errors
/// When something did not die.
pub async fn stop_and_wait(place: &Place, keep_workers: bool, output: &Output) -> Result<Value, CliError> {
    let keeper = read_holder(&place.home, Role::Keeper).ok().flatten();
    let stopped = match ask_supervisor(place, keep_workers).await {
        Some(answer) => {
            if let Some(keeper) = keeper {
                let _ = tokio::time::timeout(KEEPER_ENDS, keeper.pidfd.died()).await;
            }
            answer
        }
        None => {
            output.say("The supervisor does not answer; everything is ended without it.");
            let home = place.home.clone();
            let stopped = tokio::task::spawn_blocking(move || stop_everything(&home, keep_workers)).await;
            describe(stopped.unwrap_or_default())
        }
    };
    if place.anything_lives() || stopped["left"] != json!(0) {
        let message = "some processes did not end; `holdfast status` names them";
        return Err(CliError::System { operation: "stop".into(), source: std::io::Error::other(message) });
    }
    Ok(stopped)
}

/// Asks the supervisor; `None` when there is none and none comes back.
async fn ask_supervisor(place: &Place, keep_workers: bool) -> Option<Value> {
    let client = place.supervisor();
    let deadline = Instant::now() + COMES_BACK;
    loop {
        match client.post::<_, Value>("/v1/stop", &Stop { keep_workers }, STOPS).await {
            Ok(answer) => return Some(answer),
            Err(CallError::Timeout { .. }) => return None,
            Err(_) if Instant::now() < deadline && place.lives(Role::Keeper) => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            // The connection broke because everything has ended, or nobody is there.
            Err(_) if !place.anything_lives() => return Some(describe(Stopped::default())),
            Err(_) => return None,
        }
    }
}

fn describe(stopped: Stopped) -> Value {
    json!({"workers": stopped.workers, "killed_workers": stopped.killed_workers, "left": stopped.left})
}
