//! Records: what the log and its checkpoints consist of, and their bytes.
//!
//! A record is framed with a marker, its length and a CRC-32, so that a reader finds the next whole one behind
//! damage. Inside, strings are written once, references as runs, numbers in as few bytes as they need.
//! `FORMAT.md`, "Log", has the bytes.

use crate::{
    bytes::{Malformed, Reader, put_ivarint, put_str, put_u32, put_uvarint, unzigzag, zigzag},
    chunk::{Chunk, get_histogram, put_histogram},
    head::{LoggedRow, Matrix},
    row::{Form, Written},
};
use model::{Label, Labels, Timestamp, Value};
use std::{collections::HashMap, sync::Arc};

/// Begins every frame; unlikely in other data.
pub(crate) const MARKER: [u8; 4] = [0xf5, b'V', b'g', 0xfa];
/// Marker, length, checksum.
pub(crate) const FRAME: usize = 12;
/// No record is longer.
pub(crate) const MAX_RECORD: usize = 64 << 20;
/// Groups are numbered from 0, and a number is used again: no store has so many.
const MAX_GROUPS: u32 = 1 << 26;
/// Matrices in one record.
pub(crate) const MAX_SEALED: usize = 16;
/// Samples in one record, which keeps it far below [`MAX_RECORD`].
pub(crate) const MAX_COLUMN: usize = 1 << 20;

const SERIES: u8 = 1;
const SAMPLES: u8 = 2;
const ENTRIES: u8 = 3;
const CHUNKS: u8 = 4;
const MARK: u8 = 5;
const ROW: u8 = 6;
const GROUP: u8 = 7;

/// A sample with everything said.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Full {
    pub(crate) series: u64,
    pub(crate) at: Timestamp,
    pub(crate) start: Option<Timestamp>,
    pub(crate) value: Value,
}

#[derive(Debug, PartialEq)]
pub(crate) enum Record {
    /// Series that are new, with the numbers that stand for them from now on.
    Series(Vec<(u64, Labels)>),
    /// Floats of one time.
    Samples { at: Timestamp, series: Vec<u64>, values: Vec<f64> },
    /// Samples that do not fit there.
    Entries(Vec<Full>),
    /// Whole chunks, in a checkpoint.
    Chunks(Vec<(u64, Chunk)>),
    /// A row of a group, and the series of the columns that are new in it.
    Row { group: u32, added: Vec<u64>, written: Written },
    /// The columns of a group and what is sealed of them, in a checkpoint.
    Group { group: u32, columns: Vec<u64>, sealed: Vec<Matrix> },
    /// Begins a checkpoint: the next free series number, and the time before which everything is in blocks.
    Mark { next_id: u64, min_valid: Timestamp },
}

/// Appends a framed record whose payload `body` writes.
fn frame(out: &mut Vec<u8>, kind: u8, body: impl FnOnce(&mut Vec<u8>)) {
    let begin = out.len();
    out.extend_from_slice(&MARKER);
    put_u32(out, 0);
    put_u32(out, 0);
    out.push(kind);
    body(out);
    let len = u32::try_from(out.len() - begin - FRAME).expect("writers keep records below MAX_RECORD");
    out[begin + 4..begin + 8].copy_from_slice(&len.to_le_bytes());
    let crc = checksum(len, &out[begin + FRAME..]);
    out[begin + 8..begin + 12].copy_from_slice(&crc.to_le_bytes());
}

/// The checksum covers the length, so that a damaged length is not believed.
pub(crate) fn checksum(len: u32, payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&len.to_le_bytes());
    hasher.update(payload);
    hasher.finalize()
}

/// Names series, in as many records as it takes.
pub(crate) fn put_series(out: &mut Vec<u8>, series: &[(u64, Labels)]) {
    let size = |(_, labels): &(u64, Labels)| labels.iter().map(|l| l.name.len() + l.value.len() + 16).sum();
    split(series, size).for_each(|part| put_series_record(out, part));
}

/// Parts of a list that make records of a megabyte or one entry, far below [`MAX_RECORD`].
fn split<'a, T>(all: &'a [T], size: impl Fn(&T) -> usize + 'a) -> impl Iterator<Item = &'a [T]> + 'a {
    let mut rest = all;
    std::iter::from_fn(move || {
        let (mut n, mut bytes) = (0, 0);
        for one in rest {
            bytes += size(one);
            if n > 0 && (bytes > 1 << 20 || n >= 4096) {
                break;
            }
            n += 1;
        }
        let (part, others) = rest.split_at(n);
        rest = others;
        (n > 0).then_some(part)
    })
}

