//! What a release says of itself in `manifest.json`.

use crate::slot::Slot;
use crate::version::Contracts;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Names to a runtime the release that it was started from, as its manifest says it; without it the runtime names the
/// version that it was built as.
pub const RELEASE_VARIABLE: &str = "HOLDFAST_RELEASE";

/// What a runtime's binary says of itself, as JSON on stdout: `holdfast-runtime --abilities`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Abilities {
    /// See [`Manifest::version`].
    pub version: String,
    /// See [`Manifest::contracts`].
    pub contracts: Contracts,
    /// See [`Manifest::reads`].
    pub reads: Vec<String>,
    /// See [`Manifest::writes`].
    pub writes: Vec<String>,
    /// See [`Manifest::must_understand`].
    pub must_understand: Vec<String>,
}

/// The manifest of the release in a slot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of the release, semver.
    pub version: String,
    /// Target triple the binaries are for.
    pub target: String,
    /// The slot this copy was installed in.
    pub slot: Slot,
    /// Versions of protocols and files this release speaks, by name (`control`, `link`, `journal`, ...).
    pub contracts: Contracts,
    /// Record kinds the runtime reads.
    pub reads: Vec<String>,
    /// Record kinds the runtime writes.
    pub writes: Vec<String>,
    /// Those of them without which a release must not become active.
    #[serde(default)]
    pub must_understand: Vec<String>,
    /// SHA-256 of each file, hex, by path below the slot.
    pub digests: BTreeMap<String, String>,
    /// Those of them that are not the runtime's: only a root promotion puts them into effect.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub root: Vec<String>,
    /// Those of them that are units of systemd: only root of the machine puts them into effect.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub units: Vec<String>,
    /// The public key that signed the bundle this came in, base64; `None`: it was built on this machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signed_by: Option<String>,
}

/// The highest form of a bundle's manifest that this release reads. It is written for a bundle with units, which an
/// older node cannot place; others have [`BUNDLE_FORMAT_WITHOUT_UNITS`].
pub const BUNDLE_FORMAT: u32 = 2;
/// The form of a bundle without units.
pub const BUNDLE_FORMAT_WITHOUT_UNITS: u32 = 1;

/// `manifest.json` of a bundle, its first entry: the slot's manifest without a slot, and what a slot does not ask.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BundleManifest {
    /// [`BUNDLE_FORMAT`] of who packed it, or what it needs of it.
    pub format: u32,
    /// See [`Manifest::version`].
    pub version: String,
    /// See [`Manifest::target`].
    pub target: String,
    /// See [`Manifest::contracts`].
    pub contracts: Contracts,
    /// See [`Manifest::reads`].
    pub reads: Vec<String>,
    /// See [`Manifest::writes`].
    pub writes: Vec<String>,
    /// See [`Manifest::must_understand`].
    #[serde(default)]
    pub must_understand: Vec<String>,
    /// When it was packed, unix milliseconds.
    pub created_at: i64,
    /// From then on nobody installs it, unix milliseconds.
    pub expires_at: i64,
    /// Every file but the manifest, by path: exactly these are in the bundle.
    pub files: BTreeMap<String, BundleFile>,
}

/// One file of a bundle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BundleFile {
    /// Its length.
    pub size_bytes: u64,
    /// SHA-256, hex, lower case.
    pub sha256: String,
    /// Whose it is.
    pub part: Part,
}

/// What puts a file of a release into effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Part {
    /// A switch: the runtime runs it from its slot.
    Runtime,
    /// A root promotion: supervisor, keeper, holder, sidecar.
    Root,
    /// A root promotion too, in which root of the machine places them: units of systemd.
    Units,
}

impl BundleManifest {
    /// Bytes of all files together; `None` where that is no number.
    pub fn unpacked_bytes(&self) -> Option<u64> {
        self.files.values().try_fold(0u64, |sum, file| sum.checked_add(file.size_bytes))
    }

    /// The manifest of the slot that the bundle is unpacked into.
    pub fn installed(&self, slot: Slot, signed_by: &str) -> Manifest {
        let of = |part: Part| {
            let named = self.files.iter().filter(move |(_, file)| file.part == part);
            named.map(|(path, _)| path.clone()).collect()
        };
        Manifest {
            version: self.version.clone(),
            target: self.target.clone(),
            slot,
            contracts: self.contracts.clone(),
            reads: self.reads.clone(),
            writes: self.writes.clone(),
            must_understand: self.must_understand.clone(),
            digests: self.files.iter().map(|(path, file)| (path.clone(), file.sha256.clone())).collect(),
            root: of(Part::Root),
            units: of(Part::Units),
            signed_by: Some(signed_by.to_owned()),
        }
    }
}
