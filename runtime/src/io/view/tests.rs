use super::*;
use crate::io::filing::file;
use crate::io::sample::{Sample, Unfenced};
use holdfast_shared::journal::{Limits, NewRecord, RealDisk, Request, TakeOver, Writer};
use std::fs;
use std::sync::atomic::AtomicU32;
use std::time::{Duration, Instant};

/// How long a level may take to come.
const DEADLINE: Duration = Duration::from_secs(60);

fn wait(what: &str, mut there: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !there() {
        assert!(begin.elapsed() < DEADLINE, "{what} did not come");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn take_over(home: &Home, epoch: u64, first: bool) -> Writer {
    let request = Request {
        epoch,
        owner: "a".into(),
        instance: "rt-a-1".into(),
        release: "1".into(),
        at_ms: 1,
        first,
        journal_id: uuid::Uuid::from_u128(u128::from(epoch)),
        known_kinds: &["x"],
        limits: Limits::SMALL,
    };
    TakeOver::begin(&home.journal(), Arc::new(RealDisk), request).unwrap().0
}

/// A home with a journal, and two turns of conversation `c` filed.
struct Node {
    sample: Sample,
    writer: Writer,
}

impl Node {
    fn new() -> Self {
        let sample = Sample::new();
        let writer = take_over(&sample.home, 1, true);
        let node = Self { sample, writer };
        node.file(1);
        node.file(2);
        node
    }

    fn home(&self) -> Home {
        self.sample.home.clone()
    }

    /// Files the turn with this number, of 5 offsets.
    fn file(&self, number: u64) -> u64 {
        let first = 1 + 5 * (number - 1);
        file(&self.home(), &self.sample.turn("c", first, number, 2, 8), u64::MAX, &Unfenced).unwrap();
        first
    }

    fn append(&mut self) -> Position {
        self.writer.append(&[NewRecord::new("x", b"{}".to_vec())]).unwrap();
        self.writer.sync().unwrap()
    }

    fn start(&self) -> View {
        let view = View::start_with(self.home(), Slot::A, 0, store::open_database).unwrap();
        ready(&view);
        view
    }

    /// A view that came to the journal's end and was stopped.
    fn stopped_view(&mut self) -> Position {
        let view = self.start();
        let position = self.append();
        reach(&view, position);
        view.stop();
        position
    }

    fn set_aside(&self) -> usize {
        place::aside(&self.home(), Slot::A).unwrap().len()
    }
}

fn ready(view: &View) {
    wait("a ready view", || view.state() == ViewState::Ready);
}

fn reach(view: &View, position: Position) {
    wait("the position", || {
        view.reached(position);
        *lock(&view.shared.reached) == Some(position)
    });
}

fn turns(view: &View) -> Vec<String> {
    view.spans("c", u64::MAX, 100).unwrap_or_default().into_iter().map(|span| span.turn).collect()
}

fn has(view: &View, wanted: &[&str]) {
    wait("the turns", || turns(view) == wanted);
}

#[test]
fn a_missing_view_is_made_and_takes_what_is_filed() {
    let node = Node::new();
    let view = node.start();
    has(&view, &["t2", "t1"]);
    view.filed("c", node.file(3));
    has(&view, &["t3", "t2", "t1"]);
    assert_eq!(view.conversations(), Some(vec!["c".to_owned()]));
    let summary = &view.spans("c", 11, 1).unwrap()[0];
    assert_eq!((summary.first, summary.last, &*summary.prompt), (6, 10, "echo"));
    assert_eq!(
        [0, 1, 5, 6, 10, 99].map(|offset| view.floor("c", offset)),
        [None, Some(1), Some(1), Some(6), Some(6), Some(11)]
    );
    assert_eq!((view.floor("b", 9), view.floor("d", 9)), (None, None));
    assert_eq!(view.search("EcH", 2).unwrap().len(), 2);
    assert_eq!(view.search("nothing", 2), Some(vec![]));
}

#[test]
fn without_a_journal_there_is_no_view_and_nobody_waits() {
    let sample = Sample::new();
    let view = View::start_with(sample.home.clone(), Slot::A, 0, store::open_database).unwrap();
    view.filed("c", 1);
    assert_eq!((view.state(), view.conversations()), (ViewState::Opening, None));
    drop(take_over(&sample.home, 1, true));
    ready(&view);
    assert_eq!(view.conversations(), Some(vec![]));
}

#[test]
fn a_view_whose_record_is_in_the_journal_is_used_again() {
    let mut node = Node::new();
    node.stopped_view();
    node.append();
    node.file(3);
    let view = node.start();
    has(&view, &["t3", "t2", "t1"]);
    assert_eq!(node.set_aside(), 0);
}

#[test]
fn a_view_whose_record_vanished_is_made_again() {
    let mut node = Node::new();
    let position = node.stopped_view();
    let view = node.start();
    reach(&view, Position { epoch: position.epoch, lsn: position.lsn + 1 });
    view.stop();
    let view = node.start();
    has(&view, &["t2", "t1"]);
    assert_eq!(node.set_aside(), 1);
}

#[test]
fn an_unfinished_view_is_made_again() {
    let node = Node::new();
    node.start().stop();
    let view = node.start();
    has(&view, &["t2", "t1"]);
    assert_eq!(node.set_aside(), 1);
}

#[test]
fn a_foreign_view_is_made_again() {
    let mut other = Node::new();
    other.file(3);
    other.stopped_view();
    let sample = Sample::new();
    let mut node = Node { writer: take_over(&sample.home, 2, true), sample };
    node.file(1);
    node.append();
    fs::create_dir(node.home().path().join("views")).unwrap();
    fs::rename(other.home().view(Slot::A), node.home().view(Slot::A)).unwrap();
    has(&node.start(), &["t1"]);
    assert_eq!(node.set_aside(), 1);
}

#[test]
fn what_is_no_view_at_all_is_made_one() {
    for make in [
        (|path| fs::write(path, b"not a directory").unwrap()) as fn(&Path),
        |path| fs::create_dir(path).unwrap(),
        |path| {
            fs::create_dir(path).unwrap();
            fs::write(path.join("db"), b"of somebody else").unwrap();
            fs::write(path.join("conf"), b"?").unwrap();
        },
        |path| std::os::unix::fs::symlink("/nowhere", path).unwrap(),
    ] {
        let node = Node::new();
        fs::create_dir(node.home().path().join("views")).unwrap();
        make(&node.home().view(Slot::A));
        has(&node.start(), &["t2", "t1"]);
        assert_eq!(node.set_aside(), 1);
    }
}

#[test]
fn a_damaged_view_is_made_again() {
    for damage in [
        (|bytes| bytes.fill(0xa5)) as fn(&mut Vec<u8>),
        |bytes| bytes.truncate(bytes.len() / 2),
        |bytes| bytes.iter_mut().skip(7).step_by(61).for_each(|byte| *byte ^= 0x10),
        Vec::clear,
    ] {
        let mut node = Node::new();
        node.stopped_view();
        for name in ["db", "conf"] {
            let path = node.home().view(Slot::A).join(name);
            let mut bytes = fs::read(&path).unwrap();
            damage(&mut bytes);
            fs::write(&path, bytes).unwrap();
        }
        has(&node.start(), &["t2", "t1"]);
        assert_eq!(node.set_aside(), 1);
    }
}

#[test]
fn a_locked_view_is_made_again_elsewhere() {
    let mut node = Node::new();
    node.stopped_view();
    // A thread of sled's own lets go of the file a moment after the database was closed.
    let ends = Instant::now() + DEADLINE;
    let held = loop {
        match store::open_database(&node.home().view(Slot::A)) {
            Ok(held) => break held,
            Err(error) => assert!(Instant::now() < ends, "{error}"),
        }
        std::thread::yield_now();
    };
    has(&node.start(), &["t2", "t1"]);
    assert_eq!(node.set_aside(), 1);
    drop(held);
}

#[test]
fn a_view_that_panics_when_opened_is_made_again() {
    let mut node = Node::new();
    node.stopped_view();
    let opened = AtomicU32::new(0);
    let view = View::start_with(node.home(), Slot::A, 0, move |path| {
        assert!(opened.fetch_add(1, Ordering::Relaxed) > 0, "as sled does on some damages");
        store::open_database(path)
    })
    .unwrap();
    has(&view, &["t2", "t1"]);
    assert_eq!(node.set_aside(), 1);
}

#[test]
fn a_view_that_took_its_process_down_when_opened_is_not_opened_again() {
    let mut node = Node::new();
    node.stopped_view();
    // What is left when the process ended while it was opening.
    fs::write(place::opening(&node.home(), Slot::A), b"").unwrap();
    let view = node.start();
    has(&view, &["t2", "t1"]);
    assert_eq!(node.set_aside(), 1);
    reach(&view, node.append());
    view.stop();
    has(&node.start(), &["t2", "t1"]);
    assert_eq!(node.set_aside(), 1, "once");
}

#[test]
fn a_view_that_cannot_be_made_fails_alone() {
    let node = Node::new();
    let view = View::start_with(node.home(), Slot::A, 0, |_| panic!("always")).unwrap();
    wait("a failed view", || matches!(view.state(), ViewState::Failed(_)));
    for first in 0..2 * NEWS_WAITING as u64 {
        view.filed("c", first);
    }
    assert_eq!((view.spans("c", 9, 9), view.floor("c", 9), view.search("", 9)), (None, None, None));
}

#[test]
fn a_view_that_gives_no_answer_is_made_again() {
    let node = Node::new();
    let view = node.start();
    assert_eq!(view.ask(|_| -> Result<(), _> { panic!("as sled does on some damages") }), None);
    assert_eq!(view.conversations(), None, "not asked again until it is made again");
    has(&view, &["t2", "t1"]);
    assert_eq!(node.set_aside(), 1);
}

#[test]
fn more_news_than_wait_are_found_in_the_directories() {
    let node = Node::new();
    let (release, held) = sync_channel::<()>(0);
    let view = View::start_with(node.home(), Slot::A, 0, move |path| {
        // Until the sender is dropped.
        let _ = held.recv();
        store::open_database(path)
    })
    .unwrap();
    for _ in 0..2 * NEWS_WAITING {
        view.filed("c", 1);
    }
    view.filed("c", node.file(3));
    assert!(view.shared.missed.load(Ordering::Acquire));
    drop(release);
    has(&view, &["t3", "t2", "t1"]);
}

#[test]
fn truncated_turns_leave_the_view() {
    let node = Node::new();
    let view = node.start();
    let span = node.sample.turn("c", 11, 3, 2, 8);
    file(&node.home(), &span, 1, &Unfenced).unwrap();
    view.filed("c", 11);
    has(&view, &["t3", "t2"]);
    let oldest = view.spans("c", 11, 9).unwrap();
    assert!(oldest.len() == 1 && oldest[0].is_truncated());
    assert_eq!((oldest[0].first, oldest[0].last, view.floor("c", 7)), (1, 10, Some(1)));
}

#[test]
fn skipped_records_are_made_good_by_comparing() {
    let node = Node::new();
    let view = node.start();
    node.file(3);
    fs::remove_file(node.home().conversation("c").join(crate::filed::file_name(1))).unwrap();
    view.skipped();
    has(&view, &["t3", "t2"]);
}

#[test]
fn only_the_last_views_set_aside_are_kept() {
    let node = Node::new();
    for _ in 0..4 {
        node.start().stop();
    }
    let kept: Vec<u64> =
        place::aside(&node.home(), Slot::A).unwrap().iter().map(|(number, _)| *number).collect();
    assert_eq!(kept, [2, 3]);
}
