use super::*;
use holdfast_shared::blessed::blessed;
use holdfast_shared::worker::ExitStatus;
use std::fmt::Write;

const PHASES: [Phase; 6] =
    [Phase::Starting, Phase::Warm, Phase::Waiting, Phase::Prompted, Phase::CancelWaiting, Phase::Cancelling];
const ENDINGS: [EndingFor; 7] = [
    EndingFor::Stop,
    EndingFor::Lru,
    EndingFor::CancelGrace,
    EndingFor::Silence,
    EndingFor::StartLimit,
    EndingFor::Handshake,
    EndingFor::Spoiled,
];

fn events() -> Vec<(String, Event, u32)> {
    let mut events: Vec<(String, Event, u32)> = [
        ("ready", Event::Ready),
        ("handshake failed", Event::HandshakeFailed),
        ("not ready in time", Event::StartOver),
        ("prompt answered", Event::Answered(StopReason::EndTurn)),
        ("nothing was given to it", Event::NotGiven),
        ("time to cancel over", Event::GraceOver),
        ("no sign of life", Event::Silent),
        ("spool damaged", Event::Spoiled),
        ("task not open", Event::Unwanted),
        ("least recently used", Event::LeastUsed),
    ]
    .into_iter()
    .map(|(name, event)| (name.to_owned(), event, 1))
    .collect();
    for (name, death) in [
        ("exited", Death::Itself),
        ("ended by its quota", Death::Quota),
        ("ended with the node", Death::NodeStopped),
        ("lost", Death::Lost),
        ("never started", Death::NeverStarted),
        ("refused", Death::Refused),
    ] {
        events.push((format!("{name}, try 1"), Event::Died(death), 1));
        events.push((format!("{name}, try 3"), Event::Died(death), ORDERS_PER_TURN));
    }
    events.extend(ENDINGS.map(|why| (format!("ended as told: {why:?}"), Event::Died(Death::Told(why)), 1)));
    events
}

fn cell(deed: Option<Deed>) -> String {
    let flags = |ended: bool, errored: bool| match (ended, errored) {
        (_, true) => ", errored",
        (true, false) => ", ended",
        (false, false) => "",
    };
    match deed {
        None => "-".to_owned(),
        Some(Deed::BeReady) => "be ready".to_owned(),
        Some(Deed::OrderAgain { same_try: true }) => "order again, same try".to_owned(),
        Some(Deed::OrderAgain { same_try: false }) => "order again".to_owned(),
        Some(Deed::End(why)) => format!("end: {why:?}"),
        Some(Deed::Ended { errored }) => format!("gone{}", flags(false, errored)),
        Some(Deed::Seal { reason, ended, errored }) => {
            format!("seal {}{}", reason.name(), flags(ended, errored))
        }
    }
}

#[test]
fn the_whole_matrix_is_as_committed() {
    let mut text = String::from(
        "# A standing worker and its turn\n\nWritten by a test of `runtime/src/agent/life.rs` (HOLDFAST_BLESS=1 writes it anew): what follows from an event; `-`\nis nothing. \"ended\" and \"gone\": the worker's end is journaled; \"errored\": the task is to be opened again.\n\n| event |",
    );
    for phase in PHASES {
        let _ = write!(text, " {phase:?} |");
    }
    text.push_str("\n| --- |");
    text.push_str(&" --- |".repeat(PHASES.len()));
    text.push('\n');
    for (name, event, number) in events() {
        let _ = write!(text, "| {name} |");
        for phase in PHASES {
            let _ = write!(text, " {} |", cell(step(phase, event, number)));
        }
        text.push('\n');
    }
    blessed("docs/machines/agent.md", &text);
}

#[test]
fn a_prompt_that_was_consumed_is_never_given_to_another_worker() {
    for (_, event, number) in events() {
        for phase in [Phase::Prompted, Phase::Cancelling] {
            assert!(!matches!(step(phase, event, number), Some(Deed::OrderAgain { .. })), "{event:?}");
        }
    }
}

#[test]
fn every_death_has_a_consequence_and_no_more_than_so_many_tries() {
    for (name, event, number) in events() {
        for phase in PHASES {
            let deed = step(phase, event, number);
            if matches!(event, Event::Died(_)) {
                assert!(deed.is_some(), "{name} {phase:?}");
            }
            if number == ORDERS_PER_TURN {
                assert_ne!(deed, Some(Deed::OrderAgain { same_try: false }), "{name} {phase:?}");
            }
        }
    }
}

#[test]
fn a_death_is_by_what_the_worker_was_told() {
    let exit = |ended_by| Exit { status: ExitStatus::Code(0), final_seq: 0, ended_by };
    for (ended_by, ending, expected) in [
        (EndedBy::Worker, None, Death::Itself),
        (EndedBy::Worker, Some(EndingFor::Lru), Death::Told(EndingFor::Lru)),
        (EndedBy::Cancel, Some(EndingFor::Silence), Death::Told(EndingFor::Silence)),
        (EndedBy::Kill, None, Death::Itself),
        (EndedBy::Stop, Some(EndingFor::Stop), Death::NodeStopped),
        (EndedBy::Quota, Some(EndingFor::Stop), Death::Quota),
    ] {
        assert_eq!(death(exit(ended_by), ending), expected);
    }
}
