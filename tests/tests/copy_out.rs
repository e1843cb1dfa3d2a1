//! A file that failed to sync, and the copy that takes its place: in the same process or in the next one, whatever
//! happens meanwhile.
//!
//! Going on with such a file leaves it dead after the next power cut, about every third time, unless each commit records
//! what a quick repair needs: so all is played both ways.

use outlive_storage::Store;
use outlive_storage::redb::{CopyError, OpenError, RedbOptions, RedbStore};
use outlive_tests::faulty_disk::{Fault, FaultyDisk, Kind};
use std::collections::BTreeSet;
use std::sync::Arc;

const SEEDS: u64 = 12;
/// A commit may sync twice; the third sync is another commit's.
const SYNCS: u64 = 3;
/// Calls of a copy-out and of the open after it are fewer.
const CALLS_MAX: u64 = 400;

/// Who goes on after a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum After {
    /// The same process opens its file again.
    Reopen,
    /// Another process, on the running system.
    Restart,
    /// Another process, after a power cut.
    PowerCut,
}

/// Names that were acknowledged.
#[derive(Default)]
struct Told(BTreeSet<String>);

fn open(disk: &FaultyDisk, quick_repair: bool) -> Result<RedbStore, OpenError> {
    let options = RedbOptions {
        cache_bytes: 64 << 10,
        quick_repair,
        // Full after a few commits.
        journal_bytes: 16 << 10,
        ..RedbOptions::default()
    };
    RedbStore::on_medium(Arc::new(disk.clone()), options, 7)
}

fn empty() -> Vec<u8> {
    let disk = FaultyDisk::new(Vec::new(), 1);
    drop(open(&disk, true).expect("an empty store"));
    disk.image()
}

impl Told {
    /// One commit of some names. False when it failed.
    fn commit(&mut self, store: &RedbStore, called: &str, names: u64) -> bool {
        let names: Vec<String> = (0..names)
            .map(|n| format!("{called}-{n}-{n:0>80}"))
            .collect();
        let slices: Vec<&str> = names.iter().map(String::as_str).collect();
        let done = store.define(&slices).is_ok();
        if done {
            self.0.extend(names);
        }
        done
    }

    fn commit_until_failure(&mut self, store: &RedbStore) {
        let mut commits = 0;
        while self.commit(store, &format!("until-{commits}"), 20) {
            commits += 1;
            assert!(commits < 10, "it does not fail");
        }
    }

    /// After a power cut the file is there, with all that was acknowledged.
    #[track_caller]
    fn check(&self, disk: &FaultyDisk, quick_repair: bool, what: &str) {
        let left = FaultyDisk::new(disk.image(), 1);
        let store = open(&left, quick_repair);
        let store = store.unwrap_or_else(|error| panic!("{what}: a dead file: {error:?}"));
        let found = store.definitions().expect("it is read");
        let found: BTreeSet<&str> = found.iter().map(|(_, name)| &**name).collect();
        for name in &self.0 {
            assert!(found.contains(&**name), "{what}: {name} is lost");
        }
    }
}

/// A sync that fails, for a moment or until the process ends, and commits before and after it.
fn play(image: &[u8], (at, seed): (u64, u64), after: After, quick_repair: bool) -> u64 {
    let what = format!("sync {at}, seed {seed}, {after:?}, quick repair {quick_repair}");
    let disk = FaultyDisk::new(image.to_vec(), seed);
    let mut told = Told::default();
    let mut store = open(&disk, quick_repair).expect("a well disk");
    for n in 0..seed % 5 {
        assert!(told.commit(&store, &format!("before-{n}"), 1 + n * 9));
    }
    let lasts = after != After::Reopen;
    disk.arm(Fault {
        kind: Kind::Sync,
        at,
        lasts,
    });
    told.commit_until_failure(&store);
    assert!(disk.failures() > 0, "{what}");
    disk.mend();
    if after == After::Reopen {
        store.reopen().expect("a well disk");
    } else {
        drop(store);
        store = open(&disk, quick_repair).unwrap_or_else(|error| panic!("{what}: {error:?}"));
    }
    for n in 0..1 + seed % 3 {
        assert!(
            told.commit(&store, &format!("after-{n}"), 1 + n * 13),
            "{what}"
        );
    }
    told.check(&disk, quick_repair, &what);
    disk.copies()
}

