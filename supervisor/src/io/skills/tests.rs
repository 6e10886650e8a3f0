use super::*;
use holdfast_shared::skill::find;
use holdfast_shared::spool::SpoolLock;
use holdfast_shared::worker::{Limits, OutputMode};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

const MANIFEST_TEXT: &str =
    "name = \"x\"\nversion = \"1\"\nprotocol = \"acp\"\nargv = [\"./bin/run\"]\nauthenticate = \"key\"\n";

struct Place {
    directory: tempfile::TempDir,
    home: Home,
}

impl Place {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let home = Home::new(directory.path().join("home"));
        std::fs::create_dir_all(home.workers()).unwrap();
        Self { directory, home }
    }

    fn skill(&self) -> PathBuf {
        self.directory.path().join("skill")
    }

    /// A directory with this manifest and a program.
    fn write(&self, manifest: &str) -> PathBuf {
        let skill = self.skill();
        std::fs::create_dir_all(skill.join("bin")).unwrap();
        std::fs::write(skill.join(MANIFEST), manifest).unwrap();
        let program = skill.join("bin/run");
        std::fs::write(&program, "#!/bin/sh\n").unwrap();
        std::fs::set_permissions(program, PermissionsExt::from_mode(0o700)).unwrap();
        skill
    }

    fn names(&self) -> Vec<String> {
        let list = list(&self.home).unwrap();
        let names = list["skills"].as_array().unwrap().iter();
        names
            .map(|skill| format!("{} {}", skill["name"].as_str().unwrap(), skill["state"].as_str().unwrap()))
            .collect()
    }

    /// A worker of the skill, whose spool is locked by us.
    fn worker(&self) -> SpoolLock {
        let directory = self.home.worker("w1");
        std::fs::create_dir(&directory).unwrap();
        let order = Order {
            spawn_id: "w1".into(),
            task: "busy".into(),
            turn: String::new(),
            protocol: holdfast_shared::worker::Protocol::Acp,
            mode: OutputMode::Lines,
            argv: Vec::new(),
            env: BTreeMap::from([(SKILL_VARIABLE.to_owned(), "x".to_owned())]),
            cwd: "/".into(),
            output_quota_bytes: 1,
            term_grace_ms: 1,
            kill_grace_ms: 1,
            limits: Limits::default(),
            user: None,
        };
        order.write(&directory).unwrap();
        SpoolLock::take(&directory).unwrap()
    }
}

#[test]
fn a_skill_is_installed_listed_loaded_and_removed() {
    let place = Place::new();
    let skill = place.write(MANIFEST_TEXT);
    std::os::unix::fs::symlink("bin/run", skill.join("link")).unwrap();
    let answer = install(&place.home, &skill).unwrap();
    assert_eq!((answer["name"].as_str(), &answer["replaced"]), (Some("x"), &Value::Null));
    assert_eq!(place.names(), ["command built_in", "demo built_in", "x ok"]);
    let found = find(&place.home, "x").unwrap().unwrap();
    assert_eq!((found.version.as_str(), found.authenticate.as_deref()), ("1", Some("key")));
    let Skill::Installed { directory, manifest, user: None } = load(&place.home, "x", "1").unwrap() else {
        panic!("another kind")
    };
    assert_eq!(manifest.argv, ["./bin/run"]);
    let program = directory.join("bin/run").metadata().unwrap().permissions().mode();
    assert_eq!(program & 0o777, 0o755);
    assert_eq!(directory.join("link").read_link().unwrap(), Path::new("bin/run"));
    remove(&place.home, "x").unwrap();
    assert_eq!(place.names(), ["command built_in", "demo built_in"]);
    assert!(!directory.exists());
    assert_eq!(remove(&place.home, "x").unwrap_err().code, Code::InvalidRequest);
    assert_eq!(load(&place.home, "x", "").unwrap_err().code, Code::InvalidRequest);
}

#[test]
fn another_version_takes_the_place_whole() {
    let place = Place::new();
    let skill = place.write(MANIFEST_TEXT);
    std::fs::write(skill.join("old"), "").unwrap();
    install(&place.home, &skill).unwrap();
    std::fs::remove_file(skill.join("old")).unwrap();
    place.write(&MANIFEST_TEXT.replace("\"1\"", "\"2\""));
    assert_eq!(install(&place.home, &skill).unwrap()["replaced"], "1");
    assert!(!place.home.skills().join("x/old").exists());
    let refused = load(&place.home, "x", "1").unwrap_err();
    assert!(refused.message.contains("version 2, not 1"), "{}", refused.message);
    assert!(load(&place.home, "x", "2").is_ok());
    let left: Vec<String> = std::fs::read_dir(place.home.skills())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with('.') && name != ".lock" && name != ".lease")
        .collect();
    assert_eq!(left, Vec::<String>::new());
}

