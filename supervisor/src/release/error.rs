//! Why a bundle is refused or could not be staged, each with the stable code that attempts, CLI and logs show.

use super::path::PathFault;
use holdfast_shared::error::{ApiError, Code};
use holdfast_shared::version::VersionRange;
use serde_json::json;
use std::io;
use std::path::Path;

/// Why a bundle is refused or was not staged. Whichever it is: the slot is as it was.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// The bundle, its signature or a key could not be read.
    #[error("{operation} {path}: {source}")]
    Unreadable {
        /// What was tried.
        operation: &'static str,
        /// With which file.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// There is no `.minisig` beside it.
    #[error("{path} is missing: a bundle needs its signature beside it")]
    SignatureMissing {
        /// Where it was looked for.
        path: String,
    },
    /// The signature is no signature, or not of these bytes.
    #[error("the signature is not valid: {why}")]
    SignatureInvalid {
        /// In words.
        why: String,
    },
    /// Signed, by nobody who is trusted here.
    #[error("it is signed by a key that is not trusted here")]
    KeyUntrusted,
    /// A file among the trusted keys is not a public key, or what is remembered of them is damaged.
    #[error("{path}: {why}")]
    KeyUnreadable {
        /// The file.
        path: String,
        /// In words.
        why: String,
    },
    /// Signed, but not an archive of the form we write, or cut off.
    #[error("it is not a bundle, or damaged: {what}")]
    Malformed {
        /// In words.
        what: String,
    },
    /// The manifest is missing, not readable, or contradicts itself.
    #[error("its manifest is not valid: {why}")]
    ManifestInvalid {
        /// In words.
        why: String,
    },
    /// Packed for a later Holdfast.
    #[error("its format {format} is newer than {newest}, the newest known here: promote the root first")]
    FormatNewer {
        /// Its format.
        format: u32,
        /// Ours.
        newest: u32,
    },
    /// Its time is over.
    #[error("it expired at {}", time(.expired_at))]
    Expired {
        /// Unix milliseconds.
        expired_at: i64,
    },
    /// Older than what this key has signed before.
    #[error(
        "version {version} is older than {highest}, the highest seen from this key; --allow-downgrade allows it"
    )]
    Downgrade {
        /// Its version.
        version: String,
        /// The highest one seen.
        highest: String,
    },
    /// For another kind of machine.
    #[error("it is for {target}, this machine is {own}")]
    WrongTarget {
        /// Its target.
        target: String,
        /// Ours.
        own: String,
    },
    /// Speaks no version of something that is spoken here.
    #[error("it speaks {name} {} to {}, here {} to {} are spoken", .its.min, .its.max, .ours.min, .ours.max)]
    ContractRange {
        /// The protocol or file.
        name: String,
        /// Its range.
        its: VersionRange,
        /// Ours.
        ours: VersionRange,
    },
    /// Over a limit.
    #[error("{what} is {amount}, at most {limit} is allowed")]
    TooLarge {
        /// Of what there is too much.
        what: String,
        /// How much.
        amount: u64,
        /// The limit.
        limit: u64,
    },
    /// A path that leaves the slot, or could be taken for another.
    #[error("path {path:?} is refused: {fault}")]
    PathRefused {
        /// The path, as far as it can be shown.
        path: String,
        /// Why.
        fault: PathFault,
    },
    /// Something else than a plain file.
    #[error("{path:?} is {kind}; only plain files are unpacked")]
    EntryRefused {
        /// Its path.
        path: String,
        /// What it is.
        kind: &'static str,
    },
    /// A file is not what the manifest says.
    #[error("{path} is not the file that the manifest names: {how}")]
    DigestMismatch {
        /// Its path.
        path: String,
        /// `size` or `digest`.
        how: &'static str,
    },
    /// The manifest names a file that is not there.
    #[error("{path} is in the manifest and not in the bundle")]
    FileMissing {
        /// Its path.
        path: String,
    },
    /// A file that the manifest does not name, or a second one of the same name.
    #[error("{path:?} is not in the manifest, or there twice")]
    FileUnexpected {
        /// Its path.
        path: String,
    },
    /// It does not fit on the disk, by count beforehand or by what the disk said.
    #[error("not enough space in {path}: {needed} bytes are needed, {free} are free")]
    StorageFull {
        /// Where.
        path: String,
        /// Needed.
        needed: u64,
        /// Free.
        free: u64,
    },
    /// The slot is active, or a process runs from it.
    #[error("slot {slot} is in use: {why}")]
    SlotInUse {
        /// The slot.
        slot: &'static str,
        /// In words.
        why: String,
    },
    /// Another attempt prepares a slot.
    #[error("attempt {attempt} is preparing a slot (pid {pid})")]
    SlotLeased {
        /// It.
        attempt: String,
        /// Who carries it out.
        pid: i32,
    },
    /// The lease was revoked while the slot was prepared.
    #[error("the lease of attempt {attempt} was revoked")]
    LeaseRevoked {
        /// Whose.
        attempt: String,
    },
    /// The file system refused something while staging.
    #[error("{operation} {path}: {source}")]
    StagingFailed {
        /// What was tried.
        operation: &'static str,
        /// With which file.
        path: String,
        /// What the system said.
        source: io::Error,
    },
}

