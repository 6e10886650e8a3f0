//! After a death of everything: a spool that nobody writes any more is cut to its last good record.

use super::reader::read_up_to;
use super::record::{self, Control, Decoded, Lane, RECORD_LENGTH_MAX};
use super::segment::{SEGMENT_HEAD_BYTES, SegmentHead, segment_path, segments};
use super::{SpoolError, lock, unlock};
use crate::durable_file;
use crate::worker::{self, Exit};
use std::fs::{File, OpenOptions};
use std::path::Path;

/// What a cut found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CutReport {
    /// Output records that are left.
    pub outputs: u64,
    /// Bytes that were cut off, over all segments.
    pub cut_bytes: u64,
    /// The spool was begun in another boot: bytes may have gone with the power, not only be half written.
    pub other_boot: bool,
    /// Records are gone that were synced: not a power cut's doing, the disk lost them.
    pub lost_synced: bool,
    /// How the worker ended, if that is known.
    pub exit: Option<Exit>,
}

/// Cuts a worker's spool to its last good record and removes the segments behind it, durably. To be called only
/// by the active runtime, for a worker that is not alive; `synced_seq` is the last output record that the
/// journal says is durable. Cutting again changes nothing.
///
/// # Errors
/// [`SpoolError::Locked`] if the holder lives.
pub fn cut_to_last_good(directory: &Path, synced_seq: u64) -> Result<CutReport, SpoolError> {
    let boot_id = worker::boot_id().map_err(SpoolError::io("read", "/proc/sys/kernel/random/boot_id"))?;
    let mut report =
        CutReport { outputs: 0, cut_bytes: 0, other_boot: false, lost_synced: false, exit: None };
    let found = segments(directory)?;
    let mut expected = found.first().copied();
    let mut held = None;
    for segment in found {
        let path = segment_path(directory, segment);
        let file =
            OpenOptions::new().read(true).write(true).open(&path).map_err(SpoolError::io("open", &path))?;
        if segment == 0 {
            lock(&file, &path)?;
            held = Some(file.try_clone().map_err(SpoolError::io("open", &path))?);
        }
        if expected != Some(segment) {
            remove(&path, &file, &mut report)?;
            continue;
        }
        let good = scan(&file, &path, segment, &mut report)?;
        report.other_boot |= good.boot_id.is_some_and(|boot| boot != boot_id);
        expected = if cut(&path, &file, good.bytes, &mut report)? { None } else { Some(segment + 1) };
    }
    durable_file::sync_directory(directory).map_err(SpoolError::io("sync", directory))?;
    report.lost_synced = report.outputs < synced_seq;
    if let Some(first) = held {
        unlock(&first, &segment_path(directory, 0))?;
    }
    Ok(report)
}

struct Good {
    bytes: u64,
    boot_id: Option<[u8; 16]>,
}

/// Finds how far a segment is good. Its first one may begin anywhere (older ones are removed).
fn scan(file: &File, path: &Path, segment: u32, report: &mut CutReport) -> Result<Good, SpoolError> {
    let mut bytes = [0; SEGMENT_HEAD_BYTES];
    let length = read_up_to(file, &mut bytes, 0).map_err(SpoolError::io("read", path))?;
    let head = match SegmentHead::decode(&bytes[..length], path) {
        Ok(Some(head)) if head.segment == segment && head.first_seq > report.outputs => head,
        Ok(_) | Err(SpoolError::Damaged { .. }) => return Ok(Good { bytes: 0, boot_id: None }),
        Err(error) => return Err(error),
    };
    report.outputs = head.first_seq - 1;
    let mut byte = SEGMENT_HEAD_BYTES as u64;
    let mut buffer = vec![0; 4 * RECORD_LENGTH_MAX];
    loop {
        let length = read_up_to(file, &mut buffer, byte).map_err(SpoolError::io("read", path))?;
        let taken = take_good(&buffer[..length], report);
        byte += taken as u64;
        if taken == 0 {
            return Ok(Good { bytes: byte, boot_id: Some(head.boot_id) });
        }
    }
}

fn take_good(buffer: &[u8], report: &mut CutReport) -> usize {
    let mut at = 0;
    while let Decoded::Whole(frame) = record::decode(&buffer[at..]) {
        let Some(outputs) = record::continues(&frame, report.outputs) else { break };
        report.outputs = outputs;
        if let (Lane::Control, Control::Exit(exit)) = (frame.lane, record::control(frame.bytes)) {
            report.exit = Some(exit);
        }
        at += frame.length();
    }
    at
}

/// Cuts one file; whether there was something to cut.
fn cut(path: &Path, file: &File, good: u64, report: &mut CutReport) -> Result<bool, SpoolError> {
    let size = file.metadata().map_err(SpoolError::io("ask size of", path))?.len();
    if size > good {
        report.cut_bytes += size - good;
        file.set_len(good).map_err(SpoolError::io("truncate", path))?;
    }
    file.sync_all().map_err(SpoolError::io("sync", path))?;
    Ok(size > good || good == 0)
}

fn remove(path: &Path, file: &File, report: &mut CutReport) -> Result<(), SpoolError> {
    report.cut_bytes += file.metadata().map_err(SpoolError::io("ask size of", path))?.len();
    std::fs::remove_file(path).map_err(SpoolError::io("remove", path))
}
