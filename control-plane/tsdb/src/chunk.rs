//! Chunks: the samples of one series over a stretch of time, compressed.
//!
//! A chunk holds floats (one column of numbers) or histograms of one layout (a column each for count, zero
//! count, sum and every bucket). Times are deltas of deltas. A column whose numbers are all integers stores
//! differences; any other stores the bits in which a number differs from the one before it (after Gorilla,
//! Pelkonen et al., VLDB 2015). Every bit of every number comes back, NaNs and their payloads included.
//! `FORMAT.md`, "Chunk", has the bits. Invariant: times ascend strictly.

mod column;
mod layout;
pub(crate) mod packed;

use crate::{
    bits::{BitReader, BitWriter},
    bytes::{Malformed, Reader, put_ivarint, put_uvarint, unzigzag, zigzag},
};
use column::{Broken, Column};
pub(crate) use layout::{check_histogram, get_histogram, put_histogram};
use layout::{get_layout, put_layout, same_layout};
use model::{Histogram, Timestamp, Value};
use std::sync::Arc;

const HISTOGRAM: u8 = 1;
const STARTS: u8 = 2;
const PACKED: u8 = 4;

/// Samples after which a chunk is full.
pub(crate) const MAX_SAMPLES: u16 = 240;
/// Bytes after which a chunk is full; only histograms reach it first.
const MAX_BYTES: usize = 4096;

/// A finished chunk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Chunk {
    flags: u8,
    count: u16,
    pub(crate) min: Timestamp,
    pub(crate) max: Timestamp,
    data: Box<[u8]>,
}

impl Chunk {
    pub(crate) fn overlaps(&self, start: Timestamp, end: Timestamp) -> bool {
        self.min <= end && self.max >= start
    }

    /// `base` is a time that the reader knows, near to which the chunk begins.
    pub(crate) fn put(&self, out: &mut Vec<u8>, base: Timestamp) {
        put_parts(
            out,
            self.flags,
            self.count,
            (self.min.wrapping_sub(base), self.max.wrapping_sub(base)),
            &self.data,
        );
    }

    /// Reads what [`Chunk::put`] wrote. The samples inside are checked only when they are decoded.
    pub(crate) fn get(r: &mut Reader<'_>, base: Timestamp) -> Result<Chunk, Malformed> {
        let bad = r.bad();
        let flags = r.u8()?;
        let count = u16::try_from(r.uvarint()?).map_err(|_| bad)?;
        let min = r.ivarint()?.wrapping_add(base);
        let span = i64::try_from(r.uvarint()?).map_err(|_| bad)?;
        let max = min.checked_add(span).ok_or(bad)?;
        let len = r.count()?;
        let data = r.take(len)?.into();
        if flags & !(HISTOGRAM | STARTS) != 0 && flags != PACKED || count == 0 {
            return Err(bad);
        }
        Ok(Chunk { flags, count, min, max, data })
    }

    pub(crate) fn samples(&self) -> Samples<'_> {
        Samples::new(self.flags, self.count, self.min, &self.data)
    }

    pub(crate) fn count(&self) -> u16 {
        self.count
    }

    /// A chunk of floats without start times; `times` ascend strictly, 1 to 65,535 of them.
    pub(crate) fn pack(times: &[Timestamp], values: &[f64]) -> Chunk {
        let mut data = Vec::with_capacity(values.len() + 16);
        packed::put_times(&mut data, times);
        packed::put_values(&mut data, values);
        Chunk {
            flags: PACKED,
            count: u16::try_from(times.len()).unwrap_or(u16::MAX),
            min: times.first().copied().unwrap_or(0),
            max: times.last().copied().unwrap_or(0),
            data: data.into(),
        }
    }

    /// Appends times and numbers of a packed chunk; `false` when it is of another kind.
    pub(crate) fn unpack(
        &self,
        times: &mut Vec<Timestamp>,
        values: &mut Vec<f64>,
    ) -> Result<bool, Malformed> {
        if self.flags != PACKED {
            return Ok(false);
        }
        let mut r = Reader::new(&self.data, "chunk");
        packed::get_times(&mut r, self.min, usize::from(self.count), times)?;
        packed::get_values(&mut r, usize::from(self.count), |v| values.push(v))?;
        if times.last() == Some(&self.max) && r.is_empty() { Ok(true) } else { Err(BAD) }
    }
}

