//! The public listener: bound once, remembered, handed from process to process.

use crate::io::home::write_file;
use holdfast_shared::error::{ApiError, Code};
use holdfast_shared::home::Home;
use holdfast_shared::process::PassedFd;
use serde::{Deserialize, Serialize};
use std::io;
use std::net::{SocketAddr, TcpListener};

/// Where a node listens that was told nothing.
pub const DEFAULT_ADDRESS: &str = "127.0.0.1:7420";

#[derive(Debug, Serialize, Deserialize)]
struct Remembered {
    address: SocketAddr,
}

/// The remembered address; `None` before the first start.
///
/// # Errors
/// `HOME_DAMAGED` when the file is not readable.
pub fn remembered(home: &Home) -> Result<Option<SocketAddr>, ApiError> {
    let path = home.listen();
    let damaged = |why: String| ApiError::new(Code::HomeDamaged, format!("{}: {why}", path.display()));
    match std::fs::read(&path) {
        Ok(text) => serde_json::from_slice::<Remembered>(&text)
            .map(|remembered| Some(remembered.address))
            .map_err(|error| damaged(format!("is not readable: {error}"))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(damaged(error.to_string())),
    }
}

/// Remembers the address of a listener.
///
/// # Errors
/// What the file system says.
pub fn remember(home: &Home, address: SocketAddr) -> Result<(), ApiError> {
    write_file(&home.listen(), &serde_json::to_vec(&Remembered { address }).unwrap_or_default())
}

/// Remembers the address of a listener that was passed to us, where it is another one: systemd may have bound it.
///
/// # Errors
/// What the file system says.
pub fn remember_passed(home: &Home, passed: &[PassedFd]) -> Result<(), ApiError> {
    let address = passed.first().and_then(|first| {
        let listener = TcpListener::from(first.fd.try_clone().ok()?);
        listener.local_addr().ok()
    });
    match address {
        Some(address) if remembered(home)? != Some(address) => remember(home, address),
        _ => Ok(()),
    }
}

/// Binds the node's address: the one asked for, else the remembered one, else the default or, where that is
/// taken, a free port. It is not remembered here.
///
/// # Errors
/// `REFUSED` that names the address when it cannot be had.
pub fn bind(home: &Home, asked: Option<SocketAddr>) -> Result<TcpListener, ApiError> {
    let fixed = match asked {
        Some(address) => Some(address),
        None => remembered(home)?,
    };
    if let Some(address) = fixed {
        return listen(address).map_err(|error| refused(&address.to_string(), &error));
    }
    match TcpListener::bind(DEFAULT_ADDRESS) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            TcpListener::bind("127.0.0.1:0").map_err(|error| refused("127.0.0.1", &error))
        }
        bound => bound.map_err(|error| refused(DEFAULT_ADDRESS, &error)),
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    TcpListener::bind(address)
}

fn refused(address: &str, error: &io::Error) -> ApiError {
    let advice = match error.kind() {
        io::ErrorKind::AddrInUse => {
            "; another program listens there: end it, or choose with --listen ADDR:PORT"
        }
        _ => "; choose another with --listen ADDR:PORT",
    };
    ApiError::new(Code::Refused, format!("cannot listen on {address}: {error}{advice}"))
}

/// The URL of the console, ending in `/`. A wildcard address is reached by loopback.
pub fn url(address: SocketAddr) -> String {
    let mut address = address;
    if address.ip().is_unspecified() {
        let loopback = if address.is_ipv4() { "127.0.0.1" } else { "::1" };
        if let Ok(ip) = loopback.parse() {
            address.set_ip(ip);
        }
    }
    format!("http://{address}/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_address_is_an_error_that_names_it_and_the_remembered_one_is_asked_for_again() {
        let directory = tempfile::tempdir().unwrap();
        let home = Home::new(directory.path());
        let bound = bind(&home, Some("127.0.0.1:0".parse().unwrap())).unwrap();
        let address = bound.local_addr().unwrap();
        remember(&home, address).unwrap();
        let error = bind(&home, None).unwrap_err();
        assert!(error.message.contains(&address.to_string()), "{}", error.message);
        drop(bound);
        assert_eq!(bind(&home, None).unwrap().local_addr().unwrap(), address);
    }

    #[test]
    fn a_passed_listener_is_remembered_and_none_forgets_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let home = Home::new(directory.path());
        let passed = bind(&home, Some("127.0.0.1:0".parse().unwrap())).unwrap();
        let address = passed.local_addr().unwrap();
        let passed = [PassedFd { name: "listener".into(), fd: passed.into() }];
        remember_passed(&home, &passed).unwrap();
        assert_eq!(remembered(&home).unwrap(), Some(address));
        remember_passed(&home, &[]).unwrap();
        assert_eq!(remembered(&home).unwrap(), Some(address));
    }

    #[test]
    fn urls_end_in_a_slash_and_never_name_a_wildcard() {
        assert_eq!(url("0.0.0.0:80".parse().unwrap()), "http://127.0.0.1:80/");
        assert_eq!(url("[::]:80".parse().unwrap()), "http://[::1]:80/");
    }
}
