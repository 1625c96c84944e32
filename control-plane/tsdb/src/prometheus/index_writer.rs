//! The index of a block, written: version 2.
//!
//! Symbols stand first in the file and are sorted, but are known only when the last series has come. So series
//! wait in a spool file, with the texts numbered as they came; symbols and lists of series stay in memory.

use super::{
    crc::{Crc, crc32c},
    encode::Encoded,
    error::BlockError,
    index::MAGIC,
};
use crate::bytes::{Reader, put_ivarint, put_uvarint};
use model::Labels;
use std::{
    collections::{BTreeMap, HashMap},
    fs::File,
    io::{self, BufReader, BufWriter, Read, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

const VERSION: u8 = 2;

/// Gathers series in the order of their labels.
#[derive(Debug)]
pub(super) struct IndexWriter {
    path: PathBuf,
    spool_path: PathBuf,
    spool: BufWriter<File>,
    /// Texts by the number under which they came.
    texts: Vec<Arc<str>>,
    numbers: HashMap<Arc<str>, u32>,
    /// The series, by their number in order, that have a name and a value.
    lists: HashMap<(u32, u32), Vec<u32>>,
    series: u32,
    entry: Vec<u8>,
}

/// Writes a file and knows where it is.
struct Out {
    path: PathBuf,
    file: BufWriter<File>,
    at: u64,
}

impl Out {
    fn create(path: &Path) -> Result<Out, BlockError> {
        let file = File::create_new(path).map_err(|e| BlockError::io(path, e))?;
        Ok(Out { path: path.to_owned(), file: BufWriter::with_capacity(256 << 10, file), at: 0 })
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), BlockError> {
        self.file.write_all(bytes).map_err(|e| BlockError::io(&self.path, e))?;
        self.at += bytes.len() as u64;
        Ok(())
    }

    /// Zeros until the place is a multiple of `n`, which is at most 16.
    fn align(&mut self, n: u64) -> Result<(), BlockError> {
        let zeros = usize::try_from(self.at.next_multiple_of(n) - self.at).unwrap_or(0);
        self.put(&[0; 16][..zeros])
    }

    /// A length, the bytes, their checksum.
    fn section(&mut self, payload: &[u8]) -> Result<u64, BlockError> {
        let at = self.at;
        let len = u32::try_from(payload.len()).map_err(|_| too_large())?;
        self.put(&len.to_be_bytes())?;
        self.put(payload)?;
        self.put(&crc32c(payload).to_be_bytes())?;
        Ok(at)
    }

    fn finish(mut self) -> Result<(), BlockError> {
        let flushed = self.file.flush().and_then(|()| self.file.get_ref().sync_all());
        flushed.map_err(|e| BlockError::io(&self.path, e))
    }
}

fn too_large() -> BlockError {
    BlockError::Refused("its index would be too large for the format; choose shorter blocks".to_owned())
}

/// Places of the sections, as the table of contents names them.
#[derive(Debug, Default)]
struct Toc {
    symbols: u64,
    series: u64,
    label_indices: u64,
    label_table: u64,
    postings: u64,
    postings_table: u64,
}

impl IndexWriter {
    /// `dir` is the block's folder.
    pub(super) fn create(dir: &Path) -> Result<IndexWriter, BlockError> {
        let spool_path = dir.join("index.spool");
        let file = File::create_new(&spool_path).map_err(|e| BlockError::io(&spool_path, e))?;
        Ok(IndexWriter {
            path: dir.join("index"),
            spool_path,
            spool: BufWriter::with_capacity(256 << 10, file),
            texts: Vec::new(),
            numbers: HashMap::new(),
            lists: HashMap::new(),
            series: 0,
            entry: Vec::new(),
        })
    }

    fn number(&mut self, text: &Arc<str>) -> Result<u32, BlockError> {
        if let Some(n) = self.numbers.get(text) {
            return Ok(*n);
        }
        let n = u32::try_from(self.texts.len()).map_err(|_| too_large())?;
        self.texts.push(Arc::clone(text));
        self.numbers.insert(Arc::clone(text), n);
        Ok(n)
    }

    /// Adds a series with its chunks and the places where they stand.
    pub(super) fn series(&mut self, labels: &Labels, chunks: &[ChunkPlace]) -> Result<(), BlockError> {
        let mut entry = std::mem::take(&mut self.entry);
        entry.clear();
        put_uvarint(&mut entry, labels.len() as u64);
        for l in labels {
            let (name, value) = (self.number(&l.name)?, self.number(&l.value)?);
            put_uvarint(&mut entry, u64::from(name));
            put_uvarint(&mut entry, u64::from(value));
            self.lists.entry((name, value)).or_default().push(self.series);
        }
        put_uvarint(&mut entry, chunks.len() as u64);
        let mut last: Option<&ChunkPlace> = None;
        for c in chunks {
            match last {
                None => put_ivarint(&mut entry, c.min),
                Some(l) => put_uvarint(&mut entry, c.min.wrapping_sub(l.max).cast_unsigned()),
            }
            put_uvarint(&mut entry, c.max.wrapping_sub(c.min).cast_unsigned());
            match last {
                None => put_uvarint(&mut entry, c.place),
                Some(l) => put_ivarint(&mut entry, c.place.wrapping_sub(l.place).cast_signed()),
            }
            last = Some(c);
        }
        let mut frame = Vec::with_capacity(5);
        put_uvarint(&mut frame, entry.len() as u64);
        let written = self.spool.write_all(&frame).and_then(|()| self.spool.write_all(&entry));
        written.map_err(|e| BlockError::io(&self.spool_path, e))?;
        self.series = self.series.checked_add(1).ok_or_else(too_large)?;
        self.entry = entry;
        Ok(())
    }

    /// Writes the file and syncs it; the spool is gone then.
    pub(super) fn finish(mut self) -> Result<(), BlockError> {
        let io = |e| BlockError::io(&self.spool_path, e);
        self.spool.flush().map_err(io)?;
        let mut sorted: Vec<u32> = (0..).take(self.texts.len()).collect();
        let text = |n: u32| &*self.texts[usize::try_from(n).unwrap_or(usize::MAX)];
        sorted.sort_unstable_by_key(|n| text(*n));
        // The symbol that each text became.
        let mut symbols = vec![0u32; sorted.len()];
        for (symbol, n) in (0..).zip(&sorted) {
            symbols[usize::try_from(*n).unwrap_or(usize::MAX)] = symbol;
        }
        let mut out = Out::create(&self.path)?;
        out.put(&MAGIC.to_be_bytes())?;
        out.put(&[VERSION])?;
        let mut toc = Toc { symbols: out.at, ..Toc::default() };
        put_symbols(&mut out, sorted.iter().map(|n| text(*n)))?;
        out.align(16)?;
        toc.series = out.at;
        let ids = copy_series(&self.spool_path, self.series, &symbols, &mut out)?;
        std::fs::remove_file(&self.spool_path).map_err(io)?;

        // In the order of texts, which is that of symbols.
        let symbol = |n: u32| symbols[usize::try_from(n).unwrap_or(usize::MAX)];
        let lists: BTreeMap<(u32, u32), &Vec<u32>> =
            self.lists.iter().map(|((n, v), list)| ((symbol(*n), symbol(*v)), list)).collect();
        let text = |symbol: u32| text(sorted[usize::try_from(symbol).unwrap_or(usize::MAX)]);
        out.align(4)?;
        toc.label_indices = out.at;
        let label_table = put_label_indices(&mut out, lists.keys(), text)?;
        out.align(4)?;
        toc.postings = out.at;
        let postings_table = put_postings(&mut out, &ids, &lists, text)?;
        toc.label_table = out.section(&label_table)?;
        toc.postings_table = out.section(&postings_table)?;
        let mut end = Vec::new();
        for place in
            [toc.symbols, toc.series, toc.label_indices, toc.label_table, toc.postings, toc.postings_table]
        {
            end.extend_from_slice(&place.to_be_bytes());
        }
        let crc = crc32c(&end);
        end.extend_from_slice(&crc.to_be_bytes());
        out.put(&end)?;
        out.finish()
    }
}

/// A chunk that was written: its times, and its place (the number of its segment above, where it begins below).
#[derive(Debug, Clone, Copy)]
pub(super) struct ChunkPlace {
    min: i64,
    max: i64,
    place: u64,
}

impl ChunkPlace {
    pub(super) fn of(chunk: &Encoded, place: u64) -> ChunkPlace {
        ChunkPlace { min: chunk.min, max: chunk.max, place }
    }

    pub(super) fn max(&self) -> i64 {
        self.max
    }
}

fn put_symbols<'a>(out: &mut Out, texts: impl Iterator<Item = &'a str> + Clone) -> Result<(), BlockError> {
    let mut len = 4usize;
    let mut count = 0u32;
    let mut one = Vec::new();
    for t in texts.clone() {
        one.clear();
        put_uvarint(&mut one, t.len() as u64);
        len += one.len() + t.len();
        count += 1;
    }
    out.put(&u32::try_from(len).map_err(|_| too_large())?.to_be_bytes())?;
    let mut crc = Crc::new();
    let mut put = |out: &mut Out, bytes: &[u8]| {
        crc.update(bytes);
        out.put(bytes)
    };
    put(out, &count.to_be_bytes())?;
    for t in texts {
        one.clear();
        put_uvarint(&mut one, t.len() as u64);
        put(out, &one)?;
        put(out, t.as_bytes())?;
    }
    out.put(&crc.value().to_be_bytes())
}

/// Writes the series with their final symbols, each at a multiple of 16; returns their numbers, `place / 16`.
fn copy_series(spool: &Path, count: u32, symbols: &[u32], out: &mut Out) -> Result<Vec<u32>, BlockError> {
    let io = |e| BlockError::io(spool, e);
    let mut from = BufReader::with_capacity(256 << 10, File::open(spool).map_err(io)?);
    let mut ids = Vec::new();
    let (mut entry, mut made, mut frame) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..count {
        let len = read_len(&mut from).map_err(io)?;
        entry.resize(len, 0);
        from.read_exact(&mut entry).map_err(io)?;
        made.clear();
        let changed = renumber(&entry, symbols, &mut made);
        changed.map_err(|_| BlockError::damaged(spool, 0, "the spool is not what was written"))?;
        out.align(16)?;
        ids.push(u32::try_from(out.at / 16).map_err(|_| too_large())?);
        frame.clear();
        put_uvarint(&mut frame, made.len() as u64);
        out.put(&frame)?;
        out.put(&made)?;
        out.put(&crc32c(&made).to_be_bytes())?;
    }
    Ok(ids)
}

fn read_len(from: &mut impl Read) -> io::Result<usize> {
    let (mut v, mut shift) = (0usize, 0);
    loop {
        let mut byte = [0];
        from.read_exact(&mut byte)?;
        v |= usize::from(byte[0] & 0x7f) << shift;
        shift += 7;
        if byte[0] < 0x80 {
            return Ok(v);
        }
        if shift > 28 {
            return Err(io::ErrorKind::InvalidData.into());
        }
    }
}

fn renumber(entry: &[u8], symbols: &[u32], out: &mut Vec<u8>) -> Result<(), crate::bytes::Malformed> {
    let mut reader = Reader::new(entry, "series");
    let labels = reader.count()?;
    put_uvarint(out, labels as u64);
    for _ in 0..labels * 2 {
        let bad = reader.bad();
        let n = usize::try_from(reader.uvarint()?).map_err(|_| bad)?;
        put_uvarint(out, u64::from(*symbols.get(n).ok_or(bad)?));
    }
    out.extend_from_slice(reader.take(reader.remaining())?);
    Ok(())
}

/// The values of each name, which older readers ask for; returns the table that leads to them.
fn put_label_indices<'a>(
    out: &mut Out,
    pairs: impl Iterator<Item = &'a (u32, u32)>,
    text: impl Fn(u32) -> &'a str,
) -> Result<Vec<u8>, BlockError> {
    let mut values: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    pairs.for_each(|(name, value)| values.entry(*name).or_default().push(*value));
    let mut table = u32::try_from(values.len()).map_err(|_| too_large())?.to_be_bytes().to_vec();
    for (name, values) in values {
        out.align(4)?;
        let mut list = 1u32.to_be_bytes().to_vec();
        list.extend_from_slice(&u32::try_from(values.len()).map_err(|_| too_large())?.to_be_bytes());
        values.iter().for_each(|v| list.extend_from_slice(&v.to_be_bytes()));
        let at = out.section(&list)?;
        table.push(1);
        put_text(&mut table, text(name));
        put_uvarint(&mut table, at);
    }
    Ok(table)
}

