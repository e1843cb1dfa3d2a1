//! Chance for the moments at which programs are killed.

/// `xorshift64*`: the moments of the kills need no better chance.
pub struct Chance(pub u64);

impl Chance {
    /// A number below the bound.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 |= 1;
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) % bound.max(1)
    }
}
