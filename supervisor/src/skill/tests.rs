use super::*;

const SMALL: &str = "name = \"x\"\nversion = \"1\"\nprotocol = \"acp\"\nargv = [\"./run\"]\n";

fn mistakes(text: &str) -> Vec<String> {
    Manifest::parse(text).map_or_else(|mistakes| mistakes.0, |_| Vec::new())
}

#[test]
fn a_full_manifest_is_taken_whole() {
    let text = r#"
        name = "codex"
        version = "0.16.0"
        description = "An agent"
        protocol = "acp"
        argv = ["./run", "--x"]
        env = { CODEX_HOME = "/x" }
        pass_env = ["HTTPS_PROXY"]
        user = "someone"
        authenticate = "key"
        [limits]
        output_bytes = 8192
        memory_bytes = 1_000_000_000
        processes = 50
        open_files = 100
        cpu_seconds = 60
        cpu_percent = 150
        file_bytes = 1000
    "#;
    let manifest = Manifest::parse(text).unwrap();
    assert_eq!((manifest.name.as_str(), manifest.protocol), ("codex", Protocol::Acp));
    assert_eq!((manifest.own_program(), manifest.output_bytes), (Some("run"), Some(8192)));
    assert_eq!(manifest.env["CODEX_HOME"], "/x");
    let limits = Limits {
        memory_bytes: Some(1_000_000_000),
        processes: Some(50),
        open_files: Some(100),
        cpu_seconds: Some(60),
        cpu_percent: Some(150),
        file_bytes: Some(1000),
    };
    assert_eq!(manifest.limits, limits);
    let installed = manifest.installed(digest(b""));
    assert_eq!(installed.authenticate.as_deref(), Some("key"));
    assert!(installed.digest.starts_with("e3b0c442"));
    assert_eq!(Manifest::parse(SMALL).unwrap().limits, Limits::default());
}

#[test]
fn all_mistakes_are_said_at_once_each_with_its_field() {
    let text = "name = \"A/b\"\nprotocol = \"mcp\"\nargv = []\nextra = 1\npass_env = [1]\n[limits]\nprocesses = 0\nmemory = 1";
    let found = mistakes(text);
    for field in [
        "name:",
        "version:",
        "protocol:",
        "argv:",
        "extra:",
        "pass_env:",
        "limits.processes:",
        "limits.memory:",
    ] {
        assert!(found.iter().any(|mistake| mistake.starts_with(field)), "{field} in {found:?}");
    }
    assert_eq!(found.len(), 8, "{found:?}");
}

#[test]
fn each_of_these_is_a_mistake() {
    for (line, says) in [
        ("name = \"command\"", "built in"),
        ("name = \"demo\"", "built in"),
        ("name = \"index.json\"", "file of ours"),
        ("name = \"..\"", "not 1 to 64"),
        ("name = \".x\"", "not 1 to 64"),
        ("name = \"Upper\"", "not 1 to 64"),
        ("name = \"a b\"", "not 1 to 64"),
        ("name = \"\"", "name: is empty"),
        ("name = 1", "name: 1 is no text"),
        ("version = \"1 2\"", "white space"),
        ("argv = [\"../run\"]", "neither absolute"),
        ("argv = [\"./../run\"]", "neither absolute"),
        ("argv = [\"./a/../b\"]", "neither absolute"),
        ("argv = [\"bin/run\"]", "neither absolute"),
        ("argv = [\".\"]", "no program"),
        ("argv = [\"\"]", "no program"),
        ("argv = \"run\"", "no list"),
        ("argv = [\"x\\u0000y\"]", "NUL"),
        ("env = { \"A-B\" = \"1\" }", "no name of a variable"),
        ("env = { A = 1 }", "env.A: 1 is no text"),
        ("env = 3", "env: is no table"),
        ("pass_env = [\"HOLDFAST_TASK\"]", "set by Holdfast"),
        ("user = \"\"", "user: is empty"),
        ("limits = 3", "limits: is no table"),
        ("limits = { cpu_percent = \"1\" }", "limits.cpu_percent: is \"1\""),
        ("limits = { open_files = -1 }", "limits.open_files: is -1"),
        ("limits = { open_files = 1.5 }", "limits.open_files: is 1.5"),
    ] {
        let field = line.split(' ').next().unwrap();
        let kept = SMALL.lines().filter(|kept| !kept.starts_with(&format!("{field} ")));
        let text: Vec<&str> = kept.chain([line]).collect();
        let found = mistakes(&text.join("\n"));
        assert!(found.len() == 1 && found[0].contains(says), "{line}: {found:?}");
    }
    let command = SMALL.replace("acp", "command") + "authenticate = \"x\"";
    assert!(mistakes(&command)[0].contains("authenticate"));
    assert_eq!(mistakes("name = ").len(), 1);
    let long = format!("{SMALL}description = \"{}\"", "x".repeat(5000));
    assert!(mistakes(&long)[0].contains("longer than"));
}

#[test]
fn programs_in_path_and_absolute_ones_are_fine() {
    for program in ["node", "/usr/bin/node", "./a/b"] {
        let text = SMALL.replace("./run", program);
        assert_eq!(mistakes(&text), Vec::<String>::new(), "{program}");
    }
}
