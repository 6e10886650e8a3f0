//! The workspace's identity, and what becomes of it.

use super::*;
use crate::io::workspace::identity::ATTRIBUTE;
use crate::workspace::IDENTITY_NAME;
use uuid::Uuid;

/// The identity is refused as one that changed, and nothing takes its place.
fn is_changed(case: &Case) {
    let reasons = [
        case.workspace.identity().map(drop),
        case.workspace.check_identity(Uuid::nil()),
        case.workspace.identify(Uuid::new_v4()).map(drop),
    ];
    for result in reasons {
        let error = result.unwrap_err();
        assert_eq!(error.reason(), Some(Reason::IdentityChanged), "{error}");
        assert_eq!(error.code(), Code::WorkspacePolicyViolation);
        assert!(error.to_string().contains(IDENTITY_NAME));
    }
}

fn put(case: &Case, text: &str) {
    std::fs::write(case.root.join(IDENTITY_NAME), text).unwrap();
}

/// What the attribute of a workspace says.
fn said(root: &Path) -> String {
    let mut bytes = [0; 1024];
    let length = rustix::fs::getxattr(root, ATTRIBUTE, &mut bytes).unwrap();
    String::from_utf8(bytes[..length].to_vec()).unwrap()
}

fn entries(root: &Path) -> usize {
    std::fs::read_dir(root).unwrap().count()
}

fn say(root: &Path, text: &str) {
    rustix::fs::setxattr(root, ATTRIBUTE, text.as_bytes(), rustix::fs::XattrFlags::empty()).unwrap();
}

