//! Writer, tail, history and cut together, on real files.

use super::*;
use crate::worker::{EndedBy, Exit, ExitStatus, Started, WorkerState};
use proptest::prelude::*;
use std::fs::OpenOptions;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::Path;
use tempfile::TempDir;

fn exit(final_seq: u64) -> Exit {
    Exit { status: ExitStatus::Code(0), final_seq, ended_by: EndedBy::Worker }
}

/// A spool of two segments: `a1`.. in the first, `b`.. in the second, ended.
fn two_segments() -> (TempDir, u64) {
    let directory = tempfile::tempdir().unwrap();
    let mut writer = SpoolWriter::create(directory.path(), "t1").unwrap();
    for text in ["alpha", "beta", "gamma"] {
        writer.output(Stream::Stdout, false, text.as_bytes());
    }
    assert_eq!(writer.next_segment("t2", 4).unwrap(), Flushed::Done);
    for text in ["delta", "epsilon"] {
        writer.output(Stream::Stderr, true, text.as_bytes());
    }
    writer.control(&Control::Exit(exit(5)));
    assert_eq!(writer.flush().unwrap(), Flushed::Done);
    assert_eq!(writer.sync().unwrap(), Flushed::Done);
    (directory, writer.outputs())
}

fn started() -> Started {
    let (boot_id, contracts) = ("b".to_owned(), Default::default());
    Started { pid: 1, start_time: 2, boot_id, holder_pid: 3, contracts }
}

fn read_all(directory: &Path) -> Result<Vec<SpoolRecord>, SpoolError> {
    let mut tail = SpoolTail::open(directory);
    let mut records = Vec::new();
    loop {
        let piece = tail.poll(1)?;
        if piece.is_empty() {
            return Ok(records);
        }
        records.extend(piece);
    }
}

fn outputs(records: &[SpoolRecord]) -> Vec<(u64, String)> {
    let output = |record: &SpoolRecord| match record {
        SpoolRecord::Output { seq, bytes, .. } => Some((*seq, String::from_utf8_lossy(bytes).into_owned())),
        SpoolRecord::Control { .. } => None,
    };
    records.iter().filter_map(output).collect()
}

#[test]
fn a_tail_gives_each_record_once_over_segments_and_says_the_exit() {
    let (directory, _) = two_segments();
    let mut tail = SpoolTail::open(directory.path());
    let mut texts = Vec::new();
    while tail.exit().is_none() {
        texts.extend(outputs(&tail.poll(1).unwrap()));
    }
    let expected = ["alpha", "beta", "gamma", "delta", "epsilon"];
    assert_eq!(texts, (1..=5).zip(expected.map(str::to_owned)).collect::<Vec<_>>());
    assert_eq!(
        (tail.exit(), tail.outputs(), tail.consumed(), tail.turn()),
        (Some(exit(5)), 5, 4, Some("t2"))
    );
    assert!(tail.poll(1).unwrap().is_empty());
}

#[test]
fn a_tail_may_begin_at_any_segment() {
    let (directory, _) = two_segments();
    let mut tail = SpoolTail::open_at(directory.path(), 1);
    let records = tail.poll(TAIL_PIECE_BYTES_MAX).unwrap();
    assert_eq!(outputs(&records), [(4, "delta".to_owned()), (5, "epsilon".to_owned())]);
}

#[test]
fn a_tail_waits_for_a_spool_that_is_not_there_and_for_records_that_are_not_whole() {
    let directory = tempfile::tempdir().unwrap();
    let mut tail = SpoolTail::open(directory.path());
    assert!(tail.poll(1).unwrap().is_empty());
    let mut writer = SpoolWriter::create(directory.path(), "t1").unwrap();
    assert_eq!(tail.poll(1).unwrap().len(), 1, "the mark");
    assert_eq!(writer.output(Stream::Stdout, false, b"hello"), 1);
    assert!(tail.poll(1).unwrap().is_empty(), "queued is not written");
    assert_eq!(writer.flush().unwrap(), Flushed::Done);
    let path = segment_path(directory.path(), 0);
    let whole = std::fs::read(&path).unwrap();
    let file = OpenOptions::new().write(true).open(&path).unwrap();
    let begins = tail.position().byte as usize;
    file.set_len(begins as u64).unwrap();
    for length in begins..whole.len() {
        file.write_all_at(&whole[..length], 0).unwrap();
        assert!(tail.poll(1).unwrap().is_empty(), "{} of {} bytes", length - begins, whole.len() - begins);
    }
    file.write_all_at(&whole, 0).unwrap();
    assert_eq!(outputs(&tail.poll(1).unwrap()), [(1, "hello".to_owned())]);
}

