//! What happened in a world, in order: kept as a digest, and as text where somebody wants to read it.

use std::fmt::Write as _;

/// How long an id is that the engine makes by chance: those differ from run to run.
const MADE: usize = 36;

/// The story of a world.
#[derive(Debug, Default)]
pub struct Trace {
    digest: u64,
    lines: u64,
    /// The lines, if they are wanted.
    text: Option<String>,
}

impl Trace {
    /// Begins the story; whether it is kept as text.
    pub fn new(kept: bool) -> Trace {
        Trace {
            digest: 0xcbf2_9ce4_8422_2325,
            lines: 0,
            text: kept.then(String::new),
        }
    }

    /// One line more.
    pub fn line(&mut self, line: std::fmt::Arguments<'_>) {
        let mut told = String::new();
        // A string takes whatever is written to it.
        let _ = told.write_fmt(line);
        for byte in told.bytes().chain([b'\n']) {
            self.digest = (self.digest ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        self.lines += 1;
        if let Some(text) = &mut self.text {
            text.push_str(&told);
            text.push('\n');
        }
    }

    /// The same for the same story.
    pub fn digest(&self) -> u64 {
        self.digest
    }

    /// How many lines it has.
    pub fn lines(&self) -> u64 {
        self.lines
    }

    /// The lines, if they were kept.
    pub fn take_text(&mut self) -> String {
        self.text.take().unwrap_or_default()
    }
}

/// An id as the trace names it: one that the engine made by chance has another name in every run.
pub fn named(id: &str) -> &str {
    if id.len() == MADE { "made" } else { id }
}
