//! Starts the sidecar: `holdfast-sidecar --home DIR [--settings JSON]`, with the public listener passed by
//! LISTEN_FDS.

use holdfast_shared::home::Home;
use holdfast_shared::process::listen_fds;
use holdfast_shared::{log, token};
use holdfast_sidecar::daemon::{self, Start};
use holdfast_sidecar::settings::Settings;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::process::ExitCode;

fn main() -> ExitCode {
    match start() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(%error, "the sidecar ends");
            eprintln!("holdfast-sidecar: {error}");
            ExitCode::FAILURE
        }
    }
}

fn start() -> Result<(), Box<dyn std::error::Error>> {
    // Before anything opens a descriptor of its own.
    let passed = listen_fds();
    let instance = format!("sc-{}", token::generate()?.get(..8).unwrap_or_default());
    log::init("sidecar", &instance);
    raise_open_files();
    let (home, settings) = arguments(std::env::args().skip(1))?;
    let listener = passed.into_iter().next().ok_or("no listener was passed by LISTEN_FDS")?;
    let listener = std::net::TcpListener::from(listener.fd);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let local = tokio::task::LocalSet::new();
    let result = local.block_on(&runtime, daemon::run(Start { home, settings, listener, instance }));
    runtime.shutdown_background();
    Ok(result?)
}

/// As many files as the system allows: each session is one, and the usual soft limit is 1,024.
fn raise_open_files() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(_, hard)| setrlimit(Resource::RLIMIT_NOFILE, hard, hard));
    if let Err(error) = raised {
        tracing::warn!(%error, "the limit of open files stays as it was");
    }
}

fn arguments(
    mut given: impl Iterator<Item = String>,
) -> Result<(Home, Settings), Box<dyn std::error::Error>> {
    let mut home = None;
    let mut settings = Settings::default();
    while let Some(name) = given.next() {
        let value = given.next().ok_or_else(|| format!("{name} needs a value"))?;
        match name.as_str() {
            "--home" => home = Some(Home::new(std::path::absolute(value)?)),
            "--settings" => settings = Settings::parse(&value)?,
            _ => return Err(format!("unknown argument {name}").into()),
        }
    }
    Ok((home.ok_or("--home DIR is needed")?, settings))
}
