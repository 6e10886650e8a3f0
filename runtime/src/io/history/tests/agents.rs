//! Conversations of several turns in one worker: each offset has one event, whoever reads it and however.

use super::*;
use crate::conversation::Conversation;
use crate::io::spools::Spools;
use crate::span::StopReason;
use crate::workers::KnownRequests;
use holdfast_shared::spool::{RECORD_BYTES_MAX, SpoolWriter, Stream};
use holdfast_shared::worker::Protocol;
use proptest::prelude::*;
use serde_json::json;

/// Something that happens in the conversation.
#[derive(Clone, Debug)]
enum Happens {
    /// An update in one record.
    Update,
    /// An update in so many parts, with records of standard error in between.
    Parts { parts: usize, between: usize },
    /// Not a message.
    Junk,
    /// Standard error.
    Log,
    /// An event of the journal, behind all that was said.
    Event,
    /// The turn is sealed and another begins.
    Turn,
    /// The agent says something that is no turn's.
    Aside,
}

fn happens() -> impl Strategy<Value = Happens> {
    prop_oneof![
        4 => Just(Happens::Update),
        2 => (2usize..5, 0usize..3).prop_map(|(parts, between)| Happens::Parts { parts, between }),
        1 => Just(Happens::Junk),
        2 => Just(Happens::Log),
        2 => Just(Happens::Event),
        2 => Just(Happens::Turn),
        1 => Just(Happens::Aside),
    ]
}

struct Talk {
    sample: Sample,
    spool: SpoolWriter,
    conversation: Conversation,
    turn: u64,
    /// Output records before the turn.
    base: u64,
    expected: Vec<Value>,
}

impl Talk {
    fn begin() -> Self {
        let sample = Sample::new();
        let directory = sample.home.worker("w");
        fs::create_dir_all(&directory).unwrap();
        let spool = SpoolWriter::create(&directory, "").unwrap();
        let conversation = Conversation::new("e");
        let mut talk = Self { sample, spool, conversation, turn: 0, base: 0, expected: Vec::new() };
        talk.write(false, b"{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}\n");
        talk.next_turn();
        talk
    }

    fn name(&self) -> String {
        format!("t{}", self.turn)
    }

    fn write(&mut self, more: bool, bytes: &[u8]) {
        self.spool.output(Stream::Stdout, more, bytes);
    }

    fn flush(&mut self) {
        assert_eq!(self.spool.flush().unwrap(), holdfast_shared::spool::Flushed::Done);
    }

    fn next_turn(&mut self) {
        self.turn += 1;
        let name = self.name();
        let number = 14 + 2 * self.turn;
        assert_eq!(self.spool.next_segment(&name, number).unwrap(), holdfast_shared::spool::Flushed::Done);
        self.base = self.spool.outputs();
        let started = event::turn_started(&name, "p", 1);
        self.conversation.begin("c", &name, "w", started.clone());
        self.expected.push(started);
    }

    fn seal(&mut self) {
        let seal = crate::span::Seal::new(StopReason::EndTurn, None, 2, self.spool.outputs() - self.base);
        self.expected.push(event::turn_sealed(&self.name(), &seal));
        self.conversation.seal(seal, self.turn as u32, self.base);
    }

    fn happen(&mut self, what: &Happens) {
        let turn = self.name();
        let skip = json!({"type": "turn.skip", "turn": turn});
        let log = json!({"type": "turn.output", "turn": turn, "stream": "stderr", "text": "log"});
        match what {
            Happens::Update => {
                let update = json!({"n": self.expected.len()});
                self.write(false, &line(&update));
                self.expected.push(json!({"type": "turn.update", "turn": turn, "update": update}));
            }
            Happens::Parts { parts, between } => {
                let update = json!({"text": "y".repeat((parts - 1) * RECORD_BYTES_MAX)});
                let line = line(&update);
                let chunks: Vec<&[u8]> = line.chunks(RECORD_BYTES_MAX).collect();
                for (number, chunk) in chunks.iter().enumerate() {
                    let more = number + 1 < chunks.len();
                    self.write(more, chunk);
                    self.expected.push(if more {
                        skip.clone()
                    } else {
                        json!({"type": "turn.update", "turn": turn, "update": update})
                    });
                    for _ in 0..if more { *between } else { 0 } {
                        self.spool.output(Stream::Stderr, false, b"log");
                        self.expected.push(log.clone());
                    }
                }
            }
            Happens::Junk => {
                self.write(false, b"junk");
                let junk = json!({"type": "turn.output", "turn": turn, "stream": "stdout", "text": "junk"});
                self.expected.push(junk);
            }
            Happens::Log => {
                self.spool.output(Stream::Stderr, false, b"log");
                self.expected.push(log);
            }
            Happens::Event => {
                let event = event::turn_queued("t99", "q", 3);
                self.conversation.place(self.spool.outputs() - self.base, event.clone());
                self.expected.push(event);
            }
            Happens::Turn => {
                self.seal();
                self.next_turn();
            }
            Happens::Aside => {
                self.seal();
                self.write(false, b"aside\n");
                self.next_turn();
            }
        }
        self.flush();
    }

