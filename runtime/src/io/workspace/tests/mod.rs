//! Every trick that is known, each by its name, each against both ways to resolve a path. `Case` has a workspace and,
//! beside it, what must not be reached; whatever was tried, that is unharmed afterwards.

mod content;
mod identity;
mod links;
mod mounts;
mod paths;
mod races;
mod special;

use super::*;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

const SECRET: &str = "the secret";

/// A workspace `/tmp/.../workspaces/x` with some files, `/tmp/.../workspaces/xy` and `/tmp/.../outside` beside it.
struct Case {
    workspace: Workspace,
    root: PathBuf,
    outside: PathBuf,
    _directory: tempfile::TempDir,
}

impl Case {
    fn new(resolver: Resolver) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let workspaces = directory.path().join("workspaces");
        let (root, outside) = (workspaces.join("x"), directory.path().join("outside"));
        for made in [&root, &root.join("sub"), &workspaces.join("xy"), &outside, &outside.join("sub")] {
            std::fs::create_dir_all(made).unwrap();
        }
        std::fs::write(root.join("plain"), "plain\n").unwrap();
        std::fs::write(root.join("sub/inner"), "inner\n").unwrap();
        for secret in ["outside/secret", "outside/sub/secret", "workspaces/xy/secret"] {
            std::fs::write(directory.path().join(secret), SECRET).unwrap();
        }
        let mut workspace = Workspace::open(&workspaces, "x").unwrap();
        workspace.resolver = resolver;
        Self { workspace, root, outside, _directory: directory }
    }

    /// The path of an agent for something in the workspace.
    fn path(&self, beneath: &str) -> String {
        format!("{}/{beneath}", self.root.display())
    }

    fn read(&self, beneath: &str) -> Result<String, WorkspaceError> {
        self.workspace.read_text(&self.path(beneath), None, None)
    }

    fn write(&self, beneath: &str) -> Result<(), WorkspaceError> {
        self.workspace.write_text(&self.path(beneath), "written\n")
    }

    /// Neither read nor written, for this reason; the error leads nobody outside.
    fn refuses(&self, beneath: &str, reason: Reason) {
        self.refuses_path(&self.path(beneath), reason);
    }

    fn refuses_path(&self, path: &str, reason: Reason) {
        self.refused(path, self.workspace.read_text(path, None, None).map(drop), reason);
        self.refused(path, self.workspace.write_text(path, "written\n"), reason);
    }

    fn refused(&self, path: &str, result: Result<(), WorkspaceError>, reason: Reason) {
        let error = result.expect_err(&format!("{path:?} is allowed"));
        assert_eq!(error.reason(), Some(reason), "{error}");
        assert_eq!(error.code(), Code::WorkspacePolicyViolation);
        let outside = self.outside.to_str().unwrap();
        assert!(path.contains(outside) || !error.to_string().contains(outside), "{error}");
        assert!(!error.to_string().contains(SECRET));
    }

    /// What must not be reached was not, and nothing of ours lies about.
    fn is_unharmed(&self) {
        let all = self.root.parent().unwrap();
        let secrets = [self.outside.join("secret"), self.outside.join("sub/secret"), all.join("xy/secret")];
        for secret in secrets {
            assert_eq!(std::fs::read_to_string(&secret).unwrap(), SECRET, "{}", secret.display());
        }
        assert_eq!(names(&self.outside), ["secret", "sub"]);
        assert_eq!(names(&self.outside.join("sub")), ["secret"]);
        assert_eq!(names(&all.join("xy")), ["secret"]);
        let left: Vec<_> = names(&self.root).into_iter().filter(|name| name.ends_with(".tmp")).collect();
        assert_eq!(left, Vec::<String>::new());
    }
}

fn names(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// The ways to resolve a path that this machine has.
fn resolvers() -> Vec<Resolver> {
    let here = tempfile::tempdir().unwrap();
    let root = OwnedFd::from(File::open(here.path()).unwrap());
    match Resolver::of_system(&root) {
        Resolver::Kernel => vec![Resolver::Kernel, Resolver::Walk],
        Resolver::Walk => {
            eprintln!("NOT TESTED: openat2, which this machine does not have");
            vec![Resolver::Walk]
        }
    }
}

fn run(attack: impl Fn(&Case)) {
    for resolver in resolvers() {
        let case = Case::new(resolver);
        attack(&case);
        case.is_unharmed();
    }
}

/// Tests by name, each run against every resolver.
macro_rules! attacks {
    ($($name:ident $attack:expr;)*) => { $(
        #[test]
        fn $name() {
            super::run($attack);
        }
    )* };
}
use attacks;
use holdfast_shared::error::Code;