#[test]
fn a_flipped_bit_is_damage_and_everything_before_it_is_given() {
    let (directory, _) = two_segments();
    let path = segment_path(directory.path(), 0);
    let good = std::fs::read(&path).unwrap();
    let all = outputs(&read_all(directory.path()).unwrap());
    let file = OpenOptions::new().write(true).open(&path).unwrap();
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 0x10;
        file.write_all_at(&bad, 0).unwrap();
        let mut tail = SpoolTail::open(directory.path());
        let mut given = Vec::new();
        let error = loop {
            match tail.poll(1) {
                Ok(records) if records.is_empty() => break None,
                Ok(records) => given.extend(outputs(&records)),
                Err(error) => break Some(error),
            }
        };
        assert!(all.starts_with(&given), "byte {at}: {given:?}");
        assert!(error.is_some(), "byte {at} went unnoticed");
    }
}

#[test]
fn history_is_read_from_any_record_in_bounded_pieces() {
    let directory = tempfile::tempdir().unwrap();
    let mut writer = SpoolWriter::create(directory.path(), "t1").unwrap();
    let text = |seq: u64| format!("{seq}:{}", "x".repeat((seq % 97) as usize * 100));
    for seq in 1..=2000 {
        writer.control(&Control::Consumed { number: seq });
        assert_eq!(writer.output(Stream::Stdout, false, text(seq).as_bytes()), seq);
        assert_eq!(writer.flush().unwrap(), Flushed::Done);
    }
    let mut history = SegmentHistory::open(directory.path(), 0).unwrap().unwrap();
    for begin in [1, 2, 700, 1999, 2000] {
        let mut next = begin;
        while next <= 2000 {
            let piece = outputs(&history.read_from(next, HISTORY_PIECE_BYTES_MAX).unwrap());
            let bytes: usize = piece.iter().map(|(_, text)| text.len()).sum();
            assert!(bytes <= HISTORY_PIECE_BYTES_MAX && !piece.is_empty());
            for (seq, found) in piece {
                assert_eq!((seq, found), (next, text(next)));
                next += 1;
            }
        }
    }
    assert!(history.read_from(2001, 1).unwrap().is_empty());
    writer.output(Stream::Stdout, false, b"late");
    assert_eq!(writer.flush().unwrap(), Flushed::Done);
    assert_eq!(outputs(&history.read_from(2001, 1).unwrap()), [(2001, "late".to_owned())]);
    assert_eq!(history.last_seq().unwrap(), 2001);
}

#[test]
fn history_of_a_later_segment_begins_with_its_first_record() {
    let (directory, _) = two_segments();
    let mut history = SegmentHistory::open(directory.path(), 1).unwrap().unwrap();
    assert_eq!((history.first_seq(), history.last_seq().unwrap()), (4, 5));
    assert!(matches!(history.read_from(3, 1), Err(SpoolError::NoSuchRecord { seq: 3, .. })));
    assert!(SegmentHistory::open(directory.path(), 2).unwrap().is_none());
}