    /// What a reader gets behind an offset, by a spool that is followed.
    fn read(&self, history: &mut History, spools: &mut Spools, asked: Asked) -> Vec<Publication> {
        spools.catch_up("w");
        let place = spools.of_turn("w", &self.name());
        let open = self.conversation.open.as_ref();
        let (unfiled, index) = (&*self.conversation.unfiled, spools.index_of("w"));
        let top = self.conversation.top(place.outputs);
        history.read("c", &Live { unfiled, open, place, index, top }, asked, &()).unwrap()
    }

    fn follow(&self) -> Spools {
        let mut spools = Spools::new().unwrap();
        spools.follow("w", &self.sample.home.worker("w"), Protocol::Acp, &KnownRequests::default()).unwrap();
        spools
    }

    fn check(&self, publications: &[Publication], from: u64) {
        for (offset, one) in (from..).zip(publications) {
            assert_eq!(one.offset, offset);
            assert_eq!(parsed(one), self.expected[offset as usize - 1], "offset {offset}");
        }
    }
}

fn line(update: &Value) -> Vec<u8> {
    let message = json!({"jsonrpc": "2.0", "method": "session/update", "params": {"update": update}});
    format!("{message}\n").into_bytes()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// A follower from the beginning, a runtime that begins now, a reader of one event, and the files: all the same.
    #[test]
    fn offsets_are_the_same_for_followers_new_actives_and_files(
        events in prop::collection::vec(happens(), 1..24), cuts in prop::collection::vec(0usize..200, 24),
    ) {
        let mut talk = Talk::begin();
        talk.flush();
        let (mut follower, mut spools, mut seen) =
            (History::new(talk.sample.home.clone()), talk.follow(), Vec::new());
        for (what, cut) in events.iter().zip(cuts) {
            talk.happen(what);
            let asked = Asked { after: seen.len() as u64, ..EVERYTHING };
            seen.extend(talk.read(&mut follower, &mut spools, asked));
            prop_assert_eq!(seen.len(), talk.expected.len());
            let mut fresh = talk.follow();
            let mut history = History::new(talk.sample.home.clone());
            let after = (cut % (talk.expected.len() + 1)) as u64;
            let one = talk.read(&mut history, &mut fresh, Asked { after, max_bytes: 1, limit: 1 });
            prop_assert_eq!(one.len(), usize::from(after < talk.expected.len() as u64));
            talk.check(&one, after + 1);
            prop_assert_eq!(
                spools.of_turn("w", &talk.name()), fresh.of_turn("w", &talk.name()), "a new active"
            );
        }
        talk.seal();
        talk.check(&seen, 1);
        for span in &talk.conversation.unfiled {
            file(&talk.sample.home, span, u64::MAX, &Unfenced).unwrap();
        }
        let top = talk.expected.len() as u64;
        let live = Live { unfiled: &[], open: None, place: TurnPlace::default(), index: &[], top };
        for max_bytes in [usize::MAX, 20_000, 1] {
            let mut history = History::new(talk.sample.home.clone());
            let mut all = Vec::new();
            while (all.len() as u64) < top {
                let asked = Asked { after: all.len() as u64, max_bytes, limit: usize::MAX };
                all.extend(history.read("c", &live, asked, &()).unwrap());
            }
            talk.check(&all, 1);
        }
    }
}

