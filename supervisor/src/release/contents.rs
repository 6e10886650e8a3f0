//! The entries of a bundle against its manifest: exactly the files it names, each once. Pure.

use super::error::BundleError;
use super::path::check_path;
use holdfast_shared::release::{BundleFile, BundleManifest};
use std::collections::BTreeSet;

/// What an entry of the archive is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// A plain file.
    File,
    /// Anything else, by its name.
    Other(&'static str),
}

/// What of a manifest was already met in the archive.
#[derive(Debug)]
pub struct Contents<'a> {
    manifest: &'a BundleManifest,
    met: BTreeSet<&'a str>,
}

impl<'a> Contents<'a> {
    /// Nothing met yet. The manifest has been judged.
    pub fn new(manifest: &'a BundleManifest) -> Self {
        Self { manifest, met: BTreeSet::new() }
    }

    /// The next entry: which file of the manifest it is. Its size is what the manifest says, so that nothing has to
    /// be bounded behind this.
    ///
    /// # Errors
    /// Not a plain file, a refused path, a file that is not named or was met before, another size.
    pub fn take(
        &mut self,
        kind: EntryKind,
        path: &[u8],
        size_bytes: u64,
    ) -> Result<(&'a str, &'a BundleFile), BundleError> {
        let shown = String::from_utf8_lossy(path).into_owned();
        if let EntryKind::Other(kind) = kind {
            return Err(BundleError::EntryRefused { path: shown, kind });
        }
        let path = match check_path(path) {
            Ok(path) => path,
            Err(fault) => return Err(BundleError::PathRefused { path: shown, fault }),
        };
        let Some((path, file)) = self.manifest.files.get_key_value(path) else {
            return Err(BundleError::FileUnexpected { path: shown });
        };
        if !self.met.insert(path) {
            return Err(BundleError::FileUnexpected { path: shown });
        }
        if size_bytes != file.size_bytes {
            return Err(BundleError::DigestMismatch { path: shown, how: "size" });
        }
        Ok((path, file))
    }

    /// The end of the archive.
    ///
    /// # Errors
    /// A file of the manifest did not come.
    pub fn finish(self) -> Result<(), BundleError> {
        match self.manifest.files.keys().find(|path| !self.met.contains(path.as_str())) {
            Some(path) => Err(BundleError::FileMissing { path: path.clone() }),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::rules::tests::manifest;
    use super::*;

    const RUNTIME: &[u8] = b"bin/holdfast-runtime";

    #[test]
    fn exactly_the_files_of_the_manifest_each_once() {
        let manifest = manifest();
        let mut contents = Contents::new(&manifest);
        let (path, file) = contents.take(EntryKind::File, RUNTIME, 10).unwrap();
        assert_eq!((path, file.size_bytes), ("bin/holdfast-runtime", 10));
        let twice = contents.take(EntryKind::File, RUNTIME, 10).unwrap_err();
        assert_eq!(twice.code(), "bundle_file_unexpected");
        let missing = contents.finish().unwrap_err();
        assert_eq!(missing.code(), "bundle_file_missing");
        let mut contents = Contents::new(&manifest);
        contents.take(EntryKind::File, b"bin/holdfast", 20).unwrap();
        contents.take(EntryKind::File, RUNTIME, 10).unwrap();
        contents.finish().unwrap();
    }

    #[test]
    fn links_devices_other_sizes_and_strangers_are_refused() {
        let manifest = manifest();
        let cases: [(EntryKind, &[u8], u64, &str); 6] = [
            (EntryKind::Other("a symbolic link"), RUNTIME, 10, "bundle_entry_refused"),
            (EntryKind::Other("a device"), b"/dev/null", 0, "bundle_entry_refused"),
            (EntryKind::File, b"/bin/holdfast-runtime", 10, "bundle_path_refused"),
            (EntryKind::File, b"bin/../bin/holdfast-runtime", 10, "bundle_path_refused"),
            (EntryKind::File, b"bin/other", 10, "bundle_file_unexpected"),
            (EntryKind::File, RUNTIME, 11, "bundle_digest_mismatch"),
        ];
        for (kind, path, size, code) in cases {
            let refused = Contents::new(&manifest).take(kind, path, size).unwrap_err();
            assert_eq!(refused.code(), code, "{refused}");
        }
    }
}