#[test]
fn what_was_changed_or_is_gone_is_refused_by_name() {
    let place = Place::new();
    install(&place.home, &place.write(MANIFEST_TEXT)).unwrap();
    let manifest = place.home.skills().join("x").join(MANIFEST);
    std::fs::write(&manifest, format!("{MANIFEST_TEXT}user = \"root\"\n")).unwrap();
    let refused = load(&place.home, "x", "").unwrap_err();
    assert!(refused.code == Code::Refused && refused.message.contains("was changed"), "{refused:?}");
    assert_eq!(place.names()[2], "x refused");
    std::fs::remove_file(&manifest).unwrap();
    let refused = load(&place.home, "x", "").unwrap_err();
    assert!(
        refused.message.contains("is missing") && refused.message.contains("skill install"),
        "{refused:?}"
    );
    std::fs::write(place.home.skill_index(), "{").unwrap();
    assert_eq!(load(&place.home, "x", "").unwrap_err().code, Code::HomeDamaged);
    assert!(load(&place.home, "demo", "").is_ok());
}

#[test]
fn nothing_is_changed_under_a_running_worker() {
    let place = Place::new();
    let skill = place.write(MANIFEST_TEXT);
    install(&place.home, &skill).unwrap();
    let lock = place.worker();
    for refused in [install(&place.home, &skill), remove(&place.home, "x")] {
        let refused = refused.unwrap_err();
        assert!(refused.code == Code::Busy && refused.message.contains("busy"), "{refused:?}");
    }
    assert_eq!(place.names()[2], "x ok");
    lock.release().unwrap();
    assert!(remove(&place.home, "x").is_ok());
}

#[test]
fn no_worker_is_started_while_a_skill_is_exchanged_nor_the_other_way_round() {
    let place = Place::new();
    assert!(lease::share(&place.home).unwrap().is_none(), "there is no skill");
    install(&place.home, &place.write(MANIFEST_TEXT)).unwrap();
    let starting = [lease::share(&place.home).unwrap(), lease::share(&place.home).unwrap()];
    let busy = lease::exclude_within(&place.home, Duration::ZERO).unwrap_err();
    assert_eq!((busy.code, busy.retryable), (Code::Busy, true));
    drop(starting);
    let changing = lease::exclude(&place.home).unwrap();
    assert_eq!(lease::share(&place.home).unwrap_err().code, Code::Busy);
    drop(changing);
    assert!(lease::share(&place.home).unwrap().is_some());
}

#[test]
fn a_worker_that_starts_while_a_skill_is_copied_is_seen_before_the_exchange() {
    let place = Place::new();
    let skill = place.write(MANIFEST_TEXT);
    install(&place.home, &skill).unwrap();
    place.write(&MANIFEST_TEXT.replace("\"1\"", "\"2\""));
    let starting = lease::share(&place.home).unwrap();
    let refused = std::thread::scope(|scope| {
        let installing = scope.spawn(|| install(&place.home, &skill));
        let copied = place.home.skills().join(".new").join(MANIFEST);
        while !copied.exists() && !installing.is_finished() {
            std::thread::yield_now();
        }
        let _worker = place.worker();
        drop(starting);
        installing.join().unwrap().unwrap_err()
    });
    assert!(refused.code == Code::Busy && refused.message.contains("busy"), "{refused:?}");
    assert!(load(&place.home, "x", "1").is_ok(), "it is what it was");
}

#[test]
fn what_cannot_be_installed_leaves_everything_as_it_was() {
    let place = Place::new();
    let skill = place.write(MANIFEST_TEXT);
    install(&place.home, &skill).unwrap();
    let before = std::fs::read(place.home.skill_index()).unwrap();
    let refused = |what: &str| {
        let refused = install(&place.home, &skill).unwrap_err();
        assert!(
            refused.code == Code::InvalidRequest && refused.message.contains(what),
            "{what}: {refused:?}"
        );
        assert_eq!(std::fs::read(place.home.skill_index()).unwrap(), before);
        assert!(load(&place.home, "x", "1").is_ok());
    };
    place.write("name = \"x\"\nargv = 1");
    refused("version: is missing");
    place.write(MANIFEST_TEXT);
    std::os::unix::fs::symlink("/etc/passwd", skill.join("out")).unwrap();
    refused("a link out of the skill");
    std::fs::remove_file(skill.join("out")).unwrap();
    nix::unistd::mkfifo(&skill.join("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    refused("neither a file");
    std::fs::remove_file(skill.join("fifo")).unwrap();
    std::fs::set_permissions(skill.join("bin/run"), PermissionsExt::from_mode(0o600)).unwrap();
    refused("not executable");
    std::fs::remove_file(skill.join("bin/run")).unwrap();
    refused("No such file");
    std::fs::remove_file(skill.join(MANIFEST)).unwrap();
    refused("skill.toml");
    place.write(&format!("{MANIFEST_TEXT}user = \"no-such-user-here\"\n"));
    let unknown = install(&place.home, &skill).unwrap_err();
    assert!(unknown.message.contains("no-such-user-here") || unknown.message.contains("root"), "{unknown:?}");
    assert_eq!(install(&place.home, Path::new("skill")).unwrap_err().code, Code::InvalidRequest);
}
