//! The holder's loop: waits, turns what happened into events, carries out what the machine answers.

mod actions;
mod messages;

use super::feed::Feed;
use super::io::cgroup::Group;
use super::io::tree::{self, Reaped};
use super::io::wake::Signals;
use super::io::{child, confine, log};
use super::machine::{self, Event, Phase, State};
use super::output::{Output, Quota, Taken};
use super::{CGROUP_VARIABLE, HoldError, LEASE_FD_VARIABLE};
use holdfast_shared::peer::{HOLDER_NAME, ProcessStat};
use holdfast_shared::process;
use holdfast_shared::spool::{Flushed, SpoolLock, SpoolWriter, Stream};
use holdfast_shared::version;
use holdfast_shared::worker::{self, CWD_FD_VARIABLE, ExitStatus, Order, OutputMode, Protocol, Started};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// First pause between two rounds of KILL; doubled up to [`KILL_PAUSE_MAX`]. There is no last round: while a
/// process lives that the kernel does not let die, the worker has not ended.
const KILL_PAUSE_MIN: Duration = Duration::from_millis(10);
const KILL_PAUSE_MAX: Duration = Duration::from_secs(1);
/// How often a write that found the disk full is tried again.
const NO_SPACE_RETRY: Duration = Duration::from_millis(250);
/// How long an agent may live on once its standard output is closed, as one does that is ending: nobody can hear it any
/// more, and its turn would wait for its limits.
const MUTE_GRACE: Duration = Duration::from_secs(5);
/// How long a holder that failed kills what is left of its worker before it gives up.
const FAILED_KILL: Duration = Duration::from_secs(5);

/// Holds one worker, from `started` to its durable exit.
pub fn hold(directory: &Path) -> Result<(), HoldError> {
    // Fails where the holder leads its session already, which is all that is wanted.
    let _ = nix::unistd::setsid();
    nix::sys::prctl::set_name(HOLDER_NAME).map_err(HoldError::system("take the holder's name"))?;
    let order = Order::read(directory).map_err(HoldError::system("read the order"))?;
    let lease = child::inherited(std::env::var(LEASE_FD_VARIABLE).ok().as_deref());
    let lock = SpoolLock::take(directory)?;
    // From here on whoever would change the skill sees that a worker of it lives.
    drop(lease);
    refuse_second_start(directory)?;
    let spool = SpoolWriter::begin(lock, &order.turn)?;
    let signals = Signals::open().map_err(HoldError::system("take signals"))?;
    tree::become_subreaper().map_err(HoldError::system("become subreaper"))?;
    let held = Holder::start(directory, order, spool, signals).and_then(|mut holder| holder.run());
    if held.is_err() {
        kill_what_is_left(directory);
    }
    held
}

fn refuse_second_start(directory: &Path) -> Result<(), HoldError> {
    let started = Started::read(directory).map_err(HoldError::system("read started"))?;
    if started.is_some() {
        return Err(HoldError::AlreadyStarted(directory.to_owned()));
    }
    if worker::is_abandoned(directory).map_err(HoldError::system("look for abandoned"))? {
        return Err(HoldError::Abandoned(directory.to_owned()));
    }
    Ok(())
}

struct Holder {
    order: Order,
    group: Option<Group>,
    spool: SpoolWriter,
    signals: Signals,
    feed: Feed,
    outputs: [Output; 2],
    quota: Quota,
    state: State,
    worker: Pid,
    status: Option<ExitStatus>,
    deadline: Option<Instant>,
    retry: Option<Instant>,
    /// Until when an agent may live that closed its standard output.
    mute: Option<Instant>,
    kill_pause: Duration,
}

/// What poll found.
#[derive(Default)]
struct Woken {
    signals: bool,
    inbox: bool,
    stdin: bool,
    outputs: [bool; 2],
}