#[test]
fn a_cut_after_any_byte_keeps_exactly_the_whole_records() {
    let (source, _) = two_segments();
    for segment in [0, 1] {
        let whole = std::fs::read(segment_path(source.path(), segment)).unwrap();
        for length in 0..whole.len() {
            let directory = tempfile::tempdir().unwrap();
            std::fs::copy(segment_path(source.path(), 0), segment_path(directory.path(), 0)).unwrap();
            if segment == 1 {
                std::fs::write(segment_path(directory.path(), 1), &whole[..length]).unwrap();
            } else {
                std::fs::write(segment_path(directory.path(), 0), &whole[..length]).unwrap();
            }
            let before = outputs(&read_all(directory.path()).unwrap_or_default());
            let report = cut_to_last_good(directory.path(), 0).unwrap();
            assert_eq!(report.outputs as usize, before.len(), "segment {segment}, {length} bytes");
            assert_eq!((report.exit, report.other_boot, report.lost_synced), (None, false, false));
            assert_eq!(outputs(&read_all(directory.path()).unwrap_or_default()), before);
            let again = cut_to_last_good(directory.path(), 0).unwrap();
            assert_eq!(
                (again.outputs, again.cut_bytes),
                (report.outputs, 0),
                "cutting again changes nothing"
            );
        }
    }
}

#[test]
fn a_cut_in_an_earlier_segment_takes_the_later_ones_with_it() {
    let (directory, _) = two_segments();
    let path = segment_path(directory.path(), 0);
    let size = std::fs::metadata(&path).unwrap().len();
    let file = OpenOptions::new().write(true).open(&path).unwrap();
    file.write_all_at(&[0; 3], size - 3).unwrap();
    let report = cut_to_last_good(directory.path(), 5).unwrap();
    assert_eq!((report.outputs, report.lost_synced, report.exit), (2, true, None));
    assert_eq!(segments(directory.path()).unwrap(), [0]);
}

#[test]
fn a_tail_of_zeros_as_a_power_cut_leaves_it_is_cut() {
    let (directory, last) = two_segments();
    let path = segment_path(directory.path(), 1);
    let size = std::fs::metadata(&path).unwrap().len();
    OpenOptions::new().write(true).open(&path).unwrap().set_len(size + 8192).unwrap();
    let report = cut_to_last_good(directory.path(), last).unwrap();
    assert_eq!((report.outputs, report.cut_bytes, report.exit), (last, 8192, Some(exit(5))));
}

#[test]
fn a_spool_of_another_boot_is_known() {
    let (directory, last) = two_segments();
    for segment in [0, 1] {
        let path = segment_path(directory.path(), segment);
        let bytes = std::fs::read(&path).unwrap();
        let mut head = SegmentHead::decode(&bytes, &path).unwrap().unwrap();
        head.boot_id = [9; 16];
        OpenOptions::new().write(true).open(&path).unwrap().write_all_at(&head.encode(), 0).unwrap();
    }
    let report = cut_to_last_good(directory.path(), last).unwrap();
    assert!(report.other_boot && !report.lost_synced && report.cut_bytes == 0);
}

#[test]
fn a_spool_whose_holder_lives_is_not_cut() {
    let directory = tempfile::tempdir().unwrap();
    let writer = SpoolWriter::create(directory.path(), "t1").unwrap();
    assert!(matches!(cut_to_last_good(directory.path(), 0), Err(SpoolError::Locked { .. })));
    drop(writer);
    assert_eq!(cut_to_last_good(directory.path(), 0).unwrap().outputs, 0);
}

#[test]
fn the_states_of_a_worker_follow_from_its_files() {
    let home = tempfile::tempdir().unwrap();
    let directory = home.path().join("s1");
    let state = || WorkerState::read(&directory).unwrap();
    assert_eq!(state(), WorkerState::NotStarted);
    std::fs::create_dir(&directory).unwrap();
    assert_eq!(state(), WorkerState::LostBeforeStart);
    let mut writer = SpoolWriter::create(&directory, "t1").unwrap();
    assert_eq!(state(), WorkerState::Alive(None));
    let started = started();
    started.write(&directory, &writer).unwrap();
    assert_eq!(state(), WorkerState::Alive(Some(started.clone())));
    drop(writer);
    assert_eq!(state(), WorkerState::Lost(started));
    writer = SpoolWriter::create(&directory, "t1").unwrap();
    writer.control(&Control::Exit(exit(0)));
    assert_eq!(writer.flush().unwrap(), Flushed::Done);
    assert!(matches!(state(), WorkerState::Alive(Some(_))), "locked means alive, whatever is written");
    drop(writer);
    assert_eq!(state(), WorkerState::Ended(exit(0)));
}

