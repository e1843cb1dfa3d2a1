//! How the bytes of a file are divided: a head that says so, the journal, and redb's database behind it.

use redb::StorageBackend;
use std::io;

/// The first bytes of a file with a journal.
pub(super) const MAGIC: [u8; 9] = *b"outlive\x1A\n";
/// The first bytes of every redb database, which is the whole of a file without a journal.
pub(super) const REDB_MAGIC: [u8; 9] = *b"redb\x1A\x0A\xA9\x0D\x0A";
/// What is written at once in a journal begins at a multiple of this many bytes, so that no later write touches a sector of
/// an earlier one; and so do the parts of a file.
pub(super) const BLOCK: u64 = 4096;
/// Magic, version (one byte), length of the journal (four bytes), salt (four bytes), checksum (four bytes).
pub(super) const HEAD_LEN: usize = MAGIC.len() + 13;
/// The head this library writes, and the only one it reads.
const VERSION: u8 = 1;
/// More is never asked for: what is in a journal is read by the next open.
pub(super) const JOURNAL_MAX: u32 = 64 << 20;

/// How one file is divided. The default is that of a plain redb database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Shape {
    /// Bytes of the journal; zero in a plain redb database.
    pub(super) journal: u32,
    /// Goes into the checksum of each record: what lies in this journal was written for this file.
    pub(super) salt: u32,
}

impl Shape {
    /// A file of this incarnation with a journal of about so many bytes, or none.
    pub(super) fn new(journal_bytes: u32, incarnation: u128) -> Shape {
        if journal_bytes == 0 {
            return Shape::default();
        }
        Shape {
            journal: journal_bytes
                .min(JOURNAL_MAX)
                .next_multiple_of(BLOCK as u32),
            // Never zero, which says that the head is lost.
            salt: crc32fast::hash(&incarnation.to_le_bytes()).max(1),
        }
    }

    /// A file whose database begins there, and of whose journal nothing else is known.
    pub(super) fn before(database_at: u64) -> Shape {
        let journal = database_at.saturating_sub(Shape::JOURNAL_AT) as u32;
        Shape { journal, salt: 0 }
    }

    /// Where the journal begins.
    pub(super) const JOURNAL_AT: u64 = BLOCK;

    /// Where the database begins.
    pub(super) fn database_at(self) -> u64 {
        if self.journal == 0 {
            return 0;
        }
        Shape::JOURNAL_AT + u64::from(self.journal)
    }

    /// What the file begins with; nothing in a plain redb database.
    pub(super) fn head(self) -> Option<Vec<u8>> {
        if self.journal == 0 {
            return None;
        }
        let mut head = MAGIC.to_vec();
        head.push(VERSION);
        head.extend_from_slice(&self.journal.to_le_bytes());
        head.extend_from_slice(&self.salt.to_le_bytes());
        head.extend_from_slice(&crc32fast::hash(&head).to_le_bytes());
        Some(head)
    }

    /// Reads how a file is divided.
    ///
    /// # Errors
    /// As for [`Shape::of`], or what the system says.
    pub(super) fn read(file: &dyn StorageBackend) -> io::Result<Shape> {
        let len = file.len()?;
        let mut start = vec![0; len.min(HEAD_LEN as u64) as usize];
        file.read(0, &mut start)?;
        Shape::of(&start, len)
    }

    /// How a file is divided that begins with these bytes, [`HEAD_LEN`] where it has as many. One that begins with no head
    /// of ours is taken for a plain database: redb knows better.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidData`] for a damaged head, one of a later version, or a file that ends within its journal.
    pub(super) fn of(start: &[u8], len: u64) -> io::Result<Shape> {
        if !start.starts_with(&MAGIC) {
            return Ok(Shape::default());
        }
        let Some(head) = start.first_chunk::<HEAD_LEN>() else {
            return Err(damaged("the file ends within its head"));
        };
        let number = |at: usize| {
            head[at..]
                .first_chunk()
                .map_or(0, |b| u32::from_le_bytes(*b))
        };
        let [journal, salt, crc] = [10, 14, 18].map(number);
        let is_whole = crc32fast::hash(&head[..HEAD_LEN - 4]) == crc;
        if !is_whole && !cfg!(planted = "head_believed") {
            return Err(damaged("the head of the file is damaged"));
        }
        let is_sound = u64::from(journal).is_multiple_of(BLOCK) && journal <= JOURNAL_MAX;
        if head[MAGIC.len()] != VERSION || !is_sound || journal == 0 {
            return Err(damaged("the head of the file is of a later version"));
        }
        let shape = Shape { journal, salt };
        if len < shape.database_at() {
            return Err(damaged("the file ends within its journal"));
        }
        Ok(shape)
    }
}

fn damaged(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;
    use redb::backends::InMemoryBackend;

    #[test]
    fn a_head_says_what_was_asked_for_and_a_damaged_one_nothing() {
        let shape = Shape::new(10_000, 7);
        assert_eq!((shape.journal, shape.database_at()), (12_288, 16_384));
        let head = shape.head().unwrap();
        let file = InMemoryBackend::new();
        file.set_len(shape.database_at()).unwrap();
        file.write(0, &head).unwrap();
        assert_eq!(Shape::read(&file).unwrap(), shape);
        for byte in MAGIC.len()..head.len() {
            let mut other = head.clone();
            other[byte] ^= 1;
            file.write(0, &other).unwrap();
            assert!(Shape::read(&file).is_err(), "byte {byte}");
        }
    }

    #[test]
    fn a_file_that_ends_within_its_journal_is_damaged() {
        let shape = Shape::new(4096, 7);
        let file = InMemoryBackend::new();
        file.set_len(shape.database_at() - 1).unwrap();
        file.write(0, &shape.head().unwrap()).unwrap();
        assert!(Shape::read(&file).is_err());
    }

    #[test]
    fn a_plain_database_has_no_head() {
        assert_eq!(Shape::new(0, 7).head(), None);
        let file = InMemoryBackend::new();
        file.set_len(4096).unwrap();
        file.write(0, &REDB_MAGIC).unwrap();
        assert_eq!(Shape::read(&file).unwrap(), Shape::default());
    }
}
