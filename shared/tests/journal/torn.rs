//! Torn tails: cut, reordered, half-written last batches.

use crate::support::*;
use holdfast_shared::journal::*;
use std::fs;
use std::path::{Path, PathBuf};

/// A journal whose last batch has `records` records of `bytes` each and was not synced; returns the last batch's
/// first byte.
fn with_last_batch(dir: &Path, records: usize, bytes: usize) -> (PathBuf, usize) {
    let (mut writer, _) = take_over(dir, 1).unwrap();
    for value in 0..5 {
        writer.append(&[add(value), add(value)]).unwrap();
        writer.sync().unwrap();
    }
    let segment = newest_segment(dir);
    let start = fs::metadata(&segment).unwrap().len() as usize;
    let records: Vec<_> = (0..records).map(|n| NewRecord::new("add", vec![b'1' + n as u8; bytes])).collect();
    writer.append(&records).unwrap();
    (segment, start)
}

/// Takes over and returns what is there then, without the new `Activated`.
fn recovered(dir: &Path, epoch: u64) -> (TakenOver, Vec<Record>) {
    let (_writer, taken) = take_over(dir, epoch).unwrap();
    let mut records = read_all(dir);
    assert_eq!(records.pop().unwrap().position(), taken.last);
    (taken, records)
}

#[test]
fn a_cut_after_every_byte_of_the_last_batch_keeps_all_before_it() {
    let home = Home::new();
    let (segment, start) = with_last_batch(&home.journal(), 3, 20);
    let whole = fs::read(&segment).unwrap();
    let all = read_all(&home.journal());
    let before = &all[..all.len() - 3];
    for length in start..=whole.len() {
        let cut = Home::new();
        copy(&home.journal(), &cut.journal());
        fs::write(cut.journal().join(segment.file_name().unwrap()), &whole[..length]).unwrap();
        let expected = if length == whole.len() { &all[..] } else { before };
        let (taken, records) = recovered(&cut.journal(), 2);
        assert_eq!(records, expected, "cut to {length} of {}", whole.len());
        let torn = if length == whole.len() { 0 } else { length - start };
        assert_eq!(taken.torn_bytes, torn as u64);
        assert_eq!(taken.before, expected.last().unwrap().position());
    }
}

#[test]
fn a_cut_at_every_record_boundary_of_the_journal() {
    let home = Home::new();
    let dir = home.journal();
    let (mut writer, _) = take_over(&dir, 1).unwrap();
    let segment = newest_segment(&dir);
    let mut boundaries = vec![fs::metadata(&segment).unwrap().len()];
    for value in 0..10 {
        writer.append(&[add(value)]).unwrap();
        writer.sync().unwrap();
        boundaries.push(fs::metadata(&segment).unwrap().len());
    }
    drop(writer);
    let (whole, all) = (fs::read(&segment).unwrap(), read_all(&dir));
    for (nth, &boundary) in boundaries.iter().enumerate() {
        let cut = Home::new();
        copy(&dir, &cut.journal());
        fs::write(cut.journal().join(segment.file_name().unwrap()), &whole[..boundary as usize]).unwrap();
        let (taken, records) = recovered(&cut.journal(), 2);
        assert_eq!(records, all[..=nth]);
        assert_eq!(taken.torn_bytes, 0);
    }
    // Below its own Activated a segment never was: it came into place whole.
    for length in 0..boundaries[0] {
        fs::write(&segment, &whole[..length as usize]).unwrap();
        let refused = take_over(&dir, 2).map(|(_, taken)| taken);
        assert!(matches!(refused, Err(TakeOverError::Corrupt(_))), "cut to {length}: {refused:?}");
    }
}

#[test]
fn reordered_pages_of_the_last_batch_are_a_torn_tail() {
    const PAGE: usize = 4096;
    let home = Home::new();
    let (segment, start) = with_last_batch(&home.journal(), 6, 4000);
    let whole = fs::read(&segment).unwrap();
    let all = read_all(&home.journal());
    let first = start / PAGE;
    let pages = whole.len().div_ceil(PAGE) - first;
    assert!((6..=8).contains(&pages));
    // Every choice of pages that reached the disk; the others are zero, or end the file.
    for arrived in 0..1u32 << pages {
        let mut image = whole.clone();
        for page in (0..pages).filter(|page| arrived & 1 << page == 0) {
            let from = ((first + page) * PAGE).max(start);
            let to = ((first + page + 1) * PAGE).min(image.len());
            image[from..to].fill(0);
        }
        for shorten in [false, true] {
            let last = pages - (arrived.leading_zeros() as usize - (32 - pages)).min(pages);
            if shorten {
                image.truncate(((first + last) * PAGE).max(start).min(whole.len()));
            }
            let cut = Home::new();
            copy(&home.journal(), &cut.journal());
            fs::write(cut.journal().join(segment.file_name().unwrap()), &image).unwrap();
            let (_, records) = recovered(&cut.journal(), 2);
            let expected = if image == whole { &all[..] } else { &all[..all.len() - 6] };
            assert_eq!(records, expected, "pages {arrived:b}, shortened {shorten}");
        }
    }
}

