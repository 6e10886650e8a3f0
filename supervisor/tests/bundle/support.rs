//! A home that trusts a key, a built tree of about 1 MiB, and bundles that no honest packer makes.

use holdfast_shared::home::Home;
use holdfast_shared::release::{BUNDLE_FORMAT, BundleFile, BundleManifest, Manifest, Part};
use holdfast_shared::slot::Slot;
use holdfast_shared::token::hex;
use holdfast_shared::version;
use holdfast_supervisor::io::bundle::{StageProgress, TrustedKeys, Verified, keys, stage, verify};
use holdfast_supervisor::io::packing::{Packing, pack};
use holdfast_supervisor::io::signing::{SigningKey, generate};
use holdfast_supervisor::io::slots;
use holdfast_supervisor::release::{BundleError, Limits, RUNTIME, Rules};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use tar::{EntryType, Header};

/// When the bundles of these tests are packed and, by default, looked at.
pub const NOW: i64 = 1_800_000_000_000;
pub const HOUR: i64 = 3_600_000;
/// Version of the tree, unless another one is asked for.
pub const VERSION: &str = "1.4.0";

pub struct World {
    directory: tempfile::TempDir,
    pub home: Home,
    pub key: SigningKey,
    pub public: PathBuf,
}

impl World {
    pub fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let home = Home::new(directory.path().join("home"));
        let made = generate(directory.path(), "test", None).unwrap();
        keys::trust(&home.keys(), &made.public).unwrap();
        let key = SigningKey::read(&made.secret, None).unwrap();
        Self { directory, home, key, public: made.public }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Packs a tree with three programs.
    pub fn pack(&self, version: &str) -> PathBuf {
        let from = self.path("tree");
        built_tree(&from);
        let out = self.path(&format!("{version}.tar.zst"));
        let version = Some(version.to_owned());
        let packing = Packing { from, units: None, out, version, created_at: NOW, expires_at: NOW + HOUR };
        pack(&packing, &self.key).unwrap().bundle
    }

    /// An archive of these entries, compressed and signed, whatever they are.
    pub fn forge(&self, entries: &[Entry]) -> PathBuf {
        let mut archive = Vec::new();
        for entry in entries {
            entry.append(&mut archive);
        }
        archive.extend([0; 1024]);
        self.forge_bytes(&zstd::encode_all(archive.as_slice(), 3).unwrap())
    }

    /// These very bytes, signed.
    pub fn forge_bytes(&self, bytes: &[u8]) -> PathBuf {
        let path = self.path("forged.tar.zst");
        std::fs::write(&path, bytes).unwrap();
        self.key.sign(&path, "forged").unwrap();
        path
    }

    pub fn trusted(&self) -> TrustedKeys {
        TrustedKeys::load(&self.home.keys()).unwrap()
    }

    pub fn verify(&self, bundle: &Path) -> Result<Verified, BundleError> {
        verify(bundle, &self.trusted(), &rules())
    }

    /// The code that verifying ends with; empty: it is valid.
    pub fn code(&self, bundle: &Path) -> &'static str {
        self.verify(bundle).map_or_else(|error| error.code(), |_| "")
    }

    pub fn stage(&self, bundle: &Path, slot: Slot) -> Result<Manifest, BundleError> {
        self.stage_with(bundle, slot, &mut |_| {})
    }

    pub fn stage_with(
        &self,
        bundle: &Path,
        slot: Slot,
        progress: &mut dyn FnMut(StageProgress),
    ) -> Result<Manifest, BundleError> {
        stage(&self.verify(bundle)?, slot, &self.home, "attempt-1", progress)
    }

    /// The version in a slot that is as it should be.
    pub fn version_in(&self, slot: Slot) -> String {
        assert_eq!(slots::issues(&self.home, slot), Vec::<&str>::new());
        slots::manifest(&self.home, slot).unwrap().unwrap().version
    }

    /// What is beside the slots, apart from the lock, which stays.
    pub fn beside_slots(&self) -> Vec<String> {
        names(&self.home.slots())
            .into_iter()
            .filter(|name| !["a", "b", ".lease.lock"].contains(&name.as_str()))
            .collect()
    }
}

