//! What is no file and no directory, and what is the one where the other is wanted.

use super::*;
use nix::sys::stat::mknod;
use std::os::unix::net::UnixListener;

fn make_fifo(case: &Case, name: &str) {
    nix::unistd::mkfifo(&case.root.join(name), Mode::S_IRWXU).unwrap();
}

/// Makes a device; where that is not allowed it says so in plain sight.
fn make_device(case: &Case, name: &str, kind: SFlag, major: u64, minor: u64) -> bool {
    let device = nix::sys::stat::makedev(major, minor);
    let made = mknod(&case.root.join(name), kind, Mode::S_IRWXU, device);
    if let Err(error) = made {
        eprintln!("NOT TESTED: device {name}, which cannot be made here: {error}");
    }
    made.is_ok()
}

attacks! {
    a_fifo_does_not_block |case: &Case| {
        make_fifo(case, "fifo");
        case.refuses("fifo", Reason::Fifo);
    };
    a_fifo_that_somebody_reads_gets_nothing |case: &Case| {
        make_fifo(case, "fifo");
        let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK;
        let mut reader = File::from(open(&case.root.join("fifo"), flags, Mode::empty()).unwrap());
        case.refuses("fifo", Reason::Fifo);
        let mut read = Vec::new();
        assert_eq!(reader.read_to_end(&mut read).unwrap(), 0, "it was not even opened");
    };
    a_fifo_that_somebody_writes_is_not_read |case: &Case| {
        make_fifo(case, "fifo");
        let flags = OFlag::O_RDWR | OFlag::O_NONBLOCK;
        let fifo = File::from(open(&case.root.join("fifo"), flags, Mode::empty()).unwrap());
        std::io::Write::write_all(&mut &fifo, b"bait").unwrap();
        case.refuses("fifo", Reason::Fifo);
        let mut left = [0; 4];
        (&fifo).read_exact(&mut left).unwrap();
        assert_eq!(&left, b"bait");
    };
    a_fifo_as_a_directory |case: &Case| {
        make_fifo(case, "fifo");
        case.refuses("fifo/file", Reason::NotDirectory);
    };
    a_socket |case: &Case| {
        let _listener = UnixListener::bind(case.root.join("socket")).unwrap();
        case.refuses("socket", Reason::Socket);
        case.refuses("socket/file", Reason::NotDirectory);
    };
    a_device_without_end |case: &Case| {
        if make_device(case, "zero", SFlag::S_IFCHR, 1, 5) {
            case.refuses("zero", Reason::Device);
        }
    };
    a_device_that_swallows |case: &Case| {
        if make_device(case, "null", SFlag::S_IFCHR, 1, 3) {
            case.refuses("null", Reason::Device);
            case.refuses("null/file", Reason::NotDirectory);
        }
    };
    a_terminal |case: &Case| {
        if make_device(case, "tty", SFlag::S_IFCHR, 5, 0) {
            case.refuses("tty", Reason::Device);
        }
    };
    a_disk |case: &Case| {
        if make_device(case, "disk", SFlag::S_IFBLK, 7, 0) {
            case.refuses("disk", Reason::Device);
        }
    };
    a_directory_as_a_file |case: &Case| {
        case.refuses("sub", Reason::Directory);
        assert_eq!(names(&case.root.join("sub")), ["inner"]);
    };
    an_empty_directory_as_a_file |case: &Case| {
        std::fs::create_dir(case.root.join("empty")).unwrap();
        case.refuses("empty", Reason::Directory);
        assert!(case.root.join("empty").is_dir());
    };
    a_file_as_a_directory |case: &Case| {
        case.refuses("plain/file", Reason::NotDirectory);
        case.refuses("plain/deep/file", Reason::NotDirectory);
        assert_eq!(case.read("plain").unwrap(), "plain\n");
    };
    a_file_that_was_removed_while_it_is_open |case: &Case| {
        let beneath = case.workspace.file(&case.path("plain")).unwrap();
        let found = case.workspace.resolver.find(&case.workspace.root, &beneath).unwrap();
        std::fs::remove_file(case.root.join("plain")).unwrap();
        assert!(matches!(regular(&found, "plain"), Err(WorkspaceError::Missing { .. })));
    };
}
