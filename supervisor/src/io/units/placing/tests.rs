//! Wishes on directories of their own, with a service manager that says what it was asked for.

use super::*;
use crate::io::bundle::{self, keys};
use crate::io::packing::{Packing, pack};
use crate::io::signing::{SigningKey, generate};
use crate::io::slots::digest;
use std::cell::RefCell;
use std::os::unix::fs::{PermissionsExt, symlink};

const NOW: i64 = 1_800_000_000_000;
const HOUR: i64 = 3_600_000;
const SERVICE: &str = "holdfast.service";
const PACKAGED: &str = "[Service]\nExecStart=/usr/lib/holdfast/holdfast keep\n";

/// The node is ready with whatever does not say `broken`.
struct Fake<'a> {
    units: &'a Path,
    asked: RefCell<Vec<&'static str>>,
    wanted: bool,
}

impl Manager for Fake<'_> {
    fn reload(&self) -> io::Result<()> {
        self.asked.borrow_mut().push("reload");
        Ok(())
    }
    fn restart(&self, _: Duration) -> io::Result<()> {
        self.asked.borrow_mut().push("restart");
        let text = std::fs::read_to_string(self.units.join(SERVICE)).unwrap_or_default();
        if text.contains("broken") { Err(io::Error::other("not ready")) } else { Ok(()) }
    }
    fn loaded(&self, unit: &str) -> io::Result<()> {
        let text = std::fs::read_to_string(self.units.join(unit))?;
        if text.contains("no unit") { Err(io::Error::other("bad-setting")) } else { Ok(()) }
    }
    fn is_wanted(&self) -> bool {
        self.wanted
    }
}

struct World {
    directory: tempfile::TempDir,
    places: Places,
    secret: PathBuf,
}

impl World {
    /// A machine with the package's units and a key of root's.
    fn new() -> World {
        let directory = tempfile::tempdir().unwrap();
        let below = |name: &str| directory.path().join(name);
        let places = Places {
            home: Home::new(below("home")),
            state: below("state"),
            keys: below("etc-keys"),
            units: below("etc"),
            packaged: vec![below("lib")],
            programs: "/usr/lib/holdfast/".into(),
            version: "1.0.0".into(),
            owner: nix::unistd::geteuid().as_raw(),
        };
        let home = &places.home;
        for made in [home.run(), home.incoming(), below("etc"), below("lib"), below("keys"), below("tree")] {
            std::fs::create_dir_all(made).unwrap();
        }
        std::fs::write(below("lib").join(SERVICE), PACKAGED).unwrap();
        let key = generate(&below("keys"), "release", None).unwrap();
        keys::trust(&places.keys, &key.public).unwrap();
        for name in ["holdfast", "holdfast-sidecar"] {
            std::fs::write(below("tree").join(name), name).unwrap();
        }
        let runtime = below("tree").join("holdfast-runtime");
        let says = r#"{"version": "1.0.0", "contracts": {}, "reads": ["a"], "writes": ["a"], "must_understand": []}"#;
        std::fs::write(&runtime, format!("#!/bin/sh\necho '{says}'\n")).unwrap();
        std::fs::set_permissions(&runtime, PermissionsExt::from_mode(0o700)).unwrap();
        World { places, secret: key.secret, directory }
    }

    /// The node wishes for a release with this service.
    fn wish(&self, attempt: &str, version: &str, service: Option<&str>) {
        let units = self.directory.path().join("units");
        let _ = std::fs::remove_dir_all(&units);
        std::fs::create_dir(&units).unwrap();
        if let Some(service) = service {
            std::fs::write(units.join(SERVICE), service).unwrap();
        }
        let packing = Packing {
            from: self.directory.path().join("tree"),
            units: service.map(|_| units),
            out: self.directory.path().join("release.tar.zst"),
            version: Some(version.to_owned()),
            created_at: NOW - HOUR,
            expires_at: NOW + HOUR,
        };
        let packed = pack(&packing, &SigningKey::read(&self.secret, None).unwrap()).unwrap();
        let sha256 = digest(&packed.bundle).unwrap();
        let incoming = self.places.home.incoming().join(format!("{sha256}.tar.zst"));
        std::fs::rename(&packed.signature, bundle::signature_path(&incoming)).unwrap();
        std::fs::rename(&packed.bundle, incoming).unwrap();
        crate::io::units::wish(&self.places.home, &asked(attempt, sha256)).unwrap();
    }

