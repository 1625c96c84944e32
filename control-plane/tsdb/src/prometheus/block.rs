//! A block, read: its series in the order of their labels, one at a time.

use super::{
    chunk::{self, Fault, Taker},
    error::BlockError,
    file::{File, Window, be32},
    index::{ChunkMeta, Index, Names},
    meta::Meta,
    tombstones::Tombstones,
};
use model::{Labels, SampleColumns, Timestamp};
use std::{
    fs,
    path::{Path, PathBuf},
};

pub(super) const CHUNKS_MAGIC: u32 = 0x85BD_40DD;
pub(super) const CHUNKS_VERSION: u8 = 1;
pub(super) const CHUNKS_HEADER: u64 = 8;

/// The largest chunk that is believed; Prometheus aims at one KiB.
const MOST_CHUNK_BYTES: usize = 16 << 20;
/// Samples, and buckets of histograms, that one series may have in the range that is asked for: half a year of
/// samples every second.
const MOST_SAMPLES: usize = 16 << 20;
const MOST_BUCKETS: usize = 64 << 20;

/// A block that is open for reading.
#[derive(Debug)]
pub struct Block {
    dir: PathBuf,
    meta: Meta,
    index: Index,
    segments: Vec<File>,
    tombstones: Tombstones,
}

impl Block {
    /// Opens the block in `dir` and checks what can be checked without reading all of it: the table of contents,
    /// the symbols, the list of series, the deletions. Series and chunks are checked as they are read.
    ///
    /// # Errors
    /// What is missing, damaged or not known here, by file and place.
    pub fn open(dir: &Path) -> Result<Block, BlockError> {
        let meta = Meta::read(dir)?;
        let index = Index::open(File::open(&dir.join("index"))?)?;
        let stones = dir.join("tombstones");
        let tombstones =
            if stones.exists() { Tombstones::read(&File::open(&stones)?)? } else { Tombstones::default() };
        let segments = open_segments(&dir.join("chunks"))?;
        Ok(Block { dir: dir.to_owned(), meta, index, segments, tombstones })
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    pub fn meta(&self) -> &Meta {
        &self.meta
    }

    /// The number of its series.
    pub fn len(&self) -> usize {
        self.index.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Its series with samples from `start` to `end`, both inclusive.
    pub fn series(&self, start: Timestamp, end: Timestamp) -> SeriesReader<'_> {
        SeriesReader {
            block: self,
            wanted: (start, end),
            next: 0,
            last: None,
            index: Window::new(self.index.file.clone()),
            names: Names::default(),
            chunks: None,
        }
    }
}

/// Segments are numbered from 1 without gaps.
fn open_segments(dir: &Path) -> Result<Vec<File>, BlockError> {
    let mut names = Vec::new();
    for entry in fs::read_dir(dir).map_err(|e| BlockError::io(dir, e))? {
        let name = entry.map_err(|e| BlockError::io(dir, e))?.file_name();
        let number = name.to_str().and_then(|n| n.parse::<u32>().ok());
        names.extend(number.map(|n| (n, dir.join(&name))));
    }
    names.sort();
    let mut segments = Vec::new();
    for (expected, (number, path)) in (1..).zip(names) {
        if number != expected {
            let what = format!("segment {expected} of its chunks is missing");
            return Err(BlockError::unsupported(dir, what));
        }
        segments.push(open_segment(File::open(&path)?)?);
    }
    Ok(segments)
}

pub(super) fn open_segment(file: File) -> Result<File, BlockError> {
    let head = file.read(0, 8, "the header")?;
    if be32(&head) != CHUNKS_MAGIC {
        return Err(file.damaged(0, "it does not begin as chunks of a Prometheus block"));
    }
    if head[4] != CHUNKS_VERSION {
        let what = format!("version {} of chunks is not known here: {CHUNKS_VERSION} is", head[4]);
        return Err(BlockError::unsupported(&file.path, what));
    }
    Ok(file)
}

/// Gives the series of a block one after the other.
#[derive(Debug)]
pub struct SeriesReader<'a> {
    block: &'a Block,
    wanted: (Timestamp, Timestamp),
    next: usize,
    last: Option<Labels>,
    index: Window,
    names: Names,
    /// The segment that was read last.
    chunks: Option<(usize, Window)>,
}

impl SeriesReader<'_> {
    /// Decodes the next series into `into`, which is cleared first, and returns its labels; `None` at the end.
    /// Series without a sample in the range are left out.
    ///
    /// # Errors
    /// Damage, by file and place. The reader is of no use after it.
    pub fn next(&mut self, into: &mut SampleColumns) -> Result<Option<Labels>, BlockError> {
        loop {
            into.clear();
            let Some(entry) = self.block.index.entry(&mut self.index, self.next)? else { return Ok(None) };
            self.next += 1;
            let outside = |c: &ChunkMeta| c.max < self.wanted.0 || c.min > self.wanted.1;
            if entry.chunks.iter().all(outside) {
                continue;
            }
            let labels = self.block.index.labels(&entry, &mut self.names)?;
            if self.last.as_ref().is_some_and(|last| *last >= labels) {
                let what = "the series do not ascend by their labels";
                return Err(self.block.index.file.damaged(entry.at, what));
            }
            self.last = Some(labels.clone());
            let (mut last, mut buckets) = (None, 0);
            for meta in entry.chunks.iter().filter(|c| !outside(c)) {
                let taker = Taker {
                    into,
                    wanted: self.wanted,
                    claimed: (meta.min, meta.max),
                    deleted: self.block.tombstones.of(entry.id),
                    last,
                    buckets,
                };
                (last, buckets) = read_chunk(&self.block.segments, &mut self.chunks, meta, taker, || {
                    self.block.index.file.damaged(entry.at, "a chunk of a series is in no segment")
                })?;
                if into.len() > MOST_SAMPLES || buckets > MOST_BUCKETS {
                    let what =
                        "a series has more samples in the range than fit the memory; ask for a shorter range";
                    return Err(self.block.index.file.damaged(entry.at, what));
                }
            }
            if !into.is_empty() {
                return Ok(Some(labels));
            }
        }
    }
}

/// Decodes one chunk; returns the time of its last sample, and how many buckets the series has by now.
pub(super) fn read_chunk(
    segments: &[File],
    open: &mut Option<(usize, Window)>,
    meta: &ChunkMeta,
    mut taker: Taker<'_>,
    nowhere: impl Fn() -> BlockError,
) -> Result<(Option<Timestamp>, usize), BlockError> {
    let number = usize::try_from(meta.place >> 32).map_err(|_| nowhere())?;
    let at = meta.place & u64::from(u32::MAX);
    let window = match open {
        Some((n, window)) if *n == number => window,
        _ => {
            let file = segments.get(number).ok_or_else(&nowhere)?.clone();
            &mut open.insert((number, Window::new(file))).1
        }
    };
    let (_, body) = window.entry(at, 1, MOST_CHUNK_BYTES, "a chunk")?;
    let (encoding, data) = body.split_first().ok_or_else(&nowhere)?;
    let decoded = chunk::decode(*encoding, data, &mut taker);
    let (last, buckets) = (taker.last, taker.buckets);
    match decoded {
        Ok(()) => Ok((last, buckets)),
        Err(Fault::Malformed(what)) => {
            Err(window.file.damaged(at, format!("a chunk cannot be read: {what}")))
        }
        Err(Fault::Unknown(what)) => Err(BlockError::unsupported(&window.file.path, what)),
    }
}
