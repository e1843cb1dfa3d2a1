//! One Rust file of the repository: its text, and its code without comments and literals.

use std::fs;
use std::path::{Path, PathBuf};

/// One file, named from the root of the repository with `/` on every platform.
pub(crate) struct Source {
    pub(crate) path: String,
    pub(crate) text: String,
    /// The text with every comment and every literal blanked, line for line, so that a rule sees code alone.
    pub(crate) code: String,
}

impl Source {
    pub(crate) fn new(path: &str, text: &str) -> Self {
        Self {
            path: path.to_owned(),
            text: text.to_owned(),
            code: blank(text),
        }
    }

    /// Whether it belongs to the sources of one of the libraries, for which the stricter rules hold.
    pub(crate) fn is_library(&self) -> bool {
        let libraries = ["storage/src/", "engine/src/", "server/src/"];
        libraries
            .iter()
            .any(|library| self.path.starts_with(library))
    }

    /// Whether it is part of what users build: a library, or the command line, whose own clock and threads are its business.
    pub(crate) fn is_shipped(&self) -> bool {
        self.is_library() || self.path.starts_with("cli/src/")
    }

    /// The module's documentation: the `//!` lines the file opens with.
    pub(crate) fn module_doc(&self) -> String {
        let lines = self.text.lines().take_while(|line| line.starts_with("//!"));
        lines.map(|line| line.trim_start_matches("//!")).collect()
    }
}

/// The root of the repository.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the tests lie one below the root")
        .to_owned()
}

/// Every Rust file of every crate of the repository, in order of its path.
pub(crate) fn all() -> Vec<Source> {
    let mut paths = Vec::new();
    for entry in entries(&root()) {
        if entry.join("Cargo.toml").is_file() {
            collect(&entry, &mut paths);
        }
    }
    paths.sort();
    paths.iter().map(|path| read(path)).collect()
}

fn read(path: &Path) -> Source {
    let text =
        fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let inside = path.strip_prefix(root()).expect("a file of the repository");
    let names: Vec<_> = inside.iter().map(|name| name.to_string_lossy()).collect();
    Source::new(&names.join("/"), &text)
}

/// Collects the Rust files below `dir`, leaving out build output and hidden directories.
fn collect(dir: &Path, paths: &mut Vec<PathBuf>) {
    for entry in entries(dir) {
        let name = entry
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if entry.is_dir() && name != "target" && !name.starts_with('.') {
            collect(&entry, paths);
        }
        if entry.is_file() && name.ends_with(".rs") {
            paths.push(entry);
        }
    }
}

fn entries(dir: &Path) -> Vec<PathBuf> {
    let read = fs::read_dir(dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
    read.map(|entry| entry.expect("a readable directory").path())
        .collect()
}

/// Replaces every comment and every literal by spaces and keeps the line breaks.
fn blank(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut code = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let end = opaque_end(&chars, at);
        if end == at {
            code.push(chars[at]);
            at += 1;
            continue;
        }
        code.extend(
            chars[at..end]
                .iter()
                .map(|c| if *c == '\n' { '\n' } else { ' ' }),
        );
        at = end;
    }
    code
}

/// Where the comment or literal that begins at `at` ends; `at` itself if none does.
fn opaque_end(chars: &[char], at: usize) -> usize {
    let next = chars.get(at + 1).copied();
    match (chars[at], next) {
        ('/', Some('/')) => line_end(chars, at),
        ('/', Some('*')) => block_end(chars, at),
        ('r', Some('"' | '#')) if !continues_a_word(chars, at) => raw_end(chars, at),
        ('"', _) => quoted_end(chars, at, '"'),
        // A quote is a character only if one closes it; else it is a lifetime.
        ('\'', Some('\\')) => quoted_end(chars, at, '\''),
        ('\'', Some(_)) if chars.get(at + 2) == Some(&'\'') => at + 3,
        _ => at,
    }
}

/// Whether the character before belongs to the same word: `for"` and `number` open no raw string, `br"` does.
fn continues_a_word(chars: &[char], at: usize) -> bool {
    let before = at.checked_sub(1).map(|index| chars[index]);
    before.is_some_and(|c| (c.is_alphanumeric() && c != 'b' && c != 'c') || c == '_')
}

fn line_end(chars: &[char], at: usize) -> usize {
    chars[at..]
        .iter()
        .position(|c| *c == '\n')
        .map_or(chars.len(), |length| at + length)
}

fn block_end(chars: &[char], at: usize) -> usize {
    let mut depth = 0;
    let mut index = at;
    while index + 1 < chars.len() {
        match (chars[index], chars[index + 1]) {
            ('/', '*') => (depth, index) = (depth + 1, index + 2),
            ('*', '/') => (depth, index) = (depth - 1, index + 2),
            _ => index += 1,
        }
        if depth == 0 {
            return index;
        }
    }
    chars.len()
}

fn raw_end(chars: &[char], at: usize) -> usize {
    let hashes = chars[at + 1..].iter().take_while(|c| **c == '#').count();
    let open = at + 1 + hashes;
    if chars.get(open) != Some(&'"') {
        return at;
    }
    for index in open + 1..chars.len() {
        let closing = chars[index + 1..].iter().take_while(|c| **c == '#').count();
        if chars[index] == '"' && closing >= hashes {
            return index + 1 + hashes;
        }
    }
    chars.len()
}

fn quoted_end(chars: &[char], at: usize, quote: char) -> usize {
    let mut index = at + 1;
    while index < chars.len() && chars[index] != quote {
        index += if chars[index] == '\\' { 2 } else { 1 };
    }
    (index + 1).min(chars.len())
}

#[test]
fn comments_and_literals_are_no_code() {
    let text = "a // b\n/* c /* d */ e */ f \"g \\\" h\" r#\"i\"j\"# k<'l> '{' '\\'' m";
    let words: Vec<_> = blank(text).split_whitespace().map(str::to_owned).collect();
    assert_eq!(words, ["a", "f", "k<'l>", "m"]);
    assert_eq!(blank(text).lines().count(), text.lines().count());
}
