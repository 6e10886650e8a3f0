use super::*;
use crate::io::sample::Sample;
use holdfast_shared::spool::{Control, Flushed, SpoolWriter, Stream};
use holdfast_shared::worker::{EndedBy, Exit, ExitStatus};

fn write(spool: &mut SpoolWriter, records: u64, bytes: usize) {
    for _ in 0..records {
        spool.output(Stream::Stdout, false, &vec![b'x'; bytes]);
    }
    assert_eq!(spool.flush().unwrap(), Flushed::Done);
}

fn end(spool: &mut SpoolWriter) -> Exit {
    let exit = Exit { status: ExitStatus::Code(0), final_seq: spool.outputs(), ended_by: EndedBy::Worker };
    spool.control(&Control::Exit(exit));
    assert_eq!(spool.flush().unwrap(), Flushed::Done);
    exit
}

fn following(sample: &Sample, workers: &[&str]) -> Spools {
    let mut spools = Spools::new().unwrap();
    for worker in workers {
        spools
            .follow(worker, &sample.home.worker(worker), Protocol::Command, &KnownRequests::default())
            .unwrap();
    }
    spools
}

fn read_to_end(spools: &mut Spools, worker: &str) -> usize {
    let mut pieces = 1;
    while spools.advance(worker) {
        pieces += 1;
    }
    pieces
}

#[test]
fn what_grew_is_news_and_is_read_once() {
    let sample = Sample::new();
    let (mut one, mut other) = (sample.spool("one"), sample.spool("other"));
    let mut spools = following(&sample, &["one", "other"]);
    write(&mut one, 3, 10);
    assert_eq!(spools.news().unwrap(), ["one".to_owned()].into());
    assert_eq!(spools.news().unwrap(), BTreeSet::new(), "told once");
    assert!(!spools.advance("one"), "a short piece has met the end");
    assert_eq!((spools.outputs("one"), spools.outputs("other"), spools.outputs("none")), (3, 0, 0));
    write(&mut one, 1, 10);
    write(&mut other, 2, 10);
    assert_eq!(spools.news().unwrap().len(), 2);
    for worker in ["one", "other"] {
        read_to_end(&mut spools, worker);
    }
    assert_eq!((spools.outputs("one"), spools.outputs("other")), (4, 2));
    let exit = end(&mut one);
    assert_eq!(spools.exit("one"), None);
    read_to_end(&mut spools, "one");
    assert_eq!((spools.exit("one"), spools.exit("other")), (Some(exit), None));
}

#[test]
fn a_flood_is_read_in_pieces_to_its_end_and_indexed() {
    let sample = Sample::new();
    let mut spool = sample.spool("w");
    write(&mut spool, 2_000, 1_000);
    let mut spools = following(&sample, &["w"]);
    let pieces = read_to_end(&mut spools, "w");
    assert!((8..=12).contains(&pieces), "{pieces} pieces of 2 MB");
    assert_eq!(spools.outputs("w"), 2_000);
    let index = spools.index_of("w");
    assert!(index.len() >= 2_000 / 70 && index[0].0 == 1, "an entry for each 64 KiB");
    assert!(spools.index_of("none").is_empty());
}

#[test]
fn later_segments_are_read_to_their_end_at_once() {
    let sample = Sample::new();
    let mut spool = sample.spool("w");
    write(&mut spool, 3, 10);
    assert_eq!(spool.next_segment("t2", 2).unwrap(), Flushed::Done);
    write(&mut spool, 2, 10);
    let exit = end(&mut spool);
    let mut spools = following(&sample, &["w"]);
    read_to_end(&mut spools, "w");
    assert_eq!((spools.outputs("w"), spools.exit("w"), spools.consumed("w")), (5, Some(exit), 2));
}

#[test]
fn damage_ends_the_reading_where_it_is() {
    let sample = Sample::new();
    let mut spool = sample.spool("w");
    write(&mut spool, 5, 100);
    let path = sample.home.worker("w").join("spool");
    let mut bytes = std::fs::read(&path).unwrap();
    let at = bytes.len() - 150;
    bytes[at] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let mut spools = following(&sample, &["w"]);
    read_to_end(&mut spools, "w");
    read_to_end(&mut spools, "w");
    assert_eq!((spools.outputs("w"), spools.is_damaged("w")), (3, true));
}

/// Three turns of an agent, three records each behind one of its handshake.
fn three_turns(sample: &Sample) -> SpoolWriter {
    let mut spool = sample.spool("w");
    write(&mut spool, 1, 100);
    for (turn, number) in [("t1", 16), ("t2", 18), ("t3", 20)] {
        assert_eq!(spool.next_segment(turn, number).unwrap(), Flushed::Done);
        write(&mut spool, 3, 100);
    }
    spool
}

/// Does something to a segment.
type Damage = fn(&mut Vec<u8>);

