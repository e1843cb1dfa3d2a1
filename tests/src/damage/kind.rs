//! Five kinds of damage to one sector of a file.

use crate::chance::Chance;

/// What a disk loses at once.
pub const SECTOR: usize = 512;
const PAGE: usize = 4096;

/// What happened to the sector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// All its bytes are zero.
    Zeroed,
    /// All its bytes are chance.
    Random,
    /// One of its bits is another.
    Flipped,
    /// It has the bytes of another sector of the file.
    Elsewhere,
    /// It has the bytes it had before, in whole or up to somewhere.
    Older,
}

impl Kind {
    /// In turn.
    pub const ALL: [Kind; 5] = [
        Kind::Zeroed,
        Kind::Random,
        Kind::Flipped,
        Kind::Elsewhere,
        Kind::Older,
    ];
}

/// Where the damage was aimed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Aim {
    /// At any sector of the file.
    Anywhere,
    /// At a sector with rows.
    Rows,
    /// At a page of a tree without rows.
    Indexes,
    /// At the header.
    Header,
}

/// One damage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Damage {
    /// What happened.
    pub kind: Kind,
    /// Where it was aimed.
    pub aim: Aim,
    /// The sector.
    pub sector: usize,
}

impl Damage {
    /// Damages a file, of which there is an earlier version. Something changes in any case.
    pub fn new(kind: Kind, file: &mut [u8], older: &[u8], chance: &mut Chance) -> Damage {
        loop {
            let aim = match chance.below(20) {
                0 => Aim::Header,
                1..=5 => Aim::Rows,
                6..=9 => Aim::Indexes,
                _ => Aim::Anywhere,
            };
            let sectors = file.len() / SECTOR;
            let sector = chance.below(sectors as u64) as usize;
            let sector = if aim == Aim::Header { 0 } else { sector };
            if !hits(aim, file, sector) {
                continue;
            }
            let before = sector_of(file, sector).to_vec();
            damage(kind, file, older, sector, chance);
            if sector_of(file, sector) != before {
                return Damage { kind, aim, sector };
            }
        }
    }
}

fn sector_of(file: &[u8], sector: usize) -> &[u8] {
    &file[sector * SECTOR..(sector + 1) * SECTOR]
}

fn hits(aim: Aim, file: &[u8], sector: usize) -> bool {
    let page = sector * SECTOR / PAGE * PAGE;
    let page = &file[page..(page + PAGE).min(file.len())];
    let has_rows = |bytes: &[u8]| {
        let envelope =
            |four: &[u8]| four[0] == b'o' && four[1].is_ascii_uppercase() && four[2] == 1;
        bytes.windows(4).any(envelope)
    };
    match aim {
        Aim::Anywhere | Aim::Header => true,
        Aim::Rows => has_rows(sector_of(file, sector)),
        Aim::Indexes => matches!(page[0], 1 | 2) && page[1] == 0 && !has_rows(page),
    }
}

fn damage(kind: Kind, file: &mut [u8], older: &[u8], sector: usize, chance: &mut Chance) {
    let at = sector * SECTOR;
    let sectors = (file.len() / SECTOR) as u64;
    match kind {
        Kind::Zeroed => file[at..at + SECTOR].fill(0),
        Kind::Random => {
            for byte in &mut file[at..at + SECTOR] {
                *byte = chance.below(256) as u8;
            }
        }
        Kind::Flipped => {
            let byte = at + chance.below(SECTOR as u64) as usize;
            file[byte] ^= 1 << chance.below(8);
        }
        Kind::Elsewhere => {
            let from = chance.below(sectors) as usize * SECTOR;
            file.copy_within(from..from + SECTOR, at);
        }
        Kind::Older => {
            let whole = chance.below(2) == 0;
            let len = if whole {
                SECTOR
            } else {
                chance.below(SECTOR as u64) as usize
            };
            if let Some(before) = older.get(at..at + len) {
                file[at..at + len].copy_from_slice(before);
            }
        }
    }
}
