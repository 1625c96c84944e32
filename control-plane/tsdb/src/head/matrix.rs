//! Sealed rows: the samples of many series over the same times, column by column, in one piece of memory.

use crate::{
    bytes::{Malformed, Reader, put_uvarint},
    chunk::packed,
    pack::BLOCK,
    row::{ABSENT, Rows},
};
use model::Timestamp;

const BAD: Malformed = Malformed("matrix");

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Matrix {
    times: Box<[Timestamp]>,
    /// Where each column ends in the data; an empty one has no sample.
    ends: Box<[u32]>,
    data: Box<[u8]>,
}

impl Matrix {
    /// Turns rows into columns; there is at least one row.
    pub(super) fn seal(rows: &Rows) -> Result<Matrix, Malformed> {
        let columns = rows.columns();
        let mut data = Vec::with_capacity(columns * rows.len());
        let mut ends = Vec::with_capacity(columns);
        let mut strip = Vec::new();
        for block in 0..columns.div_ceil(BLOCK) {
            rows.strip(block, &mut strip)?;
            for column in &strip {
                if column.iter().any(|v| v.to_bits() != ABSENT.to_bits()) {
                    packed::put_values(&mut data, column);
                }
                ends.push(u32::try_from(data.len()).map_err(|_| BAD)?);
            }
        }
        let times = rows.iter().map(|r| r.at).collect();
        Ok(Matrix { times, ends: ends.into(), data: data.into() })
    }

    pub(crate) fn range(&self) -> (Timestamp, Timestamp) {
        (self.times.first().copied().unwrap_or(0), self.times.last().copied().unwrap_or(0))
    }

    fn bytes(&self, column: usize) -> &[u8] {
        let Some(end) = self.ends.get(column) else { return &[] };
        let begin = column.checked_sub(1).map_or(0, |c| self.ends[c]);
        self.data.get(begin as usize..*end as usize).unwrap_or_default()
    }

    /// Whether a column has a sample.
    pub(crate) fn has(&self, column: usize) -> bool {
        !self.bytes(column).is_empty()
    }

    /// Hands out the samples of a column.
    pub(crate) fn column(
        &self,
        column: usize,
        mut take: impl FnMut(Timestamp, f64),
    ) -> Result<(), Malformed> {
        let bytes = self.bytes(column);
        if bytes.is_empty() {
            return Ok(());
        }
        let mut times = self.times.iter();
        packed::get_values(&mut Reader::new(bytes, "matrix"), self.times.len(), |v| {
            if let Some(at) = times.next()
                && v.to_bits() != ABSENT.to_bits()
            {
                take(*at, v);
            }
        })
    }

    /// Appends the samples of a column between two times; both belong to the range.
    pub(crate) fn unpack(
        &self,
        column: usize,
        (start, end): (Timestamp, Timestamp),
        times: &mut Vec<Timestamp>,
        values: &mut Vec<f64>,
    ) -> Result<(), Malformed> {
        let bytes = self.bytes(column);
        if bytes.is_empty() {
            return Ok(());
        }
        let before = values.len();
        let mut absent = false;
        packed::get_values(&mut Reader::new(bytes, "matrix"), self.times.len(), |v| {
            absent |= v.to_bits() == ABSENT.to_bits();
            values.push(v);
        })?;
        let from = self.times.partition_point(|t| *t < start);
        let to = self.times.partition_point(|t| *t <= end).max(from);
        values.truncate(before + to);
        values.drain(before..before + from);
        times.extend_from_slice(&self.times[from..to]);
        if absent {
            let mut kept = before;
            for i in before..values.len() {
                if values[i].to_bits() != ABSENT.to_bits() {
                    (times[kept], values[kept]) = (times[i], values[i]);
                    kept += 1;
                }
            }
            times.truncate(kept);
            values.truncate(kept);
        }
        Ok(())
    }

    /// Its bytes in a checkpoint.
    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        put_uvarint(out, self.times.len() as u64);
        crate::bytes::put_ivarint(out, self.range().0);
        packed::put_times(out, &self.times);
        put_uvarint(out, self.ends.len() as u64);
        let mut last = 0;
        for end in &self.ends {
            put_uvarint(out, u64::from(end - last));
            last = *end;
        }
        out.extend_from_slice(&self.data);
    }

    pub(crate) fn get(r: &mut Reader<'_>) -> Result<Matrix, Malformed> {
        let count = usize::try_from(r.uvarint()?).map_err(|_| BAD)?;
        let first = r.ivarint()?;
        if count == 0 || count > usize::from(u16::MAX) {
            return Err(BAD);
        }
        let mut times = Vec::new();
        packed::get_times(r, first, count, &mut times)?;
        let mut ends = Vec::new();
        let mut end = 0u32;
        for _ in 0..r.count()? {
            end = end.checked_add(r.u32_varint()?).ok_or(BAD)?;
            ends.push(end);
        }
        let data = r.take(end as usize)?;
        Ok(Matrix { times: times.into(), ends: ends.into(), data: data.into() })
    }
}
