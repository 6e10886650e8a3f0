//! What can be wrong with a journal, said with file and byte.

use std::fmt;

/// Damage: the journal is not written to until a person has looked at it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("journal damaged: {file} at byte {offset}: {why}")]
pub struct Damage {
    /// File name inside the journal's directory.
    pub file: String,
    /// Where in the file.
    pub offset: u64,
    /// What is wrong there.
    pub why: Why,
}

/// What is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    /// The file's preamble or header does not check.
    Header,
    /// The file belongs to a journal with another id.
    ForeignJournal,
    /// The header contradicts the file before it.
    Chain,
    /// A segment is not there and no checkpoint makes up for it.
    MissingSegment,
    /// No batch that checks is here, although the records from `lsn` on were durable up to `synced_lsn`.
    LostDurable {
        /// The first record that is gone.
        lsn: u64,
        /// Known to have been durable.
        synced_lsn: u64,
    },
    /// The batch checks but its LSNs, epoch or records make no sense here.
    Nonsense,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Why::Header => f.write_str("the file's header does not check"),
            Why::ForeignJournal => f.write_str("the file belongs to another journal"),
            Why::Chain => f.write_str("the header contradicts the segment before it"),
            Why::MissingSegment => f.write_str("a segment is missing and no checkpoint stands for it"),
            Why::LostDurable { lsn, synced_lsn } => {
                write!(f, "no good batch for record {lsn}, but records up to {synced_lsn} were durable")
            }
            Why::Nonsense => f.write_str("a batch checks but does not fit its place"),
        }
    }
}