fn put_parts(out: &mut Vec<u8>, flags: u8, count: u16, (min, max): (i64, i64), data: &[u8]) {
    out.push(flags);
    put_uvarint(out, u64::from(count));
    put_ivarint(out, min);
    put_uvarint(out, max.wrapping_sub(min).cast_unsigned());
    put_uvarint(out, data.len() as u64);
    out.extend_from_slice(data);
}

#[derive(Debug, Clone)]
enum Columns {
    One(Column),
    Many(Box<Many>),
}

#[derive(Debug, Clone)]
struct Many {
    /// Only the layout of it counts.
    layout: Histogram,
    columns: Vec<Column>,
}

impl Columns {
    fn as_mut(&mut self) -> &mut [Column] {
        match self {
            Columns::One(c) => std::slice::from_mut(c),
            Columns::Many(m) => &mut m.columns,
        }
    }
}

/// A chunk that still takes samples. Readers share it by `Arc`; the writer copies it when somebody reads.
#[derive(Debug, Clone)]
pub(crate) struct OpenChunk {
    flags: u8,
    count: u16,
    min: Timestamp,
    max: Timestamp,
    delta: i64,
    /// The last sample's start time, 0 for none.
    start: i64,
    columns: Columns,
    bits: BitWriter,
}

/// The numbers of a histogram in the order of the columns.
fn numbers(h: &Histogram) -> impl Iterator<Item = f64> + '_ {
    [h.count, h.zero_count, h.sum]
        .into_iter()
        .chain(h.positive.iter().copied())
        .chain(h.negative.iter().copied())
}

impl OpenChunk {
    /// Begins with its first sample.
    pub(crate) fn new(at: Timestamp, start: Option<Timestamp>, value: &Value) -> OpenChunk {
        Self::with_modes(at, start, value, Broken::None)
    }

    fn with_modes(at: Timestamp, start: Option<Timestamp>, value: &Value, broken: Broken) -> OpenChunk {
        let mut flags = 0;
        let mut bytes = Vec::new();
        let mut columns = match value {
            Value::Float(v) => Columns::One(Column::new(*v, broken.hits(0))),
            Value::Histogram(h) => {
                flags |= HISTOGRAM;
                put_layout(&mut bytes, h);
                let columns = numbers(h).enumerate().map(|(i, v)| Column::new(v, broken.hits(i))).collect();
                let layout = Histogram { positive: Vec::new(), negative: Vec::new(), ..Histogram::clone(h) };
                Columns::Many(Box::new(Many { layout, columns }))
            }
        };
        let mut bits = BitWriter::after(bytes);
        if let Some(start) = start {
            flags |= STARTS;
            bits.put(start.cast_unsigned(), 64);
        }
        for c in columns.as_mut() {
            c.put_first(&mut bits);
        }
        OpenChunk { flags, count: 1, min: at, max: at, delta: 0, start: start.unwrap_or(0), columns, bits }
    }

    pub(crate) fn min(&self) -> Timestamp {
        self.min
    }

    pub(crate) fn max(&self) -> Timestamp {
        self.max
    }

    /// Whether the sample can go into this chunk; else it is to be sealed and another begun.
    pub(crate) fn fits(&self, start: Option<Timestamp>, value: &Value) -> bool {
        let starts = self.flags & STARTS != 0;
        self.count < MAX_SAMPLES
            && self.bits.bytes().len() < MAX_BYTES
            && (starts || start.is_none())
            && match (&self.columns, value) {
                (Columns::One(_), Value::Float(_)) => true,
                (Columns::Many(m), Value::Histogram(h)) => same_layout(&m.layout, h),
                _ => false,
            }
    }