/// The series of each pair, first of all of them; returns the table that leads to them.
fn put_postings<'a>(
    out: &mut Out,
    ids: &[u32],
    lists: &BTreeMap<(u32, u32), &Vec<u32>>,
    text: impl Fn(u32) -> &'a str,
) -> Result<Vec<u8>, BlockError> {
    let mut table = u32::try_from(lists.len() + 1).map_err(|_| too_large())?.to_be_bytes().to_vec();
    let mut entry = |at: u64, name: &str, value: &str| {
        table.push(2);
        put_text(&mut table, name);
        put_text(&mut table, value);
        put_uvarint(&mut table, at);
    };
    entry(put_list(out, ids.iter().copied(), ids.len())?, "", "");
    for ((name, value), list) in lists {
        let numbers = list.iter().map(|n| ids[usize::try_from(*n).unwrap_or(usize::MAX)]);
        entry(put_list(out, numbers, list.len())?, text(*name), text(*value));
    }
    Ok(table)
}

fn put_list(out: &mut Out, ids: impl Iterator<Item = u32>, len: usize) -> Result<u64, BlockError> {
    out.align(4)?;
    let mut list = u32::try_from(len).map_err(|_| too_large())?.to_be_bytes().to_vec();
    ids.for_each(|id| list.extend_from_slice(&id.to_be_bytes()));
    out.section(&list)
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    put_uvarint(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}