pub fn rules() -> Rules {
    Rules {
        now_ms: NOW,
        target: slots::target(),
        contracts: version::contracts(),
        allow_downgrade: false,
        // A test's disk is as large as it needs.
        limits: Limits { reserve_bytes: 0, ..Limits::default() },
    }
}

pub fn names(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// Bytes that do not compress, the same each time.
pub fn noise(seed: u64, count: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    (0..count).map(|_| next()).collect()
}

fn built_tree(at: &Path) {
    std::fs::create_dir_all(at).unwrap();
    let runtime = format!("#!/bin/sh\n[ \"$1\" = --abilities ] && echo '{}'\nexit 0\n", abilities());
    for (seed, name, head) in
        [(1, "holdfast", ""), (2, "holdfast-sidecar", ""), (3, "holdfast-runtime", &*runtime)]
    {
        let path = at.join(name);
        if !path.exists() {
            std::fs::write(&path, [head.as_bytes(), &noise(seed, 350_000)].concat()).unwrap();
            std::fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
        }
    }
}

fn abilities() -> String {
    serde_json::json!({
        "version": "0.0.1", "contracts": version::contracts(), "reads": ["x"], "writes": ["x"], "must_understand": [],
    })
    .to_string()
}

/// One entry of a forged archive.
#[derive(Clone)]
pub struct Entry {
    pub kind: EntryType,
    pub path: Vec<u8>,
    pub data: Vec<u8>,
    /// What the header says; by default the truth.
    pub size: Option<u64>,
}

impl Entry {
    pub fn file(path: impl AsRef<[u8]>, data: impl Into<Vec<u8>>) -> Self {
        Self { kind: EntryType::Regular, path: path.as_ref().to_vec(), data: data.into(), size: None }
    }

    pub fn manifest(manifest: &BundleManifest) -> Self {
        Self::file("manifest.json", serde_json::to_vec(manifest).unwrap())
    }

    /// Written by hand: the library's own way refuses such paths.
    fn append(&self, archive: &mut Vec<u8>) {
        let mut header = Header::new_ustar();
        header.as_old_mut().name[..self.path.len()].copy_from_slice(&self.path);
        if self.kind != EntryType::Regular {
            header.as_old_mut().linkname[..11].copy_from_slice(b"/etc/passwd");
        }
        header.set_entry_type(self.kind);
        header.set_mode(0o755);
        header.set_size(self.size.unwrap_or(self.data.len() as u64));
        header.set_cksum();
        archive.extend(header.as_bytes());
        archive.extend(&self.data);
        archive.resize(archive.len().next_multiple_of(512), 0);
    }
}

/// A manifest for these files.
pub fn manifest(files: &[(&str, &[u8])]) -> BundleManifest {
    let file = |data: &[u8]| BundleFile {
        size_bytes: data.len() as u64,
        sha256: hex(&Sha256::digest(data)),
        part: Part::Runtime,
    };
    BundleManifest {
        format: BUNDLE_FORMAT,
        version: VERSION.to_owned(),
        target: slots::target(),
        contracts: version::contracts(),
        reads: vec!["x".to_owned()],
        writes: vec![],
        must_understand: vec![],
        created_at: NOW,
        expires_at: NOW + HOUR,
        files: files.iter().map(|(path, data)| ((*path).to_owned(), file(data))).collect::<BTreeMap<_, _>>(),
    }
}

/// A good bundle's entries: manifest and runtime.
pub fn good() -> Vec<Entry> {
    vec![Entry::manifest(&manifest(&[(RUNTIME, b"a program")])), Entry::file(RUNTIME, *b"a program")]
}
