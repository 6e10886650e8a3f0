use super::*;
use crate::io::filing::file;
use crate::io::sample::{Sample, Unfenced, seal};
use crate::span::{Place, Span};
use serde_json::Value;
use std::fs;

const EVERYTHING: Asked = Asked { after: 0, max_bytes: usize::MAX, limit: usize::MAX };

fn outputs_only(outputs: u64) -> TurnPlace {
    TurnPlace { outputs, ..TurnPlace::default() }
}

fn live<'a>(unfiled: &'a [Span], open: Option<&'a Span>, outputs: u64) -> Live<'a> {
    let sealed = unfiled.iter().filter_map(Span::total).max().unwrap_or(0);
    let top = open.map_or(sealed, |span| span.last_offset(outputs));
    Live { unfiled, open, place: outputs_only(outputs), index: &[], top }
}

fn read(sample: &Sample, live: &Live<'_>, asked: Asked) -> Vec<Publication> {
    History::new(sample.home.clone()).read("c", live, asked, &()).unwrap()
}

fn parsed(publication: &Publication) -> Value {
    serde_json::from_slice(&publication.data).unwrap()
}

/// What a span must be read as.
fn expected(span: &Span, offset: u64, bytes: usize) -> Value {
    match span.locate(offset).unwrap() {
        Place::Event(index) => span.events[index].data.clone(),
        Place::Output(seq) => serde_json::json!({
            "type": "turn.output", "turn": span.turn, "stream": "stdout", "text": format!("{seq:>bytes$}")
        }),
    }
}

fn check(spans: &[&Span], publications: &[Publication], from: u64, bytes: usize) {
    for (offset, publication) in (from..).zip(publications) {
        assert_eq!(publication.offset, offset);
        let span = spans.iter().rfind(|span| span.first <= offset).unwrap();
        assert_eq!(parsed(publication), expected(span, offset, bytes), "offset {offset}");
    }
}

/// Two filed turns, one sealed and one open, of 10 records each: 13, 13, 13 and 12 offsets.
fn four_turns(sample: &Sample) -> [Span; 4] {
    let spans = [
        sample.turn("c", 1, 1, 10, 8),
        sample.turn("c", 14, 2, 10, 8),
        sample.turn("c", 27, 3, 10, 8),
        sample.open_turn("c", 40, 4, 10, 8),
    ];
    for span in &spans[..2] {
        file(&sample.home, span, u64::MAX, &Unfenced).unwrap();
    }
    spans
}

#[test]
fn every_offset_reads_the_same_from_files_memory_and_spool() {
    let sample = Sample::new();
    let spans = four_turns(&sample);
    let all: Vec<&Span> = spans.iter().collect();
    let live = live(&spans[2..3], Some(&spans[3]), 10);
    assert_eq!(live.top, 51);
    let mut history = History::new(sample.home.clone());
    for after in 0..=51 {
        for (max_bytes, limit) in [(usize::MAX, usize::MAX), (1, 100), (300, 100), (usize::MAX, 3)] {
            let asked = Asked { after, max_bytes, limit };
            let publications = history.read("c", &live, asked, &()).unwrap();
            check(&all, &publications, after + 1, 8);
            let most = (51 - after) as usize;
            let want = match (max_bytes, limit) {
                (1, _) => most.min(1),
                (300, _) => publications.len(),
                (_, limit) => most.min(limit),
            };
            assert_eq!(publications.len(), want, "after {after}, {max_bytes} bytes, {limit}");
            let bytes: usize = publications.iter().map(|one| one.data.len()).sum();
            assert!(bytes <= max_bytes || publications.len() == 1);
            assert_eq!(publications.is_empty(), most == 0);
        }
    }
    assert!(history.read("c", &live, Asked { after: u64::MAX, ..EVERYTHING }, &()).unwrap().is_empty());
    assert!(history.read("c", &live, Asked { limit: 0, ..EVERYTHING }, &()).unwrap().is_empty());
}

