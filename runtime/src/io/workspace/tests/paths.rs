//! Paths that say already by their words where they lead.

use super::*;

attacks! {
    plain_files_are_read_and_written |case: &Case| {
        assert_eq!(case.read("plain").unwrap(), "plain\n");
        assert_eq!(case.read("sub/inner").unwrap(), "inner\n");
        case.write("plain").unwrap();
        case.write("sub/new").unwrap();
        assert_eq!(case.read("plain").unwrap(), "written\n");
        assert_eq!(case.read("sub/new").unwrap(), "written\n");
    };
    an_absolute_path_elsewhere |case: &Case| {
        for path in ["/etc/passwd", "/", "/tmp", "/root/.ssh/id_rsa", "/etc/holdfast-new-file"] {
            case.refuses_path(path, Reason::Outside);
        }
        assert!(!Path::new("/etc/holdfast-new-file").exists());
    };
    an_absolute_path_beside |case: &Case| {
        case.refuses_path(case.outside.join("secret").to_str().unwrap(), Reason::Outside);
        case.refuses_path(case.outside.join("new").to_str().unwrap(), Reason::Outside);
    };
    a_relative_path |case: &Case| {
        for path in ["plain", "./plain", "sub/inner", "../outside/secret", ""] {
            case.refuses_path(path, Reason::Relative);
        }
    };
    a_path_of_somebodys_home |case: &Case| {
        for path in ["~", "~/plain", "~root/.profile", "$HOME/plain", "${HOME}/plain"] {
            case.refuses_path(path, Reason::Relative);
        }
    };
    a_path_as_a_url |case: &Case| {
        case.refuses_path(&format!("file://{}", case.path("plain")), Reason::Relative);
    };
    dot_dot_that_leads_out |case: &Case| {
        case.refuses("../../outside/secret", Reason::Parent);
        case.refuses("sub/../../../outside/secret", Reason::Parent);
    };
    dot_dot_that_leads_back_in |case: &Case| {
        case.refuses("sub/../plain", Reason::Parent);
        case.refuses("../x/plain", Reason::Parent);
    };
    dot_dot_at_the_end |case: &Case| {
        case.refuses("sub/..", Reason::Parent);
        case.refuses("..", Reason::Parent);
    };
    dot_dot_between_double_slashes |case: &Case| case.refuses("sub//..//..//..//outside/secret", Reason::Parent);
    dot_dot_before_the_root |case: &Case| {
        case.refuses_path(&format!("/tmp/..{}", case.path("plain")), Reason::Parent);
        case.refuses_path(&format!("/..{}", case.path("plain")), Reason::Parent);
    };
    dot_dot_behind_a_link |case: &Case| {
        symlink(case.outside.join("sub"), case.root.join("link")).unwrap();
        case.refuses("link/../secret", Reason::Parent);
    };
    dot_dot_behind_a_file |case: &Case| case.refuses("plain/../sub/inner", Reason::Parent);
    dots_that_are_a_name |case: &Case| {
        case.write("...").unwrap();
        case.write("..plain").unwrap();
        assert_eq!(case.read("...").unwrap(), "written\n");
    };
    dot_dot_in_disguise_is_a_name |case: &Case| {
        for name in ["%2e%2e", "..%2f..%2foutside%2fsecret", "․․", "..\\..\\outside\\secret", "．．"] {
            assert!(matches!(case.read(name), Err(WorkspaceError::Missing { .. })), "{name}");
            case.write(name).unwrap();
            assert_eq!(std::fs::read_to_string(case.root.join(name)).unwrap(), "written\n", "{name}");
        }
    };
    slashes_and_dots_without_meaning_are_left_out |case: &Case| {
        assert_eq!(case.read("/plain").unwrap(), "plain\n");
        assert_eq!(case.read("./sub/././/inner").unwrap(), "inner\n");
        case.write(".//sub//new").unwrap();
        assert_eq!(case.read("sub/new").unwrap(), "written\n");
    };
    a_sibling_whose_name_begins_the_same |case: &Case| {
        let sibling = format!("{}y/secret", case.root.display());
        assert_eq!(std::fs::read_to_string(&sibling).unwrap(), SECRET);
        case.refuses_path(&sibling, Reason::Outside);
        case.refuses_path(&format!("{}y/new", case.root.display()), Reason::Outside);
    };
    the_directory_of_all_workspaces |case: &Case| {
        case.refuses_path(case.root.parent().unwrap().to_str().unwrap(), Reason::Outside);
    };
    the_workspace_itself |case: &Case| {
        for path in ["", ".", "/", "./"] {
            case.refuses(path, Reason::Directory);
        }
        case.refuses_path(case.root.to_str().unwrap(), Reason::Directory);
    };
    a_slash_behind_a_file |case: &Case| {
        case.refuses("plain/", Reason::Directory);
        case.refuses("plain//", Reason::Directory);
        case.refuses("plain/.", Reason::Directory);
    };
    a_slash_behind_a_file_that_is_missing |case: &Case| {
        case.refuses("new/", Reason::Directory);
        assert!(!case.root.join("new").exists());
    };
    a_slash_behind_a_link |case: &Case| {
        symlink(&case.outside, case.root.join("link")).unwrap();
        case.refuses("link/", Reason::Directory);
    };
    a_nul_that_would_cut_the_path |case: &Case| {
        case.refuses("plain\0", Reason::Control);
        case.refuses("plain\0.txt", Reason::Control);
        case.refuses("\0", Reason::Control);
    };
    a_newline |case: &Case| {
        case.refuses("a\nb", Reason::Control);
        case.refuses("plain\n", Reason::Control);
    };
    a_path_that_would_move_the_cursor |case: &Case| {
        for path in ["\u{1b}[2Jplain", "plain\r", "plain\u{8}", "\u{9b}2J", "\u{7f}"] {
            case.refuses(path, Reason::Control);
        }
    };
    a_component_longer_than_a_name |case: &Case| {
        case.write(&"n".repeat(255)).unwrap();
        case.refuses(&"n".repeat(256), Reason::TooLong);
        case.refuses(&format!("{}/plain", "n".repeat(256)), Reason::TooLong);
    };
    a_path_longer_than_the_system_takes |case: &Case| {
        case.refuses(&"sub/./".repeat(1000), Reason::TooLong);
        case.refuses(&format!("{}plain", "/".repeat(5000)), Reason::TooLong);
    };
    a_path_of_too_many_components |case: &Case| {
        case.refuses(&vec!["d"; 200].join("/"), Reason::TooLong);
        assert!(!case.root.join("d").exists());
        case.write(&vec!["d"; 100].join("/")).unwrap();
    };
    the_files_of_our_own_process |case: &Case| {
        for path in ["/proc/self/environ", "/proc/self/mem", "/proc/1/environ", "/proc/self/maps"] {
            case.refuses_path(path, Reason::Outside);
        }
    };
    a_descriptor_of_our_own_process |case: &Case| {
        let root = case.workspace.root.as_raw_fd();
        for path in ["/dev/stdin", "/dev/fd/0", "/proc/self/fd/0", &format!("/proc/self/fd/{root}/plain")] {
            case.refuses_path(path, Reason::Outside);
        }
    };
    the_workspace_by_way_of_proc |case: &Case| {
        case.refuses_path(&format!("/proc/self/root{}", case.path("plain")), Reason::Outside);
        case.refuses_path(&format!("/proc/self/cwd{}", case.path("plain")), Reason::Outside);
    };
    the_identity_of_the_workspace |case: &Case| {
        case.workspace.identify(uuid::Uuid::new_v4()).unwrap();
        case.refuses(".holdfast-workspace", Reason::Reserved);
        case.refuses("./.holdfast-workspace", Reason::Reserved);
        case.refuses(".Holdfast-Workspace", Reason::Reserved);
    };
    a_name_in_another_case |case: &Case| {
        assert!(matches!(case.read("PLAIN"), Err(WorkspaceError::Missing { .. })));
        let upper = case.root.to_str().unwrap().replace("workspaces", "WORKSPACES");
        case.refuses_path(&format!("{upper}/plain"), Reason::Outside);
    };
    what_is_missing |case: &Case| {
        for path in ["missing", "missing/deep/er", "sub/missing"] {
            let error = case.read(path).unwrap_err();
            assert!(matches!(error, WorkspaceError::Missing { .. }), "{error}");
            assert!(error.to_string().contains(path));
        }
    };
    what_is_written_makes_its_directories |case: &Case| {
        case.write("a/b/c/new").unwrap();
        case.write("sub/b/new").unwrap();
        assert_eq!(case.read("a/b/c/new").unwrap(), "written\n");
        assert_eq!(names(&case.root.join("a/b/c")), ["new"]);
    };
    a_directory_to_start_in |case: &Case| {
        symlink(&case.outside, case.root.join("link")).unwrap();
        let directory = |path: &str| case.workspace.directory(&case.path(path));
        assert!(directory("").unwrap().is_root());
        assert_eq!(directory("sub/").unwrap().as_str(), "sub");
        let reason = |path: &str| directory(path).unwrap_err().reason();
        assert_eq!(reason("link"), Some(Reason::Symlink));
        assert_eq!(reason("link/sub"), Some(Reason::Symlink));
        assert_eq!(reason("plain"), Some(Reason::NotDirectory));
        assert_eq!(reason("plain/sub"), Some(Reason::NotDirectory));
        assert_eq!(reason("sub/.."), Some(Reason::Parent));
        assert_eq!(reason("missing"), None);
        let elsewhere = case.workspace.directory(case.outside.to_str().unwrap());
        assert_eq!(elsewhere.unwrap_err().reason(), Some(Reason::Outside));
    };
}

