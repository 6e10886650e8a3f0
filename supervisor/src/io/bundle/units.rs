//! Units of systemd, read from a bundle that was verified.

use super::{Verified, same_as, walk};
use crate::release::{BundleError, unit_name};
use holdfast_shared::release::{BundleFile, BundleManifest, Part};
use std::collections::BTreeMap;
use std::io::{BufReader, Read};

/// The units in a verified bundle, by name. Reads it once more; each is of bearable size by the rules.
///
/// # Errors
/// A bundle that is not the one that was verified, a unit that is no text.
pub fn units(verified: &Verified) -> Result<BTreeMap<&'static str, String>, BundleError> {
    let mut units = Units::default();
    let same = |manifest: &BundleManifest| same_as(verified, manifest);
    let source = BufReader::new(verified.rewind()?.take(verified.bundle_bytes));
    walk::walk(source, &verified.path, verified.limits.manifest_bytes, same, &mut units)?;
    let text = |(name, bytes): (&'static str, Vec<u8>)| match String::from_utf8(bytes) {
        Ok(text) => Ok((name, text)),
        Err(_) => Err(BundleError::Malformed { what: format!("{name} is no text") }),
    };
    units.all.into_iter().map(text).collect()
}

/// Where units go; the rest is only checked.
#[derive(Default)]
struct Units {
    all: BTreeMap<&'static str, Vec<u8>>,
    now: Option<&'static str>,
}

impl walk::Sink for Units {
    fn begin(&mut self, path: &str, file: &BundleFile) -> Result<(), BundleError> {
        self.now = unit_name(path).filter(|_| file.part == Part::Units);
        if let Some(name) = self.now {
            self.all.insert(name, Vec::new());
        }
        Ok(())
    }
    fn write(&mut self, bytes: &[u8]) -> Result<(), BundleError> {
        if let Some(unit) = self.now.and_then(|name| self.all.get_mut(name)) {
            unit.extend_from_slice(bytes);
        }
        Ok(())
    }
    fn end(&mut self) -> Result<(), BundleError> {
        Ok(())
    }
}
