//! One pass through a bundle, as a stream: decompress, read the archive, hold every entry against the manifest. Used
//! for checking and for unpacking, so both see the same.

use crate::release::{BundleError, Contents, EntryKind, MANIFEST, parse};
use holdfast_shared::release::{BundleFile, BundleManifest};
use holdfast_shared::token::hex;
use sha2::{Digest, Sha256};
use std::io::{self, BufRead, Read};
use std::path::Path;
use tar::{Archive, Entry, EntryType};

/// A piece that is read, hashed and written.
const PIECE_BYTES: usize = 256 * 1024;
/// Log2 of the window that a decoder may need: 16 MiB of memory. We pack with 8 MiB.
const WINDOW_LOG: u32 = 24;
/// Zeros behind the archive: tar pads to 10 KiB.
const PADDING_BYTES: u64 = 64 * 1024;

/// Where the contents go.
pub trait Sink {
    /// The file that comes now.
    fn begin(&mut self, path: &str, file: &BundleFile) -> Result<(), BundleError>;
    /// A piece of it.
    fn write(&mut self, bytes: &[u8]) -> Result<(), BundleError>;
    /// It was whole and had its digest.
    fn end(&mut self) -> Result<(), BundleError>;
}

/// Reads a bundle from its beginning: the manifest, which `judge` may refuse, then its files into `sink`.
///
/// # Errors
/// What `judge` or `sink` answer; an archive that is not exactly what its manifest says.
pub fn walk(
    bundle: impl BufRead,
    path: &Path,
    manifest_bytes: u64,
    judge: impl FnOnce(&BundleManifest) -> Result<(), BundleError>,
    sink: &mut dyn Sink,
) -> Result<BundleManifest, BundleError> {
    let broken = |error: io::Error| broken(path, error);
    let mut decoder = zstd::Decoder::with_buffer(bundle).map_err(broken)?;
    decoder.window_log_max(WINDOW_LOG).map_err(broken)?;
    let mut archive = Archive::new(decoder);
    // Raw: no extension of the format is followed, each is an entry of its own and refused.
    let mut entries = archive.entries().map_err(broken)?.raw(true);
    let first = entries.next().ok_or_else(|| malformed("it is empty"))?.map_err(broken)?;
    let manifest = read_manifest(first, path, manifest_bytes)?;
    judge(&manifest)?;
    let mut contents = Contents::new(&manifest);
    for entry in entries {
        let mut entry = entry.map_err(broken)?;
        let (name, file) = contents.take(kind(&entry), &entry.header().path_bytes(), entry.size())?;
        sink.begin(name, file)?;
        copy(&mut entry, path, name, file, sink)?;
    }
    contents.finish()?;
    only_padding(archive.into_inner()).map_err(broken)?;
    Ok(manifest)
}

fn read_manifest(
    entry: Entry<'_, impl Read>,
    path: &Path,
    limit: u64,
) -> Result<BundleManifest, BundleError> {
    if kind(&entry) != EntryKind::File || *entry.header().path_bytes() != *MANIFEST.as_bytes() {
        return Err(BundleError::ManifestInvalid { why: format!("the first entry is not {MANIFEST}") });
    }
    let size = entry.size();
    if size > limit {
        return Err(BundleError::TooLarge { what: "the manifest in bytes".to_owned(), amount: size, limit });
    }
    let mut text = Vec::new();
    entry.take(limit).read_to_end(&mut text).map_err(|error| broken(path, error))?;
    if text.len() as u64 != size {
        return Err(malformed("it ends within its manifest"));
    }
    parse(&text)
}

/// One file, in pieces. Its size is already known to be the manifest's.
fn copy(
    entry: &mut impl Read,
    path: &Path,
    name: &str,
    file: &BundleFile,
    sink: &mut dyn Sink,
) -> Result<(), BundleError> {
    let mut digest = Sha256::new();
    let mut left = file.size_bytes;
    let mut piece = vec![0u8; PIECE_BYTES];
    while left > 0 {
        let count = usize::try_from(left).unwrap_or(PIECE_BYTES).min(PIECE_BYTES);
        entry.read_exact(&mut piece[..count]).map_err(|error| broken(path, error))?;
        digest.update(&piece[..count]);
        sink.write(&piece[..count])?;
        left -= count as u64;
    }
    if hex(&digest.finalize()) != file.sha256 {
        return Err(BundleError::DigestMismatch { path: name.to_owned(), how: "digest" });
    }
    sink.end()
}

fn only_padding(rest: impl Read) -> io::Result<()> {
    let mut padding = Vec::new();
    let count = rest.take(PADDING_BYTES + 1).read_to_end(&mut padding)?;
    if count as u64 > PADDING_BYTES || padding.iter().any(|byte| *byte != 0) {
        return Err(io::Error::other("something follows the archive"));
    }
    Ok(())
}

fn kind(entry: &Entry<'_, impl Read>) -> EntryKind {
    match entry.header().entry_type() {
        EntryType::Regular => EntryKind::File,
        EntryType::Symlink => EntryKind::Other("a symbolic link"),
        EntryType::Link => EntryKind::Other("a hard link"),
        EntryType::Char | EntryType::Block => EntryKind::Other("a device"),
        EntryType::Fifo => EntryKind::Other("a FIFO"),
        EntryType::Directory => EntryKind::Other("a directory"),
        _ => EntryKind::Other("an extension of the archive format"),
    }
}

/// An error with a number is the system's; any other one is what the decoder or the archive says of the bytes.
fn broken(path: &Path, error: io::Error) -> BundleError {
    if error.raw_os_error().is_some() {
        return BundleError::reading("read", path)(error);
    }
    BundleError::Malformed { what: error.to_string() }
}

fn malformed(what: &str) -> BundleError {
    BundleError::Malformed { what: what.to_owned() }
}
