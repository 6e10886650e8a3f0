use super::*;

fn request(task: &str, turn: &str) -> SpawnWorker {
    SpawnWorker {
        spawn_id: "s1".into(),
        skill: String::new(),
        version: String::new(),
        task: task.into(),
        turn: turn.into(),
        epoch: 1,
        prompt: "echo hi".into(),
        terminal: None,
    }
}

fn installed(protocol: &str) -> Skill {
    let text = format!(
        "name = \"x\"\nversion = \"1\"\nprotocol = \"{protocol}\"\nargv = [\"./bin/run\", \"-v\"]\n\
         env = {{ LANG = \"C\", HOME = \"/elsewhere\" }}\npass_env = [\"PROXY\"]\nlimits = {{ output_bytes = 5000, processes = 3 }}"
    );
    let manifest = Box::new(Manifest::parse(&text).unwrap());
    Skill::Installed { directory: "/h/skills/x".into(), manifest, user: None }
}

fn make(request: &SpawnWorker, skill: Skill) -> Result<Order, ApiError> {
    let variable =
        |name: &str| ["PATH", "SECRET", "PROXY", "HOME"].contains(&name).then(|| "ours".to_owned());
    order(request, &Home::new("/h"), skill, &CommandSettings::default(), variable)
}

fn names(order: &Order) -> Vec<&str> {
    order.env.keys().map(String::as_str).collect()
}

#[test]
fn a_command_gets_a_shell_and_only_allowed_variables() {
    let order = make(&request("demo", "t1"), Skill::Command).unwrap();
    assert_eq!(order.argv, ["/bin/sh", "-c", "echo hi"]);
    assert_eq!(names(&order), ["HOLDFAST_SKILL", "HOLDFAST_TASK", "HOLDFAST_TURN", "HOME", "PATH"]);
    assert_eq!(order.cwd, Path::new("/h/workspaces/demo"));
}

#[test]
fn an_installed_command_gets_the_prompt_as_its_last_word_and_an_agent_none() {
    let order = make(&request("demo", "t1"), installed("command")).unwrap();
    assert_eq!(order.argv, ["/h/skills/x/bin/run", "-v", "echo hi"]);
    assert_eq!((order.protocol, order.mode), (Protocol::Command, OutputMode::Bytes));
    assert_eq!((order.output_quota_bytes, order.limits.processes), (5000, Some(3)));
    let order = make(&request("demo", ""), installed("acp")).unwrap();
    assert_eq!(order.argv, ["/h/skills/x/bin/run", "-v"]);
    assert_eq!((order.protocol, order.mode, order.turn.as_str()), (Protocol::Acp, OutputMode::Lines, ""));
    assert_eq!(names(&order), ["HOLDFAST_SKILL", "HOLDFAST_TASK", "HOME", "LANG", "PATH", "PROXY"]);
    assert_eq!((order.env["HOME"].as_str(), order.env["HOLDFAST_SKILL"].as_str()), ("/elsewhere", "x"));
}

#[test]
fn the_demo_is_our_own_program() {
    let order = make(&request("demo", ""), Skill::Demo { program: "/bin/holdfast".into() }).unwrap();
    assert_eq!(order.argv, ["/bin/holdfast", "agent-demo"]);
    assert_eq!((order.protocol, order.mode), (Protocol::Acp, OutputMode::Lines));
}

#[test]
fn a_terminal_is_a_command_with_the_limits_and_variables_of_its_skill() {
    let terminal = Terminal {
        command: "make".into(),
        args: vec!["all".into()],
        env: BTreeMap::from([("LANG".into(), "de".into())]),
        cwd: "a/b".into(),
    };
    let request = SpawnWorker { terminal: Some(terminal), ..request("demo", "t1") };
    let order = make(&request, installed("acp")).unwrap();
    assert_eq!(order.argv, ["make", "all"]);
    assert_eq!((order.protocol, order.mode), (Protocol::Command, OutputMode::Bytes));
    assert_eq!((order.env["LANG"].as_str(), order.env["PROXY"].as_str()), ("de", "ours"));
    assert_eq!(order.limits.processes, Some(3));
    assert_eq!(order.cwd, Path::new("/h/workspaces/demo/a/b"));
}

#[test]
fn terminals_that_lead_elsewhere_or_are_none_are_refused() {
    let terminal = |command: &str, cwd: &str, variable: &str| {
        let env = BTreeMap::from([(variable.to_owned(), String::new())]);
        let terminal = Terminal { command: command.into(), args: Vec::new(), env, cwd: cwd.into() };
        make(&SpawnWorker { terminal: Some(terminal), ..request("demo", "t1") }, installed("acp"))
    };
    assert!(terminal("make", "a/", "A").is_ok());
    for cwd in ["..", "a/../..", "/etc", "a//b", "./a", "/"] {
        let refused = terminal("make", cwd, "A").unwrap_err();
        assert_eq!(refused.code, Code::WorkspacePolicyViolation, "{cwd:?}");
    }
    for (command, cwd, variable) in [
        ("", "", "A"),
        ("a\0b", "", "A"),
        ("make", "a\0", "A"),
        ("make", "", "A=B"),
        ("make", "", ""),
        ("make", "", "HOLDFAST_TASK"),
    ] {
        let refused = terminal(command, cwd, variable).unwrap_err();
        assert_eq!(refused.code, Code::InvalidRequest, "{command:?} {cwd:?} {variable:?}");
    }
}

#[test]
fn names_that_lead_elsewhere_and_a_command_without_a_turn_are_refused() {
    for task in ["", "..", "a/b", ".x", "a b", "ä", &"x".repeat(65)] {
        let refused = make(&request(task, "t1"), Skill::Command).unwrap_err();
        assert_eq!(refused.code, Code::InvalidRequest, "{task:?}");
    }
    assert_eq!(make(&request("demo", ""), Skill::Command).unwrap_err().code, Code::InvalidRequest);
    assert_eq!(make(&request("demo", "a/b"), installed("acp")).unwrap_err().code, Code::InvalidRequest);
}

#[test]
fn a_command_has_the_limits_of_the_settings() {
    let limits = Limits { open_files: Some(64), ..Limits::default() };
    let settings = CommandSettings { limits, ..CommandSettings::default() };
    let made = |skill| order(&request("demo", "t1"), &Home::new("/h"), skill, &settings, |_| None).unwrap();
    assert_eq!(made(Skill::Command).limits, limits);
    assert_eq!(made(installed("command")).limits.open_files, None);
}
