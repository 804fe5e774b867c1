//! Values that programs get wrong, and bytes that are almost those that were written.

use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

/// Numbers at which something ends.
const EDGES: [i64; 26] = [
    0,
    1,
    2,
    3,
    -1,
    -2,
    7,
    8,
    9,
    100,
    127,
    128,
    255,
    256,
    16_383,
    16_384,
    65_535,
    65_536,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    0x1_0000_0000,
    -0x8000_0000,
    i64::MAX,
    i64::MIN,
    1 << 53,
];

/// Where everything that is random in a run comes from.
#[derive(Debug)]
pub struct Chance(StdRng);

impl Chance {
    /// The same values in the same order for the same seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(StdRng::seed_from_u64(seed))
    }

    /// A number below `end`; 0 where there is none.
    pub fn below(&mut self, end: usize) -> usize {
        if end == 0 { 0 } else { self.0.random_range(0..end) }
    }

    /// True once in so many times.
    pub fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    /// One of these.
    pub fn of<'a, T>(&mut self, values: &'a [T]) -> Option<&'a T> {
        values.get(self.below(values.len()))
    }

    /// Any number, mostly one at which something ends.
    pub fn number(&mut self) -> i64 {
        let edge = EDGES[self.below(EDGES.len())];
        match self.below(8) {
            0 => self.0.random(),
            1 => edge.wrapping_add(self.0.random_range(-2..=2)),
            _ => edge,
        }
    }

    /// Any number with a point, and what is none.
    pub fn real(&mut self) -> f64 {
        const REALS: [f64; 9] =
            [0.0, -0.0, 1.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MAX, f64::MIN_POSITIVE, 1e-320];
        if self.once_in(4) { self.number() as f64 } else { REALS[self.below(REALS.len())] }
    }

    /// Any bytes.
    pub fn bytes(&mut self, longest: usize) -> Vec<u8> {
        let mut bytes = vec![0; self.below(longest + 1)];
        self.0.fill(&mut bytes[..]);
        bytes
    }

    /// The same bytes with a few faults: turned bits, lengths that cannot be, parts that are missing, twice or elsewhere.
    pub fn spoil(&mut self, bytes: &mut Vec<u8>) {
        for _ in 0..=self.below(4) {
            self.spoil_once(bytes);
        }
    }

    fn spoil_once(&mut self, bytes: &mut Vec<u8>) {
        let at = self.place(bytes.len());
        let end = (at + 1 + self.below(32)).min(bytes.len());
        match self.below(9) {
            0 => bytes.truncate(at),
            1 => bytes.extend(self.bytes(16)),
            2 => drop(bytes.drain(at..end)),
            3 => {
                let part = bytes[at..end].to_vec();
                let to = self.below(bytes.len() + 1);
                bytes.splice(to..to, part);
            }
            4 => {
                // As fixed numbers are written.
                let number = self.number().to_le_bytes();
                let width = [1, 2, 4, 8][self.below(4)];
                for (place, byte) in bytes[at..].iter_mut().zip(&number[..width]) {
                    *place = *byte;
                }
            }
            5 => {
                // As Protobuf, Thrift and Avro write theirs.
                let mut number = self.number().cast_unsigned();
                let mut written = Vec::new();
                while number > 0x7f {
                    written.push((number & 0x7f) as u8 | 0x80);
                    number >>= 7;
                }
                written.push(number as u8);
                let over = if self.once_in(2) { (at + 1).min(bytes.len()) } else { at };
                bytes.splice(at..over, written);
            }
            6 => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << self.below(8);
                }
            }
            _ => {
                let new = self.bytes(1).first().copied().unwrap_or(0xff);
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = new;
                }
            }
        }
    }

    /// Mostly near an end: heads and footers say how long everything else is.
    fn place(&mut self, len: usize) -> usize {
        match self.below(3) {
            0 => self.below(len.min(64)),
            1 => len - self.below(len.min(400)).min(len),
            _ => self.below(len),
        }
        .min(len)
    }
}