/// Of what is too long every reader gets the same: who follows, who begins in the middle of it, and who reads the file.
#[test]
fn what_is_too_long_is_said_the_same_to_whoever_reads_it() {
    let mut talk = Talk::begin();
    let (turn, long) = (talk.name(), "x".repeat(crate::acp::SHOWN_BYTES_MAX));
    let done = json!({"sessionUpdate": "tool_call_update", "toolCallId": "c", "status": "completed"});
    let mut whole = done.clone();
    whole["content"] = json!(long);
    for (update, kept) in [(whole, Some(done)), (json!({"image": long}), None)] {
        let line = line(&update);
        let chunks: Vec<&[u8]> = line.chunks(RECORD_BYTES_MAX).collect();
        for (number, chunk) in chunks.iter().enumerate() {
            talk.write(number + 1 < chunks.len(), chunk);
            talk.expected.push(json!({"type": "turn.skip", "turn": turn}));
        }
        let said = talk.expected.last_mut().unwrap();
        (said["reason"], said["bytes"]) = (json!("too_long"), json!(line.len()));
        if let Some(kept) = kept {
            (said["type"], said["update"]) = (json!("turn.update"), kept);
        }
    }
    talk.flush();
    let (mut spools, top) = (talk.follow(), talk.expected.len() as u64);
    let mut read = |talk: &Talk, after| {
        let mut history = History::new(talk.sample.home.clone());
        talk.read(&mut history, &mut spools, Asked { after, ..EVERYTHING })
    };
    for after in [0, 1, 30, top - 40, top - 1] {
        let read = read(&talk, after);
        assert_eq!(read.len() as u64, top - after);
        talk.check(&read, after + 1);
    }
    talk.seal();
    file(&talk.sample.home, &talk.conversation.unfiled[0], u64::MAX, &Unfenced).unwrap();
    let top = talk.expected.len() as u64;
    let live = Live { unfiled: &[], open: None, place: TurnPlace::default(), index: &[], top };
    for after in [0, 40, top - 2] {
        let mut history = History::new(talk.sample.home.clone());
        let filed = history.read("c", &live, Asked { after, ..EVERYTHING }, &()).unwrap();
        assert_eq!(filed.len() as u64, top - after);
        talk.check(&filed, after + 1);
    }
}

#[test]
fn a_line_over_too_many_records_is_not_shown_whoever_reads_it() {
    let mut talk = Talk::begin();
    let whole = line(&json!({"a": 1}));
    let (front, back) = whole.split_at(10);
    talk.write(true, front);
    for _ in 0..crate::acp::LINE_RECORDS {
        talk.spool.output(Stream::Stderr, false, b"log");
    }
    talk.write(false, back);
    talk.write(false, &whole);
    talk.flush();
    let place = TurnPlace { segment: 1, base: 1, outputs: talk.spool.outputs() - 1, given: None };
    let open = talk.conversation.open.as_ref();
    let top = talk.conversation.top(place.outputs);
    let live = Live { unfiled: &[], open, place, index: &[], top };
    let read = |after| {
        let mut history = History::new(talk.sample.home.clone());
        history.read("c", &live, Asked { after, ..EVERYTHING }, &()).unwrap()
    };
    let all = read(0);
    let said = json!({"type": "turn.skip", "turn": "t1", "reason": "too_long"});
    assert_eq!(parsed(&all[all.len() - 2]), said);
    assert_eq!(parsed(&all[all.len() - 1])["type"], "turn.update");
    assert_eq!(read(top - 2), all[all.len() - 2..]);
    assert_eq!(read(top - 1), all[all.len() - 1..]);
}

#[test]
fn the_oldest_turns_of_a_worker_that_serves_on_leave_their_segments_and_those_of_another_its_directory() {
    let mut talk = Talk::begin();
    for _ in 0..3 {
        talk.happen(&Happens::Update);
        talk.happen(&Happens::Turn);
    }
    talk.happen(&Happens::Update);
    talk.seal();
    let directory = talk.sample.home.worker("w");
    let first = file(&talk.sample.home, &talk.conversation.unfiled[0], u64::MAX, &Unfenced).unwrap().0;
    let keeps_one = first.bytes();
    for span in &talk.conversation.unfiled[1..] {
        file(&talk.sample.home, span, keeps_one, &Unfenced).unwrap();
    }
    let left = holdfast_shared::spool::segments(&directory).unwrap();
    assert_eq!(left, [0, 4], "the lock, and the newest turn");
    // A turn of another worker comes, and nothing of the first stays.
    let other = talk.sample.turn("c", talk.conversation.total + 1, 5, 10, 100);
    file(&talk.sample.home, &other, 0, &Unfenced).unwrap();
    assert!(!directory.exists());
}
