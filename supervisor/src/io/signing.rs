//! Key pairs for releases, and signing with them: minisign's files, so that `minisign` and `rsign` read them too.
//!
//! Only `release keygen` and `release pack` come here; a node verifies with `minisign-verify` alone.

use crate::io::bundle::signature_path;
use holdfast_shared::durable_file;
use minisign::{KeyPair, SecretKey, SecretKeyBox};
use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, BufReader, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Why a key was not made or nothing was signed.
#[derive(Debug, thiserror::Error)]
pub enum SigningError {
    /// A file.
    #[error("{operation} {path}: {source}")]
    File {
        /// What was tried.
        operation: &'static str,
        /// With which file.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// A file that is there already, which may be the only copy of a key.
    #[error("{path} is there already; it is left as it is")]
    KeyExists {
        /// It.
        path: String,
    },
    /// The secret key has a password, and none was given.
    #[error("{path} is protected by a password, or no secret key: give --password-file")]
    PasswordNeeded {
        /// The key's file.
        path: String,
    },
    /// The library refused.
    #[error("{operation} {path}: {source}")]
    Minisign {
        /// What was tried.
        operation: &'static str,
        /// With which file.
        path: String,
        /// What it said.
        source: minisign::PError,
    },
}

impl SigningError {
    /// For `map_err`.
    pub fn file(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.display().to_string();
        move |source| Self::File { operation, path, source }
    }

    fn minisign(operation: &'static str, path: &Path) -> impl FnOnce(minisign::PError) -> Self {
        let path = path.display().to_string();
        move |source| Self::Minisign { operation, path, source }
    }
}

/// A new key pair's files.
#[derive(Debug)]
pub struct NewKey {
    /// The secret key, mode 0600.
    pub secret: PathBuf,
    /// The public key.
    pub public: PathBuf,
    /// The public key, base64.
    pub id: String,
}

/// Makes a key pair: `<name>.key` (0600) and `<name>.pub` in a directory, with a password or without.
///
/// # Errors
/// One of the files is there; nothing was changed then. Or the system refuses.
pub fn generate(directory: &Path, name: &str, password: Option<String>) -> Result<NewKey, SigningError> {
    let secret = directory.join(format!("{name}.key"));
    let public = directory.join(format!("{name}.pub"));
    if let Some(there) = [&secret, &public].into_iter().find(|path| path.exists()) {
        return Err(SigningError::KeyExists { path: there.display().to_string() });
    }
    let pair = match password {
        Some(password) => KeyPair::generate_encrypted_keypair(Some(password)),
        None => KeyPair::generate_unencrypted_keypair(),
    };
    let pair = pair.map_err(SigningError::minisign("make the key", &secret))?;
    let secret_box = pair.sk.to_box(Some("holdfast release secret key"));
    let secret_text = secret_box.map_err(SigningError::minisign("write", &secret))?.to_string();
    let public_text = pair.pk.to_box().map_err(SigningError::minisign("write", &public))?.to_string();
    std::fs::create_dir_all(directory).map_err(SigningError::file("create", directory))?;
    // The secret one first: a public key whose secret was never written would be trusted for nothing.
    write_new(&secret, &secret_text, 0o600)?;
    write_new(&public, &public_text, 0o644)?;
    durable_file::sync_directory(directory).map_err(SigningError::file("sync", directory))?;
    let id = public_text.lines().nth(1).unwrap_or_default().to_owned();
    Ok(NewKey { secret, public, id })
}

fn write_new(path: &Path, text: &str, mode: u32) -> Result<(), SigningError> {
    let file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path);
    let mut file = file.map_err(SigningError::file("create", path))?;
    let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
    written.map_err(SigningError::file("write", path))
}

/// A secret key that was read.
pub struct SigningKey {
    secret: SecretKey,
    path: PathBuf,
}

impl SigningKey {
    /// Reads a secret key. Never asks anybody: a key with a password needs it given.
    ///
    /// # Errors
    /// Not a secret key, or the wrong password.
    pub fn read(path: &Path, password: Option<String>) -> Result<Self, SigningError> {
        let text = std::fs::read_to_string(path).map_err(SigningError::file("read", path))?;
        let parsed = || SecretKeyBox::from_string(&text).map_err(SigningError::minisign("read", path));
        let secret = match password {
            Some(password) => {
                parsed()?.into_secret_key(Some(password)).map_err(SigningError::minisign("open", path))?
            }
            None => parsed()?
                .into_unencrypted_secret_key()
                .map_err(|_| SigningError::PasswordNeeded { path: path.display().to_string() })?,
        };
        Ok(Self { secret, path: path.to_owned() })
    }

    /// Signs a file: writes its signature beside it and says where. The comment is signed too.
    ///
    /// # Errors
    /// What the system says.
    pub fn sign(&self, file: &Path, comment: &str) -> Result<PathBuf, SigningError> {
        let source = File::open(file).map_err(SigningError::file("open", file))?;
        let signed = minisign::sign(None, &self.secret, BufReader::new(source), Some(comment), None);
        let text = signed.map_err(SigningError::minisign("sign", &self.path))?.to_string();
        let path = signature_path(file);
        let written = durable_file::write(&path, text.as_bytes());
        // For everybody to read, as the bundle is.
        let written = written.and_then(|()| std::fs::set_permissions(&path, Permissions::from_mode(0o644)));
        written.map_err(SigningError::file("write", &path))?;
        Ok(path)
    }
}