#[test]
fn nothing_above_the_visible_top_is_given_whatever_the_spool_has() {
    let sample = Sample::new();
    let spans = four_turns(&sample);
    let hidden = Live { top: 46, ..live(&spans[2..3], Some(&spans[3]), 10) };
    assert_eq!(read(&sample, &hidden, EVERYTHING).last().unwrap().offset, 46);
    let unknown = live(&spans[2..3], Some(&spans[3]), 7);
    assert_eq!(read(&sample, &unknown, EVERYTHING).last().unwrap().offset, unknown.top);
    assert_eq!(unknown.top, 48);
}

#[test]
fn filing_changes_nothing_that_is_read() {
    let sample = Sample::new();
    let spans = [sample.turn("c", 1, 1, 30, 8), sample.turn("c", 34, 2, 30, 8)];
    let before = read(&sample, &live(&spans, None, 0), EVERYTHING);
    assert_eq!(before.len(), 66);
    for span in &spans {
        file(&sample.home, span, u64::MAX, &Unfenced).unwrap();
    }
    let filed = Live { unfiled: &[], open: None, place: TurnPlace::default(), index: &[], top: 66 };
    assert_eq!(read(&sample, &filed, EVERYTHING), before);
    assert_eq!(read(&sample, &live(&spans[1..], None, 0), EVERYTHING), before);
}

#[test]
fn an_open_spool_is_read_on_as_it_grows() {
    let sample = Sample::new();
    let mut spool = sample.spool("w");
    let mut span = Span::begin("c", "e", 1, "t1", crate::event::turn_started("t1", "x", 1));
    span.worker = Some("w".into());
    let mut history = History::new(sample.home.clone());
    let mut after = 0;
    for seq in 1..=100u64 {
        spool.output(holdfast_shared::spool::Stream::Stdout, false, format!("{seq:>8}").as_bytes());
        let _ = spool.flush().unwrap();
        let publications =
            history.read("c", &live(&[], Some(&span), seq), Asked { after, ..EVERYTHING }, &()).unwrap();
        check(&[&span], &publications, after + 1, 8);
        after = publications.last().unwrap().offset;
        assert_eq!(after, 1 + seq);
    }
    seal(&mut span, 100);
    let last =
        history.read("c", &live(&[span.clone()], None, 0), Asked { after, ..EVERYTHING }, &()).unwrap();
    check(&[&span], &last, 102, 8);
    assert_eq!(last.len(), 1);
}

#[test]
fn any_offset_of_a_long_turn_is_a_piece_away() {
    let sample = Sample::new();
    let span = sample.turn("c", 1, 1, 100_000, 40);
    file(&sample.home, &span, u64::MAX, &Unfenced).unwrap();
    let live = Live { unfiled: &[], open: None, place: TurnPlace::default(), index: &[], top: 100_003 };
    let mut history = History::new(sample.home.clone());
    for after in [99_999, 0, 50_000, 49_999, 100_002, 77_777, 3] {
        let asked = Asked { after, max_bytes: 256 * 1024, limit: 10_000 };
        let publications = history.read("c", &live, asked, &()).unwrap();
        check(&[&span], &publications, after + 1, 40);
        assert!(publications.len() as u64 >= 1_000.min(100_003 - after));
    }
    let mut after = 0;
    while after < 100_003 {
        let asked = Asked { after, max_bytes: 256 * 1024, limit: 10_000 };
        let publications = history.read("c", &live, asked, &()).unwrap();
        assert_eq!(publications.first().unwrap().offset, after + 1);
        after = publications.last().unwrap().offset;
    }
}

/// Reads from every offset and checks that it is the end of what is read from the beginning.
fn the_same_from_everywhere(sample: &Sample, live: &Live<'_>) -> Vec<Publication> {
    let all = read(sample, live, EVERYTHING);
    assert_eq!(all.len() as u64, live.top, "every offset has its event");
    for after in 0..live.top {
        assert_eq!(read(sample, live, Asked { after, ..EVERYTHING }), all[after as usize..], "after {after}");
    }
    all
}

fn truncations(publications: &[Publication]) -> Vec<(u64, Value)> {
    let events = publications.iter().map(|one| (one.offset, parsed(one)));
    events.filter(|(_, event)| event["type"] == "truncated").collect()
}

