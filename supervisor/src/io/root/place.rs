//! A release's root files put in place: copied, compared, durable, and only then in use.

use super::{OPERATOR, changes, program, read, running, succession, tidy_alone, write};
use crate::io::home::on_file;
use crate::io::programs::{SIDECAR, beside_us};
use crate::io::reap::Awaited;
use crate::io::slots::digest;
use crate::promotion::Root;
use crate::release::check_path;
use holdfast_shared::durable_file::sync_directory;
use holdfast_shared::error::{ApiError, Code};
use holdfast_shared::home::{Home, Role};
use holdfast_shared::release::Manifest;
use std::collections::BTreeMap;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// What a root consists of.
const FILES: [&str; 2] = [OPERATOR, SIDECAR];

/// What came of placing.
#[derive(Debug)]
pub enum Placed {
    /// They are in use from now on: the program that is to be the supervisor.
    InUse(PathBuf),
    /// They were in use for this attempt before, and were put back.
    Restored,
}

/// What is to be placed.
#[derive(Debug)]
pub struct Order {
    /// The release in its slot.
    pub manifest: Manifest,
    /// The attempt's name.
    pub attempt: String,
    /// Unix milliseconds.
    pub now_ms: i64,
}

/// Puts a release's root files in place, on trial, keeping those before. Files that the release does not have are
/// those in use now. Blocks, for as long as the disk takes. Done again for the same attempt, it changes nothing more.
///
/// # Errors
/// In words: a file that is not the one that was verified, a program that this machine does not execute, a disk that
/// refuses. What is in use is as it was then.
pub fn place(home: &Home, order: &Order) -> Result<Placed, ApiError> {
    let _alone = changes();
    let before = read(home)?;
    if before.was_restored(&order.attempt) {
        return Ok(Placed::Restored);
    }
    if let Some(root) = before.current.as_ref().filter(|root| root.attempt == order.attempt) {
        return Ok(Placed::InUse(program(home, root, OPERATOR)));
    }
    // What earlier promotions have left: there is one more than what is in use at a time.
    tidy_alone(home)?;
    let root = Root {
        directory: order.attempt.clone(),
        release: order.manifest.version.clone(),
        attempt: order.attempt.clone(),
        base: succession::base_digest(home)
            .map_err(|error| on_file("read", Path::new("the keeper's program"), &error))?,
        digests: BTreeMap::new(),
        renews_sidecar: true,
    };
    let root = fill(home, order, root)?;
    let executed = program(home, &root, OPERATOR);
    check_executes(&executed).map_err(|error| on_file("execute", &executed, &error))?;
    write(home, &before.placed(root, order.now_ms))?;
    Ok(Placed::InUse(executed))
}

fn fill(home: &Home, order: &Order, mut root: Root) -> Result<Root, ApiError> {
    let directory = home.root().join(&root.directory);
    match std::fs::remove_dir_all(&directory) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(on_file("remove", &directory, &error));
        }
        _ => {}
    }
    let made = DirBuilder::new().recursive(true).mode(0o700).create(&directory);
    made.map_err(|error| on_file("create", &directory, &error))?;
    for name in FILES {
        let (from, expected) = source(home, &order.manifest, name)?;
        let to = directory.join(name);
        copy(&from, &to).map_err(|error| on_file("write", &to, &error))?;
        let found = digest(&to).map_err(|error| on_file("read", &to, &error))?;
        if expected.is_some_and(|expected| expected != found) {
            let message = format!("{} is not the file that was verified", from.display());
            return Err(ApiError::new(Code::Refused, message));
        }
        root.digests.insert(name.to_owned(), found);
    }
    let synced = [&directory, &home.root(), home.path()].into_iter().try_for_each(sync_directory);
    synced.map_err(|error| on_file("sync", &directory, &error))?;
    let serves = running(home, Role::Sidecar).and_then(|path| digest(&path)).ok();
    root.renews_sidecar = serves.as_ref() != root.digests.get(SIDECAR);
    Ok(root)
}

/// Where a file comes from, and its digest where the release has it.
fn source(home: &Home, manifest: &Manifest, name: &str) -> Result<(PathBuf, Option<String>), ApiError> {
    let is_it = |path: &&String| path.rsplit('/').next() == Some(name) && check_path(path.as_bytes()).is_ok();
    Ok(match manifest.root.iter().find(is_it) {
        Some(path) => (home.slot(manifest.slot).join(path), manifest.digests.get(path).cloned()),
        None => (beside_us(name)?, None),
    })
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let mut source = OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW).open(from)?;
    let mut out: File = OpenOptions::new().write(true).create_new(true).mode(0o700).open(to)?;
    io::copy(&mut source, &mut out)?;
    out.sync_all()
}

/// Whether the kernel executes it at all; what it then does is its trial's. It is ended at once.
pub(super) fn check_executes(program: &Path) -> io::Result<()> {
    /// A process that is forked meanwhile has our descriptor of the file until its own exec: the file is busy.
    const BUSY_AT_MOST: usize = 200;
    const AGAIN: Duration = Duration::from_millis(5);
    let mut command = Command::new(program);
    command.arg("--version").env_clear().stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    for _ in 0..BUSY_AT_MOST {
        match Awaited::spawn(&mut command) {
            Err(error) if error.raw_os_error() == Some(libc::ETXTBSY) => std::thread::sleep(AGAIN),
            spawned => return spawned.map(drop),
        }
    }
    Err(io::Error::from_raw_os_error(libc::ETXTBSY))
}
