//! Paths and files an engine refuses, and leaves as they are.

use crate::{TASK, with_task};
use outlive::{Ctx, Engine, HandlerError, OpenError};
use outlive_storage::RedbStore;
use outlive_storage::redb::{OpenError as FileError, RedbOptions, bare_database};
use outlive_tests::kill::work::hash;
use redb::{Database, ReadableDatabase, TableDefinition};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

const META: TableDefinition<'_, &str, u128> = TableDefinition::new("meta");

/// Every name below a directory, with the hash of its bytes, or of where it leads.
fn contents(directory: &Path) -> BTreeMap<String, u64> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let kind = fs::symlink_metadata(&path).unwrap();
        let bytes = match (kind.is_dir(), kind.is_symlink()) {
            (true, _) => format!("{:?}", contents(&path)).into_bytes(),
            (_, true) => format!("{:?}", fs::read_link(&path).unwrap()).into_bytes(),
            (false, false) => fs::read(&path).unwrap(),
        };
        let name = path.file_name().unwrap().to_string_lossy();
        found.insert(name.into_owned(), hash(&bytes));
    }
    found
}

/// Opens `name` in a directory that `prepare` has filled, which must leave it as it is.
async fn refused(name: &str, prepare: impl AsyncFnOnce(&Path)) -> OpenError {
    let directory = tempfile::tempdir().unwrap();
    prepare(directory.path()).await;
    let before = contents(directory.path());
    let opened = with_task(Engine::builder(directory.path().join(name)))
        .open()
        .await;
    assert_eq!(contents(directory.path()), before, "something was written");
    match opened {
        Err(error) => error,
        Ok(_) => panic!("it opened"),
    }
}

#[tokio::test]
async fn a_junk_file_is_refused_as_it_is() {
    for junk in [
        &b"not a store"[..],
        b"r",
        b"redb",
        &[0; 100_000],
        &[b'x'; 5000],
    ] {
        let error = refused("t", async |dir| fs::write(dir.join("t"), junk).unwrap()).await;
        assert!(
            matches!(error, OpenError::File(FileError::NotAStore { .. })),
            "{error:?}"
        );
    }
}

/// It begins as every redb file does, so redb has to look into it.
#[tokio::test]
async fn junk_behind_a_good_beginning_is_refused_as_it_is() {
    let error = refused("t", async |dir| {
        store(&dir.join("t")).await;
        let mut bytes = fs::read(dir.join("t")).unwrap();
        bytes[9..].fill(0xa5);
        fs::write(dir.join("t"), bytes).unwrap();
    })
    .await;
    assert!(
        matches!(error, OpenError::File(FileError::Damaged { .. })),
        "{error:?}"
    );
}

#[tokio::test]
async fn half_a_store_is_refused_as_it_is() {
    let error = refused("t", async |dir| {
        store(&dir.join("t")).await;
        let bytes = fs::read(dir.join("t")).unwrap();
        fs::write(dir.join("t"), &bytes[..4096]).unwrap();
    })
    .await;
    assert!(
        matches!(error, OpenError::File(FileError::Damaged { .. })),
        "{error:?}"
    );
}

