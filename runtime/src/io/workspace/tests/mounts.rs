//! Other file systems in the workspace. Mounted in a mount namespace of the test's own thread, which goes with it.

use super::*;
use nix::sched::{CloneFlags, unshare};
use std::process::Command;

/// Runs an attack with mounts of its own; where those are not allowed it says so in plain sight.
fn with_mounts(attack: fn(&Case)) {
    let thread = std::thread::spawn(move || {
        let own = unshare(CloneFlags::CLONE_NEWNS).is_ok() && mount(&["--make-rprivate", "/"]);
        if !own {
            eprintln!("NOT TESTED: mount points, which cannot be made here");
            return;
        }
        run(attack);
    });
    thread.join().unwrap();
}

fn mount(arguments: &[&str]) -> bool {
    Command::new("mount")
        .args(arguments)
        .stderr(std::process::Stdio::null())
        .status()
        .is_ok_and(|it| it.success())
}

fn mounted(arguments: &[&str]) {
    assert!(mount(arguments), "mount {arguments:?}");
}

#[test]
fn a_mounted_directory() {
    with_mounts(|case| {
        let at = case.path("sub");
        mounted(&["-t", "tmpfs", "none", &at]);
        std::fs::write(case.root.join("sub/file"), "other").unwrap();
        case.refuses("sub/file", Reason::Mounted);
        case.refuses("sub/new", Reason::Mounted);
        case.refuses("sub", Reason::Mounted);
        assert_eq!(names(&case.root.join("sub")), ["file"]);
    });
}

#[test]
fn a_directory_of_the_same_file_system_mounted_a_second_time() {
    with_mounts(|case| {
        let (outside, at) = (case.outside.to_str().unwrap().to_owned(), case.path("sub"));
        mounted(&["--bind", &outside, &at]);
        assert_eq!(std::fs::read_to_string(case.root.join("sub/secret")).unwrap(), SECRET);
        case.refuses("sub/secret", Reason::Mounted);
        case.refuses("sub/new", Reason::Mounted);
        case.refuses("sub/sub/secret", Reason::Mounted);
        case.refuses("sub/deep/er/new", Reason::Mounted);
    });
}

#[test]
fn a_file_mounted_on_a_file() {
    with_mounts(|case| {
        let secret = case.outside.join("secret").to_str().unwrap().to_owned();
        mounted(&["--bind", &secret, &case.path("plain")]);
        assert_eq!(std::fs::read_to_string(case.root.join("plain")).unwrap(), SECRET);
        case.refuses("plain", Reason::Mounted);
    });
}

#[test]
fn the_process_file_system() {
    with_mounts(|case| {
        mounted(&["-t", "proc", "none", &case.path("sub")]);
        case.refuses("sub/self/environ", Reason::Mounted);
        case.refuses("sub/version", Reason::Mounted);
    });
}

#[test]
fn a_workspace_that_is_itself_mounted_is_one() {
    with_mounts(|case| {
        let other = case.root.with_file_name("mounted");
        std::fs::create_dir(&other).unwrap();
        mounted(&["-t", "tmpfs", "none", other.to_str().unwrap()]);
        let mut workspace = Workspace::open(case.root.parent().unwrap(), "mounted").unwrap();
        workspace.resolver = case.workspace.resolver;
        let path = other.join("a/file");
        workspace.write_text(path.to_str().unwrap(), "text").unwrap();
        assert_eq!(workspace.read_text(path.to_str().unwrap(), None, None).unwrap(), "text");
    });
}