impl Holder {
    fn start(
        directory: &Path,
        order: Order,
        spool: SpoolWriter,
        signals: Signals,
    ) -> Result<Self, HoldError> {
        let passed = std::env::var(CWD_FD_VARIABLE).ok();
        let workspace =
            child::inherited_workspace(passed.as_deref()).map_err(HoldError::system("take the workspace"))?;
        let base = std::env::var_os(CGROUP_VARIABLE).map(PathBuf::from);
        let (group, confinement) = confine::prepare(directory, &order, base.as_deref())?;
        let waiting = child::fork_waiting(&order, workspace, &confinement)
            .map_err(HoldError::system("fork the worker"))?;
        started(waiting.pid)?.write(directory, &spool)?;
        let (worker, pipes) = waiting.go().map_err(HoldError::system("let the worker run"))?;
        let feed = Feed::open(directory, pipes.stdin)?;
        let quota = Quota::Left { segment_bytes_max: order.output_quota_bytes };
        let outputs = [
            Output::new(Stream::Stdout, order.mode, pipes.stdout),
            Output::new(Stream::Stderr, OutputMode::Bytes, pipes.stderr),
        ];
        let mut holder = Self {
            order,
            group,
            spool,
            signals,
            feed,
            outputs,
            quota,
            state: State::START,
            worker,
            status: None,
            deadline: None,
            retry: None,
            mute: None,
            kill_pause: KILL_PAUSE_MIN,
        };
        holder.happens(Event::Started)?;
        Ok(holder)
    }

    fn run(&mut self) -> Result<(), HoldError> {
        // What came before the watch was set.
        self.take_messages()?;
        while self.state.phase != Phase::Exited {
            let woken = self.wait()?;
            let now = Instant::now();
            if woken.signals {
                self.take_signals()?;
            }
            self.take_timers(now)?;
            self.read_outputs(&woken, now)?;
            self.note_mute(now);
            self.write()?;
            if woken.inbox {
                self.feed.take_news()?;
            }
            if woken.inbox || woken.stdin {
                self.take_messages()?;
            }
            self.finish(now)?;
        }
        Ok(())
    }

