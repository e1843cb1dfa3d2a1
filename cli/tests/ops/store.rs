//! Each verb of `store` on a file that is whole, damaged, live, or large.

use crate::the::{
    ECHO, directory, done, echo, files, filled, large, later, on, program, run, said,
};
use outlive::{Engine, store as library};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

/// Tasks of a file that is not large.
const FEW: usize = 40;
/// Where redb writes the number of the page at which everything begins; zeros there are damage that nothing mends.
const HEADER: std::ops::Range<usize> = 64..320;
/// Bytes of a page; the header has the first one.
const PAGE: usize = 4096;
/// What stands in the row of a task.
const ROW: &[u8] = b"input of 7, which is not long";

fn file(directory: &Path) -> PathBuf {
    let path = directory.join("tasks.redb");
    filled(&path, FEW);
    path
}

/// One row of the file with another byte in it.
fn with_a_damaged_row(path: &Path) {
    let mut bytes = fs::read(path).expect("the file");
    // There may be older pages with the same row: all of them are damaged.
    let mut damaged = 0;
    for at in 0..bytes.len() - ROW.len() {
        if &bytes[at..at + ROW.len()] == ROW {
            bytes[at] ^= 0x20;
            damaged += 1;
        }
    }
    assert!(damaged > 0);
    fs::write(path, bytes).expect("written");
}

/// Where in a file its database begins.
pub(crate) fn database_at(bytes: &[u8]) -> usize {
    let begins = b"redb\x1A\x0A\xA9\x0D\x0A";
    let found = bytes.windows(begins.len()).position(|at| at == begins);
    found.expect("a database")
}

/// The file without the header of its database.
fn without_header(path: &Path) {
    let mut bytes = fs::read(path).expect("the file");
    let at = database_at(&bytes);
    bytes[at..][HEADER].fill(0);
    fs::write(path, bytes).expect("written");
}

#[test]
fn a_whole_file_is_told_of_verified_repaired_and_compacted() {
    let directory = directory();
    let path = file(directory.path());
    let tasks = FEW as u64 + 5;
    let info = done(&path, &["store", "info"]);
    assert_eq!(
        (&info["tasks"], &info["waiting"], &info["ended"]),
        (&tasks.into(), &(FEW as u64).into(), &5.into())
    );
    assert_eq!(info["definitions"][0]["name"], "echo");
    let verified = done(&path, &["store", "verify"]);
    assert_eq!(
        (&verified["whole"], &verified["tasks"]),
        (&true.into(), &tasks.into())
    );
    assert_eq!(done(&path, &["store", "repair"])["whole"], true);
    let compacted = done(&path, &["store", "compact"]);
    // Of a file as small as this one a few pages are redb's own, and come with the compaction.
    let bytes = |when: &str| compacted[when].as_u64().unwrap();
    assert!(bytes("bytes_after") <= bytes("bytes_before") + 16 * 4_096);
    assert_eq!(done(&path, &["store", "verify"])["tasks"], tasks);
}

#[test]
fn copies_are_files_of_their_own_with_every_task() {
    let directory = directory();
    let path = file(directory.path());
    let at = |name: &str| directory.path().join(name);
    let text = |path: &Path| path.to_str().expect("text").to_owned();
    let before = fs::read(&path).unwrap();
    done(&path, &["store", "backup", &text(&at("backup"))]);
    done(&at("restored"), &["store", "restore", &text(&at("backup"))]);
    done(&path, &["store", "salvage", &text(&at("saved"))]);
    done(&path, &["store", "export", &text(&at("lines"))]);
    done(&at("imported"), &["store", "import", &text(&at("lines"))]);
    assert_eq!(fs::read(&path).unwrap(), before, "the file is as it was");
    let mut incarnations = vec![done(&path, &["store", "info"])["incarnation"].clone()];
    for copy in ["backup", "restored", "saved", "imported"] {
        assert_eq!(
            done(&at(copy), &["store", "verify"])["whole"],
            true,
            "{copy}"
        );
        let info = done(&at(copy), &["store", "info"]);
        assert_eq!(info["tasks"], FEW as u64 + 5, "{copy}");
        assert!(!incarnations.contains(&info["incarnation"]), "{copy}");
        incarnations.push(info["incarnation"].clone());
    }
    for (args, to) in [
        (["store", "backup"], "backup"),
        (["store", "salvage"], "saved"),
        (["store", "export"], "lines"),
    ] {
        let (code, _, err) = on(&path, &[args[0], args[1], &text(&at(to))]);
        assert_eq!(code, 4, "nothing is written over: {err}");
    }
}

#[test]
fn an_export_goes_through_a_pipe() {
    let directory = directory();
    let path = file(directory.path());
    let (code, lines, err) = on(&path, &["store", "export"]);
    assert_eq!(code, 0, "{err}");
    assert!(lines.starts_with("{\"outlive_export\":{\"version\":1,"));
    assert!(
        lines
            .trim_end()
            .lines()
            .last()
            .unwrap()
            .starts_with("{\"end\":")
    );
    let copy = directory.path().join("copy");
    fs::write(directory.path().join("lines"), lines).unwrap();
    let from = fs::File::open(directory.path().join("lines")).unwrap();
    let mut import = program();
    import.args([
        "--store",
        copy.to_str().unwrap(),
        "store",
        "import",
        "-o",
        "json",
    ]);
    let (code, out, err) = said(import.stdin(from).output().unwrap());
    assert_eq!(code, 0, "{out}{err}");
    assert_eq!(done(&copy, &["store", "info"])["tasks"], FEW as u64 + 5);
}

