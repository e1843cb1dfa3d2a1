//! A seeded mutator against what reads bytes of the file, text from outside, and whole files.
//!
//! `OUTLIVE_SEED` begins with another seed, `OUTLIVE_FUZZ` runs so many times the inputs of a usual run. The same targets
//! have a coverage-guided run: `fuzz/run`.

use outlive_storage::fuzzing::{Key, Kind};
use outlive_tests::chance::Chance;
use outlive_tests::fuzz::file::{Patch, Whole, patches};
use outlive_tests::fuzz::mutate::Mutator;
use outlive_tests::fuzz::{Verdict, entry, text, value};
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Runs of one target, and the line about them.
struct Campaign {
    what: &'static str,
    mutator: Mutator,
    seed: u64,
    executions: u64,
    accepted: u64,
}

impl Campaign {
    fn of(what: &'static str) -> Campaign {
        let seed = number("OUTLIVE_SEED").unwrap_or(0x5eed);
        Campaign {
            what,
            mutator: Mutator(Chance(seed)),
            seed,
            executions: 0,
            accepted: 0,
        }
    }

    /// So many inputs, of which a usual run has these.
    fn times(&self, usual: u64) -> u64 {
        usual * number("OUTLIVE_FUZZ").unwrap_or(1)
    }

    /// Gives one input to the target.
    #[track_caller]
    fn run(&mut self, data: &[u8], target: impl FnOnce() -> Verdict) -> Verdict {
        self.executions += 1;
        let verdict = catch_unwind(AssertUnwindSafe(target)).unwrap_or_else(|_| {
            let hex: String = data.iter().map(|byte| format!("{byte:02x}")).collect();
            let Campaign {
                what,
                seed,
                executions,
                ..
            } = self;
            panic!("{what}: found by execution {executions} of OUTLIVE_SEED={seed}: {hex}")
        });
        self.accepted += u64::from(verdict == Verdict::Accepted);
        verdict
    }

