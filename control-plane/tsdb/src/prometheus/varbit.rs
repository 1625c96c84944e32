//! Numbers in streams of bits, as the chunks have them: varints at any bit, the "varbit" integers of histograms,
//! the differences of times, and XORed floats.

use crate::bits::{BitReader, BitWriter};
use crate::bytes::{unzigzag, zigzag};

/// The widths that a prefix of 1, 2, ... ones announces.
const WIDTHS: [u32; 8] = [3, 6, 9, 12, 18, 25, 56, 64];
const TIME_WIDTHS: [u32; 4] = [14, 17, 20, 64];

/// Two's complement of `width` bits, except that the one pattern with only the top bit set is positive.
fn signed(bits: u64, width: u32) -> i64 {
    if width < 64 && bits > 1 << (width - 1) {
        bits.wrapping_sub(1 << width).cast_signed()
    } else {
        bits.cast_signed()
    }
}

fn fits_signed(v: i64, width: u32) -> bool {
    width >= 64 || (v > -(1i64 << (width - 1)) && v <= 1i64 << (width - 1))
}

fn put_prefixed(out: &mut BitWriter, bits: u64, widths: &[u32], index: usize) {
    let ones = u32::try_from(index + 1).unwrap_or(u32::MAX);
    out.put(u64::MAX, ones);
    if index + 1 < widths.len() {
        out.bit(false);
    }
    out.put(bits, widths[index]);
}

fn put_signed(out: &mut BitWriter, v: i64, widths: &[u32]) {
    if v == 0 {
        return out.bit(false);
    }
    let index = widths.iter().position(|w| fits_signed(v, *w)).unwrap_or(widths.len() - 1);
    put_prefixed(out, v.cast_unsigned(), widths, index);
}

/// The bits after the prefix and their width; a lone zero is 0 of width 0.
fn get_prefixed(bits: &mut BitReader<'_>, widths: &[u32]) -> Option<(u64, u32)> {
    let ones = bits.unary(u32::try_from(widths.len()).ok()?)?;
    let Some(index) = ones.checked_sub(1) else { return Some((0, 0)) };
    let width = *widths.get(usize::try_from(index).ok()?)?;
    Some((bits.get(width)?, width))
}

pub(super) fn put_int(out: &mut BitWriter, v: i64) {
    put_signed(out, v, &WIDTHS);
}

pub(super) fn get_int(bits: &mut BitReader<'_>) -> Option<i64> {
    let (v, width) = get_prefixed(bits, &WIDTHS)?;
    Some(if width == 0 { 0 } else { signed(v, width) })
}

pub(super) fn put_uint(out: &mut BitWriter, v: u64) {
    if v == 0 {
        return out.bit(false);
    }
    let index = WIDTHS.iter().position(|w| 64 - v.leading_zeros() <= *w).unwrap_or(WIDTHS.len() - 1);
    put_prefixed(out, v, &WIDTHS, index);
}

pub(super) fn get_uint(bits: &mut BitReader<'_>) -> Option<u64> {
    get_prefixed(bits, &WIDTHS).map(|(v, _)| v)
}

/// The difference of two differences of times, in an XOR chunk.
pub(super) fn put_time(out: &mut BitWriter, v: i64) {
    put_signed(out, v, &TIME_WIDTHS);
}

pub(super) fn get_time(bits: &mut BitReader<'_>) -> Option<i64> {
    let (v, width) = get_prefixed(bits, &TIME_WIDTHS)?;
    Some(if width == 0 { 0 } else { signed(v, width) })
}

pub(super) fn put_uvarint(out: &mut BitWriter, mut v: u64) {
    while v >= 0x80 {
        out.put((v & 0x7f) | 0x80, 8);
        v >>= 7;
    }
    out.put(v, 8);
}

pub(super) fn get_uvarint(bits: &mut BitReader<'_>) -> Option<u64> {
    let mut v = 0u64;
    for shift in (0..64).step_by(7) {
        let b = bits.get(8)?;
        if shift == 63 && b > 1 {
            return None;
        }
        v |= (b & 0x7f) << shift;
        if b < 0x80 {
            return Some(v);
        }
    }
    None
}

pub(super) fn put_varint(out: &mut BitWriter, v: i64) {
    put_uvarint(out, zigzag(v));
}

pub(super) fn get_varint(bits: &mut BitReader<'_>) -> Option<i64> {
    get_uvarint(bits).map(unzigzag)
}

/// A float of a column: the value before, and the window of bits that changed last.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Xor {
    pub(super) value: u64,
    leading: u32,
    trailing: u32,
    /// Whether a window has been written; a reader starts with one of all 64 bits.
    known: bool,
}

impl Xor {
    pub(super) fn first(value: f64) -> Xor {
        Xor { value: value.to_bits(), ..Xor::default() }
    }

    pub(super) fn get(&self) -> f64 {
        f64::from_bits(self.value)
    }

    pub(super) fn put(&mut self, out: &mut BitWriter, value: f64) {
        let changed = self.value ^ value.to_bits();
        self.value = value.to_bits();
        if changed == 0 {
            return out.bit(false);
        }
        out.bit(true);
        // Five bits tell how many zeros lead.
        let (leading, trailing) = (changed.leading_zeros().min(31), changed.trailing_zeros());
        if self.known && leading >= self.leading && trailing >= self.trailing {
            out.bit(false);
            out.put(changed >> self.trailing, 64 - self.leading - self.trailing);
            return;
        }
        (self.leading, self.trailing, self.known) = (leading, trailing, true);
        out.bit(true);
        out.put(u64::from(leading), 5);
        let width = 64 - leading - trailing;
        // 64 does not fit six bits, and 0 is not needed.
        out.put(u64::from(width) & 0x3f, 6);
        out.put(changed >> trailing, width);
    }

    pub(super) fn read(&mut self, bits: &mut BitReader<'_>) -> Option<()> {
        if !bits.bit()? {
            return Some(());
        }
        if bits.bit()? { self.read_window(bits) } else { self.read_same_window(bits) }
    }

    pub(super) fn read_window(&mut self, bits: &mut BitReader<'_>) -> Option<()> {
        let leading = u32::try_from(bits.get(5)?).ok()?;
        let width = u32::try_from(bits.get(6)?).ok()?;
        let width = if width == 0 { 64 } else { width };
        self.trailing = 64u32.checked_sub(leading)?.checked_sub(width)?;
        self.leading = leading;
        self.value ^= bits.get(width)? << self.trailing;
        Some(())
    }

    pub(super) fn read_same_window(&mut self, bits: &mut BitReader<'_>) -> Option<()> {
        self.value ^= bits.get(64 - self.leading - self.trailing)? << self.trailing;
        Some(())
    }
}
