//! Root files of a home in a directory of its own.

use super::*;
use crate::io::programs::SIDECAR;
use crate::io::slots::{self, digest};
use crate::promotion::TRIAL_MS;
use holdfast_shared::release::Manifest;
use holdfast_shared::slot::Slot;
use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;

/// A home whose slot b has a release with these root files.
fn home_with(operator: &str, sidecar: &str) -> (tempfile::TempDir, Home, Manifest) {
    let directory = tempfile::tempdir().unwrap();
    let home = Home::new(directory.path().join("home"));
    let bin = home.slot(Slot::B).join("bin");
    std::fs::create_dir_all(&bin).unwrap();
    std::fs::create_dir_all(home.run()).unwrap();
    let mut manifest = Manifest {
        version: "2.0.0".into(),
        target: slots::target(),
        slot: Slot::B,
        contracts: Default::default(),
        reads: Vec::new(),
        writes: Vec::new(),
        must_understand: Vec::new(),
        digests: BTreeMap::new(),
        root: Vec::new(),
        units: Vec::new(),
        signed_by: None,
    };
    for (name, text) in [(OPERATOR, operator), (SIDECAR, sidecar)] {
        let path = bin.join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).unwrap();
        manifest.digests.insert(format!("bin/{name}"), digest(&path).unwrap());
        manifest.root.push(format!("bin/{name}"));
    }
    (directory, home, manifest)
}

fn order(manifest: &Manifest, attempt: &str) -> Order {
    Order { manifest: manifest.clone(), attempt: attempt.into(), now_ms: 1_000 }
}

fn base() -> io::Result<String> {
    digest(Path::new("/proc/self/exe"))
}

#[test]
fn what_is_placed_is_tried_three_times_and_then_put_back() {
    let (_directory, home, manifest) = home_with("#!/bin/sh\nexit 1\n", "s");
    assert_eq!(to_start(&home, base, 1_000, 0), None);
    let Placed::InUse(program) = place(&home, &order(&manifest, "at-7")).unwrap() else { panic!("restored") };
    assert_eq!(std::fs::read_to_string(&program).unwrap(), "#!/bin/sh\nexit 1\n");
    assert!(matches!(place(&home, &order(&manifest, "at-7")).unwrap(), Placed::InUse(_)));
    // The first start is the supervisor's own.
    assert_eq!(to_start(&home, base, 1_000, 0), Some(program.clone()));
    assert_eq!(to_start(&home, base, 1_000, 0), Some(program.clone()));
    assert_eq!(to_start(&home, base, 1_000, 0), None);
    assert!(read(&home).unwrap().was_restored("at-7"));
    assert!(matches!(place(&home, &order(&manifest, "at-7")).unwrap(), Placed::Restored));
    tidy(&home).unwrap();
    assert!(!program.exists());
}

#[test]
fn what_is_confirmed_stays_until_the_keeper_is_another_one() {
    let (_directory, home, manifest) = home_with("#!/bin/sh\n", "s");
    let Placed::InUse(program) = place(&home, &order(&manifest, "at-7")).unwrap() else { panic!("restored") };
    write(&home, &read(&home).unwrap().confirmed()).unwrap();
    tidy(&home).unwrap();
    for _ in 0..9 {
        assert_eq!(to_start(&home, base, 1_000 + TRIAL_MS, 0), Some(program.clone()));
    }
    assert_eq!(to_start(&home, || Ok("newer".to_owned()), 1_000, 0), None);
    assert_eq!(read(&home).unwrap(), InUse::default());
}

#[test]
fn a_second_one_that_is_not_confirmed_brings_back_the_first() {
    let (_directory, home, manifest) = home_with("#!/bin/sh\n", "s");
    let Placed::InUse(first) = place(&home, &order(&manifest, "at-1")).unwrap() else { panic!("restored") };
    write(&home, &read(&home).unwrap().confirmed()).unwrap();
    place(&home, &order(&manifest, "at-2")).unwrap();
    assert_eq!(to_start(&home, base, 1_000 + TRIAL_MS, 0), Some(first));
    assert!(restore(&home, "at-1").unwrap());
    assert!(!restore(&home, "at-1").unwrap());
    assert_eq!(to_start(&home, base, 1_000, 0), None);
}

#[test]
fn what_was_not_verified_or_does_not_execute_is_not_placed() {
    let (_directory, home, mut manifest) = home_with("no program", "s");
    let refused = place(&home, &order(&manifest, "at-1")).unwrap_err();
    assert!(refused.message.contains("execute"), "{}", refused.message);
    manifest.digests.insert("bin/holdfast".into(), "0".repeat(64));
    let refused = place(&home, &order(&manifest, "at-1")).unwrap_err();
    assert!(refused.message.contains("verified"), "{}", refused.message);
    assert_eq!(read(&home).unwrap(), InUse::default());
}

#[test]
fn what_cannot_be_executed_any_more_is_left_for_what_was_in_use_before() {
    let (_directory, home, manifest) = home_with("#!/bin/sh\n", "s");
    let place_and_confirm = |attempt: &str| {
        let Placed::InUse(program) = place(&home, &order(&manifest, attempt)).unwrap() else {
            panic!("restored")
        };
        write(&home, &read(&home).unwrap().confirmed()).unwrap();
        program
    };
    let (first, second) = (place_and_confirm("at-1"), place_and_confirm("at-2"));
    assert!(!leave(&home, &second) && !leave(&home, &first), "both can be executed");
    std::fs::write(&second, "no program any more").unwrap();
    assert!(!leave(&home, &first), "it is not in use");
    assert!(leave(&home, &second));
    assert_eq!(to_start(&home, base, 1_000, 0), Some(first.clone()));
    std::fs::set_permissions(&first, std::fs::Permissions::from_mode(0o600)).unwrap();
    assert!(leave(&home, &first));
    assert_eq!(to_start(&home, base, 1_000, 0), None);
}

#[test]
fn a_promotion_that_failed_leaves_nothing_behind_the_next_one() {
    let (_directory, home, manifest) = home_with("#!/bin/sh\n", "s");
    for number in 1..9 {
        let attempt = format!("at-{number}");
        place(&home, &order(&manifest, &attempt)).unwrap();
        assert!(restore(&home, &attempt).unwrap());
        let below = std::fs::read_dir(home.root()).unwrap().flatten();
        assert_eq!(below.filter(|entry| entry.path().is_dir()).count(), 1, "{attempt}");
    }
    tidy(&home).unwrap();
    assert_eq!(std::fs::read_dir(home.root()).unwrap().count(), 1, "in-use.json");
}

#[test]
fn damage_is_the_base() {
    let (_directory, home, _) = home_with("#!/bin/sh\n", "s");
    std::fs::create_dir_all(home.root()).unwrap();
    std::fs::write(home.root().join(IN_USE), "{").unwrap();
    assert_eq!(to_start(&home, base, 1_000, 0), None);
    assert_eq!(read(&home).unwrap_err().code, Code::HomeDamaged);
}
