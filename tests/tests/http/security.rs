//! Who is let in: hosts, pages, tokens, handlers; and what no answer and no line of the log tells.

use crate::world::{HIDDEN, World};
use outlive::Engine;
use outlive_server::{Access, Options, ServeError, Server, Settings, Token, TokenFileError};
use outlive_tests::http::{Client, Connection};
use outlive_tests::play::{ask, say};
use parking_lot::Mutex;
use serde_json::json;
use std::io::Write;
use std::sync::Arc;

const SECRET: &str = "0123456789abcdef0123456789abcdef";
const READER: &str = "fedcba9876543210fedcba9876543210";

fn guarded() -> Options {
    let token = |secret: &str| secret.parse::<Token>().expect("a token");
    let options = Options::new().token(token(SECRET), Access::All);
    options.token(token(READER), Access::Read)
}

async fn bound(listen: &str, environment: &[(&str, &str)]) -> Result<Server, ServeError> {
    let engine = Engine::in_memory().open().await.expect("it opens");
    let environment = |name: &str| {
        let mut said = environment.iter();
        let found = said.find(|(known, _)| *known == name);
        found.map(|(_, value)| (*value).to_owned())
    };
    let settings = Settings::resolve_with([("listen", listen)], environment);
    Server::bind(engine, &settings.expect("the settings are right")).await
}

/// S1: the admin server of a well-known engine listens on every address, and asks nobody who he is.
#[tokio::test]
async fn no_address_that_others_reach_is_listened_at_without_a_token() {
    for open in ["0.0.0.0:0", "[::]:0"] {
        let refused = bound(open, &[]).await.expect_err("it is open to all");
        assert!(matches!(refused, ServeError::TokenNeeded { .. }));
    }
    assert!(
        bound("0.0.0.0:0", &[("OUTLIVE_TOKEN", SECRET)])
            .await
            .is_ok()
    );
    assert!(bound("127.0.0.1:0", &[]).await.is_ok());
}

#[cfg(unix)]
#[tokio::test]
async fn a_socket_lies_where_nobody_else_may_enter() {
    use std::fs::{Permissions, metadata, set_permissions};
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("inner/socket");
    let listen = format!("unix:{}", path.display());
    let mode = |path: &std::path::Path| metadata(path).unwrap().permissions().mode() & 0o777;
    let server = bound(&listen, &[]).await.unwrap();
    let inner = path.parent().unwrap();
    assert_eq!((mode(inner), mode(&path)), (0o700, 0o600));
    drop(server);
    assert!(!path.exists());
    // What a process that died has left is in nobody's way.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    drop(bound(&listen, &[]).await.unwrap());
    set_permissions(inner, Permissions::from_mode(0o750)).unwrap();
    let refused = bound(&listen, &[]).await.unwrap_err();
    assert!(matches!(refused, ServeError::ExposedDirectory { .. }));
}

/// S2: a name of somebody else's that points at this machine brings a page's requests here.
#[tokio::test]
async fn a_request_for_another_host_is_refused() {
    let world = World::with(Options::new().host("tasks.example"), &[]).await;
    let hosts = [
        ("localhost", 200),
        ("LocalHost:80", 200),
        ("127.0.0.1", 200),
        ("127.0.0.1:9", 200),
        ("[::1]", 200),
        ("[::1]:80", 200),
        ("tasks.example", 200),
        ("evil.example", 421),
        ("localhost.evil.example", 421),
        ("127.0.0.1.evil.example", 421),
        ("evil.example:80", 421),
        ("localhost.", 421),
        ("0.0.0.0", 421),
        ("", 400),
        (":80", 400),
    ];
    for (host, status) in hosts {
        let answer = world.client.with("host", host).get("/version").await;
        assert_eq!(answer.status, status, "{host:?}");
    }
    let mut connection = Connection::open(world.client.address).await.unwrap();
    connection
        .send(b"GET /version HTTP/1.1\r\n\r\n")
        .await
        .unwrap();
    let missing = connection.reply().await.unwrap();
    assert_eq!(
        (missing.status, missing.code()),
        (400, "missing_host".to_owned())
    );
    let two = world
        .client
        .with("host", "localhost")
        .with("host", "evil.example");
    assert_eq!(two.get("/version").await.status, 400);
    let target = world
        .client
        .with("host", "localhost")
        .get("http://evil.example/version")
        .await;
    assert_eq!(target.status, 421);
}

