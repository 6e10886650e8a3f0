use super::removal::REMOVED_PER_FILING;
use super::*;
use crate::io::sample::{Sample, Unfenced};
use holdfast_shared::worker::{Started, abandon};
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};

const UNBOUNDED: u64 = u64::MAX;

/// Files turns of 4 outputs (7 offsets) one after the other under a bound.
fn filed_turns(
    sample: &Sample,
    numbers: std::ops::RangeInclusive<u64>,
    limit_bytes: u64,
) -> Vec<Option<Filed>> {
    let turn = |number| sample.turn("c", 1 + 7 * (number - 1), number, 4, 100);
    numbers.map(|number| file(&sample.home, &turn(number), limit_bytes, &Unfenced).unwrap().1).collect()
}

/// What one such turn takes.
fn turn_bytes() -> u64 {
    let sample = Sample::new();
    file(&sample.home, &sample.turn("c", 1, 1, 4, 100), UNBOUNDED, &Unfenced).unwrap().0.bytes()
}

fn workers(sample: &Sample) -> BTreeSet<String> {
    names(&sample.home.workers()).unwrap().into_iter().collect()
}

#[test]
fn a_sealed_span_is_read_back_as_it_was_filed() {
    let sample = Sample::new();
    let span = sample.turn("c", 1, 1, 4, 10);
    let (filed, marker) = file(&sample.home, &span, UNBOUNDED, &Unfenced).unwrap();
    assert_eq!((filed.first(), filed.last(), marker), (1, 7, None));
    assert_eq!(load(&sample.home, "c", 1).unwrap(), filed);
    assert_eq!(file(&sample.home, &span, UNBOUNDED, &Unfenced).unwrap(), (filed, None), "again is the same");
    assert_eq!(list(&sample.home, "c").unwrap(), [1]);
    assert_eq!(conversations(&sample.home).unwrap(), ["c"]);
    assert!(list(&sample.home, "other").unwrap().is_empty());
}

#[test]
fn an_open_span_and_a_name_that_is_no_name_are_refused() {
    let sample = Sample::new();
    let open = sample.open_turn("c", 1, 1, 4, 10);
    assert!(matches!(
        file(&sample.home, &open, UNBOUNDED, &Unfenced),
        Err(FilingError::Open { first: 1, .. })
    ));
    for name in ["", ".", "..", "a/b", "../a", ".hidden", "a\0"] {
        assert!(matches!(load(&sample.home, name, 1), Err(FilingError::Name(_))), "{name:?}");
        assert!(matches!(list(&sample.home, name), Err(FilingError::Name(_))), "{name:?}");
    }
    assert!(conversations(&sample.home).unwrap().is_empty());
}

#[test]
fn a_broken_file_is_an_error_that_names_it() {
    let sample = Sample::new();
    filed_turns(&sample, 1..=1, UNBOUNDED);
    let path = sample.home.conversation("c").join(file_name(1));
    let good = fs::read(&path).unwrap();
    for length in [0, 1, good.len() / 2, good.len() - 1] {
        fs::write(&path, &good[..length]).unwrap();
        let error = load(&sample.home, "c", 1).unwrap_err();
        assert!(error.is_lasting() && error.to_string().contains(&file_name(1)), "{error}");
    }
    fs::write(&path, [0xff; 100]).unwrap();
    assert!(matches!(load(&sample.home, "c", 1), Err(FilingError::Bad { .. })));
    File::create(&path).unwrap().set_len(FILED_BYTES_MAX + 1).unwrap();
    assert!(matches!(load(&sample.home, "c", 1), Err(FilingError::Bad { .. })));
    fs::remove_file(&path).unwrap();
    assert!(matches!(load(&sample.home, "c", 1), Err(FilingError::Absent { .. })));
}

#[test]
fn what_could_not_be_read_back_is_not_filed() {
    let sample = Sample::new();
    let mut span = sample.turn("c", 1, 1, 4, 10);
    span.events[0].data = serde_json::Value::String("x".repeat(usize::try_from(FILED_BYTES_MAX).unwrap()));
    assert!(matches!(file(&sample.home, &span, UNBOUNDED, &Unfenced), Err(FilingError::TooLong { .. })));
    assert!(list(&sample.home, "c").unwrap().is_empty());
}

