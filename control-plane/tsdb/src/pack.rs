//! Blocks of up to 64 numbers in as few bits as they need, with exceptions beside them.
//!
//! A block has one width for all; what does not fit, or is no number at all, stands behind as an exception
//! (after PFOR, Zukowski et al., ICDE 2006). So one outlier does not widen its neighbours, and the number in any
//! place is found without reading those before. `FORMAT.md`, "Packed block", has the bytes.

use crate::bytes::{Malformed, Reader, put_ivarint, unzigzag, zigzag};

/// Numbers in one block, at most.
pub(crate) const BLOCK: usize = 64;

/// Wider numbers are exceptions: one load of eight bytes reaches any bit of a narrower one.
const MAX_WIDTH: u32 = 56;

const UNSIGNED: u8 = 0 << 6;
const ZIGZAG: u8 = 1 << 6;
const BASED: u8 = 2 << 6;

const BAD: Malformed = Malformed("packed block");

/// What stands in one place of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Slot {
    Number(i64),
    /// Nothing is there.
    Absent,
    /// The staleness marker.
    Stale,
    /// The bits of a float; what follows goes on from it.
    Reset(u64),
    /// The bits of a float; what follows goes on from what came before.
    Keep(u64),
}

// Kinds of exceptions, the low nibble of their second byte; the high one is the length of a wide number.
const ABSENT: u8 = 0;
const STALE: u8 = 1;
const RESET: u8 = 2;
const KEEP: u8 = 3;
const WIDE: u8 = 4;

/// How a block's numbers are written: the first byte's high bits, the width, what is subtracted from all, and
/// how many bits it takes.
struct Plan {
    mode: u8,
    width: u32,
    base: i64,
    cost: u64,
}

fn bits(v: u64) -> usize {
    64 - v.leading_zeros() as usize
}

/// The cheapest width for numbers of which `lengths[n]` take `n` bits, and none more than `longest`.
fn best_width(lengths: &[u16; 65], longest: usize, count: u64) -> (u32, u64) {
    let (mut best, mut best_cost) = (0, u64::MAX);
    let mut outside = 0u64;
    for width in (0..=width_u32(longest)).rev() {
        let cost = count * u64::from(width) + outside;
        if width <= MAX_WIDTH && cost <= best_cost {
            (best, best_cost) = (width, cost);
        }
        let n = u64::from(lengths[width as usize]);
        outside += n * (16 + u64::from(width.div_ceil(8)) * 8);
        // Nothing is longer yet: going down can only be cheaper or cost exceptions.
        if outside > best_cost {
            break;
        }
    }
    (best, best_cost)
}

fn plan(slots: &[Slot]) -> Plan {
    let mut unsigned = [0u16; 65];
    let (mut min, mut max) = (i64::MAX, i64::MIN);
    let (mut numbers, mut any) = (0u64, 0u64);
    for s in slots {
        let Slot::Number(v) = *s else { continue };
        unsigned[bits(v.cast_unsigned())] += 1;
        any |= v.cast_unsigned();
        (min, max) = (min.min(v), max.max(v));
        numbers += 1;
    }
    let count = slots.len() as u64;
    if numbers == 0 || min == max && min == 0 {
        return Plan { mode: UNSIGNED, width: 0, base: 0, cost: 0 };
    }
    let (width, cost) = best_width(&unsigned, bits(any), count);
    let mut best = Plan { mode: UNSIGNED, width, base: 0, cost };
    if min < 0 {
        let (mut zigzags, mut any) = ([0u16; 65], 0);
        for s in slots {
            let Slot::Number(v) = *s else { continue };
            zigzags[bits(zigzag(v))] += 1;
            any |= zigzag(v);
        }
        let (width, cost) = best_width(&zigzags, bits(any), count);
        if cost < best.cost {
            best = Plan { mode: ZIGZAG, width, base: 0, cost };
        }
    }
    let width = bits(max.abs_diff(min));
    let base_bits = bits(zigzag(min)).div_ceil(7).max(1) as u64 * 8;
    let cost = count * width as u64 + base_bits;
    if width <= MAX_WIDTH as usize && cost < best.cost {
        best = Plan { mode: BASED, width: width_u32(width), base: min, cost };
    }
    best
}

fn width_u32(width: usize) -> u32 {
    u32::try_from(width).unwrap_or(u32::MAX)
}