/// S3: a page of somebody else's may send forms, and have images loaded, without asking.
#[tokio::test]
async fn a_foreign_page_changes_nothing_and_reads_nothing() {
    let world = World::with(Options::new().origin("https://desk.example"), &[]).await;
    let own = format!("http://{}", world.client.address);
    let origins = [
        (own.as_str(), 202),
        ("https://desk.example", 202),
        ("http://evil.example", 403),
        ("null", 403),
        ("http://127.0.0.1:1", 403),
        ("file://", 403),
    ];
    for (at, (origin, status)) in origins.into_iter().enumerate() {
        let body = json!({"task": "play", "task_id": format!("t-{at}"), "input": say("x")});
        let answer = world
            .client
            .with("origin", origin)
            .post("/v1/tasks", body)
            .await;
        assert_eq!(answer.status, status, "{origin}");
        assert!(answer.header("access-control-allow-origin").is_none());
    }
    let cross = world.client.with("sec-fetch-site", "cross-site");
    assert_eq!(cross.get("/v1/tasks").await.code(), "foreign_origin");
    let body = json!({"task": "play", "task_id": "form", "input": say("x")}).to_string();
    for form in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "",
    ] {
        let client = world.client.with("content-type", form);
        let answer = client
            .call("POST", "/v1/tasks", Some(body.as_bytes()))
            .await;
        assert_eq!(
            (answer.status, answer.code()),
            (415, "not_json_type".to_owned()),
            "{form}"
        );
        let empty = client.call("POST", "/v1/tasks/t-0/cancel", Some(b"")).await;
        assert_eq!(empty.status, 415, "{form}");
    }
    let preflight = world.client.with("origin", "http://evil.example");
    assert_eq!(
        preflight.call("OPTIONS", "/v1/tasks", None).await.status,
        403
    );
    assert_eq!(world.client.get("/v1/tasks/form").await.status, 404);
}

#[tokio::test]
async fn to_look_changes_nothing() {
    let world = World::open().await;
    world.play("a", ask("one")).await;
    let wait = world.client.with("prefer", "wait=30");
    assert_eq!(wait.get("/v1/tasks/a/result").await.status, 200);
    let before = world.engine.about().last_event;
    for path in looks("a") {
        assert!(world.client.get(&path).await.status < 500, "{path}");
    }
    assert_eq!(world.engine.about().last_event, before);
}

/// Everything there is to look at but what never ends.
fn looks(id: &str) -> Vec<String> {
    let of_task = [
        "", "/result", "/output", "/inputs", "/history", "/steps", "/explain", "/asks", "/resume",
    ];
    let mut paths: Vec<String> = of_task
        .iter()
        .map(|path| format!("/v1/tasks/{id}{path}"))
        .collect();
    let others = [
        "/v1/tasks",
        "/v1/task-ids?prefix=a",
        "/v1/asks",
        "/v1/task-types",
        "/v1/store",
        "/livez",
        "/readyz",
        "/metrics",
        "/openapi.json",
        "/version",
        "/none",
    ];
    paths.extend(others.map(str::to_owned));
    paths
}

