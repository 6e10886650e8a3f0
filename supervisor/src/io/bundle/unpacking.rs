//! A verified bundle unpacked into a slot, under a lease. The slot in use is never touched; any other is the old release
//! or the new one, whatever interrupts this, or empty where two names cannot be exchanged.

use super::lease::Held;
use super::staging::Staging;
use super::{Verified, keys, same_as, walk};
use crate::release::BundleError;
use holdfast_shared::home::{Home, Role};
use holdfast_shared::process::read_holder;
use holdfast_shared::release::{BundleFile, BundleManifest, Manifest};
use holdfast_shared::slot::Slot;
use std::fs::File;
use std::io::{BufReader, Read, Write};
use std::path::PathBuf;

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
/// The caller has stopped a standby or retired runtime of this slot before. Cancel with [`revoke`](super::lease::revoke).
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