#[test]
fn damage_before_the_last_turns_mark_is_passed_over() {
    let cases: [(&str, Damage); 4] = [
        ("a record", |bytes| {
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
        }),
        ("its head", |bytes| bytes[20] ^= 1),
        ("its last record is cut", |bytes| bytes.truncate(bytes.len() - 10)),
        ("its last record is gone", |bytes| bytes.truncate(bytes.len() - 117)),
    ];
    for (what, damage) in cases {
        let sample = Sample::new();
        let mut spool = three_turns(&sample);
        let directory = sample.home.worker("w");
        let path = segment_path(&directory, 2);
        let mut bytes = std::fs::read(&path).unwrap();
        damage(&mut bytes);
        std::fs::write(&path, bytes).unwrap();
        let mut spools = Spools::new().unwrap();
        spools.follow("w", &directory, Protocol::Acp, &KnownRequests::default()).unwrap();
        spools.catch_up("w");
        assert!(!spools.is_damaged("w") && !spools.is_behind("w"), "{what}");
        assert_eq!((spools.turn("w"), spools.outputs("w"), spools.consumed("w")), ("t3", 10, 20), "{what}");
        let place = TurnPlace { segment: 3, base: 7, outputs: 3, given: None };
        assert_eq!(spools.of_turn("w", "t3"), place, "{what}");
        let exit = end(&mut spool);
        spools.catch_up("w");
        assert_eq!(spools.exit("w"), Some(exit), "{what}");
    }
}

#[test]
fn damage_in_the_last_turn_ends_the_reading() {
    let sample = Sample::new();
    let _spool = three_turns(&sample);
    let directory = sample.home.worker("w");
    let path = segment_path(&directory, 3);
    let mut bytes = std::fs::read(&path).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let mut spools = Spools::new().unwrap();
    spools.follow("w", &directory, Protocol::Acp, &KnownRequests::default()).unwrap();
    // What is good is read first.
    (0..2).for_each(|_| spools.catch_up("w"));
    assert_eq!((spools.is_damaged("w"), spools.outputs("w")), (true, 9));
}

#[test]
fn what_is_left_is_no_news_any_more() {
    let sample = Sample::new();
    let mut spool = sample.spool("w");
    let mut spools = following(&sample, &["w"]);
    spools.leave("w");
    write(&mut spool, 1, 1);
    assert_eq!(spools.news().unwrap(), BTreeSet::new());
    assert!(!spools.follows("w") && !spools.advance("w"));
    assert!(matches!(
        spools.follow("gone", &sample.home.worker("gone"), Protocol::Command, &KnownRequests::default()),
        Err(SpoolError::Io { .. })
    ));
}

#[test]
fn what_is_marked_is_known_once_it_was_read_up_to_there() {
    let sample = Sample::new();
    let mut spool = sample.spool("w");
    write(&mut spool, 1_000, 1_000);
    let mut spools = following(&sample, &["w"]);
    assert_eq!(spools.known_outputs("w"), Some(0), "not marked: nobody showed more");
    spools.mark("w");
    assert_eq!((spools.known_outputs("w"), spools.is_catching_up()), (None, true));
    assert_eq!(spools.behind().collect::<Vec<_>>(), ["w"]);
    // As much again comes with each piece: there is no end, but the mark is reached.
    let mut pieces = 0;
    while spools.is_catching_up() {
        assert!(spools.advance("w"), "never met an end");
        write(&mut spool, 300, 1_000);
        pieces += 1;
    }
    assert!(pieces <= 5 && spools.known_outputs("w").unwrap() >= 1_000, "{pieces} pieces");
    spools.catch_up("w");
    assert_eq!(spools.known_outputs("w"), Some(spool.outputs()));
}

#[test]
fn a_spool_that_cannot_be_read_or_followed_is_not_known_and_holds_nothing_up() {
    let sample = Sample::new();
    let mut spool = sample.spool("w");
    write(&mut spool, 3, 10);
    let mut spools = following(&sample, &["w"]);
    let path = sample.home.worker("w").join("spool");
    let aside = path.with_extension("aside");
    std::fs::rename(&path, &aside).unwrap();
    // Opened, but every read fails.
    std::fs::create_dir(&path).unwrap();
    spools.catch_up("w");
    assert_eq!((spools.known_outputs("w"), spools.is_catching_up()), (None, false));
    std::fs::remove_dir(&path).unwrap();
    std::fs::rename(&aside, &path).unwrap();
    spools.catch_up("w");
    assert_eq!(spools.known_outputs("w"), Some(3));
    assert!(
        spools
            .follow("later", &sample.home.worker("later"), Protocol::Command, &KnownRequests::default())
            .is_err()
    );
    assert_eq!(spools.known_outputs("later"), None);
    sample.spool("later");
    spools
        .follow("later", &sample.home.worker("later"), Protocol::Command, &KnownRequests::default())
        .unwrap();
    assert_eq!(spools.known_outputs("later"), Some(0));
}
