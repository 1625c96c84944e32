//! The index of a block, read: symbols, the list of all series, and each series with its labels and chunks.
//!
//! Versions 1 and 2. The symbols and the list stay in memory, as they do in Prometheus; series are read one at a
//! time, in the order of their labels, which is that of the list.

use super::{
    error::BlockError,
    file::{File, Window, be32},
};
use crate::bytes::{Malformed, Reader};
use model::{Label, Labels, Timestamp};
use std::{collections::HashMap, sync::Arc};

pub(super) const MAGIC: u32 = 0xBAAA_D700;
/// Six places and their checksum, at the end of the file.
pub(super) const TOC_BYTES: u64 = 6 * 8 + 4;

/// The largest series entry that is believed.
const MOST_ENTRY_BYTES: usize = 16 << 20;
/// The largest table of symbols, and list of series, that is taken into memory.
const MOST_TABLE_BYTES: u64 = 2 << 30;
/// Label names that are kept as shared strings.
const MOST_NAMES: usize = 4096;

/// A chunk as the index knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ChunkMeta {
    /// Times of its first and last sample.
    pub(super) min: Timestamp,
    pub(super) max: Timestamp,
    /// The number of the segment above, the place in it below.
    pub(super) place: u64,
}

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) id: u64,
    /// Name and value of each label.
    symbols: Vec<(u64, u64)>,
    pub(super) chunks: Vec<ChunkMeta>,
    /// Where in the index it stands.
    pub(super) at: u64,
}

#[derive(Debug)]
struct Symbols {
    /// Version 1 names a symbol by its place in the file, version 2 by its number.
    by_place: bool,
    /// Where in the file `bytes` begins.
    begin: u64,
    bytes: Vec<u8>,
    starts: Vec<u32>,
}

#[derive(Debug)]
pub(super) struct Index {
    pub(super) file: File,
    version: u8,
    symbols: Symbols,
    /// Numbers of all series, in the order of their labels.
    all: Vec<u32>,
}

/// Places of the sections; 0 for one that is not there.
#[derive(Debug)]
struct Toc {
    symbols: u64,
    postings_table: u64,
}

impl Index {
    pub(super) fn open(file: File) -> Result<Index, BlockError> {
        let head = file.read(0, 5, "the header")?;
        if be32(&head) != MAGIC {
            return Err(file.damaged(0, "it does not begin as the index of a Prometheus block"));
        }
        let version = head[4];
        if !matches!(version, 1 | 2) {
            let what = format!("version {version} of the index is not known here: 1 and 2 are");
            return Err(BlockError::unsupported(&file.path, what));
        }
        let toc = read_toc(&file)?;
        let symbols = Symbols::read(&file, toc.symbols, version == 1)?;
        let all = read_all(&file, toc.postings_table)?;
        Ok(Index { file, version, symbols, all })
    }

    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    /// The `n`-th series in the order of labels.
    pub(super) fn entry(&self, window: &mut Window, n: usize) -> Result<Option<Entry>, BlockError> {
        let Some(id) = self.all.get(n) else { return Ok(None) };
        let id = u64::from(*id);
        let at = if self.version == 1 { id } else { id * 16 };
        let (_, bytes) = window.entry(at, 0, MOST_ENTRY_BYTES, "a series")?;
        let mut reader = Reader::new(bytes, "series");
        let (symbols, chunks) =
            read_entry(&mut reader).map_err(|_| self.file.damaged(at, "a series is malformed"))?;
        Ok(Some(Entry { id, symbols, chunks, at }))
    }

    /// The labels of a series. Apart from it, because of most series of a long block few chunks are wanted.
    pub(super) fn labels(&self, entry: &Entry, names: &mut Names) -> Result<Labels, BlockError> {
        let symbol = |number| {
            let text = self.symbols.get(number);
            text.ok_or_else(|| self.file.damaged(entry.at, format!("symbol {number} of a series is none")))
        };
        let mut labels = Vec::with_capacity(entry.symbols.len());
        for (name, value) in &entry.symbols {
            let name = match names.0.get(name) {
                Some(known) => Arc::clone(known),
                None => {
                    let text: Arc<str> = Arc::from(symbol(*name)?);
                    if names.0.len() < MOST_NAMES {
                        names.0.insert(*name, Arc::clone(&text));
                    }
                    text
                }
            };
            labels.push(Label { name, value: Arc::from(symbol(*value)?) });
        }
        let wrong =
            || self.file.damaged(entry.at, "the labels of a series are not in order, or one is empty");
        Labels::from_sorted(labels).ok_or_else(wrong)
    }
}

/// Label names that were met.
#[derive(Debug, Default)]
pub(super) struct Names(HashMap<u64, Arc<str>>);

type Parts = (Vec<(u64, u64)>, Vec<ChunkMeta>);

fn read_entry(reader: &mut Reader<'_>) -> Result<Parts, Malformed> {
    let mut labels = Vec::new();
    // Two bytes at least each.
    for _ in 0..reader.count()? {
        labels.push((reader.uvarint()?, reader.uvarint()?));
    }
    let mut chunks: Vec<ChunkMeta> = Vec::new();
    for _ in 0..reader.count()? {
        let bad = reader.bad();
        let chunk = match chunks.last() {
            None => {
                let min = reader.ivarint()?;
                let max = ascend(min, reader.uvarint()?).ok_or(bad)?;
                ChunkMeta { min, max, place: reader.uvarint()? }
            }
            Some(last) => {
                let min = ascend(last.max, reader.uvarint()?).ok_or(bad)?;
                let max = ascend(min, reader.uvarint()?).ok_or(bad)?;
                let place = last.place.checked_add_signed(reader.ivarint()?).ok_or(bad)?;
                ChunkMeta { min, max, place }
            }
        };
        chunks.push(chunk);
    }
    Ok((labels, chunks))
}

