//! What a bundle's manifest must say to be installed here and now. Pure.

use super::error::BundleError;
use super::limits::{Limits, sizes};
use super::path::{PathFault, check_path};
use super::{MANIFEST, RUNTIME, UNIT_BYTES, UNITS, unit_name};
use holdfast_shared::release::{BUNDLE_FORMAT, BundleManifest, Part};
use holdfast_shared::version::{Contracts, VersionRange};
use semver::Version;
use serde::Deserialize;

/// What is demanded here and now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Unix milliseconds.
    pub now_ms: i64,
    /// Target triple of this machine.
    pub target: String,
    /// What is spoken and read here.
    pub contracts: Contracts,
    /// An older version than the highest seen is let through.
    pub allow_downgrade: bool,
    /// Sizes.
    pub limits: Limits,
}

/// The manifest from its text.
///
/// # Errors
/// A newer format before anything else is asked of it; else what is wrong with it.
pub fn parse(text: &[u8]) -> Result<BundleManifest, BundleError> {
    #[derive(Deserialize)]
    struct Format {
        format: u32,
    }
    let invalid = |error: serde_json::Error| BundleError::ManifestInvalid { why: error.to_string() };
    let Format { format } = serde_json::from_slice(text).map_err(invalid)?;
    if format > BUNDLE_FORMAT {
        return Err(BundleError::FormatNewer { format, newest: BUNDLE_FORMAT });
    }
    serde_json::from_slice(text).map_err(invalid)
}

/// Whether a release may be installed, by its manifest, the size of its bundle, and the highest version that was
/// seen from the key that signed it.
///
/// # Errors
/// The first rule that it breaks.
pub fn judge(
    manifest: &BundleManifest,
    bundle_bytes: u64,
    highest_seen: Option<&str>,
    rules: &Rules,
) -> Result<(), BundleError> {
    let version = well_formed(manifest)?;
    sizes(manifest, bundle_bytes, &rules.limits)?;
    if manifest.target != rules.target {
        return Err(BundleError::WrongTarget { target: manifest.target.clone(), own: rules.target.clone() });
    }
    if manifest.expires_at <= rules.now_ms {
        return Err(BundleError::Expired { expired_at: manifest.expires_at });
    }
    if let Some((name, its, ours)) = no_common_contract(&manifest.contracts, &rules.contracts) {
        return Err(BundleError::ContractRange { name, its, ours });
    }
    not_older(&version, highest_seen, rules.allow_downgrade)
}

/// The first protocol or file that both know and of which they have no version in common: (name, its, ours).
pub fn no_common_contract(its: &Contracts, ours: &Contracts) -> Option<(String, VersionRange, VersionRange)> {
    its.iter().find_map(|(name, its)| {
        let ours = *ours.get(name)?;
        its.highest_common(ours).is_none().then(|| (name.clone(), *its, ours))
    })
}

/// The downgrade rule. Build metadata does not count, as semver has it.
fn not_older(version: &Version, highest: Option<&str>, allowed: bool) -> Result<(), BundleError> {
    let Some(highest) = highest else { return Ok(()) };
    // What we remember passed `well_formed` once; if it is not a version any more, nothing is safely newer.
    let older = match Version::parse(highest) {
        Ok(highest) => version.cmp_precedence(&highest).is_lt(),
        Err(_) => true,
    };
    if older && !allowed {
        return Err(BundleError::Downgrade { version: version.to_string(), highest: highest.to_owned() });
    }
    Ok(())
}

fn well_formed(manifest: &BundleManifest) -> Result<Version, BundleError> {
    let invalid = |why: String| BundleError::ManifestInvalid { why };
    let version = Version::parse(&manifest.version)
        .map_err(|error| invalid(format!("version {:?}: {error}", manifest.version)))?;
    if manifest.reads.is_empty() {
        return Err(invalid("it does not say which record kinds the release reads".to_owned()));
    }
    if manifest.files.get(RUNTIME).is_none_or(|file| file.part != Part::Runtime) {
        return Err(invalid(format!("{RUNTIME} is missing, or not the runtime's")));
    }
    for (path, file) in &manifest.files {
        check_path(path.as_bytes())
            .and_then(|_| not_taken(path, manifest))
            .map_err(|fault| BundleError::PathRefused { path: path.clone(), fault })?;
        if (file.part == Part::Units || path.starts_with(UNITS))
            && (file.part != Part::Units || unit_name(path).is_none() || file.size_bytes > UNIT_BYTES)
        {
            return Err(invalid(format!("{path} is no unit that a bundle may bring")));
        }
        let is_digest = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if file.sha256.len() != 64 || !file.sha256.bytes().all(is_digest) {
            return Err(invalid(format!("digest of {path}")));
        }
    }
    Ok(version)
}