    fn manager(&self) -> Fake<'_> {
        Fake { units: &self.places.units, asked: RefCell::default(), wanted: true }
    }

    /// Carries it out; the end and its reason, and what was asked of the manager.
    fn apply_at(&self, now_ms: i64) -> (Option<(End, String)>, Vec<&'static str>) {
        let manager = self.manager();
        let outcome = apply(&self.places, &manager, now_ms).unwrap();
        (outcome.map(|outcome| (outcome.end, outcome.reason)), manager.asked.into_inner())
    }

    fn refused(&self) -> String {
        let (outcome, asked) = self.apply_at(NOW);
        assert!(asked.is_empty(), "{asked:?}");
        let (end, reason) = outcome.expect("an answer");
        assert_eq!(end, End::Refused);
        assert!(!self.places.state.join(REMEMBERED).exists());
        reason
    }

    fn service(&self) -> Option<String> {
        std::fs::read_to_string(self.places.units.join(SERVICE)).ok()
    }
}

fn asked(attempt: &str, sha256: String) -> Wish {
    Wish { attempt: attempt.into(), since: 1, sha256 }
}

fn applied() -> Option<(End, String)> {
    Some((End::Applied, String::new()))
}

#[test]
fn what_is_wished_is_placed_once_and_a_later_release_follows_it() {
    let world = World::new();
    assert_eq!(world.apply_at(NOW), (None, vec![]));
    world.wish("at-1", "1.0.0", Some("[Service]\nExecStart=/usr/lib/holdfast/holdfast keep # 1\n"));
    assert_eq!(world.apply_at(NOW), (applied(), vec!["reload", "restart"]));
    assert!(world.service().unwrap().ends_with("# 1\n"));
    let mode = std::fs::metadata(world.places.units.join(SERVICE)).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o644);
    assert_eq!(world.apply_at(NOW), (None, vec![]), "it is answered");
    world.wish("at-2", "1.1.0", Some("# 2\n"));
    assert_eq!(world.apply_at(NOW), (applied(), vec!["reload", "restart"]));
    assert_eq!(world.service().unwrap(), "# 2\n");
    world.wish("at-3", "1.2.0", Some("# 2\n"));
    assert_eq!(world.apply_at(NOW), (applied(), vec![]), "nothing changes");
    world.wish("at-4", "1.3.0", Some(PACKAGED));
    assert_eq!(world.apply_at(NOW), (applied(), vec!["reload", "restart"]));
    assert_eq!(world.service(), None, "the package's holds again");
}

#[test]
fn programs_are_named_where_this_machine_has_them() {
    let mut world = World::new();
    world.places.programs = "/usr/local/lib/holdfast/".into();
    world.wish("at-1", "1.0.0", Some("ExecStart=/usr/lib/holdfast/holdfast keep # 1\n"));
    assert_eq!(world.apply_at(NOW).0, applied());
    assert_eq!(world.service().unwrap(), "ExecStart=/usr/local/lib/holdfast/holdfast keep # 1\n");
}

#[test]
fn a_node_that_is_not_ready_has_its_previous_units_back() {
    let world = World::new();
    world.wish("at-1", "1.0.0", Some("# good\n"));
    world.apply_at(NOW);
    world.wish("at-2", "1.1.0", Some("# broken\n"));
    let restored = Some((End::Restored, "unit_not_ready".to_owned()));
    assert_eq!(world.apply_at(NOW), (restored, vec!["reload", "restart", "reload", "restart"]));
    assert_eq!(world.service().unwrap(), "# good\n");
    assert!(!world.places.state.join(REMEMBERED).exists());
    // And what was placed before is still known as a bundle's.
    world.wish("at-3", "1.2.0", Some("# better\n"));
    assert_eq!(world.apply_at(NOW).0, applied());
}

