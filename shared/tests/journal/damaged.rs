//! Damage: bit flips anywhere, missing and foreign files, newer formats. Nothing is touched then.

use crate::support::*;
use holdfast_shared::journal::*;
use std::fs;
use std::path::Path;

fn refused(dir: &Path) -> TakeOverError {
    let before = contents(dir);
    let outcome = take_over(dir, 99).map(|(_, taken)| taken);
    assert_eq!(contents(dir), before, "a refused take-over changed files");
    outcome.expect_err("taken over in spite of damage")
}

/// Where batches begin in a segment, and its length.
fn batches(dir: &Path, write: impl FnOnce(&mut Writer, &mut dyn FnMut())) -> Vec<usize> {
    let (mut writer, _) = take_over(dir, 1).unwrap();
    let segment = newest_segment(dir);
    let mut starts = vec![fs::metadata(&segment).unwrap().len() as usize];
    write(&mut writer, &mut || starts.push(fs::metadata(&segment).unwrap().len() as usize));
    starts
}

#[derive(Debug, PartialEq)]
enum Expected {
    Corrupt,
    /// So many records are left.
    Torn(usize),
}

fn check_flips(home: &Home, bytes: std::ops::Range<usize>, expected: &Expected) {
    let segment = newest_segment(&home.journal());
    let whole = fs::read(&segment).unwrap();
    for byte in bytes {
        let mut image = whole.clone();
        image[byte] ^= 1 << (byte % 8);
        let damaged = Home::new();
        copy(&home.journal(), &damaged.journal());
        let dir = damaged.journal();
        fs::write(newest_segment(&dir), &image).unwrap();
        match expected {
            Expected::Corrupt => {
                assert!(matches!(refused(&dir), TakeOverError::Corrupt(_)), "byte {byte}");
                assert!(matches!(inspect(&dir), Err(InspectError::Damaged(_))), "byte {byte}");
            }
            Expected::Torn(left) => {
                assert_eq!(inspect(&dir).unwrap().end.lsn, *left as u64, "byte {byte}");
                let (_writer, taken) = take_over(&dir, 99).unwrap();
                assert_eq!(taken.before.lsn, *left as u64, "byte {byte}");
                assert_eq!(read_all(&dir).len(), left + 1, "byte {byte}");
            }
        }
    }
}

#[test]
fn a_flipped_bit_anywhere_is_torn_only_where_nothing_shows_that_it_was_durable() {
    let home = Home::new();
    let starts = batches(&home.journal(), |writer, next| {
        for value in 0..4 {
            writer.append(&[add(value)]).unwrap();
            writer.sync().unwrap();
            next();
        }
    });
    // Header, Activated and all batches but the last: a later batch knew them durable.
    check_flips(&home, 0..starts[3], &Expected::Corrupt);
    // The last was answered, but nothing on disk says so.
    check_flips(&home, starts[3]..starts[4], &Expected::Torn(4));
}

#[test]
fn a_flipped_bit_in_one_of_two_unsynced_batches_is_torn() {
    let home = Home::new();
    let starts = batches(&home.journal(), |writer, next| {
        writer.append(&[add(1)]).unwrap();
        writer.sync().unwrap();
        for value in 0..2 {
            next();
            writer.append(&[add(value)]).unwrap();
        }
        next();
    });
    check_flips(&home, 0..starts[1], &Expected::Corrupt);
    check_flips(&home, starts[1]..starts[2], &Expected::Torn(2));
    check_flips(&home, starts[2]..starts[3], &Expected::Torn(3));
}

#[test]
fn after_a_fence_every_flip_in_a_record_is_corruption() {
    let home = Home::new();
    let mut end = 0;
    {
        let (mut writer, _) = take_over(&home.journal(), 1).unwrap();
        for value in 0..3 {
            writer.append(&[add(value)]).unwrap();
            end = fs::metadata(newest_segment(&home.journal())).unwrap().len() as usize;
        }
        writer.fence().unwrap();
    }
    let length = fs::metadata(newest_segment(&home.journal())).unwrap().len() as usize;
    assert!(length > end, "a fence leaves a mark");
    check_flips(&home, 0..end, &Expected::Corrupt);
    check_flips(&home, end..length, &Expected::Torn(4));
}