    /// Adds a sample that [fits](Self::fits) and is later than all others.
    pub(crate) fn push(&mut self, at: Timestamp, start: Option<Timestamp>, value: &Value) {
        let broken = match (&self.columns, value) {
            (Columns::One(c), Value::Float(v)) => Broken::find(std::slice::from_ref(c), std::iter::once(*v)),
            (Columns::Many(m), Value::Histogram(h)) => Broken::find(&m.columns, numbers(h)),
            _ => Broken::None,
        };
        if broken != Broken::None {
            self.rebuild(broken);
        }
        self.put_time(at);
        if self.flags & STARTS != 0 {
            self.put_start(start.unwrap_or(0));
        }
        match (&mut self.columns, value) {
            (Columns::One(c), Value::Float(v)) => c.put(&mut self.bits, *v),
            (Columns::Many(m), Value::Histogram(h)) => {
                for (c, v) in m.columns.iter_mut().zip(numbers(h)) {
                    c.put(&mut self.bits, v);
                }
            }
            _ => {}
        }
        self.count += 1;
        self.max = at;
    }

    /// Encodes again, with the columns that met a number which is no integer in the other mode.
    fn rebuild(&mut self, broken: Broken) {
        let broken = broken.and_those_of(self.columns.as_mut());
        let old = self.clone();
        let mut samples = old.samples();
        let mut again: Option<OpenChunk> = None;
        while let Ok(Some((at, start, value))) = samples.next() {
            match &mut again {
                None => again = Some(OpenChunk::with_modes(at, start, &value, broken)),
                Some(chunk) => chunk.push(at, start, &value),
            }
        }
        *self = again.expect("an open chunk holds a sample");
    }

    fn put_time(&mut self, at: Timestamp) {
        let delta = at.wrapping_sub(self.max);
        let change = zigzag(delta.wrapping_sub(self.delta));
        let b = &mut self.bits;
        match change {
            0 => b.bit(false),
            1..=0x40 => {
                b.put(0b10, 2);
                b.put(change - 1, 6);
            }
            0x41..=0x1fff => {
                b.put(0b110, 3);
                b.put(change, 13);
            }
            0x2000..=0xf_ffff => {
                b.put(0b1110, 4);
                b.put(change, 20);
            }
            _ => {
                b.put(0b1111, 4);
                b.put(change, 64);
            }
        }
        self.delta = delta;
    }

    fn put_start(&mut self, start: i64) {
        if start == self.start {
            self.bits.bit(false);
        } else if start == self.max {
            self.bits.put(0b10, 2);
        } else {
            self.bits.put(0b11, 2);
            self.bits.put(start.cast_unsigned(), 64);
        }
        self.start = start;
    }

    /// Whether the last sample is this one.
    pub(crate) fn ends_with(&self, value: &Value) -> bool {
        match (&self.columns, value) {
            (Columns::One(c), Value::Float(v)) => c.last_is(*v),
            (Columns::Many(m), Value::Histogram(h)) => {
                same_layout(&m.layout, h) && m.columns.iter().zip(numbers(h)).all(|(c, v)| c.last_is(v))
            }
            _ => false,
        }
    }

    pub(crate) fn samples(&self) -> Samples<'_> {
        Samples::new(self.flags, self.count, self.min, self.bits.bytes())
    }

    pub(crate) fn seal(&self) -> Chunk {
        Chunk {
            flags: self.flags,
            count: self.count,
            min: self.min,
            max: self.max,
            data: self.bits.bytes().into(),
        }
    }
}

/// Decodes a chunk, sample after sample.
#[derive(Debug)]
pub(crate) struct Samples<'a> {
    flags: u8,
    left: u16,
    first: bool,
    at: Timestamp,
    delta: i64,
    start: i64,
    data: &'a [u8],
    bits: BitReader<'a>,
    layout: Option<Histogram>,
    columns: Vec<Column>,
    one: Column,
    /// What a packed chunk holds, last sample first.
    unpacked: Option<Vec<(Timestamp, f64)>>,
}

const BAD: Malformed = Malformed("chunk");

