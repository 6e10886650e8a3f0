//! Whose releases are installed here: `<home>/keys/*.pub`, and the highest version seen of each key.

use crate::io::owner::as_owner;
use crate::release::BundleError;
use holdfast_shared::durable_file;
use holdfast_shared::home::Home;
use minisign_verify::PublicKey;
use semver::Version;
use std::collections::BTreeMap;
use std::fs::DirBuilder;
use std::io::{ErrorKind, Read};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// More keys than anybody needs, for rotation and several vendors.
const KEYS: usize = 64;
/// A comment and a line of 56 characters.
const KEY_BYTES: u64 = 4096;
/// Ending of a public key's file.
const ENDING: &str = "pub";
/// Highest version by key, in the keys' directory.
const SEEN: &str = "seen.json";

/// A key, and what is remembered of it.
#[derive(Debug)]
pub struct TrustedKey {
    /// The key itself, base64: what minisign shows after `-P`.
    pub id: String,
    /// Its file's name without the ending.
    pub name: String,
    /// The highest version seen from it.
    pub highest: Option<String>,
    pub(super) public: PublicKey,
}

/// The keys that are trusted.
#[derive(Debug, Default)]
pub struct TrustedKeys {
    keys: Vec<TrustedKey>,
}

impl TrustedKeys {
    /// All keys of a directory ([`holdfast_shared::home::Home::keys`]); none where there is no such directory.
    ///
    /// # Errors
    /// A `.pub` file that is not a public key, or a damaged `seen.json`: what cannot be read is not passed over.
    pub fn load(directory: &Path) -> Result<Self, BundleError> {
        let mut files = Vec::new();
        match std::fs::read_dir(directory) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(BundleError::reading("read", directory)(error)),
            Ok(entries) => {
                for entry in entries {
                    files.push(entry.map_err(BundleError::reading("read", directory))?.path());
                }
            }
        }
        files.retain(|path| path.extension().is_some_and(|ending| ending == ENDING));
        files.sort();
        if files.len() > KEYS {
            return Err(unreadable(directory, &format!("there are more than {KEYS} keys")));
        }
        let mut seen = seen(directory)?;
        let key = |path: &PathBuf| {
            let mut key = read_key(path)?;
            key.highest = seen.remove(&key.id);
            Ok(key)
        };
        Ok(Self { keys: files.iter().map(key).collect::<Result<_, BundleError>>()? })
    }

    /// One key from its file, of which nothing is remembered.
    ///
    /// # Errors
    /// When it is not a public key.
    pub fn single(file: &Path) -> Result<Self, BundleError> {
        Ok(Self { keys: vec![read_key(file)?] })
    }

    /// The keys, by name.
    pub fn keys(&self) -> &[TrustedKey] {
        &self.keys
    }
}

/// Trusts the key in a file from now on. The same key again changes nothing.
///
/// # Errors
/// When it is not a public key, or another one has its name.
pub fn trust(directory: &Path, file: &Path) -> Result<PathBuf, BundleError> {
    let text = read_text(file)?;
    keep(directory, &key(file, &text)?, &text)
}

/// Trusts the key in a file on the node of this home. Whoever owns the home may have put links anywhere below it, so the
/// file is read with our own rights and what is below the home is done with its owner's ([`as_owner`]).
///
/// # Errors
/// As [`trust`], or the owner's rights could not be taken.
pub fn trust_in(home: &Home, file: &Path) -> Result<PathBuf, BundleError> {
    let text = read_text(file)?;
    let key = key(file, &text)?;
    as_owner(home.path(), || keep(&home.keys(), &key, &text))
        .map_err(BundleError::writing("act as the owner of", home.path()))?
}

fn keep(directory: &Path, key: &TrustedKey, text: &str) -> Result<PathBuf, BundleError> {
    let trusted = TrustedKeys::load(directory)?;
    let kept = directory.join(format!("{}.{ENDING}", key.name));
    match trusted.keys.iter().find(|other| other.id == key.id || other.name == key.name) {
        Some(same) if same.id == key.id => return Ok(directory.join(format!("{}.{ENDING}", same.name))),
        Some(_) => return Err(unreadable(&kept, "another key has this name")),
        None => {}
    }
    make_directory(directory)?;
    durable_file::write(&kept, text.as_bytes()).map_err(BundleError::writing("write", &kept))?;
    Ok(kept)
}

/// Remembers durably that this version was seen from this key; a lower one changes nothing.
///
/// # Errors
/// A damaged `seen.json`, or a disk that refuses.
pub fn remember(directory: &Path, key: &str, version: &str) -> Result<(), BundleError> {
    let mut seen = seen(directory)?;
    let newer = match (Version::parse(version), seen.get(key).map(|highest| Version::parse(highest))) {
        (Ok(version), Some(Ok(highest))) => version.cmp_precedence(&highest).is_gt(),
        (version, _) => version.is_ok(),
    };
    if !newer {
        return Ok(());
    }
    seen.insert(key.to_owned(), version.to_owned());
    make_directory(directory)?;
    let path = directory.join(SEEN);
    let text = serde_json::to_vec_pretty(&seen).unwrap_or_default();
    durable_file::write(&path, &text).map_err(BundleError::writing("write", &path))
}

fn seen(directory: &Path) -> Result<BTreeMap<String, String>, BundleError> {
    let path = directory.join(SEEN);
    match std::fs::read(&path) {
        Ok(text) => serde_json::from_slice(&text).map_err(|error| unreadable(&path, &error.to_string())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(BTreeMap::new()),
        Err(error) => Err(BundleError::reading("read", &path)(error)),
    }
}

fn read_key(path: &Path) -> Result<TrustedKey, BundleError> {
    key(path, &read_text(path)?)
}

fn key(path: &Path, text: &str) -> Result<TrustedKey, BundleError> {
    let no_key = || unreadable(path, "it is not a minisign public key");
    let id = text.lines().nth(1).ok_or_else(no_key)?.trim().to_owned();
    let public = PublicKey::from_base64(&id).map_err(|_| no_key())?;
    let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    Ok(TrustedKey { id, name, highest: None, public })
}

fn read_text(path: &Path) -> Result<String, BundleError> {
    let file = std::fs::File::open(path).map_err(BundleError::reading("open", path))?;
    let mut text = String::new();
    let read = file.take(KEY_BYTES).read_to_string(&mut text);
    read.map_err(BundleError::reading("read", path))?;
    Ok(text)
}

fn make_directory(directory: &Path) -> Result<(), BundleError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(directory);
    made.map_err(BundleError::writing("create", directory))
}

fn unreadable(path: &Path, why: &str) -> BundleError {
    BundleError::KeyUnreadable { path: path.display().to_string(), why: why.to_owned() }
}