#[test]
fn whoever_finds_the_previous_state_puts_it_back() {
    let world = World::new();
    world.wish("at-1", "1.0.0", Some("# one\n"));
    world.apply_at(NOW);
    let before: Placed = read(&world.places.state.join(PLACED)).unwrap();
    // Killed behind the placing, before the answer.
    world.wish("at-2", "1.1.0", Some("# two\n"));
    let remembered = Remembered {
        wish: taken::wish(&world.places.home).unwrap().unwrap(),
        before: Texts::from([(SERVICE.into(), Some("# one\n".into())), ("holdfast.socket".into(), None)]),
        placed: before.clone(),
    };
    write(&world.places.state.join(REMEMBERED), &remembered).unwrap();
    std::fs::write(world.places.units.join(SERVICE), "# two\n").unwrap();
    std::fs::write(world.places.units.join("holdfast.socket"), "# two\n").unwrap();
    let manager = Fake { wanted: false, ..world.manager() };
    assert_eq!(apply(&world.places, &manager, NOW).unwrap(), None, "that attempt is answered");
    assert_eq!(manager.asked.into_inner(), ["reload"], "a node that was stopped stays so");
    assert_eq!(world.service().unwrap(), "# one\n");
    assert!(!world.places.units.join("holdfast.socket").exists());
    let outcome: Outcome = read(&world.places.state.join(OUTCOME)).unwrap();
    assert_eq!((outcome.wish.attempt.as_str(), outcome.end), ("at-2", End::Restored));
    // Killed behind the answer: it is complete.
    write(&world.places.state.join(REMEMBERED), &remembered).unwrap();
    std::fs::write(world.places.units.join(SERVICE), "# two\n").unwrap();
    assert_eq!(world.apply_at(NOW), (None, vec![]));
    assert_eq!(world.service().unwrap(), "# two\n");
    assert!(!world.places.state.join(REMEMBERED).exists());
}

#[test]
fn a_unit_that_systemd_does_not_take_is_put_back_though_nobody_starts_it_now() {
    let world = World::new();
    world.wish("at-1", "1.0.0", Some("# no unit\n"));
    let restored = Some((End::Restored, "unit_not_ready".to_owned()));
    assert_eq!(world.apply_at(NOW), (restored, vec!["reload", "reload", "restart"]));
    assert_eq!(world.service(), None);
}

#[test]
fn what_is_not_wished_any_more_is_not_placed() {
    let world = World::new();
    world.wish("at-1", "1.0.0", Some("# 1\n"));
    let wish = taken::wish(&world.places.home).unwrap().unwrap();
    let why = |manager: &Fake<'_>, begun| outdated(&world.places, manager, &wish, begun).map(|(why, _)| why);
    let now = Instant::now();
    assert_eq!(why(&world.manager(), now), None);
    assert_eq!(why(&Fake { wanted: false, ..world.manager() }, now), Some("node_stopped"));
    let earlier = now.checked_sub(TAKEN + Duration::from_secs(1)).unwrap();
    assert_eq!(why(&world.manager(), earlier), Some("bundle_not_taken_in_time"));
    crate::io::units::wish(&world.places.home, &Wish { since: 2, ..wish.clone() }).unwrap();
    assert_eq!(why(&world.manager(), now), Some("wish_withdrawn"));
    crate::io::units::withdraw(&world.places.home).unwrap();
    crate::io::units::withdraw(&world.places.home).unwrap();
    assert_eq!(why(&world.manager(), now), Some("wish_withdrawn"));
}

#[test]
fn a_run_that_is_killed_while_it_reads_has_changed_nothing() {
    let world = World::new();
    world.wish("at-1", "1.0.0", Some("# 1\n"));
    let wish = taken::wish(&world.places.home).unwrap().unwrap();
    std::fs::create_dir_all(world.places.state.join("work")).unwrap();
    remember(&world.places, &wish, Texts::new()).unwrap();
    assert_eq!(world.apply_at(NOW), (None, vec![]), "it is answered");
    let outcome: Outcome = read(&world.places.state.join(OUTCOME)).unwrap();
    assert_eq!((outcome.wish, outcome.end, outcome.reason.as_str()), (wish, End::Refused, "interrupted"));
    assert!(!world.places.state.join("work").exists());
    assert!(!world.places.state.join(REMEMBERED).exists());
}

