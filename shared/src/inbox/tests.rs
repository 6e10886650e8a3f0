//! Writer and reader together, on real files.

use super::*;
use std::os::unix::fs::FileExt;

fn input(text: &str) -> Message {
    Message::Input { bytes: text.as_bytes().to_vec() }
}

fn take(reader: &mut InboxReader) -> Option<(u64, Kind, Vec<u8>)> {
    let message = reader.peek().unwrap()?;
    let mut bytes = vec![0; message.length];
    assert_eq!(reader.payload(&message).read(0, &mut bytes).unwrap(), message.length);
    reader.advance(&message);
    Some((message.number, message.kind.unwrap(), bytes))
}

#[test]
fn messages_are_read_in_order_as_they_come() {
    let directory = tempfile::tempdir().unwrap();
    let mut writer = InboxWriter::create(directory.path(), 3).unwrap();
    let mut reader = InboxReader::open(directory.path(), 3).unwrap();
    assert_eq!(take(&mut reader), None);
    let messages = [
        input("one"),
        Message::TurnMark { turn: "t2".to_owned() },
        Message::CloseStdin,
        Message::Cancel,
        Message::Kill,
    ];
    for (number, message) in (1..).zip(&messages) {
        writer.send(number, message).unwrap();
        assert_eq!(take(&mut reader), Some((number, message.kind(), message.payload().to_vec())));
    }
    assert_eq!((take(&mut reader), writer.last()), (None, 5));
}

#[test]
fn a_message_that_is_not_whole_is_not_there() {
    let directory = tempfile::tempdir().unwrap();
    let mut writer = InboxWriter::create(directory.path(), 1).unwrap();
    let path = inbox_path(directory.path(), 1);
    let empty = std::fs::metadata(&path).unwrap().len();
    writer.send(1, &input("hello")).unwrap();
    let whole = std::fs::read(&path).unwrap();
    let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    let reader = InboxReader::open(directory.path(), 1).unwrap();
    for length in empty..whole.len() as u64 {
        file.set_len(length).unwrap();
        assert_eq!(reader.peek().unwrap(), None, "{length} bytes");
    }
    file.write_all_at(&whole, 0).unwrap();
    for at in empty as usize..whole.len() {
        let mut bad = whole.clone();
        bad[at] ^= 4;
        file.write_all_at(&bad, 0).unwrap();
        assert_eq!(reader.peek().unwrap(), None, "byte {at}");
    }
    file.write_all_at(&whole, 0).unwrap();
    assert!(reader.peek().unwrap().is_some());
}

#[test]
fn looking_ahead_gives_each_once_and_moves_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let mut writer = InboxWriter::create(directory.path(), 1).unwrap();
    let mut reader = InboxReader::open(directory.path(), 1).unwrap();
    for number in 1..=2 {
        writer.send(number, &input("x")).unwrap();
    }
    let mut ahead = || reader.look_ahead().unwrap().map(|message| message.number);
    assert_eq!([ahead(), ahead(), ahead()], [Some(1), Some(2), None]);
    writer.send(3, &Message::Kill).unwrap();
    assert_eq!([ahead(), ahead()], [Some(3), None]);
    assert_eq!(take(&mut reader).map(|(number, ..)| number), Some(1));
}

#[test]
fn the_highest_epoch_is_followed_and_lower_ones_cannot_begin_any_more() {
    let directory = tempfile::tempdir().unwrap();
    assert_eq!(highest_epoch(directory.path()).unwrap(), None);
    for epoch in [9, 10] {
        InboxWriter::create(directory.path(), epoch).unwrap();
        assert_eq!(highest_epoch(directory.path()).unwrap(), Some(epoch));
    }
    assert!(!inbox_path(directory.path(), 9).exists(), "nobody follows it any more");
    std::fs::write(directory.path().join("inbox.77.tmp"), b"").unwrap();
    assert_eq!(highest_epoch(directory.path()).unwrap(), Some(10));
    assert!(matches!(InboxWriter::create(directory.path(), 9), Err(InboxError::Overtaken { epoch: 10, .. })));
    InboxWriter::create(directory.path(), 10).unwrap();
}

#[test]
fn what_was_consumed_takes_no_room_and_what_follows_is_read() {
    use std::os::unix::fs::MetadataExt;
    let directory = tempfile::tempdir().unwrap();
    let mut writer = InboxWriter::create(directory.path(), 1).unwrap();
    let mut reader = InboxReader::open(directory.path(), 1).unwrap();
    let large = Message::Input { bytes: vec![b'x'; 700 * 1024] };
    let blocks = || inbox_path(directory.path(), 1).metadata().unwrap().blocks() * 512;
    for number in 1..=40 {
        writer.send(number, &large).unwrap();
        let (taken, _, bytes) = take(&mut reader).unwrap();
        assert!(taken == number && bytes.iter().all(|byte| *byte == b'x'));
        writer.release(taken);
    }
    assert!(blocks() < 4 * 1024 * 1024, "{} of 28 MiB are kept", blocks());
    writer.send(41, &input("after")).unwrap();
    assert_eq!(take(&mut reader), Some((41, Kind::Input, b"after".to_vec())));
}

#[test]
fn numbers_rise_and_inputs_are_bounded() {
    let directory = tempfile::tempdir().unwrap();
    let mut writer = InboxWriter::create(directory.path(), 1).unwrap();
    writer.send(5, &input("x")).unwrap();
    assert!(matches!(writer.send(5, &input("y")), Err(InboxError::OutOfOrder { number: 5, last: 5, .. })));
    let long = Message::Input { bytes: vec![0; INPUT_BYTES_MAX + 1] };
    assert!(matches!(writer.send(6, &long), Err(InboxError::TooLong { number: 6, .. })));
    writer.send(6, &Message::Input { bytes: vec![0; INPUT_BYTES_MAX] }).unwrap();
}

#[test]
fn a_file_of_a_later_version_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(inbox_path(directory.path(), 1), [7; 64]).unwrap();
    assert!(matches!(InboxReader::open(directory.path(), 1), Err(InboxError::Version { .. })));
}
