//! Each limit of an order, with real processes; and a worker's own user and control group.

use super::support::{Held, Whole, holder_command, is_alive, shell, wait_for};
use holdfast_shared::spool::{Control, Stream};
use holdfast_shared::worker::{EndedBy, ExitStatus, Limits, Order, Started, User, WorkerState};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;

/// A user that nothing else on the machine runs as, so that a count of its processes is one of the test's.
fn stranger(number: u32) -> User {
    User { uid: 540_000 + number, gid: 540_000 + number, groups: vec![540_100] }
}

fn is_root(what: &str) -> bool {
    let root = nix::unistd::geteuid().is_root();
    if !root {
        eprintln!("SKIPPED: {what} needs root");
    }
    root
}

fn limited(line: &str, limits: Limits) -> Whole {
    Held::start(&Order { limits, ..shell(line) }).ended()
}

#[test]
fn limit_of_output_ends_the_worker() {
    let order = Order { output_quota_bytes: 100_000, ..shell("yes") };
    let whole = Held::start(&order).ended();
    assert_eq!(whole.exit().ended_by, EndedBy::Quota);
    assert!(whole.controls().contains(&Control::Quota { limit_bytes: 100_000 }));
}

#[test]
fn limit_of_open_files_refuses_the_next_one() {
    let limits = Limits { open_files: Some(20), ..Limits::default() };
    let whole =
        limited("ulimit -n; (exec 15>/dev/null) && echo fine; (exec 30>/dev/null) || echo refused", limits);
    assert_eq!(whole.text(Stream::Stdout), "20\nfine\nrefused\n");
}

#[test]
fn limit_of_processor_time_ends_the_process() {
    let limits = Limits { cpu_seconds: Some(1), ..Limits::default() };
    let whole = limited("while :; do :; done", limits);
    assert_eq!(whole.exit().status, ExitStatus::Signal(libc::SIGXCPU));
}

#[test]
fn limit_of_memory_refuses_more_to_each_process() {
    let limits = Limits { memory_bytes: Some(64 << 20), ..Limits::default() };
    let line = |mib: u32| format!("head -c {mib}M /dev/zero | tail -c {mib}M | wc -c");
    assert_eq!(limited(&line(8), limits).text(Stream::Stdout), "8388608\n");
    let whole = limited(&line(200), limits);
    assert_eq!(whole.text(Stream::Stdout), "0\n", "{}", whole.text(Stream::Stderr));
    assert!(whole.text(Stream::Stderr).contains("memory"), "{}", whole.text(Stream::Stderr));
}

#[test]
fn limit_of_memory_counts_what_is_used_and_not_what_is_reserved() {
    let reserve = "import mmap; m = mmap.mmap(-1, 1 << 33, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, \
        prot=mmap.PROT_READ); print('reserved')";
    let order = Order {
        argv: vec!["python3".to_owned(), "-c".to_owned(), reserve.to_owned()],
        limits: Limits { memory_bytes: Some(64 << 20), ..Limits::default() },
        ..shell("")
    };
    let whole = Held::start(&order).ended();
    if whole.exit().status == ExitStatus::Code(127) {
        eprintln!("SKIPPED: no python3 here");
        return;
    }
    assert_eq!(whole.text(Stream::Stdout), "reserved\n", "{}", whole.text(Stream::Stderr));
}

#[test]
fn limit_of_file_size_ends_what_writes_beyond() {
    let home = tempfile::tempdir().unwrap();
    let order = Order {
        limits: Limits { file_bytes: Some(1_000), ..Limits::default() },
        cwd: home.path().to_owned(),
        ..shell(
            "trap '' XFSZ; head -c 5000 /dev/zero > large; echo $?; stat -c %s large; head -c 5000 /dev/zero | wc -c",
        )
    };
    // Its output is not a file of its own: the limit is not one of what it may say.
    assert_eq!(Held::start(&order).ended().text(Stream::Stdout), "1\n1000\n5000\n");
}

#[test]
fn limit_of_processes_holds_for_a_user_of_its_own() {
    if !is_root("a user of its own") {
        return;
    }
    let line = "for n in 1 2 3 4 5 6 7 8; do sleep 1000 & done; echo never";
    let order = Order {
        argv: ["/bin/sh", "-c", line].map(str::to_owned).to_vec(),
        limits: Limits { processes: Some(4), ..Limits::default() },
        user: Some(stranger(1)),
        ..shell("")
    };
    let whole = Held::start(&order).ended();
    assert_eq!(whole.text(Stream::Stdout), "");
    assert!(whole.text(Stream::Stderr).contains("fork"), "{}", whole.text(Stream::Stderr));
    let limits = Limits { processes: Some(4), ..Limits::default() };
    assert_eq!(
        limited("for n in 1 2 3 4 5 6 7 8; do sleep 0 & done; wait; echo all", limits).text(Stream::Stdout),
        "all\n"
    );
}

#[test]
fn no_limit_is_raised_above_the_holders_own() {
    let home = tempfile::tempdir().unwrap();
    let directory = home.path().join("worker");
    std::fs::create_dir(&directory).unwrap();
    let limits = Limits { open_files: Some(1_000_000), cpu_seconds: Some(100), ..Limits::default() };
    Order { limits, ..shell("ulimit -Hn; ulimit -Ht") }.write(&directory).unwrap();
    let mut command = holder_command(&directory);
    // SAFETY: setrlimit is async-signal-safe.
    unsafe {
        command.pre_exec(|| {
            use nix::sys::resource::{Resource, setrlimit};
            setrlimit(Resource::RLIMIT_NOFILE, 100, 100)?;
            Ok(setrlimit(Resource::RLIMIT_CPU, 50, 50)?)
        });
    }
    assert!(command.status().unwrap().success());
    assert_eq!(Whole::read(&directory).text(Stream::Stdout), "100\n50\n");
}

