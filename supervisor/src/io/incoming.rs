//! Bundles that were handed over (`<home>/incoming/<sha256>.tar.zst`, the signature beside it): whoever asks for an
//! update may read files that the node may not, and may remove them before a planned update is due.
//!
//! An [`Offer`] says what is to come and is answered by how much of it is here; pieces follow until it is whole, and
//! the next offer then gives its path. Everything may be repeated, by several at once. Nothing here is trusted: what is
//! handed over is verified like any other bundle.

mod files;

use crate::io::bundle::{SIGNATURE_BYTES, signature_path};
use crate::io::home::{free_bytes, on_file, write_file};
use crate::io::slots::digest;
use crate::release::Limits;
use files::{check_digest, digest_in, open_part, paths, touch};
use holdfast_shared::durable_file::sync_directory;
use holdfast_shared::error::{ApiError, Code};
use holdfast_shared::home::Home;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fs::DirBuilder;
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

/// Bytes of a piece at most; half of what a control socket takes as a body.
pub const PIECE_BYTES: usize = 512 * 1024;
/// Bundles here at a time: the one of an attempt, the one that waits behind it, and two on their way.
const BUNDLES: usize = 4;
/// What no attempt names goes when nothing was done to it for so long. Between two pieces, and between the last one and
/// the request for the update, there are milliseconds.
pub const KEPT: Duration = Duration::from_secs(60);

/// What is to be handed over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Offer {
    /// SHA-256 of the bundle, hex.
    pub sha256: String,
    /// Its size.
    pub size_bytes: u64,
    /// Text of the file beside it.
    pub signature: String,
}

/// How much of a bundle is here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// Where the next piece begins.
    pub offset: u64,
    /// Its path, once it is whole.
    pub bundle: Option<PathBuf>,
}

/// Begins, goes on with or ends a hand-over. Blocks: it reads the bundle when all of it is here.
///
/// # Errors
/// It is too large, there is no room, too many are under way, or what came is not what was offered: then it begins anew.
pub fn offer(home: &Home, offer: &Offer) -> Result<Standing, ApiError> {
    check(offer)?;
    let below = home.incoming();
    let made = DirBuilder::new().recursive(true).mode(0o700).create(&below);
    made.map_err(|error| on_file("create", &below, &error))?;
    let (whole, part) = paths(home, &offer.sha256);
    if !whole.exists() && !part.exists() {
        demand_room(home, offer.size_bytes)?;
    }
    write_file(&signature_path(&whole), offer.signature.as_bytes())?;
    if touch(&whole).is_ok() {
        return Ok(Standing { offset: offer.size_bytes, bundle: Some(whole) });
    }
    let file = open_part(&part, true).map_err(|error| on_file("open", &part, &error))?;
    let here = file.metadata().map_err(|error| on_file("look at", &part, &error))?.len();
    if here < offer.size_bytes {
        return Ok(Standing { offset: here, bundle: None });
    }
    let found = digest(&part).map_err(|error| on_file("read", &part, &error))?;
    if found != offer.sha256 {
        let _ = std::fs::remove_file(&part);
        let message = "what was handed over is not what was offered: the file changed meanwhile";
        return Err(ApiError::new(Code::InvalidRequest, message));
    }
    let placed =
        file.sync_all().and_then(|()| std::fs::rename(&part, &whole)).and_then(|()| sync_directory(&below));
    placed.map_err(|error| on_file("place", &whole, &error))?;
    Ok(Standing { offset: here, bundle: Some(whole) })
}

/// Takes a piece that begins at this offset. One that does not follow what is here changes nothing: the answer says
/// what does.
///
/// # Errors
/// Nothing was offered under this digest, the piece or the whole is too large, or the disk refuses.
pub fn add(home: &Home, sha256: &str, offset: u64, piece: &[u8]) -> Result<Standing, ApiError> {
    check_digest(sha256)?;
    let (_, part) = paths(home, sha256);
    let mut file = open_part(&part, false).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => ApiError::new(Code::Refused, "no such bundle was offered"),
        _ => on_file("open", &part, &error),
    })?;
    let here = file.metadata().map_err(|error| on_file("look at", &part, &error))?.len();
    if here != offset {
        return Ok(Standing { offset: here, bundle: None });
    }
    let limit = Limits::default().bundle_bytes;
    if piece.len() > PIECE_BYTES || here + piece.len() as u64 > limit {
        return Err(too_large(here + piece.len() as u64));
    }
    if let Err(error) = file.write_all(piece) {
        // So that what was written of it is not taken for a whole piece.
        let _ = file.set_len(here);
        return Err(on_file("write", &part, &error));
    }
    Ok(Standing { offset: here + piece.len() as u64, bundle: None })
}