#[test]
fn without_a_key_of_roots_nothing_is_placed() {
    let mut world = World::new();
    world.wish("at-1", "1.0.0", Some("# 1\n"));
    world.places.owner = 1;
    assert_eq!(world.refused(), "units_key_not_roots");
    world.places.owner = nix::unistd::geteuid().as_raw();
    let key = world.places.keys.join("release.pub");
    std::fs::set_permissions(&key, PermissionsExt::from_mode(0o664)).unwrap();
    world.wish("at-2", "1.0.0", Some("# 1\n"));
    assert_eq!(world.refused(), "units_key_not_roots");
    std::fs::rename(&key, world.directory.path().join("release.pub")).unwrap();
    symlink(world.directory.path().join("release.pub"), &key).unwrap();
    world.wish("at-3", "1.0.0", Some("# 1\n"));
    assert_eq!(world.refused(), "units_key_is_a_link");
    std::fs::remove_file(&key).unwrap();
    world.wish("at-4", "1.0.0", Some("# 1\n"));
    assert_eq!(world.refused(), "units_key_missing");
    std::fs::remove_dir_all(&world.places.keys).unwrap();
    world.wish("at-5", "1.0.0", Some("# 1\n"));
    assert_eq!(world.refused(), "units_key_missing");
    let other = generate(world.directory.path(), "other", None).unwrap();
    keys::trust(&world.places.keys, &other.public).unwrap();
    world.wish("at-6", "1.0.0", Some("# 1\n"));
    assert_eq!(world.refused(), "bundle_key_untrusted");
    assert_eq!(world.service(), None);
}

#[test]
fn what_is_old_foreign_or_without_units_is_refused() {
    let world = World::new();
    world.wish("at-1", "1.0.0", None);
    assert_eq!(world.refused(), "bundle_without_units");
    world.wish("at-1", "0.9.0", Some("# 0\n"));
    assert_eq!(world.refused(), "bundle_downgrade", "older than what is installed");
    world.wish("at-2", "2.0.0", Some("# 2\n"));
    let (outcome, _) = world.apply_at(NOW + HOUR);
    assert_eq!(outcome, Some((End::Refused, "bundle_expired".to_owned())));
    world.wish("at-3", "2.0.0", Some("# 2\n"));
    assert_eq!(world.apply_at(NOW).0, applied());
    world.wish("at-4", "1.9.0", Some("# 1\n"));
    assert_eq!(world.refused(), "bundle_downgrade");
    std::fs::write(world.places.units.join(SERVICE), "# by hand\n").unwrap();
    world.wish("at-5", "2.1.0", Some("# 3\n"));
    assert_eq!(world.refused(), "unit_of_the_administrator");
    assert_eq!(world.service().unwrap(), "# by hand\n");
    std::fs::remove_file(world.places.units.join(SERVICE)).unwrap();
    symlink("/dev/null", world.places.units.join(SERVICE)).unwrap();
    world.wish("at-6", "2.1.0", Some("# 3\n"));
    assert_eq!(world.refused(), "unit_of_the_administrator", "it is masked");
    std::fs::remove_dir_all(world.places.home.incoming()).unwrap();
    crate::io::units::wish(&world.places.home, &asked("at-7", "0".repeat(64))).unwrap();
    assert_eq!(world.refused(), "bundle_not_taken");
}

#[test]
fn a_package_removes_what_a_bundle_has_placed_and_nothing_else() {
    let world = World::new();
    assert_eq!(remove(&world.places).unwrap(), Vec::<String>::new());
    world.wish("at-1", "1.0.0", Some("# 1\n"));
    world.apply_at(NOW);
    std::fs::write(world.places.units.join("holdfast.socket"), "# by hand\n").unwrap();
    assert_eq!(remove(&world.places).unwrap(), [SERVICE]);
    assert_eq!(world.service(), None);
    assert!(world.places.units.join("holdfast.socket").exists());
    let again = taken::wish(&world.places.home).unwrap().unwrap();
    crate::io::units::wish(&world.places.home, &Wish { since: 2, ..again }).unwrap();
    assert_eq!(world.refused(), "bundle_removed", "the same bundle for another attempt");
    assert_eq!(remove(&world.places).unwrap(), Vec::<String>::new());
    // In the middle of placing: what was there before is the bundle's too.
    world.wish("at-2", "1.1.0", Some("# 2\n"));
    world.apply_at(NOW);
    let remembered = Remembered {
        wish: asked("at-3", "0".repeat(64)),
        before: Texts::from([(SERVICE.into(), Some("# 2\n".into()))]),
        placed: read(&world.places.state.join(PLACED)).unwrap(),
    };
    write(&world.places.state.join(REMEMBERED), &remembered).unwrap();
    std::fs::write(world.places.units.join(SERVICE), "# 3\n").unwrap();
    assert_eq!(remove(&world.places).unwrap(), [SERVICE]);
    assert_eq!(world.service(), None);
}
