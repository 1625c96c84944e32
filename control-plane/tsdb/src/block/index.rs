//! Reading a block's index, in place: nothing is unpacked before it is asked for.

use crate::{
    bytes::{Malformed, Reader},
    postings::{Index, Visit},
};
use model::{Label, Labels, SelectError};
use std::{borrow::Cow, sync::Arc};

const BAD: Malformed = Malformed("block index");

/// A part of the bytes.
#[derive(Debug, Clone, Copy)]
struct Part {
    at: usize,
    len: usize,
}

#[derive(Debug)]
pub(crate) struct BlockIndex {
    bytes: Vec<u8>,
    /// Of whom errors speak.
    owner: String,
    symbols: u32,
    series: u32,
    names: u32,
    values: u32,
    text_ends: Part,
    entry_ends: Part,
    name_table: Part,
    value_table: Part,
    texts: Part,
    entries: Part,
    lists: Part,
}

impl BlockIndex {
    /// Checks that the parts fill the bytes exactly; everything else is checked when it is read.
    pub(crate) fn parse(bytes: Vec<u8>, owner: String) -> Result<Self, Malformed> {
        let mut r = Reader::new(&bytes, "block index");
        let [symbols, series, names, values, text_len, entry_len, list_len] = {
            let mut words = [0; 7];
            for w in &mut words {
                *w = r.u32()?;
            }
            words
        };
        let mut at = bytes.len() - r.remaining();
        let mut part = |len: u64| {
            let len = usize::try_from(len).map_err(|_| BAD)?;
            let part = Part { at, len };
            at = at.checked_add(len).filter(|end| *end <= bytes.len()).ok_or(BAD)?;
            Ok::<_, Malformed>(part)
        };
        let text_ends = part(4 * (u64::from(symbols) + 1))?;
        let entry_ends = part(4 * (u64::from(series) + 1))?;
        let name_table = part(12 * u64::from(names))?;
        let value_table = part(12 * u64::from(values))?;
        let texts = part(u64::from(text_len))?;
        let entries = part(u64::from(entry_len))?;
        let lists = part(u64::from(list_len))?;
        if at != bytes.len() {
            return Err(BAD);
        }
        Ok(BlockIndex {
            bytes,
            owner,
            symbols,
            series,
            names,
            values,
            text_ends,
            entry_ends,
            name_table,
            value_table,
            texts,
            entries,
            lists,
        })
    }

    pub(crate) fn size(&self) -> usize {
        self.bytes.len()
    }

    fn corrupt(&self, _: Malformed) -> SelectError {
        SelectError::Corrupt(format!("the index of {}", self.owner))
    }

    fn part(&self, p: Part) -> &[u8] {
        &self.bytes[p.at..p.at + p.len]
    }

    fn word(&self, p: Part, i: usize) -> Result<usize, Malformed> {
        let bytes = self.part(p).get(4 * i..4 * i + 4).ok_or(BAD)?;
        Ok(Reader::new(bytes, "block index").u32()? as usize)
    }

    /// What lies between two ends of a table of ends.
    fn between(&self, ends: Part, of: Part, i: usize) -> Result<&[u8], Malformed> {
        let (from, to) = (self.word(ends, i)?, self.word(ends, i + 1)?);
        self.part(of).get(from..to).ok_or(BAD)
    }

    fn text(&self, symbol: usize) -> Result<&str, Malformed> {
        std::str::from_utf8(self.between(self.text_ends, self.texts, symbol)?).map_err(|_| BAD)
    }

    fn symbol(&self, text: &str) -> Result<Option<usize>, Malformed> {
        search(self.symbols as usize, |i| Ok(self.text(i)?.cmp(text)))
    }

    /// First entry and number of entries of a label's values.
    fn values_of(&self, name: &str) -> Result<(usize, usize), Malformed> {
        let Some(symbol) = self.symbol(name)? else { return Ok((0, 0)) };
        let found = search(self.names as usize, |i| Ok(self.word(self.name_table, 3 * i)?.cmp(&symbol)))?;
        let Some(i) = found else { return Ok((0, 0)) };
        let (first, count) = (self.word(self.name_table, 3 * i + 1)?, self.word(self.name_table, 3 * i + 2)?);
        if first + count > self.values as usize {
            return Err(BAD);
        }
        Ok((first, count))
    }

