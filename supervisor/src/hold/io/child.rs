//! Starting the worker's program: forked, made ready, and held back until `started` is durable.

use super::birth::fork_into;
use super::confine::Confinement;
use holdfast_shared::leftovers::{WORKER_VARIABLE, worker_mark};
use holdfast_shared::peer::ProcessStat;
use holdfast_shared::worker::{Order, Protocol};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use nix::unistd::{ForkResult, Pid, pipe2};
use std::convert::Infallible;
use std::ffi::CString;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Where a program is looked for when the order's environment has no `PATH`.
const DEFAULT_PATH: &str = "/usr/local/bin:/usr/bin:/bin";
/// The shell's code for a program that is not there.
const NOT_FOUND: i32 = 127;
/// The shell's code for a program that cannot be run.
const CANNOT_RUN: i32 = 126;

/// A worker that waits for the word to run. Dropped before that word, it ends without having run anything.
#[derive(Debug)]
pub struct Waiting {
    /// Its process, leader of its own session.
    pub pid: Pid,
    /// Our ends of its pipes, non-blocking. `stdin` is `None` for a worker that reads from /dev/null.
    pub pipes: Pipes,
    go: OwnedFd,
}

/// Our ends of the worker's pipes.
#[derive(Debug)]
pub struct Pipes {
    /// Its stdin.
    pub stdin: Option<OwnedFd>,
    /// Its stdout.
    pub stdout: OwnedFd,
    /// Its stderr.
    pub stderr: OwnedFd,
}

impl Waiting {
    /// Lets the program run.
    pub fn go(self) -> io::Result<(Pid, Pipes)> {
        nix::unistd::write(&self.go, b"g")?;
        Ok((self.pid, self.pipes))
    }
}

struct Program {
    candidates: Vec<CString>,
    arguments: Vec<CString>,
    environment: Vec<CString>,
}

struct Descriptors<'a> {
    stdin: OwnedFd,
    stdout: OwnedFd,
    stderr: OwnedFd,
    go: OwnedFd,
    workspace: Option<BorrowedFd<'a>>,
    confinement: &'a Confinement,
}

/// Forks the worker. `workspace` is the directory to start in, where the order's `cwd` is not to be used.
///
/// # Errors
/// `InvalidInput` for an order without a program or with NUL bytes; else what the operating system says.
pub fn fork_waiting(
    order: &Order,
    workspace: Option<BorrowedFd<'_>>,
    confinement: &Confinement,
) -> io::Result<Waiting> {
    let program = Program::of(order)?;
    let (stdin_theirs, stdin) = match order.protocol {
        Protocol::Command => (File::open("/dev/null")?.into(), None),
        Protocol::Acp => {
            let (theirs, ours) = pipe2(OFlag::O_CLOEXEC)?;
            (theirs, Some(non_blocking(ours)?))
        }
    };
    let (stdout, stdout_theirs) = pipe2(OFlag::O_CLOEXEC)?;
    let (stderr, stderr_theirs) = pipe2(OFlag::O_CLOEXEC)?;
    let (go_theirs, go) = pipe2(OFlag::O_CLOEXEC)?;
    let pipes = Pipes { stdin, stdout: non_blocking(stdout)?, stderr: non_blocking(stderr)? };
    let theirs = Descriptors {
        stdin: stdin_theirs,
        stdout: stdout_theirs,
        stderr: stderr_theirs,
        go: go_theirs,
        workspace,
        confinement,
    };
    // SAFETY: the holder has one thread, so the child may do what any process may.
    match unsafe { fork_into(confinement.group()) }? {
        (ForkResult::Parent { child }, _) => Ok(Waiting { pid: child, pipes, go }),
        (ForkResult::Child, inside) => {
            drop((pipes, go));
            let code = run(&program, &theirs, order, inside);
            // SAFETY: ends the child without running what the parent registered for its own end.
            unsafe { libc::_exit(code) }
        }
    }
}

/// In the child: everything up to the program. Comes back only with the code to end with.
fn run(program: &Program, descriptors: &Descriptors<'_>, order: &Order, inside: bool) -> i32 {
    let prepared = prepare(descriptors, &order.cwd, inside);
    match wait_for_go(&descriptors.go) {
        Ok(true) => {}
        Ok(false) | Err(_) => return CANNOT_RUN,
    }
    if let Err((what, errno)) = prepared {
        return say(CANNOT_RUN, &format!("cannot {what} {}: {}", order.cwd.display(), errno.desc()));
    }
    let mark = match own_mark() {
        Ok(mark) => mark,
        Err(error) => return say(CANNOT_RUN, &format!("cannot mark the worker: {error}")),
    };
    let errno = match exec(program, mark) {
        Ok(never) => match never {},
        Err(errno) => errno,
    };
    let code = if errno == Errno::ENOENT { NOT_FOUND } else { CANNOT_RUN };
    say(code, &format!("cannot run {}: {}", order.argv.first().map_or("", String::as_str), errno.desc()))
}

fn say(code: i32, text: &str) -> i32 {
    // To the worker's stderr: it is part of what the worker says. A failure has nobody to be told to.
    let _ = writeln!(io::stderr(), "holdfast: {text}");
    code
}

