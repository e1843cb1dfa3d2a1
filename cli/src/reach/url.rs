//! A server, reached over TCP or over a socket in the file system.

use super::{Body, BoxError, Call};
use crate::error::CliError;
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

/// How long a server may take to accept a connection.
const CONNECT_TIME: Duration = Duration::from_secs(5);
/// The port of a server that nobody told another one.
const PORT: u16 = 7420;

/// How the server is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Address {
    /// `host:port`.
    Tcp(String),
    /// The path of a socket.
    Unix(PathBuf),
}

/// A server.
#[derive(Debug, Clone)]
pub(crate) struct Remote {
    address: Address,
    /// What its paths begin with; where it is mounted in another server.
    base: String,
    token: Option<String>,
}

impl Remote {
    /// The server at `http://host:port/base` or `unix:/path`.
    pub(super) fn parse(url: &str, token: Option<String>) -> Result<Remote, CliError> {
        let wrong = || {
            let what = format!("{url:?} is no address of a server");
            CliError::usage(what, "give http://host:port or unix:/path/of/its/socket")
        };
        if let Some(path) = url.strip_prefix("unix:") {
            if path.is_empty() {
                return Err(wrong());
            }
            let address = Address::Unix(PathBuf::from(path.strip_prefix("//").unwrap_or(path)));
            return Ok(Remote {
                address,
                base: String::new(),
                token,
            });
        }
        if url.starts_with("https://") {
            let hint = "connections are not encrypted here; let a proxy or `ssh -L` do it, and give its http:// address";
            return Err(CliError::usage(format!("{url:?} is not supported"), hint));
        }
        let rest = url.strip_prefix("http://").unwrap_or(url);
        let (authority, base) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
        let parsed: hyper::http::uri::Authority = authority.parse().map_err(|_| wrong())?;
        let behind_host = authority.rsplit(']').next().unwrap_or_default();
        // Of `ftp://x` the host would be `ftp:`.
        let names_port = behind_host.contains(':') && !cfg!(planted = "cli_takes_any_address");
        if parsed.as_str().contains('@') || names_port && parsed.port_u16().is_none() {
            return Err(wrong());
        }
        let authority = match parsed.port_u16() {
            Some(_) => authority.to_owned(),
            None => format!("{authority}:{PORT}"),
        };
        let base = base.trim_end_matches('/').to_owned();
        Ok(Remote {
            address: Address::Tcp(authority),
            base,
            token,
        })
    }

    pub(super) async fn begin(&self, call: Call) -> Result<Response<Body>, CliError> {
        let host = match &self.address {
            Address::Tcp(authority) => authority.as_str(),
            Address::Unix(_) => "localhost",
        };
        let request = call
            .request(&self.base, host, self.token.as_deref())
            .map_err(|error| CliError::usage(error.to_string(), "give visible characters alone"))?;
        match &self.address {
            Address::Tcp(authority) => {
                let stream = self.connected(TcpStream::connect(authority)).await?;
                // A connection that does not know how still sends.
                let _ = stream.set_nodelay(true);
                self.exchanged(stream, request).await
            }
            #[cfg(unix)]
            Address::Unix(path) => {
                let stream = self
                    .connected(tokio::net::UnixStream::connect(path))
                    .await?;
                self.exchanged(stream, request).await
            }
            #[cfg(not(unix))]
            Address::Unix(_) => Err(CliError::usage(
                "there are no Unix sockets here",
                "give http://host:port",
            )),
        }
    }

    async fn connected<T>(
        &self,
        connecting: impl Future<Output = std::io::Result<T>>,
    ) -> Result<T, CliError> {
        match tokio::time::timeout(CONNECT_TIME, connecting).await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(error)) => Err(self.unreachable(&error)),
            Err(_) => Err(self.unreachable(&"nobody accepts the connection")),
        }
    }

    async fn exchanged(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Body>, CliError> {
        let handshake = http1::handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = handshake.map_err(|error| self.unreachable(&error))?;
        tokio::spawn(connection);
        let response = sender.send_request(request).await;
        let response = response.map_err(|error| self.unreachable(&error))?;
        Ok(response.map(|body| body.map_err(BoxError::from).boxed_unsync()))
    }

    fn unreachable(&self, why: &dyn fmt::Display) -> CliError {
        CliError::Unreachable {
            at: self.to_string(),
            why: why.to_string(),
        }
    }
}

impl fmt::Display for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.address {
            Address::Tcp(authority) => write!(f, "http://{authority}{}", self.base),
            Address::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(url: &str) -> Option<String> {
        Remote::parse(url, None)
            .ok()
            .map(|remote| remote.to_string())
    }

    #[test]
    fn an_address_is_what_it_says() {
        assert_eq!(
            parsed("http://localhost:1/x/").as_deref(),
            Some("http://localhost:1/x")
        );
        assert_eq!(parsed("[::1]").as_deref(), Some("http://[::1]:7420"));
        assert_eq!(
            parsed("unix:/run/o.sock").as_deref(),
            Some("unix:/run/o.sock")
        );
        for wrong in [
            "unix:",
            "https://localhost",
            "http://a b",
            "http://me@host",
            "ftp://x",
            "http://http://x",
            "mailto:x",
            "http://x:y",
        ] {
            assert!(parsed(wrong).is_none(), "{wrong}");
        }
    }
}
