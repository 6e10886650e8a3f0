//! What happened to a standing worker: read from journal, spool, files and clock, decided on elsewhere.

use super::super::active::Active;
use super::super::now_ms;
use crate::acp::LINE_BYTES_MAX;
use crate::acp::handshake::{Progress, Wanted};
use crate::acp::usage::Usage;
use crate::agent::dialogue::Dialogue;
use crate::agent::life::{Death, Event, Phase, death};
use crate::agent::upkeep::is_over;
use crate::agent::{Ending, StandingWorker};
use crate::io::served::Served;
use crate::record::{EndingFor, SessionReady, TaskFailure};
use crate::task::{Standing, Task};
use crate::turn::is_out_of_time;
use crate::workers::{Life, Observed};
use holdfast_shared::error::Code;
use holdfast_shared::worker::{Exit, ExitStatus, Started};
use std::path::Path;
use std::time::UNIX_EPOCH;

/// Something that happened, and what there is to say of it.
pub(super) struct Happened {
    pub(super) phase: Phase,
    pub(super) event: Event,
    pub(super) try_number: u32,
    pub(super) why: Why,
}

/// What there is to say of what happened.
#[derive(Default)]
pub(super) struct Why {
    /// For people.
    pub(super) detail: Option<String>,
    /// The code of what went wrong, where the task is not errored.
    pub(super) code: Option<Code>,
    /// Why the task is errored, where it is not a start that failed.
    pub(super) errored: Option<TaskFailure>,
    pub(super) usage: Option<Usage>,
    /// What must be durable before a seal: output records up to here; all that were read where it is not said.
    pub(super) needed: Option<u64>,
    /// The record of a session.
    pub(super) ready: Option<SessionReady>,
}

impl Why {
    fn detail(detail: String) -> Self {
        Self { detail: Some(detail), ..Self::default() }
    }

    /// Why the task is errored.
    pub(super) fn failure(&self) -> TaskFailure {
        let message = || self.detail.clone().unwrap_or_else(|| "its agent cannot be started".to_owned());
        self.errored.clone().unwrap_or_else(|| TaskFailure {
            code: Code::BootstrapFailed.as_str().to_owned(),
            message: message(),
        })
    }
}

impl Active {
    pub(super) fn happened(&mut self, id: &str, observed: &Observed) -> Option<Happened> {
        let (phase, try_number) = {
            let served = self.shared.borrow();
            let task = served.folded.state.task(id)?;
            let worker = task.agent.as_ref()?.worker.as_ref()?;
            let phase = task.phase(served.turn_place(task).given)?;
            let number = task.running.as_ref().map_or(worker.number, |running| running.order.number);
            (phase, number)
        };
        if let Some(unfit) = self.unfit(id) {
            let (event, why) = self.died(id, observed).or(unfit)?;
            return Some(Happened { phase, event, try_number, why });
        }
        let (event, why) = self
            .answered(id, phase)
            .or_else(|| self.died(id, observed))
            .or_else(|| self.not_given(id, phase))
            .or_else(|| self.opened(id, observed))
            .or_else(|| self.due(id, phase, observed))?;
        Some(Happened { phase, event, try_number, why })
    }

    /// What the agent said does not fit into the journal, or cannot be understood for its length: it is ended, and nothing
    /// but its end counts any more. What there is to do for that, if it is not being ended already.
    #[expect(clippy::option_option, reason = "whether it is so, and whether there is something to do")]
    fn unfit(&self, id: &str) -> Option<Option<(Event, Why)>> {
        let served = self.shared.borrow();
        let worker = served.folded.state.task(id)?.agent.as_ref()?.worker.as_ref()?;
        let unfit = self.agents.get(&worker.spawn_id).and_then(|held| held.unfit.clone());
        let is_unclear = || served.spools.dialogue(&worker.spawn_id).is_some_and(Dialogue::is_unclear);
        let unfit = unfit.or_else(|| is_unclear().then(unclear))?;
        Some(worker.ending.is_none().then(|| (Event::Spoiled, Why::detail(unfit))))
    }

    /// The prompt was answered.
    fn answered(&self, id: &str, phase: Phase) -> Option<(Event, Why)> {
        if !matches!(phase, Phase::Prompted | Phase::Cancelling) {
            return None;
        }
        let served = self.shared.borrow();
        let running = served.folded.state.task(id)?.running.as_ref()?;
        let worker = &running.order.spawn_id;
        if served.spools.turn(worker) != running.turn {
            return None;
        }
        let response = served.spools.dialogue(worker)?.response(running.numbers?.prompt)?;
        let why = Why {
            detail: response.ending.detail.clone(),
            code: response.ending.code,
            usage: Some(response.usage.clone()),
            needed: Some(response.seq),
            ..Why::default()
        };
        Some((Event::Answered(response.ending.stop_reason), why))
    }

