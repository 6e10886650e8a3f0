//! The minisign signature beside a bundle.

use super::keys::{TrustedKey, TrustedKeys};
use crate::release::BundleError;
use minisign_verify::{Error, Signature, StreamVerifier};
use std::fs::OpenOptions;
use std::io::{ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Four lines, two of them comments.
pub const SIGNATURE_BYTES: u64 = 4096;
/// Bytes hashed at once.
const PIECE_BYTES: usize = 256 * 1024;

/// Where a bundle's signature is: its name with `.minisig` behind it, as minisign itself has it.
pub fn signature_path(bundle: &Path) -> PathBuf {
    let mut name = bundle.as_os_str().to_owned();
    name.push(".minisig");
    PathBuf::from(name)
}

/// Which trusted key signed these bytes. `source` is read to its end, once.
///
/// # Errors
/// No signature, one of an unknown key, one that is not of these bytes.
pub fn check<'a>(
    bundle: &Path,
    source: &mut impl Read,
    trusted: &'a TrustedKeys,
) -> Result<&'a TrustedKey, BundleError> {
    let signature = Signature::decode(&text(bundle)?).map_err(|error| invalid(&error))?;
    let mut verifiers = verifiers(&signature, trusted)?;
    let mut piece = vec![0u8; PIECE_BYTES];
    loop {
        let count = source.read(&mut piece).map_err(BundleError::reading("read", bundle))?;
        if count == 0 {
            break;
        }
        verifiers.iter_mut().for_each(|(_, verifier)| verifier.update(&piece[..count]));
    }
    let mut last = BundleError::KeyUntrusted;
    for (key, mut verifier) in verifiers {
        match verifier.finalize() {
            Ok(()) => return Ok(key),
            Err(error) => last = invalid(&error),
        }
    }
    Err(last)
}

/// The trusted keys with the signature's key number; numbers are random, so this is one, or none.
fn verifiers<'a, 'b>(
    signature: &'b Signature,
    trusted: &'a TrustedKeys,
) -> Result<Vec<(&'a TrustedKey, StreamVerifier<'b>)>, BundleError>
where
    'a: 'b,
{
    let mut verifiers = Vec::new();
    for key in trusted.keys() {
        match key.public.verify_stream(signature) {
            Ok(verifier) => verifiers.push((key, verifier)),
            Err(Error::UnexpectedKeyId) => {}
            Err(error) => return Err(invalid(&error)),
        }
    }
    if verifiers.is_empty() { Err(BundleError::KeyUntrusted) } else { Ok(verifiers) }
}

/// The text of a bundle's signature, which may be none.
///
/// # Errors
/// There is no such file, or it is no text.
pub fn text(bundle: &Path) -> Result<String, BundleError> {
    let path = &signature_path(bundle);
    // A FIFO is not waited for: it is empty, and so no signature.
    let file = match OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Err(BundleError::SignatureMissing { path: path.display().to_string() });
        }
        Err(error) => return Err(BundleError::reading("open", path)(error)),
    };
    let mut text = Vec::new();
    file.take(SIGNATURE_BYTES).read_to_end(&mut text).map_err(BundleError::reading("read", path))?;
    String::from_utf8(text).map_err(|_| BundleError::SignatureInvalid { why: "not text".to_owned() })
}

fn invalid(error: &Error) -> BundleError {
    BundleError::SignatureInvalid { why: error.to_string() }
}