fn put_series_record(out: &mut Vec<u8>, series: &[(u64, Labels)]) {
    frame(out, SERIES, |out| {
        let mut strings: HashMap<&str, u64> = HashMap::new();
        let mut pairs: HashMap<(&str, &str), u64> = HashMap::new();
        let (mut texts, mut told) = (Vec::new(), Vec::new());
        for l in series.iter().flat_map(|(_, l)| l.iter()) {
            let next = pairs.len() as u64;
            pairs.entry((&l.name, &l.value)).or_insert_with(|| {
                let mut number = |text| {
                    let next = strings.len() as u64;
                    *strings.entry(text).or_insert_with(|| {
                        texts.push(text);
                        next
                    })
                };
                told.push((number(&*l.name), number(&*l.value)));
                next
            });
        }
        put_uvarint(out, texts.len() as u64);
        texts.iter().for_each(|s| put_str(out, s));
        put_uvarint(out, told.len() as u64);
        for (name, value) in &told {
            put_uvarint(out, *name);
            put_uvarint(out, *value);
        }
        put_uvarint(out, series.len() as u64);
        let (mut last, mut before) = (0u64, Vec::new());
        for (id, labels) in series {
            put_ivarint(out, id.wrapping_sub(last).cast_signed());
            last = *id;
            let numbers: Vec<u64> = labels.iter().map(|l| pairs[&(&*l.name, &*l.value)]).collect();
            put_change(out, &before, &numbers);
            before = numbers;
        }
    });
}

/// A list told from the one before: how many are the same at its beginning and at its end, and those between.
pub(crate) fn put_change(out: &mut Vec<u8>, before: &[u64], list: &[u64]) {
    let head = before.iter().zip(list).take_while(|(a, b)| a == b).count();
    let same = before[head..].iter().rev().zip(list[head..].iter().rev()).take_while(|(a, b)| a == b);
    let tail = same.count();
    let middle = &list[head..list.len() - tail];
    for n in [head, tail, middle.len()] {
        put_uvarint(out, n as u64);
    }
    middle.iter().for_each(|n| put_uvarint(out, *n));
}

pub(crate) fn get_change(r: &mut Reader<'_>, before: &[u64]) -> Result<Vec<u64>, Malformed> {
    let bad = r.bad();
    let [head, tail, middle] = [r.u32_varint()? as usize, r.u32_varint()? as usize, r.count()?];
    if head > before.len() || tail > before.len() - head {
        return Err(bad);
    }
    let mut list = before[..head].to_vec();
    for _ in 0..middle {
        list.push(r.uvarint()?);
    }
    list.extend_from_slice(&before[before.len() - tail..]);
    Ok(list)
}

fn get_series(r: &mut Reader<'_>) -> Result<Vec<(u64, Labels)>, Malformed> {
    let bad = r.bad();
    let mut strings: Vec<Arc<str>> = Vec::new();
    for _ in 0..r.count()? {
        strings.push(r.str()?.into());
    }
    let mut pairs = Vec::new();
    for _ in 0..r.count()? {
        let mut string = || {
            let i = usize::try_from(r.uvarint()?).map_err(|_| bad)?;
            strings.get(i).cloned().ok_or(bad)
        };
        pairs.push(Label { name: string()?, value: string()? });
    }
    let mut out = Vec::new();
    let (mut last, mut before) = (0u64, Vec::new());
    for _ in 0..r.count()? {
        last = last.wrapping_add(r.ivarint()?.cast_unsigned());
        before = get_change(r, &before)?;
        let label = |n: &u64| pairs.get(usize::try_from(*n).ok()?).cloned();
        let labels = before.iter().map(label).collect::<Option<Vec<_>>>().ok_or(bad)?;
        out.push((last, Labels::from_sorted(labels).ok_or(bad)?));
    }
    Ok(out)
}

/// How one number is written: a nibble that says so, and bytes.
/// 0 to 8: the highest bytes of the float, the others are zero. 9 to 15: the integer in 1 to 7 bytes, zigzag.
#[expect(clippy::cast_possible_truncation, reason = "only where the way back gives the same bits")]
fn put_number(bytes: &mut Vec<u8>, v: f64) -> u8 {
    let bits = v.to_bits();
    let float_len = 8 - (bits.trailing_zeros() / 8).min(8) as u8;
    let i = v as i64;
    if (i as f64).to_bits() == bits && i.unsigned_abs() < 1 << 53 {
        let z = zigzag(i);
        let int_len = ((71 - z.leading_zeros()) / 8).max(1) as u8;
        if int_len < float_len {
            bytes.extend_from_slice(&z.to_le_bytes()[..usize::from(int_len)]);
            return 8 + int_len;
        }
    }
    bytes.extend_from_slice(&bits.to_be_bytes()[..usize::from(float_len)]);
    float_len
}