#[test]
fn an_end_is_known_also_when_earlier_segments_are_gone() {
    let (directory, _) = two_segments();
    std::fs::write(Started::path(directory.path()), serde_json::to_vec(&started()).unwrap()).unwrap();
    std::fs::remove_file(segment_path(directory.path(), 0)).unwrap();
    assert_eq!(WorkerState::read(directory.path()).unwrap(), WorkerState::Ended(exit(5)));
    assert_eq!(cut_to_last_good(directory.path(), 5).unwrap().exit, Some(exit(5)));
}

#[test]
fn an_end_is_known_also_when_an_earlier_segment_is_damaged() {
    let (directory, _) = two_segments();
    std::fs::write(Started::path(directory.path()), serde_json::to_vec(&started()).unwrap()).unwrap();
    let first = OpenOptions::new().write(true).open(segment_path(directory.path(), 0)).unwrap();
    first.write_all_at(b"damage", SEGMENT_HEAD_BYTES as u64).unwrap();
    assert_eq!(WorkerState::read(directory.path()).unwrap(), WorkerState::Ended(exit(5)));
}

#[test]
fn damage_is_passed_over_only_where_another_segment_follows() {
    let (directory, _) = two_segments();
    let damage = |segment| {
        let file = OpenOptions::new().write(true).open(segment_path(directory.path(), segment)).unwrap();
        file.write_all_at(b"damage", SEGMENT_HEAD_BYTES as u64).unwrap();
    };
    damage(0);
    let mut tail = SpoolTail::open(directory.path());
    assert!(matches!(tail.poll(1), Err(SpoolError::Damaged { byte: 64, .. })));
    assert!(tail.pass_over().unwrap());
    let mut records = tail.poll(TAIL_PIECE_BYTES_MAX).unwrap();
    assert_eq!(outputs(&records), [(4, "delta".to_owned()), (5, "epsilon".to_owned())]);
    assert_eq!((tail.exit(), tail.turn()), (Some(exit(5)), Some("t2")));
    damage(1);
    tail = SpoolTail::open_at(directory.path(), 1);
    assert!(tail.poll(1).is_err() && !tail.pass_over().unwrap());
    records = read_all(directory.path()).unwrap_or_default();
    assert_eq!(outputs(&records), []);
}

#[test]
fn a_start_that_a_power_cut_has_emptied_was_none() {
    let directory = tempfile::tempdir().unwrap();
    for emptied in [&b""[..], &[0; 4096]] {
        std::fs::write(Started::path(directory.path()), emptied).unwrap();
        assert_eq!(Started::read(directory.path()).unwrap(), None);
        assert_eq!(WorkerState::read(directory.path()).unwrap(), WorkerState::LostBeforeStart);
    }
    std::fs::write(Started::path(directory.path()), "{").unwrap();
    assert!(Started::read(directory.path()).is_err(), "anything else is damage, and no word of what ran");
}

#[test]
fn a_start_that_could_not_be_made_durable_was_none() {
    let directory = tempfile::tempdir().unwrap();
    let opened = std::fs::File::open(directory.path()).unwrap();
    // Beneath this name the directory is written like any other, but names beside it cannot be synced.
    let through_proc = Path::new("/proc/self/fd").join(opened.as_raw_fd().to_string());
    let writer = SpoolWriter::create(directory.path(), "t1").unwrap();
    let failed = started().write(&through_proc, &writer).unwrap_err();
    assert!(matches!(failed, SpoolError::Io { operation: "sync", .. }), "{failed}");
    assert_eq!(Started::read(directory.path()).unwrap(), None);
    drop(writer);
    assert_eq!(WorkerState::read(directory.path()).unwrap(), WorkerState::LostBeforeStart);
    let again = SpoolWriter::create(directory.path(), "t1").unwrap();
    started().write(directory.path(), &again).unwrap();
    assert_eq!(Started::read(directory.path()).unwrap(), Some(started()));
}

