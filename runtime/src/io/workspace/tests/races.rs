//! The agent changes what is looked at while it is looked at. Each race is run so many times; whoever wins, nothing
//! outside is read or changed.

use super::*;
use nix::fcntl::{RenameFlags, renameat2};
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};

/// Operations against an attacker that never rests.
const ROUNDS: usize = 400;

/// Exchanges two names in the workspace, over and over, while `operation` is run [`ROUNDS`] times.
fn race(case: &Case, one: &str, other: &str, mut operation: impl FnMut()) {
    let (done, begun) = (AtomicBool::new(false), Barrier::new(2));
    std::thread::scope(|scope| {
        let attacker = scope.spawn(|| {
            let (one, other) = (case.root.join(one), case.root.join(other));
            let mut swaps = 0_u64;
            let mut first = true;
            while !done.load(Ordering::Acquire) {
                let flags = RenameFlags::RENAME_EXCHANGE;
                swaps += u64::from(
                    renameat2(nix::fcntl::AT_FDCWD, &one, nix::fcntl::AT_FDCWD, &other, flags).is_ok(),
                );
                if std::mem::take(&mut first) {
                    begun.wait();
                }
                std::thread::yield_now();
            }
            swaps
        });
        begun.wait();
        (0..ROUNDS).for_each(|_| operation());
        done.store(true, Ordering::Release);
        assert!(attacker.join().unwrap() > 0, "there was a race");
    });
}

/// An error is a refusal, or the file was just not there.
fn is_expected(error: &WorkspaceError) -> bool {
    matches!(error, WorkspaceError::Refused { .. } | WorkspaceError::Missing { .. })
}

fn reads_no_secret(case: &Case, path: &str) {
    match case.read(path) {
        Ok(text) => assert!(["plain\n", "inner\n"].contains(&text.as_str()), "{text}"),
        Err(error) => assert!(is_expected(&error), "{error}"),
    }
}

attacks! {
    a_file_exchanged_with_a_link_while_it_is_read |case: &Case| {
        symlink(case.outside.join("secret"), case.root.join("link")).unwrap();
        race(case, "plain", "link", || reads_no_secret(case, "plain"));
    };
    a_directory_exchanged_with_a_link_while_a_file_in_it_is_read |case: &Case| {
        std::fs::write(case.root.join("sub/secret"), "inner\n").unwrap();
        symlink(case.outside.join("sub"), case.root.join("link")).unwrap();
        race(case, "sub", "link", || reads_no_secret(case, "sub/secret"));
    };
    a_file_exchanged_with_a_fifo_while_it_is_read |case: &Case| {
        nix::unistd::mkfifo(&case.root.join("fifo"), Mode::S_IRWXU).unwrap();
        race(case, "plain", "fifo", || reads_no_secret(case, "plain"));
    };
    a_file_exchanged_with_a_hard_link_while_it_is_read |case: &Case| {
        std::fs::hard_link(case.outside.join("secret"), case.root.join("hard")).unwrap();
        race(case, "plain", "hard", || reads_no_secret(case, "plain"));
    };
    a_file_exchanged_with_a_directory_while_it_is_read |case: &Case| {
        race(case, "plain", "sub", || reads_no_secret(case, "plain"));
    };
    a_file_exchanged_with_a_link_while_it_is_written |case: &Case| {
        symlink(case.outside.join("secret"), case.root.join("link")).unwrap();
        race(case, "plain", "link", || {
            if let Err(error) = case.write("plain") {
                assert!(is_expected(&error), "{error}");
            }
        });
    };
    a_directory_exchanged_with_a_link_while_a_file_in_it_is_written |case: &Case| {
        symlink(&case.outside, case.root.join("link")).unwrap();
        race(case, "sub", "link", || {
            for path in ["sub/new", "sub/secret"] {
                if let Err(error) = case.write(path) {
                    assert!(is_expected(&error), "{error}");
                }
            }
        });
    };
    a_directory_exchanged_with_a_link_while_directories_are_made_in_it |case: &Case| {
        symlink(&case.outside, case.root.join("link")).unwrap();
        let mut round = 0;
        race(case, "sub", "link", || {
            round += 1;
            if let Err(error) = case.write(&format!("sub/deep{round}/er/new")) {
                assert!(is_expected(&error), "{error}");
            }
        });
    };
    a_directory_exchanged_with_a_link_while_a_command_is_to_start_in_it |case: &Case| {
        symlink(&case.outside, case.root.join("link")).unwrap();
        race(case, "sub", "link", || match case.workspace.directory(&case.path("sub")) {
            Ok(directory) => assert_eq!(directory.as_str(), "sub"),
            Err(error) => assert!(is_expected(&error), "{error}"),
        });
    };
    a_link_put_in_place_between_the_look_and_the_rename |case: &Case| {
        // The race at its worst moment, without chance: everything was looked at, then the link is there.
        let beneath = case.workspace.file(&case.path("sub/new")).unwrap();
        let (parent, name) = beneath.split_last().unwrap();
        let directory = case.workspace.resolver.find_directory(&case.workspace.root, &parent).unwrap();
        symlink(case.outside.join("secret"), case.root.join("sub/new")).unwrap();
        write::tests::finish_in(directory, name, "written\n");
        assert_eq!(case.read("sub/new").unwrap(), "written\n", "the link was replaced, not followed");
    };
    a_directory_moved_away_between_the_look_and_the_rename |case: &Case| {
        let beneath = case.workspace.file(&case.path("sub/new")).unwrap();
        let (parent, name) = beneath.split_last().unwrap();
        let directory = case.workspace.resolver.find_directory(&case.workspace.root, &parent).unwrap();
        std::fs::rename(case.root.join("sub"), case.root.join("moved")).unwrap();
        symlink(&case.outside, case.root.join("sub")).unwrap();
        write::tests::finish_in(directory, name, "written\n");
        assert_eq!(case.read("moved/new").unwrap(), "written\n");
    };
}
