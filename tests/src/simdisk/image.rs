//! What a crash may leave of the calls since the last sync.

use super::disk::{Call, PAGE, Pages};
use crate::chance::Chance;
use std::fmt;

/// How much of a torn write is there or not at once, in bytes.
pub const GRAINS: [usize; 3] = [512, 64, 8];

/// Which of the unsynced calls are on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// None of them.
    LostAll,
    /// All of them.
    KeptAll,
    /// Those to the header of the file, which says what is valid.
    HeaderOnly,
    /// All but those.
    AllButHeader,
    /// All but the changes of the length.
    AllButLength,
    /// All but this write.
    Without(usize),
    /// This write, and those to the header.
    OneAndHeader(usize),
    /// Any pieces of any of them.
    Torn {
        /// The size of a piece.
        grain: usize,
        /// Which ones.
        draw: u64,
    },
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Kind::LostAll => f.write_str("lost-all"),
            Kind::KeptAll => f.write_str("kept-all"),
            Kind::HeaderOnly => f.write_str("header-only"),
            Kind::AllButHeader => f.write_str("all-but-header"),
            Kind::AllButLength => f.write_str("all-but-length"),
            Kind::Without(at) => write!(f, "without-write-{at}"),
            Kind::OneAndHeader(at) => write!(f, "write-{at}-and-header"),
            Kind::Torn { grain, draw } => write!(f, "torn-{grain}-{draw:x}"),
        }
    }
}

/// redb writes its header, and nothing else, in less than a page; and the journal writes whole blocks.
fn is_header(call: &Call) -> bool {
    matches!(call, Call::Write { bytes, .. } if bytes.len() < PAGE)
}

fn is_length(call: &Call) -> bool {
    matches!(call, Call::SetLen(_))
}

/// The fixed kinds for these unsynced calls, of which the last one is new: those that were an image before it are left out,
/// and so are those that are images of each other.
pub fn fixed(unsynced: &[Call]) -> Vec<Kind> {
    let Some(last) = unsynced.last() else {
        return vec![Kind::LostAll];
    };
    let mut kinds = vec![Kind::KeptAll];
    let headers = unsynced.iter().filter(|call| is_header(call)).count();
    if headers > 0 && headers < unsynced.len() {
        kinds.push(if is_header(last) {
            Kind::HeaderOnly
        } else {
            Kind::AllButHeader
        });
    }
    if unsynced.len() > 1 && unsynced.iter().any(is_length) && !is_length(last) {
        kinds.push(Kind::AllButLength);
    }
    kinds
}

/// The further kinds, as [`fixed`]: each single write missing, each with the header, and so many torn ones of each grain.
pub fn further(unsynced: &[Call], torn: usize, chance: &mut Chance) -> Vec<Kind> {
    let mut kinds = Vec::new();
    let Some(newest) = unsynced.len().checked_sub(1) else {
        return kinds;
    };
    let has_header = unsynced.iter().any(is_header);
    let new_header = is_header(&unsynced[newest]);
    for (at, call) in unsynced.iter().enumerate() {
        if !matches!(call, Call::Write { .. }) || newest == 0 {
            continue;
        }
        // Without the newest one it is what it was before.
        if at < newest {
            kinds.push(Kind::Without(at));
        }
        let is_new = at == newest || new_header;
        if is_new && !is_header(call) && (has_header || at > 0) {
            kinds.push(Kind::OneAndHeader(at));
        }
    }
    for grain in GRAINS {
        for _ in 0..torn {
            let draw = chance.below(u64::MAX);
            kinds.push(Kind::Torn { grain, draw });
        }
    }
    kinds
}

