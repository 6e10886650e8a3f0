//! What `doctor` says of the work: skills that cannot be run, and how far each limit reaches on this machine. Pure.

use super::Check;
use serde_json::Value;

/// Skills of `GET /v1/skills`: those that are installed and refused, by name.
pub fn skills(all: &Value) -> Vec<Check> {
    let skills = all["skills"].as_array().map(Vec::as_slice).unwrap_or_default();
    let installed = skills.iter().filter(|skill| skill["state"] != "built_in").count();
    let refused = skills.iter().filter(|skill| skill["state"] == "refused").map(|skill| {
        let problem = skill["problem"].as_str().unwrap_or("it cannot be run");
        Check::warn("skills", problem, "until then every turn of its tasks is refused")
    });
    let refused: Vec<Check> = refused.collect();
    match (refused.is_empty(), installed) {
        (false, _) => refused,
        (true, 0) => vec![Check::ok("skills", "command and demo, which are built in; none is installed")],
        (true, count) => vec![Check::ok("skills", format!("{count} installed, unchanged since"))],
    }
}

/// How the limits that a skill names are kept, of `limits` in `GET /v1/skills`; nothing where no supervisor says it.
pub fn limits(limits: &Value) -> Vec<Check> {
    if !limits.is_object() {
        return Vec::new();
    }
    let has = |name: &str| limits[name].as_bool().unwrap_or(false);
    let users = has("users");
    let next = "name a delegated cgroup v2 directory in `[supervisor] worker_cgroup` (docs/OPERATING.md, \"Limits\")";
    let memory = match has("memory") {
        true => Check::ok("memory limits", "by control group, for all of a worker's processes together"),
        false => Check::warn(
            "memory limits",
            "by rlimit (RLIMIT_DATA), for each process of a worker and not for the whole tree",
            next,
        ),
    };
    let processes = match (has("processes"), users) {
        (true, _) => Check::ok("process limits", "by control group"),
        (false, true) => Check::warn(
            "process limits",
            "by rlimit, for skills with a user of their own, over all processes of that user; not kept for others",
            next,
        ),
        (false, false) => {
            Check::warn("process limits", "not kept here: no control group, and no task users", next)
        }
    };
    let cpu = match has("cpu") {
        true => Check::ok("cpu limits", "shares by control group, seconds by rlimit for each process"),
        false => Check::warn(
            "cpu limits",
            "seconds by rlimit for each process; cpu_percent is not kept here",
            next,
        ),
    };
    vec![group(limits), memory, processes, cpu, user(users)]
}

fn group(limits: &Value) -> Check {
    match limits["group"].as_str() {
        Some(group) => Check::ok("cgroup v2", format!("each worker has a group of its own below {group}")),
        None => Check::warn(
            "cgroup v2",
            "no group can be made here: work is ended by its session and its holder",
            "",
        ),
    }
}

fn user(users: bool) -> Check {
    let message = "work without `user` in its skill runs as the node's own user: it can read and change what this user \
        can, the node's files too";
    let next = match users {
        true => "name a user in the skill.toml of what is not to be trusted",
        false => "a skill's `user` needs a supervisor that runs as root; this one does not",
    };
    Check::warn("task user", message, next)
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::*;
    use serde_json::json;

    #[test]
    fn skills_that_cannot_be_run_are_named_and_others_counted() {
        let built_in = json!({"name": "command", "state": "built_in"});
        let ok = json!({"name": "x", "state": "ok"});
        let bad = json!({"name": "y", "state": "refused", "problem": "skill \"y\": was changed"});
        assert!(skills(&json!({"skills": [built_in]}))[0].message.contains("built in"));
        assert!(skills(&json!({"skills": [built_in, ok]}))[0].message.starts_with("1 installed"));
        let found = skills(&json!({"skills": [built_in, ok, bad]}));
        assert_eq!((found.len(), found[0].state), (1, State::Warn));
        assert!(found[0].message.contains("\"y\": was changed"));
    }

    #[test]
    fn each_limit_says_how_far_it_reaches() {
        let states = |value: Value| limits(&value).iter().map(|check| check.state).collect::<Vec<State>>();
        let all = json!({"group": "/g", "memory": true, "processes": true, "cpu": true, "users": true});
        assert_eq!(states(all)[..4], [State::Ok; 4]);
        let none = json!({"group": null, "memory": false, "processes": false, "cpu": false, "users": false});
        assert_eq!(states(none.clone()), [State::Warn; 5]);
        let text =
            limits(&none).iter().map(|check| check.message.clone()).collect::<Vec<String>>().join("\n");
        assert!(text.contains("not for the whole tree") && text.contains("not kept here"), "{text}");
        assert!(limits(&Value::Null).is_empty());
    }
}
