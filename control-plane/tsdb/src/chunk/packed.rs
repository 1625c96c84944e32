//! A column of floats, and a column of times, in packed blocks.
//!
//! Numbers that are decimals of one exponent are told by their differences or by their distance from the first,
//! whichever is shorter; any others by the bits in which they differ from the one before. Every bit comes back.
//! `FORMAT.md`, "Packed column", has the bytes.

use super::column::Column;
use crate::{
    bits::{BitReader, BitWriter},
    bytes::{Malformed, Reader, put_ivarint, put_uvarint},
    decimal::{self, MAX_EXPONENT},
    pack::{self, BLOCK, Packed, Slot},
    row::{ABSENT, RAW, State},
};
use model::{STALE_NAN_BITS, Timestamp};

const BAD: Malformed = Malformed("packed column");

/// Set in the exponent's byte: numbers are told by their distance from the first.
const LEVEL: u8 = 0x40;
/// The byte of a column that is no decimals.
const BITS: u8 = 0xff;

/// Appends times that ascend; the first is known from elsewhere.
pub(crate) fn put_times(out: &mut Vec<u8>, times: &[Timestamp]) {
    let [first, second, ..] = times else { return };
    let mut delta = second.wrapping_sub(*first);
    put_ivarint(out, delta);
    if times.len() == 2 {
        return;
    }
    let regular = times.windows(2).all(|w| w[1].wrapping_sub(w[0]) == delta);
    out.push(u8::from(!regular));
    if regular {
        return;
    }
    let mut slots = Vec::with_capacity(times.len());
    for pair in times[1..].windows(2) {
        let next = pair[1].wrapping_sub(pair[0]);
        slots.push(Slot::Number(next.wrapping_sub(delta)));
        delta = next;
    }
    for block in slots.chunks(BLOCK) {
        pack::put(out, block);
    }
}

/// Reads `count` times from `first` on; they ascend strictly, or the bytes are damaged.
pub(crate) fn get_times(
    r: &mut Reader<'_>,
    first: Timestamp,
    count: usize,
    out: &mut Vec<Timestamp>,
) -> Result<(), Malformed> {
    if count == 0 {
        return Ok(());
    }
    out.push(first);
    if count == 1 {
        return Ok(());
    }
    let mut delta = r.ivarint()?;
    let mut at = first;
    let mut step = |delta: i64| {
        let next = at.checked_add(delta).filter(|next| *next > at).ok_or(BAD)?;
        at = next;
        out.push(next);
        Ok::<_, Malformed>(())
    };
    step(delta)?;
    let mut left = count - 2;
    if left == 0 {
        return Ok(());
    }
    match r.u8()? {
        0 => return (0..left).try_for_each(|_| step(delta)),
        1 => {}
        _ => return Err(BAD),
    }
    let mut slots = [Slot::Absent; BLOCK];
    while left > 0 {
        let n = left.min(BLOCK);
        Packed::next(r, n)?.all(&mut slots[..n])?;
        for slot in &slots[..n] {
            let Slot::Number(change) = slot else { return Err(BAD) };
            delta = delta.wrapping_add(*change);
            step(delta)?;
        }
        left -= n;
    }
    Ok(())
}

/// The exponent under which most numbers of a column are integers, or `None` when too few are.
fn exponent(values: &[f64]) -> Option<u8> {
    let (mut e, mut others) = (0, 0usize);
    for v in values {
        if decimal::scaled(*v, e).is_some() {
            continue;
        }
        match decimal::find(*v, e) {
            Some((_, found)) => e = found,
            None if matches!(v.to_bits(), STALE_NAN_BITS) || v.to_bits() == ABSENT.to_bits() => {}
            None => {
                others += 1;
                if others > 1 + values.len() / 16 {
                    return None;
                }
            }
        }
    }
    Some(e)
}

