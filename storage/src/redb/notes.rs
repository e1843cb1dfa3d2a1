//! What redb notes for itself: which pages are free, and which are to be freed at the next commit.
//!
//! redb believes these notes, and frees by them as it commits and as it closes a file. From damaged ones it panics, and once
//! more while that panic unwinds, which ends the process: nobody can catch that. So they are checked before redb sees
//! the file. Each page has a checksum, in the page above it or in the header.
//!
//! The layout is that of redb's file format 3. The header: 9 bytes by which it is known, a byte of flags, and at 64 and at 192
//! what the last two commits left, of which a flag names the valid one. A slot of these: version, two bytes that say whether
//! there is a root, 5 bytes, the root of the tables, the root of the notes, an empty one, and in its last 16 bytes the
//! checksum of those before. A root: page number, checksum, length. Checksums are XXH3 of 128 bits. Pages are as `salvage`
//! reads them.

use super::open;
use super::open_error::OpenError;
use super::salvage::PageRef;
use redb::StorageBackend;
use std::io;
use std::path::Path;
use twox_hash::XxHash3_128;

/// redb's own bound.
const DEPTH_MAX: usize = 128;

const HEADER_LEN: usize = 320;
const FLAGS_AT: usize = 9;
const SECOND_IS_VALID: u8 = 1;
const SYNCED_TWICE: u8 = 4;
const SLOTS: [usize; 2] = [64, 192];
const SLOT_LEN: usize = 128;
const SLOT_SUM_AT: usize = SLOT_LEN - 16;
const HAS_NOTES_AT: usize = 2;
const NOTES_AT: usize = 40;

const LEAF: u8 = 1;
const BRANCH: u8 = 2;
/// Of a branch before its children.
const BRANCH_HEAD: usize = 8;

/// A page as the one above it names it.
#[derive(Debug, Clone, Copy)]
struct Page {
    number: u64,
    sum: u128,
}

/// How wide the keys and values of a table are; `None` where each says its own width.
#[derive(Debug, Clone, Copy)]
struct Widths {
    key: Option<usize>,
    value: Option<usize>,
}

/// Of the list of tables: names, and what redb says of each.
const LIST: Widths = Widths {
    key: None,
    value: None,
};

/// Refuses a file whose notes are not as they were written.
///
/// # Errors
/// [`OpenError::Damaged`]; that the file cannot be read.
pub(super) fn check(path: &Path, file: &impl StorageBackend) -> Result<(), OpenError> {
    match are_whole(file) {
        Ok(true) => Ok(()),
        Ok(false) => Err(OpenError::Damaged {
            message: "what it notes of its free pages is not what was written".into(),
        }),
        Err(error) => Err(open::head_error(path, error)),
    }
}

/// Whether these notes may be believed. Also where the header is damaged, or says that redb will look at every page itself.
fn are_whole(file: &impl StorageBackend) -> io::Result<bool> {
    if file.len()? < HEADER_LEN as u64 || cfg!(planted = "notes_believed") {
        return Ok(true);
    }
    let mut header = [0; HEADER_LEN];
    file.read(0, &mut header)?;
    let Some(root) = root(&header) else {
        return Ok(true);
    };
    let mut tables = Vec::new();
    let mut whole = walk(file, root, LIST, &mut |value| tables.extend(table(value)))?;
    for (root, widths) in tables {
        whole = whole && walk(file, root, widths, &mut |_| {})?;
    }
    Ok(whole)
}

/// The root of the notes of the valid commit; `None` where there are none, or where redb does not take for granted that they are
/// whole: where the last commit was synced once it looks at every page, and the header may name what is not there.
fn root(header: &[u8; HEADER_LEN]) -> Option<Page> {
    let flags = header[FLAGS_AT];
    if flags & SYNCED_TWICE == 0 {
        return None;
    }
    let at = SLOTS[usize::from(flags & SECOND_IS_VALID)];
    let slot = &header[at..at + SLOT_LEN];
    let is_whole = XxHash3_128::oneshot(&slot[..SLOT_SUM_AT]) == u128_at(slot, SLOT_SUM_AT)?;
    if !is_whole || slot[HAS_NOTES_AT] == 0 {
        return None;
    }
    page_at(slot, NOTES_AT)
}

/// The root and the widths of a table by what the list says of it: its kind, how many entries it has (8 bytes), whether it has
/// a root, the root, the widths of keys and of values, each behind a byte that says whether there is one.
fn table(value: &[u8]) -> Option<(Page, Widths)> {
    if *value.get(9)? == 0 {
        return None;
    }
    let width = |at: usize| match value.get(at) {
        Some(1) => u32_at(value, at + 1),
        Some(_) | None => None,
    };
    let widths = Widths {
        key: width(42),
        value: width(47),
    };
    Some((page_at(value, 10)?, widths))
}

