//! Rows in the log: each number in about as many bits as its column needed lately.
//!
//! A column keeps a guess of how long its differences are; a number is written in Golomb-Rice code under it (Rice
//! and Plaunt, 1971) and moves the guess. Writer and reader keep the same guesses, so nothing is told about them;
//! what does not fit is escaped. Only whole rows can be read, one after the other, which is what a log is for.
//! `FORMAT.md`, "Told row", has the bits.

use crate::{
    bytes::{Malformed, unzigzag, zigzag},
    pack::Slot,
};

const BAD: Malformed = Malformed("told row");

/// Quotients from here on are escaped.
const ESCAPE: u32 = 12;
/// The longest remainder.
const MAX_SHIFT: u16 = 56;

// After an escape of length 0.
const ABSENT: u64 = 0;
const STALE: u64 = 1;
const RESET: u64 = 2;
const KEEP: u64 = 3;
const NEGATIVE: u64 = 4;

/// What is expected of a column's next difference: its length in bits, in 256ths; the top bit says that one was
/// negative.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Guess(u16);

const SIGNED: u16 = 1 << 15;

impl Default for Guess {
    /// Four bits.
    fn default() -> Self {
        Guess(4 << 8)
    }
}

impl Guess {
    fn signed(self) -> bool {
        self.0 & SIGNED != 0
    }

    fn length(self) -> u16 {
        self.0 & !SIGNED
    }

    fn shift(self) -> u32 {
        u32::from((self.length() >> 8).min(MAX_SHIFT))
    }

    /// Learns from a difference.
    pub(crate) fn learn(&mut self, change: i64) {
        let signed = self.signed() || change < 0;
        let coded = if signed { zigzag(change) } else { change.cast_unsigned() };
        let length = i32::from(self.length());
        let bits = i32::try_from(64 - coded.leading_zeros()).unwrap_or(64) << 8;
        let next = u16::try_from(length + ((bits - length) >> 2)).unwrap_or(0);
        self.0 = next | if signed { SIGNED } else { 0 };
    }
}

/// Appends bits, the lowest of a byte first.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    out: Vec<u8>,
    word: u64,
    used: u32,
}

impl Writer {
    pub(crate) fn with_capacity(bytes: usize) -> Writer {
        Writer { out: Vec::with_capacity(bytes), ..Writer::default() }
    }

    /// The low `n` bits of `v`, which has no others; at most 57.
    #[inline]
    fn put(&mut self, v: u64, n: u32) {
        self.word |= v << self.used;
        self.used += n;
        if self.used >= 64 {
            self.out.extend_from_slice(&self.word.to_le_bytes());
            self.used -= 64;
            self.word = if self.used == 0 { 0 } else { v >> (n - self.used) };
        }
    }

    fn put_64(&mut self, v: u64) {
        self.put(v & 0xffff_ffff, 32);
        self.put(v >> 32, 32);
    }

    fn escape(&mut self, length: u64) {
        self.put((1 << ESCAPE) - 1, ESCAPE);
        self.put(length, 6);
    }

    fn special(&mut self, kind: u64) {
        self.escape(0);
        self.put(kind, 3);
    }

    /// Writes a slot under a guess, and lets the guess learn from it.
    #[inline]
    pub(crate) fn slot(&mut self, slot: Slot, guess: &mut Guess) {
        match slot {
            Slot::Number(change) => {
                if change < 0 && !guess.signed() {
                    self.special(NEGATIVE);
                    self.put_64(zigzag(change));
                } else {
                    let coded = if guess.signed() { zigzag(change) } else { change.cast_unsigned() };
                    let shift = guess.shift();
                    let quotient = coded >> shift;
                    if quotient < u64::from(ESCAPE) {
                        let ones = (1u64 << quotient) - 1;
                        self.put(ones, u32::try_from(quotient).unwrap_or(0) + 1);
                        self.put(coded & ((1 << shift) - 1), shift);
                    } else {
                        let length = 64 - coded.leading_zeros();
                        if length < 63 {
                            self.escape(u64::from(length));
                            self.put(coded & 0xffff_ffff & mask(length.min(32)), length.min(32));
                            if length > 32 {
                                self.put(coded >> 32, length - 32);
                            }
                        } else {
                            self.escape(63);
                            self.put_64(coded);
                        }
                    }
                }
                guess.learn(change);
            }
            Slot::Absent => self.special(ABSENT),
            Slot::Stale => self.special(STALE),
            Slot::Reset(bits) => {
                self.special(RESET);
                self.put_64(bits);
            }
            Slot::Keep(bits) => {
                self.special(KEEP);
                self.put_64(bits);
            }
        }
    }

    pub(crate) fn finish(mut self) -> Vec<u8> {
        let rest = self.used.div_ceil(8) as usize;
        self.out.extend_from_slice(&self.word.to_le_bytes()[..rest]);
        self.out
    }
}

fn mask(n: u32) -> u64 {
    if n >= 64 { u64::MAX } else { (1 << n) - 1 }
}

