//! A skill's manifest, `skill.toml`: what its workers are. Read and checked here, with all mistakes at once.

mod fields;

use fields::Fields;
use holdfast_shared::skill::{COMMAND, DEMO, Installed};
use holdfast_shared::token::hex;
use holdfast_shared::worker::{Limits, Protocol};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// The manifest's name in a skill's directory.
pub const MANIFEST: &str = "skill.toml";
/// The largest manifest that is read.
pub const MANIFEST_BYTES_MAX: u64 = 64 * 1024;
/// Bytes of a skill's name at most: it is the name of a directory.
const NAME_BYTES_MAX: usize = 64;
/// Names that a skill's directory may not have: files of ours lie beside them.
const FILES_OF_OURS: [&str; 2] = ["index.json", "index.json.tmp"];
/// Bytes of a text in a manifest at most.
const TEXT_BYTES_MAX: usize = 4096;
/// Words of a command line and variables at most.
const ENTRIES_MAX: usize = 256;

/// A manifest that is right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// Names the skill, and its directory.
    pub name: String,
    /// For people and for tasks to record.
    pub version: String,
    /// For people; empty where there is none.
    pub description: String,
    /// What its workers speak.
    pub protocol: Protocol,
    /// Program and arguments.
    pub argv: Vec<String>,
    /// Variables set for its workers.
    pub env: BTreeMap<String, String>,
    /// Variables that its workers get of the supervisor's environment, where set there.
    pub pass_env: Vec<String>,
    /// Whom its workers run as; the node's own user where not named.
    pub user: Option<String>,
    /// The authentication method for an agent that asks for it.
    pub authenticate: Option<String>,
    /// Bytes that a turn may say; the default where not named.
    pub output_bytes: Option<u64>,
    /// What its workers may use.
    pub limits: Limits,
}

/// What is wrong with a manifest: every mistake, each naming its field.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.join("; "))]
pub struct Mistakes(pub Vec<String>);

/// The limits a manifest may name, each with the lowest and the highest value that makes sense.
const LIMITS: [(&str, u64, u64); 7] = [
    ("output_bytes", 4_096, 1 << 40),
    ("memory_bytes", 16 * 1024 * 1024, 1 << 50),
    ("processes", 1, 1_000_000),
    ("open_files", 16, 1_000_000),
    ("cpu_seconds", 1, 31_536_000),
    ("cpu_percent", 1, 100_000),
    ("file_bytes", 1, 1 << 50),
];

impl Manifest {
    /// Reads and checks a manifest's text.
    ///
    /// # Errors
    /// All mistakes at once; of a text that is no TOML, the first place.
    pub fn parse(text: &str) -> Result<Self, Mistakes> {
        let table: toml::Table =
            toml::from_str(text).map_err(|error| Mistakes(vec![error.to_string().trim_end().to_owned()]))?;
        let mut fields = Fields::new(table);
        let limits = limits(&mut fields);
        let manifest = Self {
            name: fields.text("name").unwrap_or_default(),
            version: fields.text("version").unwrap_or_default(),
            description: fields.optional_text("description").unwrap_or_default(),
            protocol: protocol(&mut fields),
            argv: fields.list("argv").unwrap_or_default(),
            env: fields.map("env"),
            pass_env: fields.optional_list("pass_env"),
            user: fields.optional_text("user"),
            authenticate: fields.optional_text("authenticate"),
            output_bytes: limits.get("output_bytes").copied(),
            limits: Limits {
                memory_bytes: limits.get("memory_bytes").copied(),
                processes: limits.get("processes").copied(),
                open_files: limits.get("open_files").copied(),
                cpu_seconds: limits.get("cpu_seconds").copied(),
                cpu_percent: limits.get("cpu_percent").copied(),
                file_bytes: limits.get("file_bytes").copied(),
            },
        };
        let mut mistakes = fields.end();
        manifest.check(&mut mistakes);
        if mistakes.is_empty() { Ok(manifest) } else { Err(Mistakes(mistakes)) }
    }

    /// What is said of it in the list of installed skills. `digest` is that of its text.
    pub fn installed(&self, digest: String) -> Installed {
        Installed {
            version: self.version.clone(),
            protocol: self.protocol,
            digest,
            authenticate: self.authenticate.clone(),
        }
    }

    /// The part of the program's name below the skill's directory, where it names one: `./run` is `run`.
    pub fn own_program(&self) -> Option<&str> {
        self.argv.first()?.strip_prefix("./")
    }

