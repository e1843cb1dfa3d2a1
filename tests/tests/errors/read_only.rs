//! Files where nothing can be written: they are looked over, restored and salvaged as any other.

use super::with_task;
use outlive::Engine;
use outlive::store::{self, CopyError, OpenError};
use outlive_tests::process::{self, Other};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;

/// Not a test of its own: reads the file in the directory it is given as a user who may not write there, and copies it
/// beside that directory.
#[test]
fn child() {
    let Some(directory) = process::path() else {
        return;
    };
    let file = directory.join("t");
    let beside = |name| directory.with_file_name(name);
    process::say(match store::verify(&file) {
        Ok(report) if report.is_whole() => "whole",
        Err(OpenError::AlreadyRunning { .. }) => "in use",
        Ok(_) | Err(_) => "not read",
    });
    let said = |error| match error {
        CopyError::From(OpenError::AlreadyRunning { .. }) => "in use",
        _ => "not copied",
    };
    let restored = store::restore(&file, beside("restored"));
    process::say(restored.map_or_else(said, |_| "copied"));
    let salvaged = store::salvage(&file, beside("salvaged"));
    process::say(salvaged.map_or_else(said, |_| "copied"));
}

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// A directory with one in it, and an engine's file in that.
async fn place() -> (TempDir, PathBuf, Engine) {
    let directory = tempfile::tempdir().unwrap();
    mode(directory.path(), 0o777);
    let inside = directory.path().join("inside");
    fs::create_dir(&inside).unwrap();
    let engine = with_task(Engine::builder(inside.join("t")))
        .open()
        .await
        .unwrap();
    engine.run(super::TASK, "a", &1).await.unwrap();
    (directory, inside, engine)
}

/// What somebody comes to who may only read what is in the directory.
fn told(inside: &Path) -> [Option<String>; 3] {
    mode(&inside.join("t"), 0o444);
    mode(inside, 0o555);
    let mut other = Other::test_as_nobody("read_only::child", inside);
    let told = [(); 3].map(|()| other.word());
    other.end();
    mode(inside, 0o755);
    told
}

/// A backup on a medium that is read-only was refused, as it was opened for writing and got a lock file beside it.
#[tokio::test]
async fn a_backup_where_nothing_can_be_written_is_looked_over_and_copied() {
    let (directory, inside, engine) = place().await;
    engine.shutdown(Duration::ZERO).await;
    drop(engine);
    fs::remove_file(inside.join("t.lock")).unwrap();
    let before = fs::read(inside.join("t")).unwrap();
    let told = told(&inside);
    assert_eq!(
        told.each_ref().map(Option::as_deref),
        [Some("whole"), Some("copied"), Some("copied")]
    );
    let names: Vec<_> = fs::read_dir(&inside).unwrap().collect();
    assert_eq!(names.len(), 1, "{names:?}");
    assert!(fs::read(inside.join("t")).unwrap() == before);
    drop(directory);
}

/// Where no lock file can be written, the locks on the file itself tell.
#[tokio::test]
async fn a_file_in_use_is_in_use_for_those_who_may_only_read_it() {
    let (directory, inside, engine) = place().await;
    let told = told(&inside);
    assert_eq!(told.each_ref().map(Option::as_deref), [Some("in use"); 3]);
    engine.shutdown(Duration::ZERO).await;
    drop(directory);
}