/// Removes what none of these paths names and nobody has touched for [`KEPT`].
///
/// # Errors
/// What the file system says.
pub fn sweep(home: &Home, named: &BTreeSet<PathBuf>) -> io::Result<()> {
    let entries = match std::fs::read_dir(home.incoming()) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    let named: BTreeSet<String> = named.iter().filter_map(|path| digest_in(path)).collect();
    let now = SystemTime::now();
    for entry in entries {
        let entry = entry?;
        let touched = entry.metadata()?.modified()?;
        // A time to come is a clock that was set back.
        let is_old = now.duration_since(touched).map_or(true, |since| since >= KEPT);
        if is_old && !digest_in(&entry.path()).is_some_and(|digest| named.contains(&digest)) {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

fn check(offer: &Offer) -> Result<(), ApiError> {
    check_digest(&offer.sha256)?;
    if offer.size_bytes > Limits::default().bundle_bytes {
        return Err(too_large(offer.size_bytes));
    }
    if offer.signature.len() as u64 > SIGNATURE_BYTES {
        return Err(ApiError::new(Code::InvalidRequest, "the signature is too long"));
    }
    Ok(())
}

fn too_large(bytes: u64) -> ApiError {
    let limit = Limits::default().bundle_bytes;
    crate::release::BundleError::TooLarge { what: "the bundle in bytes".into(), amount: bytes, limit }.into()
}

fn demand_room(home: &Home, bytes: u64) -> Result<(), ApiError> {
    let below = home.incoming();
    let looked = |error: io::Error| on_file("look at", &below, &error);
    let entries = std::fs::read_dir(&below).map_err(looked)?.flatten();
    let here: BTreeSet<String> = entries.filter_map(|entry| digest_in(&entry.path())).collect();
    if here.len() >= BUNDLES {
        let seconds = KEPT.as_secs();
        let message =
            format!("{BUNDLES} bundles are here already; what nobody asks for goes after {seconds} s");
        return Err(ApiError::new(Code::Busy, message));
    }
    let needed = bytes + Limits::default().reserve_bytes;
    let available = free_bytes(&below).map_err(looked)?;
    match available >= needed {
        true => Ok(()),
        false => Err(ApiError::new(
            Code::StorageFull,
            format!(
                "{available} bytes are free where the home is, the bundle needs {needed} with its reserve"
            ),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::OpenOptions;

    const BUNDLE: &[u8] = b"a bundle, as far as this is concerned";

    fn home() -> (tempfile::TempDir, Home) {
        let directory = tempfile::tempdir().unwrap();
        let home = Home::new(directory.path());
        (directory, home)
    }

    fn of(bytes: &[u8]) -> Offer {
        let sha256 = crate::io::slots::digest_of(bytes).unwrap();
        Offer { sha256, size_bytes: bytes.len() as u64, signature: "signed".into() }
    }

    fn here(home: &Home) -> Vec<String> {
        let entries = std::fs::read_dir(home.incoming()).unwrap().flatten();
        let mut names: Vec<String> = entries.map(|one| one.file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_bundle_comes_in_pieces_that_may_be_repeated_and_is_named_by_its_digest() {
        let (_directory, home) = home();
        let bundle = of(BUNDLE);
        assert_eq!(add(&home, &bundle.sha256, 0, BUNDLE).unwrap_err().code, Code::Refused);
        assert_eq!(offer(&home, &bundle).unwrap(), Standing { offset: 0, bundle: None });
        assert_eq!(add(&home, &bundle.sha256, 0, &BUNDLE[..5]).unwrap().offset, 5);
        // Again, one from elsewhere, and a new beginning: nothing is lost, nothing comes twice.
        assert_eq!(add(&home, &bundle.sha256, 0, &BUNDLE[..5]).unwrap().offset, 5);
        assert_eq!(add(&home, &bundle.sha256, 9, &BUNDLE[9..]).unwrap().offset, 5);
        assert_eq!(offer(&home, &bundle).unwrap().offset, 5);
        add(&home, &bundle.sha256, 5, &BUNDLE[5..]).unwrap();
        let whole = offer(&home, &bundle).unwrap().bundle.unwrap();
        assert_eq!(std::fs::read(&whole).unwrap(), BUNDLE);
        assert_eq!(std::fs::read_to_string(signature_path(&whole)).unwrap(), "signed");
        assert_eq!(offer(&home, &bundle).unwrap().bundle, Some(whole));
        assert_eq!(here(&home).len(), 2);
    }

    #[test]
    fn what_came_is_what_was_offered_or_is_gone() {
        let (_directory, home) = home();
        let bundle = of(BUNDLE);
        offer(&home, &bundle).unwrap();
        add(&home, &bundle.sha256, 0, &BUNDLE.to_ascii_uppercase()).unwrap();
        assert_eq!(offer(&home, &bundle).unwrap_err().code, Code::InvalidRequest);
        assert_eq!(offer(&home, &bundle).unwrap().offset, 0);
        // Longer than it was said to be.
        add(&home, &bundle.sha256, 0, &[BUNDLE, b"more"].concat()).unwrap();
        assert_eq!(offer(&home, &bundle).unwrap_err().code, Code::InvalidRequest);
    }

    #[test]
    fn sizes_numbers_and_names_have_bounds() {
        let (_directory, home) = home();
        let large = Offer { size_bytes: Limits::default().bundle_bytes + 1, ..of(BUNDLE) };
        assert_eq!(offer(&home, &large).unwrap_err().details["reason"], "bundle_too_large");
        let full = Offer { signature: "x".repeat(5000), ..of(BUNDLE) };
        assert_eq!(offer(&home, &full).unwrap_err().code, Code::InvalidRequest);
        for name in ["../../x", "", &"A".repeat(64), &"/".repeat(64)] {
            let named = Offer { sha256: name.into(), ..of(BUNDLE) };
            assert_eq!(offer(&home, &named).unwrap_err().code, Code::InvalidRequest, "{name}");
            assert_eq!(add(&home, name, 0, b"x").unwrap_err().code, Code::InvalidRequest, "{name}");
        }
        let pieces = vec![0; PIECE_BYTES + 1];
        offer(&home, &of(&pieces)).unwrap();
        assert_eq!(add(&home, &of(&pieces).sha256, 0, &pieces).unwrap_err().code, Code::Refused);
        (1..BUNDLES).for_each(|number| drop(offer(&home, &of(&[number as u8])).unwrap()));
        assert_eq!(offer(&home, &of(b"one more")).unwrap_err().code, Code::Busy);
        offer(&home, &of(&[1])).unwrap();
    }

    #[test]
    fn what_nobody_names_goes_once_nothing_was_done_to_it_for_long() {
        let (_directory, home) = home();
        sweep(&home, &BTreeSet::new()).unwrap();
        for bundle in [BUNDLE, b"another"] {
            offer(&home, &of(bundle)).unwrap();
            add(&home, &of(bundle).sha256, 0, bundle).unwrap();
        }
        let named = offer(&home, &of(BUNDLE)).unwrap().bundle.unwrap();
        sweep(&home, &BTreeSet::new()).unwrap();
        assert_eq!(here(&home).len(), 4);
        for name in here(&home) {
            let file = OpenOptions::new().append(true).open(home.incoming().join(name)).unwrap();
            file.set_modified(SystemTime::now() - KEPT).unwrap();
        }
        sweep(&home, &[named.clone(), "/elsewhere/x.tar.zst".into()].into()).unwrap();
        assert_eq!(here(&home).len(), 2);
        assert!(named.exists() && signature_path(&named).exists());
        sweep(&home, &BTreeSet::new()).unwrap();
        assert_eq!(here(&home), Vec::<String>::new());
    }
}
