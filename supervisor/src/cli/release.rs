//! `release keygen|trust|pack|verify`. Needs no node.

mod described;

use super::output::{CliError, Output};
use super::place::Place;
use crate::io::bundle::{TrustedKeys, keys, root_changes, verify};
use crate::io::packing::{PackError, Packed, Packing, pack};
use crate::io::programs::beside_us;
use crate::io::signing::{SigningError, SigningKey, generate};
use crate::io::slots::target;
use crate::release::{BundleError, Limits, Rules};
use clap::Subcommand;
use described::{described, mib, verified_words, words};
use holdfast_shared::error::{ApiError, Code};
use holdfast_shared::slot::Slot;
use holdfast_shared::version;
use serde_json::json;
use std::path::{Path, PathBuf};

/// Long enough for a release to reach every node, short enough that an old one with a hole is not installed for ever.
const EXPIRES_IN: &str = "180d";
/// Name of a new key's files.
const KEY_NAME: &str = "holdfast-release";

/// What to do with releases.
#[derive(Debug, Subcommand)]
pub enum ReleaseCommand {
    /// Make a key pair: NAME.key signs releases, NAME.pub is for the nodes that are to install them.
    Keygen {
        /// Where to put the files.
        #[arg(long, value_name = "DIR", default_value = ".")]
        out: PathBuf,
        /// Name of both files.
        #[arg(long, default_value = KEY_NAME, value_parser = key_name)]
        name: String,
        /// Protect the secret key by the password in the first line of this file. Without it the key has none, as CI
        /// needs it: whoever reads the file can sign.
        #[arg(long, value_name = "FILE")]
        password_file: Option<PathBuf>,
        /// Install what it signs on this node.
        #[arg(long)]
        trust: bool,
    },
    /// Install releases that are signed by this key on this node.
    Trust {
        /// The public key.
        file: PathBuf,
        /// Also place units of systemd that it signs. Needs root: whoever writes a unit is root.
        #[arg(long)]
        units: bool,
    },
    /// Pack a built tree into a signed bundle.
    #[command(disable_version_flag = true)]
    Pack {
        /// The secret key.
        #[arg(long, value_name = "SECRET")]
        key: PathBuf,
        /// Its password is the first line of this file.
        #[arg(long, value_name = "FILE")]
        password_file: Option<PathBuf>,
        /// The release's version. Default: what the runtime says.
        #[arg(long)]
        version: Option<String>,
        /// The bundle to write; its signature goes beside it. Default: holdfast-VERSION.tar.zst here.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
        /// The built tree: the three programs, or a bin/ of which everything is packed. Default: where holdfast is.
        #[arg(long, value_name = "DIR")]
        from: Option<PathBuf>,
        /// A directory with the node's units of systemd, to be placed by root of machines that have the key below
        /// /etc/holdfast/keys; older nodes refuse such a bundle.
        #[arg(long, value_name = "DIR")]
        units: Option<PathBuf>,
        /// For how long nodes install it: 90s, 10m, 2h, 1d.
        #[arg(long, value_name = "TIME", default_value = EXPIRES_IN)]
        expires_in: String,
    },
    /// Check a bundle as a node does before it installs it, and say what is in it.
    Verify {
        /// The bundle; its signature is beside it.
        file: PathBuf,
        /// The public key that must have signed it. Default: those the node trusts.
        #[arg(long, value_name = "PUB", conflicts_with = "trusted")]
        key: Option<PathBuf>,
        /// A directory of public keys, one of which must have signed it.
        #[arg(long, value_name = "DIR")]
        trusted: Option<PathBuf>,
        /// Let an older version than the highest seen from its key through.
        #[arg(long)]
        allow_downgrade: bool,
    },
}

