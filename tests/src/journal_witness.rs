//! Reads the business journal beside its writers and judges whether there was ever more than one at a time.

use holdfast_shared::journal::{ACTIVATED, Activated, Followed, Follower, Record};
use std::path::{Path, PathBuf};

/// Records read in one look.
const PIECE_RECORDS: usize = 1024;

/// What the journal said so far.
#[derive(Debug)]
pub struct JournalWitness {
    directory: PathBuf,
    follower: Option<Follower>,
    /// Every take-over, in order.
    pub activations: Vec<Activated>,
    /// Records read.
    pub records: u64,
    epoch: u64,
}

impl JournalWitness {
    /// Of the journal in this directory, from its first record.
    pub fn new(directory: &Path) -> Self {
        Self {
            directory: directory.to_owned(),
            follower: None,
            activations: Vec::new(),
            records: 0,
            epoch: 0,
        }
    }

    /// Reads what is new.
    ///
    /// # Errors
    /// The first record that a second writer, a reused epoch or a lost record explains, or what cannot be read.
    pub fn look(&mut self) -> Result<(), String> {
        loop {
            let follower = match &mut self.follower {
                Some(follower) => follower,
                none => {
                    let opened = Follower::open(&self.directory, None).map_err(|error| error.to_string())?;
                    none.insert(opened.ok_or("the first segment is gone")?)
                }
            };
            match follower.poll(PIECE_RECORDS).map_err(|error| error.to_string())? {
                Followed::Records(records) => records.iter().try_for_each(|record| self.judge(record))?,
                Followed::UpToDate => return Ok(()),
                // Records that vanished were never reported durable; the whole is read again.
                Followed::Restart => *self = Self::new(&self.directory),
            }
        }
    }

    fn judge(&mut self, record: &Record) -> Result<(), String> {
        let at = format!("record {} of epoch {}", record.lsn, record.epoch);
        self.records += 1;
        if record.lsn != self.records {
            return Err(format!("{at} comes as number {}", self.records));
        }
        if record.kind == ACTIVATED {
            let activated: Activated =
                serde_json::from_slice(&record.payload).map_err(|error| format!("{at}: {error}"))?;
            if activated.epoch != record.epoch || activated.epoch <= self.epoch {
                return Err(format!("{at}: {activated:?} after epoch {}", self.epoch));
            }
            self.epoch = activated.epoch;
            self.activations.push(activated);
        } else if record.epoch != self.epoch {
            return Err(format!("{at} ({}) while epoch {} was active", record.kind, self.epoch));
        }
        Ok(())
    }
}
