//! How a worker begins: once, with exactly what was ordered.

use super::support::{Held, Whole, holder_command, is_alive, shell, spawn_holder, wait_for};
use holdfast_shared::spool::{Control, Stream};
use holdfast_shared::worker::{
    CWD_FD_VARIABLE, EndedBy, Exit, ExitStatus, Order, Started, WorkerState, abandon,
};
use std::os::fd::AsRawFd;

#[test]
fn output_of_both_streams_and_the_exit_code_are_recorded() {
    let whole = Held::start(&shell("echo out; echo err >&2; exit 7")).ended();
    assert_eq!(whole.text(Stream::Stdout), "out\n");
    assert_eq!(whole.text(Stream::Stderr), "err\n");
    assert_eq!(whole.exit().status, ExitStatus::Code(7));
    assert_eq!(whole.exit().ended_by, EndedBy::Worker);
    assert_eq!(whole.controls()[0], Control::Mark { turn: "t1".to_owned(), number: 0 });
}

#[test]
fn the_environment_is_the_ordered_one_and_nothing_else() {
    let mut order = shell("");
    order.argv = vec!["env".to_owned()];
    order.env.insert("GREETING".to_owned(), "hello there".to_owned());
    let mut held = Held::start(&order);
    let text = held.ended().text(Stream::Stdout);
    let mut lines: Vec<_> = text.lines().collect();
    lines.sort_unstable();
    let started = held.started();
    let mark = format!("HOLDFAST_WORKER={}-{}", started.pid, started.start_time);
    assert_eq!(lines, ["GREETING=hello there", &mark, "PATH=/usr/bin:/bin"]);
}

#[test]
fn a_worker_has_its_own_session_no_foreign_descriptors_and_default_signals() {
    let line =
        "ps -o sid=,pid= $$; ls /proc/self/fd; grep SigIgn /proc/self/status; grep SigBlk /proc/self/status";
    let text = Held::start(&shell(line)).ended().text(Stream::Stdout);
    let words: Vec<_> = text.split_ascii_whitespace().collect();
    assert_eq!(words[0], words[1], "leads its session: {text}");
    // 3 is the directory that `ls` itself reads.
    assert_eq!(words[2..6], ["0", "1", "2", "3"], "{text}");
    let mask = |at: usize| u64::from_str_radix(words[at], 16).unwrap();
    // 32 and 33 belong to the C library; it lets nobody change them.
    assert_eq!((words[6], mask(7) & !(3 << 31), words[8], mask(9)), ("SigIgn:", 0, "SigBlk:", 0), "{text}");
}

#[test]
fn it_starts_in_the_ordered_directory_or_in_the_passed_one() {
    let home = tempfile::tempdir().unwrap();
    let mut order = shell("pwd");
    order.cwd = "/usr".into();
    assert_eq!(Held::start(&order).ended().text(Stream::Stdout), "/usr\n");

    let directory = home.path().join("worker");
    std::fs::create_dir(&directory).unwrap();
    order.write(&directory).unwrap();
    let workspace = std::fs::File::open("/etc").unwrap();
    let inheritable = nix::unistd::dup(&workspace).unwrap();
    let mut command = holder_command(&directory);
    command.env(CWD_FD_VARIABLE, inheritable.as_raw_fd().to_string());
    assert!(command.status().unwrap().success());
    assert_eq!(Whole::read(&directory).text(Stream::Stdout), "/etc\n");
}

#[test]
fn a_program_that_is_not_there_ends_like_in_a_shell_and_says_so() {
    let mut order = shell("");
    order.argv = vec!["no-such-program".to_owned()];
    let whole = Held::start(&order).ended();
    assert_eq!(whole.exit().status, ExitStatus::Code(127));
    assert_eq!(
        whole.text(Stream::Stderr),
        "holdfast: cannot run no-such-program: No such file or directory\n"
    );

    order.argv = vec!["/etc/passwd".to_owned()];
    assert_eq!(Held::start(&order).ended().exit().status, ExitStatus::Code(126));

    let mut order = shell("true");
    order.cwd = "/no/such/place".into();
    let whole = Held::start(&order).ended();
    assert_eq!(whole.exit().status, ExitStatus::Code(126));
    assert_eq!(
        whole.text(Stream::Stderr),
        "holdfast: cannot enter /no/such/place: No such file or directory\n"
    );
}