/// Runs it.
pub fn release(home: Option<PathBuf>, command: ReleaseCommand, output: &Output) -> Result<u8, CliError> {
    match command {
        ReleaseCommand::Keygen { out, name, password_file, trust } => {
            keygen(home, &out, &name, password_file.as_deref(), trust, output)
        }
        ReleaseCommand::Trust { file, units } => trust_key(home, &file, units, output),
        ReleaseCommand::Pack { key, password_file, version, out, from, units, expires_in } => {
            let key = SigningKey::read(&key, password(password_file.as_deref())?).map_err(refused)?;
            let packing = Packing { units, ..packing(version, out, from, &expires_in)? };
            pack_release(packing, &key, output)
        }
        ReleaseCommand::Verify { file, key, trusted, allow_downgrade } => {
            let keys = trusted_keys(home.clone(), key.as_deref(), trusted.as_deref())?;
            let place = Place::find(home).ok();
            verify_release(place.as_ref(), &file, &keys, allow_downgrade, output)
        }
    }
}

fn keygen(
    home: Option<PathBuf>,
    out: &Path,
    name: &str,
    password_file: Option<&Path>,
    trust: bool,
    output: &Output,
) -> Result<u8, CliError> {
    // The node first: without one nothing is made that then is not trusted.
    let place = trust.then(|| Place::find(home)).transpose()?;
    let password = password(password_file)?;
    let protected = password.is_some();
    let key = generate(out, name, password).map_err(refused)?;
    let trusted = place.map(|place| keys::trust_in(&place.home, &key.public)).transpose();
    let trusted = trusted.map_err(bundle_refused)?;
    let value = json!({
        "secret_key": key.secret, "public_key": key.public, "key": key.id,
        "password": protected, "trusted": trusted,
    });
    output.result(&value, || {
        let secret = key.secret.display();
        let careful = match protected {
            true => format!("{secret} signs releases with its password."),
            false => format!("{secret} has no password: whoever reads it can sign releases."),
        };
        let trusted = if trusted.is_some() { "This node installs what it signs.\n" } else { "" };
        format!("{careful}\n{} is for the nodes that are to install them.\n{trusted}", key.public.display())
    });
    Ok(crate::exit::FINE)
}

fn trust_key(home: Option<PathBuf>, file: &Path, units: bool, output: &Output) -> Result<u8, CliError> {
    let place = Place::find(home)?;
    if units && !nix::unistd::geteuid().is_root() {
        return Err(ApiError::new(Code::Refused, "units are root's: run it as root").into());
    }
    let kept = keys::trust_in(&place.home, file).map_err(bundle_refused)?;
    let for_units = units.then(|| keys::trust(Path::new(crate::io::units::KEYS), file)).transpose();
    let for_units = for_units.map_err(bundle_refused)?;
    output.result(&json!({"trusted": kept, "trusted_for_units": for_units}), || {
        let units = if units { " Units of systemd that it signs are placed, too." } else { "" };
        format!("Releases signed by it are installed here from now on ({}).{units}", kept.display())
    });
    Ok(crate::exit::FINE)
}

fn packing(
    version: Option<String>,
    out: Option<PathBuf>,
    from: Option<PathBuf>,
    expires_in: &str,
) -> Result<Packing, CliError> {
    let lifetime_ms =
        super::logs::seconds(expires_in)?.checked_mul(1000).and_then(|ms| i64::try_from(ms).ok());
    let created_at = jiff::Timestamp::now().as_millisecond();
    let expires_at = lifetime_ms.and_then(|lifetime| created_at.checked_add(lifetime));
    let expires_at = expires_at.ok_or_else(|| CliError::Usage(format!("{expires_in:?} is too long")))?;
    let from = match from {
        Some(from) => from,
        None => beside_us("holdfast")?.parent().unwrap_or(Path::new(".")).to_owned(),
    };
    // Its name needs the version, which the runtime is asked for if nobody gave one.
    let version = match version {
        Some(version) => version,
        None => crate::io::packing::version_of(&from).map_err(CliError::Refused)?,
    };
    let out = out.unwrap_or_else(|| PathBuf::from(format!("holdfast-{version}.tar.zst")));
    Ok(Packing { from, units: None, out, version: Some(version), created_at, expires_at })
}