fn prepare(descriptors: &Descriptors<'_>, cwd: &Path, inside: bool) -> Result<(), (&'static str, Errno)> {
    nix::unistd::setsid().map_err(|errno| ("begin a session in", errno))?;
    // A holder that is killed takes its worker with it: nobody would record what it says.
    let tie = || {
        nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)
            .map_err(|errno| ("tie the worker to its holder in", errno))
    };
    tie()?;
    nix::unistd::dup2_stdin(&descriptors.stdin).map_err(|errno| ("set stdin in", errno))?;
    nix::unistd::dup2_stdout(&descriptors.stdout).map_err(|errno| ("set stdout in", errno))?;
    nix::unistd::dup2_stderr(&descriptors.stderr).map_err(|errno| ("set stderr in", errno))?;
    descriptors.confinement.enter(inside)?;
    // The kernel unties who becomes another user.
    tie()?;
    match descriptors.workspace {
        Some(workspace) => nix::unistd::fchdir(workspace),
        None => nix::unistd::chdir(cwd),
    }
    .map_err(|errno| ("enter", errno))?;
    close_others_on_exec().map_err(|errno| ("close descriptors in", errno))?;
    reset_signals().map_err(|errno| ("reset signals in", errno))
}

fn close_others_on_exec() -> Result<(), Errno> {
    // SAFETY: marks descriptors; closes and reads nothing.
    let marked = unsafe { libc::syscall(libc::SYS_close_range, 3u32, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    Errno::result(marked).map(drop)
}

/// The program begins as from a shell: nothing ignored, nothing blocked.
fn reset_signals() -> Result<(), Errno> {
    let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
    for signal in Signal::iterator().filter(|signal| !matches!(signal, Signal::SIGKILL | Signal::SIGSTOP)) {
        // SAFETY: the default disposition runs no code of ours.
        unsafe { sigaction(signal, &default) }?;
    }
    SigSet::all().thread_unblock()
}

/// Waits for the parent's word; `false`: it died without giving it.
fn wait_for_go(go: &OwnedFd) -> Result<bool, Errno> {
    let mut word = [0];
    loop {
        match nix::unistd::read(go, &mut word) {
            Err(Errno::EINTR) => {}
            other => return other.map(|count| count == 1),
        }
    }
}

fn own_mark() -> io::Result<CString> {
    let pid = Pid::this().as_raw();
    let mark = worker_mark(pid, ProcessStat::read(pid)?.start_time);
    c_string(format!("{WORKER_VARIABLE}={mark}").as_bytes())
}

fn exec(program: &Program, mark: CString) -> Result<Infallible, Errno> {
    let environment: Vec<CString> = program.environment.iter().cloned().chain([mark]).collect();
    let mut first_failure = None;
    for candidate in &program.candidates {
        let Err(errno) = nix::unistd::execve(candidate, &program.arguments, &environment);
        match errno {
            Errno::ENOENT | Errno::ENOTDIR => {}
            other => first_failure = first_failure.or(Some(other)),
        }
    }
    Err(first_failure.unwrap_or(Errno::ENOENT))
}

impl Program {
    fn of(order: &Order) -> io::Result<Self> {
        let name = order.argv.first().filter(|name| !name.is_empty());
        let name =
            name.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the order names no program"))?;
        let path = order.env.get("PATH").map_or(DEFAULT_PATH, String::as_str);
        let candidates = if name.contains('/') {
            vec![c_string(name.as_bytes())?]
        } else {
            path.split(':')
                .filter(|directory| !directory.is_empty())
                .map(|directory| c_string(Path::new(directory).join(name).as_os_str().as_bytes()))
                .collect::<io::Result<_>>()?
        };
        let arguments = order.argv.iter().map(|text| c_string(text.as_bytes())).collect::<io::Result<_>>()?;
        let variables = order.env.iter().filter(|(name, _)| *name != WORKER_VARIABLE);
        let environment = variables
            .map(|(name, value)| c_string(format!("{name}={value}").as_bytes()))
            .collect::<io::Result<_>>()?;
        Ok(Self { candidates, arguments, environment })
    }
}

fn c_string(bytes: &[u8]) -> io::Result<CString> {
    CString::new(bytes).map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "the order holds a NUL byte"))
}

fn non_blocking(pipe: OwnedFd) -> io::Result<OwnedFd> {
    let flags = OFlag::from_bits_retain(fcntl(pipe.as_fd(), FcntlArg::F_GETFL)?);
    fcntl(pipe.as_fd(), FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
    Ok(pipe)
}

/// A descriptor that the supervisor passed to be closed by us, if it did.
pub fn inherited(value: Option<&str>) -> Option<OwnedFd> {
    let raw: i32 = value?.parse().ok().filter(|raw| *raw > 2)?;
    // SAFETY: asks about a number; a closed one is refused.
    let open = unsafe { libc::fcntl(raw, libc::F_GETFD) } >= 0;
    // SAFETY: it is open, it was given to us alone, and this is called once.
    open.then(|| unsafe { OwnedFd::from_raw_fd(raw) })
}

/// Takes the descriptor that the supervisor passed in this variable, if it did.
pub fn inherited_workspace(value: Option<&str>) -> io::Result<Option<BorrowedFd<'static>>> {
    let Some(value) = value else { return Ok(None) };
    let invalid =
        || io::Error::new(io::ErrorKind::InvalidInput, "the workspace's descriptor is not a directory");
    let raw: i32 = value.parse().map_err(|_| invalid())?;
    if raw < 3 {
        return Err(invalid());
    }
    // SAFETY: the descriptor is checked to be open before use, and nothing in the holder closes it.
    let workspace = unsafe { BorrowedFd::borrow_raw(raw) };
    let stat = nix::sys::stat::fstat(workspace)?;
    let is_directory = stat.st_mode & libc::S_IFMT == libc::S_IFDIR;
    if is_directory && workspace.as_raw_fd() == raw { Ok(Some(workspace)) } else { Err(invalid()) }
}
