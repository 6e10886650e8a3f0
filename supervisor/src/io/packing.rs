//! Packing a built tree into a signed bundle.

use crate::io::bundle::{check_contents, signature_path};
use crate::io::preflight::abilities;
use crate::io::programs::{BUILT_RUNTIME, SIDECAR};
use crate::io::signing::{SigningError, SigningKey};
use crate::io::slots::{digest, target};
use crate::release::{BundleError, Limits, MANIFEST, Rules, UNIT_NAMES, UNITS};
use holdfast_shared::error::ApiError;
use holdfast_shared::release::{
    Abilities, BUNDLE_FORMAT, BUNDLE_FORMAT_WITHOUT_UNITS, BundleFile, BundleManifest, Part,
};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use tar::{Builder, EntryType, Header};

/// Best for its time: a quarter of the size in a few seconds.
const LEVEL: i32 = 9;
/// Log2 of the window; decoders here take up to twice as much.
const WINDOW_LOG: u32 = 23;
/// The operator's program, which is supervisor, keeper and holder too.
const OPERATOR: &str = "holdfast";

/// Why nothing was packed.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// The runtime does not say what it is able to.
    #[error("{0}")]
    Abilities(ApiError),
    /// The bundle would be refused everywhere.
    #[error("nobody would install this release: {0}")]
    Refused(#[from] BundleError),
    /// Files and keys.
    #[error(transparent)]
    Signing(#[from] SigningError),
}

/// What is to be packed.
#[derive(Clone, Debug)]
pub struct Packing {
    /// A built tree: a directory with the three programs, or with `bin/`, all of which is packed then.
    pub from: PathBuf,
    /// A directory with units of systemd to pack too, those of [`UNIT_NAMES`] that are there.
    pub units: Option<PathBuf>,
    /// The bundle to write; its signature goes beside it. What is there is replaced.
    pub out: PathBuf,
    /// Another version than the runtime says.
    pub version: Option<String>,
    /// Unix milliseconds.
    pub created_at: i64,
    /// Unix milliseconds.
    pub expires_at: i64,
}

/// A bundle that was written.
#[derive(Debug)]
pub struct Packed {
    /// Its manifest.
    pub manifest: BundleManifest,
    /// Where it is.
    pub bundle: PathBuf,
    /// Where its signature is.
    pub signature: PathBuf,
    /// Its size.
    pub bundle_bytes: u64,
}

/// Packs and signs. The same files, version and times make the same bytes. The bundle is in its place only when it is
/// whole and its signature is there.
///
/// # Errors
/// See [`PackError`].
pub fn pack(packing: &Packing, key: &SigningKey) -> Result<Packed, PackError> {
    let mut sources = sources(&packing.from)?;
    sources.extend(units(packing.units.as_deref())?);
    let abilities = abilities(&runtime_of(&packing.from)).map_err(PackError::Abilities)?;
    let manifest = manifest(packing, abilities, &sources)?;
    let temporary = with_ending(&packing.out, ".part");
    write(&temporary, &manifest, &sources).map_err(SigningError::file("write", &temporary))?;
    let bundle_bytes = temporary.metadata().map_err(SigningError::file("look at", &temporary))?.len();
    // What is signed is what a node would take; a source that changed meanwhile ends here.
    check_contents(&temporary, &rules(&manifest))?;
    let comment =
        format!("holdfast {} {} created:{}", manifest.version, manifest.target, manifest.created_at);
    let signed = key.sign(&temporary, &comment)?;
    let signature = signature_path(&packing.out);
    let rename =
        |from: &Path, to: &Path| std::fs::rename(from, to).map_err(SigningError::file("rename", from));
    rename(&signed, &signature)?;
    rename(&temporary, &packing.out)?;
    Ok(Packed { manifest, bundle: packing.out.clone(), signature, bundle_bytes })
}

/// The version that a built tree's runtime says.
///
/// # Errors
/// `REFUSED` when it does not say it.
pub fn version_of(from: &Path) -> Result<String, ApiError> {
    Ok(abilities(&runtime_of(from))?.version)
}

fn runtime_of(from: &Path) -> PathBuf {
    let below = from.join(crate::release::RUNTIME);
    if below.is_file() { below } else { from.join(BUILT_RUNTIME) }
}

/// What to pack, by its path in the bundle.
fn sources(from: &Path) -> Result<BTreeMap<String, PathBuf>, SigningError> {
    let bin = from.join("bin");
    let paths: Vec<PathBuf> = if bin.is_dir() {
        let entries = std::fs::read_dir(&bin).map_err(SigningError::file("read", &bin))?;
        let paths: io::Result<Vec<PathBuf>> = entries.map(|entry| Ok(entry?.path())).collect();
        paths.map_err(SigningError::file("read", &bin))?
    } else {
        [OPERATOR, SIDECAR, BUILT_RUNTIME].map(|name| from.join(name)).into()
    };
    let name = |path: &PathBuf| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Ok(paths.into_iter().map(|path| (format!("bin/{}", name(&path)), path)).collect())
}

/// The units to pack, by their path in the bundle.
fn units(from: Option<&Path>) -> Result<BTreeMap<String, PathBuf>, SigningError> {
    let Some(from) = from else { return Ok(BTreeMap::new()) };
    let there = UNIT_NAMES.map(|name| (format!("{UNITS}{name}"), from.join(name)));
    let there: BTreeMap<String, PathBuf> = there.into_iter().filter(|(_, path)| path.is_file()).collect();
    if there.is_empty() {
        let none = io::Error::new(io::ErrorKind::NotFound, "none of the node's units is there");
        return Err(SigningError::file("look for units in", from)(none));
    }
    Ok(there)
}

fn manifest(
    packing: &Packing,
    abilities: Abilities,
    sources: &BTreeMap<String, PathBuf>,
) -> Result<BundleManifest, SigningError> {
    let mut files = BTreeMap::new();
    for (name, path) in sources {
        let size_bytes = path.metadata().map_err(SigningError::file("look at", path))?.len();
        let sha256 = digest(path).map_err(SigningError::file("read", path))?;
        files.insert(name.clone(), BundleFile { size_bytes, sha256, part: part(name) });
    }
    Ok(BundleManifest {
        format: if packing.units.is_some() { BUNDLE_FORMAT } else { BUNDLE_FORMAT_WITHOUT_UNITS },
        version: packing.version.clone().unwrap_or(abilities.version),
        target: target(),
        contracts: abilities.contracts,
        reads: abilities.reads,
        writes: abilities.writes,
        must_understand: abilities.must_understand,
        created_at: packing.created_at,
        expires_at: packing.expires_at,
        files,
    })
}

/// Supervisor, keeper, holder, operator CLI and sidecar are root; all else is run by the runtime or is it.
fn part(name: &str) -> Part {
    match name.strip_prefix("bin/") {
        Some(OPERATOR | SIDECAR) => Part::Root,
        None if name.starts_with(UNITS) => Part::Units,
        _ => Part::Runtime,
    }
}

/// The rules that hold everywhere: what a bundle breaks of these, every node refuses.
fn rules(manifest: &BundleManifest) -> Rules {
    Rules {
        now_ms: manifest.created_at,
        target: manifest.target.clone(),
        contracts: manifest.contracts.clone(),
        allow_downgrade: true,
        limits: Limits::default(),
    }
}

fn write(path: &Path, manifest: &BundleManifest, sources: &BTreeMap<String, PathBuf>) -> io::Result<()> {
    let mut encoder = zstd::Encoder::new(BufWriter::new(File::create(path)?), LEVEL)?;
    encoder.window_log(WINDOW_LOG)?;
    encoder.include_checksum(true)?;
    let mut archive = Builder::new(encoder);
    let text = serde_json::to_vec_pretty(manifest)?;
    append(&mut archive, manifest, MANIFEST, text.len() as u64, text.as_slice())?;
    for (name, source) in sources {
        let size = manifest.files.get(name).map_or(0, |file| file.size_bytes);
        // A file that grows meanwhile is cut, one that shrinks ends the packing: either has another digest.
        append(&mut archive, manifest, name, size, File::open(source)?.take(size))?;
    }
    let mut out = archive.into_inner()?.finish()?;
    out.flush()?;
    out.get_ref().sync_all()
}

fn append(
    archive: &mut Builder<impl Write>,
    manifest: &BundleManifest,
    name: &str,
    size: u64,
    source: impl Read,
) -> io::Result<()> {
    let mut header = Header::new_ustar();
    header.set_entry_type(EntryType::Regular);
    header.set_path(name)?;
    header.set_size(size);
    header.set_mode(if name == MANIFEST || name.starts_with(UNITS) { 0o644 } else { 0o755 });
    header.set_mtime(u64::try_from(manifest.created_at / 1000).unwrap_or(0));
    header.set_cksum();
    archive.append(&header, source)
}

fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}