    fn died(&self, id: &str, observed: &Observed) -> Option<(Event, Why)> {
        let served = self.shared.borrow();
        let task = served.folded.state.task(id)?;
        let worker = task.agent.as_ref()?.worker.as_ref()?;
        let ending = worker.ending.as_ref();
        let told = ending.map(|ending| ending.why);
        let (death, detail) = match observed.life {
            Life::Ended(exit) if observed.read_to_end => {
                let death = death(exit, told);
                let said = said_of_exit(death, exit, ending);
                (death, if told.is_none() { with_last_words(said, &served, worker) } else { said })
            }
            Life::Lost if observed.read_to_end => {
                let told = ending.and_then(|ending| ending.detail.clone());
                let lost = || "the agent was lost: nobody knows how it ended".to_owned();
                (Death::Lost, told.unwrap_or_else(lost))
            }
            Life::Abandoned if observed.refused => {
                (Death::Refused, self.workers.refusal(&worker.spawn_id).unwrap_or_default())
            }
            Life::Abandoned => {
                let death = told.map_or(Death::NeverStarted, Death::Told);
                let detail = ending.and_then(|ending| ending.detail.clone());
                let tries = task.running.as_ref().map_or(worker.number, |running| running.order.number);
                (death, detail.unwrap_or_else(|| format!("no worker started in {tries} tries")))
            }
            _ => return None,
        };
        let usage = served.spools.dialogue(&worker.spawn_id).map(|dialogue| dialogue.usage().clone());
        let code = match observed.life {
            Life::Ended(exit) if death == Death::Quota && is_out_of_time(exit) => Some(Code::WorkerDead),
            _ => code_of(death),
        };
        Some((Event::Died(death), Why { usage, code, ..Why::detail(detail) }))
    }

    /// A turn that is cancelled before its worker is ready was given to nobody.
    fn not_given(&self, id: &str, phase: Phase) -> Option<(Event, Why)> {
        let served = self.shared.borrow();
        let worker = served.folded.state.task(id)?.agent.as_ref()?.worker.as_ref()?;
        (phase == Phase::CancelWaiting && !worker.ready).then(|| (Event::NotGiven, Why::default()))
    }

    /// What the handshake came to.
    fn opened(&mut self, id: &str, observed: &Observed) -> Option<(Event, Why)> {
        if observed.life != Life::Alive {
            return None;
        }
        let (wanted, spawn_id) = self.handshake_wanted(id)?;
        let served = self.shared.borrow();
        let opened = served.spools.dialogue(&spawn_id)?.opened(wanted)?;
        match opened.progress {
            Progress::Waiting => None,
            Progress::Failed(error) => {
                let worker = served.folded.state.task(id)?.agent.as_ref()?.worker.as_ref()?;
                let detail = with_last_words(error.to_string(), &served, worker);
                Some((Event::HandshakeFailed, Why::detail(detail)))
            }
            Progress::Ready(ready) => {
                let ready = SessionReady {
                    task: id.to_owned(),
                    spawn_id,
                    session: ready.session,
                    resumed: ready.resumed,
                    resumable: ready.resumable,
                    modes: ready.modes,
                    outputs: opened.seq,
                };
                Some((Event::Ready, Why { ready: Some(ready), ..Why::default() }))
            }
        }
    }

    /// What the handshake with the task's worker is for; `None` once it is ready, or is being ended.
    pub(super) fn handshake_wanted(&mut self, id: &str) -> Option<(Wanted, String)> {
        let (skill, spawn_id, session, cwd) = {
            let served = self.shared.borrow();
            let task = served.folded.state.task(id)?;
            let agent = task.agent.as_ref()?;
            let worker = agent.worker.as_ref().filter(|worker| !worker.ready && worker.ending.is_none())?;
            let cwd = crate::io::files::workspace(&served.home, id);
            (task.skill.clone(), worker.spawn_id.clone(), agent.session_to_load(), cwd)
        };
        let authenticate = self.authenticate(&spawn_id, &skill);
        let version = env!("CARGO_PKG_VERSION").to_owned();
        let cwd = cwd.to_string_lossy().into_owned();
        Some((Wanted { version, cwd, session, authenticate }, spawn_id))
    }

    /// What is due by the clock, or by what became of the task. Nothing of it concerns a worker that is being ended.
    fn due(&self, id: &str, phase: Phase, observed: &Observed) -> Option<(Event, Why)> {
        let served = self.shared.borrow();
        let task = served.folded.state.task(id)?;
        let worker = task.agent.as_ref()?.worker.as_ref().filter(|worker| worker.ending.is_none())?;
        if observed.life == Life::Spoiled {
            let why = Why::detail("its output cannot be read any more".to_owned());
            return Some((Event::Spoiled, why));
        }
        if task.running.is_none() && task.standing != Standing::Open {
            return Some((Event::Unwanted, Why::default()));
        }
        self.starts_too_long(&served, worker, observed)
            .or_else(|| self.cancels_too_long(task))
            .or_else(|| self.is_silent(&served, task, worker, phase))
            .or_else(|| self.surplus.contains(id).then(|| (Event::LeastUsed, Why::default())))
    }