    fn ends(self) {
        let Campaign {
            what,
            executions,
            accepted,
            ..
        } = self;
        assert!(
            0 < accepted && accepted < executions,
            "{accepted} of {executions} accepted"
        );
        println!("{what}: {executions} executions, {accepted} accepted, 0 findings");
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the root")
}

/// The files of a corpus, by name.
fn corpus(name: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let directory = root().join("tests/corpus").join(name);
    let mut files: Vec<_> = fs::read_dir(&directory)
        .expect("a corpus")
        .map(|file| file.expect("a file").path())
        .collect();
    files.sort();
    assert!(!files.is_empty(), "{}", directory.display());
    let read = |path: PathBuf| (path.clone(), fs::read(&path).expect("a file"));
    files.into_iter().map(read).collect()
}

/// The bytes of a text of hexadecimal digits.
fn bytes(hex: &str) -> Vec<u8> {
    let byte = |pair: &[u8]| {
        let pair = std::str::from_utf8(pair).expect("hex");
        u8::from_str_radix(pair, 16).expect("hex")
    };
    hex.as_bytes().chunks(2).map(byte).collect()
}

/// The golden entries of the format with the keys they were written under.
fn golden() -> Vec<(String, Vec<u8>)> {
    let text = fs::read_to_string(root().join("storage/src/codec/golden.txt"));
    let text = text.expect("the golden bytes");
    let entry = |line: &str| {
        let (name, hex) = line.split_once(' ').expect("a name and its bytes");
        (name.to_owned(), entry::packed(&key_of(name), &bytes(hex)))
    };
    // A record of the journal is no entry: it has no key.
    let entries = text.lines().filter(|line| !line.starts_with("journal."));
    entries.map(entry).collect()
}

fn key_of(name: &str) -> Key {
    let (kind, task, index, text) = match name.split('.').next().unwrap_or(name) {
        "row" => (Kind::Task, 10, 0, ""),
        "value" => (Kind::Value, 10, 1 << 64 | 1, ""),
        "input" => (Kind::Input, 10, 1, ""),
        "receipt" => (Kind::Receipt, 10, 0, "first"),
        "turn" => (Kind::Turn, 10, 5, ""),
        "run" => (Kind::Run, 10, 2, ""),
        "segment" => (Kind::Segment, 10, 3, ""),
        "event" => (Kind::Event, 11, 0, ""),
        "step" => (Kind::Step, 10, 5, "fetch"),
        "ask" => (Kind::Ask, 10, 0, "delete"),
        "life" => (Kind::Life, 3, 7, ""),
        other => panic!("{other}: say under which key its golden bytes are"),
    };
    Key {
        kind,
        task,
        index,
        text: text.into(),
    }
}

/// What the coverage-guided run begins with is what the mutator begins with, and is whole.
#[test]
fn the_corpus_of_entries_is_made_of_the_golden_bytes() {
    let directory = root().join("tests/corpus/entry");
    let golden = golden();
    if std::env::var_os("OUTLIVE_BLESS").is_some() {
        for (name, data) in &golden {
            fs::write(directory.join(name), data).expect("a file");
        }
    }
    for (name, data) in &golden {
        let found = fs::read(directory.join(name)).expect("a golden entry that is not in it");
        assert_eq!(&found, data, "{name}");
        let (key, bytes) = entry::unpacked(data).expect("an entry");
        assert_eq!(entry::read(&key, bytes), Verdict::Accepted, "{name}");
    }
    for kind in Kind::ALL {
        let is_of_kind = |(name, _): &(String, Vec<u8>)| key_of(name).kind == kind;
        assert!(golden.iter().any(is_of_kind), "no golden {kind:?}");
    }
}

#[test]
fn a_changed_entry_is_refused_and_one_that_was_made_whole_again_is_what_it_says() {
    let mut damaged = Campaign::of("damaged entries");
    let mut sealed = Campaign::of("sealed entries");
    let corpus = corpus("entry");
    for _ in 0..damaged.times(1_000) {
        for (_, data) in &corpus {
            let (key, bytes) = entry::unpacked(data).expect("an entry");
            let mut changed = bytes.to_vec();
            damaged.mutator.mutate(&mut changed);
            let verdict = damaged.run(&changed, || entry::read(&key, &changed));
            let same = changed == bytes;
            assert_eq!(verdict == Verdict::Accepted, same, "{key:?} {changed:x?}");
            let packed = entry::packed(&key, &changed);
            sealed.run(&packed, || entry::entry(&packed));
        }
    }
    damaged.ends();
    sealed.ends();
}

/// Whole and in its place an entry is read; under another key it is damage.
#[test]
fn an_entry_under_a_changed_key_is_refused() {
    let mut campaign = Campaign::of("entries under other keys");
    let corpus = corpus("entry");
    for _ in 0..campaign.times(500) {
        for (_, data) in &corpus {
            let (key, bytes) = entry::unpacked(data).expect("an entry");
            let head = data.len() - bytes.len();
            let mut changed = data[..head].to_vec();
            campaign.mutator.mutate(&mut changed);
            changed.extend_from_slice(bytes);
            let Some((other, bytes)) = entry::unpacked(&changed) else {
                continue;
            };
            let verdict = campaign.run(&changed, || entry::read(&other, bytes));
            let refused = verdict == Verdict::Refused;
            assert!(
                refused || names_the_same(&key, &other),
                "{other:?} for {key:?}"
            );
        }
    }
    campaign.ends();
}

/// Parts of a key that its kind does not have are of no effect.
fn names_the_same(one: &Key, other: &Key) -> bool {
    let (same_task, same_text) = (one.task == other.task, one.text == other.text);
    let low = |key: &Key| key.index as u64;
    let same = match one.kind {
        Kind::Task | Kind::Event => same_task,
        Kind::Receipt | Kind::Ask => same_task && same_text,
        Kind::Step => same_task && same_text && low(one) == low(other),
        Kind::Run => same_task && low(one) as u32 == low(other) as u32,
        Kind::Input | Kind::Turn | Kind::Segment => same_task && low(one) == low(other),
        Kind::Value => {
            let what = |key: &Key| (key.index >> 64) % 3;
            same_task && low(one) == low(other) && what(one) == what(other)
        }
        Kind::Life => same_task && one.index == other.index,
    };
    one.kind == other.kind && same
}

#[test]
fn text_from_outside_is_an_id_or_is_not() {
    let mut campaign = Campaign::of("ids, cursors and keys");
    let corpus = corpus("text");
    for _ in 0..campaign.times(3_000) {
        for (_, data) in &corpus {
            let mut changed = data.clone();
            campaign.mutator.mutate(&mut changed);
            campaign.run(&changed, || text::text(&changed));
        }
    }
    campaign.ends();
}

#[test]
fn an_input_that_nobody_checked_is_what_its_type_reads_or_parks_its_task() {
    let mut campaign = Campaign::of("inputs from the store");
    for (_, data) in corpus("value") {
        for which in 0..8 {
            let mut typed = data.clone();
            typed[0] = which;
            campaign.run(&typed, || value::value(&typed));
        }
        for _ in 0..campaign.times(25) {
            let mut changed = data.clone();
            campaign.mutator.mutate(&mut changed);
            campaign.run(&changed, || value::value(&changed));
        }
    }
    // As deep as the bytes of a row allow, and far beyond what any type reads.
    for deep in [127, 128, 1_000, 100_000] {
        for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
            let json = format!("{}1{}", open.repeat(deep), close.repeat(deep));
            let data = [&[0], json.as_bytes()].concat();
            campaign.run(&data, || value::value(&data));
        }
    }
    campaign.ends();
}