#[test]
fn several_unsynced_batches_end_at_the_first_that_is_bad() {
    let home = Home::new();
    let dir = home.journal();
    let (mut writer, _) = take_over(&dir, 1).unwrap();
    writer.append(&[add(1)]).unwrap();
    writer.sync().unwrap();
    let segment = newest_segment(&dir);
    let mut starts = Vec::new();
    for value in 0..5 {
        starts.push(fs::metadata(&segment).unwrap().len() as usize);
        writer.append(&[add(value)]).unwrap();
    }
    drop(writer);
    let (whole, all) = (fs::read(&segment).unwrap(), read_all(&dir));
    for (nth, &start) in starts.iter().enumerate() {
        let mut image = whole.clone();
        image[start + 50] ^= 1;
        let cut = Home::new();
        copy(&dir, &cut.journal());
        fs::write(cut.journal().join(segment.file_name().unwrap()), &image).unwrap();
        let (taken, records) = recovered(&cut.journal(), 2);
        assert_eq!(records, all[..2 + nth]);
        assert_eq!(taken.torn_bytes, (whole.len() - start) as u64);
    }
}

#[test]
fn records_that_a_follower_had_read_and_that_then_vanish_make_it_restart() {
    for bytes_left in [0, 10] {
        let home = Home::new();
        let dir = home.journal();
        let (segment, start) = with_last_batch(&dir, 3, 20);
        let mut follower = Follower::open(&dir, None).unwrap().unwrap();
        assert_eq!(drain(&mut follower).len(), 14);
        fs::OpenOptions::new()
            .write(true)
            .open(&segment)
            .unwrap()
            .set_len((start + bytes_left) as u64)
            .unwrap();
        let (mut writer, taken) = take_over(&dir, 2).unwrap();
        assert_eq!(taken.last, Position { epoch: 2, lsn: 12 });
        assert_eq!(follower.poll(100).unwrap(), Followed::Restart);
        writer.append(&[add(1), add(2), add(3)]).unwrap();
        let records = read_all(&dir);
        assert_eq!(records.last().unwrap().position(), Position { epoch: 2, lsn: 15 });
    }
}

#[test]
fn a_follower_beyond_the_new_end_notices_whenever_it_looks() {
    // The new writer may have passed the follower's LSN by the time it looks, or not.
    for later in 0..6 {
        let home = Home::new();
        let dir = home.journal();
        let (segment, start) = with_last_batch(&dir, 3, 20);
        let mut follower = Follower::open(&dir, None).unwrap().unwrap();
        assert_eq!(drain(&mut follower).len(), 14);
        fs::OpenOptions::new().write(true).open(&segment).unwrap().set_len(start as u64).unwrap();
        let (mut writer, _) = take_over(&dir, 2).unwrap();
        for value in 0..later {
            writer.append(&[add(value)]).unwrap();
        }
        drop(writer);
        let (_writer, _) = take_over(&dir, 3).unwrap();
        assert_eq!(follower.poll(100).unwrap(), Followed::Restart, "{later} later records");
    }
}

#[test]
fn a_follower_that_read_what_was_brought_along_goes_on() {
    let home = Home::new();
    let dir = home.journal();
    with_last_batch(&dir, 3, 20);
    let mut follower = Follower::open(&dir, None).unwrap().unwrap();
    assert_eq!(drain(&mut follower).len(), 14);
    let (_writer, taken) = take_over(&dir, 2).unwrap();
    assert!(taken.copied_bytes > 0);
    assert_eq!(positions(&drain(&mut follower)), [Position { epoch: 2, lsn: 15 }]);
}

#[test]
fn an_incomplete_batch_is_read_again_from_its_first_byte() {
    let home = Home::new();
    let dir = home.journal();
    let (segment, start) = with_last_batch(&dir, 3, 20);
    let whole = fs::read(&segment).unwrap();
    fs::write(&segment, &whole[..start]).unwrap();
    let mut follower = Follower::open(&dir, None).unwrap().unwrap();
    assert_eq!(drain(&mut follower).len(), 11);
    for length in start..whole.len() {
        fs::write(&segment, &whole[..length]).unwrap();
        assert_eq!(follower.poll(100).unwrap(), Followed::UpToDate, "{length} bytes");
    }
    fs::write(&segment, &whole).unwrap();
    assert_eq!(drain(&mut follower).len(), 3);
}