#[test]
fn a_worker_with_a_user_is_that_user_for_good() {
    if !is_root("a user of its own") {
        return;
    }
    let line = "id -u; id -g; id -G; grep -E 'NoNewPrivs|CapEff|CapPrm' /proc/self/status | tr -d '\\t'; \
        cat /etc/shadow 2>/dev/null || echo closed; umask";
    let whole = Held::start(&Order { user: Some(stranger(2)), ..shell(line) }).ended();
    let text = whole.text(Stream::Stdout);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[..3], ["540002", "540002", "540002 540100"], "{text}");
    let zero = "0000000000000000";
    assert_eq!(
        lines[3..7],
        [format!("CapPrm:{zero}"), format!("CapEff:{zero}"), "NoNewPrivs:1".into(), "closed".into()],
        "{text}"
    );
}

#[test]
fn a_worker_with_a_user_dies_with_its_holder_and_is_ended_like_any_other() {
    if !is_root("a user of its own") {
        return;
    }
    let mut held = Held::start(&Order { user: Some(stranger(3)), ..shell("echo on; sleep 1000") });
    held.wait_for_output("on");
    let started = held.started();
    held.holder.kill().unwrap();
    held.holder.wait().unwrap();
    wait_for("the worker's death", || (!is_alive(started.pid)).then_some(()));
    assert_eq!(held.state(), WorkerState::Lost(started));

    let held = Held::start(&Order {
        user: Some(stranger(3)),
        ..shell("trap '' TERM; (setsid sleep 1000 &); echo on; while :; do sleep 1; done")
    });
    held.wait_for_output("on");
    held.inbox(1).send(1, &holdfast_shared::inbox::Message::Cancel).unwrap();
    let mut held = held;
    assert_eq!(held.ended().exit().status, ExitStatus::Signal(libc::SIGKILL));
}

#[test]
fn another_user_is_refused_where_the_holder_is_not_root() {
    if !is_root("becoming somebody else") {
        return;
    }
    let home = tempfile::tempdir().unwrap();
    std::fs::set_permissions(home.path(), PermissionsExt::from_mode(0o711)).unwrap();
    let directory = home.path().join("worker");
    std::fs::create_dir(&directory).unwrap();
    Order { user: Some(stranger(5)), ..shell("echo never") }.write(&directory).unwrap();
    for path in [directory.clone(), Order::path(&directory)] {
        chown(path, Some(540_004), Some(540_004)).unwrap();
    }
    let Ok(status) = holder_command(&directory).uid(540_004).gid(540_004).status() else {
        eprintln!("SKIPPED: the binary is not where others may run it");
        return;
    };
    assert_eq!(status.code(), Some(1));
    assert_eq!(WorkerState::read(&directory).unwrap(), WorkerState::LostBeforeStart);
}

/// Where this machine lets a group be made, one for the test.
fn control_group(name: &str) -> Option<PathBuf> {
    let found = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"].map(PathBuf::from);
    let parent = found.into_iter().find(|path| path.join("cgroup.controllers").is_file())?;
    let group = parent.join(format!("holdfast-test-{}-{name}", std::process::id()));
    std::fs::create_dir(&group).ok().map(|()| group)
}

#[test]
fn a_worker_has_a_control_group_of_its_own_that_goes_with_it() {
    let Some(base) = control_group("own") else {
        eprintln!("SKIPPED: no group can be made here");
        return;
    };
    let home = tempfile::tempdir().unwrap();
    let directory = home.path().join("worker");
    std::fs::create_dir(&directory).unwrap();
    let line =
        "trap '' TERM; (setsid sleep 1000 &); grep '^0::' /proc/self/cgroup; while :; do sleep 1; done";
    let order = shell(line);
    order.write(&directory).unwrap();
    let holder = holder_command(&directory).env("HOLDFAST_CGROUP", &base).spawn().unwrap();
    let mut held = Held::of(directory, holder);
    held.wait_for_output("0::");
    let group = base.join(&order.spawn_id);
    let members = std::fs::read_to_string(group.join("cgroup.procs")).unwrap();
    assert!(members.lines().count() >= 2, "{members}");
    assert!(!members.contains(&held.holder.id().to_string()), "the holder is not in it");
    held.inbox(1).send(1, &holdfast_shared::inbox::Message::Kill).unwrap();
    let whole = held.ended();
    assert!(whole.text(Stream::Stdout).trim_end().ends_with(&order.spawn_id));
    assert_eq!(whole.exit().status, ExitStatus::Signal(libc::SIGKILL));
    assert!(!group.exists());
    std::fs::remove_dir(base).unwrap();
}

#[test]
fn a_group_that_cannot_be_had_costs_no_worker() {
    let home = tempfile::tempdir().unwrap();
    let directory = home.path().join("worker");
    std::fs::create_dir(&directory).unwrap();
    let limits = Limits { open_files: Some(50), memory_bytes: Some(64 << 20), ..Limits::default() };
    Order { limits, ..shell("ulimit -n; ulimit -d") }.write(&directory).unwrap();
    let output = holder_command(&directory)
        .env("HOLDFAST_CGROUP", home.path().join("gone"))
        .stderr(std::process::Stdio::piped())
        .output()
        .unwrap();
    assert!(output.status.success());
    assert_eq!(Whole::read(&directory).text(Stream::Stdout), "50\n65536\n");
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(log.contains("WARN") && log.contains("no control group"), "{log}");
    assert!(Started::read(&directory).unwrap().is_some());
}
