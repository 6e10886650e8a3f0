//! Where the last turns begin.

use super::*;

fn found(sample: &Sample, live: &Live<'_>, wanted: Wanted) -> (u64, u64, bool) {
    let found = History::new(sample.home.clone()).last_turns("c", live, wanted, &()).unwrap();
    (found.after, found.end, found.more)
}

fn wanted(end: u64, turns: usize) -> Wanted {
    Wanted { end, turns, max_events: u64::MAX, max_bytes: u64::MAX, waiting: Vec::new() }
}

#[test]
fn turns_are_counted_from_the_end_over_files_memory_and_the_open_one() {
    let sample = Sample::new();
    let spans = four_turns(&sample);
    let live = live(&spans[2..3], Some(&spans[3]), 10);
    for (turns, after, more) in [(1, 39, true), (2, 26, true), (3, 13, true), (4, 0, false), (9, 0, false)] {
        assert_eq!(found(&sample, &live, wanted(51, turns)), (after, 51, more), "{turns}");
    }
    assert_eq!(found(&sample, &live, wanted(39, 1)), (26, 39, true), "before a turn");
    assert_eq!(found(&sample, &live, wanted(30, 1)), (26, 30, true), "within one: its beginning");
    assert_eq!(found(&sample, &live, wanted(0, 1)), (0, 0, false), "nothing lies before");
    let empty = Live { unfiled: &[], open: None, place: TurnPlace::default(), index: &[], top: 0 };
    assert_eq!(found(&sample, &empty, wanted(0, 1)), (0, 0, false));
}

#[test]
fn the_bounds_end_before_a_turn_that_is_too_much_and_one_is_given_all_the_same() {
    let sample = Sample::new();
    let spans = four_turns(&sample);
    let live = live(&spans[2..3], Some(&spans[3]), 10);
    let events = |max_events| Wanted { max_events, ..wanted(51, 9) };
    assert_eq!(found(&sample, &live, events(1)).0, 39);
    assert_eq!(found(&sample, &live, events(24)).0, 39);
    assert_eq!(found(&sample, &live, events(25)).0, 26, "12 and 13");
    let bytes = |max_bytes| Wanted { max_bytes, ..wanted(51, 9) };
    assert_eq!(found(&sample, &live, bytes(1)).0, 39);
    let one = sample.home.worker("c-3").join("spool").metadata().map_or(0, |found| found.len());
    assert!(one > 0, "a spool of some bytes");
    assert_eq!(found(&sample, &live, bytes(2 * one)).0, 26);
}

#[test]
fn what_waits_is_shown_from_where_it_was_queued() {
    let sample = Sample::new();
    let spans = four_turns(&sample);
    let live = live(&spans[2..3], Some(&spans[3]), 10);
    let waiting = |turn: &str| Wanted { waiting: vec![turn.into()], max_events: 1, ..wanted(51, 1) };
    assert_eq!(found(&sample, &live, waiting("t5")).0, 39, "queued in the running one");
    assert_eq!(found(&sample, &live, waiting("t3")).0, 13, "queued in the second");
    assert_eq!(found(&sample, &live, waiting("t99")), (0, 51, false), "as far back as that can be");
}

#[test]
fn what_went_for_its_size_is_where_a_conversation_begins_and_damage_is_passed() {
    let sample = Sample::new();
    let spans =
        [sample.turn("c", 1, 1, 10, 8), sample.turn("c", 14, 2, 10, 8), sample.turn("c", 27, 3, 10, 8)];
    for span in &spans {
        file(&sample.home, span, 1, &Unfenced).unwrap();
    }
    let filed = Live { unfiled: &[], open: None, place: TurnPlace::default(), index: &[], top: 39 };
    assert_eq!(found(&sample, &filed, wanted(39, 9)), (26, 39, false));
    assert_eq!(found(&sample, &filed, wanted(26, 9)), (26, 26, false), "nothing is to be had before");

    let sample = Sample::new();
    let spans = four_turns(&sample);
    let live = live(&spans[2..3], Some(&spans[3]), 10);
    let file = sample.home.conversation("c").join(crate::filed::file_name(14));
    fs::write(file, b"{").unwrap();
    assert_eq!(found(&sample, &live, wanted(51, 3)), (13, 51, true));
    assert_eq!(found(&sample, &live, wanted(51, 4)), (0, 51, false));
}