impl<'a> Samples<'a> {
    fn new(flags: u8, count: u16, min: Timestamp, data: &'a [u8]) -> Self {
        Samples {
            flags,
            left: count,
            first: true,
            at: min,
            delta: 0,
            start: 0,
            data,
            bits: BitReader::new(data),
            layout: None,
            columns: Vec::new(),
            one: Column::new(0.0, false),
            unpacked: None,
        }
    }

    /// The next sample: its time, its start time, its value.
    pub(crate) fn next(&mut self) -> Result<Option<(Timestamp, Option<Timestamp>, Value)>, Malformed> {
        if self.left == 0 {
            return Ok(None);
        }
        if self.flags == PACKED {
            return self.next_unpacked();
        }
        self.left -= 1;
        let first = std::mem::replace(&mut self.first, false);
        if first && self.flags & HISTOGRAM != 0 {
            let mut r = Reader::new(self.data, "chunk");
            self.layout = Some(get_layout(&mut r)?);
            let used = self.data.len() - r.remaining();
            self.bits = BitReader::new(&self.data[used..]);
        }
        let before = self.at;
        if !first {
            self.next_time()?;
        }
        if self.flags & STARTS != 0 {
            self.next_start(first, before)?;
        }
        let value = if self.flags & HISTOGRAM == 0 {
            Value::Float(Self::number(&mut self.one, first, &mut self.bits)?)
        } else {
            Value::Histogram(Arc::new(self.next_histogram(first)?))
        };
        Ok(Some((self.at, (self.start != 0).then_some(self.start), value)))
    }

    fn next_unpacked(&mut self) -> Result<Option<(Timestamp, Option<Timestamp>, Value)>, Malformed> {
        let samples = match &mut self.unpacked {
            Some(samples) => samples,
            None => {
                let count = usize::from(self.left);
                let (mut times, mut values) = (Vec::with_capacity(count), Vec::with_capacity(count));
                let mut r = Reader::new(self.data, "chunk");
                packed::get_times(&mut r, self.at, count, &mut times)?;
                packed::get_values(&mut r, count, |v| values.push(v))?;
                self.unpacked.insert(times.into_iter().zip(values).rev().collect())
            }
        };
        self.left -= 1;
        Ok(samples.pop().map(|(at, v)| (at, None, Value::Float(v))))
    }

    fn number(column: &mut Column, first: bool, bits: &mut BitReader<'_>) -> Result<f64, Malformed> {
        if first {
            let (c, v) = Column::get_first(bits).ok_or(BAD)?;
            *column = c;
            Ok(v)
        } else {
            column.get(bits).ok_or(BAD)
        }
    }

    fn next_time(&mut self) -> Result<(), Malformed> {
        let b = &mut self.bits;
        let change = match b.unary(4).ok_or(BAD)? {
            0 => Some(0),
            1 => b.get(6).map(|v| v + 1),
            2 => b.get(13),
            3 => b.get(20),
            _ => b.get(64),
        };
        self.delta = self.delta.wrapping_add(unzigzag(change.ok_or(BAD)?));
        let at = self.at.wrapping_add(self.delta);
        if at <= self.at {
            return Err(BAD);
        }
        self.at = at;
        Ok(())
    }

    fn next_start(&mut self, first: bool, before: Timestamp) -> Result<(), Malformed> {
        let b = &mut self.bits;
        if first {
            self.start = b.get(64).ok_or(BAD)?.cast_signed();
        } else {
            match b.unary(2).ok_or(BAD)? {
                0 => {}
                1 => self.start = before,
                _ => self.start = b.get(64).ok_or(BAD)?.cast_signed(),
            }
        }
        Ok(())
    }

    fn next_histogram(&mut self, first: bool) -> Result<Histogram, Malformed> {
        let mut h = self.layout.clone().ok_or(BAD)?;
        let Histogram { count, zero_count, sum, positive, negative, .. } = &mut h;
        let fields = [count, zero_count, sum].into_iter().chain(positive).chain(negative);
        for (i, field) in fields.enumerate() {
            if first {
                self.columns.push(Column::new(0.0, false));
            }
            *field = Self::number(&mut self.columns[i], first, &mut self.bits)?;
        }
        Ok(h)
    }
}

#[cfg(test)]
pub(crate) mod tests;
