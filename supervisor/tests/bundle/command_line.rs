//! `holdfast release ...` as people and CI run it.

use super::support::{VERSION, World};
use serde_json::{Value, json};
use std::path::Path;
use std::process::{Command, Output};

/// Runs `holdfast --json release ...`; the answer, and the exit code.
fn release(world: &World, arguments: &[&str]) -> (Value, i32) {
    let output = holdfast(world, &[&["--json", "release"], arguments].concat());
    let answer = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
    (answer, output.status.code().unwrap())
}

fn holdfast(world: &World, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_holdfast"));
    command.arg("--home").arg(world.home.path()).args(arguments).current_dir(world.path(""));
    command.output().unwrap()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn from_a_key_to_a_bundle_that_a_node_trusts() {
    let world = World::new();
    world.pack(VERSION);
    let (key, code) = release(&world, &["keygen", "--out", "ci", "--name", "ci", "--trust"]);
    assert_eq!((code, &key["password"]), (0, &json!(false)));
    let (packed, code) = release(
        &world,
        &[
            "pack",
            "--key",
            "ci/ci.key",
            "--version",
            "3.1.0",
            "--from",
            text(&world.path("tree")),
            "--out",
            "it.tar.zst",
        ],
    );
    assert_eq!(
        (code, &packed["version"], packed["files"].as_array().unwrap().len()),
        (0, &json!("3.1.0"), 3)
    );
    let days = (packed["expires_at"].as_i64().unwrap() - packed["created_at"].as_i64().unwrap()) / 86_400_000;
    assert_eq!(days, 180);
    for keys in [&["verify", "it.tar.zst"][..], &["verify", "it.tar.zst", "--key", "ci/ci.pub"]] {
        let (verified, code) = release(&world, keys);
        assert_eq!((code, &verified["valid"], &verified["version"]), (0, &json!(true), &json!("3.1.0")));
        assert_eq!(verified["key"], key["key"]);
        assert_eq!(verified["root_changes"], json!(["bin/holdfast", "bin/holdfast-sidecar"]));
    }
}

#[test]
fn refusals_exit_5_with_their_reason_and_mistakes_2() {
    let world = World::new();
    let bundle = world.pack(VERSION);
    let public = text(&world.public).to_owned();
    release(&world, &["keygen", "--out", "other", "--name", "other"]);
    let (refused, code) = release(&world, &["verify", text(&bundle), "--key", "other/other.pub"]);
    assert_eq!((code, &refused["details"]["reason"]), (5, &json!("bundle_key_untrusted")));
    // Where there is no node there are no trusted keys, and that is what is wrong.
    let mut command = Command::new(env!("CARGO_BIN_EXE_holdfast"));
    command.args(["release", "verify"]).arg(&bundle).current_dir(world.path("")).env_remove("HOLDFAST_HOME");
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(5));
    assert!(String::from_utf8_lossy(&output.stderr).contains("no key is trusted here: give --key"));
    let bytes = std::fs::read(&bundle).unwrap();
    std::fs::write(&bundle, &bytes[1..]).unwrap();
    let (refused, code) = release(&world, &["verify", text(&bundle), "--key", &public]);
    assert_eq!((code, &refused["details"]["reason"]), (5, &json!("bundle_signature_invalid")));
    let (_, code) = release(&world, &["keygen", "--out", "other", "--name", "other"]);
    assert_eq!(code, 5);
    for mistake in [
        &["verify"][..],
        &["keygen", "--name", "a/b"],
        &["pack", "--key", "other/other.key", "--expires-in", "soon"],
        &["verify", "x", "--key", "a", "--trusted", "b"],
    ] {
        assert_eq!(release(&world, mistake).1, 2, "{mistake:?}");
    }
}

#[test]
fn a_password_is_read_from_a_file_and_never_asked_for() {
    let world = World::new();
    world.pack(VERSION);
    std::fs::write(world.path("password"), "correct horse\n").unwrap();
    let (key, code) =
        release(&world, &["keygen", "--out", "k", "--name", "k", "--password-file", "password"]);
    assert_eq!((code, &key["password"]), (0, &json!(true)));
    let tree = world.path("tree");
    let pack = ["pack", "--key", "k/k.key", "--from", text(&tree), "--version", "1.0.0"];
    let (refused, code) = release(&world, &pack);
    assert_eq!(code, 5);
    assert!(refused["message"].as_str().unwrap().contains("--password-file"), "{refused}");
    let (packed, code) = release(&world, &[&pack[..], &["--password-file", "password"]].concat());
    assert_eq!((code, &packed["bundle"]), (0, &json!("holdfast-1.0.0.tar.zst")));
    assert!(world.path("holdfast-1.0.0.tar.zst.minisig").is_file());
}

#[test]
fn without_json_people_read_what_matters() {
    let world = World::new();
    world.pack(VERSION);
    let said = |arguments: &[&str]| String::from_utf8(holdfast(&world, arguments).stdout).unwrap();
    let made = said(&["release", "keygen", "--out", "k"]);
    assert!(made.contains("has no password: whoever reads it can sign"), "{made}");
    let tree = world.path("tree");
    let packed = said(&[
        "release",
        "pack",
        "--key",
        "k/holdfast-release.key",
        "--from",
        text(&tree),
        "--version",
        "1.0.0",
    ]);
    assert!(packed.contains("holdfast-1.0.0.tar.zst") && packed.contains("expires"), "{packed}");
    let verified = said(&["release", "verify", "holdfast-1.0.0.tar.zst", "--key", "k/holdfast-release.pub"]);
    assert!(verified.contains("is valid") && verified.contains("Needs a root promotion"), "{verified}");
}
