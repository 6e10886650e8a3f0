use super::refusal::SHOWN_CHARS_MAX;
use super::*;
use holdfast_shared::error::Code;
use proptest::prelude::*;

const ROOT: &str = "/home/u/.holdfast/workspaces/x";

fn of(path: &str) -> Result<String, Reason> {
    let roots = [Path::new(ROOT), Path::new("/data/x")];
    file(&roots, path.as_bytes()).map(|beneath| beneath.as_str().to_owned())
}

#[test]
fn what_lies_beneath_by_its_words_is_allowed() {
    let cases = [
        ("a", "a"),
        ("a/b/c.txt", "a/b/c.txt"),
        ("a//b", "a/b"),
        ("./a/./b", "a/b"),
        ("...", "..."),
        ("..a/b..", "..a/b.."),
        (".git/config", ".git/config"),
        ("~", "~"),
        ("-rf", "-rf"),
        ("a b", "a b"),
        ("a\\..\\b", "a\\..\\b"),
        ("%2e%2e/x", "%2e%2e/x"),
        ("․․/x", "․․/x"),
        ("häß/世界/🦀", "häß/世界/🦀"),
        ("sub/.holdfast-workspace", "sub/.holdfast-workspace"),
        (".holdfast-workspace2", ".holdfast-workspace2"),
    ];
    for (path, beneath) in cases {
        assert_eq!(of(&format!("{ROOT}/{path}")), Ok(beneath.to_owned()), "{path}");
        assert_eq!(of(&format!("/data/x/{path}")), Ok(beneath.to_owned()), "by the other name: {path}");
        assert_eq!(of(&format!("//data/./x//{path}")), Ok(beneath.to_owned()), "{path}");
    }
}

#[test]
fn what_does_not_lie_beneath_by_its_words_is_refused() {
    let cases = [
        ("", Reason::Relative),
        ("a", Reason::Relative),
        ("./a", Reason::Relative),
        ("../x/a", Reason::Relative),
        ("~", Reason::Relative),
        ("~/a", Reason::Relative),
        ("~root/a", Reason::Relative),
        ("$HOME/a", Reason::Relative),
        ("file:///data/x/a", Reason::Relative),
        ("C:\\data\\x\\a", Reason::Relative),
        ("\\\\host\\share", Reason::Relative),
        (" /data/x/a", Reason::Relative),
        ("/", Reason::Outside),
        ("/a", Reason::Outside),
        ("/data", Reason::Outside),
        ("/etc/passwd", Reason::Outside),
        ("/data/xy/a", Reason::Outside),
        ("/data/x.bak", Reason::Outside),
        ("/data/X/a", Reason::Outside),
        ("/data /x/a", Reason::Outside),
        ("/proc/self/cwd/a", Reason::Outside),
        ("/dev/fd/0", Reason::Outside),
        ("/data/x/..", Reason::Parent),
        ("/data/x/../x/a", Reason::Parent),
        ("/data/x/a/../b", Reason::Parent),
        ("/data/x/a/..", Reason::Parent),
        ("/data/../data/x/a", Reason::Parent),
        ("/../data/x/a", Reason::Parent),
        ("/data/x/..//a", Reason::Parent),
        ("/data/x/./../a", Reason::Parent),
        ("/data/x", Reason::Directory),
        ("/data/x/", Reason::Directory),
        ("/data/x/.", Reason::Directory),
        ("/data/x/a/", Reason::Directory),
        ("/data/x/a//", Reason::Directory),
        ("/data/x/a/.", Reason::Directory),
        ("/data/x/.holdfast-workspace", Reason::Reserved),
        ("/data/x//./.holdfast-workspace", Reason::Reserved),
        ("/data/x/.HOLDFAST-Workspace", Reason::Reserved),
        ("/data/x/.holdfast-workspace/a", Reason::Reserved),
        ("/data/x/a\0", Reason::Control),
        ("/data/x/a\0/../../../etc/passwd", Reason::Control),
        ("\0", Reason::Control),
        ("/data/x/a\nb", Reason::Control),
        ("/data/x/a\r", Reason::Control),
        ("/data/x/\u{1b}[2J", Reason::Control),
        ("/data/x/\u{7f}", Reason::Control),
        ("/data/x/\u{85}", Reason::Control),
    ];
    for (path, reason) in cases {
        assert_eq!(of(path), Err(reason), "{path:?}");
    }
    assert_eq!(file(&[Path::new("/data/x")], b"/data/x/\xff"), Err(Reason::NotUtf8));
    assert_eq!(file(&[Path::new("/data/x")], b"/data/x/\xc0\xae\xc0\xae/a"), Err(Reason::NotUtf8));
}

