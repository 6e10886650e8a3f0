//! A bundle handed over to the node, which may run as another user and in another file system than whoever has it.

use super::output::{CliError, Output};
use super::place::Place;
use crate::io::bundle::{open, signature_text};
use crate::io::incoming::{Offer, PIECE_BYTES, Standing};
use crate::io::slots::digest_of;
use crate::release::{BundleError, Limits};
use holdfast_shared::control::{CallError, Client};
use holdfast_shared::error::{ApiError, Code};
use hyper::Method;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A piece is written, or a whole bundle of the largest size read once, in far less.
const ANSWERS: Duration = Duration::from_secs(30);
/// A supervisor that died is back within this time.
const COMES_BACK: Duration = Duration::from_secs(60);
/// Between two tries to reach it.
const AGAIN: Duration = Duration::from_millis(100);
/// Two at once hand over the same bundle, or it is swept between two pieces: more beginnings than that take.
const BEGINNINGS: usize = 8;

/// Hands it over; where it is then, as the node names it.
///
/// # Errors
/// It cannot be read here, the node refuses it, or no supervisor answers.
pub(super) fn hand_over(place: &Place, bundle: &Path, output: &Output) -> Result<PathBuf, CliError> {
    let refused = |error: BundleError| CliError::Refused(error.into());
    let (file, size_bytes) = open(bundle, &Limits::default()).map_err(refused)?;
    let signature = signature_text(bundle).map_err(refused)?;
    let sha256 = digest_of(&file).map_err(CliError::system(format!("read {}", bundle.display())))?;
    let offer = Offer { sha256, size_bytes, signature };
    super::output::block_on(async {
        let client = place.supervisor();
        for _ in 0..BEGINNINGS {
            let standing: Standing =
                match until_reached(place, || client.post("/v1/incoming", &offer, ANSWERS)).await {
                    // A supervisor from before there was this takes a path that it can read itself.
                    Err(CallError::Refused(error)) if error.code == Code::UnknownMethod => {
                        return std::path::absolute(bundle).map_err(CliError::system("find the bundle"));
                    }
                    answered => answered.map_err(|error| place.explain(error))?,
                };
            if let Some(path) = standing.bundle {
                return Ok(path);
            }
            output.say("Handing over the bundle ...");
            give_pieces(place, &client, &file, &offer, standing.offset).await?;
        }
        Err(ApiError::new(Code::Busy, "the bundle could not be handed over; try again").into())
    })
}

async fn give_pieces(
    place: &Place,
    client: &Client,
    file: &File,
    offer: &Offer,
    mut offset: u64,
) -> Result<(), CliError> {
    let mut piece = vec![0; PIECE_BYTES];
    while offset < offer.size_bytes {
        let count = file.read_at(&mut piece, offset).map_err(CliError::system("read the bundle"))?;
        if count == 0 {
            let message = "the bundle became shorter while it was handed over";
            return Err(ApiError::new(Code::Refused, message).into());
        }
        let path = format!("/v1/incoming/{}/{offset}", offer.sha256);
        let bytes = bytes::Bytes::copy_from_slice(&piece[..count]);
        let put = || client.send::<Standing>(Method::PUT, &path, bytes.clone(), ANSWERS);
        match until_reached(place, put).await {
            Ok(standing) => offset = standing.offset,
            // It is whole, by another's hand, or was swept: the next offer tells.
            Err(CallError::Refused(error)) if error.code == Code::Refused => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Calls again while a supervisor that died is replaced; every call here may be repeated.
async fn until_reached<R, F: Future<Output = Result<R, CallError>>>(
    place: &Place,
    mut call: impl FnMut() -> F,
) -> Result<R, CallError> {
    let begun = Instant::now();
    loop {
        match call().await {
            Err(CallError::Broken { .. } | CallError::Unreachable { .. })
                if begun.elapsed() < COMES_BACK && place.anything_lives() =>
            {
                tokio::time::sleep(AGAIN).await;
            }
            answered => return answered,
        }
    }
}
