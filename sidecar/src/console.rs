//! The console page: files embedded at build time. Pure.

use holdfast_shared::token;
use std::collections::BTreeMap;
use std::sync::LazyLock;

const FILES: &[(&str, &str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/console_files.rs"));

/// One file of the page.
#[derive(Debug)]
pub struct Asset {
    /// Its content type.
    pub content_type: &'static str,
    /// Its bytes.
    pub bytes: &'static [u8],
    /// Names its content: a browser that has it is answered 304.
    pub etag: String,
}

static ASSETS: LazyLock<BTreeMap<&'static str, Asset>> = LazyLock::new(|| {
    FILES
        .iter()
        .map(|(name, content_type, bytes)| {
            let etag = format!("\"{}\"", &token::hash_bytes(bytes)[..32]);
            (*name, Asset { content_type, bytes, etag })
        })
        .collect()
});

/// The file of this name; the page itself is `index.html`. Only names that were embedded are found.
pub fn asset(name: &str) -> Option<&'static Asset> {
    ASSETS.get(name)
}

/// What the page may do: load its own files, and talk to the node it came from. Named once more with the
/// schemes of WebSocket, since not every browser takes them for `'self'`. `host` must be a checked `Host`.
pub fn content_security_policy(host: &str) -> String {
    format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
         connect-src 'self' ws://{host} wss://{host}; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_embedded_names_are_found() {
        assert!(asset("../Cargo.toml").is_none() && asset("").is_none() && asset("package.json").is_none());
        for (name, _, bytes) in FILES {
            assert_eq!(asset(name).map(|asset| asset.bytes), Some(*bytes));
        }
    }
}