#[test]
fn started_names_the_worker_and_is_there_before_its_program_runs() {
    let home = tempfile::tempdir().unwrap();
    let line = format!("cat {}", home.path().join("worker/started").display());
    let mut held = Held::start_in(home.path(), &shell(&line));
    let whole = held.ended();
    let seen: Started = serde_json::from_str(&whole.text(Stream::Stdout)).unwrap();
    assert_eq!(Some(seen.clone()), Started::read(&held.directory).unwrap());
    assert_eq!(seen.holder_pid, i32::try_from(held.holder.id()).unwrap());
}

#[test]
fn a_second_holder_is_refused_while_the_first_lives_and_after() {
    let mut held = Held::start(&shell("echo once; sleep 1000"));
    held.wait_for_output("once");
    let started = held.started();
    assert_eq!(held.state(), WorkerState::Alive(Some(started.clone())));
    assert_eq!(spawn_holder(&held.directory).wait().unwrap().code(), Some(5));
    assert!(is_alive(started.pid));
    held.holder.kill().unwrap();
    held.holder.wait().unwrap();
    let before = Whole::read(&held.directory).records;
    assert_eq!(spawn_holder(&held.directory).wait().unwrap().code(), Some(5));
    assert_eq!(Whole::read(&held.directory).records, before, "the refused holder has not touched the spool");
}

#[test]
fn a_killed_holder_takes_its_worker_with_it_and_leaves_it_lost() {
    let mut held = Held::start(&shell("echo here; sleep 1000"));
    held.wait_for_output("here");
    let started = held.started();
    held.holder.kill().unwrap();
    held.holder.wait().unwrap();
    assert_eq!(held.state(), WorkerState::Lost(started.clone()));
    wait_for("the worker's death", || (!is_alive(started.pid)).then_some(()));
    assert_eq!(Whole::read(&held.directory).text(Stream::Stdout), "here\n");
}

#[test]
fn what_has_not_started_can_be_abandoned_and_then_never_starts() {
    let home = tempfile::tempdir().unwrap();
    let directory = home.path().join("worker");
    assert_eq!(WorkerState::read(&directory).unwrap(), WorkerState::NotStarted);
    std::fs::create_dir(&directory).unwrap();
    shell("touch ran").write(&directory).unwrap();
    assert_eq!(WorkerState::read(&directory).unwrap(), WorkerState::LostBeforeStart);
    assert_eq!(abandon(&directory).unwrap(), WorkerState::LostBeforeStart);
    assert_eq!(spawn_holder(&directory).wait().unwrap().code(), Some(5));
    assert_eq!(WorkerState::read(&directory).unwrap(), WorkerState::LostBeforeStart);
    assert!(std::fs::create_dir(&directory).is_err(), "nobody else makes it");
}

#[test]
fn what_has_started_cannot_be_abandoned() {
    let mut held = Held::start(&shell("echo on; sleep 1000"));
    held.wait_for_output("on");
    let started = held.started();
    assert_eq!(abandon(&held.directory).unwrap(), WorkerState::Alive(Some(started.clone())));
    held.holder.kill().unwrap();
    held.holder.wait().unwrap();
    assert_eq!(abandon(&held.directory).unwrap(), WorkerState::Lost(started));
}

#[test]
fn a_holder_that_died_before_the_start_can_be_followed_by_another() {
    let home = tempfile::tempdir().unwrap();
    let directory = home.path().join("worker");
    std::fs::create_dir(&directory).unwrap();
    std::fs::write(directory.join("spool"), b"half a head").unwrap();
    shell("echo ran").write(&directory).unwrap();
    assert!(spawn_holder(&directory).wait().unwrap().success());
    let exit = Exit { status: ExitStatus::Code(0), final_seq: 1, ended_by: EndedBy::Worker };
    assert_eq!(WorkerState::read(&directory).unwrap(), WorkerState::Ended(exit));
}

#[test]
fn a_directory_without_a_readable_order_is_a_failure_and_starts_nothing() {
    let home = tempfile::tempdir().unwrap();
    assert_eq!(spawn_holder(home.path()).wait().unwrap().code(), Some(1));
    let mut order: Order = shell("true");
    order.argv.clear();
    order.write(home.path()).unwrap();
    assert_eq!(spawn_holder(home.path()).wait().unwrap().code(), Some(1));
    assert_eq!(WorkerState::read(home.path()).unwrap(), WorkerState::LostBeforeStart);
}
