//! Tasks over HTTP: driven from outside with nothing but `curl`, while this program may be killed and started again.
//!
//! `cargo run --release --example http -- serve [FILE]` serves until Ctrl-C; the README has a session with `curl`. Without
//! arguments it starts itself, drives a task as that session does, and ends.

use outlive::{Ask, Ctx, Engine, HandlerError, StepOptions, TaskDef};
use outlive_server::{Listen, ServeError, Server, Settings, SettingsError, serve};
use std::error::Error;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::ExitCode;
use std::time::Duration;

/// Writes a paper on each topic it is given, and asks before the first one is published. It takes inputs from outside
/// (`remote`), and further ones while it works (`steerable`).
const WRITE: TaskDef<String, String, String> = TaskDef::new("write").remote().steerable(9);

async fn write(ctx: Ctx<String>, topic: String) -> Result<String, HandlerError> {
    let mut paper = String::new();
    for part in ["outline", "draft", "paper"] {
        let said = format!("{part} on {topic}");
        // Recorded: after a crash it is not done again, and what it emitted stays.
        let done = ctx.step_with(part, StepOptions::new(), async |step| {
            step.emit(said.clone()).await?;
            tokio::time::sleep(Duration::from_millis(200)).await;
            Ok::<String, HandlerError>(said.clone())
        });
        paper = done.await?;
    }
    if !ctx.is_steered()
        && !ctx
            .ask::<bool>("publish", Ask::new(format!("publish the {paper}?")))
            .await?
    {
        return Ok(format!("the {paper} stays in the drawer"));
    }
    Ok(format!("the {paper} is published"))
}

#[tokio::main]
async fn main() -> ExitCode {
    run().await.unwrap_or_else(|error| {
        eprintln!("error: {error}");
        ExitCode::FAILURE
    })
}

async fn run() -> Result<ExitCode, Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    if args.next().as_deref() != Some("serve") {
        drive().await?;
        return Ok(ExitCode::SUCCESS);
    }
    let file = args.next().unwrap_or_else(|| "http.redb".to_owned());
    let engine = Engine::builder(file).task(WRITE, write).open().await?;
    // OUTLIVE_LISTEN and its like say otherwise; this program has no flags of its own.
    match served(engine).await {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(refused) => {
            eprintln!("error: {refused}");
            Ok(ExitCode::from(2))
        }
    }
}

/// Why it was not even begun.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error(transparent)]
    Settings(#[from] SettingsError),
    #[error(transparent)]
    Serve(#[from] ServeError),
}

async fn served(engine: Engine) -> Result<(), Refused> {
    let flags: [(&str, &str); 0] = [];
    let settings = Settings::resolve(flags)?;
    eprint!("{settings}");
    serve(engine, &settings).await?;
    Ok(())
}

/// What the README does with `curl`, on a port that is free.
async fn drive() -> Result<(), Box<dyn Error>> {
    let directory = tempfile::tempdir()?;
    let engine = Engine::builder(directory.path().join("http.redb")).task(WRITE, write);
    let settings = Settings::resolve_with([("listen", "127.0.0.1:0")], |_| None)?;
    let server = Server::bind(engine.open().await?, &settings).await?;
    let Some(Listen::Tcp(address)) = server.addresses().first().cloned() else {
        return Err("it listens nowhere".into());
    };
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let server = tokio::spawn(server.run(async { _ = stopped.await }));
    // The client is as blocking as any: it has a thread of its own.
    tokio::task::spawn_blocking(move || session(address)).await??;
    drop(stop);
    server.await?;
    println!("the server has ended");
    Ok(())
}

fn session(address: SocketAddr) -> std::io::Result<()> {
    let start = r#"{"task": "write", "task_id": "paper-1", "input": "tides"}"#;
    let (status, _) = asked(address, "POST", "/v1/tasks", "", start)?;
    println!("start: {status}");
    let steer = r#"{"input": "moons", "delivery": "after_turn"}"#;
    let (status, _) = asked(address, "POST", "/v1/tasks/paper-1/inputs", "", steer)?;
    println!("steer: {status}");
    while !asked(address, "GET", "/v1/asks", "", "")?
        .1
        .contains("publish")
    {
        std::thread::sleep(Duration::from_millis(50));
    }
    let (status, _) = asked(
        address,
        "POST",
        "/v1/tasks/paper-1/asks/publish",
        "",
        r#"{"answer": true}"#,
    )?;
    println!("answer: {status}");
    let (status, body) = asked(
        address,
        "GET",
        "/v1/tasks/paper-1/result",
        "prefer: wait=30\r\n",
        "",
    )?;
    println!("result: {status}");
    assert!(body.contains("is published"), "{body}");
    let (_, events) = asked(address, "GET", "/v1/tasks/paper-1/stream", "", "")?;
    for line in events.lines().filter(|line| line.starts_with("data: ")) {
        println!("{line}");
    }
    assert!(events.contains("event: end"), "{events}");
    Ok(())
}

/// One request, and the answer's status and body.
fn asked(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &str,
    body: &str,
) -> std::io::Result<(String, String)> {
    let mut stream = TcpStream::connect(address)?;
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/json\r\n\
         {headers}content-length: {}\r\n\r\n{body}",
        body.len()
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.split(' ').nth(1).unwrap_or_default();
    Ok((status.to_owned(), body.to_owned()))
}
