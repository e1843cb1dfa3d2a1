//! Where a server listens.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

/// On this machine alone, and on one port of it.
pub(super) const DEFAULT: &str = "127.0.0.1:7420,[::1]:7420";
/// What the address of a socket in the file system begins with.
const UNIX: &str = "unix:";

/// One place to listen at.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Listen {
    /// An address and a port; 0 is one that is free.
    Tcp(SocketAddr),
    /// A socket in the file system, in a directory of its owner's alone.
    Unix(PathBuf),
}

/// The text is no place to listen at: give `address:port`, or `unix:/path`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("give address:port, [address]:port, localhost:port or unix:/path")]
pub struct InvalidListen;

impl Listen {
    /// One place; `localhost` is its first address.
    pub(super) fn parse(text: &str) -> Result<Listen, InvalidListen> {
        let first = places(text)?.into_iter().next();
        first.ok_or(InvalidListen)
    }

    /// The places between commas.
    pub(super) fn list(text: &str) -> Result<Vec<Listen>, String> {
        let mut all = Vec::new();
        for part in super::list(text) {
            all.extend(places(&part).map_err(|error| error.to_string())?);
        }
        match all.is_empty() {
            true => Err(InvalidListen.to_string()),
            false => Ok(all),
        }
    }

    /// Whether nobody but programs on this machine can reach it.
    pub(crate) fn is_local(&self) -> bool {
        match self {
            Listen::Tcp(address) => address.ip().is_loopback(),
            Listen::Unix(_) => true,
        }
    }

    /// By what a program on this machine reaches it: `http://address:port`, or `unix:/path`.
    pub(crate) fn url(&self) -> String {
        match self {
            Listen::Tcp(address) => {
                let mut address = *address;
                match address.ip() {
                    IpAddr::V4(ip) if ip.is_unspecified() => {
                        address.set_ip(Ipv4Addr::LOCALHOST.into())
                    }
                    IpAddr::V6(ip) if ip.is_unspecified() => {
                        address.set_ip(Ipv6Addr::LOCALHOST.into())
                    }
                    IpAddr::V4(_) | IpAddr::V6(_) => {}
                }
                format!("http://{address}")
            }
            Listen::Unix(path) => {
                // Whoever reads it may stand in another directory.
                let path = std::path::absolute(path).unwrap_or_else(|_| path.clone());
                format!("{UNIX}{}", path.display())
            }
        }
    }

    /// The host by which it is reached, where that is said by its address.
    pub(crate) fn host(&self) -> Option<String> {
        match self {
            Listen::Tcp(address) if address.ip().is_unspecified() => None,
            Listen::Tcp(address) => Some(match address.ip() {
                IpAddr::V4(ip) => ip.to_string(),
                IpAddr::V6(ip) => format!("[{ip}]"),
            }),
            Listen::Unix(_) => None,
        }
    }
}

fn places(text: &str) -> Result<Vec<Listen>, InvalidListen> {
    if let Some(path) = text.strip_prefix(UNIX) {
        return match path.is_empty() {
            true => Err(InvalidListen),
            false => Ok(vec![Listen::Unix(PathBuf::from(path))]),
        };
    }
    if let Some(port) = text.strip_prefix("localhost:") {
        let port: u16 = port.parse().map_err(|_| InvalidListen)?;
        let both = [
            IpAddr::from(Ipv4Addr::LOCALHOST),
            IpAddr::from(Ipv6Addr::LOCALHOST),
        ];
        return Ok(both
            .map(|ip| Listen::Tcp(SocketAddr::new(ip, port)))
            .to_vec());
    }
    let address = text.parse().map_err(|_| InvalidListen)?;
    Ok(vec![Listen::Tcp(address)])
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Listen::Tcp(address) => write!(f, "{address}"),
            Listen::Unix(path) => write!(f, "{UNIX}{}", path.display()),
        }
    }
}
