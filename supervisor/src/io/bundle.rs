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
mod walk;

pub use keys::TrustedKeys;
pub use signature::{SIGNATURE_BYTES, signature_path, text as signature_text};
pub use units::units;

use crate::io::{root, slots};
use crate::release::{BundleError, Limits, MANIFEST, Rules, judge};
use holdfast_shared::error::ApiError;
use holdfast_shared::home::{Home, Role};
use holdfast_shared::process::read_holder;
use holdfast_shared::release::{BundleFile, BundleManifest, Manifest};
use holdfast_shared::slot::Slot;
use lease::Held;
use staging::Staging;
use std::fs::{File, OpenOptions};
use std::io::{BufReader, Read, Seek, SeekFrom, Write};
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

/// How far staging is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StageProgress {
    /// What was just done.
    pub step: Step,
    /// Bytes unpacked.
    pub done_bytes: u64,
    /// Bytes to unpack.
    pub total_bytes: u64,
}

/// The steps of staging, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// The lease is ours.
    Leased,
    /// What a predecessor left is gone, and there is room.
    Cleaned,
    /// A piece of a file is written.
    Unpacking,
    /// All files and the slot's manifest are durable in the staging directory.
    Unpacked,
    /// The slot is the new one.
    Placed,
    /// The old one is gone.
    Tidied,
}

/// Unpacks a verified bundle beside the slots, makes it durable, and puts it into the slot's place in one step.
/// Whatever happens meanwhile, the slot is the old one or the new one (on file systems that cannot exchange two
/// names: or empty); a process killed in the middle leaves what the next staging removes. Blocks, for as long as the
/// disk takes; run it apart from the loop. `progress` is called after each step and each piece written.
///
/// The caller has stopped a standby or retired runtime of this slot before. Cancel with [`lease::revoke`].
///
/// # Errors
/// See [`BundleError::code`]: the slot in use or leased, no room, the lease revoked, a file that is not the one that
/// was verified, a disk that refuses.
pub fn stage(
    verified: &Verified,
    slot: Slot,
    home: &Home,
    attempt: &str,
    progress: &mut dyn FnMut(StageProgress),
) -> Result<Manifest, BundleError> {
    let total_bytes = verified.manifest.unpacked_bytes().unwrap_or(u64::MAX);
    let mut report = |step, done_bytes| progress(StageProgress { step, done_bytes, total_bytes });
    let lease = Held::take(home, slot, attempt)?;
    report(Step::Leased, 0);
    let staged = carry_out(verified, slot, home, &lease, &mut report);
    // Whose lease is gone, their directory may be too: then that is the reason, not what failed because of it.
    staged.map_err(|error| match lease.check() {
        Err(revoked @ BundleError::LeaseRevoked { .. }) => revoked,
        _ => error,
    })
}

fn carry_out(
    verified: &Verified,
    slot: Slot,
    home: &Home,
    lease: &Held,
    report: &mut dyn FnMut(Step, u64),
) -> Result<Manifest, BundleError> {
    let total_bytes = verified.manifest.unpacked_bytes().unwrap_or(u64::MAX);
    refuse_in_use(home, slot)?;
    let mut staging = Staging::begin(home, lease.attempt(), &lease.unique())?;
    staging.demand_space(total_bytes.saturating_add(verified.limits.reserve_bytes))?;
    report(Step::Cleaned, 0);
    let mut unpack = Unpack { staging: &mut staging, lease, out: None, done_bytes: 0, report };
    let same = |manifest: &BundleManifest| same_as(verified, manifest);
    let source = BufReader::new(verified.rewind()?.take(verified.bundle_bytes));
    walk::walk(source, &verified.path, verified.limits.manifest_bytes, same, &mut unpack)?;
    let manifest = verified.manifest.installed(slot, &verified.key);
    staging.finish(&manifest)?;
    report(Step::Unpacked, total_bytes);
    lease.place(|| {
        refuse_in_use(home, slot)?;
        // Before the slot: a version that was ever in one is remembered, whatever dies here.
        keys::remember(&home.keys(), &verified.key, &manifest.version)?;
        staging.place(slot)
    })?;
    report(Step::Placed, total_bytes);
    drop(staging);
    report(Step::Tidied, total_bytes);
    Ok(manifest)
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
        let own = match (&promoted, slots::beside_us(name)) {
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

/// The active slot and one that a live process runs from are never touched.
fn refuse_in_use(home: &Home, slot: Slot) -> Result<(), BundleError> {
    let in_use = |why: String| BundleError::SlotInUse { slot: slot.name(), why };
    match read_holder(home, Role::Runtime(slot)) {
        Ok(None) => {}
        Ok(Some(living)) => return Err(in_use(format!("process {} runs from it", living.pid))),
        Err(error) => return Err(in_use(format!("whether a process runs from it cannot be told: {error}"))),
    }
    let journal = home.supervisor_journal();
    if !journal.is_dir() {
        return Ok(());
    }
    match crate::io::journal::read(&journal) {
        Ok(state) if state.committed.is_some_and(|epoch| epoch.slot == slot) => {
            Err(in_use("it is active".to_owned()))
        }
        Ok(_) => Ok(()),
        Err(error) => Err(in_use(format!("whether it is active cannot be told: {error}"))),
    }
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

/// Where contents go that are unpacked.
struct Unpack<'a> {
    staging: &'a mut Staging,
    lease: &'a Held,
    out: Option<(File, PathBuf)>,
    done_bytes: u64,
    report: &'a mut dyn FnMut(Step, u64),
}

impl walk::Sink for Unpack<'_> {
    fn begin(&mut self, path: &str, _: &BundleFile) -> Result<(), BundleError> {
        self.lease.check()?;
        self.out = Some(self.staging.create(path)?);
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), BundleError> {
        self.lease.check()?;
        if let Some((file, path)) = &mut self.out {
            file.write_all(bytes).map_err(BundleError::writing("write", path))?;
        }
        self.done_bytes += bytes.len() as u64;
        (self.report)(Step::Unpacking, self.done_bytes);
        Ok(())
    }

    fn end(&mut self) -> Result<(), BundleError> {
        match self.out.take() {
            Some((file, path)) => file.sync_all().map_err(BundleError::writing("sync", &path)),
            None => Ok(()),
        }
    }
}
