//! One column of numbers in a chunk: integers by difference, other numbers by exclusive or.

use crate::{
    bits::{BitReader, BitWriter},
    bytes::{unzigzag, zigzag},
};
use model::{STALE_NAN_BITS, is_stale_nan};

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Column {
    /// Integers and staleness markers; `stale` tells what the last number was.
    Int { last: i64, stale: bool },
    /// Anything. The last differing bits stood in `width` bits after `leading` zeros.
    Xor { last: u64, leading: u8, width: u8 },
}

/// Integers up to here are exact in a float.
const LIMIT: f64 = 9_007_199_254_740_992.0;

/// The integer that `v` is, unless it is none; -0.0 is none, since its sign would be lost.
#[expect(clippy::cast_possible_truncation, reason = "only within the range where it is exact")]
fn integer(v: f64) -> Option<i64> {
    if !(v > -LIMIT && v < LIMIT) {
        return None;
    }
    let i = v as i64;
    ((i as f64).to_bits() == v.to_bits()).then_some(i)
}

/// Which columns have to leave the integer mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Broken {
    None,
    /// The third column only: a histogram's sum is the one that is seldom an integer.
    Sum,
    All,
}

impl Broken {
    pub(super) fn hits(self, column: usize) -> bool {
        match self {
            Broken::None => false,
            Broken::Sum => column == 2,
            Broken::All => true,
        }
    }

    /// What `next` would break.
    pub(super) fn find(columns: &[Column], next: impl Iterator<Item = f64>) -> Broken {
        let mut broken = Broken::None;
        for (i, (c, v)) in columns.iter().zip(next).enumerate() {
            if matches!(c, Column::Int { .. }) && integer(v).is_none() && !is_stale_nan(v) {
                if i != 2 {
                    return Broken::All;
                }
                broken = Broken::Sum;
            }
        }
        broken
    }

    /// Also what was broken before, so that a second rebuild does not undo the first.
    pub(super) fn and_those_of(self, columns: &[Column]) -> Broken {
        let left = columns.iter().enumerate().any(|(i, c)| i != 2 && matches!(c, Column::Xor { .. }));
        if left && columns.len() > 1 && self == Broken::Sum { Broken::All } else { self }
    }
}

impl Column {
    /// A column that begins with `v`.
    pub(crate) fn new(v: f64, broken: bool) -> Column {
        match integer(v) {
            Some(last) if !broken => Column::Int { last, stale: false },
            _ => Column::Xor { last: v.to_bits(), leading: 0, width: 0 },
        }
    }

    pub(super) fn last_is(&self, v: f64) -> bool {
        match *self {
            Column::Int { stale: true, .. } => is_stale_nan(v),
            Column::Int { last, stale: false } => integer(v) == Some(last),
            Column::Xor { last, .. } => v.to_bits() == last,
        }
    }

    pub(crate) fn put_first(&self, b: &mut BitWriter) {
        match *self {
            Column::Int { last, .. } => {
                b.bit(true);
                put_difference(b, zigzag(last));
            }
            Column::Xor { last, .. } => {
                b.bit(false);
                b.put(last, 64);
            }
        }
    }

    pub(crate) fn get_first(b: &mut BitReader<'_>) -> Option<(Column, f64)> {
        if b.bit()? {
            let last = unzigzag(get_difference(b)??);
            Some((Column::Int { last, stale: false }, last as f64))
        } else {
            let last = b.get(64)?;
            Some((Column::Xor { last, leading: 0, width: 0 }, f64::from_bits(last)))
        }
    }

    /// Appends `v`, which does not break the column.
    pub(crate) fn put(&mut self, b: &mut BitWriter, v: f64) {
        match self {
            Column::Int { last, stale } => match integer(v) {
                Some(i) => {
                    put_difference(b, zigzag(i.wrapping_sub(*last)));
                    (*last, *stale) = (i, false);
                }
                None => {
                    b.put(0b11_1111, 6);
                    *stale = true;
                }
            },
            Column::Xor { last, leading, width } => {
                let bits = v.to_bits();
                let diff = bits ^ *last;
                *last = bits;
                if diff == 0 {
                    return b.bit(false);
                }
                let (lead, trail) = (diff.leading_zeros().min(31), diff.trailing_zeros());
                let (old_lead, old_width) = (u32::from(*leading), u32::from(*width));
                if old_width > 0 && lead >= old_lead && trail >= 64 - old_lead - old_width {
                    b.put(0b10, 2);
                    b.put(diff >> (64 - old_lead - old_width), old_width);
                } else {
                    let w = 64 - lead - trail;
                    b.put(0b11, 2);
                    b.put(u64::from(lead), 5);
                    b.put(u64::from(w - 1), 6);
                    b.put(diff >> trail, w);
                    (*leading, *width) = (lead.to_le_bytes()[0], w.to_le_bytes()[0]);
                }
            }
        }
    }

    pub(crate) fn get(&mut self, b: &mut BitReader<'_>) -> Option<f64> {
        match self {
            Column::Int { last, .. } => match get_difference(b)? {
                Some(change) => {
                    *last = last.wrapping_add(unzigzag(change));
                    Some(*last as f64)
                }
                None => Some(f64::from_bits(STALE_NAN_BITS)),
            },
            Column::Xor { last, leading, width } => {
                if b.bit()? {
                    if b.bit()? {
                        let (lead, w) = (b.get(5)?, b.get(6)? + 1);
                        if lead + w > 64 {
                            return None;
                        }
                        (*leading, *width) = (lead.to_le_bytes()[0], w.to_le_bytes()[0]);
                    } else if *width == 0 {
                        return None;
                    }
                    let (lead, w) = (u32::from(*leading), u32::from(*width));
                    *last ^= b.get(w)? << (64 - lead - w);
                }
                Some(f64::from_bits(*last))
            }
        }
    }
}

fn put_difference(b: &mut BitWriter, v: u64) {
    match v {
        0 => b.bit(false),
        1..=0x10 => {
            b.put(0b10, 2);
            b.put(v - 1, 4);
        }
        0x11..=0xff => {
            b.put(0b110, 3);
            b.put(v, 8);
        }
        0x100..=0x3fff => {
            b.put(0b1110, 4);
            b.put(v, 14);
        }
        0x4000..=0xff_ffff => {
            b.put(0b1_1110, 5);
            b.put(v, 24);
        }
        _ => {
            b.put(0b11_1110, 6);
            b.put(v, 64);
        }
    }
}

/// The difference; inside, `None` is the staleness marker.
fn get_difference(b: &mut BitReader<'_>) -> Option<Option<u64>> {
    match b.unary(6)? {
        0 => Some(Some(0)),
        1 => b.get(4).map(|v| Some(v + 1)),
        2 => b.get(8).map(Some),
        3 => b.get(14).map(Some),
        4 => b.get(24).map(Some),
        5 => b.get(64).map(Some),
        _ => Some(None),
    }
}
