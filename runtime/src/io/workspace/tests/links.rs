//! Symbolic links wherever they can be, and hard links.

use super::*;

/// A link in the workspace.
fn link(case: &Case, name: &str, to: impl AsRef<Path>) {
    symlink(to, case.root.join(name)).unwrap();
}

attacks! {
    a_link_to_a_file_outside |case: &Case| {
        link(case, "link", case.outside.join("secret"));
        case.refuses("link", Reason::Symlink);
    };
    a_relative_link_to_a_file_outside |case: &Case| {
        link(case, "link", "../../outside/secret");
        case.refuses("link", Reason::Symlink);
    };
    a_link_to_a_file_inside |case: &Case| {
        link(case, "link", "plain");
        case.refuses("link", Reason::Symlink);
        assert_eq!(case.read("plain").unwrap(), "plain\n");
    };
    a_link_to_a_file_that_is_missing |case: &Case| {
        link(case, "link", case.outside.join("missing"));
        case.refuses("link", Reason::Symlink);
        assert!(!case.outside.join("missing").exists());
    };
    a_link_to_a_file_that_may_not_be_read |case: &Case| {
        link(case, "link", "/etc/shadow");
        link(case, "link2", "/nowhere/at/all");
        let (there, nowhere) = (case.read("link").unwrap_err(), case.read("link2").unwrap_err());
        let of = |error: WorkspaceError| error.to_string().replace("link2", "link");
        assert_eq!(of(there), of(nowhere), "an error does not say whether there is something");
    };
    a_link_to_a_directory_outside |case: &Case| {
        link(case, "link", &case.outside);
        case.refuses("link", Reason::Symlink);
    };
    a_link_as_the_first_component |case: &Case| {
        link(case, "link", &case.outside);
        case.refuses("link/secret", Reason::Symlink);
        case.refuses("link/new", Reason::Symlink);
        case.refuses("link/sub/secret", Reason::Symlink);
    };
    a_link_as_a_middle_component |case: &Case| {
        link(case, "sub/link", &case.outside);
        case.refuses("sub/link/secret", Reason::Symlink);
        case.refuses("sub/link/sub/secret", Reason::Symlink);
    };
    a_link_as_a_middle_component_that_stays_inside |case: &Case| {
        link(case, "link", "sub");
        case.refuses("link/inner", Reason::Symlink);
    };
    a_link_to_the_workspace_itself |case: &Case| {
        link(case, "link", &case.root);
        case.refuses("link/plain", Reason::Symlink);
        link(case, "sub/dot", "..");
        case.refuses("sub/dot/plain", Reason::Symlink);
    };
    a_link_to_the_root_of_all_files |case: &Case| {
        link(case, "link", "/");
        case.refuses("link/etc/passwd", Reason::Symlink);
        case.refuses(&format!("link{}", case.outside.join("secret").display()), Reason::Symlink);
    };
    a_link_to_itself |case: &Case| {
        link(case, "link", "link");
        case.refuses("link", Reason::Symlink);
        case.refuses("link/a", Reason::Symlink);
    };
    a_circle_of_links |case: &Case| {
        link(case, "one", "two");
        link(case, "two", "one");
        case.refuses("one", Reason::Symlink);
        case.refuses("two/x", Reason::Symlink);
    };
    a_chain_of_links |case: &Case| {
        link(case, "link0", case.outside.join("secret"));
        for number in 1..60 {
            link(case, &format!("link{number}"), format!("link{}", number - 1));
        }
        case.refuses("link59", Reason::Symlink);
        case.refuses("link1", Reason::Symlink);
    };
    a_link_into_a_missing_directory_is_not_made |case: &Case| {
        link(case, "link", case.outside.join("new"));
        case.refuses("link/file", Reason::Symlink);
        case.refuses("link/deep/file", Reason::Symlink);
        assert!(!case.outside.join("new").exists());
    };
    directories_are_not_made_behind_a_link |case: &Case| {
        link(case, "link", &case.outside);
        case.refuses("link/new/file", Reason::Symlink);
        case.refuses("link/a/b/c/d", Reason::Symlink);
    };
    a_link_to_a_descriptor_of_ours |case: &Case| {
        let secret = File::open(case.outside.join("secret")).unwrap();
        link(case, "link", format!("/proc/self/fd/{}", secret.as_raw_fd()));
        case.refuses("link", Reason::Symlink);
        link(case, "link2", "/proc/self/fd");
        case.refuses(&format!("link2/{}", secret.as_raw_fd()), Reason::Symlink);
    };
    a_link_to_our_own_root_and_working_directory |case: &Case| {
        link(case, "link", "/proc/self/root");
        case.refuses("link/etc/passwd", Reason::Symlink);
        link(case, "link2", "/proc/self/cwd");
        case.refuses("link2/Cargo.toml", Reason::Symlink);
        link(case, "link3", "/proc/self/exe");
        case.refuses("link3", Reason::Symlink);
    };
    a_link_to_standard_input |case: &Case| {
        link(case, "link", "/dev/stdin");
        case.refuses("link", Reason::Symlink);
    };
    a_link_with_a_name_like_a_directory |case: &Case| {
        std::fs::remove_dir_all(case.root.join("sub")).unwrap();
        link(case, "sub", case.outside.join("sub"));
        case.refuses("sub/secret", Reason::Symlink);
        case.refuses("sub/inner", Reason::Symlink);
    };
    a_link_beside_is_of_no_concern |case: &Case| {
        link(case, "link", &case.outside);
        assert_eq!(case.read("sub/inner").unwrap(), "inner\n");
        case.write("sub/inner").unwrap();
    };
    a_hard_link_to_a_file_outside |case: &Case| {
        std::fs::hard_link(case.outside.join("secret"), case.root.join("hard")).unwrap();
        case.refuses("hard", Reason::HardLinks);
    };
    a_hard_link_in_a_directory |case: &Case| {
        std::fs::hard_link(case.outside.join("secret"), case.root.join("sub/hard")).unwrap();
        case.refuses("sub/hard", Reason::HardLinks);
    };
    a_hard_link_to_a_file_inside |case: &Case| {
        std::fs::hard_link(case.root.join("plain"), case.root.join("hard")).unwrap();
        case.refuses("hard", Reason::HardLinks);
        case.refuses("plain", Reason::HardLinks);
        std::fs::remove_file(case.root.join("hard")).unwrap();
        assert_eq!(case.read("plain").unwrap(), "plain\n");
    };
    a_hard_link_to_a_link |case: &Case| {
        link(case, "link", case.outside.join("secret"));
        std::fs::hard_link(case.root.join("link"), case.root.join("hard")).unwrap();
        case.refuses("hard", Reason::Symlink);
    };
}