    fn check(&self, mistakes: &mut Vec<String>) {
        if !self.name.is_empty()
            && let Err(why) = check_name(&self.name)
        {
            mistakes.push(why);
        }
        if self.version.chars().any(|c| c.is_control() || c.is_whitespace()) {
            mistakes.push("version: holds white space".to_owned());
        }
        if let Some(program) = self.argv.first()
            && let Err(why) = check_program(program)
        {
            mistakes.push(why);
        }
        let named = self.env.keys().map(|name| ("env", name));
        for (what, name) in named.chain(self.pass_env.iter().map(|name| ("pass_env", name))) {
            if let Err(why) = check_variable(name) {
                mistakes.push(format!("{what}: {why}"));
            }
        }
        if self.authenticate.is_some() && self.protocol == Protocol::Command {
            mistakes.push("authenticate: is for protocol \"acp\"".to_owned());
        }
    }
}

fn protocol(fields: &mut Fields) -> Protocol {
    match fields.text("protocol").as_deref() {
        Some("command") | None => Protocol::Command,
        Some("acp") => Protocol::Acp,
        Some(other) => {
            fields.mistake(format!("protocol: {other:?} is neither \"acp\" nor \"command\""));
            Protocol::Command
        }
    }
}

fn limits(fields: &mut Fields) -> BTreeMap<&'static str, u64> {
    let mut of_limits = fields.table("limits");
    let found =
        LIMITS.iter().filter_map(|(name, low, high)| Some((*name, of_limits.number(name, *low, *high)?)));
    let found = found.collect();
    for mistake in of_limits.end() {
        fields.mistake(format!("limits.{mistake}"));
    }
    found
}

/// What is out of range in limits that were read elsewhere than from a manifest.
pub fn out_of_range(limits: &Limits) -> Vec<String> {
    let named = [
        ("memory_bytes", limits.memory_bytes),
        ("processes", limits.processes),
        ("open_files", limits.open_files),
        ("cpu_seconds", limits.cpu_seconds),
        ("cpu_percent", limits.cpu_percent),
        ("file_bytes", limits.file_bytes),
    ];
    let range = |name: &str| LIMITS.iter().find(|(known, ..)| *known == name);
    let wrong = |(name, value): (&str, Option<u64>)| {
        let ((_, low, high), value) = (range(name)?, value?);
        let is_wrong = !(*low..=*high).contains(&value);
        is_wrong.then(|| format!("{name} is {value}; allowed are {low} to {high}"))
    };
    named.into_iter().filter_map(wrong).collect()
}

/// Names become directories: `[a-z0-9][a-z0-9._-]{0,63}`, and none of what is built in.
///
/// # Errors
/// What is wrong with it.
pub fn check_name(name: &str) -> Result<(), String> {
    if [COMMAND, DEMO].contains(&name) {
        return Err(format!("name: {name:?} is built in"));
    }
    if FILES_OF_OURS.contains(&name) {
        return Err(format!("name: {name:?} is a file of ours"));
    }
    let small = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let allowed = |byte: u8| small(byte) || matches!(byte, b'.' | b'_' | b'-');
    let fits = (1..=NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(allowed);
    match fits && name.bytes().next().is_some_and(small) {
        true => Ok(()),
        false => Err(format!("name: {name:?} is not 1 to {NAME_BYTES_MAX} of a-z, 0-9, '.', '_', '-'")),
    }
}

/// A program is absolute, in PATH (no slash), or below the skill's directory (`./`).
fn check_program(program: &str) -> Result<(), String> {
    let steps = |path: &str| path.split('/').all(|step| !step.is_empty() && step != "." && step != "..");
    match program {
        _ if program.starts_with('/') => Ok(()),
        _ if program.starts_with("./") && steps(&program[2..]) => Ok(()),
        "" | "." | ".." => Err(format!("argv: {program:?} is no program")),
        _ if !program.contains('/') => Ok(()),
        _ => Err(format!(
            "argv: the program {program:?} is neither absolute, nor a name in PATH, nor \"./...\" below the skill"
        )),
    }
}

/// A name of a variable that workers may be given.
fn check_variable(name: &str) -> Result<(), String> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let first = name.bytes().next().is_some_and(|byte| !byte.is_ascii_digit());
    if !first || !name.bytes().all(allowed) {
        return Err(format!("{name:?} is no name of a variable"));
    }
    match name.starts_with("HOLDFAST_") {
        true => Err(format!("{name:?} is set by Holdfast")),
        false => Ok(()),
    }
}

/// SHA-256 of a manifest's text, in hex.
pub fn digest(text: &[u8]) -> String {
    hex(&Sha256::digest(text))
}

#[cfg(test)]
mod tests;
