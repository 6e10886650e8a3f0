//! Whether a browser's request may come in, by its `Host` and `Origin`: also on loopback, where any page in
//! any browser can reach us. Pure.
//!
//! A name that we do not know may be an attacker's, pointed at our address (DNS rebinding); an address cannot
//! be. A page of another origin is refused; requests without `Origin` are not a page's.

use std::net::{IpAddr, Ipv6Addr};

/// Names and origins allowed besides the node's own.
#[derive(Clone, Debug, Default)]
pub struct Allowed {
    /// Host names.
    pub hosts: Vec<String>,
    /// Origins, `scheme://host[:port]`.
    pub origins: Vec<String>,
}

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OriginError {
    /// No `Host`, or one that is not ours.
    #[error("this node is not called by that host name; see allowed_hosts")]
    Host,
    /// A page of another origin.
    #[error("pages of that origin may not talk to this node; see allowed_origins")]
    Origin,
}

impl Allowed {
    /// Checks the two headers as they came.
    ///
    /// # Errors
    /// [`OriginError`] names the header.
    pub fn check(&self, host: Option<&str>, origin: Option<&str>) -> Result<(), OriginError> {
        let host = host.ok_or(OriginError::Host)?;
        let name = without_port(host);
        let known = name.eq_ignore_ascii_case("localhost")
            || is_address(name)
            || self.hosts.iter().any(|allowed| allowed.eq_ignore_ascii_case(name));
        if !known {
            return Err(OriginError::Host);
        }
        let Some(origin) = origin else { return Ok(()) };
        let same = ["http://", "https://"]
            .iter()
            .any(|scheme| origin.strip_prefix(scheme).is_some_and(|rest| rest.eq_ignore_ascii_case(host)));
        let allowed = || self.origins.iter().any(|allowed| allowed.eq_ignore_ascii_case(origin));
        if same || allowed() { Ok(()) } else { Err(OriginError::Origin) }
    }
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

fn is_address(name: &str) -> bool {
    let bracketed = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    match bracketed {
        Some(inside) => inside.parse::<Ipv6Addr>().is_ok(),
        None => name.parse::<IpAddr>().is_ok_and(|address| address.is_ipv4()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_nodes_own_pages_and_names_come_in() {
        let allowed = Allowed { hosts: vec!["node.lan".into()], origins: vec!["https://app.example".into()] };
        let (ok, host, origin) = (Ok(()), Err(OriginError::Host), Err(OriginError::Origin));
        for (given_host, given_origin, expected) in [
            (Some("127.0.0.1:7420"), None, ok),
            (Some("127.0.0.1:7420"), Some("http://127.0.0.1:7420"), ok),
            (Some("localhost:7420"), Some("http://localhost:7420"), ok),
            (Some("LOCALHOST:7420"), Some("http://localhost:7420"), ok),
            (Some("[::1]:7420"), Some("http://[::1]:7420"), ok),
            (Some("[::1]"), None, ok),
            (Some("node.lan"), Some("https://node.lan"), ok),
            (Some("10.1.2.3:80"), Some("https://app.example"), ok),
            (None, None, host),
            (Some("evil.example:7420"), None, host),
            (Some("evil.example:7420"), Some("http://evil.example:7420"), host),
            (Some("127.0.0.1.evil.example"), None, host),
            (Some("::1"), None, host),
            (Some(""), None, host),
            (Some("127.0.0.1:7420"), Some("http://127.0.0.1:7421"), origin),
            (Some("127.0.0.1:7420"), Some("http://localhost:7420"), origin),
            (Some("127.0.0.1:7420"), Some("http://evil.example"), origin),
            (Some("127.0.0.1:7420"), Some("null"), origin),
            (Some("127.0.0.1:7420"), Some(""), origin),
            (Some("localhost:7420"), Some("file://localhost:7420"), origin),
        ] {
            assert_eq!(allowed.check(given_host, given_origin), expected, "{given_host:?} {given_origin:?}");
        }
    }
}
