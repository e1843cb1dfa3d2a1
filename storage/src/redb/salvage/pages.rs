//! The pages of a damaged file as bytes: leaves and branches of redb's trees, read without believing any of it.
//!
//! The layout is that of redb's file format 3. Pages are 4,096 bytes times a power of two and begin at multiples of
//! 4,096. A leaf: type 1, one byte, the number of pairs (`u16`), the ends of its keys (`u32` each, when they have no
//! fixed width), the ends of its values (the same), the keys, the values. A branch: type 2, one byte, the number of keys
//! (`u16`), four bytes, a checksum of 16 bytes and then a page number of 8 for each child, and keys, which are not looked
//! at here.

use crate::redb::progress::{Counted, Watch};
use crate::redb::shape::{HEAD_LEN, JOURNAL_MAX, REDB_MAGIC, Shape};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;

/// Where pages may begin.
pub(super) const PAGE: u64 = 4096;
const LEAF: u8 = 1;
const BRANCH: u8 = 2;
/// Pages of one region; a region has no pages of its own before them.
const REGION_PAGES: u64 = 1 << 20;
/// How much is read at once where entries of a leaf are looked at.
const WINDOW: usize = PAGE as usize;
/// More pairs do not fit into a number of 16 bits.
const PAIRS_MAX: usize = u16::MAX as usize;

/// A page number as redb writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::redb) struct PageRef(pub(in crate::redb) u64);

impl PageRef {
    /// Where the page begins, and how long it is.
    pub(in crate::redb) fn place(self) -> (u64, u64) {
        let order = (self.0 >> 59) as u32;
        let index = self.0 & ((REGION_PAGES - 1) >> order);
        let region = (self.0 >> 20) & (REGION_PAGES - 1);
        let len = PAGE << order;
        (PAGE + region * REGION_PAGES * PAGE + index * len, len)
    }
}

/// A tree: its root, and how many entries it should have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Root {
    pub(super) page: PageRef,
    pub(super) entries: u64,
}

/// How wide the keys and values of a table are; empty where each says its own width.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Widths {
    pub(super) key: Option<usize>,
    pub(super) value: Option<usize>,
}

/// What a page is by its first byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Leaf,
    Branch,
    Neither,
}

/// How a file is divided, also one whose head is damaged: then what is in its journal is lost, and its database begins where
/// something looks like the beginning of one.
fn shape_of(file: &File, len: u64) -> Shape {
    let start = bytes_at(file, 0, len.min(HEAD_LEN as u64) as usize).unwrap_or_default();
    if let Ok(shape) = Shape::of(&start, len)
        && (shape.journal > 0 || start.starts_with(&REDB_MAGIC))
    {
        return shape;
    }
    let blocks = (0..=u64::from(JOURNAL_MAX) / PAGE).map(|block| block * PAGE);
    let is_database =
        |at: &u64| bytes_at(file, *at, REDB_MAGIC.len()).is_some_and(|found| found == REDB_MAGIC);
    let found = blocks.take_while(|at| *at < len).find(is_database);
    found.map_or_else(Shape::default, Shape::before)
}

fn bytes_at(mut file: &File, offset: u64, len: usize) -> Option<Vec<u8>> {
    let mut bytes = vec![0; len];
    file.seek(SeekFrom::Start(offset)).ok()?;
    file.read_exact(&mut bytes).ok()?;
    Some(bytes)
}

/// The file.
pub(super) struct Pages {
    file: File,
    /// Which part of the file the pages are; all offsets are within it.
    shape: Shape,
    counted: Counted,
    pub(super) len: u64,
}

impl Pages {
    pub(super) fn new(file: File, watch: &Watch) -> io::Result<Pages> {
        let bytes = file.metadata()?.len();
        let shape = shape_of(&file, bytes);
        let len = bytes.saturating_sub(shape.database_at());
        let counted = Counted::new(watch, bytes);
        Ok(Pages {
            file,
            shape,
            counted,
            len,
        })
    }

    /// How the file is divided. Where its head is lost, what was said there follows from the incarnation in the database.
    pub(super) fn shape_of(&self, incarnation: Option<u128>) -> Shape {
        let is_lost = self.shape.journal > 0 && self.shape.salt == 0;
        match incarnation {
            Some(incarnation) if is_lost && !cfg!(planted = "salvage_needs_the_head") => {
                Shape::new(self.shape.journal, incarnation)
            }
            Some(_) | None => self.shape,
        }
    }

    /// All bytes of the journal of a file that is divided so, as far as the disk gives them, and whether it gives all that may
    /// have been there.
    pub(super) fn journal(&self, shape: Shape) -> (Vec<u8>, bool) {
        self.counted.add(shape.database_at());
        // Without its salt nothing of it can be told from what is left of other files.
        let mut is_whole = shape.journal == 0 || shape.salt != 0;
        let mut journal = Vec::with_capacity(shape.journal as usize);
        for at in (0..u64::from(shape.journal)).step_by(PAGE as usize) {
            let block = bytes_at(&self.file, Shape::JOURNAL_AT + at, PAGE as usize);
            is_whole &= block.is_some();
            journal.extend(block.unwrap_or_else(|| vec![0; PAGE as usize]));
        }
        (journal, is_whole)
    }

