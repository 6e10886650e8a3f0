use super::*;
use proptest::prelude::*;
use serde_json::json;

fn seal(outputs: u64) -> Seal {
    Seal::new(StopReason::EndTurn, Some(0), 7, outputs)
}

/// The merge as a reader would do it by hand: behind each output record the events of that place.
fn merged(span: &Span, outputs: u64) -> Vec<Place> {
    let at = |place: u64| {
        let events = span.events.iter().enumerate();
        events.filter(move |(_, event)| event.after == place).map(|(index, _)| Place::Event(index))
    };
    let mut places: Vec<Place> = at(0).collect();
    for number in 1..=outputs {
        places.push(Place::Output(number));
        places.extend(at(number));
    }
    places
}

/// A span from the gaps between its events; the last gap is before the seal, or output behind the last event.
fn span(first: u64, gaps: &[u64], sealed: bool) -> (Span, u64) {
    let mut span = Span::begin("c", "e", first, "t1", json!(0));
    let mut after = 0;
    for (index, gap) in gaps.iter().enumerate() {
        after += gap;
        if index + 1 < gaps.len() {
            span.place(after, json!(index)).unwrap();
        }
    }
    if sealed {
        span.seal(json!("sealed"), seal(after)).unwrap();
    }
    (span, after)
}

proptest! {
    #[test]
    fn offsets_are_the_merge_without_a_gap(
        first in 1..1_000_000u64, gaps in prop::collection::vec(0..5u64, 0..12), sealed: bool,
    ) {
        let (span, outputs) = span(first, &gaps, sealed);
        prop_assert_eq!(span.check(), Ok(()));
        let places = merged(&span, outputs);
        prop_assert_eq!(span.last_offset(outputs), first + places.len() as u64 - 1);
        prop_assert_eq!(span.total(), sealed.then(|| span.last_offset(outputs)));
        for (offset, place) in (first..).zip(&places) {
            prop_assert_eq!(span.locate(offset), Some(*place));
            let back = match *place {
                Place::Event(index) => span.offset_of_event(index),
                Place::Output(number) => span.offset_of_output(number),
            };
            prop_assert_eq!(back, offset);
        }
        prop_assert_eq!(span.locate(first - 1), None);
        let mut stretched = Vec::new();
        while let Some(stretch) = span.stretch(first + stretched.len() as u64, outputs) {
            match stretch {
                Stretch::Event(index) => stretched.push(Place::Event(index)),
                Stretch::Outputs { first, last } => stretched.extend((first..=last).map(Place::Output)),
            }
        }
        prop_assert_eq!(stretched, places.clone());
        let behind = span.locate(first + places.len() as u64);
        prop_assert_eq!(behind, (!sealed).then_some(Place::Output(outputs + 1)));
    }

    #[test]
    fn a_later_event_moves_nothing_that_lies_before_it(
        gaps in prop::collection::vec(0..5u64, 1..8), more in 0..5u64,
    ) {
        let (mut span, outputs) = span(1, &gaps, false);
        let before = span.clone();
        let offset = span.place(outputs + more, json!("late")).unwrap();
        for offset in 1..offset {
            prop_assert_eq!(span.locate(offset), before.locate(offset));
        }
    }

    #[test]
    fn a_span_survives_its_own_text(gaps in prop::collection::vec(0..5u64, 0..8), sealed: bool) {
        let (span, _) = span(3, &gaps, sealed);
        let text = serde_json::to_vec(&span).unwrap();
        prop_assert_eq!(serde_json::from_slice::<Span>(&text).unwrap(), span);
    }
}

#[test]
fn what_breaks_the_order_is_refused_and_changes_nothing() {
    let mut span = Span::begin("c", "e", 1, "t1", json!(0));
    span.place(4, json!(1)).unwrap();
    let kept = span.clone();
    assert!(matches!(span.place(3, json!(2)), Err(Misplaced::Backwards { after: 3, last: 4, .. })));
    assert!(matches!(span.seal(json!(2), seal(3)), Err(Misplaced::Backwards { .. })));
    assert_eq!(span, kept);
    assert_eq!(span.seal(json!(2), seal(4)), Ok(7));
    assert!(matches!(span.place(9, json!(3)), Err(Misplaced::BehindSeal { .. })));
}

#[test]
fn what_a_file_says_is_checked() {
    let (good, _) = span(1, &[2, 3], true);
    let mut bad = good.clone();
    bad.first = 0;
    assert!(matches!(bad.check(), Err(Misplaced::NoBeginning { .. })));
    let mut bad = good.clone();
    bad.events[0].after = 1;
    assert!(matches!(bad.check(), Err(Misplaced::NoBeginning { .. })));
    let mut bad = good.clone();
    bad.events[1].after = 9;
    assert!(matches!(bad.check(), Err(Misplaced::Backwards { .. })));
    let mut bad = good.clone();
    bad.events[1].after = u64::MAX;
    assert!(matches!(bad.check(), Err(Misplaced::TooFar { .. })));
    let mut bad = good;
    bad.sealed = Some(seal(4));
    assert!(matches!(bad.check(), Err(Misplaced::BadSeal { outputs: 4, last: 5, .. })));
}
