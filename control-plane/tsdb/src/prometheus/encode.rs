//! The samples of a series, encoded into chunks: XOR for floats, histogram chunks for histograms, in integers where
//! all counts are integers.
//!
//! A chunk has at most 120 samples, and a histogram chunk one layout: where buckets come or go, another begins, so
//! that what is read back is what was written. The header of a chunk of counters says what is known of a reset.

mod histogram;

use super::{
    chunk::{FLOAT_HISTOGRAM, HISTOGRAM, XOR},
    error::BlockError,
    varbit::{Xor, put_time, put_uvarint, put_varint},
};
use crate::bits::BitWriter;
use histogram::HistogramChunk;
use model::{SampleColumns, Timestamp};

/// Samples of a chunk, at most.
const MOST_SAMPLES: u16 = 120;

/// A finished chunk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoded {
    /// 1: XOR, 2: histogram, 3: float histogram.
    pub encoding: u8,
    pub min: Timestamp,
    pub max: Timestamp,
    pub data: Vec<u8>,
}

#[derive(Debug)]
enum Open {
    Floats(FloatChunk),
    Histograms(HistogramChunk),
}

/// Encodes all samples, which ascend by time; `keep` chooses the histograms. Gives chunk after chunk to `out`.
///
/// # Errors
/// When `out` gives one, or a histogram contradicts itself.
pub fn encode(
    samples: &SampleColumns,
    keep: impl Fn(&model::Histogram) -> bool,
    mut out: impl FnMut(Encoded) -> Result<(), BlockError>,
) -> Result<(), BlockError> {
    let mut open: Option<Open> = None;
    let mut histograms = samples.histograms.iter().peekable();
    for (i, (at, value)) in samples.times.iter().zip(&samples.values).enumerate() {
        let Some((_, h)) = histograms.next_if(|(n, _)| *n == i) else {
            match &mut open {
                Some(Open::Floats(chunk)) if chunk.count < MOST_SAMPLES => chunk.push(*at, *value),
                _ => {
                    let full = open.replace(Open::Floats(FloatChunk::begin(*at, *value)));
                    full.map_or(Ok(()), |c| out(c.finish()))?;
                }
            }
            continue;
        };
        if !keep(h) {
            continue;
        }
        let header = match &mut open {
            Some(Open::Histograms(chunk)) => match chunk.push(*at, h) {
                Ok(()) => continue,
                Err(header) => header,
            },
            _ => histogram::first_header(h),
        };
        let next = HistogramChunk::begin(*at, h, header).ok_or_else(|| {
            BlockError::Refused(format!("the histogram at {at} has more or fewer buckets than spans"))
        })?;
        let full = open.replace(Open::Histograms(next));
        full.map_or(Ok(()), |c| out(c.finish()))?;
    }
    open.map_or(Ok(()), |c| out(c.finish()))
}

impl Open {
    fn finish(self) -> Encoded {
        match self {
            Open::Floats(c) => c.finish(),
            Open::Histograms(c) => c.finish(),
        }
    }
}

/// The times of a chunk.
#[derive(Debug, Clone, Copy)]
struct Times {
    first: Timestamp,
    last: Timestamp,
    delta: i64,
}

impl Times {
    fn begin(at: Timestamp) -> Times {
        Times { first: at, last: at, delta: 0 }
    }

    /// Goes on to `at`; returns the difference to the time before, and how that differs from the one before it.
    fn step(&mut self, at: Timestamp) -> (i64, i64) {
        let delta = at.wrapping_sub(self.last);
        let change = delta.wrapping_sub(self.delta);
        (self.last, self.delta) = (at, delta);
        (delta, change)
    }
}

#[derive(Debug)]
struct FloatChunk {
    bits: BitWriter,
    times: Times,
    value: Xor,
    count: u16,
}

impl FloatChunk {
    fn begin(at: Timestamp, value: f64) -> FloatChunk {
        let mut bits = BitWriter::after(vec![0; 2]);
        put_varint(&mut bits, at);
        bits.put(value.to_bits(), 64);
        FloatChunk { bits, times: Times::begin(at), value: Xor::first(value), count: 1 }
    }

    fn push(&mut self, at: Timestamp, value: f64) {
        let (delta, change) = self.times.step(at);
        if self.count == 1 {
            put_uvarint(&mut self.bits, delta.cast_unsigned());
        } else {
            put_time(&mut self.bits, change);
        }
        self.value.put(&mut self.bits, value);
        self.count += 1;
    }

    fn finish(self) -> Encoded {
        finish(XOR, self.times, self.count, &self.bits)
    }
}

/// The count goes into the first two bytes.
fn finish(encoding: u8, times: Times, count: u16, bits: &BitWriter) -> Encoded {
    let mut data = bits.bytes().to_vec();
    data.splice(..2, count.to_be_bytes());
    Encoded { encoding, min: times.first, max: times.last, data }
}

#[cfg(test)]
mod tests;