/// Reads what [`Writer`] wrote.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    /// The next bit.
    at: usize,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Reader { bytes, at: 0 }
    }

    /// The bits from here on, 57 at least as far as they are there; zeros follow.
    #[inline]
    fn window(&self) -> u64 {
        let at = self.at / 8;
        let word = match self.bytes.get(at..at + 8) {
            Some(eight) => u64::from_le_bytes(eight.try_into().unwrap_or_default()),
            None => {
                let mut some = [0u8; 8];
                let rest = self.bytes.get(at..).unwrap_or_default();
                some[..rest.len()].copy_from_slice(rest);
                u64::from_le_bytes(some)
            }
        };
        word >> (self.at % 8)
    }

    #[inline]
    fn take(&mut self, n: u32) -> Result<u64, Malformed> {
        let v = self.window() & mask(n);
        self.skip(n)?;
        Ok(v)
    }

    #[inline]
    fn skip(&mut self, n: u32) -> Result<(), Malformed> {
        self.at += n as usize;
        if self.at > self.bytes.len() * 8 { Err(BAD) } else { Ok(()) }
    }

    fn take_64(&mut self) -> Result<u64, Malformed> {
        Ok(self.take(32)? | self.take(32)? << 32)
    }

    /// The next slot under its column's guess, which learns from it.
    #[inline]
    pub(crate) fn slot(&mut self, guess: &mut Guess) -> Result<Slot, Malformed> {
        let quotient = self.window().trailing_ones().min(ESCAPE);
        let change = if quotient < ESCAPE {
            self.skip(quotient + 1)?;
            let shift = guess.shift();
            let coded = u64::from(quotient) << shift | self.take(shift)?;
            if guess.signed() { unzigzag(coded) } else { coded.cast_signed() }
        } else {
            self.skip(ESCAPE)?;
            match self.take(6)? {
                0 => match self.take(3)? {
                    ABSENT => return Ok(Slot::Absent),
                    STALE => return Ok(Slot::Stale),
                    RESET => return self.take_64().map(Slot::Reset),
                    KEEP => return self.take_64().map(Slot::Keep),
                    NEGATIVE => unzigzag(self.take_64()?),
                    _ => return Err(BAD),
                },
                length => {
                    let length = u32::try_from(length).unwrap_or(63);
                    let coded = match length {
                        63 => self.take_64()?,
                        n if n > 32 => self.take(32)? | self.take(n - 32)? << 32,
                        n => self.take(n)?,
                    };
                    if guess.signed() { unzigzag(coded) } else { coded.cast_signed() }
                }
            }
        };
        guess.learn(change);
        Ok(Slot::Number(change))
    }

    /// Whether only the filling of the last byte is left.
    pub(crate) fn is_done(&self) -> bool {
        self.bytes.len() == self.at.div_ceil(8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn slot() -> impl Strategy<Value = Slot> {
        prop_oneof![
            8 => (0i64..500).prop_map(Slot::Number),
            4 => (-100i64..100).prop_map(Slot::Number),
            2 => (any::<i64>(), 0u32..64).prop_map(|(v, s)| Slot::Number(v >> s)),
            1 => Just(Slot::Absent),
            1 => Just(Slot::Stale),
            1 => any::<u64>().prop_map(Slot::Reset),
            1 => any::<u64>().prop_map(Slot::Keep),
        ]
    }

    proptest! {
        #[test]
        fn slots_come_back_and_both_sides_learn_the_same(slots in prop::collection::vec(slot(), 0..200)) {
            // Few columns, so that each has a history.
            let mut guesses = [Guess::default(); 3];
            let mut writer = Writer::default();
            for (i, s) in slots.iter().enumerate() {
                writer.slot(*s, &mut guesses[i % 3]);
            }
            let bytes = writer.finish();
            let (mut reader, mut again) = (Reader::new(&bytes), [Guess::default(); 3]);
            for (i, s) in slots.iter().enumerate() {
                prop_assert_eq!(reader.slot(&mut again[i % 3]), Ok(*s));
            }
            prop_assert!(reader.is_done());
            prop_assert_eq!(again, guesses);
        }

        #[test]
        fn any_bits_are_an_error_or_slots(bytes: Vec<u8>) {
            let (mut reader, mut guess) = (Reader::new(&bytes), Guess::default());
            for _ in 0..bytes.len() * 8 + 1 {
                if reader.slot(&mut guess).is_err() {
                    break;
                }
            }
            prop_assert!(reader.slot(&mut guess).is_err() || !bytes.is_empty());
        }
    }

    #[test]
    fn a_steady_counter_takes_a_bit_more_than_its_length() {
        let mut guess = Guess::default();
        let mut writer = Writer::default();
        for i in 0..1000u32 {
            writer.slot(Slot::Number(i64::from(i % 16)), &mut guess);
        }
        let bits = writer.finish().len() * 8;
        assert!(bits < 1000 * 6, "{bits}");
    }
}