#[test]
fn what_went_for_its_size_is_told() {
    let sample = Sample::new();
    let spans =
        [sample.turn("c", 1, 1, 10, 8), sample.turn("c", 14, 2, 10, 8), sample.turn("c", 27, 3, 10, 8)];
    for span in &spans {
        file(&sample.home, span, 1, &Unfenced).unwrap();
    }
    let all = the_same_from_everywhere(
        &sample,
        &Live { unfiled: &[], open: None, place: TurnPlace::default(), index: &[], top: 39 },
    );
    assert_eq!(truncations(&all), [(26, event::truncated("t2", 1, 26, REASON_LIMIT))]);
    check(&[&spans[2]], &all[26..], 27, 8);
}

#[test]
fn a_reader_that_is_told_of_filings_reads_what_a_new_one_reads() {
    let sample = Sample::new();
    let mut told = History::new(sample.home.clone());
    let each = 1_000;
    for number in 1..=8u64 {
        let first = 1 + 13 * (number - 1);
        let span = sample.turn("c", first, number, 10, 8);
        file(&sample.home, &span, 3 * each, &Unfenced).unwrap();
        told.filed("c", first);
        let live =
            Live { unfiled: &[], open: None, place: TurnPlace::default(), index: &[], top: first + 12 };
        for after in (0..live.top).step_by(5) {
            let asked = Asked { after, ..EVERYTHING };
            let wanted = History::new(sample.home.clone()).read("c", &live, asked, &()).unwrap();
            assert_eq!(told.read("c", &live, asked, &()).unwrap(), wanted, "turn {number} after {after}");
        }
    }
    let listed = told.listings.get("c").unwrap();
    assert_eq!(**listed, filing::list(&sample.home, "c").unwrap());
    assert!(listed.len() < 8, "some went");
}

#[test]
fn a_broken_or_missing_file_is_told_and_the_rest_is_read() {
    for broken in [true, false] {
        let sample = Sample::new();
        let spans = four_turns(&sample);
        let path = sample.home.conversation("c").join(crate::filed::file_name(14));
        match broken {
            true => fs::write(&path, b"{}").unwrap(),
            false => fs::remove_file(&path).unwrap(),
        }
        let all = the_same_from_everywhere(&sample, &live(&spans[2..3], Some(&spans[3]), 10));
        assert_eq!(truncations(&all), [(26, event::truncated("", 14, 26, REASON_DAMAGED))]);
        check(&[&spans[0]], &all[..13], 1, 8);
        check(&[&spans[2], &spans[3]], &all[26..], 27, 8);
    }
}

#[test]
fn a_damaged_spool_is_told_up_to_the_next_event() {
    let sample = Sample::new();
    let spans = four_turns(&sample);
    let spool = sample.home.worker("c-1").join("spool");
    let mut bytes = fs::read(&spool).unwrap();
    // In the third of ten records of 24 bytes.
    let at = bytes.len() - 7 * 24 - 4;
    bytes[at] ^= 1;
    fs::write(&spool, bytes).unwrap();
    fs::remove_dir_all(sample.home.worker("c-2")).unwrap();
    let all = the_same_from_everywhere(&sample, &live(&spans[2..3], Some(&spans[3]), 10));
    let told = [("t1", 4, 6), ("t1", 8, 12), ("t2", 15, 19), ("t2", 21, 25)];
    let told = told.map(|(turn, first, last)| (last, event::truncated(turn, first, last, REASON_DAMAGED)));
    assert_eq!(truncations(&all), told);
    check(&[&spans[0]], &all[..3], 1, 8);
    check(&[&spans[0]], &all[12..13], 13, 8);
}

