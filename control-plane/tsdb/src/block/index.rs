//! The index of a block: its bytes, and reading them in place. Nothing is unpacked before it is asked for.

use crate::{
    bytes::{Malformed, Reader, put_u32, put_uvarint},
    ids::{Ids, List},
    postings::{Index, Visit},
    record::{get_change, put_change},
};
use model::{Label, Labels, Matcher, SelectError};
use std::{
    collections::{BTreeMap, HashMap},
    io,
    sync::{Arc, OnceLock},
};

const BAD: Malformed = Malformed("block index");

/// Series whose entries are told from each other; the place of each such group is known.
const GROUP: usize = 16;

/// Gathers what the index says, series by series in the order of their labels.
#[derive(Debug, Default)]
pub(super) struct IndexBuilder {
    /// Name, then value, with the number that the entries have for it until all are known.
    pairs: BTreeMap<Arc<str>, HashMap<Arc<str>, u32>>,
    lists: Vec<List>,
    /// The pairs of the series one after the other, and how many each has.
    numbers: Vec<u32>,
    lengths: Vec<u16>,
    bytes: Vec<u32>,
}

fn too_large() -> io::Error {
    io::Error::new(io::ErrorKind::FileTooLarge, "the index of a block would pass 4 GiB")
}

fn to_u32(n: usize) -> io::Result<u32> {
    u32::try_from(n).map_err(|_| too_large())
}

impl IndexBuilder {
    /// The next series; its data takes `len` bytes, behind those of the series before.
    pub(super) fn add(&mut self, labels: &Labels, len: usize) -> io::Result<()> {
        let id = self.lengths.len() as u64;
        for l in labels.iter() {
            let known = self.pairs.get(&*l.name).and_then(|values| values.get(&*l.value)).copied();
            let number = match known {
                Some(number) => number,
                None => {
                    let number = to_u32(self.lists.len())?;
                    self.lists.push(List::default());
                    let values = self.pairs.entry(Arc::clone(&l.name)).or_default();
                    values.insert(Arc::clone(&l.value), number);
                    number
                }
            };
            self.lists[number as usize].add(id);
            self.numbers.push(number);
        }
        self.lengths.push(u16::try_from(labels.len()).map_err(|_| too_large())?);
        self.bytes.push(to_u32(len)?);
        Ok(())
    }

    pub(super) fn series(&self) -> usize {
        self.lengths.len()
    }

    /// The bytes of the index; the data of the first series begins at `at`.
    pub(super) fn encode(self, mut at: u64) -> io::Result<Vec<u8>> {
        let (mut texts, mut lists) = (Vec::new(), Vec::new());
        let (mut names, mut values): (Vec<[u32; 2]>, Vec<[u32; 3]>) = (Vec::new(), Vec::new());
        let mut ranks = vec![0u32; self.lists.len()];
        for (name, of) in &self.pairs {
            texts.extend_from_slice(name.as_bytes());
            let mut sorted: Vec<_> = of.iter().collect();
            sorted.sort_unstable();
            let text_end = to_u32(texts.len())?;
            for (_, number) in &sorted {
                ranks[**number as usize] = to_u32(values.len())?;
                let list = &self.lists[**number as usize];
                values.push([0, to_u32(lists.len())?, to_u32(list.len())?]);
                list.put(&mut lists);
            }
            names.push([text_end, to_u32(values.len())?]);
        }
        let mut place = 0;
        for of in self.pairs.values() {
            let mut sorted: Vec<_> = of.keys().collect();
            sorted.sort_unstable();
            for value in sorted {
                texts.extend_from_slice(value.as_bytes());
                values[place][0] = to_u32(texts.len())?;
                place += 1;
            }
        }
        let (mut entries, mut groups) = (Vec::new(), Vec::new());
        let mut rest = &self.numbers[..];
        let mut before = Vec::new();
        for (i, (len, bytes)) in self.lengths.iter().zip(&self.bytes).enumerate() {
            if i.is_multiple_of(GROUP) {
                groups.push(to_u32(entries.len())?);
                put_uvarint(&mut entries, at);
                before.clear();
            }
            let (own, others) = rest.split_at(usize::from(*len));
            rest = others;
            let own: Vec<u64> = own.iter().map(|n| u64::from(ranks[*n as usize])).collect();
            put_change(&mut entries, &before, &own);
            put_uvarint(&mut entries, u64::from(*bytes));
            at += u64::from(*bytes);
            before = own;
        }
        let mut out = Vec::new();
        for n in [self.series(), names.len(), values.len(), texts.len(), entries.len(), lists.len()] {
            put_u32(&mut out, to_u32(n)?);
        }
        for word in names.as_flattened().iter().chain(values.as_flattened()).chain(&groups) {
            put_u32(&mut out, *word);
        }
        for part in [texts, entries, lists] {
            out.extend_from_slice(&part);
        }
        to_u32(out.len())?;
        Ok(out)
    }
}