/// S4.
#[tokio::test]
async fn a_token_is_asked_for_and_nothing_but_the_right_one_is_taken() {
    let world = World::with(guarded(), &[]).await;
    let status = async |header: &str| {
        let client = match header {
            "" => world.client.clone(),
            header => world.client.with("authorization", header),
        };
        client.get("/v1/tasks").await
    };
    let long = "x".repeat(2000);
    for header in [
        "",
        "Bearer",
        "Bearer ",
        "Bearer x",
        "Basic 0123",
        SECRET,
        &long,
    ] {
        let refused = status(header).await;
        assert_eq!(
            (refused.status, refused.code()),
            (401, "unauthorized".to_owned()),
            "{header}"
        );
        assert!(refused.header("www-authenticate").is_some());
    }
    assert_eq!(
        status(&format!("Bearer {}", &SECRET[..31])).await.status,
        401
    );
    assert_eq!(status(&format!("bearer {SECRET}")).await.status, 200);
    let two = world
        .client
        .with("authorization", &format!("Bearer {SECRET}"));
    assert_eq!(
        two.with("authorization", "Bearer x")
            .get("/v1/tasks")
            .await
            .status,
        401
    );
    assert_eq!(world.client.get("/readyz").await.status, 200);
    assert_eq!(world.client.get("/metrics").await.status, 401);
    assert!("too short".parse::<Token>().is_err());
    assert!(
        "with spaces that are not allowed in it"
            .parse::<Token>()
            .is_err()
    );
}

#[tokio::test]
async fn a_token_for_looking_changes_nothing() {
    let world = World::with(guarded(), &[]).await;
    let reader = world
        .client
        .with("authorization", &format!("Bearer {READER}"));
    assert_eq!(reader.get("/v1/tasks").await.status, 200);
    let body = json!({"task": "play", "task_id": "a", "input": say("x")});
    for refused in [
        reader.post("/v1/tasks", body.clone()).await,
        reader.post("/v1/tasks/a/cancel", json!({})).await,
        reader.delete("/v1/tasks/a").await,
    ] {
        assert_eq!(
            (refused.status, refused.code()),
            (403, "read_only".to_owned())
        );
    }
    let owner = world
        .client
        .with("authorization", &format!("Bearer {SECRET}"));
    assert_eq!(owner.post("/v1/tasks", body).await.status, 202);
}

#[cfg(unix)]
#[test]
fn the_file_of_a_token_is_its_owners_and_holds_a_hash() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("token");
    let (token, secret) = Token::install(&path).unwrap();
    let secret = secret.expect("it is told once");
    assert!(token.is(&secret) && secret.len() == 64);
    let kept = std::fs::read_to_string(&path).unwrap();
    assert!(!kept.contains(&secret) && kept.starts_with("sha256:"));
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let (again, told) = Token::install(&path).unwrap();
    assert!(again == token && told.is_none());
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
    assert!(matches!(
        Token::install(&path),
        Err(TokenFileError::Exposed)
    ));
}

/// What is written while it lives.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, part: &[u8]) -> std::io::Result<usize> {
        self.0.lock().extend_from_slice(part);
        Ok(part.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// S5 and S7.
#[tokio::test]
async fn the_log_has_the_ids_of_requests_and_neither_tokens_nor_what_a_caller_slips_in() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_writer(move || writer.clone());
    // Where there is one alone, what other threads come to first is never logged.
    let _second = tracing::Dispatch::new(tracing_subscriber::registry());
    let _logs = tracing::subscriber::set_default(subscriber.finish());
    let world = World::with(guarded(), &[]).await;
    let client = world
        .client
        .with("authorization", &format!("Bearer {SECRET}"));
    let answer = client
        .with("x-request-id", "mine-17")
        .get("/v1/tasks?cursor=in-the-query")
        .await;
    assert_eq!(answer.header("x-request-id"), Some("mine-17"));
    assert_eq!(answer.json()["request_id"], "mine-17");
    let slipped = client
        .with("x-request-id", "x status=200 injected=1")
        .get("/v1/tasks")
        .await;
    let made = slipped.header("x-request-id").expect("an id").to_owned();
    assert!(made.len() == 24 && made.bytes().all(|byte| byte.is_ascii_hexdigit()));
    client.get(&format!("/v1/{READER}")).await;
    let text = String::from_utf8_lossy(&log.0.lock()).into_owned();
    for there in ["mine-17", &made, "/v1/tasks", "status=400"] {
        assert!(text.contains(there), "{there} is not in the log:\n{text}");
    }
    for hidden in [SECRET, READER, "in-the-query", "injected"] {
        assert!(!text.contains(hidden), "{hidden} is in the log:\n{text}");
    }
}