fn ascend(from: i64, by: u64) -> Option<i64> {
    from.checked_add_unsigned(by)
}

fn read_toc(file: &File) -> Result<Toc, BlockError> {
    let short = || file.damaged(file.len, "the file is too short for an index");
    let at = file.len.checked_sub(TOC_BYTES).filter(|at| *at >= 5).ok_or_else(short)?;
    let bytes = file.read(at, 52, "the table of contents")?;
    let (body, crc) = bytes.split_at(48);
    if !file.confirms(super::crc::crc32c(body), be32(crc)) {
        return Err(file.damaged(at, "the checksum of the table of contents is wrong"));
    }
    let place = |n: usize| {
        let word = body.as_chunks::<8>().0.get(n).copied().unwrap_or_default();
        u64::from_be_bytes(word)
    };
    Ok(Toc { symbols: place(0), postings_table: place(5) })
}

impl Symbols {
    fn read(file: &File, at: u64, by_place: bool) -> Result<Symbols, BlockError> {
        let none = Symbols { by_place, begin: 0, bytes: Vec::new(), starts: Vec::new() };
        if at == 0 {
            return Ok(none);
        }
        let (begin, len) = file.section(at, "the symbols")?;
        let fits = usize::try_from(len).ok().filter(|_| (4..=MOST_TABLE_BYTES).contains(&len));
        let len = fits.ok_or_else(|| file.damaged(at, "the symbols take no possible number of bytes"))?;
        let bytes = file.read(begin, len, "the symbols")?;
        let count = be32(&bytes);
        let mut starts = Vec::new();
        let mut reader = Reader::new(&bytes[4..], "symbol");
        for n in 0..count {
            let start = len - reader.remaining();
            starts.push(u32::try_from(start).unwrap_or(u32::MAX));
            let bad = |_| file.damaged(begin + start as u64, format!("symbol {n} of {count} is malformed"));
            reader.str().map_err(bad)?;
        }
        Ok(Symbols { begin, bytes, starts, ..none })
    }

    fn get(&self, number: u64) -> Option<&str> {
        let start = if self.by_place {
            usize::try_from(number.checked_sub(self.begin)?).ok()?
        } else {
            usize::try_from(*self.starts.get(usize::try_from(number).ok()?)?).ok()?
        };
        Reader::new(self.bytes.get(start..)?, "symbol").str().ok()
    }
}

/// The list of all series: it is kept under the empty name and the empty value.
fn read_all(file: &File, table_at: u64) -> Result<Vec<u32>, BlockError> {
    if table_at == 0 {
        return Ok(Vec::new());
    }
    let (begin, len) = file.section(table_at, "the table of postings")?;
    if len < 4 {
        return Err(file.damaged(table_at, "the table of postings has no count"));
    }
    let mut window = Window::new(file.clone());
    let count = be32(window.exactly(begin, 4, "the table of postings")?);
    let (mut at, end) = (begin + 4, begin + len);
    for _ in 0..count {
        let cut = |at| file.damaged(at, "an entry of the table of postings is malformed");
        // Almost always the first entry is the one, so the walk is short.
        let keys = window.exactly(at, 1, "the table of postings")?[0];
        if keys != 2 {
            return Err(cut(at));
        }
        let mut next = at + 1;
        let mut empty = true;
        for _ in 0..2 {
            let (text, skip) = window.uvarint(next, "a text")?;
            empty &= text == 0;
            next = next
                .checked_add(skip)
                .and_then(|n| n.checked_add(text))
                .filter(|n| *n <= end)
                .ok_or_else(|| cut(at))?;
        }
        let (list, skip) = window.uvarint(next, "a place")?;
        if empty {
            return read_list(file, list);
        }
        at = next + skip;
        if at > end {
            return Err(cut(at));
        }
    }
    if count == 0 { Ok(Vec::new()) } else { Err(file.damaged(table_at, "there is no list of all series")) }
}

fn read_list(file: &File, at: u64) -> Result<Vec<u32>, BlockError> {
    let (begin, len) = file.section(at, "the list of all series")?;
    let fits = usize::try_from(len).ok().filter(|_| len <= MOST_TABLE_BYTES);
    let bytes = file.read(begin, fits.unwrap_or(usize::MAX), "the list of all series")?;
    let words = bytes.as_chunks::<4>().0;
    let count = words.first().map(|w| u32::from_be_bytes(*w));
    if !bytes.len().is_multiple_of(4) || count.map(u64::from) != Some(words.len().saturating_sub(1) as u64) {
        return Err(file.damaged(at, "the list of all series is not as long as it says"));
    }
    let all: Vec<u32> = words[1..].iter().map(|w| u32::from_be_bytes(*w)).collect();
    if !all.is_sorted_by(|a, b| a < b) {
        return Err(file.damaged(at, "the list of all series does not ascend"));
    }
    Ok(all)
}