    fn wait(&self) -> Result<Woken, HoldError> {
        let now = Instant::now();
        let reads = self.reads_output();
        let pipes = self.outputs.each_ref().map(|output| output.readable(now).filter(|_| reads));
        let stdin = self.feed.wants_write().filter(|_| !self.state.full);
        let mut polled: Vec<PollFd<'_>> = Vec::with_capacity(5);
        polled.push(PollFd::new(self.signals.as_fd(), PollFlags::POLLIN));
        polled.push(PollFd::new(self.feed.watch(), PollFlags::POLLIN));
        let mut places = [None; 3];
        for (place, pipe) in places.iter_mut().zip(pipes) {
            if let Some(pipe) = pipe {
                *place = Some(polled.len());
                polled.push(PollFd::new(pipe.as_fd(), PollFlags::POLLIN));
            }
        }
        if let Some(stdin) = stdin {
            places[2] = Some(polled.len());
            polled.push(PollFd::new(stdin, PollFlags::POLLOUT));
        }
        match poll(&mut polled, self.timeout(now, reads)) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(errno) => return Err(HoldError::system("poll")(errno)),
        }
        let is_ready = |at: usize| polled[at].any().unwrap_or(true);
        let [stdout, stderr, stdin] = places.map(|place| place.is_some_and(is_ready));
        Ok(Woken { signals: is_ready(0), inbox: is_ready(1), stdin, outputs: [stdout, stderr] })
    }

    fn reads_output(&self) -> bool {
        !self.state.full && self.state.phase != Phase::Recording
    }

    fn timeout(&self, now: Instant, reads: bool) -> PollTimeout {
        let pauses =
            self.outputs.iter().filter(|_| reads).filter_map(Output::pause_ends).filter(|end| *end > now);
        let next = pauses.chain(self.deadline).chain(self.retry).chain(self.mute).min();
        match next {
            None => PollTimeout::NONE,
            Some(at) => {
                // Rounded up, so that the loop does not spin through the last millisecond.
                let micros = at.saturating_duration_since(now).as_micros();
                PollTimeout::try_from(micros.div_ceil(1000)).unwrap_or(PollTimeout::MAX)
            }
        }
    }

    fn take_signals(&mut self) -> Result<(), HoldError> {
        let came = self.signals.take().map_err(HoldError::system("read signals"))?;
        if came.child {
            self.reap()?;
        }
        if came.stop {
            self.happens(Event::Stop)?;
        }
        Ok(())
    }

    fn reap(&mut self) -> Result<(), HoldError> {
        loop {
            match tree::reap().map_err(HoldError::system("reap"))? {
                Reaped::Process(pid, status) if pid == self.worker => {
                    self.status = Some(status);
                    self.feed.close_stdin();
                    self.happens(Event::WorkerExited)?;
                }
                Reaped::Process(..) => {}
                Reaped::Nothing => return Ok(()),
                Reaped::NoneLeft if matches!(self.state.phase, Phase::Ending | Phase::Killing) => {
                    return self.happens(Event::TreeEmpty);
                }
                Reaped::NoneLeft => return Ok(()),
            }
        }
    }

    fn take_timers(&mut self, now: Instant) -> Result<(), HoldError> {
        if self.deadline.is_some_and(|at| now >= at) {
            self.deadline = None;
            self.happens(Event::Deadline)?;
        }
        if self.state.phase == Phase::Running && self.mute.is_some_and(|at| now >= at) {
            self.mute = None;
            let said = b"holdfast: the agent closed its standard output and did not end: it is ended\n";
            self.spool.output(Stream::Stderr, false, said);
            self.happens(Event::Mute)?;
        }
        if self.retry.is_some_and(|at| now >= at) {
            self.retry = None;
            if self.spool.flush()? == Flushed::NoSpace {
                self.retry = Some(now + NO_SPACE_RETRY);
            } else {
                self.happens(Event::SpaceAgain)?;
                self.take_messages()?;
            }
        }
        Ok(())
    }

    fn read_outputs(&mut self, woken: &Woken, now: Instant) -> Result<(), HoldError> {
        if self.state.full {
            return Ok(());
        }
        let draining = self.state.phase == Phase::Draining;
        for at in 0..self.outputs.len() {
            let output = &mut self.outputs[at];
            let taken = match (draining, woken.outputs[at]) {
                (true, _) => output.drain(&mut self.spool, self.quota, now)?,
                (false, true) => output.read(&mut self.spool, self.quota, now)?,
                (false, false) => Taken::Nothing,
            };
            if taken == Taken::QuotaReached {
                self.happens(Event::QuotaReached)?;
            }
        }
        Ok(())
    }

    fn note_mute(&mut self, now: Instant) {
        let is_running = self.order.protocol == Protocol::Acp && self.state.phase == Phase::Running;
        let is_mute = is_running && self.outputs[0].is_closed();
        self.mute = is_mute.then(|| self.mute.unwrap_or(now + MUTE_GRACE));
    }

    /// Writes what is queued. A full disk is an event, not an error.
    fn write(&mut self) -> Result<(), HoldError> {
        if !self.state.full && self.spool.flush()? == Flushed::NoSpace {
            self.no_space()?;
        }
        Ok(())
    }

    fn no_space(&mut self) -> Result<(), HoldError> {
        self.retry = Some(Instant::now() + NO_SPACE_RETRY);
        self.happens(Event::NoSpace)
    }

    fn happens(&mut self, event: Event) -> Result<(), HoldError> {
        let (state, actions) = machine::step(self.state, event)?;
        self.adopt(state, &actions)
    }

    /// Goes on where everything before is done: pipes read, exit written.
    fn finish(&mut self, now: Instant) -> Result<(), HoldError> {
        while self.state.phase == Phase::Draining && !self.state.full {
            self.read_outputs(&Woken::default(), now)?;
            self.write()?;
            if !self.state.full && self.outputs.iter().all(Output::is_closed) {
                self.happens(Event::PipesEmpty)?;
            }
        }
        if self.state.phase == Phase::Recording {
            self.write()?;
            if !self.state.full {
                match self.spool.sync()? {
                    Flushed::Done => self.happens(Event::ExitWritten)?,
                    Flushed::NoSpace => self.no_space()?,
                }
            }
        }
        Ok(())
    }
}

fn started(pid: Pid) -> Result<Started, HoldError> {
    let stat = ProcessStat::read(pid.as_raw()).map_err(HoldError::system("read the worker's start time"))?;
    let boot_id = process::boot_id().map_err(HoldError::system("read the boot id"))?;
    let (start_time, holder_pid) = (stat.start_time, Pid::this().as_raw());
    let mut contracts = version::contracts();
    contracts.retain(|name, _| ["inbox", "spool"].contains(&name.as_str()));
    Ok(Started { pid: pid.as_raw(), start_time, boot_id, holder_pid, contracts })
}

/// A holder that cannot go on leaves no worker behind that nobody listens to.
fn kill_what_is_left(directory: &Path) {
    let until = Instant::now() + FAILED_KILL;
    loop {
        if let Err(error) = tree::signal_descendants(&[Signal::SIGKILL]) {
            log::error(directory, &error);
        }
        while matches!(tree::reap(), Ok(Reaped::Process(..))) {}
        if matches!(tree::reap(), Ok(Reaped::NoneLeft)) || Instant::now() >= until {
            return;
        }
        std::thread::sleep(KILL_PAUSE_MIN);
    }
}