/// A process that ends, or is killed, before it has copied a file that failed to sync left the next one going on with it.
#[test]
fn what_is_acknowledged_after_a_failed_sync_survives_a_power_cut() {
    let image = empty();
    let (mut played, mut copies) = (0, 0);
    for after in [After::Reopen, After::Restart] {
        for quick_repair in [true, false] {
            for at in 1..=SYNCS {
                for seed in 1..=SEEDS {
                    copies += play(&image, (at, seed), after, quick_repair);
                    played += 1;
                }
            }
        }
    }
    println!("{played} failed syncs, {copies} copies: nothing acknowledged lost, no dead file");
    assert_eq!(copies, played);
}

/// A sync fails, and then the n-th call of what is done about it and all after it. True when there was such a call.
fn die(image: &[u8], at: u64, after: After, quick_repair: bool) -> bool {
    let what = format!("call {at} after a failed sync, {after:?}, quick repair {quick_repair}");
    let mut disk = FaultyDisk::new(image.to_vec(), at);
    let mut told = Told::default();
    let mut store = open(&disk, quick_repair).expect("a well disk");
    assert!(told.commit(&store, "before", 30));
    disk.arm(Fault {
        kind: Kind::Sync,
        at: 1 + at % 2,
        lasts: false,
    });
    disk.arm_then(Fault {
        kind: Kind::Any,
        at,
        lasts: true,
    });
    told.commit_until_failure(&store);
    let reopened = store.reopen();
    assert!(!disk.has_half_copy(), "{what}: half a copy is left");
    let died = disk.failures() > 1;
    assert!(died || reopened.is_ok(), "{what}: {reopened:?}");
    told.check(&disk, quick_repair, &what);
    disk.mend();
    match after {
        After::Reopen => store
            .reopen()
            .unwrap_or_else(|error| panic!("{what}: {error:?}")),
        After::Restart | After::PowerCut => {
            drop(store);
            if after == After::PowerCut {
                disk = FaultyDisk::new(disk.image(), at);
            }
            store = open(&disk, quick_repair).unwrap_or_else(|error| panic!("{what}: {error:?}"));
        }
    }
    assert!(told.commit(&store, "after", 30), "{what}");
    told.check(&disk, quick_repair, &what);
    died
}

#[test]
fn a_death_within_a_copy_loses_nothing_and_leaves_no_half_copy() {
    let image = empty();
    let mut deaths = 0;
    for after in [After::Reopen, After::Restart, After::PowerCut] {
        for quick_repair in [true, false] {
            let calls = (1..CALLS_MAX).take_while(|at| die(&image, *at, after, quick_repair));
            let calls = calls.count() as u64;
            assert!((10..CALLS_MAX - 1).contains(&calls), "{calls} calls");
            deaths += calls;
        }
    }
    println!("{deaths} deaths within copies: nothing acknowledged lost, no dead file");
}

/// A disk that did not give a page was taken for a file that is damaged.
#[test]
fn a_backup_of_a_disk_that_fails_says_that_it_fails() {
    let disk = FaultyDisk::new(empty(), 1);
    let mut told = Told::default();
    let store = open(&disk, true).expect("a well disk");
    for n in 0..20 {
        assert!(told.commit(&store, &format!("names-{n}"), 100));
    }
    drop(store);
    let store = open(&disk, true).expect("a well disk");
    let directory = tempfile::tempdir().unwrap();
    let to = directory.path().join("backup");
    disk.arm(Fault {
        kind: Kind::Read,
        at: 3,
        lasts: true,
    });
    let failed = store.backup(&to, 2, 0);
    let told = matches!(failed, Err(CopyError::From(OpenError::Io { .. })));
    assert!(told, "{failed:?}");
    assert!(!to.exists());
}