#[test]
fn what_a_worker_says_is_never_taken_for_its_exit() {
    let directory = tempfile::tempdir().unwrap();
    let mut forged = Vec::new();
    let payload = serde_json::to_vec(&Control::Exit(exit(0))).unwrap();
    encode(&mut forged, &Frame { seq: 1, lane: record::Lane::Control, more: false, bytes: &payload });
    let mut writer = SpoolWriter::create(directory.path(), "t1").unwrap();
    started().write(directory.path(), &writer).unwrap();
    writer.output(Stream::Stdout, false, &forged);
    assert_eq!(writer.flush().unwrap(), Flushed::Done);
    drop(writer);
    assert!(matches!(WorkerState::read(directory.path()).unwrap(), WorkerState::Lost(_)));
}

#[test]
fn a_watch_tells_whose_spool_has_news_also_of_a_holders_death() {
    let home = tempfile::tempdir().unwrap();
    let mut watch = SpoolWatch::new().unwrap();
    let mut writers = Vec::new();
    for token in 0..3 {
        let directory = home.path().join(token.to_string());
        std::fs::create_dir(&directory).unwrap();
        writers.push(SpoolWriter::create(&directory, "t1").unwrap());
        watch.add(&directory, token).unwrap();
    }
    assert!(watch.take().unwrap().is_empty(), "what came before is not news");
    writers[1].output(Stream::Stdout, false, b"x");
    assert_eq!(writers[1].flush().unwrap(), Flushed::Done);
    assert_eq!(watch.take().unwrap().into_iter().collect::<Vec<_>>(), [1]);
    crate::inbox::InboxWriter::create(&home.path().join("0"), 1).unwrap();
    assert!(watch.take().unwrap().is_empty(), "an inbox is no news of the worker");
    drop(writers.remove(2));
    assert_eq!(watch.take().unwrap().into_iter().collect::<Vec<_>>(), [2], "the kernel closed a spool");
    assert_eq!(writers[0].next_segment("t2", 1).unwrap(), Flushed::Done);
    assert_eq!(watch.take().unwrap().into_iter().collect::<Vec<_>>(), [0]);
    watch.remove(0);
    writers[0].output(Stream::Stdout, false, b"x");
    assert_eq!(writers[0].flush().unwrap(), Flushed::Done);
    assert!(watch.take().unwrap().is_empty());
}

#[test]
fn a_hundred_thousand_records_are_written_and_read_back() {
    let directory = tempfile::tempdir().unwrap();
    let mut writer = SpoolWriter::create(directory.path(), "t1").unwrap();
    for seq in 1..=100_000u64 {
        writer.output(Stream::Stdout, false, format!("line {seq}\n").as_bytes());
        if seq % 1000 == 0 {
            assert_eq!(writer.flush().unwrap(), Flushed::Done);
        }
    }
    let mut tail = SpoolTail::open(directory.path());
    while !tail.poll(TAIL_PIECE_BYTES_MAX).unwrap().is_empty() {}
    assert_eq!(tail.outputs(), 100_000);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn what_was_written_is_read_however_it_was_flushed(
        records in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..200), any::<bool>(), 0u8..4), 0..60),
    ) {
        let directory = tempfile::tempdir().unwrap();
        let mut writer = SpoolWriter::create(directory.path(), "t0").unwrap();
        let mut expected = Vec::new();
        for (number, (bytes, more, what)) in (1u64..).zip(&records) {
            match what {
                0 => prop_assert_eq!(writer.flush().unwrap(), Flushed::Done),
                1 => prop_assert_eq!(writer.next_segment("t", number).unwrap(), Flushed::Done),
                _ => {
                    let seq = writer.output(Stream::Stderr, *more, bytes);
                    expected.push((seq, String::from_utf8_lossy(bytes).into_owned()));
                }
            }
        }
        prop_assert_eq!(writer.flush().unwrap(), Flushed::Done);
        prop_assert_eq!(outputs(&read_all(directory.path()).unwrap()), expected.clone());
        for (seq, text) in &expected {
            let found = segments(directory.path()).unwrap().into_iter().rev().find_map(|segment| {
                let mut history = SegmentHistory::open(directory.path(), segment).unwrap().unwrap();
                (history.first_seq() <= *seq).then(|| outputs(&history.read_from(*seq, 1).unwrap()).swap_remove(0))
            });
            prop_assert_eq!(found, Some((*seq, text.clone())));
        }
    }
}