/// Appends a column of floats; [`ABSENT`] stands where there is none.
pub(crate) fn put_values(out: &mut Vec<u8>, values: &[f64]) {
    let Some(e) = exponent(values) else { return put_bits(out, values) };
    let first = values.iter().find_map(|v| decimal::scaled(*v, e)).unwrap_or(0);
    let (mut deltas, mut levels) = (Vec::with_capacity(values.len()), Vec::with_capacity(values.len()));
    let mut last = first;
    for v in values {
        let (delta, level) = match decimal::scaled(*v, e) {
            Some(m) => {
                let delta = m.wrapping_sub(last);
                last = m;
                (Slot::Number(delta), Slot::Number(m.wrapping_sub(first)))
            }
            None => {
                let guest = match v.to_bits() {
                    STALE_NAN_BITS => Slot::Stale,
                    bits if bits == ABSENT.to_bits() => Slot::Absent,
                    bits => Slot::Keep(bits),
                };
                (guest, guest)
            }
        };
        deltas.push(delta);
        levels.push(level);
    }
    // The column begins one usual step before its first number, so that this one is told like the others.
    let mut numbers = deltas.iter_mut().filter(|s| matches!(s, Slot::Number(_)));
    let mut before = first;
    if let (Some(begin), Some(Slot::Number(step))) = (numbers.next(), numbers.next()) {
        *begin = Slot::Number(*step);
        before = first.wrapping_sub(*step);
    }
    pack::put_shorter(out, &deltas, &levels, |out, by_level| {
        out.push(if by_level { e | LEVEL } else { e });
        put_ivarint(out, if by_level { first } else { before });
    });
}

fn put_bits(out: &mut Vec<u8>, values: &[f64]) {
    out.push(BITS);
    let mut bits = BitWriter::default();
    let mut column: Option<Column> = None;
    for v in values {
        match &mut column {
            Some(c) => c.put(&mut bits, *v),
            None => column.insert(Column::new(*v, true)).put_first(&mut bits),
        }
    }
    put_uvarint(out, bits.bytes().len() as u64);
    out.extend_from_slice(bits.bytes());
}

/// Hands out the `count` numbers of a column.
pub(crate) fn get_values(
    r: &mut Reader<'_>,
    count: usize,
    mut take: impl FnMut(f64),
) -> Result<(), Malformed> {
    let kind = r.u8()?;
    if kind == BITS {
        let len = r.count()?;
        let mut bits = BitReader::new(r.take(len)?);
        let mut column: Option<Column> = None;
        for _ in 0..count {
            take(match &mut column {
                Some(c) => c.get(&mut bits).ok_or(BAD)?,
                None => {
                    let (c, v) = Column::get_first(&mut bits).ok_or(BAD)?;
                    column = Some(c);
                    v
                }
            });
        }
        return Ok(());
    }
    let e = kind & !LEVEL;
    if e > MAX_EXPONENT {
        return Err(BAD);
    }
    let first = r.ivarint()?;
    let mut state = State { m: first, e };
    debug_assert!(e != RAW);
    let mut slots = [Slot::Absent; BLOCK];
    let mut numbers = [0i64; BLOCK];
    let mut left = count;
    while left > 0 {
        let n = left.min(BLOCK);
        left -= n;
        let block = Packed::next(r, n)?;
        // The usual case: numbers only.
        if block.numbers(&mut numbers[..n])? {
            let by_level = kind & LEVEL != 0;
            for number in &numbers[..n] {
                if by_level {
                    take(decimal::number(first.wrapping_add(*number), e));
                } else {
                    state.m = state.m.wrapping_add(*number);
                    take(decimal::number(state.m, e));
                }
            }
            continue;
        }
        block.all(&mut slots[..n])?;
        for slot in &slots[..n] {
            take(match slot {
                Slot::Number(level) if kind & LEVEL != 0 => decimal::number(first.wrapping_add(*level), e),
                Slot::Reset(_) => return Err(BAD),
                slot => state.apply(*slot),
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