impl BundleError {
    /// The stable code, as it stands in attempts, `--json` and logs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unreadable { .. } => "bundle_unreadable",
            Self::SignatureMissing { .. } => "bundle_signature_missing",
            Self::SignatureInvalid { .. } => "bundle_signature_invalid",
            Self::KeyUntrusted => "bundle_key_untrusted",
            Self::KeyUnreadable { .. } => "trusted_key_unreadable",
            Self::Malformed { .. } => "bundle_malformed",
            Self::ManifestInvalid { .. } => "bundle_manifest_invalid",
            Self::FormatNewer { .. } => "bundle_format_newer",
            Self::Expired { .. } => "bundle_expired",
            Self::Downgrade { .. } => "bundle_downgrade",
            Self::WrongTarget { .. } => "bundle_wrong_target",
            Self::ContractRange { .. } => "bundle_contract_range_mismatch",
            Self::TooLarge { .. } => "bundle_too_large",
            Self::PathRefused { .. } => "bundle_path_refused",
            Self::EntryRefused { .. } => "bundle_entry_refused",
            Self::DigestMismatch { .. } => "bundle_digest_mismatch",
            Self::FileMissing { .. } => "bundle_file_missing",
            Self::FileUnexpected { .. } => "bundle_file_unexpected",
            Self::StorageFull { .. } => "storage_full",
            Self::SlotInUse { .. } => "slot_in_use",
            Self::SlotLeased { .. } => "slot_leased",
            Self::LeaseRevoked { .. } => "lease_revoked",
            Self::StagingFailed { .. } => "staging_failed",
        }
    }

    /// For `map_err` where something is read.
    pub fn reading(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.display().to_string();
        move |source| Self::Unreadable { operation, path, source }
    }

    /// For `map_err` where a slot is written: a full disk has a code of its own.
    pub fn writing(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.display().to_string();
        move |source| match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Self::StorageFull { path, needed: 1, free: 0 }
            }
            _ => Self::StagingFailed { operation, path, source },
        }
    }
}

impl From<BundleError> for ApiError {
    fn from(error: BundleError) -> Self {
        let code = match &error {
            BundleError::StorageFull { .. } => Code::StorageFull,
            BundleError::StagingFailed { .. } => Code::InternalError,
            _ => Code::Refused,
        };
        ApiError::new(code, error.to_string()).with_details(json!({"reason": error.code()}))
    }
}

fn time(at_ms: &i64) -> String {
    jiff::Timestamp::from_millisecond(*at_ms).map_or_else(|_| format!("{at_ms} ms"), |at| at.to_string())
}
