//! Requests to one server, each over a connection of its own.

use super::{Connection, Follower, Reply};
use serde_json::Value;
use std::io;
use std::net::SocketAddr;

/// Asks one server.
#[derive(Debug, Clone)]
pub struct Client {
    /// Where it listens.
    pub address: SocketAddr,
    headers: Vec<(String, String)>,
}

impl Client {
    /// Of the server at this address.
    pub fn new(address: SocketAddr) -> Client {
        Client {
            address,
            headers: Vec::new(),
        }
    }

    /// Says this with each request.
    pub fn with(&self, name: &str, value: &str) -> Client {
        let mut client = self.clone();
        client.headers.push((name.to_owned(), value.to_owned()));
        client
    }

    /// The bytes of a request. A host is named, unless a header of the caller's does.
    pub fn request(&self, method: &str, path: &str, body: Option<&[u8]>) -> Vec<u8> {
        let mut head = format!("{method} {path} HTTP/1.1\r\n");
        let mut headers = self.headers.clone();
        let says = |name: &str, headers: &[(String, String)]| {
            headers
                .iter()
                .any(|(known, _)| known.eq_ignore_ascii_case(name))
        };
        if !says("host", &headers) {
            headers.push(("host".to_owned(), self.address.to_string()));
        }
        if let Some(body) = body {
            if !says("content-type", &headers) {
                headers.push(("content-type".to_owned(), "application/json".to_owned()));
            }
            headers.push(("content-length".to_owned(), body.len().to_string()));
        }
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        let mut bytes = head.into_bytes();
        bytes.extend(body.unwrap_or_default());
        bytes
    }

    /// Sends a request over a connection of its own, and waits for the answer.
    ///
    /// # Errors
    /// When there is none.
    pub async fn try_call(
        &self,
        method: &str,
        path: &str,
        body: Option<&[u8]>,
    ) -> io::Result<Reply> {
        let mut connection = Connection::open(self.address).await?;
        connection.send(&self.request(method, path, body)).await?;
        match method {
            "HEAD" => connection.head().await,
            _ => connection.reply().await,
        }
    }

    /// As [`Client::try_call`], where there is an answer.
    ///
    /// # Panics
    /// When there is none.
    pub async fn call(&self, method: &str, path: &str, body: Option<&[u8]>) -> Reply {
        let answered = self.try_call(method, path, body).await;
        answered.expect("the server answers")
    }

    /// Looks.
    pub async fn get(&self, path: &str) -> Reply {
        self.call("GET", path, None).await
    }

    /// Sends JSON.
    pub async fn post(&self, path: &str, body: Value) -> Reply {
        self.call("POST", path, Some(body.to_string().as_bytes()))
            .await
    }

    /// Removes.
    pub async fn delete(&self, path: &str) -> Reply {
        self.call("DELETE", path, None).await
    }

    /// Follows events; the answer itself where it is none of events.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn follow(&self, path: &str) -> io::Result<Result<Follower, Reply>> {
        let mut connection = Connection::open(self.address).await?;
        let client = self.with("accept", "text/event-stream");
        connection.send(&client.request("GET", path, None)).await?;
        let head = connection.head().await?;
        let streams = head.header("content-type") == Some("text/event-stream");
        match streams {
            true => Ok(Ok(Follower::new(connection))),
            false => Ok(Err(head)),
        }
    }
}
