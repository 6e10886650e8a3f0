//! Root's own files, durable and written whole, and the units as they lie on disk.

use super::{Places, PlacingError, on};
use crate::release::UNIT_NAMES;
use crate::units::{Texts, There};
use holdfast_shared::durable_file;
use nix::fcntl::{Flock, FlockArg};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

/// One at a time.
const LOCK: &str = "lock";

pub(super) fn alone(places: &Places) -> Result<Flock<File>, PlacingError> {
    let made = DirBuilder::new().recursive(true).mode(0o755).create(&places.state);
    made.map_err(on("create", &places.state))?;
    let path = places.state.join(LOCK);
    let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
    let file = file.map_err(on("open", &path))?;
    Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, errno)| on("lock", &path)(errno.into()))
}

/// What is not there, or damaged, is as if it had never been written: it is only written whole.
pub(super) fn read<T: DeserializeOwned>(path: &Path) -> Option<T> {
    serde_json::from_slice(&std::fs::read(path).ok()?).ok()
}

pub(super) fn write(path: &Path, value: &impl Serialize) -> Result<(), PlacingError> {
    let text = serde_json::to_vec_pretty(value).unwrap_or_default();
    let file = durable_file::prepare(path, &text).map_err(on("write", path))?;
    file.readable_by_all().and_then(|()| file.put()).map(drop).map_err(on("place", path))
}

pub(super) fn forget(path: &Path) -> Result<(), PlacingError> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(on("remove", path)(error)),
        _ => {
            let directory = path.parent().unwrap_or(Path::new("/"));
            durable_file::sync_directory(directory).map_err(on("sync", directory))
        }
    }
}

/// Writes or removes units, durably.
pub(super) fn put(places: &Places, texts: &Texts) -> Result<(), PlacingError> {
    for (name, text) in texts {
        let path = places.units.join(name);
        match text {
            Some(text) => {
                let file = durable_file::prepare(&path, text.as_bytes()).map_err(on("write", &path))?;
                file.readable_by_all().and_then(|()| file.put()).map_err(on("place", &path))?;
            }
            None => forget(&path)?,
        }
    }
    durable_file::sync_directory(&places.units).map_err(on("sync", &places.units))
}

pub(super) fn there(places: &Places) -> Result<BTreeMap<&'static str, There>, PlacingError> {
    let mut all = BTreeMap::new();
    for name in UNIT_NAMES {
        let path = places.units.join(name);
        match std::fs::symlink_metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(on("look at", &path)(error)),
            Ok(found) => {
                let text = if found.is_file() { std::fs::read_to_string(&path).ok() } else { None };
                all.insert(name, text.map_or(There::Other, There::Text));
            }
        }
    }
    Ok(all)
}

pub(super) fn packaged(places: &Places) -> BTreeMap<&'static str, String> {
    let text =
        |name: &str| places.packaged.iter().find_map(|below| std::fs::read_to_string(below.join(name)).ok());
    UNIT_NAMES.into_iter().filter_map(|name| Some((name, text(name)?))).collect()
}