#[test]
fn past_the_bound_the_oldest_go_with_their_workers_and_a_marker_stands_for_them() {
    let sample = Sample::new();
    let each = turn_bytes();
    let markers = filed_turns(&sample, 1..=5, 3 * each + each / 2);
    assert_eq!(markers.iter().map(Option::is_some).collect::<Vec<_>>(), [false, false, false, true, true]);
    assert_eq!(list(&sample.home, "c").unwrap(), [1, 15, 22, 29]);
    let marker = load(&sample.home, "c", 1).unwrap();
    assert_eq!((marker.first(), marker.last(), marker.bytes()), (1, 14, 0));
    assert_eq!(workers(&sample), ["c-3", "c-4", "c-5"].map(String::from).into());
}

#[test]
fn a_turn_larger_than_the_bound_stays_until_the_next_one() {
    let sample = Sample::new();
    filed_turns(&sample, 1..=2, 1);
    assert_eq!(list(&sample.home, "c").unwrap(), [1, 8]);
    assert_eq!(workers(&sample), ["c-2"].map(String::from).into());
    assert_eq!(load(&sample.home, "c", 1).unwrap().last(), 7);
}

#[test]
fn what_a_crash_left_behind_a_marker_is_swept_at_the_next_filing() {
    let sample = Sample::new();
    let limit = 2 * turn_bytes() + 1;
    filed_turns(&sample, 1..=3, limit);
    let second = fs::read(sample.home.conversation("c").join(file_name(8))).unwrap();
    filed_turns(&sample, 4..=4, limit);
    assert_eq!(list(&sample.home, "c").unwrap(), [1, 15, 22]);
    // As if the crash had come right behind the marker.
    fs::write(sample.home.conversation("c").join(file_name(8)), second).unwrap();
    drop(sample.spool("c-2"));
    filed_turns(&sample, 5..=5, limit);
    assert_eq!(list(&sample.home, "c").unwrap(), [1, 22, 29]);
    assert_eq!(load(&sample.home, "c", 1).unwrap().last(), 21);
    assert_eq!(workers(&sample), ["c-4", "c-5"].map(String::from).into());
}

#[test]
fn what_is_kept_is_counted_the_same_with_and_without_the_hint() {
    let totals = [true, false].map(|hinted| {
        let sample = Sample::new();
        for number in 1..=4 {
            filed_turns(&sample, number..=number, UNBOUNDED);
            if !hinted {
                fs::write(sample.home.conversation("c").join(NEWEST), b"torn").unwrap();
            }
        }
        load(&sample.home, "c", 22).unwrap().cumulative_bytes
    });
    assert_eq!(totals, [4 * turn_bytes(); 2]);
}

#[test]
fn a_torn_file_is_written_again() {
    let sample = Sample::new();
    filed_turns(&sample, 1..=1, UNBOUNDED);
    let path = sample.home.conversation("c").join(file_name(1));
    let good = fs::read(&path).unwrap();
    fs::write(&path, &good[..20]).unwrap();
    filed_turns(&sample, 1..=1, UNBOUNDED);
    assert_eq!(fs::read(&path).unwrap(), good);
}

#[test]
fn many_turns_go_a_bounded_number_at_a_time() {
    let sample = Sample::new();
    filed_turns(&sample, 1..=100, UNBOUNDED);
    let markers = filed_turns(&sample, 101..=102, 1);
    let lasts: Vec<_> = markers.iter().map(|marker| marker.as_ref().unwrap().last()).collect();
    let each = REMOVED_PER_FILING as u64;
    assert_eq!(lasts, [7 * each, 7 * 101]);
    assert_eq!(list(&sample.home, "c").unwrap(), [1, 1 + 7 * 101]);
    assert_eq!(workers(&sample), ["c-102"].map(String::from).into());
}