/// redb frees pages as it closes, by what its own pages say of them, which nobody checks: whoever dropped a store of this
/// file was met by its panic.
#[test]
fn a_file_of_which_the_freed_pages_are_damaged_is_closed_without_a_panic() {
    // Execution 562 of OUTLIVE_SEED=24301.
    const FOUND: &str = "00d8ea27b072238d248658dc2c2e2badf623e8e889c9ab599ed9c4d1bcaab699df4110e04bfda51f7f5b6500d81f\
        362396a015a40864d7b4356751c140ec8953984d8467cfe224984b9c7cbc03a2e4c847dea93f504fd5ea2210914d18fc32f7f3c6a0c0cb\
        00b171290a7e79c6899c00be26f86f54cf3022c5877e8f864e30709befd2b671d7cc31ec5395ce66b04ed2902d";
    let mut campaign = Campaign::of("a file that is closed");
    let whole = Whole::new();
    let directory = tempfile::tempdir().expect("a directory");
    let data = bytes(FOUND);
    campaign.run(&data, || whole.damaged(directory.path(), &patches(&data)));
}

/// Each is opened and read as a whole. What is damaged is told so, or was not needed.
#[test]
fn a_damaged_file_is_opened_or_refused_and_all_of_it_is_read() {
    let mut campaign = Campaign::of("damaged files");
    let whole = Whole::new();
    let directory = tempfile::tempdir().expect("a directory");
    let none = campaign.run(&[], || whole.damaged(directory.path(), &[]));
    assert_eq!(none, Verdict::Accepted);
    for _ in 0..campaign.times(250) {
        let Mutator(chance) = &mut campaign.mutator;
        let mut data = Vec::new();
        for _ in 0..=chance.below(3) {
            let at = chance.below(whole.places() as u64) as u32;
            let len = 1 + chance.below(64);
            data.extend_from_slice(&at.to_be_bytes()[1..]);
            data.push(len as u8);
            data.extend((0..len).map(|_| chance.below(256) as u8));
        }
        let patches: Vec<Patch<'_>> = patches(&data);
        campaign.run(&data, || whole.damaged(directory.path(), &patches));
    }
    campaign.ends();
}
