//! Which versions of the control protocol the two sides speak (DESIGN.md 2, "Versions").
//!
//! Each request and each answer says `holdfast-control: MIN-MAX`. A request whose range has nothing in common with
//! the server's is refused before its body is read. One without the header (a person's `curl`) gets the newest.

use crate::error::{ApiError, Code};
use crate::version::VersionRange;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};

/// Bears the range.
pub(super) const VERSIONS: HeaderName = HeaderName::from_static("holdfast-control");

/// The range as the header's value.
pub(super) fn value(range: VersionRange) -> HeaderValue {
    let text = format!("{}-{}", range.min, range.max);
    HeaderValue::from_str(&text).expect("digits and a dash are a header's value")
}

/// Whether something is in common with the other side.
///
/// # Errors
/// `VERSION_MISMATCH` where nothing is, `INVALID_REQUEST` where the header is no range.
pub(super) fn agree(headers: &HeaderMap, own: VersionRange) -> Result<(), ApiError> {
    let Some(said) = headers.get(VERSIONS) else { return Ok(()) };
    let other = said.to_str().ok().and_then(parse).ok_or_else(|| {
        ApiError::new(Code::InvalidRequest, format!("header {VERSIONS}: {said:?} is not MIN-MAX"))
    })?;
    match own.highest_common(other) {
        Some(_) => Ok(()),
        None => {
            let message = format!(
                "versions {}-{} of the control protocol are asked for, {}-{} are spoken",
                other.min, other.max, own.min, own.max
            );
            Err(ApiError::new(Code::VersionMismatch, message)
                .with_details(serde_json::json!({"speaks": own, "asked": other})))
        }
    }
}

fn parse(text: &str) -> Option<VersionRange> {
    let (min, max) = text.split_once('-')?;
    let range = VersionRange { min: min.parse().ok()?, max: max.parse().ok()? };
    (range.min <= range.max).then_some(range)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_common_is_refused_and_no_header_is_not() {
        let own = VersionRange { min: 2, max: 3 };
        let said = |text: &'static str| HeaderMap::from_iter([(VERSIONS, HeaderValue::from_static(text))]);
        assert_eq!(agree(&HeaderMap::new(), own), Ok(()));
        assert_eq!(agree(&HeaderMap::from_iter([(VERSIONS, value(own))]), own), Ok(()));
        let cases = [
            ("1-2", None),
            ("3-9", None),
            ("1-1", Some(Code::VersionMismatch)),
            ("4-5", Some(Code::VersionMismatch)),
            ("3-2", Some(Code::InvalidRequest)),
            ("3", Some(Code::InvalidRequest)),
            ("", Some(Code::InvalidRequest)),
        ];
        for (text, refused) in cases {
            assert_eq!(agree(&said(text), own).err().map(|error| error.code), refused, "{text:?}");
        }
    }
}