/// A part of the bytes.
#[derive(Debug, Clone, Copy)]
struct Part {
    at: usize,
    len: usize,
}

/// Where a series' data lies in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) at: u64,
    pub(crate) len: u64,
}

#[derive(Debug)]
pub(crate) struct BlockIndex {
    bytes: Vec<u8>,
    /// Of whom errors speak.
    owner: String,
    series: u32,
    names: u32,
    values: u32,
    name_table: Part,
    value_table: Part,
    group_table: Part,
    texts: Part,
    entries: Part,
    lists: Part,
    /// The labels of pairs that were asked for.
    labels: Vec<OnceLock<Label>>,
}

impl BlockIndex {
    /// Checks that the parts fill the bytes exactly; everything else is checked when it is read.
    pub(crate) fn parse(bytes: Vec<u8>, owner: String) -> Result<Self, Malformed> {
        let mut r = Reader::new(&bytes, "block index");
        let mut words = [0; 6];
        for w in &mut words {
            *w = r.u32()?;
        }
        let [series, names, values, text_len, entry_len, list_len] = words;
        let mut at = bytes.len() - r.remaining();
        let mut part = |len: u64| {
            let len = usize::try_from(len).map_err(|_| BAD)?;
            let part = Part { at, len };
            at = at.checked_add(len).filter(|end| *end <= bytes.len()).ok_or(BAD)?;
            Ok::<_, Malformed>(part)
        };
        let name_table = part(8 * u64::from(names))?;
        let value_table = part(12 * u64::from(values))?;
        let group_table = part(4 * u64::from(series.div_ceil(16)))?;
        let texts = part(u64::from(text_len))?;
        let entries = part(u64::from(entry_len))?;
        let lists = part(u64::from(list_len))?;
        if at != bytes.len() {
            return Err(BAD);
        }
        let labels = (0..values).map(|_| OnceLock::new()).collect();
        Ok(BlockIndex {
            bytes,
            owner,
            series,
            names,
            values,
            name_table,
            value_table,
            group_table,
            texts,
            entries,
            lists,
            labels,
        })
    }

    /// Memory that it takes, when all of its labels were asked for.
    pub(crate) fn size(&self) -> usize {
        self.bytes.len() + self.labels.len() * 96
    }