fn get_number(r: &mut Reader<'_>, nibble: u8) -> Result<f64, Malformed> {
    let mut raw = [0u8; 8];
    if nibble <= 8 {
        let n = usize::from(nibble);
        raw[..n].copy_from_slice(r.take(n)?);
        Ok(f64::from_bits(u64::from_be_bytes(raw)))
    } else {
        let n = usize::from(nibble - 8);
        raw[..n].copy_from_slice(r.take(n)?);
        Ok(unzigzag(u64::from_le_bytes(raw)) as f64)
    }
}

/// Series numbers, as runs.
fn put_numbers(out: &mut Vec<u8>, series: &[u64]) {
    put_uvarint(out, series.len() as u64);
    let mut expected = 0u64;
    let mut rest = series;
    while let Some(first) = rest.first() {
        let follows = |(i, id): &(usize, &u64)| **id == first.wrapping_add(*i as u64);
        let run = rest.iter().enumerate().take_while(follows).count();
        put_ivarint(out, first.wrapping_sub(expected).cast_signed());
        put_uvarint(out, run as u64);
        expected = first.wrapping_add(run as u64);
        rest = &rest[run..];
    }
}

fn get_numbers(r: &mut Reader<'_>) -> Result<Vec<u64>, Malformed> {
    let bad = r.bad();
    let n = usize::try_from(r.uvarint()?).map_err(|_| bad)?;
    if n > MAX_COLUMN {
        return Err(bad);
    }
    let mut series = Vec::new();
    let mut next = 0u64;
    while series.len() < n {
        next = next.wrapping_add(r.ivarint()?.cast_unsigned());
        let run = r.uvarint()?;
        if run == 0 || run > (n - series.len()) as u64 {
            return Err(bad);
        }
        for _ in 0..run {
            series.push(next);
            next = next.wrapping_add(1);
        }
    }
    Ok(series)
}

/// At most [`MAX_COLUMN`] samples.
pub(crate) fn put_samples(out: &mut Vec<u8>, at: Timestamp, series: &[u64], values: &[f64]) {
    frame(out, SAMPLES, |out| {
        put_ivarint(out, at);
        put_numbers(out, series);
        let nibbles = out.len();
        out.resize(nibbles + values.len().div_ceil(2), 0);
        for (i, v) in values.iter().enumerate() {
            let nibble = put_number(out, *v);
            out[nibbles + i / 2] |= if i % 2 == 0 { nibble } else { nibble << 4 };
        }
    });
}

fn get_samples(r: &mut Reader<'_>) -> Result<Record, Malformed> {
    let at = r.ivarint()?;
    let series = get_numbers(r)?;
    let n = series.len();
    let nibbles = r.take(n.div_ceil(2))?;
    let values = (0..n)
        .map(|i| get_number(r, if i % 2 == 0 { nibbles[i / 2] & 15 } else { nibbles[i / 2] >> 4 }))
        .collect::<Result<_, _>>()?;
    Ok(Record::Samples { at, series, values })
}

/// Writes samples, in as many records as it takes.
pub(crate) fn put_entries(out: &mut Vec<u8>, entries: &[Full]) {
    let size = |e: &Full| match &e.value {
        Value::Float(_) => 40,
        Value::Histogram(h) => {
            let spans = h.positive_spans.len() + h.negative_spans.len();
            100 + 8 * (h.positive.len() + h.negative.len() + h.custom_bounds.as_ref().map_or(0, |b| b.len()))
                + 20 * spans
        }
    };
    split(entries, size).for_each(|part| put_entries_record(out, part));
}

fn put_entries_record(out: &mut Vec<u8>, entries: &[Full]) {
    frame(out, ENTRIES, |out| {
        put_uvarint(out, entries.len() as u64);
        let (mut series, mut at) = (0u64, 0i64);
        for e in entries {
            put_ivarint(out, e.series.wrapping_sub(series).cast_signed());
            put_ivarint(out, e.at.wrapping_sub(at));
            (series, at) = (e.series, e.at);
            let histogram = matches!(e.value, Value::Histogram(_));
            out.push(u8::from(histogram) | u8::from(e.start.is_some()) << 1);
            if let Some(start) = e.start {
                put_ivarint(out, e.at.wrapping_sub(start));
            }
            match &e.value {
                Value::Float(v) => out.extend_from_slice(&v.to_bits().to_le_bytes()),
                Value::Histogram(h) => put_histogram(out, h),
            }
        }
    });
}