#[test]
fn a_reader_that_has_read_enough_is_no_failure() {
    let directory = directory();
    let path = large(directory.path());
    let mut export = program();
    export.args(["--store", path.to_str().unwrap(), "store", "export"]);
    let mut child = export
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let (code, _, err) = said(child.wait_with_output().unwrap());
    assert_eq!((code, err.as_str()), (0, ""));
}

/// What a killed program leaves: its tasks are in the journal alone, of which one record is damaged.
#[test]
fn a_damaged_record_of_the_journal_is_no_whole_salvage() {
    const BLOCK: usize = 4096;
    let directory = directory();
    let live = directory.path().join("live.redb");
    let killed = directory.path().join("killed.redb");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let engine = echo(Engine::builder(&live)).open().await.unwrap();
        for id in ["a", "b", "c"] {
            engine.run(ECHO, id, &"short".to_owned()).await.unwrap();
        }
        fs::copy(&live, &killed).unwrap();
        engine.shutdown(Duration::ZERO).await;
    });
    // After the head of the file lie the records, each in a block of its own.
    let mut bytes = fs::read(&killed).unwrap();
    bytes[2 * BLOCK + 40] ^= 1;
    fs::write(&killed, bytes).unwrap();
    let saved = directory.path().join("saved");
    let salvage = ["store", "salvage", saved.to_str().unwrap(), "-o", "json"];
    let (code, out, err) = on(&killed, &salvage);
    assert_eq!(code, 8, "not all of it was saved: {out}{err}");
    let told: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(told["journal_broken"], true, "{told}");
    assert!(told["journal_done"].as_u64().unwrap() > 0, "{told}");
    assert_eq!(told["journal_refused"], 0, "{told}");
    // The damaged record is one of a task of which a later one is there.
    assert!(told["journal_taken"].as_u64().unwrap() > 0, "{told}");
}

#[test]
fn damage_is_told_and_what_is_whole_is_saved() {
    let directory = directory();
    let path = file(directory.path());
    with_a_damaged_row(&path);
    let before = fs::read(&path).unwrap();
    for args in [
        ["store", "verify"],
        ["store", "repair"],
        ["store", "export"],
    ] {
        let (code, out, err) = on(&path, &args);
        assert_eq!(code, 8, "{args:?}: {out}{err}");
        assert!(err.contains("store salvage"), "{args:?}: {err}");
        if args[1] == "verify" {
            assert_eq!(fs::read(&path).unwrap(), before, "{args:?}");
        }
    }
    let (code, _, err) = on(&path, &["store", "compact"]);
    assert_eq!(code, 8, "nothing of a damaged file is moved: {err}");
    let saved = directory.path().join("saved");
    let salvage = ["store", "salvage", saved.to_str().unwrap(), "-o", "json"];
    let (code, out, err) = on(&path, &salvage);
    assert_eq!(code, 8, "not all of it was saved: {out}{err}");
    let report: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(report["lost"], 1, "{report}");
    assert_eq!(done(&saved, &["store", "info"])["tasks"], FEW as u64 + 4);
}

#[test]
fn of_what_is_no_store_nothing_is_saved_and_salvage_does_not_send_to_itself() {
    let directory = directory();
    let path = directory.path().join("text");
    fs::write(&path, "no store ".repeat(4096)).unwrap();
    let to = directory.path().join("to");
    let (code, out, err) = on(&path, &["store", "salvage", to.to_str().unwrap()]);
    assert_eq!((code, out.as_str()), (8, ""), "{err}");
    assert!(!err.contains("store salvage"), "{err}");
    assert!(files(directory.path(), "to").is_empty());
}

#[test]
fn half_a_file_is_saved_and_that_is_not_said_to_be_all_of_it() {
    let directory = directory();
    let path = file(directory.path());
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    let to = directory.path().join("to");
    let (code, out, err) = on(&path, &["store", "salvage", to.to_str().unwrap()]);
    assert_eq!(code, 8, "{out}{err}");
}

/// The pages that hold rows are of a kind that there is not. redb's own notes are whole, so it opens the file.
#[test]
fn pages_over_which_the_storage_panics_are_told_as_damage_alone() {
    let directory = directory();
    let path = file(directory.path());
    let mut bytes = fs::read(&path).unwrap();
    let begins = database_at(&bytes);
    let mut damaged = 0;
    for page in bytes[begins + PAGE..].chunks_mut(PAGE) {
        if page.windows(ROW.len()).any(|window| window == ROW) {
            page[0] = 0xEE;
            damaged += 1;
        }
    }
    assert!(damaged > 0);
    for args in [&["ls"][..], &["store", "verify"], &["store", "repair"]] {
        fs::write(&path, &bytes).unwrap();
        let (code, out, err) = on(&path, args);
        assert_eq!(code, 8, "{args:?}: {out}{err}");
        assert!(!err.contains("panicked"), "{args:?}: {err}");
    }
}