/// S6.
#[tokio::test]
async fn no_answer_is_a_page() {
    let world = World::open().await;
    let script = "<script>alert(1)</script>";
    let body = json!({"task": "bytes", "task_id": "a", "title": script, "input": script});
    let wait = world.client.with("prefer", "wait=30");
    assert_eq!(wait.post("/v1/tasks", body).await.status, 200);
    for path in looks("a")
        .into_iter()
        .chain([format!("/v1/tasks/{}", "%3Cscript%3E")])
    {
        let answer = world.client.get(&path).await;
        assert_eq!(
            answer.header("x-content-type-options"),
            Some("nosniff"),
            "{path}"
        );
        let policy = answer.header("content-security-policy").expect("a policy");
        assert!(
            policy.starts_with("default-src 'none'; ") && policy.contains("frame-ancestors 'none'")
        );
        assert_eq!(
            answer.header("referrer-policy"),
            Some("no-referrer"),
            "{path}"
        );
        let form = answer.header("content-type").unwrap_or_default();
        assert!(!form.contains("html"), "{path} is {form}");
    }
    let output = world.client.get("/v1/tasks/a/output").await;
    assert_eq!(
        output.header("content-type"),
        Some("application/octet-stream")
    );
    assert!(
        output
            .header("content-disposition")
            .is_some_and(|how| how.starts_with("attachment"))
    );
}

/// S8.
#[tokio::test]
async fn an_id_is_what_the_engine_takes_for_one() {
    let world = World::open().await;
    let long = "x".repeat(257);
    let ids = [
        "..%2F..%2Fetc%2Fpasswd",
        "%00",
        "a%0d%0ab",
        "%3Cscript%3E",
        "a%20b",
        "%2E%2E",
        &long,
    ];
    for id in ids {
        for path in ["", "/result", "/explain", "/stream", "/inputs"] {
            let answer = world.client.get(&format!("/v1/tasks/{id}{path}")).await;
            assert_eq!(
                (answer.status, answer.code()),
                (400, "invalid_id".to_owned()),
                "{id}{path}"
            );
        }
    }
    for id in ["", "no spaces", "..", "a\nb", &long] {
        let body = json!({"task": "play", "task_id": id, "input": say("x")});
        let answer = world.client.post("/v1/tasks", body).await;
        assert_eq!(
            (answer.status, answer.code()),
            (400, "invalid_id".to_owned()),
            "{id:?}"
        );
    }
    assert_eq!(
        world.client.get("/v1/tasks/%FF").await.code(),
        "invalid_path"
    );
}

/// S16.
#[tokio::test]
async fn only_what_is_registered_as_remote_takes_inputs_from_outside() {
    let world = World::open().await;
    let start = json!({"task": "hidden", "task_id": "a", "input": null});
    let refused = world.client.post("/v1/tasks", start).await;
    assert_eq!(
        (refused.status, refused.code()),
        (403, "not_remote".to_owned())
    );
    assert_eq!(world.client.get("/v1/tasks/a").await.status, 404);
    world
        .engine
        .start(HIDDEN, "a", &())
        .await
        .unwrap()
        .await
        .unwrap();
    let refused = world
        .client
        .post("/v1/tasks/a/inputs", json!({"input": null}))
        .await;
    assert_eq!(
        (refused.status, refused.code()),
        (403, "not_remote".to_owned())
    );
    let client: &Client = &world.client;
    assert_eq!(client.get("/v1/tasks/a").await.status, 200);
}
