//! The operator's command line: what it looks like, and the way into each command.

mod at_rest;
mod attach;
mod attempts;
mod begin;
mod call;
mod demo;
mod doctor;
mod follow;
mod front;
mod hand_over;
mod logs;
mod output;
mod place;
mod promote;
mod release;
mod skill;
mod status;
mod stop;
mod switch;
mod task;
mod terminal;
mod token;
mod units;
mod up;
mod update;
mod watch;

use clap::{CommandFactory, Parser, Subcommand};
use output::{CliError, Output};
use place::Place;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

/// Runs work on this machine, streams it to browsers, and replaces its own programs while it goes on.
#[derive(Debug, Parser)]
#[command(name = "holdfast", version, propagate_version = true, disable_help_subcommand = true)]
struct Arguments {
    /// The node's directory. Default: .holdfast here or in a parent directory.
    #[arg(long, global = true, env = "HOLDFAST_HOME", value_name = "DIR")]
    home: Option<PathBuf>,
    /// Print JSON.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start the node and stay until Ctrl-C, which stops everything.
    Up {
        /// Address of the console, for people and browsers. Default: the one used before, else 127.0.0.1:7420.
        #[arg(long, value_name = "ADDR:PORT")]
        listen: Option<SocketAddr>,
    },
    /// Stop everything and wait for its end.
    Stop {
        /// Leave running work as it is, for the next start.
        #[arg(long)]
        keep_workers: bool,
        /// End the processes and leave systemd's units alone (what a unit's ExecStop is to say).
        #[arg(long, hide = true)]
        without_systemd: bool,
    },
    /// Say how the node is. Exit code 3: not running, 4: degraded.
    Status,
    /// Show slots, attempt, sessions, turns and events live until Ctrl-C; without a terminal, or with --json, one status
    /// object per line whenever it changes.
    Watch,
    /// Hand over to the runtime in the other slot, without ending any connection or work.
    Switch {
        /// The slot that is to serve.
        #[arg(value_parser = ["a", "b"])]
        to: Option<String>,
    },
    /// Go back to the release that served before; everything that was written since stays.
    Rollback,
    /// Put the root files of the release that serves in place: supervisor, sidecar, holder. `update cancel` skips it.
    Promote,
    /// List attempts to change the serving runtime, with how they ended.
    Attempts,
    /// Install a signed release and hand over to it; or look at, put off or end the change that is planned.
    Update(update::Arguments),
    /// Print what the node's processes wrote.
    Logs {
        /// keeper, supervisor, sidecar, runtime-a, runtime-b or holder. Default: all.
        name: Option<String>,
        /// Go on with what comes.
        #[arg(short, long)]
        follow: bool,
        /// From then on: 90s, 10m, 2h, 1d, or a time like 2026-01-31T12:00:00Z.
        #[arg(long, value_name = "TIME")]
        since: Option<String>,
    },
    /// Print the console's link with its token.
    Open,
    /// Tokens for browsers and programs.
    #[command(subcommand)]
    Token(token::TokenCommand),
    /// Check this machine and this home, and say what is not guaranteed here.
    Doctor,
    /// Print completions for a shell.
    Completion {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Tasks and their turns.
    #[command(subcommand)]
    Task(task::TaskCommand),
    /// What may run in tasks: agents and commands installed from a directory with a skill.toml.
    #[command(subcommand)]
    Skill(skill::SkillCommand),
    /// Call a method, as browsers do.
    Rpc {
        /// The method, as in `task.list`.
        method: String,
        /// Its parameters, a JSON object.
        #[arg(default_value = "{}")]
        params: String,
    },
    /// Signed releases: keys, packing, checking.
    #[command(subcommand)]
    Release(release::ReleaseCommand),
    /// Show on a node of its own, with clients and faults, what is dropped, lost or doubled.
    Demo(demo::Arguments),
    /// A small agent that does what its prompt says, for first sessions and tests (what the skill `demo` runs).
    #[command(hide = true, long_about = crate::agent_demo::WORDS)]
    AgentDemo,
    /// Keep a supervisor running (what `up` and systemd start).
    #[command(hide = true)]
    Keep {
        /// Only say, by the exit code, whether this program would, with what is passed under these names (separated by
        /// commas): a keeper asks its successor.
        #[arg(long, value_name = "NAMES", value_delimiter = ',')]
        check: Option<Vec<String>>,
    },
    /// Units of systemd that come in releases (what holdfast-units.service and the package run, as root).
    #[command(hide = true, subcommand)]
    Units(units::UnitsCommand),
    /// Supervise the node (what the keeper starts).
    #[command(hide = true)]
    Supervise,
}

/// Runs the command line of this process.
pub fn run() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let _ = error.print();
            // Help and version were asked for; anything else is a mistake.
            return ExitCode::from(if error.use_stderr() { crate::exit::USAGE } else { crate::exit::FINE });
        }
    };
    if matches!(arguments.command, Command::AgentDemo) {
        return crate::agent_demo::run();
    }
    let output = Output::new(arguments.json);
    match dispatch(arguments, &output) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            output.error(&error);
            ExitCode::from(error.exit_code())
        }
    }
}

fn dispatch(arguments: Arguments, output: &Output) -> Result<u8, CliError> {
    let home = arguments.home;
    match arguments.command {
        Command::Completion { shell } => {
            clap_complete::generate(shell, &mut Arguments::command(), "holdfast", &mut std::io::stdout());
            Ok(crate::exit::FINE)
        }
        Command::Up { listen } => up::up(&Place::for_start(home)?, listen, output),
        Command::Demo(arguments) => demo::demo(&arguments, output),
        Command::Doctor => {
            let place = Place::find(home.clone()).or_else(|_| Place::for_start(home))?;
            doctor::doctor(&place, output)
        }
        Command::Release(command) => release::release(home, command, output),
        Command::Skill(command) => skill::skill(home, command, output),
        Command::Units(command) => units::units(home, command, output),
        command => {
            let place = Place::find(home)?;
            match command {
                Command::Keep { check: Some(names) } => Ok(crate::keeper::check(&place.home, &names)),
                Command::Keep { check: None } => Ok(crate::keeper::run(&place.home)),
                Command::Supervise => Ok(crate::daemon::run(&place.home)),
                Command::Stop { keep_workers, without_systemd } => {
                    stop::stop(&place, keep_workers, without_systemd, output)
                }
                Command::Status => status::status(&place, output),
                Command::Watch => watch::watch(&place, output),
                Command::Switch { to } => switch::switch(&place, to.as_deref(), output),
                Command::Rollback => switch::rollback(&place, output),
                Command::Promote => promote::promote(&place, output),
                Command::Attempts => attempts::attempts(&place, output),
                Command::Update(arguments) => update::update(&place, arguments, output),
                Command::Logs { name, follow, since } => {
                    logs::logs(&place, name.as_deref(), follow, since.as_deref(), output)
                }
                Command::Open => up::open(&place, output),
                Command::Token(command) => token::token(&place, command, output),
                Command::Task(command) => task::task(&place, command, output),
                Command::Rpc { method, params } => call::rpc(&place, &method, &params, output),
                Command::Up { .. }
                | Command::Demo(_)
                | Command::Doctor
                | Command::Release(_)
                | Command::Skill(_)
                | Command::Units(_)
                | Command::AgentDemo
                | Command::Completion { .. } => Ok(crate::exit::USAGE),
            }
        }
    }
}
