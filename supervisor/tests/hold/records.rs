//! How output becomes records.

use super::support::{Held, shell, with_stdin};
use holdfast_shared::spool::{RECORD_BYTES_MAX, Stream};
use holdfast_shared::worker::OutputMode;

#[test]
fn bytes_that_are_no_text_are_recorded_as_they_are() {
    let whole = Held::start(&shell(r"printf '\xff\xfe\x00ok\xe2\x82'")).ended();
    assert_eq!(whole.bytes(Stream::Stdout), b"\xff\xfe\x00ok\xe2\x82");
}

#[test]
fn a_character_written_in_halves_is_one_records() {
    // Time itself is tested: the holder reads again 5 ms after a short record, so the pauses make records of their own.
    let line = r"printf 'a\xe2\x82'; sleep 0.1; printf '\xac'; sleep 0.1; printf 'z'";
    let whole = Held::start(&shell(line)).ended();
    assert_eq!(whole.text(Stream::Stdout), "a€z");
    for (bytes, _) in whole.pieces(Stream::Stdout) {
        assert!(std::str::from_utf8(&bytes).is_ok(), "{bytes:?}");
    }
}

#[test]
fn a_flood_of_multi_byte_text_is_cut_between_characters() {
    let whole = Held::start(&shell("yes '€€€😀é' | head -c 1500000")).ended();
    assert_eq!(whole.bytes(Stream::Stdout).len(), 1_500_000);
    let pieces = whole.pieces(Stream::Stdout);
    let (last, cut) = pieces.split_last().unwrap();
    assert!(
        cut.iter().all(|(bytes, _)| std::str::from_utf8(bytes).is_ok() && bytes.len() <= RECORD_BYTES_MAX)
    );
    assert!(last.0.len() <= RECORD_BYTES_MAX);
    assert!(pieces.len() < 400, "a flood comes in large records: {}", pieces.len());
}

#[test]
fn a_worker_that_writes_byte_by_byte_makes_few_events() {
    let line = "for i in {1..20000}; do printf x; done";
    let started = std::time::Instant::now();
    let whole = Held::start(&shell(line)).ended();
    assert_eq!(whole.bytes(Stream::Stdout).len(), 20_000);
    // One read per 5 ms, however long the worker took.
    let most = started.elapsed().as_millis() / 5 + 2;
    assert!((whole.pieces(Stream::Stdout).len() as u128) <= most);
}

#[test]
fn lines_are_records_and_a_long_one_comes_in_parts() {
    let mut order = with_stdin(
        "head -c 1048576 /dev/zero | tr '\\0' x; echo; echo short; printf rest; printf 'e\\nr' >&2",
    );
    order.mode = OutputMode::Lines;
    let whole = Held::start(&order).ended();
    let pieces = whole.pieces(Stream::Stdout);
    let parts = pieces.iter().position(|(_, more)| !more).unwrap();
    assert_eq!(parts, 64);
    assert!(pieces[..parts].iter().all(|(bytes, _)| bytes.len() == RECORD_BYTES_MAX));
    let rest: Vec<_> = pieces[parts..].iter().map(|(bytes, _)| String::from_utf8_lossy(bytes)).collect();
    assert_eq!(rest, ["\n", "short\n", "rest"]);
    assert_eq!(whole.text(Stream::Stderr), "e\nr");
}

#[test]
fn many_lines_at_once_are_each_a_record() {
    let mut order = with_stdin("seq 1 50000");
    order.mode = OutputMode::Lines;
    let whole = Held::start(&order).ended();
    let pieces = whole.pieces(Stream::Stdout);
    assert_eq!(pieces.len(), 50_000);
    assert!(
        pieces
            .iter()
            .enumerate()
            .all(|(at, (bytes, more))| !more && *bytes == format!("{}\n", at + 1).as_bytes())
    );
}
