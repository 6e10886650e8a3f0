//! What the public listener answers: which request means what. Pure.
//!
//! Without a token nothing but the page, its files, the public status and the health check answers.

use crate::console::{self, Asset};
use crate::protocol::{HistoryRequest, OFFSET_MAX, Position};
use holdfast_shared::error::{ApiError, Code};
use hyper::Method;

/// A request that is served.
#[derive(Debug)]
pub enum Route {
    /// A file of the console page.
    Console(&'static Asset),
    /// The Centrifuge protocol.
    Socket,
    /// A method of the command table.
    Rpc(String),
    /// A part of a channel's log.
    History(HistoryRequest),
    /// What everybody may know of the node.
    PublicStatus,
    /// Whether the sidecar serves.
    Health,
    /// Documents, which this release does not have.
    Documents,
}

/// Finds what a request asks for.
///
/// # Errors
/// `UNKNOWN_METHOD` for other paths and methods, `INVALID_REQUEST` for a malformed query.
pub fn route(method: &Method, path: &str, query: &str) -> Result<Route, ApiError> {
    let unknown = || ApiError::new(Code::UnknownMethod, format!("no such method: {method} {path}"));
    let read = matches!(*method, Method::GET | Method::HEAD);
    if let Some(name) = path.strip_prefix("/api/v1/rpc/") {
        return if *method == Method::POST { Ok(Route::Rpc(decoded(name)?)) } else { Err(unknown()) };
    }
    if !read {
        return Err(unknown());
    }
    if let Some(channel) = path.strip_prefix("/api/v1/history/") {
        return Ok(Route::History(history(decoded(channel)?, query)?));
    }
    let file = if path == "/" { Some("index.html") } else { path.strip_prefix("/console/") };
    if let Some(name) = file {
        return console::asset(name).map(Route::Console).ok_or_else(unknown);
    }
    if path.starts_with("/yws/") {
        return Ok(Route::Documents);
    }
    match path {
        "/ws" => Ok(Route::Socket),
        "/healthz" => Ok(Route::Health),
        "/supervisor/public/update-status" => Ok(Route::PublicStatus),
        _ => Err(unknown()),
    }
}

fn history(channel: String, query: &str) -> Result<HistoryRequest, ApiError> {
    let mut request = HistoryRequest { channel, limit: -1, since: None, reverse: false };
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let value = decoded(value)?;
        match name {
            "limit" => request.limit = number(name, &value)?,
            "offset" => {
                let offset: u64 = number(name, &value)?;
                request.since.get_or_insert_default().offset = offset.min(OFFSET_MAX);
            }
            "epoch" => request.since.get_or_insert_default().epoch = value,
            "reverse" => request.reverse = matches!(value.as_str(), "" | "true" | "1"),
            _ => return Err(invalid(format!("unknown query field {name}"))),
        }
    }
    // An epoch alone names no place to read back from.
    if request.reverse && !query.contains("offset=") {
        request.since = None::<Position>;
    }
    Ok(request)
}

fn number<T: std::str::FromStr>(name: &str, value: &str) -> Result<T, ApiError> {
    value.parse().map_err(|_| invalid(format!("{name} is not a number in range")))
}

fn invalid(message: String) -> ApiError {
    ApiError::new(Code::InvalidRequest, message)
}

/// Percent-decoding (RFC 3986, 2.1) of what must be UTF-8.
fn decoded(text: &str) -> Result<String, ApiError> {
    let malformed = || invalid(format!("malformed percent-encoding in {text:?}"));
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
        bytes.push(match byte {
            b'%' => match (digit(rest.next()), digit(rest.next())) {
                (Some(high), Some(low)) => (high * 16 + low) as u8,
                _ => return Err(malformed()),
            },
            other => other,
        });
    }
    String::from_utf8(bytes).map_err(|_| malformed())
}

/// The token of an `Authorization: Bearer` header.
pub fn bearer(authorization: Option<&str>) -> Option<&str> {
    let (scheme, token) = authorization?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(method: &str, path: &str, query: &str) -> String {
        match route(&method.parse().unwrap(), path, query) {
            Ok(Route::Console(asset)) => format!("Console {}", asset.content_type),
            Ok(route) => format!("{route:?}"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn requests_and_what_they_mean() {
        for (method, path, query, expected) in [
            ("GET", "/ws", "", "Socket"),
            ("GET", "/healthz", "", "Health"),
            ("HEAD", "/healthz", "", "Health"),
            ("GET", "/supervisor/public/update-status", "", "PublicStatus"),
            ("POST", "/api/v1/rpc/task.list", "", r#"Rpc("task.list")"#),
            ("GET", "/api/v1/rpc/task.list", "", "UNKNOWN_METHOD: no such method: GET /api/v1/rpc/task.list"),
            ("POST", "/ws", "", "UNKNOWN_METHOD: no such method: POST /ws"),
            ("GET", "/console/../secret", "", "UNKNOWN_METHOD: no such method: GET /console/../secret"),
            (
                "GET",
                "/api/v1/history/conversation%3Ax",
                "offset=3&limit=2&epoch=e",
                concat!(
                    r#"History(HistoryRequest { channel: "conversation:x", limit: 2, "#,
                    r#"since: Some(Position { epoch: "e", offset: 3 }), reverse: false })"#
                ),
            ),
            ("GET", "/api/v1/history/x", "offset=-1", "INVALID_REQUEST: offset is not a number in range"),
            ("GET", "/api/v1/history/x", "of=1", "INVALID_REQUEST: unknown query field of"),
            ("GET", "/api/v1/history/%zz", "", r#"INVALID_REQUEST: malformed percent-encoding in "%zz""#),
        ] {
            assert_eq!(found(method, path, query), expected, "{method} {path} {query}");
        }
    }

    #[test]
    fn the_bearer_of_a_header() {
        assert_eq!(bearer(Some("Bearer abc")), Some("abc"));
        assert_eq!(bearer(Some("bearer abc")), Some("abc"));
        assert_eq!(bearer(Some("Basic abc")), None);
        assert_eq!(bearer(None), None);
    }
}