#[test]
fn a_broken_file_at_the_beginning_stops_neither_filing_nor_the_bound() {
    let sample = Sample::new();
    let limit = 2 * turn_bytes() + 1;
    filed_turns(&sample, 1..=2, limit);
    fs::write(sample.home.conversation("c").join(file_name(1)), b"{").unwrap();
    filed_turns(&sample, 3..=4, limit);
    assert_eq!(list(&sample.home, "c").unwrap(), [1, 8, 15, 22]);
    assert_eq!(load(&sample.home, "c", 8).unwrap().last(), 14, "a marker behind the broken one");
}

#[test]
fn files_of_others_are_not_spans() {
    let sample = Sample::new();
    filed_turns(&sample, 1..=1, UNBOUNDED);
    let conversation = sample.home.conversation("c");
    for name in ["x.json", "0000000000000008.json.tmp", "notes"] {
        fs::write(conversation.join(name), b"?").unwrap();
    }
    assert_eq!(list(&sample.home, "c").unwrap(), [1]);
}

/// Has the lock for so many changes more.
struct FencedAfter(Cell<u32>);

impl Permit for FencedAfter {
    fn hold<T>(&self, change: impl FnOnce() -> T) -> Option<T> {
        let left = self.0.get().checked_sub(1)?;
        self.0.set(left);
        Some(change())
    }
}

/// Everything below a directory, with its bytes.
fn everything(directory: &Path) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
    let mut found = BTreeMap::new();
    for name in names(directory).unwrap() {
        let path = directory.join(name);
        match path.is_dir() {
            true => {
                found.extend(everything(&path));
                found.insert(path, None);
            }
            false => drop(found.insert(path.clone(), Some(fs::read(&path).unwrap()))),
        }
    }
    found
}

#[test]
fn one_that_is_fenced_changes_nothing_more_and_the_next_active_goes_on() {
    let limit = 2 * turn_bytes() + 1;
    let fenced_after = |changes| {
        let sample = Sample::new();
        filed_turns(&sample, 1..=2, limit);
        let span = sample.turn("c", 15, 3, 4, 100);
        let before = everything(sample.home.path());
        let ended = file(&sample.home, &span, limit, &FencedAfter(Cell::new(changes)));
        let changed = everything(sample.home.path()) != before;
        file(&sample.home, &span, limit, &Unfenced).unwrap();
        assert_eq!(list(&sample.home, "c").unwrap(), [1, 8, 15]);
        assert_eq!(workers(&sample), ["c-2", "c-3"].map(String::from).into());
        (matches!(ended, Err(FilingError::Fenced)), changed)
    };
    // The directory is there already; then file, hint, marker and the oldest worker.
    assert_eq!([0, 1].map(fenced_after), [(true, false); 2]);
    assert_eq!([2, 3, 4].map(fenced_after), [(true, true); 3]);
    assert_eq!(fenced_after(5), (false, true));
}

#[test]
fn workers_that_were_given_up_go_and_no_others() {
    let sample = Sample::new();
    let mut span = sample.turn("c", 1, 1, 4, 10);
    span.given_up = ["never", "gone", "started", "../c-1"].map(String::from).into();
    abandon(&sample.home.worker("never")).unwrap();
    let spool = sample.spool("started");
    let started = Started {
        pid: i32::MAX,
        start_time: 1,
        boot_id: "b".into(),
        holder_pid: i32::MAX,
        contracts: Default::default(),
    };
    started.write(&sample.home.worker("started"), &spool).unwrap();
    drop(spool);
    for _ in 0..2 {
        file(&sample.home, &span, UNBOUNDED, &Unfenced).unwrap();
        assert_eq!(workers(&sample), ["c-1", "started"].map(String::from).into());
    }
    // A crash came between the file and the removal.
    abandon(&sample.home.worker("never")).unwrap();
    file(&sample.home, &span, UNBOUNDED, &Unfenced).unwrap();
    assert_eq!(workers(&sample), ["c-1", "started"].map(String::from).into());
}
