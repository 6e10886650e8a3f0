//! Whatever is written, whenever the power goes: the fold of what is found again is the live state at some moment
//! that is not before the last answer.

use crate::crash_disk::CrashDisk;
use crate::support::*;
use holdfast_shared::journal::*;
use proptest::prelude::*;
use std::sync::Arc;

#[derive(Debug, Clone)]
enum Step {
    Append(Vec<usize>),
    Sync,
    Rotate,
    Checkpoint,
    /// Fenced and taken over, as in a switch.
    Switch,
    /// Killed and taken over.
    Kill,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => prop::collection::vec(prop_oneof![0..200usize, 3000..9000usize], 1..5).prop_map(Step::Append),
        4 => Just(Step::Sync),
        1 => Just(Step::Rotate),
        2 => Just(Step::Checkpoint),
        1 => Just(Step::Switch),
        1 => Just(Step::Kill),
    ]
}

/// What happens until a power cut, when that is, and what it leaves.
#[derive(Debug, Clone)]
struct Life {
    steps: Vec<Step>,
    cut: prop::sample::Index,
    choices: Vec<prop::sample::Index>,
}

fn life() -> impl Strategy<Value = Life> {
    let choices = prop::collection::vec(any::<prop::sample::Index>(), 40);
    (prop::collection::vec(step(), 0..12), any::<prop::sample::Index>(), choices)
        .prop_map(|(steps, cut, choices)| Life { steps, cut, choices })
}

struct World {
    home: Home,
    disk: CrashDisk,
    epoch: u64,
    /// Every record so far, as written.
    history: Vec<Record>,
    live: Folded<Sum>,
    /// After so many changes of the disk, records up to this LSN were answered.
    answered: Vec<(usize, u64)>,
}

impl World {
    fn begin(home: Home, history: Vec<Record>, epoch: u64) -> (Self, Writer) {
        std::fs::create_dir_all(home.journal()).unwrap();
        let disk = CrashDisk::new(&home.journal());
        let live = fold_of(&history);
        let answered = vec![(0, history.len() as u64)];
        let mut world = Self { home, disk, epoch, history, live, answered };
        let writer = world.take_over();
        (world, writer)
    }

    fn take_over(&mut self) -> Writer {
        self.epoch += 1;
        let dir = self.home.journal();
        let first = !inspect(&dir).unwrap().exists;
        assert_eq!(first, self.history.is_empty());
        let request = Request { first, ..request(self.epoch) };
        let (owner, instance) = (request.owner.clone(), request.instance.clone());
        let (release, at_ms, epoch) = (request.release.clone(), request.at_ms, self.epoch);
        let activated = Activated { epoch, owner, instance, release, at_ms };
        let (writer, taken) = TakeOver::begin(&dir, Arc::new(self.disk.clone()), request).unwrap();
        assert_eq!(taken.before.lsn, self.history.len() as u64);
        self.note(NewRecord::json(ACTIVATED, &activated).unwrap());
        assert_eq!(taken.last, self.live.position);
        self.answer();
        writer
    }

    fn note(&mut self, new: NewRecord) {
        let record = Record {
            epoch: self.epoch,
            lsn: self.history.len() as u64 + 1,
            kind: new.kind.into_owned(),
            must_understand: new.must_understand,
            payload: new.payload,
        };
        self.history.push(record.clone());
        self.live.apply(record);
    }

    fn answer(&mut self) {
        self.answered.push((self.disk.changes(), self.history.len() as u64));
    }

    fn live(&mut self, mut writer: Writer, steps: &[Step]) {
        for step in steps {
            match step {
                Step::Append(sizes) => {
                    let kind = |nth| ["add", "sub", "mystery"][nth % 3];
                    let payload = |&size: &usize| vec![b'1' + (size % 9) as u8; size];
                    let records: Vec<_> =
                        sizes.iter().map(|size| NewRecord::new(kind(*size), payload(size))).collect();
                    writer.append(&records).unwrap();
                    records.into_iter().for_each(|record| self.note(record));
                }
                Step::Sync => {
                    writer.sync().unwrap();
                    self.answer();
                }
                Step::Rotate => {
                    writer.rotate().unwrap();
                    self.answer();
                }
                Step::Checkpoint => {
                    checkpoint_inline(&mut writer, &self.live, None).unwrap();
                    self.answer();
                }
                Step::Switch => {
                    writer.fence().unwrap();
                    self.answer();
                    writer = self.take_over();
                }
                Step::Kill => {
                    drop(writer);
                    writer = self.take_over();
                }
            }
            assert_eq!(fold::<Sum>(&self.home.journal()), self.live, "fold = live state");
        }
    }

    /// Cuts the power, and checks what is found again.
    fn cut(self, life: &Life) -> (Home, Vec<Record>) {
        let changes = life.cut.index(self.disk.changes() + 1);
        let answered =
            self.answered.iter().filter(|(at, _)| *at <= changes).map(|(_, lsn)| *lsn).max().unwrap();
        let home = Home::new();
        let mut choices = life.choices.iter().cycle();
        let mut choose = |of: usize| choices.next().unwrap().index(of);
        self.disk.image(&home.journal(), changes, &mut choose);
        let found = inspect(&home.journal()).expect("a power cut alone is never damage");
        assert!(found.end.lsn >= answered, "{answered} answered, {} found", found.end.lsn);
        let mut history = self.history;
        history.truncate(found.end.lsn as usize);
        assert_eq!(history.last().map(Record::position).unwrap_or_default(), found.end);
        if found.exists {
            assert_eq!(
                fold::<Sum>(&home.journal()),
                fold_of(&history),
                "state after a crash = fold of a prefix"
            );
        }
        (home, history)
    }
}

fn fold_of(history: &[Record]) -> Folded<Sum> {
    let mut folded = Folded::empty();
    history.iter().cloned().for_each(|record| folded.apply(record));
    folded
}

/// PROPTEST_CASES, or what takes a few seconds.
fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(128)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), max_shrink_iters: 2000, ..ProptestConfig::default() })]

    #[test]
    fn the_fold_is_the_live_state_and_the_state_after_any_power_cut(lives in prop::collection::vec(life(), 1..4)) {
        let (mut home, mut history, mut epoch) = (Home::new(), Vec::new(), 0);
        for life in &lives {
            let (mut world, writer) = World::begin(home, history, epoch);
            world.live(writer, &life.steps);
            epoch = world.epoch;
            (home, history) = world.cut(life);
        }
        let (world, _writer) = World::begin(home, history, epoch);
        prop_assert_eq!(fold::<Sum>(&world.home.journal()), world.live);
    }
}