attacks! {
    an_identity_is_given_once |case: &Case| {
        let (first, second) = (Uuid::new_v4(), Uuid::new_v4());
        let before = entries(&case.root);
        assert_eq!(case.workspace.identity().unwrap(), None);
        assert_eq!(case.workspace.identify(first).unwrap(), first);
        assert_eq!(case.workspace.identify(second).unwrap(), first);
        assert_eq!(case.workspace.identity().unwrap(), Some(first));
        case.workspace.check_identity(first).unwrap();
        assert_eq!(entries(&case.root), before, "no file tells it");
        assert_eq!(said(&case.root), format!(r#"{{"format":1,"id":"{first}"}}"#));
    };
    an_identity_is_a_file_where_there_are_no_attributes |case: &Case| {
        let (first, second) = (Uuid::new_v4(), Uuid::new_v4());
        let before = entries(&case.root);
        let give = |id| {
            let text = format!(r#"{{"format":1,"id":"{id}"}}"#);
            case.workspace.identify_by_file(text.as_bytes(), id).unwrap()
        };
        assert_eq!((give(first), give(second)), (first, first));
        assert_eq!(case.workspace.identity().unwrap(), Some(first));
        assert_eq!(case.workspace.identify(second).unwrap(), first);
        let text = std::fs::read_to_string(case.root.join(IDENTITY_NAME)).unwrap();
        assert_eq!(text, format!(r#"{{"format":1,"id":"{first}"}}"#));
        let status = std::fs::metadata(case.root.join(IDENTITY_NAME)).unwrap();
        assert_eq!((status.mode() & 0o222, status.nlink()), (0, 1));
        assert_eq!(entries(&case.root), before + 1, "nothing else is left");
    };
    an_attribute_counts_and_not_a_file_beside_it |case: &Case| {
        let id = case.workspace.identify(Uuid::new_v4()).unwrap();
        put(case, &format!(r#"{{"format":1,"id":"{}"}}"#, Uuid::nil()));
        case.workspace.check_identity(id).unwrap();
    };
    an_attribute_that_is_no_identity |case: &Case| {
        let later = format!(r#"{{"format":2,"id":"{}"}}"#, Uuid::nil());
        for text in ["", "{", "null", r#"{"format":1,"id":"x"}"#, &later, &" ".repeat(300)] {
            say(&case.root, text);
            is_changed(case);
        }
    };
    an_identity_that_is_missing |case: &Case| {
        let error = case.workspace.check_identity(Uuid::new_v4()).unwrap_err();
        assert_eq!(error.reason(), Some(Reason::IdentityMissing));
        assert_eq!(error.code(), Code::WorkspacePolicyViolation);
    };
    a_workspace_that_is_gone_has_lost_its_identity |case: &Case| {
        let id = case.workspace.identify(Uuid::new_v4()).unwrap();
        let all = case.root.parent().unwrap();
        Workspace::open_known(all, "x", id).unwrap();
        let reason = |name, id| Workspace::open_known(all, name, id).unwrap_err().reason();
        assert_eq!(reason("gone", id), Some(Reason::IdentityMissing));
        assert_eq!(reason("x", Uuid::new_v4()), Some(Reason::IdentityChanged));
        assert!(!all.join("gone").exists());
    };
    an_identity_that_is_another |case: &Case| {
        case.workspace.identify(Uuid::new_v4()).unwrap();
        let error = case.workspace.check_identity(Uuid::new_v4()).unwrap_err();
        assert_eq!(error.reason(), Some(Reason::IdentityChanged));
    };
    an_identity_that_is_no_identity |case: &Case| {
        for text in ["", "{", "null", "[]", r#"{"format":1}"#, r#"{"format":1,"id":"x"}"#, r#"{"id":1}"#] {
            put(case, text);
            is_changed(case);
        }
    };
    an_identity_of_a_later_format |case: &Case| {
        put(case, &format!(r#"{{"format":2,"id":"{}"}}"#, Uuid::nil()));
        is_changed(case);
    };
    an_identity_that_is_a_link |case: &Case| {
        let real = case.outside.with_file_name("identity");
        std::fs::write(&real, format!(r#"{{"format":1,"id":"{}"}}"#, Uuid::nil())).unwrap();
        symlink(&real, case.root.join(IDENTITY_NAME)).unwrap();
        is_changed(case);
    };
    an_identity_that_is_a_link_to_nothing |case: &Case| {
        symlink(case.outside.join("missing"), case.root.join(IDENTITY_NAME)).unwrap();
        is_changed(case);
    };
    an_identity_that_is_a_hard_link |case: &Case| {
        put(case, &format!(r#"{{"format":1,"id":"{}"}}"#, Uuid::nil()));
        case.workspace.check_identity(Uuid::nil()).unwrap();
        std::fs::hard_link(case.root.join(IDENTITY_NAME), case.root.join("hard")).unwrap();
        is_changed(case);
    };
    an_identity_that_is_a_directory |case: &Case| {
        std::fs::create_dir(case.root.join(IDENTITY_NAME)).unwrap();
        is_changed(case);
    };
    an_identity_that_is_a_fifo |case: &Case| {
        nix::unistd::mkfifo(&case.root.join(IDENTITY_NAME), Mode::S_IRWXU).unwrap();
        is_changed(case);
    };
    an_identity_without_end |case: &Case| {
        let identity = File::create(case.root.join(IDENTITY_NAME)).unwrap();
        identity.set_len(1 << 40).unwrap();
        is_changed(case);
    };
    an_identity_of_a_copied_workspace_is_still_the_first_ones |case: &Case| {
        let id = case.workspace.identify(Uuid::new_v4()).unwrap();
        let copy = Workspace::make(case.root.parent().unwrap(), "copy").unwrap();
        say(copy.path(), &said(&case.root));
        copy.check_identity(id).unwrap();
        let other = Workspace::make(case.root.parent().unwrap(), "other").unwrap();
        assert_eq!(other.check_identity(id).unwrap_err().reason(), Some(Reason::IdentityMissing));
    };
    of_many_that_give_an_identity_one_does |case: &Case| {
        let given = std::thread::scope(|scope| {
            let threads: Vec<_> =
                (0..8).map(|_| scope.spawn(|| case.workspace.identify(Uuid::new_v4()).unwrap())).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
        });
        assert!(given.iter().all(|id| *id == given[0]));
        case.workspace.check_identity(given[0]).unwrap();
    };
}
