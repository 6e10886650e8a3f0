//! A command on a terminal of its own: what it writes, keys for it, and whether it gives the terminal back.

use crate::wait;
use nix::pty::{OpenptyResult, Winsize, openpty};
use nix::sys::termios::{LocalFlags, tcgetattr};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What is waited for on a terminal comes within that time.
const DEADLINE: Duration = Duration::from_secs(30);

/// The command and its terminal; it is ended on drop.
pub struct Terminal {
    child: Child,
    keys: File,
    side: OwnedFd,
    written: Arc<Mutex<Vec<u8>>>,
}

impl Terminal {
    /// Starts a command on a new terminal of so many columns and rows.
    ///
    /// # Panics
    /// When there is no terminal or no such command.
    pub fn start(mut command: Command, columns: u16, rows: u16) -> Terminal {
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        let OpenptyResult { master, slave } = openpty(Some(&size), None).expect("a terminal");
        command.env("TERM", "xterm").env_remove("NO_COLOR");
        let side = || slave.try_clone().expect("a descriptor");
        // SAFETY: between fork and exec only setsid and ioctl are called, which may be called there; stdin is the
        // terminal by then. So Ctrl-C and Ctrl-Z are signals to the command, as under a shell.
        unsafe {
            command.pre_exec(|| {
                nix::unistd::setsid()?;
                match libc::ioctl(0, libc::TIOCSCTTY, 0) {
                    0 => Ok(()),
                    _ => Err(std::io::Error::last_os_error()),
                }
            });
        }
        let child = command.stdin(side()).stdout(side()).stderr(side()).spawn().expect("the binary starts");
        let written = Arc::new(Mutex::new(Vec::new()));
        let (mut from, kept) = (File::from(master.try_clone().expect("a descriptor")), written.clone());
        std::thread::spawn(move || {
            let mut piece = [0; 4096];
            while let Ok(length @ 1..) = from.read(&mut piece) {
                kept.lock().expect("nobody panics with it").extend_from_slice(&piece[..length]);
            }
        });
        Terminal { child, keys: File::from(master), side: slave, written }
    }

    /// Everything that was written so far.
    ///
    /// # Panics
    /// Never: nothing panics with the lock.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.written.lock().expect("nobody panics with it")).into_owned()
    }

    /// Waits until it has written this.
    ///
    /// # Panics
    /// When it does not.
    pub async fn shows(&self, text: &str) {
        let all = || format!("shown: {text:?}; it shows {:?}", self.text());
        let shown = wait::try_until(DEADLINE, || self.text().contains(text).then_some(())).await;
        assert!(shown.is_some(), "{}", all());
    }

    /// Presses keys.
    ///
    /// # Panics
    /// When the terminal is gone.
    pub fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).expect("the terminal is there");
    }

    /// Whether the terminal echoes and edits lines, as a shell's does.
    ///
    /// # Panics
    /// When the terminal is gone.
    pub fn edits_lines(&self) -> bool {
        let flags = tcgetattr(&self.side).expect("the terminal is there").local_flags;
        flags.contains(LocalFlags::ICANON | LocalFlags::ECHO)
    }

    /// Waits until the command has taken the terminal's keys for itself.
    ///
    /// # Panics
    /// When it does not.
    pub async fn takes_keys(&self) {
        wait::until("keys come as they are pressed", DEADLINE, || (!self.edits_lines()).then_some(())).await;
    }

    /// Pid of the command.
    pub fn pid(&self) -> i32 {
        self.child.id().cast_signed()
    }

    /// Waits for the command's end.
    ///
    /// # Panics
    /// When it does not end.
    pub async fn ends(&mut self) -> ExitStatus {
        let child = &mut self.child;
        wait::until("the command ends", DEADLINE, || child.try_wait().ok().flatten()).await
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
