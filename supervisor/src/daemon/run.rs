//! The process around the loop: what it was given when it started, and what becomes of it when the loop has ended. That
//! is an exit code, or another program in its place.

use super::{End, SuperviseError, supervise};
use crate::io::replace::{HandOver, Kept, is_alone_within, replace};
use holdfast_shared::error::{ApiError, Code};
use holdfast_shared::home::{Home, Role};
use holdfast_shared::process::read_holder;
use holdfast_shared::slot::Slot;
use std::time::Duration;

/// Exit code after SIGTERM or SIGHUP: gone, the children left. Not 0, which means that everything was stopped.
const LEFT: u8 = 15;
/// What threads that start workers are given to end before this process becomes another program.
const STARTS_END: Duration = Duration::from_secs(5);
/// And as long again for the last of them to be gone from the process. Both stay far below systemd's watchdog.
const ALONE: Duration = Duration::from_secs(5);

/// Supervises this home until it is stopped, told to leave, or cannot go on.
pub fn run(home: &Home) -> u8 {
    // First of all: the passed numbers must not be taken by anything else.
    let mut kept = Kept::from_environment();
    let listeners = holdfast_shared::process::listen_fds();
    kept.listener = kept.listener.or_else(|| listeners.into_iter().next().map(|passed| passed.fd));
    let instance = format!("sv-{}", std::process::id());
    holdfast_shared::log::init("supervisor", &instance);
    loop {
        match run_once(home, &instance, kept) {
            Ok(code) => return code,
            // Who still works here may fork while the locks are open to whatever it executes, which would then have them
            // for as long as it lives. Ended, this process is followed by the same program, which the keeper starts.
            Err(_) if !is_alone_within(ALONE) => {
                tracing::error!(
                    "a thread of the supervisor does not end; the keeper starts the promoted one"
                );
                return LEFT;
            }
            // Comes back only when it could not become the other program: then this one goes on.
            Err(hand_over) => kept = replace(home, *hand_over),
        }
        tracing::error!(error = kept.failed, "the supervisor was not replaced");
    }
}

/// Supervises until the end: an exit code, or what the program is given that this process is to become.
fn run_once(home: &Home, instance: &str, kept: Kept) -> Result<u8, Box<HandOver>> {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, "start the event loop");
            return Ok(crate::exit::FAILED);
        }
    };
    let local = tokio::task::LocalSet::new();
    let outcome = local.block_on(&runtime, supervise(home, instance.to_owned(), kept));
    let outcome = match outcome {
        Ok(End::Replaced(hand_over)) => {
            drop(local);
            // A worker whose start is under way is started. What takes longer is looked at before descriptors are kept.
            runtime.shutdown_timeout(STARTS_END);
            return Err(hand_over);
        }
        outcome => outcome,
    };
    // Reading threads may be under way; nothing of theirs is to be waited for.
    runtime.shutdown_background();
    Ok(exit_code(home, outcome))
}

fn exit_code(home: &Home, outcome: Result<End, SuperviseError>) -> u8 {
    match outcome {
        Ok(End::Stopped) => crate::exit::FINE,
        Ok(End::Left | End::Replaced(_)) => LEFT,
        Err(SuperviseError::Home(error)) => {
            tracing::error!(code = error.code.as_str(), "{}", error.message);
            code_of_home_error(&error, child_lives(home))
        }
        Err(error) => {
            tracing::error!(%error, "supervisor");
            crate::exit::FAILED
        }
    }
}

/// Only a home that no later start can use either, with nothing alive that needs a supervisor, ends the keeper;
/// whatever else is wrong may be right again (a full disk, a `holdfast.toml` under edit), so it starts us again.
fn code_of_home_error(error: &ApiError, child_lives: bool) -> u8 {
    match error.code {
        Code::HomeDamaged | Code::HomeNewer if !child_lives => crate::exit::REFUSED,
        _ => crate::exit::FAILED,
    }
}

/// Whether the sidecar or a runtime lives. A lock whose holder cannot be told is held all the same.
fn child_lives(home: &Home) -> bool {
    let roles = [Role::Sidecar, Role::Runtime(Slot::A), Role::Runtime(Slot::B)];
    roles.into_iter().any(|role| read_holder(home, role).map_or(true, |living| living.is_some()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_shared::process::RoleLock;

    #[test]
    fn only_a_home_of_no_use_with_nothing_alive_ends_the_keeper() {
        let code = |code, lives| code_of_home_error(&ApiError::new(code, "x"), lives);
        for lost in [Code::HomeDamaged, Code::HomeNewer] {
            assert_eq!(code(lost, false), crate::exit::REFUSED);
            assert_eq!(code(lost, true), crate::exit::FAILED);
        }
        for passes in [Code::InvalidRequest, Code::StorageFull, Code::InternalError, Code::Refused] {
            assert_eq!(code(passes, false), crate::exit::FAILED);
        }
    }

    #[test]
    fn a_locked_role_of_a_child_lives() {
        let directory = tempfile::tempdir().unwrap();
        let home = Home::new(directory.path());
        std::fs::create_dir_all(home.run()).unwrap();
        assert!(!child_lives(&home));
        let _lock = RoleLock::take(&home, Role::Runtime(Slot::B), "rt-test").unwrap();
        assert!(child_lives(&home));
    }
}
