//! Verbs that are killed in their midst: what they read is whole, and there is no half of what they make.

use crate::store::database_at;
use crate::the::{directory, done, files, large, later, program};
use outlive::store;
use std::fs;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

/// Kills of each verb.
const KILLS: u64 = 2;
/// They come within so many milliseconds of the first write.
const WITHIN_MS: u64 = 120;
/// A verb that does not come to its first write within this hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// `xorshift64*`, as moments need no better chance.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 |= 1;
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) % bound
    }
}

fn begin(args: &[&str]) -> Child {
    let mut command = program();
    command
        .args(args)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.spawn().expect("it runs")
}

/// Waits for the verb to begin to write, and a moment of chance longer; true when it was killed before its end.
fn killed(mut child: Child, began: impl Fn() -> bool, chance: &mut Chance) -> bool {
    let patience = Instant::now() + PATIENCE;
    while !began() && child.try_wait().expect("a status").is_none() {
        assert!(Instant::now() < patience, "it never began");
        std::thread::yield_now();
    }
    let moment = Instant::now() + Duration::from_millis(chance.below(WITHIN_MS));
    while Instant::now() < moment {
        std::thread::yield_now();
    }
    let is_over = child.try_wait().expect("a status").is_some();
    child.kill().expect("killed, or over");
    child.wait().expect("a status");
    !is_over
}

/// Whether a file is being made for this path.
fn is_being_made(to: &Path) -> bool {
    let (directory, name) = (to.parent().unwrap(), to.file_name().unwrap());
    files(directory, name.to_str().unwrap())
        .iter()
        .any(|name| name.ends_with(".tmp"))
}

#[test]
fn a_verb_that_is_killed_leaves_its_source_whole_and_no_half_of_a_file() {
    let seed = std::env::var("OUTLIVE_SEED").map_or(20_270, |seed| seed.parse().unwrap_or(20_270));
    let mut chance = Chance(seed);
    let directory = directory();
    let path = large(directory.path());
    let lines = directory.path().join("lines.jsonl");
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    done(&path, &["store", "export", &text(&lines)]);
    let (source, exported) = (fs::read(&path).unwrap(), fs::read(&lines).unwrap());
    let (mut kills, mut ends) = (0, 0);
    for verb in ["restore", "salvage", "import", "export"] {
        let to = directory.path().join(format!("of-{verb}"));
        let (from, new) = (text(&path), text(&to));
        let lines = text(&lines);
        let args = match verb {
            "restore" => ["--store", &new, "store", verb, &from],
            "import" => ["--store", &new, "store", verb, &lines],
            _ => ["--store", &from, "store", verb, &new],
        };
        for n in 0..KILLS {
            let told = format!("seed {seed}, {verb}, kill {n}");
            match killed(begin(&args), || is_being_made(&to), &mut chance) {
                true => kills += 1,
                false => ends += 1,
            }
            assert!(
                fs::read(&path).unwrap() == source,
                "{told}: the file was changed"
            );
            assert!(
                fs::read(&lines).unwrap() == exported,
                "{told}: the export was changed"
            );
            if to.exists() {
                assert!(is_whole(verb, &to, &exported), "{told}: half a file");
                fs::remove_file(&to).unwrap();
            }
        }
        let mut again = program();
        let status = again
            .args(args)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .unwrap();
        assert!(
            status.success() && is_whole(verb, &to, &exported),
            "{verb} after the kills"
        );
        let name = to.file_name().unwrap().to_str().unwrap();
        let left = files(directory.path(), name);
        assert_eq!(left, [name], "what was killed is cleared away");
    }
    println!("seed {seed}: {kills} kills in the midst, {ends} after the end");
    assert!(kills > 0, "nothing was killed in its midst");
}

fn is_whole(verb: &str, path: &Path, exported: &[u8]) -> bool {
    if verb == "export" {
        return fs::read(path).unwrap() == exported;
    }
    let report = store::verify(path).expect("a look");
    report.is_whole() && report.entries("tasks") == later() as u64 + 5
}

#[test]
fn a_compaction_that_is_killed_leaves_the_file_whole() {
    let seed = std::env::var("OUTLIVE_SEED").map_or(20_271, |seed| seed.parse().unwrap_or(20_271));
    let mut chance = Chance(seed);
    let directory = directory();
    let path = large(directory.path());
    let before = fs::read(&path).unwrap();
    let at = database_at(&before);
    let (mut kills, mut ends) = (0, 0);
    for n in 0..KILLS {
        let told = format!("seed {seed}, kill {n}");
        let args = ["--store", path.to_str().unwrap(), "store", "compact"];
        let length = || fs::metadata(&path).map_or(0, |found| found.len());
        let len = length();
        let header = || fs::read(&path).unwrap()[at..at + 4096] != before[at..at + 4096];
        let has_begun = || length() != len || header();
        match killed(begin(&args), has_begun, &mut chance) {
            true => kills += 1,
            false => ends += 1,
        }
        let report = store::repair(&path, None, &store::Watch::default()).expect("a repair");
        assert!(report.verified.is_whole(), "{told}: {report:?}");
        assert_eq!(
            report.verified.entries("tasks"),
            later() as u64 + 5,
            "{told}"
        );
        fs::write(&path, &before).unwrap();
    }
    done(&path, &["store", "compact"]);
    println!("seed {seed}: {kills} kills in the midst, {ends} after the end");
    assert!(kills > 0, "nothing was killed in its midst");
}
