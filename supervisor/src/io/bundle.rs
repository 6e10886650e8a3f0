//! Release bundles on disk: verified, then staged into a slot. What is allowed is decided in `release`.
//!
//! A bundle is `tar.zst` with a minisign signature beside it (`FILE.minisig`). Its bytes are checked against the
//! signature before anything of them is decompressed, all of its contents before anything is written, and every file
//! again while it is written. The file stays open in between and is read through the same descriptor; bytes that
//! somebody changes underneath all the same do not have the digests of the manifest that was verified.

pub mod keys;
pub mod lease;
mod signature;
mod staging;
mod units;
mod unpacking;
mod walk;

pub use keys::TrustedKeys;
pub use signature::{SIGNATURE_BYTES, signature_path, text as signature_text};
pub use units::units;
pub use unpacking::{StageProgress, Step, stage};

use crate::io::programs::beside_us;
use crate::io::{root, slots};
use crate::release::{BundleError, Limits, MANIFEST, Rules, judge};
use holdfast_shared::error::ApiError;
use holdfast_shared::home::Home;
use holdfast_shared::release::{BundleFile, BundleManifest, Manifest};
use std::fs::{File, OpenOptions};
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// A bundle whose signature, manifest and contents were found right. It holds the file open.
#[derive(Debug)]
pub struct Verified {
    file: File,
    path: PathBuf,
    manifest: BundleManifest,
    key: String,
    key_name: String,
    bundle_bytes: u64,
    limits: Limits,
}

impl Verified {
    /// What it says of itself.
    pub fn manifest(&self) -> &BundleManifest {
        &self.manifest
    }

    /// The public key that signed it, base64.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The name of that key's file, without its ending.
    pub fn key_name(&self) -> &str {
        &self.key_name
    }

    /// Its size.
    pub fn bundle_bytes(&self) -> u64 {
        self.bundle_bytes
    }

    fn rewind(&self) -> Result<&File, BundleError> {
        (&self.file).seek(SeekFrom::Start(0)).map_err(BundleError::reading("rewind", &self.path))?;
        Ok(&self.file)
    }
}

/// Checks a bundle, in this order: its signature by one of the trusted keys, its manifest by the rules, its contents
/// by the manifest (exactly these files, plain ones, each with its digest). Writes nothing. Blocks: it reads the
/// bundle twice.
///
/// # Errors
/// The first thing that is wrong, see [`BundleError::code`].
pub fn verify(bundle: &Path, trusted: &TrustedKeys, rules: &Rules) -> Result<Verified, BundleError> {
    let (mut file, bundle_bytes) = open(bundle, &rules.limits)?;
    let key = signature::check(bundle, &mut file, trusted)?;
    file.seek(SeekFrom::Start(0)).map_err(BundleError::reading("rewind", bundle))?;
    let judge = |manifest: &BundleManifest| judge(manifest, bundle_bytes, key.highest.as_deref(), rules);
    let source = BufReader::new((&file).take(bundle_bytes));
    let manifest = walk::walk(source, bundle, rules.limits.manifest_bytes, judge, &mut Nowhere)?;
    Ok(Verified {
        path: bundle.to_owned(),
        manifest,
        key: key.id.clone(),
        key_name: key.name.clone(),
        bundle_bytes,
        limits: rules.limits.clone(),
        file,
    })
}

/// The part of [`verify`] behind the signature, for a bundle that is about to be signed.
///
/// # Errors
/// As [`verify`].
pub fn check_contents(bundle: &Path, rules: &Rules) -> Result<BundleManifest, BundleError> {
    let (file, bundle_bytes) = open(bundle, &rules.limits)?;
    let judge = |manifest: &BundleManifest| judge(manifest, bundle_bytes, None, rules);
    walk::walk(BufReader::new(file), bundle, rules.limits.manifest_bytes, judge, &mut Nowhere)
}

/// A plain file of bearable size, and that size. A FIFO is not waited for.
///
/// # Errors
/// It cannot be read, is no plain file, or is too large.
pub fn open(bundle: &Path, limits: &Limits) -> Result<(File, u64), BundleError> {
    let mut options = OpenOptions::new();
    let file = options.read(true).custom_flags(libc::O_NONBLOCK).open(bundle);
    let file = file.map_err(BundleError::reading("open", bundle))?;
    let metadata = file.metadata().map_err(BundleError::reading("look at", bundle))?;
    if !metadata.is_file() {
        return Err(BundleError::Malformed { what: "not a plain file".to_owned() });
    }
    if metadata.len() > limits.bundle_bytes {
        let what = "the bundle in bytes".to_owned();
        return Err(BundleError::TooLarge { what, amount: metadata.len(), limit: limits.bundle_bytes });
    }
    Ok((file, metadata.len()))
}

/// Which root parts of a release are others than those in use: promoted ones of this home, else those beside the
/// running `holdfast`. Empty: no root promotion.
///
/// # Errors
/// A file that cannot be read. One that is not there counts as another.
pub fn root_changes(home: Option<&Home>, manifest: &Manifest) -> Result<Vec<String>, ApiError> {
    let promoted = home.map(root::read).transpose()?.and_then(|in_use| in_use.current);
    let mut changed = Vec::new();
    for path in &manifest.root {
        let name = path.rsplit('/').next().unwrap_or(path);
        let own = match (&promoted, beside_us(name)) {
            (Some(promoted), _) => promoted.digests.get(name).cloned(),
            (None, Ok(own)) => {
                Some(slots::digest(&own).map_err(|error| crate::io::home::on_file("read", &own, &error))?)
            }
            (None, Err(_)) => None,
        };
        if own.as_ref() != manifest.digests.get(path) {
            changed.push(path.clone());
        }
    }
    Ok(changed)
}

fn same_as(verified: &Verified, manifest: &BundleManifest) -> Result<(), BundleError> {
    if *manifest == verified.manifest {
        return Ok(());
    }
    Err(BundleError::DigestMismatch { path: MANIFEST.to_owned(), how: "digest" })
}

/// Where contents go that are only checked.
struct Nowhere;

impl walk::Sink for Nowhere {
    fn begin(&mut self, _: &str, _: &BundleFile) -> Result<(), BundleError> {
        Ok(())
    }
    fn write(&mut self, _: &[u8]) -> Result<(), BundleError> {
        Ok(())
    }
    fn end(&mut self) -> Result<(), BundleError> {
        Ok(())
    }
}