#[test]
fn a_workspace_by_a_name_that_is_none() {
    let case = Case::new(Resolver::Walk);
    let all = case.root.parent().unwrap();
    for name in ["", ".", "..", "../outside", "x/sub", "/etc", "x\0", "./x"] {
        let error = Workspace::make(all, name).unwrap_err();
        assert_eq!(error.reason(), Some(Reason::Outside), "{name:?}: {error}");
    }
    case.is_unharmed();
}

#[test]
fn a_workspace_that_is_a_link_or_a_file() {
    let case = Case::new(Resolver::Walk);
    let all = case.root.parent().unwrap();
    symlink(&case.outside, all.join("link")).unwrap();
    symlink(case.outside.join("missing"), all.join("dangling")).unwrap();
    std::fs::write(all.join("file"), "").unwrap();
    for name in ["link", "dangling", "file"] {
        for opened in [Workspace::open(all, name), Workspace::make(all, name)] {
            assert_eq!(opened.unwrap_err().reason(), Some(Reason::NotDirectory), "{name}");
        }
    }
    case.is_unharmed();
}

#[test]
fn a_workspace_is_made_for_its_owner_alone_and_once() {
    let case = Case::new(Resolver::Walk);
    let all = case.root.parent().unwrap();
    assert!(matches!(Workspace::open(all, "new"), Err(WorkspaceError::Missing { .. })));
    Workspace::make(all, "new").unwrap();
    assert_eq!(std::fs::metadata(all.join("new")).unwrap().mode() & 0o7777, 0o700);
    Workspace::make(all, "new").unwrap();
    Workspace::open(all, "new").unwrap();
}

#[test]
fn a_workspace_stays_the_directory_that_was_opened() {
    run(|case| {
        let moved = case.root.with_file_name("moved");
        std::fs::rename(&case.root, &moved).unwrap();
        symlink(&case.outside, &case.root).unwrap();
        assert_eq!(case.read("plain").unwrap(), "plain\n");
        assert!(matches!(case.read("secret"), Err(WorkspaceError::Missing { .. })));
        case.write("new").unwrap();
        assert_eq!(std::fs::read_to_string(moved.join("new")).unwrap(), "written\n");
        std::fs::remove_file(&case.root).unwrap();
        std::fs::rename(&moved, &case.root).unwrap();
    });
}

#[test]
fn a_workspace_reached_over_a_link_has_both_names() {
    let case = Case::new(Resolver::Walk);
    let link = case.outside.with_file_name("link");
    symlink(case.root.parent().unwrap(), &link).unwrap();
    let workspace = Workspace::open(&link, "x").unwrap();
    assert_eq!(workspace.path(), std::fs::canonicalize(&case.root).unwrap());
    for root in [link.join("x"), case.root.clone()] {
        let text = workspace.read_text(root.join("plain").to_str().unwrap(), None, None);
        assert_eq!(text.unwrap(), "plain\n");
    }
}