#[test]
fn a_damage_in_a_filed_spool_costs_what_lies_before_the_next_indexed_record() {
    let sample = Sample::new();
    let span = sample.turn("c", 1, 1, 1_500, 1_000);
    file(&sample.home, &span, u64::MAX, &Unfenced).unwrap();
    let spool = sample.home.worker("c-1").join("spool");
    let mut bytes = fs::read(&spool).unwrap();
    let middle = bytes.len() / 10;
    bytes[middle] ^= 1;
    fs::write(&spool, bytes).unwrap();
    let live = Live {
        unfiled: &[],
        open: None,
        place: TurnPlace::default(),
        index: &[],
        top: span.total().unwrap(),
    };
    let all = read(&sample, &live, EVERYTHING);
    assert_eq!(all.len() as u64, live.top);
    let told = truncations(&all);
    let (first, last) = (told[0].1["first"].as_u64().unwrap(), told[0].1["last"].as_u64().unwrap());
    assert!(told.len() == 1 && first > 100 && last < 600, "{told:?}");
    check(&[&span], &all[..first as usize - 1], 1, 1_000);
    check(&[&span], &all[last as usize..], last + 1, 1_000);
    for after in [0, first - 2, first - 1, first, last - 1, last, 1_400] {
        assert_eq!(
            read(&sample, &live, Asked { after, ..EVERYTHING }),
            all[after as usize..],
            "after {after}"
        );
    }
}

#[test]
fn a_wrong_index_changes_nothing() {
    struct Wrong(u64);
    impl SpanIndex for Wrong {
        fn floor(&self, _: &str, _: u64) -> Option<u64> {
            Some(self.0)
        }
    }
    let sample = Sample::new();
    let spans = four_turns(&sample);
    let live = live(&spans[2..3], Some(&spans[3]), 10);
    let right = read(&sample, &live, EVERYTHING);
    for floor in [0, 1, 5, 14, 27, u64::MAX] {
        let mut history = History::new(sample.home.clone());
        assert_eq!(history.read("c", &live, EVERYTHING, &Wrong(floor)).unwrap(), right);
    }
}

/// A turn by the gaps between its events; the last one is before the seal, or behind the last event.
fn turn_of(sample: &Sample, first: u64, number: usize, gaps: &[u64], sealed: bool) -> (Span, u64) {
    let (turn, worker) = (format!("t{number}"), format!("w{number}"));
    let outputs: u64 = gaps.iter().sum();
    sample.worker(&worker, (1..=outputs).map(|seq| format!("{seq:>3}")));
    let mut span = Span::begin("c", "e", first, &turn, crate::event::turn_started(&turn, "x", 1));
    span.worker = Some(worker);
    let mut after = 0;
    for gap in &gaps[..gaps.len().saturating_sub(1)] {
        after += gap;
        span.place(after, crate::event::turn_queued("q", &after.to_string(), 2)).unwrap();
    }
    if sealed {
        seal(&mut span, outputs);
    }
    (span, outputs)
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(48))]

    #[test]
    fn any_conversation_reads_as_the_merge_in_any_pieces(
        turns in proptest::collection::vec(proptest::collection::vec(0..5u64, 1..5), 1..6),
        filed in 0..6usize, open: bool, pieces in proptest::collection::vec((1..400usize, 1..7usize), 1..6),
    ) {
        let sample = Sample::new();
        let (mut spans, mut first, mut last_outputs) = (Vec::new(), 1, 0);
        for (number, gaps) in turns.iter().enumerate() {
            let sealed = !(open && number + 1 == turns.len());
            let (span, outputs) = turn_of(&sample, first, number, gaps, sealed);
            first = span.last_offset(outputs) + 1;
            last_outputs = outputs;
            spans.push(span);
        }
        let sealed = spans.len() - usize::from(open);
        let filed = filed.min(sealed);
        for span in &spans[..filed] {
            file(&sample.home, span, u64::MAX, &Unfenced).unwrap();
        }
        let all: Vec<&Span> = spans.iter().collect();
        let live = live(&spans[filed..sealed], spans.get(sealed), last_outputs);
        let live = Live { top: first - 1, ..live };
        let mut history = History::new(sample.home.clone());
        let mut after = 0;
        for (max_bytes, limit) in pieces.into_iter().cycle() {
            let publications = history.read("c", &live, Asked { after, max_bytes, limit }, &()).unwrap();
            check(&all, &publications, after + 1, 3);
            proptest::prop_assert!(publications.len() <= limit);
            let Some(last) = publications.last() else { break };
            after = last.offset;
        }
        proptest::prop_assert_eq!(after, live.top);
    }
}

mod agents;
mod last;
