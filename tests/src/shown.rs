//! A whole stream as a reader takes it in, and what of it stays: the rules that `StreamEvent` gives its readers.

use outlive::StreamEvent;

/// One entry of a stream, in a form that a line of text can hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// An item, and the step it belongs to.
    Item {
        /// Its number.
        sequence: u64,
        /// The step that emitted it; empty: the attempt did.
        step: Option<String>,
        /// What was emitted.
        item: u64,
    },
    /// A step, or with none the turn, begins anew.
    Reset {
        /// Its number.
        sequence: u64,
        /// The step; empty: the turn.
        step: Option<String>,
        /// Also what was kept goes.
        all: bool,
    },
    /// A step is recorded: its items stay.
    Kept {
        /// Its number.
        sequence: u64,
        /// The step.
        step: String,
    },
    /// Items are missing.
    Gap,
    /// The last word.
    End {
        /// The number of the last entry.
        sequence: u64,
    },
}

impl Seen {
    /// What a reader was given; `None` for what this program does not know.
    pub fn of(event: StreamEvent<u64>) -> Option<Seen> {
        Some(match event {
            StreamEvent::Item {
                sequence,
                step,
                item,
                ..
            } => Seen::Item {
                sequence,
                step: step.map(String::from),
                item,
            },
            StreamEvent::Reset {
                sequence,
                step,
                all,
                ..
            } => Seen::Reset {
                sequence,
                step: step.map(String::from),
                all,
            },
            StreamEvent::Kept { sequence, step, .. } => Seen::Kept {
                sequence,
                step: step.into(),
            },
            StreamEvent::Gap { .. } => Seen::Gap,
            StreamEvent::End { sequence, .. } => Seen::End { sequence },
            _ => return None,
        })
    }

    /// As one word; no step of these tests has a space or a slash in its key.
    pub fn word(&self) -> String {
        let step = |step: &Option<String>| step.clone().unwrap_or_else(|| "-".to_owned());
        match self {
            Seen::Item {
                sequence,
                step: of,
                item,
            } => format!("i/{sequence}/{}/{item}", step(of)),
            Seen::Reset {
                sequence,
                step: of,
                all,
            } => format!("r/{sequence}/{}/{}", step(of), u8::from(*all)),
            Seen::Kept { sequence, step } => format!("k/{sequence}/{step}"),
            Seen::Gap => "g".to_owned(),
            Seen::End { sequence } => format!("e/{sequence}"),
        }
    }

    /// Reads a word back; `None` for anything else.
    pub fn parse(word: &str) -> Option<Seen> {
        let parts: Vec<&str> = word.split('/').collect();
        let step = |text: &str| (text != "-").then(|| text.to_owned());
        Some(match parts[..] {
            ["i", sequence, of, item] => Seen::Item {
                sequence: sequence.parse().ok()?,
                step: step(of),
                item: item.parse().ok()?,
            },
            ["r", sequence, of, all] => Seen::Reset {
                sequence: sequence.parse().ok()?,
                step: step(of),
                all: all == "1",
            },
            ["k", sequence, step] => Seen::Kept {
                sequence: sequence.parse().ok()?,
                step: step.to_owned(),
            },
            ["g"] => Seen::Gap,
            ["e", sequence] => Seen::End {
                sequence: sequence.parse().ok()?,
            },
            _ => return None,
        })
    }
}

/// What a reader holds at the end of a stream.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Shown {
    /// Items of recorded steps, in order.
    pub kept: Vec<u64>,
    /// Items of the last attempt, in order.
    pub open: Vec<u64>,
}

/// Takes a whole stream in, from its first entry to its end.
///
/// # Errors
/// What is wrong with it: a number that does not follow, a gap, a missing end.
pub fn shown(stream: &[Seen]) -> Result<Shown, String> {
    let (mut kept, mut open) = (Vec::new(), Vec::<(Option<&str>, u64)>::new());
    let (mut last, mut ended) = (0, false);
    for seen in stream {
        if ended {
            return Err(format!("{seen:?} comes after the end"));
        }
        match seen {
            Seen::Item {
                sequence,
                step,
                item,
            } => {
                follow(&mut last, *sequence)?;
                open.push((step.as_deref(), *item));
            }
            Seen::Kept { sequence, step } => {
                follow(&mut last, *sequence)?;
                let is_kept = |(owner, _): &(Option<&str>, _)| *owner == Some(step.as_str());
                let (stay, rest) = std::mem::take(&mut open).into_iter().partition(is_kept);
                open = rest;
                kept.extend(Vec::into_iter(stay).map(|(_, item)| item));
            }
            Seen::Reset {
                sequence,
                step,
                all,
            } => {
                follow(&mut last, *sequence)?;
                match step {
                    Some(step) => open.retain(|(owner, _)| *owner != Some(step.as_str())),
                    None => open.clear(),
                }
                if *all {
                    kept.clear();
                }
            }
            Seen::Gap => return Err("items are missing".to_owned()),
            Seen::End { sequence } => {
                if *sequence != last {
                    return Err(format!("it ends with {sequence} after {last}"));
                }
                ended = true;
            }
        }
    }
    if !ended {
        return Err("it has no end".to_owned());
    }
    let open = open.into_iter().map(|(_, item)| item).collect();
    Ok(Shown { kept, open })
}

fn follow(last: &mut u64, sequence: u64) -> Result<(), String> {
    if sequence != *last + 1 {
        return Err(format!("{sequence} follows {last}"));
    }
    *last = sequence;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{Seen, Shown, shown};

    fn stream(words: &str) -> Vec<Seen> {
        let words = words.split(' ').map(Seen::parse);
        let seen: Option<Vec<Seen>> = words.collect();
        let seen = seen.expect("words of a stream");
        let again: Vec<String> = seen.iter().map(Seen::word).collect();
        assert_eq!(
            seen,
            again
                .iter()
                .filter_map(|word| Seen::parse(word))
                .collect::<Vec<_>>()
        );
        seen
    }

    #[test]
    fn what_is_kept_stays_and_what_is_abandoned_goes() {
        let whole =
            stream("i/1/a/1 i/2/-/7 k/3/a r/4/-/0 i/5/-/8 i/6/b/2 r/7/b/0 i/8/b/3 k/9/b e/9");
        let expected = Shown {
            kept: vec![1, 3],
            open: vec![8],
        };
        assert_eq!(shown(&whole), Ok(expected));
    }

    #[test]
    fn what_is_missing_doubled_or_out_of_order_is_told() {
        for broken in [
            "i/1/-/1 i/3/-/2 e/3",
            "i/1/-/1 i/1/-/1 e/1",
            "i/1/-/1",
            "i/1/-/1 e/2",
            "g e/0",
            "e/0 i/1/-/1",
        ] {
            assert!(shown(&stream(broken)).is_err(), "{broken}");
        }
    }
}
