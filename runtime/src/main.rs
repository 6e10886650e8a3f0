//! The runtime of one slot.

use holdfast_runtime::daemon::{Start, run};
use holdfast_runtime::settings::Settings;
use holdfast_shared::home::Home;
use holdfast_shared::release::RELEASE_VARIABLE;
use holdfast_shared::slot::Slot;
use std::process::ExitCode;

const USAGE: &str = "usage: holdfast-runtime --home DIR --slot a|b [--settings JSON] | --abilities | --self-check --home DIR --slot a|b [--settings JSON]";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments == ["--abilities"] {
        return match serde_json::to_string(&holdfast_runtime::abilities::abilities()) {
            Ok(text) => {
                println!("{text}");
                ExitCode::SUCCESS
            }
            Err(error) => {
                eprintln!("holdfast-runtime: {error}");
                ExitCode::FAILURE
            }
        };
    }
    if let Some((first, rest)) = arguments.split_first()
        && first == "--self-check"
    {
        return self_check(rest);
    }
    let start = match parse(&arguments) {
        Ok(start) => start,
        Err(message) => {
            eprintln!("holdfast-runtime: {message}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    holdfast_shared::log::init("runtime", &start.instance);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(8).build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, "start tokio");
            return ExitCode::FAILURE;
        }
    };
    let ended = tokio::task::LocalSet::new().block_on(&runtime, run(start));
    // A sync that still runs must not keep the process.
    runtime.shutdown_background();
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(%error, "the runtime ends");
            ExitCode::FAILURE
        }
    }
}

/// Says in one line of JSON what it read, or on stderr why this release cannot serve here.
fn self_check(arguments: &[String]) -> ExitCode {
    let checked = parse(arguments).and_then(|start| {
        let checked =
            holdfast_runtime::io::self_check::self_check(&start.home).map_err(|error| error.to_string())?;
        serde_json::to_string(&checked).map_err(|error| error.to_string())
    });
    match checked {
        Ok(text) => {
            println!("{text}");
            ExitCode::SUCCESS
        }
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}

fn parse(arguments: &[String]) -> Result<Start, String> {
    let (mut home, mut slot, mut settings) = (None, None, Settings::default());
    let mut rest = arguments.iter();
    while let Some(name) = rest.next() {
        let value = rest.next().ok_or_else(|| format!("{name} needs a value"))?;
        match name.as_str() {
            "--home" => home = Some(Home::new(value)),
            "--slot" => slot = Slot::from_name(value),
            "--settings" => settings = Settings::parse(value).map_err(|error| error.to_string())?,
            _ => return Err(format!("unknown argument {name}")),
        }
    }
    let home = home.ok_or("--home is missing")?;
    let slot = slot.ok_or("--slot is missing, or neither a nor b")?;
    let unique = (uuid::Uuid::new_v4().as_u128() >> 96) as u32;
    let instance = format!("rt-{slot}-{unique:08x}");
    let built_as = || env!("CARGO_PKG_VERSION").to_owned();
    let release = std::env::var(RELEASE_VARIABLE).unwrap_or_else(|_| built_as());
    Ok(Start { home, slot, settings, instance, release })
}
