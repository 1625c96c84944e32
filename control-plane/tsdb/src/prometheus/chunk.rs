//! The samples of one chunk, decoded into columns.
//!
//! Encodings: XOR (1), histogram (2), float histogram (3) and XOR2 (4), which may carry start times. Others are
//! refused by name. A chunk never makes more memory than [`MOST_BUCKETS`] buckets, whatever it claims.

mod histogram;
mod xor2;

use super::varbit::{Xor, get_time, get_uvarint, get_varint};
use crate::bits::BitReader;
use model::{Histogram, SampleColumns, Timestamp, Value};
use std::sync::Arc;

pub(super) const XOR: u8 = 1;
pub(super) const HISTOGRAM: u8 = 2;
pub(super) const FLOAT_HISTOGRAM: u8 = 3;
pub(super) const XOR2: u8 = 4;

/// Buckets that the histograms of one chunk may have together.
pub(super) const MOST_BUCKETS: usize = 4 << 20;

/// Why a chunk does not decode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fault {
    /// The bits end before the samples do, or make no sense.
    Malformed(&'static str),
    /// Sound, perhaps, but not known here.
    Unknown(String),
}

impl Fault {
    pub(super) fn cut() -> Fault {
        Fault::Malformed("its samples end too early")
    }
}

/// Takes the samples of a series, chunk after chunk.
#[derive(Debug)]
pub(super) struct Taker<'a> {
    pub(super) into: &'a mut SampleColumns,
    /// What is wanted, both ends inclusive.
    pub(super) wanted: (Timestamp, Timestamp),
    /// What the index says of the chunk at hand.
    pub(super) claimed: (Timestamp, Timestamp),
    /// Deleted ranges, both ends inclusive.
    pub(super) deleted: &'a [(Timestamp, Timestamp)],
    pub(super) last: Option<Timestamp>,
    /// Buckets of the histograms taken.
    pub(super) buckets: usize,
}

impl Taker<'_> {
    /// Whether the sample at `at` is to be kept.
    fn wants(&mut self, at: Timestamp) -> Result<bool, Fault> {
        if at < self.claimed.0 || at > self.claimed.1 {
            return Err(Fault::Malformed("a sample lies outside the times that the index gives"));
        }
        if self.last.is_some_and(|last| at <= last) {
            return Err(Fault::Malformed("its times do not ascend"));
        }
        self.last = Some(at);
        let inside = at >= self.wanted.0 && at <= self.wanted.1;
        Ok(inside && !self.deleted.iter().any(|(from, to)| at >= *from && at <= *to))
    }

    fn float(&mut self, at: Timestamp, start: Option<Timestamp>, value: f64) -> Result<(), Fault> {
        if self.wants(at)? {
            self.into.push(at, Value::Float(value), start);
        }
        Ok(())
    }

    fn histogram(&mut self, at: Timestamp, make: impl FnOnce() -> Histogram) -> Result<(), Fault> {
        if self.wants(at)? {
            let made = make();
            self.buckets += made.positive.len() + made.negative.len();
            self.into.push(at, Value::Histogram(Arc::new(made)), None);
        }
        Ok(())
    }
}

/// Decodes the data of a chunk, which its checksum has confirmed.
pub(super) fn decode(encoding: u8, data: &[u8], taker: &mut Taker<'_>) -> Result<(), Fault> {
    match encoding {
        XOR => decode_xor(data, taker),
        HISTOGRAM => histogram::decode::<histogram::Integer>(data, taker),
        FLOAT_HISTOGRAM => histogram::decode::<Xor>(data, taker),
        XOR2 => xor2::decode(data, taker),
        5.. => Err(Fault::Unknown(format!(
            "chunk encoding {encoding} is not known here: XOR (1), histogram (2), float histogram (3) and XOR2 (4) \
             are; histograms with start times and other encodings of a newer Prometheus are not read"
        ))),
        0 => Err(Fault::Malformed("chunk encoding 0 stands for none")),
    }
}

/// The number of samples, and what follows it.
fn counted(data: &[u8]) -> Result<(u16, &[u8]), Fault> {
    let (head, rest) = data.split_first_chunk().ok_or_else(Fault::cut)?;
    Ok((u16::from_be_bytes(*head), rest))
}

fn decode_xor(data: &[u8], taker: &mut Taker<'_>) -> Result<(), Fault> {
    let (count, rest) = counted(data)?;
    let mut bits = BitReader::new(rest);
    let (mut at, mut delta, mut value) = (0i64, 0i64, Xor::default());
    for n in 0..count {
        let read = match n {
            0 => get_varint(&mut bits).and_then(|t| {
                at = t;
                value = Xor::first(f64::from_bits(bits.get(64)?));
                Some(())
            }),
            1 => get_uvarint(&mut bits).and_then(|d| {
                delta = d.cast_signed();
                value.read(&mut bits)
            }),
            _ => get_time(&mut bits).and_then(|change| {
                delta = delta.wrapping_add(change);
                value.read(&mut bits)
            }),
        };
        read.ok_or_else(Fault::cut)?;
        if n > 0 {
            at = at.wrapping_add(delta);
        }
        taker.float(at, None, value.get())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