/// The disk that is left.
pub fn build(synced: &Pages, unsynced: &[Call], kind: Kind) -> Pages {
    let mut pages = synced.clone();
    for (at, call) in unsynced.iter().enumerate() {
        let is_there = match kind {
            Kind::LostAll => false,
            Kind::KeptAll => true,
            Kind::HeaderOnly => is_header(call),
            Kind::AllButHeader => !is_header(call),
            Kind::AllButLength => !is_length(call),
            Kind::Without(missing) => at != missing,
            Kind::OneAndHeader(one) => at == one || is_header(call),
            Kind::Torn { grain, draw } => {
                tear(&mut pages, call, grain, draw ^ (at as u64) << 32);
                false
            }
        };
        if is_there {
            pages.apply(call);
        }
    }
    pages
}

fn tear(pages: &mut Pages, call: &Call, grain: usize, draw: u64) {
    let mut chance = Chance(draw.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let mut coin = || chance.below(2) == 0;
    match call {
        Call::Write { offset, bytes } => {
            let mut at = 0;
            while at < bytes.len() {
                // Pieces of the disk, not of the write.
                let place = (*offset as usize + at) % grain;
                let end = (at + grain - place).min(bytes.len());
                if coin() {
                    pages.write(offset + at as u64, &bytes[at..end]);
                }
                at = end;
            }
        }
        Call::SetLen(_) if coin() => pages.apply(call),
        Call::SetLen(_) | Call::Sync => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use redb::StorageBackend;

    fn write(offset: u64, byte: u8, len: usize) -> Call {
        Call::Write {
            offset,
            bytes: vec![byte; len].into(),
        }
    }

    fn bytes(pages: Pages) -> Vec<u8> {
        let disk = super::super::disk::SimDisk::unlogged(pages);
        let mut out = vec![0; StorageBackend::len(&disk).expect("a length") as usize];
        disk.read(0, &mut out).expect("it is there");
        out
    }

    #[test]
    fn each_kind_keeps_what_its_name_says() {
        let mut synced = Pages::default();
        synced.apply(&write(0, 1, 3 * PAGE));
        let calls = [
            Call::SetLen(4 * PAGE as u64),
            write(0, 2, 320),
            write(PAGE as u64, 3, PAGE),
            write(3 * PAGE as u64, 4, PAGE),
        ];
        let marks = |kind| {
            let left = bytes(build(&synced, &calls, kind));
            let at = |place: usize| left.get(place * PAGE).copied();
            (at(0), at(1), at(3))
        };
        let cases = [
            (Kind::LostAll, (Some(1), Some(1), None)),
            (Kind::KeptAll, (Some(2), Some(3), Some(4))),
            (Kind::HeaderOnly, (Some(2), Some(1), None)),
            (Kind::AllButHeader, (Some(1), Some(3), Some(4))),
            (Kind::AllButLength, (Some(2), Some(3), Some(4))),
            (Kind::Without(3), (Some(2), Some(3), Some(0))),
            (Kind::OneAndHeader(2), (Some(2), Some(3), None)),
        ];
        for (kind, expected) in cases {
            assert_eq!(marks(kind), expected, "{kind}");
        }
    }

    #[test]
    fn a_torn_write_is_there_in_pieces_of_its_grain() {
        let mut synced = Pages::default();
        synced.apply(&write(0, 1, 2 * PAGE));
        for grain in GRAINS {
            let left = build(
                &synced,
                &[write(100, 2, PAGE)],
                Kind::Torn { grain, draw: 7 },
            );
            let left = bytes(left);
            assert!(left.contains(&1) && left.contains(&2), "{grain}");
            for (at, pair) in left[100..100 + PAGE].windows(2).enumerate() {
                assert!(pair[0] == pair[1] || (101 + at) % grain == 0, "{grain}");
            }
        }
    }

    #[test]
    fn a_shorter_file_that_grows_again_is_zero_there() {
        let mut pages = Pages::default();
        pages.apply(&write(0, 9, PAGE));
        pages.apply(&Call::SetLen(10));
        pages.apply(&Call::SetLen(PAGE as u64));
        assert_eq!(bytes(pages)[9..12], [9, 0, 0]);
    }
}
