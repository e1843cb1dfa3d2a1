//! What the doctor says of a place that is well and of one that is not.

use crate::store::database_at;
use crate::the::{directory, filled, on, program, run, said};
use serde_json::Value;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::path::Path;

/// What is said of one check.
fn verdicts(out: &str, check: &str) -> Vec<String> {
    let checks = out
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    let of_it = checks.filter(|found| found["check"] == check);
    of_it
        .map(|found| found["verdict"].as_str().expect("text").to_owned())
        .collect()
}

#[test]
fn a_place_that_is_well_is_said_to_be() {
    let directory = directory();
    let path = directory.path().join("tasks.redb");
    let (code, out, err) = on(&path, &["doctor", "-o", "jsonl"]);
    assert_eq!(code, 0, "before there is a file: {out}{err}");
    filled(&path, 1);
    let (code, out, err) = on(&path, &["doctor", "-o", "jsonl"]);
    assert_eq!(code, 0, "{out}{err}");
    for check in ["store", "rights", "space", "sync", "clock", "open files"] {
        assert_eq!(verdicts(&out, check).len(), 1, "{check}: {out}");
    }
    assert!(
        crate::the::files(directory.path(), ".outlive").is_empty(),
        "nothing of it is left"
    );
}

#[test]
fn what_is_wrong_is_said_with_what_to_do() {
    let directory = directory();
    let path = directory.path().join("tasks.redb");
    filled(&path, 1);
    let mut bytes = fs::read(&path).unwrap();
    let at = database_at(&bytes);
    bytes[at + 64..at + 320].fill(0);
    fs::write(&path, bytes).unwrap();
    let (code, out, _) = on(&path, &["doctor", "-o", "jsonl"]);
    assert_eq!(
        (code, verdicts(&out, "store")),
        (8, vec!["fail".to_owned()]),
        "{out}"
    );
    assert!(out.contains("outlive --store "), "{out}");
    let missing = Path::new("/nowhere/at/all/tasks.redb");
    let (code, out, _) = on(missing, &["doctor", "-o", "jsonl"]);
    assert_eq!(
        (code, verdicts(&out, "directory")),
        (3, vec!["fail".to_owned()]),
        "{out}"
    );
    let (code, out, _) = run(&["--url", "unix:/nowhere/at/all", "doctor", "-o", "jsonl"]);
    assert_eq!(
        (code, verdicts(&out, "server")),
        (9, vec!["fail".to_owned()]),
        "{out}"
    );
}

#[test]
fn what_a_server_says_that_takes_no_work_is_a_check_for_each_of_its_parts() {
    let directory = directory();
    let socket = directory.path().join("socket");
    let listener = UnixListener::bind(&socket).unwrap();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut asked = [0; 4096];
        assert!(stream.read(&mut asked).unwrap() > 0);
        let lines = "server: ok\nengine: stopped\nstore: failed\n";
        let length = lines.len();
        write!(
            stream,
            "HTTP/1.1 503 Service Unavailable\r\ncontent-length: {length}\r\n\r\n{lines}"
        )
        .unwrap();
    });
    let url = format!("unix:{}", socket.display());
    let (code, out, err) = run(&["--url", &url, "doctor", "-o", "jsonl"]);
    server.join().unwrap();
    assert_eq!(code, 9, "{out}{err}");
    for (check, verdict) in [("server", "ok"), ("engine", "fail"), ("store", "fail")] {
        assert_eq!(verdicts(&out, check), [verdict], "{check}: {out}");
    }
    let (code, out, _) = run(&["--url", "ftp://x", "doctor", "-o", "jsonl"]);
    assert_eq!(
        (code, verdicts(&out, "server")),
        (2, vec!["fail".to_owned()])
    );
}

#[test]
fn rights_of_others_are_told() {
    use std::os::unix::fs::PermissionsExt;
    let directory = directory();
    let path = directory.path().join("tasks.redb");
    filled(&path, 1);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let mut doctor = program();
    doctor.args(["doctor", "--store", path.to_str().unwrap(), "-o", "jsonl"]);
    let (code, out, _) = said(doctor.output().unwrap());
    assert_eq!(
        (code, verdicts(&out, "rights")),
        (0, vec!["warn".to_owned(); 2]),
        "{out}"
    );
}