fn pack_release(packing: Packing, key: &SigningKey, output: &Output) -> Result<u8, CliError> {
    output.say(&format!("Packing {} ...", packing.from.display()));
    let packed = pack(&packing, key).map_err(|error| match error {
        PackError::Abilities(error) => CliError::Refused(error),
        PackError::Refused(error) => bundle_refused(error),
        PackError::Signing(error) => refused(error),
    })?;
    let mut value = described(&packed.manifest);
    let Packed { bundle, signature, bundle_bytes, .. } = &packed;
    value["bundle"] = json!(bundle);
    value["signature"] = json!(signature);
    value["bundle_bytes"] = json!(bundle_bytes);
    output.result(&value, || {
        let (bundle, signature) = (bundle.display(), signature.display());
        format!("{bundle} ({}), signed by {signature}\n{}", mib(*bundle_bytes), words(&packed.manifest))
    });
    Ok(crate::exit::FINE)
}

fn trusted_keys(
    home: Option<PathBuf>,
    key: Option<&Path>,
    directory: Option<&Path>,
) -> Result<TrustedKeys, CliError> {
    let keys = match (key, directory) {
        (Some(file), _) => TrustedKeys::single(file),
        (None, Some(directory)) => TrustedKeys::load(directory),
        (None, None) => match Place::find(home) {
            Ok(place) => TrustedKeys::load(&place.home.keys()),
            // No node, no keys: what to do about it is said below.
            Err(_) => Ok(TrustedKeys::default()),
        },
    };
    let keys = keys.map_err(bundle_refused)?;
    if keys.keys().is_empty() {
        let message = "no key is trusted here: give --key, or `holdfast release trust PUB` first";
        return Err(ApiError::new(Code::Refused, message)
            .with_details(json!({"reason": "bundle_key_untrusted"}))
            .into());
    }
    Ok(keys)
}

fn verify_release(
    place: Option<&Place>,
    file: &Path,
    keys: &TrustedKeys,
    allow_downgrade: bool,
    output: &Output,
) -> Result<u8, CliError> {
    let rules = Rules {
        now_ms: jiff::Timestamp::now().as_millisecond(),
        target: target(),
        contracts: version::contracts(),
        allow_downgrade,
        limits: Limits::default(),
    };
    let verified = verify(file, keys, &rules).map_err(bundle_refused)?;
    let home = place.map(|place| &place.home);
    let root = root_changes(home, &verified.manifest().installed(Slot::A, verified.key()))?;
    let mut value = described(verified.manifest());
    value["valid"] = json!(true);
    value["key"] = json!(verified.key());
    value["key_name"] = json!(verified.key_name());
    value["bundle_bytes"] = json!(verified.bundle_bytes());
    value["root_changes"] = json!(root);
    output.result(&value, || verified_words(file, &verified, &root));
    Ok(crate::exit::FINE)
}

/// The first line, without its end.
fn password(file: Option<&Path>) -> Result<Option<String>, CliError> {
    let Some(file) = file else { return Ok(None) };
    let text = std::fs::read_to_string(file).map_err(CliError::system(format!("read {}", file.display())))?;
    match text.lines().next() {
        Some(line) if !line.is_empty() => Ok(Some(line.to_owned())),
        _ => Err(CliError::Usage(format!("{} has no password in its first line", file.display()))),
    }
}

fn key_name(text: &str) -> Result<String, String> {
    match crate::release::check_path(text.as_bytes()) {
        Ok(name) if !name.contains('/') => Ok(name.to_owned()),
        _ => Err("a name has letters, digits and . _ - + @ only".to_owned()),
    }
}

fn bundle_refused(error: BundleError) -> CliError {
    CliError::Refused(error.into())
}

fn refused(error: SigningError) -> CliError {
    match error {
        SigningError::File { operation, path, source } => {
            CliError::System { operation: format!("{operation} {path}"), source }
        }
        error => CliError::Refused(ApiError::new(Code::Refused, error.to_string())),
    }
}
