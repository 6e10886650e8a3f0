//! How large a bundle, and what it unpacks to, may be. Pure.

use super::error::BundleError;
use holdfast_shared::release::BundleManifest;

const MIB: u64 = 1024 * 1024;

/// How large a bundle may be. Ours is about 100 MiB unpacked; the limits leave room and end long before a disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The bundle itself.
    pub bundle_bytes: u64,
    /// All files together.
    pub unpacked_bytes: u64,
    /// Number of files.
    pub files: u64,
    /// The manifest.
    pub manifest_bytes: u64,
    /// Unpacked to packed, for what is unpacked beyond `ratio_free_bytes`: programs shrink to a quarter, bombs to a
    /// thousandth.
    pub ratio: u64,
    /// See `ratio`.
    pub ratio_free_bytes: u64,
    /// What stays free on the disk behind a staged release: the business journal's reserve is 64 MiB.
    pub reserve_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            bundle_bytes: 512 * MIB,
            unpacked_bytes: 1024 * MIB,
            files: 256,
            manifest_bytes: MIB,
            ratio: 50,
            ratio_free_bytes: 16 * MIB,
            reserve_bytes: 128 * MIB,
        }
    }
}

pub(super) fn sizes(
    manifest: &BundleManifest,
    bundle_bytes: u64,
    limits: &Limits,
) -> Result<(), BundleError> {
    let unpacked = manifest.unpacked_bytes().unwrap_or(u64::MAX);
    let by_ratio = limits.ratio_free_bytes.saturating_add(bundle_bytes.saturating_mul(limits.ratio));
    let files = manifest.files.len() as u64;
    let checks = [
        ("the bundle in bytes", bundle_bytes, limits.bundle_bytes),
        ("the number of files", files, limits.files),
        ("what it unpacks to in bytes", unpacked, limits.unpacked_bytes),
        ("what it unpacks to in bytes, for so small a bundle,", unpacked, by_ratio),
    ];
    match checks.into_iter().find(|(_, amount, limit)| amount > limit) {
        Some((what, amount, limit)) => Err(BundleError::TooLarge { what: what.to_owned(), amount, limit }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::rules::tests::{add, code, manifest, rules};
    use super::*;
    use crate::release::judge;

    #[test]
    fn sizes_beyond_a_limit_are_refused_also_where_their_sum_is_no_number() {
        assert_eq!(code(|manifest| add(manifest, "x", u64::MAX)), "bundle_too_large");
        assert_eq!(code(|manifest| add(manifest, "x", 1025 * MIB)), "bundle_too_large");
        // 1000 bytes that unpack to 100 MiB.
        assert_eq!(code(|manifest| add(manifest, "x", 100 * MIB)), "bundle_too_large");
        assert_eq!(code(|manifest| add(manifest, "x", 16 * MIB)), "");
        assert_eq!(
            code(|manifest| (0..256).for_each(|n| add(manifest, &format!("x{n}"), 1))),
            "bundle_too_large"
        );
        let large = judge(&manifest(), 513 * MIB, None, &rules()).unwrap_err();
        assert_eq!(large.code(), "bundle_too_large");
    }
}
