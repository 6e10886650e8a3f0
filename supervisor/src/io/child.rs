//! Starting a child: a session of its own, stderr appended to a log file, a clean environment, passed listeners.

use holdfast_shared::home::{Home, Role};
use holdfast_shared::process::FIRST_PASSED;
use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// What a child of ours is given of our environment; everything else is ours alone.
const INHERITED: &[&str] = &[
    "HOME",
    "HOLDFAST_LOG",
    "HOLDFAST_TEST_RUN",
    "LANG",
    "LC_ALL",
    "LOGNAME",
    "PATH",
    "RUST_BACKTRACE",
    "SHELL",
    "TMPDIR",
    "TZ",
    "USER",
];

/// A child to be started.
#[derive(Debug)]
pub struct ChildPlan<'a> {
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<OsString>,
    /// Its log below `logs/`, without `.log`.
    pub log: &'a str,
    /// NOTIFY_SOCKET, where somebody listens.
    pub notify: Option<OsString>,
    /// Passed at 3 and following, in this order.
    pub passed: Vec<BorrowedFd<'a>>,
    /// Further variables.
    pub variables: Vec<(&'static str, OsString)>,
}

/// The plan of one of our own processes.
pub fn plan<'a>(program: &Path, role: Role, arguments: Vec<OsString>) -> ChildPlan<'a> {
    ChildPlan {
        program: program.to_owned(),
        arguments,
        log: role.name(),
        notify: None,
        passed: Vec::new(),
        variables: Vec::new(),
    }
}

impl<'a> ChildPlan<'a> {
    /// Passes listeners by the LISTEN_FDS protocol, all under the name `listener`.
    #[must_use]
    pub fn with_listeners(mut self, listeners: Vec<BorrowedFd<'a>>) -> Self {
        if !listeners.is_empty() {
            self.variables.push(("LISTEN_FDS", listeners.len().to_string().into()));
            self.variables.push(("LISTEN_FDNAMES", vec!["listener"; listeners.len()].join(":").into()));
            self.passed = listeners;
        }
        self
    }
}

/// Opens a log for append.
///
/// # Errors
/// What the file system says.
pub fn open_log(home: &Home, name: &str) -> io::Result<File> {
    std::fs::create_dir_all(home.logs())?;
    OpenOptions::new().append(true).create(true).mode(0o600).open(home.logs().join(format!("{name}.log")))
}

/// Variables of ours that children are given.
pub fn inherited() -> impl Iterator<Item = (&'static str, OsString)> {
    INHERITED.iter().filter_map(|name| Some((*name, std::env::var_os(name)?)))
}

/// Starts a child in a session of its own.
///
/// # Errors
/// What the system says; nothing runs then.
pub fn start(home: &Home, plan: &ChildPlan<'_>) -> io::Result<Child> {
    let mut command = Command::new(&plan.program);
    command.args(&plan.arguments).env_clear().envs(inherited());
    command.envs(plan.variables.iter().map(|(name, value)| (name, value)));
    if let Some(notify) = &plan.notify {
        command.env("NOTIFY_SOCKET", notify);
    }
    command.current_dir(home.path()).stdin(Stdio::null()).stdout(Stdio::null());
    command.stderr(open_log(home, plan.log)?);
    let passed: Vec<RawFd> = plan.passed.iter().map(AsRawFd::as_raw_fd).collect();
    // SAFETY: between fork and exec only async-signal-safe calls: setsid, dup2, fcntl.
    unsafe {
        command.pre_exec(move || {
            nix::unistd::setsid()?;
            pass(&passed)
        });
    }
    command.spawn()
}

/// Puts descriptors at 3 and following. They are first moved out of the way, so none overwrites another.
fn pass(descriptors: &[RawFd]) -> io::Result<()> {
    let count = i32::try_from(descriptors.len()).unwrap_or(0);
    for (index, descriptor) in (0..count).zip(descriptors) {
        // SAFETY: duplicates an open descriptor of this process to a free number above those meant.
        let moved = unsafe { libc::fcntl(*descriptor, libc::F_DUPFD_CLOEXEC, FIRST_PASSED + count) };
        // SAFETY: both numbers are in range; the target is closed by the call if it was open.
        if moved < 0 || unsafe { libc::dup2(moved, FIRST_PASSED + index) } < 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}