/// Whether every page from here on down has the checksum that the page above has for it. Each value is told.
fn walk(
    file: &impl StorageBackend,
    root: Page,
    widths: Widths,
    told: &mut impl FnMut(&[u8]),
) -> io::Result<bool> {
    let mut waiting = vec![(root, 0)];
    while let Some((page, depth)) = waiting.pop() {
        let Some(bytes) = read(file, page.number)?.filter(|_| depth < DEPTH_MAX) else {
            return Ok(false);
        };
        let end = match bytes.first() {
            Some(&LEAF) => end_of_leaf(&bytes, widths),
            Some(&BRANCH) => end_of_branch(&bytes, widths),
            Some(_) | None => None,
        };
        let used = end.and_then(|end| bytes.get(..end));
        let is_whole = |used: &[u8]| XxHash3_128::oneshot(used) == page.sum;
        let Some(used) = used.filter(|used| is_whole(used)) else {
            return Ok(false);
        };
        if bytes[0] == BRANCH {
            waiting.extend(children(used).map(|child| (child, depth + 1)));
        } else {
            values(used, widths).for_each(&mut *told);
        }
    }
    Ok(true)
}

/// The bytes of a page; `None` where the file has no such page.
fn read(file: &impl StorageBackend, number: u64) -> io::Result<Option<Vec<u8>>> {
    let (at, len) = PageRef(number).place();
    if at + len > file.len()? {
        return Ok(None);
    }
    let mut bytes = vec![0; len as usize];
    file.read(at, &mut bytes)?;
    Ok(Some(bytes))
}

fn count(page: &[u8]) -> Option<usize> {
    let count = usize::from(u16::from_le_bytes(*page.get(2..)?.first_chunk()?));
    (count > 0).then_some(count)
}

fn end_of_leaf(page: &[u8], widths: Widths) -> Option<usize> {
    value_end(page, widths, count(page)?.checked_sub(1)?)
}

fn key_end(page: &[u8], widths: Widths, pair: usize) -> Option<usize> {
    let ends = usize::from(widths.key.is_none()) + usize::from(widths.value.is_none());
    match widths.key {
        Some(width) => Some(4 + 4 * ends * count(page)? + width * (pair + 1)),
        None => u32_at(page, 4 + 4 * pair),
    }
}

fn value_end(page: &[u8], widths: Widths, pair: usize) -> Option<usize> {
    let pairs = count(page)?;
    match (widths.key, widths.value) {
        (_, Some(width)) => Some(key_end(page, widths, pairs - 1)? + width * (pair + 1)),
        (Some(_), None) => u32_at(page, 4 + 4 * pair),
        (None, None) => u32_at(page, 4 + 4 * pairs + 4 * pair),
    }
}

fn values(page: &[u8], widths: Widths) -> impl Iterator<Item = &[u8]> {
    let pairs = count(page).unwrap_or(0);
    (0..pairs).filter_map(move |pair| {
        let from = match pair.checked_sub(1) {
            Some(before) => value_end(page, widths, before)?,
            None => key_end(page, widths, pairs - 1)?,
        };
        page.get(from..value_end(page, widths, pair)?)
    })
}

fn end_of_branch(page: &[u8], widths: Widths) -> Option<usize> {
    let keys = count(page)?;
    let behind = BRANCH_HEAD + (16 + 8) * (keys + 1);
    match widths.key {
        Some(width) => Some(behind + width * keys),
        None => u32_at(page, behind + 4 * (keys - 1)),
    }
}

fn children(page: &[u8]) -> impl Iterator<Item = Page> {
    let children = count(page).map_or(0, |keys| keys + 1);
    (0..children).filter_map(move |child| {
        Some(Page {
            sum: u128_at(page, BRANCH_HEAD + 16 * child)?,
            number: u64_at(page, BRANCH_HEAD + 16 * children + 8 * child)?,
        })
    })
}

/// A root: page number, checksum.
fn page_at(bytes: &[u8], at: usize) -> Option<Page> {
    Some(Page {
        number: u64_at(bytes, at)?,
        sum: u128_at(bytes, at + 8)?,
    })
}

fn u32_at(bytes: &[u8], at: usize) -> Option<usize> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?) as usize)
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u128_at(bytes: &[u8], at: usize) -> Option<u128> {
    Some(u128::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}
