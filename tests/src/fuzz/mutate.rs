//! A mutator that repeats: small changes of the kinds that decoders trip over.

use crate::chance::Chance;

/// Bytes and numbers at the edges of what a decoder expects.
const BYTES: [u8; 6] = [0, 1, 0x7f, 0x80, 0xfe, 0xff];
const NUMBERS: [u64; 8] = [
    0,
    1,
    0x7f,
    0xffff,
    0x7fff_ffff,
    0xffff_ffff,
    1 << 22,
    u64::MAX,
];
/// Most changes at once.
const CHANGES_MAX: u64 = 4;
/// Longest run of bytes that is moved, repeated or dropped.
const RUN_MAX: u64 = 24;

/// Changes bytes by chance.
pub struct Mutator(pub Chance);

impl Mutator {
    /// A few changes; the result may be as before.
    pub fn mutate(&mut self, bytes: &mut Vec<u8>) {
        for _ in 0..=self.0.below(CHANGES_MAX) {
            self.change(bytes);
        }
    }

    /// A place in so many bytes.
    fn place(&mut self, len: usize) -> usize {
        self.0.below(len as u64) as usize
    }

    fn run(&mut self, bytes: &[u8]) -> (usize, usize) {
        let from = self.place(bytes.len());
        let len = 1 + self.0.below(RUN_MAX) as usize;
        (from, (from + len).min(bytes.len()))
    }

    fn change(&mut self, bytes: &mut Vec<u8>) {
        if bytes.is_empty() {
            bytes.push(self.0.below(256) as u8);
            return;
        }
        let at = self.place(bytes.len());
        match self.0.below(9) {
            0 | 1 => bytes[at] ^= 1 << self.0.below(8),
            2 => bytes[at] = BYTES[self.place(BYTES.len())],
            3 => bytes[at] = self.0.below(256) as u8,
            4 => {
                // A number in the middle of whatever is there.
                let width = [2, 4, 8][self.place(3)].min(bytes.len() - at);
                let number = NUMBERS[self.place(NUMBERS.len())].to_le_bytes();
                bytes[at..at + width].copy_from_slice(&number[..width]);
            }
            5 => bytes.insert(at, self.0.below(256) as u8),
            6 => {
                let (from, to) = self.run(bytes);
                bytes.drain(from..to);
            }
            7 => {
                let (from, to) = self.run(bytes);
                let copied = bytes[from..to].to_vec();
                bytes.splice(at..at, copied);
            }
            _ => bytes.truncate(at),
        }
    }
}