/// No file where the manifest goes, and none that another one takes for a directory.
fn not_taken(path: &str, manifest: &BundleManifest) -> Result<(), PathFault> {
    let directories = path.match_indices('/').map(|(end, _)| &path[..end]);
    let mut taken =
        directories.map(|directory| directory == MANIFEST || manifest.files.contains_key(directory));
    if path == MANIFEST || taken.any(|taken| taken) { Err(PathFault::Taken) } else { Ok(()) }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use holdfast_shared::release::BundleFile;
    use std::collections::BTreeMap;

    const NOW: i64 = 1_800_000_000_000;

    pub fn manifest() -> BundleManifest {
        let file = |size_bytes, part| BundleFile { size_bytes, sha256: "0".repeat(64), part };
        BundleManifest {
            format: BUNDLE_FORMAT,
            version: "1.2.0".to_owned(),
            target: "here".to_owned(),
            contracts: BTreeMap::from([("link".to_owned(), VersionRange { min: 2, max: 3 })]),
            reads: vec!["task.opened".to_owned()],
            writes: vec!["task.opened".to_owned()],
            must_understand: vec![],
            created_at: NOW - 1,
            expires_at: NOW + 1,
            files: BTreeMap::from([
                ("bin/holdfast".to_owned(), file(20, Part::Root)),
                (RUNTIME.to_owned(), file(10, Part::Runtime)),
            ]),
        }
    }

    pub fn rules() -> Rules {
        Rules {
            now_ms: NOW,
            target: "here".to_owned(),
            contracts: BTreeMap::from([("link".to_owned(), VersionRange { min: 1, max: 2 })]),
            allow_downgrade: false,
            limits: Limits::default(),
        }
    }

    /// The code of the refusal of a changed manifest; empty: it is let through.
    pub fn code(change: impl FnOnce(&mut BundleManifest)) -> &'static str {
        let mut manifest = manifest();
        change(&mut manifest);
        judge(&manifest, 1000, None, &rules()).map_or_else(|error| error.code(), |()| "")
    }

    pub fn add(manifest: &mut BundleManifest, path: &str, size_bytes: u64) {
        let file = BundleFile { size_bytes, sha256: "0".repeat(64), part: Part::Root };
        manifest.files.insert(path.to_owned(), file);
    }

    #[test]
    fn each_rule_has_its_code() {
        assert_eq!(code(|_| {}), "");
        assert_eq!(code(|manifest| manifest.target = "elsewhere".to_owned()), "bundle_wrong_target");
        assert_eq!(code(|manifest| manifest.expires_at = NOW), "bundle_expired");
        assert_eq!(code(|manifest| manifest.version = "1.2".to_owned()), "bundle_manifest_invalid");
        assert_eq!(code(|manifest| manifest.reads.clear()), "bundle_manifest_invalid");
        assert_eq!(code(|manifest| drop(manifest.files.remove(RUNTIME))), "bundle_manifest_invalid");
        let range = VersionRange::only(3);
        let newer = |manifest: &mut BundleManifest| {
            let _ = manifest.contracts.insert("link".to_owned(), range);
        };
        assert_eq!(code(newer), "bundle_contract_range_mismatch");
        let unknown = |manifest: &mut BundleManifest| {
            let _ = manifest.contracts.insert("new".to_owned(), range);
        };
        assert_eq!(code(unknown), "");
    }

    #[test]
    fn paths_in_the_manifest_are_judged_before_the_archive_is_read() {
        for path in ["/etc/x", "../x", "manifest.json", "manifest.json/x", "bin/holdfast/x", "bin/./x"] {
            assert_eq!(code(|manifest| add(manifest, path, 1)), "bundle_path_refused", "{path}");
        }
    }

    #[test]
    fn of_units_only_those_of_the_node_are_let_through() {
        let with = |path: &str, part, size_bytes| {
            code(|manifest| {
                let file = BundleFile { size_bytes, sha256: "0".repeat(64), part };
                manifest.files.insert(path.to_owned(), file);
            })
        };
        for name in super::super::UNIT_NAMES {
            assert_eq!(with(&format!("units/{name}"), Part::Units, 10), "");
        }
        for (path, part, size) in [
            ("units/ssh.service", Part::Units, 10),
            ("units/holdfast-units.service", Part::Units, 10),
            ("units/holdfast-units.path", Part::Units, 10),
            ("units/holdfast.service.d/x.conf", Part::Units, 10),
            ("units/x/holdfast.service", Part::Units, 10),
            ("bin/holdfast.service", Part::Units, 10),
            ("units/holdfast.service", Part::Root, 10),
            ("units/holdfast.service", Part::Units, UNIT_BYTES + 1),
        ] {
            assert_eq!(with(path, part, size), "bundle_manifest_invalid", "{path}");
        }
    }

    #[test]
    fn an_older_version_than_the_highest_seen_needs_leave() {
        for (highest, refused) in [
            ("1.1.9", false),
            ("1.2.0", false),
            ("1.2.0+build.7", false),
            ("1.2.0-rc.1", false),
            ("1.2.1", true),
            ("1.3.0-alpha", true),
            ("10.0.0", true),
            ("nonsense", true),
        ] {
            let judged = judge(&manifest(), 1000, Some(highest), &rules());
            assert_eq!(judged.is_err(), refused, "{highest}");
            let allowed = Rules { allow_downgrade: true, ..rules() };
            assert!(judge(&manifest(), 1000, Some(highest), &allowed).is_ok());
        }
    }

    #[test]
    fn a_newer_format_is_said_as_that_whatever_else_is_in_it() {
        assert_eq!(parse(br#"{"format": 3, "files": 7}"#).unwrap_err().code(), "bundle_format_newer");
        assert_eq!(parse(br#"{"format": 2, "files": 7}"#).unwrap_err().code(), "bundle_manifest_invalid");
        assert_eq!(parse(b"{").unwrap_err().code(), "bundle_manifest_invalid");
        let text = serde_json::to_vec(&manifest()).unwrap();
        assert_eq!(parse(&text).unwrap(), manifest());
    }
}