    /// The bytes of a range, as far as the file goes. A sector that the disk does not give reads as nothing.
    pub(super) fn read(&self, offset: u64, len: usize) -> Vec<u8> {
        let left = self.len.saturating_sub(offset);
        let len = left.min(len as u64) as usize;
        self.counted.add(len as u64);
        let read = bytes_at(&self.file, self.shape.database_at() + offset, len);
        read.unwrap_or_default()
    }

    /// What begins at an offset.
    pub(super) fn kind(&self, offset: u64) -> Kind {
        match self.read(offset, 1).first() {
            Some(&LEAF) => Kind::Leaf,
            Some(&BRANCH) => Kind::Branch,
            Some(_) | None => Kind::Neither,
        }
    }

    /// The children of the branch at an offset; none where it is not one.
    pub(super) fn children(&self, offset: u64) -> Vec<PageRef> {
        let head = self.read(offset, 8);
        let Some(children) = u16_at(&head, 2).map(|keys| usize::from(keys) + 1) else {
            return Vec::new();
        };
        let numbers = self.read(offset + 8 + 16 * children as u64, 8 * children);
        let refs = numbers
            .chunks_exact(8)
            .filter_map(|chunk| u64_at(chunk, 0))
            .map(PageRef);
        refs.collect()
    }

    /// Where a page begins; `None` where the file has no such page.
    pub(super) fn offset(&self, page: PageRef) -> Option<u64> {
        let (offset, len) = page.place();
        (offset + len <= self.len).then_some(offset)
    }

    /// The pairs of the leaf at an offset, in their order; those whose places make no sense are left out.
    pub(super) fn leaf(&self, offset: u64, widths: Widths) -> Leaf<'_> {
        let window = self.read(offset, WINDOW);
        let pairs = u16_at(&window, 2).map_or(0, usize::from).min(PAIRS_MAX);
        Leaf {
            pages: self,
            offset,
            window,
            pairs,
            widths,
        }
    }
}

/// One leaf.
pub(super) struct Leaf<'p> {
    pages: &'p Pages,
    offset: u64,
    window: Vec<u8>,
    pairs: usize,
    widths: Widths,
}

impl Leaf<'_> {
    /// How many pairs it says it has.
    pub(super) fn pairs(&self) -> usize {
        self.pairs
    }

    /// The key of a pair.
    pub(super) fn key(&self, pair: usize) -> Option<Vec<u8>> {
        self.bytes(self.key_range(pair)?)
    }

    /// The first bytes of the value of a pair, and how long the whole is.
    pub(super) fn value_start(&self, pair: usize, len: usize) -> Option<(Vec<u8>, usize)> {
        let range = self.value_range(pair)?;
        let whole = range.len();
        let start = self.bytes(range.start..range.end.min(range.start + len))?;
        Some((start, whole))
    }

    /// The value of a pair.
    pub(super) fn value(&self, pair: usize) -> Option<Vec<u8>> {
        self.bytes(self.value_range(pair)?)
    }

    fn key_range(&self, pair: usize) -> Option<Range<usize>> {
        let start = match pair {
            0 => self.keys_start(),
            _ => self.key_end(pair - 1)?,
        };
        let end = self.key_end(pair)?;
        (start <= end).then_some(start..end)
    }

    fn value_range(&self, pair: usize) -> Option<Range<usize>> {
        let start = match pair {
            0 => self.key_end(self.pairs.checked_sub(1)?)?,
            _ => self.value_end(pair - 1)?,
        };
        let end = self.value_end(pair)?;
        (start <= end).then_some(start..end)
    }

    /// Where the keys begin: after the ends.
    fn keys_start(&self) -> usize {
        let ends =
            usize::from(self.widths.key.is_none()) + usize::from(self.widths.value.is_none());
        4 + 4 * ends * self.pairs
    }

    fn key_end(&self, pair: usize) -> Option<usize> {
        match self.widths.key {
            Some(width) => Some(self.keys_start() + width * (pair + 1)),
            None => self.end_at(4 + 4 * pair),
        }
    }

    fn value_end(&self, pair: usize) -> Option<usize> {
        if let Some(width) = self.widths.value {
            return Some(self.key_end(self.pairs.checked_sub(1)?)? + width * (pair + 1));
        }
        let before = match self.widths.key {
            Some(_) => 4,
            None => 4 + 4 * self.pairs,
        };
        self.end_at(before + 4 * pair)
    }

    fn end_at(&self, at: usize) -> Option<usize> {
        let bytes = self.bytes(at..at + 4)?;
        Some(u32::from_le_bytes(*bytes.first_chunk()?) as usize)
    }

    /// `None` for what reaches beyond the file.
    fn bytes(&self, range: Range<usize>) -> Option<Vec<u8>> {
        if let Some(bytes) = self.window.get(range.clone()) {
            return Some(bytes.to_vec());
        }
        if self.offset + range.end as u64 > self.pages.len {
            return None;
        }
        let len = range.len();
        let bytes = self.pages.read(self.offset + range.start as u64, len);
        (bytes.len() == len).then_some(bytes)
    }
}

pub(super) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    let chunk = bytes.get(at..)?.first_chunk()?;
    Some(u16::from_le_bytes(*chunk))
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let chunk = bytes.get(at..)?.first_chunk()?;
    Some(u32::from_le_bytes(*chunk))
}

pub(super) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    let chunk = bytes.get(at..)?.first_chunk()?;
    Some(u64::from_le_bytes(*chunk))
}