    fn list(&self, value: usize) -> Result<Vec<u64>, Malformed> {
        let (at, count) =
            (self.word(self.value_table, 3 * value + 1)?, self.word(self.value_table, 3 * value + 2)?);
        let mut r = Reader::new(self.part(self.lists).get(at..).ok_or(BAD)?, "block index");
        if count > r.remaining() {
            return Err(BAD);
        }
        let mut last = 0u64;
        let mut out = Vec::with_capacity(count);
        for i in 0..count {
            let step = r.uvarint()?;
            last = last.checked_add(step).filter(|id| *id < u64::from(self.series)).ok_or(BAD)?;
            if i > 0 && step == 0 {
                return Err(BAD);
            }
            out.push(last);
        }
        Ok(out)
    }

    fn entry(&self, id: u64) -> Result<(Labels, u64, u64), Malformed> {
        let id = usize::try_from(id).map_err(|_| BAD)?;
        let mut r = Reader::new(self.between(self.entry_ends, self.entries, id)?, "block index");
        let mut labels = Vec::new();
        for _ in 0..r.count()? {
            let (name, value) = (r.u32_varint()? as usize, r.u32_varint()? as usize);
            labels.push(Label { name: Arc::from(self.text(name)?), value: Arc::from(self.text(value)?) });
        }
        Ok((Labels::from_sorted(labels).ok_or(BAD)?, r.uvarint()?, r.uvarint()?))
    }

    /// Labels of a series, and place and length of its chunks.
    pub(crate) fn series(&self, id: u64) -> Result<(Labels, u64, u64), SelectError> {
        self.entry(id).map_err(|e| self.corrupt(e))
    }

    /// All values of a label, ascending.
    pub(crate) fn values(&self, name: &str) -> Result<Vec<String>, SelectError> {
        let mut out = Vec::new();
        self.each_value(name, &mut |v, _| {
            out.push(v.to_owned());
            Ok(())
        })?;
        Ok(out)
    }
}

fn search(
    n: usize,
    compare: impl Fn(usize) -> Result<std::cmp::Ordering, Malformed>,
) -> Result<Option<usize>, Malformed> {
    let (mut low, mut high) = (0, n);
    while low < high {
        let mid = low + (high - low) / 2;
        match compare(mid)? {
            std::cmp::Ordering::Less => low = mid + 1,
            std::cmp::Ordering::Greater => high = mid,
            std::cmp::Ordering::Equal => return Ok(Some(mid)),
        }
    }
    Ok(None)
}

impl Index for BlockIndex {
    fn all(&self) -> Result<Vec<u64>, SelectError> {
        Ok((0..u64::from(self.series)).collect())
    }

    fn postings(&self, name: &str, value: &str) -> Result<Cow<'_, [u64]>, SelectError> {
        let find = || {
            let (first, count) = self.values_of(name)?;
            let Some(symbol) = self.symbol(value)? else { return Ok(Vec::new()) };
            let compare = |i| Ok(self.word(self.value_table, 3 * (first + i))?.cmp(&symbol));
            search(count, compare)?.map_or(Ok(Vec::new()), |i| self.list(first + i))
        };
        find().map(Cow::Owned).map_err(|e| self.corrupt(e))
    }

    fn each_value(&self, name: &str, visit: &mut Visit<'_>) -> Result<(), SelectError> {
        let (first, count) = self.values_of(name).map_err(|e| self.corrupt(e))?;
        for i in first..first + count {
            let text =
                self.word(self.value_table, 3 * i).and_then(|s| self.text(s)).map_err(|e| self.corrupt(e))?;
            visit(text, &|| self.list(i).map_err(|e| self.corrupt(e)))?;
        }
        Ok(())
    }

    fn labels(&self, id: u64) -> Result<Labels, SelectError> {
        Ok(self.series(id)?.0)
    }
}