/// Appends a block of at most [`BLOCK`] slots.
pub(crate) fn put(out: &mut Vec<u8>, slots: &[Slot]) {
    put_planned(out, slots, &plan(slots));
}

/// Appends the blocks of the list that takes fewer bits, the first where both take the same, behind what `begin`
/// writes, which is told whether it is the second.
pub(crate) fn put_shorter(
    out: &mut Vec<u8>,
    one: &[Slot],
    other: &[Slot],
    begin: impl FnOnce(&mut Vec<u8>, bool),
) {
    let plans = |slots: &[Slot]| slots.chunks(BLOCK).map(plan).collect::<Vec<_>>();
    let (first, second) = (plans(one), plans(other));
    let cost = |plans: &[Plan]| plans.iter().map(|p| p.cost).sum::<u64>();
    let is_second = cost(&second) < cost(&first);
    begin(out, is_second);
    let (slots, plans) = if is_second { (other, second) } else { (one, first) };
    for (block, plan) in slots.chunks(BLOCK).zip(&plans) {
        put_planned(out, block, plan);
    }
}

#[expect(clippy::cast_possible_truncation, reason = "places, widths and lengths are below 256")]
fn put_planned(out: &mut Vec<u8>, slots: &[Slot], plan: &Plan) {
    let head = out.len();
    out.push(plan.mode | plan.width as u8);
    out.push(0);
    if plan.mode == BASED {
        put_ivarint(out, plan.base);
    }
    let mut exceptions = [0u8; BLOCK];
    let mut outside = 0;
    let (mut word, mut used) = (0u64, 0u32);
    for (i, s) in slots.iter().enumerate() {
        let coded = match *s {
            Slot::Number(v) => match plan.mode {
                ZIGZAG => zigzag(v),
                BASED => v.wrapping_sub(plan.base).cast_unsigned(),
                _ => v.cast_unsigned(),
            },
            _ => 0,
        };
        let fits = matches!(s, Slot::Number(_)) && coded >> plan.width == 0;
        if !fits {
            exceptions[outside] = i as u8;
            outside += 1;
        } else if plan.width > 0 {
            word |= coded << used;
        }
        used += plan.width;
        if used >= 64 {
            out.extend_from_slice(&word.to_le_bytes());
            used -= 64;
            word = if used > 0 && fits { coded >> (plan.width - used) } else { 0 };
        }
    }
    out.extend_from_slice(&word.to_le_bytes()[..used.div_ceil(8) as usize]);
    out[head + 1] = outside as u8;
    for i in &exceptions[..outside] {
        out.push(*i);
        match slots[usize::from(*i)] {
            Slot::Absent => out.push(ABSENT),
            Slot::Stale => out.push(STALE),
            Slot::Reset(bits) => {
                out.push(RESET);
                out.extend_from_slice(&bits.to_le_bytes());
            }
            Slot::Keep(bits) => {
                out.push(KEEP);
                out.extend_from_slice(&bits.to_le_bytes());
            }
            Slot::Number(v) => {
                let z = zigzag(v);
                let len = bits(z).div_ceil(8);
                out.push(WIDE | (len as u8) << 4);
                out.extend_from_slice(&z.to_le_bytes()[..len]);
            }
        }
    }
}

/// A block that was read so far that its parts are known.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Packed<'a> {
    mode: u8,
    width: u32,
    base: i64,
    bits: &'a [u8],
    exceptions: u8,
    outside: &'a [u8],
}

impl<'a> Packed<'a> {
    /// Reads the parts of a block of `count` slots; the exceptions go to the end of `bytes`.
    pub(crate) fn read(bytes: &'a [u8], count: usize) -> Result<Self, Malformed> {
        let mut r = Reader::new(bytes, "packed block");
        let first = r.u8()?;
        let exceptions = r.u8()?;
        let (mode, width) = (first & 0xc0, u32::from(first & 0x3f));
        if width > MAX_WIDTH || mode == 0xc0 || usize::from(exceptions) > count || count > BLOCK {
            return Err(BAD);
        }
        let base = if mode == BASED { r.ivarint()? } else { 0 };
        let bits = r.take((count * width as usize).div_ceil(8))?;
        let outside = r.take(r.remaining())?;
        Ok(Packed { mode, width, base, bits, exceptions, outside })
    }

