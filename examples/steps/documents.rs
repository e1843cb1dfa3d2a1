//! The documents of a directory, and what there is to count in them.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

/// Words too common to tell a document from another.
const COMMON: [&str; 24] = [
    "that", "with", "this", "from", "what", "when", "which", "have", "into", "each", "they",
    "then", "than", "only", "every", "there", "where", "after", "before", "does", "will", "must",
    "them", "also",
];
/// Shorter words are not counted.
const WORD_MIN: usize = 4;

/// The names of the documents in a directory, sorted.
pub(crate) fn names(directory: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(directory)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name.ends_with(".md") || name.ends_with(".txt") {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// How often each word is in a document.
pub(crate) fn words(directory: &Path, name: &str) -> io::Result<BTreeMap<String, usize>> {
    let text = fs::read(directory.join(name))?;
    let text = String::from_utf8_lossy(&text).to_lowercase();
    let mut words = BTreeMap::new();
    for word in text.split(|c: char| !c.is_alphabetic()) {
        if word.chars().count() >= WORD_MIN && !COMMON.contains(&word) {
            *words.entry(word.to_owned()).or_default() += 1;
        }
    }
    Ok(words)
}

/// The lines of a document that are headings.
pub(crate) fn headings(directory: &Path, name: &str) -> io::Result<Vec<String>> {
    let text = fs::read(directory.join(name))?;
    let text = String::from_utf8_lossy(&text).into_owned();
    let headings = text.lines().filter_map(|line| line.strip_prefix("## "));
    Ok(headings.map(str::to_owned).collect())
}

/// The most frequent words, most frequent first.
pub(crate) fn most_frequent(words: &BTreeMap<String, usize>, count: usize) -> Vec<(String, usize)> {
    let mut ranked: Vec<(String, usize)> = words.clone().into_iter().collect();
    ranked.sort_by(|one, other| other.1.cmp(&one.1).then_with(|| one.0.cmp(&other.0)));
    ranked.truncate(count);
    ranked
}
