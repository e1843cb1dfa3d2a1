//! Who starts tasks as fast as the server takes them, and asks in the end what became of each.

use super::{AGAIN, Acknowledged, Shared};
use crate::http::{Client, Connection, Reply};
use serde_json::json;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// What one writer did.
#[derive(Debug, Default)]
pub struct Written {
    /// What was acknowledged.
    pub acknowledged: Acknowledged,
    /// How long each answer took.
    pub took: Vec<Duration>,
    /// Requests whose answers were lost, and which were sent again.
    pub again: u64,
}

/// Asks over a connection that is kept while it lives.
async fn ask(
    connection: &mut Option<Connection>,
    client: &Client,
    request: &[u8],
) -> io::Result<Reply> {
    let mut open = match connection.take() {
        Some(open) => open,
        None => Connection::open(client.address).await?,
    };
    open.send(request).await?;
    let reply = open.reply().await?;
    *connection = Some(open);
    Ok(reply)
}

/// Starts tasks until there are enough. One whose answer is lost is started again, under the same ids.
pub async fn write(shared: Arc<Shared>, writer: u64) -> Written {
    let client = Client::new(shared.address);
    let (mut written, mut connection) = (Written::default(), None);
    let mut count = 0;
    while !shared.is_enough() {
        let n = writer << 32 | count;
        let id = format!("w-{writer}-{count}");
        count += 1;
        let body = json!({"task": "work", "task_id": id, "input_id": "once", "input": n});
        let request = client.request("POST", "/v1/tasks", Some(body.to_string().as_bytes()));
        loop {
            let began = Instant::now();
            match ask(&mut connection, &client, &request).await {
                Ok(reply) if [200, 202].contains(&reply.status) => {
                    written.took.push(began.elapsed());
                    written.acknowledged.insert(id, n);
                    shared.acknowledged.fetch_add(1, Ordering::Relaxed);
                    break;
                }
                Ok(reply) if reply.status != 503 => {
                    shared.violation(format!("{id}: {} {}", reply.status, reply.text()));
                    return written;
                }
                Ok(_) | Err(_) => {
                    written.again += 1;
                    tokio::time::sleep(AGAIN).await;
                }
            }
        }
    }
    written
}

/// Asks for the outcome of each. What was acknowledged is there, and has ended as it must.
pub async fn verify(shared: Arc<Shared>, acknowledged: Acknowledged) -> u64 {
    let client = Client::new(shared.address).with("prefer", "wait=60");
    let mut connection = None;
    let mut verified = 0;
    for (id, n) in acknowledged {
        let request = client.request("GET", &format!("/v1/tasks/{id}/result"), None);
        match ask(&mut connection, &client, &request).await {
            Ok(reply) if reply.status == 200 && reply.json()["output"] == n => verified += 1,
            Ok(reply) => shared.violation(format!("{id}: {} {}", reply.status, reply.text())),
            Err(error) => shared.violation(format!("{id}: {error}")),
        }
    }
    verified
}
