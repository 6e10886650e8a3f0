//! What lies in a journal's directory, by names and headers: nothing is written, no lock is needed.

use crate::journal::chain::{self, Chain, SegmentFile};
use crate::journal::checkpoint::{self, BadCheckpoint, CheckpointHeader};
use crate::journal::damage::{Damage, Why};
use crate::journal::preamble::{BadPreamble, MAX_HEADER_BYTES, PREAMBLE_BYTES, total_bytes};
use crate::journal::segment;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Read at first; nearly every header fits.
const FIRST_READ_BYTES: usize = 4096;
/// A survey beside a living writer may lose a file between listing and opening; as long as the names change, it
/// looks again, so often.
const MAX_SURVEYS: usize = 8;

/// Why a directory could not be surveyed.
#[derive(Debug, thiserror::Error)]
pub enum SurveyError {
    /// The files do not make a journal.
    #[error(transparent)]
    Damaged(#[from] Damage),
    /// A newer release wrote here.
    #[error("{file} has format {found}, this release reads up to {max}")]
    Newer {
        /// The file.
        file: String,
        /// Its format.
        found: u32,
        /// The newest format this build reads.
        max: u32,
    },
    /// Reading failed.
    #[error("read {}: {source}", path.display())]
    Io {
        /// What was read.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
}

impl SurveyError {
    /// Whether the file is simply not there (any more).
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }

    pub(crate) fn io(path: &Path) -> impl FnOnce(io::Error) -> SurveyError + use<> {
        let path = path.to_path_buf();
        move |source| Self::Io { path, source }
    }

    fn newer(file: String, found: u32) -> Self {
        Self::Newer { file, found, max: crate::journal::READS.1 }
    }
}

/// File names of a journal, sorted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Listing {
    /// Indices of segments, ascending.
    pub segments: Vec<u64>,
    /// LSNs of checkpoints, ascending.
    pub checkpoints: Vec<u64>,
    /// Files under their temporary name, which only a writer that is gone can have left.
    pub temporary: Vec<String>,
}

impl Listing {
    /// Whether there is a journal at all.
    pub fn is_empty(&self) -> bool {
        self.segments.is_empty() && self.checkpoints.is_empty()
    }
}

/// Suffix of files that have not come into place yet.
pub const TEMPORARY: &str = ".tmp";

/// Lists `dir`; a directory that is not there is empty.
pub fn list(dir: &Path) -> Result<Listing, SurveyError> {
    let mut listing = Listing::default();
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(listing),
        Err(error) => return Err(SurveyError::io(dir)(error)),
    };
    for entry in entries {
        let name = entry.map_err(SurveyError::io(dir))?.file_name();
        let Some(name) = name.to_str() else { continue };
        if let Some(index) = segment::parse_file_name(name) {
            listing.segments.push(index);
        } else if let Some(lsn) = checkpoint::parse_file_name(name) {
            listing.checkpoints.push(lsn);
        } else if name.ends_with(TEMPORARY) {
            listing.temporary.push(name.to_owned());
        }
    }
    listing.segments.sort_unstable();
    listing.checkpoints.sort_unstable();
    Ok(listing)
}

/// Reads preamble and header of a file, as far as it has them.
fn read_beginning(path: &Path, magic: &[u8; 8]) -> io::Result<(File, Vec<u8>)> {
    let file = File::open(path)?;
    let mut bytes = read_up_to(&file, FIRST_READ_BYTES)?;
    if let Ok(total) = total_bytes(magic, &bytes, u32::MAX)
        && total > bytes.len()
        && total <= PREAMBLE_BYTES + MAX_HEADER_BYTES
    {
        bytes = read_up_to(&file, total)?;
    }
    Ok((file, bytes))
}

fn read_up_to(file: &File, limit: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; limit];
    let mut filled = 0;
    while filled < limit {
        match file.read_at(&mut bytes[filled..], filled as u64)? {
            0 => break,
            some => filled += some,
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}

/// Opens segment `index` and reads its header.
pub fn read_segment_header(dir: &Path, index: u64) -> Result<(File, SegmentFile), SurveyError> {
    let name = segment::file_name(index);
    let path = dir.join(&name);
    let (file, bytes) = read_beginning(&path, &segment::MAGIC).map_err(SurveyError::io(&path))?;
    let (header, first_batch) = segment::decode(&bytes).map_err(|bad| match bad {
        BadPreamble::Newer { found } => SurveyError::newer(name.clone(), found),
        BadPreamble::Damaged => Damage { file: name.clone(), offset: 0, why: Why::Header }.into(),
    })?;
    if header.index != index {
        return Err(Damage { file: name, offset: 0, why: Why::Header }.into());
    }
    let file_bytes = file.metadata().map_err(SurveyError::io(&path))?.len();
    Ok((file, SegmentFile { header, first_batch, file_bytes }))
}

/// The headers of the checkpoints that have a good one. A damaged checkpoint bears no witness; there is another.
pub fn checkpoint_headers(dir: &Path, lsns: &[u64]) -> Result<Vec<CheckpointHeader>, SurveyError> {
    let mut headers = Vec::new();
    for &lsn in lsns {
        let name = checkpoint::file_name(lsn);
        let path = dir.join(&name);
        let (_, bytes) = read_beginning(&path, &checkpoint::MAGIC).map_err(SurveyError::io(&path))?;
        match checkpoint::decode_header(&bytes) {
            Ok((header, _)) if header.position.lsn == lsn => headers.push(header),
            Err(BadCheckpoint::Newer { found }) => return Err(SurveyError::newer(name, found)),
            Ok(_) | Err(BadCheckpoint::Damaged) => {}
        }
    }
    Ok(headers)
}

/// The chain of segments in `dir`; `None` if there is no journal.
pub fn survey(dir: &Path) -> Result<Option<Chain>, SurveyError> {
    let mut listing = list(dir)?;
    for _ in 1..MAX_SURVEYS {
        let failed = match survey_listed(dir, &listing) {
            Err(error @ (SurveyError::Damaged(_) | SurveyError::Io { .. })) => error,
            settled => return settled,
        };
        let again = list(dir)?;
        if again == listing {
            return Err(failed);
        }
        listing = again;
    }
    survey_listed(dir, &listing)
}

fn survey_listed(dir: &Path, listing: &Listing) -> Result<Option<Chain>, SurveyError> {
    if listing.is_empty() {
        return Ok(None);
    }
    let checkpoints = checkpoint_headers(dir, &listing.checkpoints)?;
    let mut segments = Vec::new();
    for &index in &listing.segments {
        segments.push(read_segment_header(dir, index)?.1);
    }
    if segments.is_empty() {
        let file = segment::file_name(1);
        return Err(Damage { file, offset: 0, why: Why::MissingSegment }.into());
    }
    Ok(Some(chain::check(segments, &checkpoints)?))
}
