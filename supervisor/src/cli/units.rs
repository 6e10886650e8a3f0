//! `units apply|remove`: root's own, run by `holdfast-units.service` and by the package's scripts.

use super::output::{CliError, Output};
use super::place::Place;
use crate::io::programs::own_program;
use crate::io::systemd::INSTALLED_HOME;
use crate::io::units::placing::{Places, apply, remove};
use crate::io::units::systemctl::Systemctl;
use crate::io::units::{ADMINISTRATORS, KEYS, PACKAGED, STATE};
use clap::Subcommand;
use holdfast_shared::error::{ApiError, Code};
use holdfast_shared::home::Home;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Before a run ends, when everything is said: whoever writes wishes without end does not reach the unit's start limit, at
/// which systemd would hear none any more.
const PAUSE: Duration = Duration::from_millis(2500);

/// What root does with units.
#[derive(Debug, Subcommand)]
pub enum UnitsCommand {
    /// Carry out what the node wishes, or put back what was interrupted.
    Apply,
    /// Remove what a bundle has placed; systemd is to be reloaded after it.
    Remove,
}

/// Runs it.
pub fn units(home: Option<PathBuf>, command: UnitsCommand, output: &Output) -> Result<u8, CliError> {
    if !nix::unistd::geteuid().is_root() {
        return Err(ApiError::new(Code::Refused, "units are root's: run it as root").into());
    }
    let failed = |error: crate::io::units::placing::PlacingError| {
        CliError::from(ApiError::new(Code::InternalError, error.to_string()))
    };
    match command {
        UnitsCommand::Apply => {
            holdfast_shared::log::init("units", &format!("un-{}", std::process::id()));
            let places = places(Place::find(home)?.home);
            let outcome = apply(&places, &Systemctl, jiff::Timestamp::now().as_millisecond());
            let outcome = outcome.map_err(failed)?;
            output.result(&json!({"outcome": outcome}), || match &outcome {
                Some(outcome) => format!("{:?} {}: {}", outcome.end, outcome.reason, outcome.message),
                None => "Nothing is wished.".into(),
            });
            std::thread::sleep(PAUSE);
        }
        UnitsCommand::Remove => {
            let removed = remove(&places(Home::new(INSTALLED_HOME))).map_err(failed)?;
            output.result(&json!({"removed": removed}), || format!("Removed: {}", removed.join(", ")));
        }
    }
    Ok(crate::exit::FINE)
}

fn places(home: Home) -> Places {
    let program = own_program();
    let programs = program.parent().unwrap_or(Path::new("/")).display();
    Places {
        home,
        state: STATE.into(),
        keys: KEYS.into(),
        units: ADMINISTRATORS.into(),
        packaged: PACKAGED.map(PathBuf::from).into(),
        programs: format!("{programs}/"),
        version: env!("CARGO_PKG_VERSION").into(),
        owner: 0,
    }
}
