//! Which node a command is about.

use super::output::CliError;
use crate::io::systemd::INSTALLED_HOME;
use holdfast_shared::control::Client;
use holdfast_shared::home::{Home, Role};
use holdfast_shared::process::read_holder;
use holdfast_shared::slot::Slot;
use std::path::{Path, PathBuf};

/// Name of the directory that is looked for.
const DIRECTORY: &str = ".holdfast";
/// Where the package and `deploy/install` put the programs.
const INSTALLED_PROGRAMS: [&str; 2] = ["/usr/lib/holdfast", "/usr/local/lib/holdfast"];

/// A home, and how to talk to what lives in it.
#[derive(Debug)]
pub struct Place {
    /// The home.
    pub home: Home,
}

impl Place {
    /// The home that was named, or found here or in a parent directory, or, for an installed program, the installed
    /// node's.
    ///
    /// # Errors
    /// When there is none.
    pub fn find(named: Option<PathBuf>) -> Result<Self, CliError> {
        let here = current_directory()?;
        let found = named.map(|path| here.join(path)).or_else(|| search(&here)).or_else(installed);
        let path = found.ok_or_else(|| CliError::NoHome { here: here.display().to_string() })?;
        Ok(Self { home: Home::new(real(path)) })
    }

    /// The home that was named, or found here or in a parent directory; where there is none, the one to be made here.
    /// Never the installed node's: its home is its user's to start.
    ///
    /// # Errors
    /// When there is no current directory.
    pub fn for_start(named: Option<PathBuf>) -> Result<Self, CliError> {
        let here = current_directory()?;
        let path = named.map(|path| here.join(path)).or_else(|| search(&here));
        Ok(Self { home: Home::new(real(path.unwrap_or_else(|| here.join(DIRECTORY)))) })
    }

    /// The supervisor's control socket.
    pub fn supervisor(&self) -> Client {
        Client::new(self.home.control(Role::Supervisor))
    }

    /// The sidecar's control socket.
    pub fn sidecar(&self) -> Client {
        Client::new(self.home.control(Role::Sidecar))
    }

    /// Whether a process of this role lives.
    pub fn lives(&self, role: Role) -> bool {
        // A lock whose holder cannot be told is held all the same.
        read_holder(&self.home, role).map_or(true, |living| living.is_some())
    }

    /// Whether anything of the node lives, workers aside.
    pub fn anything_lives(&self) -> bool {
        let roles =
            [Role::Keeper, Role::Supervisor, Role::Sidecar, Role::Runtime(Slot::A), Role::Runtime(Slot::B)];
        roles.into_iter().any(|role| self.lives(role))
    }

    /// The error that no node runs here.
    pub fn not_running(&self) -> CliError {
        CliError::NotRunning { home: self.home.path().display().to_string() }
    }

    /// The error for a call that reached nobody: not running, unless something lives.
    pub fn explain(&self, error: holdfast_shared::control::CallError) -> CliError {
        if error.was_not_sent() && !self.anything_lives() { self.not_running() } else { error.into() }
    }
}

fn current_directory() -> Result<PathBuf, CliError> {
    std::env::current_dir().map_err(CliError::system("find the current directory"))
}

fn search(from: &Path) -> Option<PathBuf> {
    from.ancestors().map(|directory| directory.join(DIRECTORY)).find(|path| path.is_dir())
}

/// The installed node's home, where this is an installed program.
fn installed() -> Option<PathBuf> {
    let program = std::env::current_exe().ok()?;
    is_installed(&program).then(|| PathBuf::from(INSTALLED_HOME)).filter(|home| home.is_dir())
}

fn is_installed(program: &Path) -> bool {
    INSTALLED_PROGRAMS.iter().any(|directory| program.starts_with(directory))
}

/// Without links and dots where it is there; the same home has one name.
fn real(path: PathBuf) -> PathBuf {
    path.canonicalize().unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_installed_program_looks_for_the_installed_home() {
        for installed in ["/usr/lib/holdfast/holdfast", "/usr/local/lib/holdfast/holdfast (deleted)"] {
            assert!(is_installed(Path::new(installed)), "{installed}");
        }
        for built in ["/home/x/target/release/holdfast", "/usr/lib/holdfast-other/holdfast", "holdfast"] {
            assert!(!is_installed(Path::new(built)), "{built}");
        }
    }
}