    #[cfg(test)]
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) fn series_count(&self) -> u32 {
        self.series
    }

    fn corrupt_error(&self, _: Malformed) -> SelectError {
        SelectError::Corrupt(format!("the index of {}", self.owner))
    }

    fn part(&self, p: Part) -> &[u8] {
        &self.bytes[p.at..p.at + p.len]
    }

    fn word(&self, p: Part, i: usize) -> Result<usize, Malformed> {
        let bytes = self.part(p).get(4 * i..4 * i + 4).ok_or(BAD)?;
        Ok(Reader::new(bytes, "block index").u32()? as usize)
    }

    fn text(&self, begin: usize, end: usize) -> Result<&str, Malformed> {
        let bytes = self.part(self.texts).get(begin..end).ok_or(BAD)?;
        std::str::from_utf8(bytes).map_err(|_| BAD)
    }

    fn name(&self, i: usize) -> Result<&str, Malformed> {
        let begin = if i == 0 { 0 } else { self.word(self.name_table, 2 * (i - 1))? };
        self.text(begin, self.word(self.name_table, 2 * i)?)
    }

    fn value(&self, i: usize) -> Result<&str, Malformed> {
        let begin = match i.checked_sub(1) {
            Some(before) => self.word(self.value_table, 3 * before)?,
            // Values begin where names end.
            None => match (self.names as usize).checked_sub(1) {
                Some(last) => self.word(self.name_table, 2 * last)?,
                None => 0,
            },
        };
        self.text(begin, self.word(self.value_table, 3 * i)?)
    }

    /// The values of the `i`-th name: the first, and the one behind the last.
    fn values_of(&self, i: usize) -> Result<(usize, usize), Malformed> {
        let begin = if i == 0 { 0 } else { self.word(self.name_table, 2 * (i - 1) + 1)? };
        let end = self.word(self.name_table, 2 * i + 1)?;
        if begin <= end && end <= self.values as usize { Ok((begin, end)) } else { Err(BAD) }
    }

    fn find_name(&self, name: &str) -> Result<Option<usize>, Malformed> {
        search(0, self.names as usize, |i| Ok(self.name(i)?.cmp(name)))
    }

    fn find_value(&self, name: &str, value: &str) -> Result<Option<usize>, Malformed> {
        let Some(i) = self.find_name(name)? else { return Ok(None) };
        let (begin, end) = self.values_of(i)?;
        search(begin, end, |i| Ok(self.value(i)?.cmp(value)))
    }

    /// Which name a value belongs to.
    fn name_of(&self, value: usize) -> Result<usize, Malformed> {
        let (mut low, mut high) = (0, self.names as usize);
        while low < high {
            let mid = low + (high - low) / 2;
            if self.word(self.name_table, 2 * mid + 1)? <= value { low = mid + 1 } else { high = mid }
        }
        Ok(low)
    }

    fn label(&self, pair: u64) -> Result<&Label, Malformed> {
        let i = usize::try_from(pair).map_err(|_| BAD)?;
        let cell = self.labels.get(i).ok_or(BAD)?;
        if let Some(label) = cell.get() {
            return Ok(label);
        }
        let (name, value) = (self.name(self.name_of(i)?)?, self.value(i)?);
        Ok(cell.get_or_init(|| Label { name: Arc::from(name), value: Arc::from(value) }))
    }

    fn list(&self, value: usize) -> Result<Ids<'_>, Malformed> {
        let (at, count) =
            (self.word(self.value_table, 3 * value + 1)?, self.word(self.value_table, 3 * value + 2)?);
        if count > self.series as usize {
            return Err(BAD);
        }
        Ok(Ids::read(self.part(self.lists).get(at..).ok_or(BAD)?, count))
    }

    /// Pairs and places of the series whose entries are told together with that of `id`.
    fn entry_group(&self, id: u64) -> Result<Vec<(Vec<u64>, Place)>, Malformed> {
        let group = usize::try_from(id).map_err(|_| BAD)? / GROUP;
        let at = self.word(self.group_table, group)?;
        let mut r = Reader::new(self.part(self.entries).get(at..).ok_or(BAD)?, "block index");
        let count = (self.series as usize).saturating_sub(group * GROUP).min(GROUP);
        let mut at = r.uvarint()?;
        let mut out: Vec<(Vec<u64>, Place)> = Vec::with_capacity(count);
        for _ in 0..count {
            let before = out.last().map_or(&[][..], |(pairs, _)| pairs);
            let pairs = get_change(&mut r, before)?;
            let len = r.uvarint()?;
            out.push((pairs, Place { at, len }));
            at = at.checked_add(len).ok_or(BAD)?;
        }
        Ok(out)
    }

    fn entry(&self, id: u64) -> Result<(Vec<u64>, Place), Malformed> {
        let within = usize::try_from(id % GROUP as u64).map_err(|_| BAD)?;
        self.entry_group(id)?.into_iter().nth(within).ok_or(BAD)
    }

    fn labels_of(&self, pairs: &[u64]) -> Result<Labels, Malformed> {
        let labels = pairs.iter().map(|p| self.label(*p).cloned()).collect::<Result<Vec<_>, _>>()?;
        Labels::from_sorted(labels).ok_or(BAD)
    }

    /// All names of labels, ascending.
    pub(crate) fn names(&self) -> Result<Vec<String>, SelectError> {
        (0..self.names as usize)
            .map(|i| Ok(self.name(i).map_err(|e| self.corrupt_error(e))?.to_owned()))
            .collect()
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

/// Series of an index in ascending order, whose neighbours are read together.
#[derive(Debug)]
pub(crate) struct Cursor {
    index: Arc<BlockIndex>,
    ids: std::vec::IntoIter<u64>,
    group: Vec<(Vec<u64>, Place)>,
    number: u64,
}

impl Cursor {
    pub(crate) fn new(index: Arc<BlockIndex>, ids: Vec<u64>) -> Cursor {
        Cursor { index, ids: ids.into_iter(), group: Vec::new(), number: u64::MAX }
    }

    /// Labels of the next series, and the place of its chunks.
    pub(crate) fn next(&mut self) -> Result<Option<(Labels, Place)>, SelectError> {
        let Some(id) = self.ids.next() else { return Ok(None) };
        let find = || {
            let number = id / GROUP as u64;
            if number != self.number {
                self.group = self.index.entry_group(id)?;
                self.number = number;
            }
            let within = usize::try_from(id % GROUP as u64).map_err(|_| BAD)?;
            let (pairs, place) = self.group.get(within).ok_or(BAD)?;
            Ok((self.index.labels_of(pairs)?, *place))
        };
        let mut find = find;
        find().map(Some).map_err(|e| self.index.corrupt_error(e))
    }
}

fn search(
    begin: usize,
    end: usize,
    compare: impl Fn(usize) -> Result<std::cmp::Ordering, Malformed>,
) -> Result<Option<usize>, Malformed> {
    let (mut low, mut high) = (begin, end);
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

    fn postings(&self, name: &str, value: &str) -> Result<Ids<'_>, SelectError> {
        let find = || self.find_value(name, value)?.map_or(Ok(Ids::default()), |i| self.list(i));
        find().map_err(|e| self.corrupt_error(e))
    }

    fn each_value(&self, name: &str, visit: &mut Visit<'_>) -> Result<(), SelectError> {
        let bad = |e| self.corrupt_error(e);
        let Some(i) = self.find_name(name).map_err(bad)? else { return Ok(()) };
        let (begin, end) = self.values_of(i).map_err(bad)?;
        for value in begin..end {
            visit(self.value(value).map_err(bad)?, self.list(value).map_err(bad)?)?;
        }
        Ok(())
    }

    fn satisfies(&self, id: u64, matcher: &Matcher) -> Result<bool, SelectError> {
        let check = || {
            let Some(name) = self.find_name(&matcher.name)? else { return Ok(matcher.matches("")) };
            let (begin, end) = self.values_of(name)?;
            let (pairs, _) = self.entry(id)?;
            let within = |p: &&u64| (begin as u64..end as u64).contains(*p);
            let value = match pairs.iter().find(within) {
                Some(pair) => self.value(usize::try_from(*pair).map_err(|_| BAD)?)?,
                None => "",
            };
            Ok(matcher.matches(value))
        };
        check().map_err(|e| self.corrupt_error(e))
    }

    fn corrupt(&self, what: Malformed) -> SelectError {
        self.corrupt_error(what)
    }
}
