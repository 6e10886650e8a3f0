//! Where the last turns begin.

use super::*;
use crate::io::history::last::PARSED_BYTES;

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

/// Filed turns of one event of a MiB each; their first offsets, and the last one.
fn long_turns(sample: &Sample, count: u64) -> (Vec<u64>, u64) {
    let (mut firsts, mut first) = (Vec::new(), 1);
    for number in 1..=count {
        let mut span = sample.open_turn("c", first, number, 4, 8);
        span.place(4, event::turn_queued("t99", &"x".repeat(1 << 20), 2)).unwrap();
        seal(&mut span, 4);
        file(&sample.home, &span, u64::MAX, &Unfenced).unwrap();
        firsts.push(first);
        first = span.total().unwrap() + 1;
    }
    (firsts, first - 1)
}

#[test]
fn no_answer_parses_without_bound_and_the_next_ones_go_on_to_the_beginning() {
    let sample = Sample::new();
    let (firsts, last) = long_turns(&sample, 10);
    let live = Live { unfiled: &[], open: None, place: TurnPlace::default(), index: &[], top: last };
    let at_once = usize::try_from(PARSED_BYTES >> 20).unwrap() - 1;
    let (mut end, mut answers) = (last, Vec::new());
    loop {
        // Not even what is owed to a prompt that waits goes further.
        let owed = Wanted { waiting: vec!["nobody queued it".into()], ..wanted(end, 99) };
        let (after, _, more) = found(&sample, &live, owed);
        let turns = firsts.iter().filter(|first| (after + 1..=end).contains(*first)).count();
        assert!((1..=at_once).contains(&turns), "{turns} turns of a MiB and a little");
        answers.push(turns);
        end = after;
        if !more {
            break;
        }
    }
    assert_eq!((answers.iter().sum::<usize>(), end), (10, 0), "{answers:?}");
}

#[test]
fn what_others_read_stays_parsed_while_turns_are_counted() {
    let sample = Sample::new();
    let count = PARSED_SPANS as u64 + 8;
    let mut first = 1;
    for number in 1..=count {
        let span = sample.turn("c", first, number, 2, 8);
        file(&sample.home, &span, u64::MAX, &Unfenced).unwrap();
        first = span.total().unwrap() + 1;
    }
    let live = Live { unfiled: &[], open: None, place: TurnPlace::default(), index: &[], top: first - 1 };
    let mut history = History::new(sample.home.clone());
    history.read("c", &live, Asked { limit: 1, ..EVERYTHING }, &()).unwrap();
    let turns = wanted(first - 1, usize::MAX);
    let found = history.last_turns("c", &live, turns, &()).unwrap();
    assert_eq!((found.after, found.more), (0, false));
    assert!(history.parsed.get(&("c".to_owned(), 1)).is_some());
    assert_eq!(history.parsed.len(), 2, "the one that was read, and the last");
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