    /// Reads a block at the beginning of `r` and goes behind it.
    pub(crate) fn next(r: &mut Reader<'a>, count: usize) -> Result<Self, Malformed> {
        let rest = r.rest();
        let mut block = Self::read(rest, count)?;
        let mut out = Reader::new(block.outside, "packed block");
        for _ in 0..block.exceptions {
            exception(&mut out)?;
        }
        let len = block.outside.len() - out.remaining();
        block.outside = &block.outside[..len];
        let used = rest.len() - out.remaining();
        r.take(used)?;
        Ok(block)
    }

    fn number(&self, coded: u64) -> i64 {
        match self.mode {
            ZIGZAG => unzigzag(coded),
            BASED => self.base.wrapping_add(coded.cast_signed()),
            _ => coded.cast_signed(),
        }
    }

    /// What stands in place `i`.
    pub(crate) fn get(&self, i: usize) -> Result<Slot, Malformed> {
        let mut r = Reader::new(self.outside, "packed block");
        for _ in 0..self.exceptions {
            let (place, slot) = exception(&mut r)?;
            match place.cmp(&i) {
                std::cmp::Ordering::Less => {}
                std::cmp::Ordering::Equal => return Ok(slot),
                std::cmp::Ordering::Greater => break,
            }
        }
        let bit = i * self.width as usize;
        let coded =
            if self.width == 0 { 0 } else { load(self.bits, bit / 8) >> (bit % 8) & mask(self.width) };
        Ok(Slot::Number(self.number(coded)))
    }

    /// Calls `take` with the place and the number of each of `count` slots, as if there were no exceptions.
    #[inline]
    fn each(&self, count: usize, mut take: impl FnMut(usize, i64)) -> Result<(), Malformed> {
        let mut padded = [0u8; BLOCK * 7 + 8];
        padded.get_mut(..self.bits.len()).ok_or(BAD)?.copy_from_slice(self.bits);
        let (width, mask) = (self.width as usize, mask(self.width));
        for i in 0..count.min(BLOCK) {
            let bit = i * width;
            let bytes = padded.get(bit / 8..bit / 8 + 8).and_then(|b| b.try_into().ok()).unwrap_or_default();
            take(i, self.number(u64::from_le_bytes(bytes) >> (bit % 8) & mask));
        }
        Ok(())
    }

    /// The numbers of a block in which every slot has one; `false` when there are exceptions.
    pub(crate) fn numbers(&self, out: &mut [i64]) -> Result<bool, Malformed> {
        if self.exceptions == 0 {
            self.each(out.len(), |i, n| out[i] = n)?;
        }
        Ok(self.exceptions == 0)
    }

    /// Puts all slots into `out`, whose length tells how many there are.
    pub(crate) fn all(&self, out: &mut [Slot]) -> Result<(), Malformed> {
        self.each(out.len(), |i, n| out[i] = Slot::Number(n))?;
        let mut r = Reader::new(self.outside, "packed block");
        let mut last = None;
        for _ in 0..self.exceptions {
            let (place, slot) = exception(&mut r)?;
            if last.is_some_and(|l| place <= l) {
                return Err(BAD);
            }
            *out.get_mut(place).ok_or(BAD)? = slot;
            last = Some(place);
        }
        Ok(())
    }
}

fn mask(width: u32) -> u64 {
    (1u64 << width) - 1
}

/// Eight bytes from `at`, as far as they are there.
fn load(bytes: &[u8], at: usize) -> u64 {
    if let Some(eight) = bytes.get(at..at + 8) {
        return u64::from_le_bytes(eight.try_into().unwrap_or_default());
    }
    let mut some = [0u8; 8];
    let rest = bytes.get(at..).unwrap_or_default();
    some[..rest.len()].copy_from_slice(rest);
    u64::from_le_bytes(some)
}

fn exception(r: &mut Reader<'_>) -> Result<(usize, Slot), Malformed> {
    let place = usize::from(r.u8()?);
    let kind = r.u8()?;
    let slot = match kind & 0x0f {
        ABSENT => Slot::Absent,
        STALE => Slot::Stale,
        RESET => Slot::Reset(r.u64()?),
        KEEP => Slot::Keep(r.u64()?),
        WIDE => {
            let bytes = r.take(usize::from(kind >> 4))?;
            let mut z = [0u8; 8];
            z.get_mut(..bytes.len()).ok_or(BAD)?.copy_from_slice(bytes);
            Slot::Number(unzigzag(u64::from_le_bytes(z)))
        }
        _ => return Err(BAD),
    };
    Ok((place, slot))
}

#[cfg(test)]
mod tests;
