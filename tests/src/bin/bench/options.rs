//! What is measured, and how much of it.

/// A measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// Gaps over warm switches.
    Switch,
    /// Gaps over SIGKILLs of the active runtime.
    Crash,
    /// Gaps over signed updates, and how long each takes.
    Update,
    /// One publisher, many subscribers.
    Fanout,
    /// Durable appends.
    Journal,
    /// Tasks of agents: switches, late joiners, a flood, memory.
    Tasks,
}

/// The command line.
#[derive(Clone, Debug)]
pub struct Options {
    /// The measurement.
    pub what: What,
    /// Switches or kills.
    pub faults: usize,
    /// Browser sessions in all.
    pub sessions: usize,
    /// Of these, so many watch the busy turn; the others `node`.
    pub watchers: usize,
    /// For how long, in seconds.
    pub seconds: u64,
    /// Interleaved rounds.
    pub rounds: usize,
    /// `standby` of the node: `warm` or `none`.
    pub standby: String,
    /// The journal is filled with so many records of ended turns before.
    pub records: usize,
    /// Tasks that there are, and of these so many with a warm worker.
    pub tasks: usize,
    /// See `tasks`.
    pub warm: usize,
    /// Switches between tasks, warm and cold each.
    pub switches: usize,
    /// As JSON.
    pub json: bool,
}

const USAGE: &str = "usage: tests/bench switch|crash|update|fanout|journal|tasks [--faults N] [--sessions N] \
                     [--watchers N] [--records N] [--seconds N] [--rounds N] [--standby warm|none] [--tasks N] \
                     [--warm N] [--switches N] [--json]";

impl Options {
    /// # Errors
    /// The usage, when something is not understood.
    pub fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Options, String> {
        let what = match arguments.next().as_deref() {
            Some("switch") => What::Switch,
            Some("crash") => What::Crash,
            Some("update") => What::Update,
            Some("fanout") => What::Fanout,
            Some("journal") => What::Journal,
            Some("tasks") => What::Tasks,
            _ => return Err(USAGE.to_owned()),
        };
        let mut options = Options {
            what,
            faults: 30,
            sessions: 1000,
            watchers: 200,
            seconds: 10,
            rounds: 10,
            standby: "none".to_owned(),
            records: 0,
            tasks: 200,
            warm: 20,
            switches: 300,
            json: false,
        };
        while let Some(name) = arguments.next() {
            if name == "--json" {
                options.json = true;
                continue;
            }
            let value = arguments.next().ok_or_else(|| format!("{name} needs a value\n{USAGE}"))?;
            let number =
                || value.parse::<usize>().map_err(|_| format!("{name} {value} is no number\n{USAGE}"));
            match name.as_str() {
                "--faults" => options.faults = number()?,
                "--sessions" => options.sessions = number()?,
                "--watchers" => options.watchers = number()?,
                "--seconds" => options.seconds = number()? as u64,
                "--records" => options.records = number()?,
                "--rounds" => options.rounds = number()?,
                "--tasks" => options.tasks = number()?,
                "--warm" => options.warm = number()?,
                "--switches" => options.switches = number()?,
                "--standby" if value == "warm" || value == "none" => options.standby = value,
                _ => return Err(USAGE.to_owned()),
            }
        }
        if matches!(options.what, What::Tasks) && !(2..=options.tasks).contains(&options.warm) {
            return Err(format!(
                "--warm is at least 2, so that there is another to switch to, and at most --tasks\n{USAGE}"
            ));
        }
        Ok(options)
    }
}
