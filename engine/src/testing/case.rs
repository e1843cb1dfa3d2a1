//! One case of a crash test: where its engines die, and how that is written.

use std::fmt;

/// On which side of a commit the engine dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// Just before it is applied: it is lost.
    Before,
    /// Just after it was applied, before anybody is answered: it is durable, and nobody knows.
    After,
}

impl Side {
    pub(super) const BOTH: [Side; 2] = [Side::Before, Side::After];
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Side::Before => "before",
            Side::After => "after",
        })
    }
}

/// One death of an engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Crash {
    /// The commit at which it dies, from 1, counted from its open.
    pub commit: usize,
    /// On which side of it.
    pub side: Side,
}

impl fmt::Display for Crash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.commit, self.side)
    }
}

/// Every death at one of so many commits, earliest first.
pub(super) fn crashes(commits: usize) -> impl DoubleEndedIterator<Item = Crash> {
    let at = |commit| Side::BOTH.map(|side| Crash { commit, side });
    (1..=commits).flat_map(at).filter(|crash| {
        !(cfg!(planted = "kit_no_crash_after_a_commit") && crash.side == Side::After)
    })
}

/// The deaths of one run, those of its engines in turn, and the seed it was chosen by. Its text is `seed:crash,crash`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Case {
    pub(super) seed: u64,
    /// Empty: nobody dies.
    pub(super) crashes: Vec<Crash>,
}

/// How a case without a crash is written.
const UNDISTURBED: &str = "undisturbed";

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let crashes: Vec<String> = self.crashes.iter().map(Crash::to_string).collect();
        let crashes = match crashes.is_empty() {
            true => UNDISTURBED.to_owned(),
            false => crashes.join(","),
        };
        write!(f, "{}:{crashes}", self.seed)
    }
}

impl Crash {
    /// The crash of this text.
    fn read(text: &str) -> Option<Crash> {
        let (commit, side) = text.split_once('-')?;
        let commit = commit.parse().ok().filter(|commit| *commit > 0)?;
        let mut sides = Side::BOTH.into_iter();
        let side = sides.find(|known| known.to_string() == side)?;
        Some(Crash { commit, side })
    }
}

impl Case {
    /// The case of this text.
    pub(super) fn read(text: &str) -> Option<Case> {
        let (seed, crashes) = text.split_once(':')?;
        let seed = seed.parse().ok()?;
        let crashes = match crashes {
            UNDISTURBED => Vec::new(),
            crashes => crashes.split(',').map(Crash::read).collect::<Option<_>>()?,
        };
        Some(Case { seed, crashes })
    }
}

/// So many of the pairs, chosen by the seed, in their order; all of them when there are no more.
pub(super) fn chosen(pairs: Vec<[Crash; 2]>, count: usize, seed: u64) -> Vec<[Crash; 2]> {
    let seed = if cfg!(planted = "kit_seed_ignored") {
        0
    } else {
        seed
    };
    let mut ranked: Vec<(u64, usize)> = (0..pairs.len())
        .map(|at| (mixed(seed, at as u64), at))
        .collect();
    ranked.sort_unstable();
    let mut places: Vec<usize> = ranked.into_iter().take(count).map(|(_, at)| at).collect();
    places.sort_unstable();
    places.into_iter().map(|at| pairs[at]).collect()
}

/// A number that looks like chance and is the same every time: the output function of SplitMix64.
fn mixed(seed: u64, at: u64) -> u64 {
    let step = (at.wrapping_add(1)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let mut z = seed.wrapping_mul(0xD134_2543_DE82_EF95).wrapping_add(step);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs() -> Vec<[Crash; 2]> {
        let second = |first| crashes(4).map(move |second| [first, second]);
        crashes(10).flat_map(second).collect()
    }

    #[test]
    fn a_case_is_read_as_it_is_written() {
        let pair = Case {
            seed: 7,
            crashes: pairs()[20].to_vec(),
        };
        let none = Case {
            seed: 0,
            crashes: Vec::new(),
        };
        for case in [pair, none] {
            assert_eq!(Case::read(&case.to_string()), Some(case));
        }
        for text in ["", "7", "3-before", "7:", "7:0-before", "7:3", "x:3-after"] {
            assert_eq!(Case::read(text), None, "{text}");
        }
    }

    #[test]
    fn a_seed_chooses_the_same_pairs_each_time_and_another_seed_others() {
        let choice = |seed| chosen(pairs(), 12, seed);
        assert_eq!(choice(1), choice(1));
        assert_ne!(choice(1), choice(2));
        assert!(choice(1).is_sorted() && choice(1).len() == 12);
        assert_eq!(chosen(pairs(), usize::MAX, 1), pairs());
    }
}
