//! What is in files: too much, no text, and what a write keeps.

use super::*;
use std::sync::atomic::{AtomicBool, Ordering};

fn mode(case: &Case, name: &str) -> u32 {
    std::fs::metadata(case.root.join(name)).unwrap().mode() & 0o7777
}

fn set_mode(case: &Case, name: &str, mode: u32) {
    std::fs::set_permissions(case.root.join(name), std::fs::Permissions::from_mode(mode)).unwrap();
}

fn put(case: &Case, name: &str, bytes: &[u8]) {
    std::fs::write(case.root.join(name), bytes).unwrap();
}

fn refuses_to_read(case: &Case, name: &str, reason: Reason) {
    case.refused(&case.path(name), case.read(name).map(drop), reason);
}

attacks! {
    a_sparse_file_of_a_terabyte |case: &Case| {
        File::create(case.root.join("sparse")).unwrap().set_len(1 << 40).unwrap();
        refuses_to_read(case, "sparse", Reason::TooLarge);
    };
    a_file_at_the_bound_and_one_byte_more |case: &Case| {
        put(case, "large", &vec![b'a'; TEXT_BYTES_MAX as usize]);
        assert_eq!(case.read("large").unwrap().len() as u64, TEXT_BYTES_MAX);
        put(case, "large", &vec![b'a'; TEXT_BYTES_MAX as usize + 1]);
        refuses_to_read(case, "large", Reason::TooLarge);
        let one_line = case.workspace.read_text(&case.path("large"), Some(1), Some(1));
        assert_eq!(one_line.unwrap_err().reason(), Some(Reason::TooLarge));
    };
    a_file_that_grows_while_it_is_read |case: &Case| {
        // Longer than it says it is: what a read gets when the file grew behind the look at its length.
        put(case, "grows", b"begin");
        let file = File::open(case.root.join("grows")).unwrap();
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut grown = File::options().append(true).open(case.root.join("grows")).unwrap();
                for _ in 0..2 * TEXT_BYTES_MAX / 4096 {
                    std::io::Write::write_all(&mut grown, &[b'a'; 4096]).unwrap();
                }
                done.store(true, Ordering::Release);
            });
            while !done.load(Ordering::Acquire) {
                let read = read_at_most(file.try_clone().unwrap(), "grows");
                assert!(read.map_or(true, |bytes| bytes.len() as u64 <= TEXT_BYTES_MAX));
                std::io::Seek::rewind(&mut &file).unwrap();
            }
        });
        refuses_to_read(case, "grows", Reason::TooLarge);
    };
    a_file_that_is_no_text |case: &Case| {
        for bytes in [b"\xff".as_slice(), b"a\xc3", b"\xed\xa0\x80", b"\xc0\xaf", b"a\0b", b"\0"] {
            put(case, "binary", bytes);
            refuses_to_read(case, "binary", Reason::NotText);
        }
    };
    a_file_whose_answer_would_be_too_long |case: &Case| {
        put(case, "control", &vec![1; TEXT_BYTES_MAX as usize]);
        refuses_to_read(case, "control", Reason::TooLarge);
        put(case, "control", &vec![1; TEXT_BYTES_MAX as usize / 4]);
        case.read("control").unwrap();
    };
    any_text_is_read_as_it_is |case: &Case| {
        for text in ["", "\n", "\u{feff}bom\r\n", "häß 世界 🦀", "no newline", "\u{1b}[0m"] {
            put(case, "text", text.as_bytes());
            assert_eq!(case.read("text").unwrap(), text);
            case.workspace.write_text(&case.path("copy"), text).unwrap();
            assert_eq!(std::fs::read(case.root.join("copy")).unwrap(), text.as_bytes());
        }
    };
    lines_are_counted_from_one |case: &Case| {
        put(case, "lines", b"1\n2\n3\n");
        let of = |line, limit| case.workspace.read_text(&case.path("lines"), line, limit).unwrap();
        assert_eq!(of(Some(2), Some(1)), "2\n");
        assert_eq!(of(Some(3), None), "3\n");
        assert_eq!(of(Some(99), None), "");
    };
    more_than_may_be_written |case: &Case| {
        let too_much = "a".repeat(TEXT_BYTES_MAX as usize + 1);
        let path = case.path("new");
        case.refused(&path, case.workspace.write_text(&path, &too_much), Reason::TooLarge);
        assert!(!case.root.join("new").exists());
        case.workspace.write_text(&path, &too_much[1..]).unwrap();
    };
    a_read_only_file |case: &Case| {
        set_mode(case, "plain", 0o444);
        case.refused(&case.path("plain"), case.write("plain"), Reason::ReadOnly);
        assert_eq!(case.read("plain").unwrap(), "plain\n");
    };
    the_mode_is_kept |case: &Case| {
        for kept in [0o600, 0o640, 0o755, 0o666] {
            set_mode(case, "plain", kept);
            case.write("plain").unwrap();
            assert_eq!(mode(case, "plain"), kept);
        }
    };
    set_uid_and_set_gid_are_not_kept |case: &Case| {
        for bits in [0o4755, 0o2755, 0o6755, 0o1755] {
            set_mode(case, "plain", bits);
            case.write("plain").unwrap();
            assert_eq!(mode(case, "plain"), 0o755);
        }
    };
    a_new_file_is_not_executable_nor_anybodys |case: &Case| {
        case.write("new").unwrap();
        assert_eq!(mode(case, "new") & 0o7111, 0);
    };
    what_is_written_belongs_to_whom_the_workspace_belongs |case: &Case| {
        if nix::unistd::chown(&case.root, Some(12345.into()), Some(12346.into())).is_err() {
            eprintln!("NOT TESTED: owners, which cannot be changed here");
            return;
        }
        case.write("made/new").unwrap();
        for name in ["made", "made/new"] {
            let status = std::fs::metadata(case.root.join(name)).unwrap();
            assert_eq!((status.uid(), status.gid()), (12345, 12346), "{name}");
        }
        nix::unistd::chown(&case.root.join("plain"), Some(4711.into()), None).unwrap();
        case.write("plain").unwrap();
        assert_eq!(std::fs::metadata(case.root.join("plain")).unwrap().uid(), 4711, "as the one it replaces");
    };
    who_reads_meanwhile_has_the_old_file_or_the_new_one |case: &Case| {
        let mut open = File::open(case.root.join("plain")).unwrap();
        case.write("plain").unwrap();
        let mut old = String::new();
        open.read_to_string(&mut old).unwrap();
        assert_eq!((old.as_str(), case.read("plain").unwrap().as_str()), ("plain\n", "written\n"));
    };
    nothing_is_left_of_a_write_that_failed |case: &Case| {
        std::fs::create_dir(case.root.join("full")).unwrap();
        let beneath = case.workspace.file(&case.path("full/x")).unwrap().split_last().unwrap().0;
        let directory = case.workspace.resolver.find_directory(&case.workspace.root, &beneath).unwrap();
        std::fs::create_dir_all(case.root.join("full/x/y")).unwrap();
        drop(directory);
        case.refuses("full/x", Reason::Directory);
        assert_eq!(names(&case.root.join("full")), ["x"]);
    };
}
