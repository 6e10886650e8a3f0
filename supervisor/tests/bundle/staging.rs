//! Into a slot: what is there afterwards, and what keeps it from being touched.

use super::support::{NOW, VERSION, World, good, names, noise, rules};
use holdfast_shared::home::Role;
use holdfast_shared::process::RoleLock;
use holdfast_shared::slot::Slot;
use holdfast_supervisor::io::bundle::{Step, lease, stage, verify};
use holdfast_supervisor::io::journal::SupervisorJournal;
use holdfast_supervisor::io::slots;
use holdfast_supervisor::node_state::{Change, Epoch};
use holdfast_supervisor::release::{BundleError, Limits, Rules};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

#[test]
fn a_slot_has_exactly_the_bundle_and_nothing_is_left_beside_it() {
    let world = World::new();
    let manifest = world.stage(&world.pack(VERSION), Slot::B).unwrap();
    assert_eq!(world.version_in(Slot::B), VERSION);
    assert_eq!(slots::manifest(&world.home, Slot::B).unwrap().unwrap(), manifest);
    assert_eq!(manifest.root, ["bin/holdfast", "bin/holdfast-sidecar"]);
    assert_eq!(manifest.signed_by.as_deref(), Some(world.trusted().keys()[0].id.as_str()));
    let slot = world.home.slot(Slot::B);
    assert_eq!(names(&slot), ["bin", "manifest.json"]);
    assert_eq!(names(&slot.join("bin")), ["holdfast", "holdfast-runtime", "holdfast-sidecar"]);
    let mode = |below: &str| slot.join(below).metadata().unwrap().permissions().mode() & 0o7777;
    assert_eq!(
        [mode(""), mode("bin"), mode("bin/holdfast"), mode("manifest.json")],
        [0o700, 0o700, 0o700, 0o600]
    );
    assert!(world.beside_slots().is_empty(), "{:?}", world.beside_slots());
}

#[test]
fn the_next_release_replaces_the_last_one_whole() {
    let world = World::new();
    world.stage(&world.pack(VERSION), Slot::A).unwrap();
    let small = world.forge(&good());
    world.stage(&small, Slot::A).unwrap();
    assert_eq!(names(&world.home.slot(Slot::A).join("bin")), ["holdfast-runtime"]);
    assert_eq!(world.version_in(Slot::A), VERSION);
    assert!(world.beside_slots().is_empty());
}

#[test]
fn progress_goes_through_the_steps_and_counts_every_byte() {
    let world = World::new();
    let mut seen = Vec::new();
    world.stage_with(&world.pack(VERSION), Slot::B, &mut |progress| seen.push(progress)).unwrap();
    assert!(seen.is_sorted_by_key(|progress| (progress.step, progress.done_bytes)));
    let last = seen.last().unwrap();
    assert_eq!((last.step, last.done_bytes), (Step::Tidied, last.total_bytes));
    assert!(seen.iter().filter(|progress| progress.step == Step::Unpacking).count() > 3);
}

#[test]
fn the_highest_version_is_remembered_and_an_older_one_needs_leave() {
    let world = World::new();
    let (older, newer) = (world.pack("1.9.0"), world.pack("1.10.0"));
    world.stage(&older, Slot::B).unwrap();
    world.stage(&newer, Slot::B).unwrap();
    assert_eq!(world.code(&older), "bundle_downgrade");
    let leave = Rules { allow_downgrade: true, ..rules() };
    let verified = verify(&older, &world.trusted(), &leave).unwrap();
    stage(&verified, Slot::B, &world.home, "back", &mut |_| {}).unwrap();
    assert_eq!(world.version_in(Slot::B), "1.9.0");
    assert_eq!(world.code(&older), "bundle_downgrade");
    assert_eq!(world.code(&newer), "");
}

#[test]
fn the_active_slot_and_one_that_is_run_from_are_not_touched() {
    let world = World::new();
    let bundle = world.pack(VERSION);
    world.stage(&bundle, Slot::A).unwrap();
    std::fs::create_dir_all(world.home.run()).unwrap();
    let refused = |slot| world.stage(&world.pack("1.5.0"), slot).unwrap_err().code();
    let running = RoleLock::take(&world.home, Role::Runtime(Slot::A), "rt-a").unwrap();
    assert_eq!(refused(Slot::A), "slot_in_use");
    drop(running);
    let mut journal = SupervisorJournal::open(&world.home, "sv-test", NOW.unsigned_abs()).unwrap();
    journal.append(vec![Change::Committed(Epoch { slot: Slot::A, epoch: 1 })]).unwrap();
    assert_eq!(refused(Slot::A), "slot_in_use");
    assert_eq!(world.version_in(Slot::A), VERSION);
    assert!(world.beside_slots().is_empty());
    world.stage(&world.pack("1.5.0"), Slot::B).unwrap();
}

#[test]
fn a_lease_keeps_other_attempts_out_and_is_given_back() {
    let world = World::new();
    let verified = world.verify(&world.pack(VERSION)).unwrap();
    let mut other = None;
    stage(&verified, Slot::B, &world.home, "first", &mut |_| {
        let lease = lease::current(&world.home).unwrap().unwrap();
        assert_eq!((lease.attempt.as_str(), lease.slot), ("first", Slot::B));
        other = Some(stage(&verified, Slot::B, &world.home, "second", &mut |_| {}).unwrap_err().code());
    })
    .unwrap();
    assert_eq!(other, Some("slot_leased"));
    assert_eq!(lease::current(&world.home).unwrap(), None);
}