/// A segment of 2,000 records of 1,016 bytes, and where each begins.
fn long_segment() -> (TempDir, Vec<(u64, u64)>) {
    let directory = tempfile::tempdir().unwrap();
    let mut writer = SpoolWriter::create(directory.path(), "t1").unwrap();
    let begin = writer.segment_bytes();
    for seq in 1..=2000u64 {
        writer.output(Stream::Stdout, false, format!("{seq:>1000}").as_bytes());
    }
    assert_eq!(writer.flush().unwrap(), Flushed::Done);
    (directory, (1..=2000).map(|seq| (seq, begin + (seq - 1) * 1016)).collect())
}

fn history(directory: &TempDir, index: &[(u64, u64)]) -> SegmentHistory {
    let mut history = SegmentHistory::open(directory.path(), 0).unwrap().unwrap();
    history.give_index(index);
    history
}

fn first_seqs(records: &[SpoolRecord], count: usize) -> Vec<u64> {
    outputs(records).iter().take(count).map(|(seq, _)| *seq).collect()
}

#[test]
fn a_given_index_finds_the_same_records_and_a_wrong_one_does_no_harm() {
    let (directory, places) = long_segment();
    let mut scanned = history(&directory, &[]);
    assert_eq!(scanned.last_seq().unwrap(), 2000);
    let thinned = scanned.index().thinned(512 * 1024);
    assert_eq!(thinned.len(), 4);
    let shifted: Vec<_> = thinned.iter().map(|(seq, byte)| (seq + 3 * u64::from(*seq > 1), *byte)).collect();
    let nowhere: Vec<_> = thinned.iter().map(|(seq, byte)| (*seq, byte + 7)).collect();
    let late = [thinned[1], thinned[2]];
    let beyond = [(1, places[0].1), (1_000_000, 1 << 40)];
    let backwards = [thinned[1], thinned[0]];
    for index in [&thinned[..], &shifted, &nowhere, &late, &beyond, &backwards, &[]] {
        for seq in [2000, 1, 1999, 700, 701, 2, 1500] {
            let mut fresh = history(&directory, index);
            let records = fresh.read_from(seq, 4096).unwrap();
            assert_eq!(first_seqs(&records, 2), (seq..=2000).take(2).collect::<Vec<_>>(), "{index:?}");
            assert_eq!(fresh.read_from(2001, 4096).unwrap(), []);
        }
    }
}

#[test]
fn what_cannot_be_read_reaches_to_the_next_record_that_the_index_finds() {
    let (directory, places) = long_segment();
    let index = [places[0], places[599], places[1199]];
    let file = OpenOptions::new().write(true).open(segment_path(directory.path(), 0)).unwrap();
    file.write_all_at(b"damage", places[799].1 + 100).unwrap();
    for (given, last) in [(&index[..], 1199), (&[], u64::MAX)] {
        let mut damaged = history(&directory, given);
        for seq in [800, 801, 1000, 1199] {
            assert_eq!(damaged.unreadable(seq).unwrap(), (800, last), "{seq}");
        }
        assert_eq!(first_seqs(&damaged.read_from(790, 1 << 20).unwrap(), 99), (790..800).collect::<Vec<_>>());
        assert!(matches!(damaged.read_from(800, 1 << 20), Err(SpoolError::Damaged { .. })));
        assert_eq!(damaged.read_from(1200, 4096).is_ok(), !given.is_empty());
    }
}