#[test]
fn of_a_file_that_does_not_open_the_way_out_is_told() {
    let directory = directory();
    let path = file(directory.path());
    without_header(&path);
    let to = directory.path().join("to");
    let to = to.to_str().unwrap();
    for args in [
        &["store", "info"][..],
        &["store", "repair"],
        &["store", "compact"],
        &["store", "backup", to],
        &["store", "export", to],
    ] {
        let (code, _, err) = on(&path, args);
        assert_eq!(code, 8, "{args:?}: {err}");
        assert!(err.contains("store salvage"), "{args:?}: {err}");
        assert!(files(directory.path(), "to").is_empty(), "{args:?}");
    }
    let report = done(&path, &["store", "salvage", to]);
    assert!(report["saved"].as_u64().unwrap() > FEW as u64, "{report}");
    assert_eq!(done(Path::new(to), &["store", "verify"])["whole"], true);
}

#[test]
fn a_live_file_is_told_of_and_left_alone() {
    let directory = directory();
    let path = file(directory.path());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let engine = runtime.block_on(async { echo(Engine::builder(&path)).open().await.unwrap() });
    let pid = std::process::id();
    assert_eq!(done(&path, &["store", "info"])["held_by_process"], pid);
    let to = directory.path().join("to");
    let to = to.to_str().unwrap();
    for args in [
        &["store", "verify"][..],
        &["store", "repair"],
        &["store", "compact"],
        &["store", "backup", to],
        &["store", "salvage", to],
        &["store", "export", to],
    ] {
        let (code, _, err) = on(&path, args);
        assert_eq!(code, 8, "{args:?}: {err}");
        assert!(
            err.contains(&pid.to_string()),
            "{args:?} names the holder: {err}"
        );
        assert_eq!(err.contains("Engine::backup"), args[1] == "backup", "{err}");
        assert!(files(directory.path(), "to").is_empty(), "{args:?}");
    }
    let from = directory.path().join("other");
    filled(&from, 1);
    let (code, _, err) = on(&path, &["store", "restore", from.to_str().unwrap()]);
    assert_eq!(code, 4, "{err}");
    // What it said is so: the engine copies its own file.
    let copied = runtime.block_on(engine.backup(to));
    assert_eq!(copied.unwrap().entries("tasks"), FEW as u64 + 5);
    runtime.block_on(engine.shutdown(Duration::ZERO));
}

#[test]
fn a_large_file_goes_through_every_verb() {
    let directory = directory();
    let path = large(directory.path());
    let tasks = later() as u64 + 5;
    let at = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    assert_eq!(done(&path, &["store", "info"])["tasks"], tasks);
    assert_eq!(done(&path, &["store", "verify"])["whole"], true);
    assert_eq!(done(&path, &["store", "repair"])["whole"], true);
    done(&path, &["store", "compact"]);
    assert_eq!(
        done(&path, &["store", "backup", &at("backup")])["tasks"],
        tasks
    );
    assert_eq!(
        done(
            Path::new(&at("restored")),
            &["store", "restore", &at("backup")]
        )["tasks"],
        tasks
    );
    assert_eq!(
        done(&path, &["store", "export", &at("lines")])["tasks"],
        tasks
    );
    assert_eq!(
        done(
            Path::new(&at("imported")),
            &["store", "import", &at("lines")]
        )["tasks"],
        tasks
    );
    assert_eq!(done(&path, &["store", "salvage", &at("saved")])["lost"], 0);
    for copy in ["restored", "imported", "saved"] {
        assert_eq!(
            library::info(at(copy)).unwrap().inside.unwrap().tasks,
            tasks,
            "{copy}"
        );
    }
}

#[test]
fn what_is_no_export_and_what_is_not_there_is_told_by_number() {
    let directory = directory();
    let path = directory.path().join("to");
    let lines = directory.path().join("lines");
    fs::write(&lines, "{\"task\":1}\n").unwrap();
    let (code, _, err) = on(&path, &["store", "import", lines.to_str().unwrap()]);
    assert_eq!(code, 2, "{err}");
    fs::write(&lines, "{\"outlive_export\":{\"version\":1,\"incarnation\":\"0\",\"etag\":0,\"generation\":0,\"log_whole_above\":0}}\nnot json\n").unwrap();
    let (code, _, err) = on(&path, &["store", "import", lines.to_str().unwrap()]);
    assert_eq!(code, 2, "{err}");
    assert!(err.contains("line 2"), "{err}");
    for verb in ["info", "verify", "repair", "compact", "export"] {
        let (code, _, err) = on(&path, &["store", verb]);
        assert_eq!(code, 3, "{verb}: {err}");
    }
    assert!(files(directory.path(), "to").is_empty());
    let (code, _, err) = run(&["--url", "http://127.0.0.1:1", "store", "verify"]);
    assert_eq!(code, 2, "a server is no file: {err}");
}
