//! What was done in the outside world: a file to which every answered question is appended, and from which nothing is
//! ever removed. It knows nothing of the store, so it is a witness.

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::Path;

/// One answered question.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    /// The idempotency key under which the question was asked.
    pub(crate) key: String,
    pub(crate) answer: String,
}

pub(crate) struct Ledger(Mutex<Content>);

struct Content {
    file: File,
    answers: HashMap<String, String>,
}

impl Ledger {
    pub(crate) fn open(path: &Path) -> io::Result<Ledger> {
        let options = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .open(path);
        let mut file = options?;
        let mut text = String::new();
        file.read_to_string(&mut text)?;
        let (entries, whole) = entries(&text)?;
        // Half a line is an answer that nobody heard.
        file.set_len(whole as u64)?;
        let answers = entries.into_iter().map(|entry| (entry.key, entry.answer));
        let answers = answers.collect();
        Ok(Ledger(Mutex::new(Content { file, answers })))
    }

    /// The answer given under this key before.
    pub(crate) fn find(&self, key: &str) -> Option<String> {
        self.0.lock().answers.get(key).cloned()
    }

    pub(crate) fn append(&self, entry: Entry) -> io::Result<()> {
        let line = serde_json::to_string(&entry)? + "\n";
        let mut content = self.0.lock();
        // One write: a process that is killed leaves the whole line or a part of it, and what is written stays.
        content.file.write_all(line.as_bytes())?;
        content.answers.insert(entry.key, entry.answer);
        Ok(())
    }
}

/// All entries, those of one key that is there twice among them.
pub(crate) fn read(path: &Path) -> io::Result<Vec<Entry>> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(entries(&text)?.0),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// The whole lines, and how many bytes they take.
fn entries(text: &str) -> io::Result<(Vec<Entry>, usize)> {
    let whole = text.rfind('\n').map_or(0, |end| end + 1);
    let entries: Result<Vec<Entry>, _> = text[..whole].lines().map(serde_json::from_str).collect();
    Ok((entries?, whole))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(key: &str) -> Entry {
        let (key, answer) = (key.to_owned(), "42".to_owned());
        Entry { key, answer }
    }

    #[test]
    fn half_a_line_is_cut_off_and_the_rest_is_found_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ledger");
        Ledger::open(&path).unwrap().append(entry("a")).unwrap();
        let whole = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, format!("{whole}{{\"key\":\"b\",")).unwrap();
        let ledger = Ledger::open(&path).unwrap();
        assert_eq!(ledger.find("a"), Some("42".to_owned()));
        assert_eq!(ledger.find("b"), None);
        ledger.append(entry("c")).unwrap();
        assert_eq!(read(&path).unwrap(), [entry("a"), entry("c")]);
    }

    #[test]
    fn a_key_that_is_there_twice_is_told_twice() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ledger");
        let ledger = Ledger::open(&path).unwrap();
        ledger.append(entry("a")).unwrap();
        ledger.append(entry("a")).unwrap();
        assert_eq!(read(&path).unwrap().len(), 2);
    }
}