    fn starts_too_long(
        &self,
        served: &Served,
        worker: &StandingWorker,
        observed: &Observed,
    ) -> Option<(Event, Why)> {
        if worker.ready || observed.life != Life::Alive {
            return None;
        }
        let limit = self.settings.agent_start_limit_ms;
        let since = modified_ms(&Started::path(&served.home.worker(&worker.spawn_id)))?;
        let said = || format!("the agent was not ready {} s after its start", limit / 1000);
        let why = || Why::detail(with_last_words(said(), served, worker));
        is_over(since, limit, now_ms()).then(|| (Event::StartOver, why()))
    }

    fn cancels_too_long(&self, task: &Task) -> Option<(Event, Why)> {
        let since = task.running.as_ref()?.cancelled_at?;
        let over = is_over(since, self.settings.cancel_grace_ms, now_ms());
        over.then(|| {
            let why = Why::detail("the agent did not end the turn when it was cancelled".to_owned());
            (Event::GraceOver, why)
        })
    }

    /// Neither its spool nor those of its commands were written to for the limit, and it waits neither for people nor for a command of its own that
    /// still runs: both may take long, and a cancel ends them.
    fn is_silent(
        &self,
        served: &Served,
        task: &Task,
        worker: &StandingWorker,
        phase: Phase,
    ) -> Option<(Event, Why)> {
        let limit = self.settings.turn_silence_limit_ms;
        if phase != Phase::Prompted {
            return None;
        }
        let written = |worker: &str| modified_ms(&served.spools.segment_file(worker)?);
        let commands = task.agent.iter().flat_map(|agent| &agent.terminals);
        let heard = commands.filter_map(|command| written(&command.spawn_id)).max();
        let since = written(&worker.spawn_id)?.max(heard.unwrap_or(0));
        if !is_over(since, limit, now_ms())
            || super::requests::waits_for_people(served, task, worker)
            || super::terminals::waits_for_command(served, task, worker)
        {
            return None;
        }
        let why = Why::detail(format!("the agent gave no sign of life for {} s", limit / 1000));
        Some((Event::Silent, why))
    }
}

fn unclear() -> String {
    format!(
        "a message of the agent is longer than {LINE_BYTES_MAX} bytes, and it cannot be told what it asks or answers"
    )
}

/// Why a start failed, with the last of what the agent wrote on standard error: nobody finds that in a spool that goes. A
/// worker that was ready had started.
fn with_last_words(why: String, served: &Served, worker: &StandingWorker) -> String {
    let words = || served.spools.dialogue(&worker.spawn_id)?.last_words();
    match (!worker.ready).then(words).flatten() {
        Some(words) => format!("{why}; it said: {words}"),
        None => why,
    }
}

/// What the end of a worker is said to be.
fn said_of_exit(death: Death, exit: Exit, ending: Option<&Ending>) -> String {
    let how = match exit.status {
        ExitStatus::Code(code) => format!("exited with code {code}"),
        ExitStatus::Signal(signal) => format!("was ended by signal {signal}"),
    };
    let detail = ending.and_then(|ending| ending.detail.clone());
    match death {
        Death::Quota if is_out_of_time(exit) => "the agent used up its time of processors".to_owned(),
        Death::Quota => "the agent wrote more than its quota".to_owned(),
        Death::NodeStopped => "the node was stopped".to_owned(),
        Death::Told(EndingFor::Stop | EndingFor::Lru) => format!("the agent was ended; it {how}"),
        Death::Told(_) => detail.unwrap_or_else(|| format!("the agent {how}")),
        _ => format!("the agent {how}"),
    }
}

/// The code of a turn's end that the death of its worker was; none where it was wanted.
fn code_of(death: Death) -> Option<Code> {
    match death {
        Death::Quota | Death::Told(EndingFor::Spoiled) => Some(Code::OutputLimit),
        Death::Told(EndingFor::Stop | EndingFor::Lru | EndingFor::CancelGrace) => None,
        _ => Some(Code::WorkerDead),
    }
}

/// When a file was last written, unix milliseconds.
fn modified_ms(path: &Path) -> Option<u64> {
    let modified = std::fs::metadata(path).and_then(|metadata| metadata.modified()).ok()?;
    u64::try_from(modified.duration_since(UNIX_EPOCH).ok()?.as_millis()).ok()
}