#[test]
fn a_flip_in_an_older_segment_is_found_by_who_reads_it_and_in_its_void_end_it_is_nothing() {
    let home = Home::new();
    let dir = home.journal();
    let (mut writer, _) = take_over(&dir, 1).unwrap();
    writer.append(&[add(1)]).unwrap();
    writer.sync().unwrap();
    let first = newest_segment(&dir);
    let synced = fs::metadata(&first).unwrap().len() as usize;
    writer.append(&[add(2)]).unwrap();
    drop(writer);
    drop(take_over(&dir, 2).unwrap());
    let whole = fs::read(&first).unwrap();
    let all = read_all(&dir);
    for byte in 0..whole.len() {
        let mut image = whole.clone();
        image[byte] ^= 1;
        fs::write(&first, image).unwrap();
        let read = open_at_newest_checkpoint(&dir).and_then(|(_, mut follower)| {
            let mut records = Vec::new();
            loop {
                match follower.poll(100)? {
                    Followed::Records(more) => records.extend(more),
                    other => break Ok((other, records)),
                }
            }
        });
        // Its last batch was copied, and it is the copy that counts. Damage in the void may have been read before
        // the next segment was looked at, never given out.
        if byte >= synced {
            assert_eq!(read.unwrap(), (Followed::UpToDate, all.clone()), "byte {byte}");
        } else {
            assert!(matches!(read, Err(InspectError::Damaged(_))), "byte {byte}: {read:?}");
        }
    }
}

/// Three segments, a checkpoint before the second and one before the third.
fn with_checkpoints() -> Home {
    let home = Home::new();
    let (mut writer, _) = take_over(&home.journal(), 1).unwrap();
    for value in 0..2 {
        writer.append(&[add(value)]).unwrap();
        checkpoint_inline(&mut writer, &fold::<Sum>(&home.journal()), None).unwrap();
    }
    writer.append(&[add(9)]).unwrap();
    home
}