fn get_entries(r: &mut Reader<'_>) -> Result<Vec<Full>, Malformed> {
    let mut out = Vec::new();
    let (mut series, mut at) = (0u64, 0i64);
    for _ in 0..r.count()? {
        series = series.wrapping_add(r.ivarint()?.cast_unsigned());
        at = at.wrapping_add(r.ivarint()?);
        let flags = r.u8()?;
        if flags > 3 {
            return Err(r.bad());
        }
        let start = if flags & 2 != 0 { Some(at.wrapping_sub(r.ivarint()?)) } else { None };
        let value = if flags & 1 != 0 {
            Value::Histogram(Arc::new(get_histogram(r)?))
        } else {
            Value::Float(r.f64()?)
        };
        out.push(Full { series, at, start, value });
    }
    Ok(out)
}

/// Writes chunks whose bytes are already there, each with its series.
pub(crate) fn put_chunks(out: &mut Vec<u8>, count: usize, encoded: &[u8]) {
    frame(out, CHUNKS, |out| {
        put_uvarint(out, count as u64);
        out.extend_from_slice(encoded);
    });
}

fn get_chunks(r: &mut Reader<'_>) -> Result<Vec<(u64, Chunk)>, Malformed> {
    let mut out = Vec::new();
    for _ in 0..r.count()? {
        out.push((r.uvarint()?, Chunk::get(r, 0)?));
    }
    Ok(out)
}

pub(crate) fn put_row(out: &mut Vec<u8>, logged: &LoggedRow) {
    let LoggedRow { group, added, written } = logged;
    frame(out, ROW, |out| {
        put_uvarint(out, u64::from(*group));
        put_uvarint(out, (written.place as u64) << 1 | u64::from(written.form == Form::Told));
        put_ivarint(out, written.at);
        put_numbers(out, added);
        put_uvarint(out, written.columns as u64);
        out.extend_from_slice(&written.bytes);
    });
}

fn get_row(r: &mut Reader<'_>) -> Result<Record, Malformed> {
    let bad = r.bad();
    let group = r.u32_varint()?;
    let place = r.u32_varint()?;
    let form = if place & 1 == 0 { Form::Packed } else { Form::Told };
    let at = r.ivarint()?;
    let added = get_numbers(r)?;
    let columns = r.u32_varint()? as usize;
    let bytes = r.take(r.remaining())?.to_vec();
    if added.len() > columns || group >= MAX_GROUPS || columns > bytes.len().saturating_mul(64) {
        return Err(bad);
    }
    Ok(Record::Row {
        group,
        added,
        written: Written { at, place: (place >> 1) as usize, columns, form, bytes },
    })
}

pub(crate) fn put_group(out: &mut Vec<u8>, group: u32, columns: &[u64], sealed: &[Arc<Matrix>]) {
    frame(out, GROUP, |out| {
        put_uvarint(out, u64::from(group));
        put_numbers(out, columns);
        put_uvarint(out, sealed.len() as u64);
        sealed.iter().for_each(|m| m.put(out));
    });
}

fn get_group(r: &mut Reader<'_>) -> Result<Record, Malformed> {
    let bad = r.bad();
    let group = r.u32_varint()?;
    let columns = get_numbers(r)?;
    let count = r.count()?;
    // Each may unfold to half a megabyte of times.
    if count > MAX_SEALED {
        return Err(bad);
    }
    let sealed = (0..count).map(|_| Matrix::get(r)).collect::<Result<_, _>>()?;
    if group >= MAX_GROUPS { Err(bad) } else { Ok(Record::Group { group, columns, sealed }) }
}

pub(crate) fn put_mark(out: &mut Vec<u8>, next_id: u64, min_valid: Timestamp) {
    frame(out, MARK, |out| {
        put_uvarint(out, next_id);
        put_ivarint(out, min_valid);
    });
}

/// Reads a payload whose checksum was right.
pub(crate) fn decode(payload: &[u8]) -> Result<Record, Malformed> {
    let mut r = Reader::new(payload, "log record");
    let record = match r.u8()? {
        SERIES => Record::Series(get_series(&mut r)?),
        SAMPLES => get_samples(&mut r)?,
        ENTRIES => Record::Entries(get_entries(&mut r)?),
        CHUNKS => Record::Chunks(get_chunks(&mut r)?),
        ROW => get_row(&mut r)?,
        GROUP => get_group(&mut r)?,
        MARK => Record::Mark { next_id: r.uvarint()?, min_valid: r.ivarint()? },
        _ => return Err(r.bad()),
    };
    if r.is_empty() { Ok(record) } else { Err(r.bad()) }
}

#[cfg(test)]
mod tests;
