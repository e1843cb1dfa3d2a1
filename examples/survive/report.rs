//! What is measured of one file, and the report over all of them.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::path::Path;

/// Bytes read at once.
const CHUNK: usize = 64 * 1024;
/// Repeated passages are looked for in this much of a file's beginning.
const HEAD_MAX: usize = 16 * 1024;
/// The longest repeated passage that is told apart from a longer one.
const PASSAGE_MAX: usize = 256;
/// Different words counted in one file.
const WORDS_MAX: usize = 64 * 1024;
/// How many frequent words one file contributes, and how many the report names.
const FREQUENT: usize = 32;
const TOP: usize = 10;
/// Shorter words say nothing, longer ones are not words.
const WORD_BYTES: std::ops::RangeInclusive<usize> = 4..=32;

/// What is known of one file.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Facts {
    bytes: u64,
    lines: u64,
    words: u64,
    sha256: String,
    longest_line: Line,
    /// Bytes of the longest passage that occurs twice in the head of the file.
    repeated: usize,
    frequent: Vec<(String, u64)>,
}

#[derive(Debug, Default, Clone, Copy, Serialize, Deserialize)]
struct Line {
    number: u64,
    bytes: u64,
}

/// Reads a file once, in chunks.
pub(crate) fn measure(path: &Path) -> io::Result<Facts> {
    let mut file = File::open(path)?;
    let mut measuring = Measuring::default();
    let mut chunk = vec![0; CHUNK];
    loop {
        match file.read(&mut chunk) {
            Ok(0) => return Ok(measuring.finish()),
            Ok(read) => measuring.take(&chunk[..read]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

#[derive(Default)]
struct Measuring {
    sha256: Sha256,
    bytes: u64,
    full_lines: u64,
    line_bytes: u64,
    longest_line: Line,
    words: u64,
    /// The word being read; cut where it is too long to be counted.
    word: Vec<u8>,
    counts: HashMap<Vec<u8>, u64>,
    head: Vec<u8>,
}

impl Measuring {
    fn take(&mut self, chunk: &[u8]) {
        self.sha256.update(chunk);
        self.bytes += chunk.len() as u64;
        let room = HEAD_MAX - self.head.len();
        self.head.extend(chunk.iter().take(room));
        for byte in chunk {
            if byte.is_ascii_alphanumeric() || *byte == b'_' || *byte >= 0x80 {
                if self.word.len() <= *WORD_BYTES.end() {
                    self.word.push(byte.to_ascii_lowercase());
                }
            } else if !self.word.is_empty() {
                self.end_word();
            }
            if *byte == b'\n' {
                self.full_lines += 1;
                self.end_line(self.full_lines);
            } else {
                self.line_bytes += 1;
            }
        }
    }

    fn end_line(&mut self, number: u64) {
        let bytes = std::mem::take(&mut self.line_bytes);
        if bytes > self.longest_line.bytes {
            self.longest_line = Line { number, bytes };
        }
    }

    fn end_word(&mut self) {
        self.words += 1;
        if WORD_BYTES.contains(&self.word.len()) && !self.word[0].is_ascii_digit() {
            if let Some(count) = self.counts.get_mut(&self.word) {
                *count += 1;
            } else if self.counts.len() < WORDS_MAX {
                self.counts.insert(self.word.clone(), 1);
            }
        }
        self.word.clear();
    }

    fn finish(mut self) -> Facts {
        if !self.word.is_empty() {
            self.end_word();
        }
        let mut lines = self.full_lines;
        if self.line_bytes > 0 {
            lines += 1;
            self.end_line(lines);
        }
        let utf8 = |(word, count)| Some((String::from_utf8(word).ok()?, count));
        Facts {
            bytes: self.bytes,
            lines,
            words: self.words,
            sha256: hex(&self.sha256.finalize()),
            longest_line: self.longest_line,
            repeated: longest_repeat(&self.head),
            frequent: most_frequent(self.counts.into_iter().filter_map(utf8), FREQUENT),
        }
    }
}

/// Sorted suffixes have their longest common beginnings side by side.
fn longest_repeat(text: &[u8]) -> usize {
    let passage = |start: usize| &text[start..text.len().min(start + PASSAGE_MAX)];
    let mut starts: Vec<usize> = (0..text.len()).collect();
    starts.sort_unstable_by(|one, other| passage(*one).cmp(passage(*other)));
    let common = |pair: &[usize]| {
        let (one, other) = (passage(pair[0]), passage(pair[1]));
        one.iter().zip(other).take_while(|(a, b)| a == b).count()
    };
    starts.windows(2).map(common).max().unwrap_or(0)
}

fn most_frequent(words: impl Iterator<Item = (String, u64)>, most: usize) -> Vec<(String, u64)> {
    let mut words: Vec<(String, u64)> = words.collect();
    words.sort_unstable_by(|(a, a_count), (b, b_count)| b_count.cmp(a_count).then(a.cmp(b)));
    words.truncate(most);
    words
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The report, built from the files' facts in the order of their paths.
#[derive(Default)]
pub(crate) struct Report {
    bytes: u64,
    lines: u64,
    words: u64,
    frequent: HashMap<String, u64>,
    by_hash: BTreeMap<String, Vec<String>>,
    table: String,
    files: u64,
}

impl Report {
    pub(crate) fn add(&mut self, path: &str, facts: Facts) {
        self.files += 1;
        self.bytes += facts.bytes;
        self.lines += facts.lines;
        self.words += facts.words;
        for (word, count) in facts.frequent {
            *self.frequent.entry(word).or_default() += count;
        }
        // Writing to a string cannot fail.
        let _ = writeln!(
            self.table,
            "{} {:>9} {:>7} {:>8} {:>5}@{:<5} {:>4} {path}",
            facts.sha256,
            facts.bytes,
            facts.lines,
            facts.words,
            facts.longest_line.bytes,
            facts.longest_line.number,
            facts.repeated,
        );
        if facts.bytes > 0 {
            let same = self.by_hash.entry(facts.sha256).or_default();
            same.push(path.to_owned());
        }
    }

    pub(crate) fn text(self) -> String {
        let Report {
            bytes,
            lines,
            words,
            frequent,
            by_hash,
            table,
            files,
        } = self;
        let top: Vec<String> = most_frequent(frequent.into_iter(), TOP)
            .into_iter()
            .map(|(word, count)| format!("{word} {count}"))
            .collect();
        let duplicates: Vec<String> = by_hash
            .into_values()
            .filter(|paths| paths.len() > 1)
            .map(|paths| format!("  {}\n", paths.join(" = ")))
            .collect();
        format!(
            "totals: {files} files, {bytes} bytes, {lines} lines, {words} words\n\
             top words: {}\n\
             duplicates: {} groups\n\n\
             {}\n\
             SHA-256, bytes, lines, words, longest line @ its number, longest repeated passage, path\n{table}",
            top.join(", "),
            duplicates.len(),
            duplicates.concat(),
        )
    }
}

/// The first lines of a report's text, which are about all files.
pub(crate) fn head(report: &str) -> &str {
    report.split("\n\n").next().unwrap_or(report)
}