#[test]
fn missing_pieces_are_said_and_nothing_is_written() {
    let names = |home: &Home| contents(&home.journal()).into_iter().map(|(path, _)| path);
    let home = with_checkpoints();
    let segments: Vec<_> = names(&home).filter(|path| path.extension().unwrap() == "segment").collect();
    let checkpoints: Vec<_> = names(&home).filter(|path| path.extension().unwrap() == "checkpoint").collect();
    assert_eq!((segments.len(), checkpoints.len()), (2, 2));
    let gone = |which: &[&std::path::PathBuf]| {
        let damaged = Home::new();
        copy(&home.journal(), &damaged.journal());
        for path in which {
            fs::remove_file(damaged.journal().join(path.file_name().unwrap())).unwrap();
        }
        let error = refused(&damaged.journal());
        assert!(inspect(&damaged.journal()).is_err());
        match error {
            TakeOverError::Corrupt(damage) => damage.why,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(gone(&[&segments[1]]), Why::MissingSegment);
    assert_eq!(gone(&[&segments[0], &segments[1]]), Why::MissingSegment);
    assert_eq!(gone(&[&checkpoints[0], &checkpoints[1]]), Why::MissingSegment);
    assert_eq!(gone(&[&segments[0], &checkpoints[1]]), Why::MissingSegment);
}

#[test]
fn what_a_checkpoint_stands_for_may_be_gone() {
    let home = with_checkpoints();
    let whole = fold::<Sum>(&home.journal());
    let oldest =
        contents(&home.journal()).into_iter().find(|(path, _)| path.extension().unwrap() == "segment");
    fs::remove_file(oldest.unwrap().0).unwrap();
    assert_eq!(fold::<Sum>(&home.journal()), whole);
    take_over(&home.journal(), 2).unwrap();
}

#[test]
fn a_checkpoint_that_knows_more_than_the_segment_shows_corruption() {
    let home = Home::new();
    let dir = home.journal();
    let (mut writer, _) = take_over(&dir, 1).unwrap();
    writer.append(&[add(1)]).unwrap();
    let before = fs::read(newest_segment(&dir)).unwrap();
    writer.append(&[add(2)]).unwrap();
    checkpoint_inline(&mut writer, &fold::<Sum>(&dir), None).unwrap();
    drop(writer);
    let after = newest_segment(&dir);
    fs::remove_file(&after).unwrap();
    fs::write(newest_segment(&dir), before).unwrap();
    assert!(matches!(refused(&dir), TakeOverError::Corrupt(_)));
}

#[test]
fn a_checkpoint_bears_witness_against_the_segment_it_does_not_lead_beyond() {
    let home = with_checkpoints();
    let dir = home.journal();
    let end = inspect(&dir).unwrap().end.lsn;
    let (path, bytes) =
        contents(&dir).into_iter().rfind(|(path, _)| path.extension().unwrap() == "checkpoint").unwrap();
    let data = checkpoint::decode(&bytes).unwrap();
    fs::remove_file(path).unwrap();
    let mut header = data.header;
    for (lsn, damaged) in [(end, false), (end + 1, true)] {
        header.position.lsn = lsn;
        let pieces = checkpoint::encode(header.clone(), data.state.clone(), &[]);
        fs::write(dir.join(header.file_name()), pieces.concat()).unwrap();
        assert_eq!(inspect(&dir).is_err(), damaged);
    }
    let TakeOverError::Corrupt(damage) = refused(&dir) else { panic!() };
    assert_eq!(damage.why, Why::LostDurable { lsn: end + 1, synced_lsn: end + 1 });
}

#[test]
fn a_newer_format_is_named_and_not_touched() {
    for suffix in [".segment", ".checkpoint"] {
        let home = with_checkpoints();
        let (path, mut bytes) = contents(&home.journal())
            .into_iter()
            .rfind(|(path, _)| path.to_str().unwrap().ends_with(suffix))
            .unwrap();
        bytes[8..12].copy_from_slice(&(READS.1 + 1).to_le_bytes());
        fs::write(&path, &bytes).unwrap();
        // A flip of the version field alone is damage, not a newer format.
        if suffix == ".segment" {
            assert!(matches!(refused(&home.journal()), TakeOverError::Corrupt(_)));
        }
        let check = crc32c::crc32c(&bytes[..20]);
        bytes[20..24].copy_from_slice(&check.to_le_bytes());
        fs::write(&path, &bytes).unwrap();
        let TakeOverError::NewerFormat { file, found, max } = refused(&home.journal()) else { panic!() };
        assert_eq!((found, max), (READS.1 + 1, READS.1));
        assert_eq!(file, path.file_name().unwrap().to_str().unwrap());
        assert!(inspect(&home.journal()).is_err());
    }
}

#[test]
fn files_of_another_journal_are_not_taken_for_this_one() {
    let (home, other) = (with_checkpoints(), Home::new());
    let request = Request { journal_id: uuid::Uuid::from_u128(7), first: true, ..request(1) };
    let (mut writer, _) = TakeOver::begin(&other.journal(), real(), request).unwrap();
    for value in 0..2 {
        writer.append(&[add(value)]).unwrap();
        checkpoint_inline(&mut writer, &fold::<Sum>(&other.journal()), None).unwrap();
    }
    drop(writer);
    let newest = newest_segment(&other.journal());
    fs::copy(&newest, home.journal().join(newest.file_name().unwrap())).unwrap();
    let TakeOverError::Corrupt(damage) = refused(&home.journal()) else { panic!() };
    assert_eq!(damage.why, Why::ForeignJournal);
}

#[test]
fn leftovers_under_a_temporary_name_are_cleared_away() {
    let home = with_checkpoints();
    let leftover = home.journal().join("00000000000000000004.segment.tmp");
    fs::write(&leftover, b"half a segment").unwrap();
    take_over(&home.journal(), 2).unwrap();
    assert!(!leftover.exists());
}