#[tokio::test]
async fn an_empty_file_is_refused_as_it_is() {
    let error = refused("t", async |dir| fs::write(dir.join("t"), b"").unwrap()).await;
    assert!(
        matches!(error, OpenError::File(FileError::Empty { .. })),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_directory_is_refused_as_it_is() {
    let error = refused("t", async |dir| fs::create_dir(dir.join("t")).unwrap()).await;
    assert!(
        matches!(error, OpenError::File(FileError::IsDirectory { .. })),
        "{error:?}"
    );
}

#[cfg(unix)]
#[tokio::test]
async fn a_symlink_is_refused_as_it_is() {
    use std::os::unix::fs::symlink;
    let to_store = refused("t", async |dir| {
        store(&dir.join("real")).await;
        symlink(dir.join("real"), dir.join("t")).unwrap();
    })
    .await;
    assert!(
        matches!(to_store, OpenError::File(FileError::Symlink { .. })),
        "{to_store:?}"
    );
    let to_nothing = refused("t", async |dir| {
        symlink(dir.join("nothing"), dir.join("t")).unwrap()
    })
    .await;
    assert!(
        matches!(to_nothing, OpenError::File(FileError::Symlink { .. })),
        "{to_nothing:?}"
    );
    let lock = refused("t", async |dir| {
        fs::write(dir.join("victim"), "mine").unwrap();
        symlink(dir.join("victim"), dir.join("t.lock")).unwrap();
    })
    .await;
    assert!(
        matches!(lock, OpenError::File(FileError::Symlink { .. })),
        "{lock:?}"
    );
}

#[tokio::test]
async fn a_missing_directory_is_not_made() {
    let missing = refused("none/t", async |_| {}).await;
    assert!(
        matches!(missing, OpenError::File(FileError::MissingDirectory { .. })),
        "{missing:?}"
    );
    let file = refused("file/t", async |dir| {
        fs::write(dir.join("file"), "x").unwrap()
    })
    .await;
    assert!(
        matches!(file, OpenError::File(FileError::MissingDirectory { .. })),
        "{file:?}"
    );
}

#[cfg(unix)]
#[tokio::test]
async fn a_socket_is_refused_as_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("t");
    let _socket = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let opened = with_task(Engine::builder(&path)).open().await;
    assert!(
        matches!(opened, Err(OpenError::File(FileError::NotAStore { .. }))),
        "{opened:?}"
    );
}

/// Makes a store with one ended task, and waits until nobody holds it.
async fn store(path: &Path) {
    let engine = with_task(Engine::builder(path)).open().await.unwrap();
    engine.run(TASK, "a", &1).await.unwrap();
    engine.shutdown(Duration::ZERO).await;
    drop(engine);
    // The task of the runtime in which the handler ran may have a moment to live.
    while RedbStore::open(path, RedbOptions::default(), 1, 1).is_err() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_file_of_a_newer_version_is_refused_as_it_is() {
    let error = refused("t", async |dir| {
        store(&dir.join("t")).await;
        let database = bare_database(&dir.join("t")).unwrap();
        let txn = database.begin_write().unwrap();
        txn.open_table(META).unwrap().insert("format", 7).unwrap();
        txn.commit().unwrap();
    })
    .await;
    let newer = matches!(
        error,
        OpenError::File(FileError::TooNew {
            found: 7,
            supported: 1
        })
    );
    assert!(newer, "{error:?}");
}

#[tokio::test]
async fn another_programs_redb_file_is_refused_as_it_is() {
    let other: TableDefinition<'_, u64, u64> = TableDefinition::new("theirs");
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("t");
    let database = Database::create(&path).unwrap();
    let txn = database.begin_write().unwrap();
    txn.open_table(other).unwrap().insert(1, 2).unwrap();
    txn.commit().unwrap();
    drop(database);
    let before = fs::read(&path).unwrap();
    let opened = with_task(Engine::builder(&path)).open().await;
    assert!(
        matches!(opened, Err(OpenError::File(FileError::NotAStore { .. }))),
        "{opened:?}"
    );
    assert!(fs::read(&path).unwrap() == before);
    let database = Database::open(&path).unwrap();
    let txn = database.begin_read().unwrap();
    assert!(txn.open_table(other).is_ok());
}

#[tokio::test]
async fn a_second_engine_learns_who_runs() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("t");
    let engine = with_task(Engine::builder(&path)).open().await.unwrap();
    let before = contents(directory.path());
    let second = with_task(Engine::builder(&path)).open().await;
    let Err(OpenError::AlreadyRunning {
        pid, path: named, ..
    }) = second
    else {
        panic!("{second:?}");
    };
    assert_eq!(pid, Some(std::process::id()));
    assert_eq!(Path::new(&named), path);
    assert_eq!(contents(directory.path()), before);
    assert_eq!(
        engine.run(TASK, "a", &1).await.unwrap(),
        1,
        "the first is not disturbed"
    );
}

#[tokio::test]
async fn a_duplicate_name_is_refused_before_the_file_is_touched() {
    let directory = tempfile::tempdir().unwrap();
    let builder = with_task(with_task(Engine::builder(directory.path().join("t"))));
    let opened = builder.open().await;
    assert!(matches!(opened, Err(OpenError::Duplicate { name: "task" })));
    assert!(contents(directory.path()).is_empty());
}

#[tokio::test]
async fn a_bad_policy_is_refused_before_the_file_is_touched() {
    let directory = tempfile::tempdir().unwrap();
    let policy = outlive::RetryPolicy::none().attempts(0);
    let builder = Engine::builder(directory.path().join("t"));
    let builder = builder.task(TASK.retry(policy), |_: Ctx, n| async move {
        Ok::<_, HandlerError>(n)
    });
    assert!(matches!(
        builder.open().await,
        Err(OpenError::InvalidRetry { name: "task", .. })
    ));
    assert!(contents(directory.path()).is_empty());
}

#[test]
fn without_a_runtime_nothing_is_opened() {
    use std::future::Future;
    let directory = tempfile::tempdir().unwrap();
    let opening = with_task(Engine::builder(directory.path().join("t"))).open();
    let mut opening = std::pin::pin!(opening);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    let opened = opening.as_mut().poll(&mut context);
    assert!(matches!(
        opened,
        std::task::Poll::Ready(Err(OpenError::NoRuntime))
    ));
    assert!(contents(directory.path()).is_empty());
}

#[cfg(unix)]
mod rights {
    use super::{Engine, FileError, OpenError, Path, contents, fs, store, with_task};
    use outlive_tests::process::{self, Other};
    use std::os::unix::fs::PermissionsExt;

    /// Not a test of its own: opens what it is given, as a user who may not.
    #[tokio::test]
    async fn child() {
        let Some(path) = process::path() else {
            return;
        };
        let opened = with_task(Engine::builder(path)).open().await;
        process::say(match opened {
            Err(OpenError::File(FileError::PermissionDenied { .. })) => "no permission",
            Err(_) => "another error",
            Ok(_) => "opened",
        });
    }

    fn mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[tokio::test]
    async fn a_read_only_file_is_refused_as_it_is() {
        let directory = tempfile::tempdir().unwrap();
        mode(directory.path(), 0o755);
        let path = directory.path().join("t");
        store(&path).await;
        mode(&path, 0o444);
        let before = fs::read(&path).unwrap();
        let mut other = Other::test_as_nobody("open::rights::child", &path);
        assert_eq!(other.word().as_deref(), Some("no permission"));
        other.end();
        assert!(fs::read(&path).unwrap() == before);
    }

    #[tokio::test]
    async fn a_file_of_another_user_is_refused_as_it_is() {
        let directory = tempfile::tempdir().unwrap();
        mode(directory.path(), 0o777);
        let path = directory.path().join("t");
        store(&path).await;
        // As it was created: for its owner alone.
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        if !rustix::process::geteuid().is_root() {
            // Nobody else can be asked; the mode does the same to the only one there is.
            mode(&path, 0o000);
        }
        let mut other = Other::test_as_nobody("open::rights::child", &path);
        assert_eq!(other.word().as_deref(), Some("no permission"));
        other.end();
        mode(&path, 0o600);
        let engine = with_task(Engine::builder(&path)).open().await.unwrap();
        assert!(engine.get("a").await.unwrap().is_some());
    }

    #[tokio::test]
    async fn a_read_only_directory_is_refused_as_it_is() {
        let directory = tempfile::tempdir().unwrap();
        let inside = directory.path().join("inside");
        fs::create_dir(&inside).unwrap();
        mode(directory.path(), 0o755);
        mode(&inside, 0o555);
        // The copy of the program lies beside the path it is given, so the path is that of the directory.
        let mut other = Other::test_as_nobody("open::rights::child_inside", &inside);
        assert_eq!(other.word().as_deref(), Some("no permission"));
        other.end();
        assert!(contents(&inside).is_empty());
        mode(&inside, 0o755);
    }

    /// Not a test of its own: opens a file in the directory it is given.
    #[tokio::test]
    async fn child_inside() {
        let Some(directory) = process::path() else {
            return;
        };
        let opened = with_task(Engine::builder(directory.join("t"))).open().await;
        process::say(match opened {
            Err(OpenError::File(FileError::PermissionDenied { .. })) => "no permission",
            Err(_) => "another error",
            Ok(_) => "opened",
        });
    }
}