#[test]
fn what_is_too_long_is_refused() {
    let component = |bytes: usize| of(&format!("/data/x/{}", "a".repeat(bytes)));
    assert!(component(COMPONENT_BYTES_MAX).is_ok());
    assert_eq!(component(COMPONENT_BYTES_MAX + 1), Err(Reason::TooLong));
    assert_eq!(of(&format!("/data/x{}", "/a".repeat(COMPONENTS_MAX + 1))), Err(Reason::TooLong));
    assert!(of(&format!("/data/x{}", "/a".repeat(COMPONENTS_MAX))).is_ok());
    assert_eq!(of(&format!("/data/x{}a", "/".repeat(PATH_BYTES_MAX))), Err(Reason::TooLong));
    assert_eq!(of(&format!("/data/x/{}", "ä".repeat(128))), Err(Reason::TooLong), "bytes, not characters");
}

#[test]
fn a_directory_may_be_the_workspace_itself() {
    let roots = [Path::new("/data/x")];
    for path in ["/data/x", "/data/x/", "/data/x/."] {
        assert!(directory(&roots, path.as_bytes()).unwrap().is_root(), "{path}");
    }
    assert_eq!(directory(&roots, b"/data/x/a/").unwrap().as_str(), "a");
    assert_eq!(directory(&roots, b"/data"), Err(Reason::Outside));
    assert_eq!(directory(&[], b"/data/x/a"), Err(Reason::Outside));
}

#[test]
fn a_path_is_a_directory_and_a_name_in_it() {
    let beneath = |path: &str| file(&[Path::new("/w")], path.as_bytes()).unwrap();
    let (parent, path) = (beneath("/w/a/b"), beneath("/w/a/b/c"));
    assert_eq!(path.split_last(), Some((parent, "c")));
    let (parent, name) = (beneath("/w/c"), "c");
    let (root, last) = parent.split_last().unwrap();
    assert!(root.is_root() && last == name && root.split_last().is_none());
    assert_eq!(path.components().collect::<Vec<_>>(), ["a", "b", "c"]);
    assert_eq!(root.components().count(), 0);
}

#[test]
fn errors_name_path_and_reason_on_one_short_line() {
    let error = WorkspaceError::refused("/data/x/a\n\u{1b}[2J", Reason::Control);
    assert_eq!(error.to_string(), r"/data/x/a\n\u{1b}[2J has a control character");
    assert_eq!(error.code(), Code::WorkspacePolicyViolation);
    assert_eq!(error.to_api().message, error.to_string());
    let agent = error.to_agent();
    assert_eq!(agent.code, -32602);
    assert!(agent.message.starts_with("WORKSPACE_POLICY_VIOLATION: /data/x/a"));
    let long = WorkspaceError::refused(&"/ä".repeat(100_000), Reason::TooLong).to_string();
    assert!(long.chars().count() < SHOWN_CHARS_MAX + 30);
    let missing = WorkspaceError::Missing { path: "/data/x/a".to_owned() };
    assert_eq!((missing.code(), missing.to_agent().code), (Code::InvalidRequest, -32002));
    let full = std::io::Error::from_raw_os_error(libc::ENOSPC);
    let full = WorkspaceError::Io { operation: "write", path: "/data/x/a".to_owned(), source: full };
    assert_eq!((full.code(), full.to_agent().code), (Code::StorageFull, -32603));
}

#[test]
fn lines_are_counted_from_one_and_keep_their_ends() {
    let text = "a\nb\r\n\nd";
    let cases = [
        (None, None, text),
        (Some(1), None, text),
        (Some(0), None, text),
        (Some(2), None, "b\r\n\nd"),
        (Some(2), Some(1), "b\r\n"),
        (Some(3), Some(1), "\n"),
        (Some(4), Some(1), "d"),
        (Some(4), Some(9), "d"),
        (Some(5), None, ""),
        (Some(u64::MAX), Some(u64::MAX), ""),
        (None, Some(0), ""),
        (None, Some(2), "a\nb\r\n"),
    ];
    for (line, limit, expected) in cases {
        assert_eq!(lines(text, line, limit), expected, "{line:?} {limit:?}");
    }
    assert_eq!(lines("", Some(1), Some(1)), "");
}

proptest! {
    #[test]
    fn whatever_is_allowed_has_names_alone_and_comes_back_as_itself(path in "[a./~\u{0}-\u{1f}x]{0,40}") {
        let roots = [Path::new("/data/x")];
        for path in [path.clone(), format!("/data/x/{path}")] {
            let Ok(beneath) = file(&roots, path.as_bytes()) else { continue };
            prop_assert!(beneath.components().all(|name| !matches!(name, "" | "." | "..")));
            let again = file(&roots, format!("/data/x/{}", beneath.as_str()).as_bytes());
            prop_assert_eq!(again, Ok(beneath));
        }
    }

    #[test]
    fn the_lines_of_a_text_are_all_of_it(text in "[a\n]{0,30}", at in 1u64..20) {
        let (before, behind) = (lines(&text, None, Some(at)), lines(&text, Some(at + 1), None));
        prop_assert_eq!(format!("{before}{behind}"), text);
    }
}