#[test]
fn a_revoked_lease_ends_the_staging_wherever_it_is() {
    for at in [Step::Leased, Step::Cleaned, Step::Unpacking, Step::Unpacked] {
        let world = World::new();
        world.stage(&world.pack(VERSION), Slot::B).unwrap();
        let refused = world.stage_with(&world.pack("2.0.0"), Slot::B, &mut |progress| {
            if progress.step == at && lease::current(&world.home).unwrap().is_some() {
                assert_eq!(lease::revoke(&world.home).unwrap().unwrap().attempt, "attempt-1");
            }
        });
        assert_eq!(refused.unwrap_err().code(), "lease_revoked", "{at:?}");
        assert_eq!(world.version_in(Slot::B), VERSION, "{at:?}");
        assert!(world.beside_slots().is_empty(), "{at:?}: {:?}", world.beside_slots());
    }
}

#[test]
fn an_attempt_that_is_carried_out_again_ends_its_first_carrying_out() {
    let world = World::new();
    let verified = world.verify(&world.pack(VERSION)).unwrap();
    let mut again = false;
    let first = stage(&verified, Slot::B, &world.home, "attempt-1", &mut |progress| {
        if progress.step == Step::Cleaned && !again {
            again = true;
            world.stage(&world.pack("2.0.0"), Slot::B).unwrap();
        }
    });
    assert_eq!(first.unwrap_err().code(), "lease_revoked");
    assert_eq!(world.version_in(Slot::B), "2.0.0");
    assert!(world.beside_slots().is_empty());
}

#[test]
fn a_bundle_that_is_changed_after_it_was_verified_is_not_staged() {
    let world = World::new();
    let bundle = world.pack(VERSION);
    let other = std::fs::read(world.pack("1.5.0")).unwrap();
    let code = |bytes: &[u8]| {
        let verified = world.verify(&world.pack(VERSION)).unwrap();
        std::fs::write(&bundle, bytes).unwrap();
        let refused = stage(&verified, Slot::B, &world.home, "attempt-1", &mut |_| {}).unwrap_err();
        assert!(!world.home.slot(Slot::B).exists() && world.beside_slots().is_empty());
        refused.code()
    };
    let read: fn(&Path) -> Vec<u8> = |path| std::fs::read(path).unwrap();
    let whole = read(&bundle);
    assert_eq!(code(&other), "bundle_digest_mismatch");
    assert_eq!(code(&whole[..whole.len() / 2]), "bundle_malformed");
    assert_eq!(code(&noise(9, 1000)), "bundle_malformed");
}

#[test]
fn an_attempt_id_is_no_path() {
    let world = World::new();
    let verified = world.verify(&world.pack(VERSION)).unwrap();
    for attempt in ["../../x", "a/b", "a b", "a\0"] {
        let refused = stage(&verified, Slot::B, &world.home, attempt, &mut |_| {}).unwrap_err();
        assert_eq!(refused.code(), "bundle_path_refused", "{attempt}");
        assert!(world.beside_slots().is_empty());
    }
}

/// A disk of a few MiB where the slots are.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(at: &Path, kibibytes: u32) -> Option<Self> {
        std::fs::create_dir_all(at).unwrap();
        let options = format!("size={kibibytes}k,mode=700");
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", &options, "holdfast-test"]).arg(at).output();
        if mounted.is_ok_and(|output| output.status.success()) {
            return Some(Self(at.to_owned()));
        }
        println!("SKIPPED: a full disk: this process may not mount a tmpfs");
        None
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn too_little_disk_is_said_before_anything_is_written() {
    let world = World::new();
    let Some(_disk) = SmallDisk::mount(&world.home.slots(), 3000) else { return };
    let bundle = world.pack(VERSION);
    let limits = Limits { reserve_bytes: 2 * 1024 * 1024, ..Limits::default() };
    let verified = verify(&bundle, &world.trusted(), &Rules { limits, ..rules() }).unwrap();
    let mut last = None;
    let refused =
        stage(&verified, Slot::B, &world.home, "attempt-1", &mut |progress| last = Some(progress.step));
    assert!(matches!(refused, Err(BundleError::StorageFull { needed, free, .. }) if needed > free));
    assert_eq!(last, Some(Step::Leased));
    world.stage(&bundle, Slot::B).unwrap();
}

#[test]
fn a_disk_that_fills_up_while_unpacking_leaves_the_old_release() {
    let world = World::new();
    let Some(_disk) = SmallDisk::mount(&world.home.slots(), 3000) else { return };
    world.stage(&world.pack(VERSION), Slot::B).unwrap();
    let filler = world.home.slots().join("a");
    let refused = world.stage_with(&world.pack("2.0.0"), Slot::B, &mut |progress| {
        if progress.step == Step::Cleaned {
            // Somebody else takes what the check found free.
            std::fs::write(&filler, noise(4, 1_300_000)).unwrap();
        }
    });
    assert_eq!(refused.unwrap_err().code(), "storage_full");
    assert_eq!(world.version_in(Slot::B), VERSION);
    assert!(world.beside_slots().is_empty(), "{:?}", world.beside_slots());
    std::fs::remove_file(&filler).unwrap();
    world.stage(&world.pack("2.0.0"), Slot::B).unwrap();
    assert_eq!(world.version_in(Slot::B), "2.0.0");
}
