//! A block, written: series after series in the order of their labels, then the index, then the folder gets its
//! name.
//!
//! Until then the folder is called `ULID.tmp-for-creation`, which Prometheus removes when it starts; every file
//! and folder is synced before. So a block is there whole or not at all.

use super::{
    block::{CHUNKS_HEADER, CHUNKS_MAGIC, CHUNKS_VERSION},
    crc::Crc,
    encode::{Encoded, encode},
    error::BlockError,
    index_writer::{ChunkPlace, IndexWriter},
    meta::{Compaction, META, Meta, Stats, Ulid, VERSION},
    tombstones,
};
use crate::bytes::put_uvarint;
use model::{Labels, SampleColumns, Timestamp, histogram::CUSTOM_BUCKETS_SCHEMA};
use std::{
    fs::{self, File},
    io::{BufWriter, Write},
    path::{Path, PathBuf},
};

/// The end of the name of a folder that is not finished.
pub(super) const UNFINISHED: &str = ".tmp-for-creation";

/// Bytes after which another segment begins: 512 MiB.
const SEGMENT_BYTES: u64 = 512 << 20;

/// What is to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockOptions {
    pub ulid: Ulid,
    /// The range of the block: from `min_time` to before `max_time`.
    pub min_time: Timestamp,
    pub max_time: Timestamp,
    /// Let the block end with its last sample. A Prometheus takes no sample from before the end of its newest block,
    /// so a block must not reach into the future.
    pub end_with_samples: bool,
    /// How often it was compacted: 1 for a block of two hours.
    pub level: u32,
    /// Leave out histograms with custom buckets, which Prometheus before 3.0 does not understand.
    pub skip_custom_buckets: bool,
    /// Bytes after which another segment of chunks begins; `None`: 512 MiB, as Prometheus has it.
    pub segment_bytes: Option<u64>,
}

impl BlockOptions {
    pub fn new(ulid: Ulid, min_time: Timestamp, max_time: Timestamp) -> BlockOptions {
        BlockOptions {
            ulid,
            min_time,
            max_time,
            end_with_samples: false,
            level: 1,
            skip_custom_buckets: false,
            segment_bytes: None,
        }
    }
}

/// A block that was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    pub dir: PathBuf,
    pub meta: Meta,
    /// Start times, for which the encodings that every Prometheus reads have no place.
    pub start_times_left_out: u64,
    pub custom_buckets_left_out: u64,
    /// Histograms with custom buckets that were written.
    pub custom_buckets: u64,
}

/// Writes one block.
#[derive(Debug)]
pub struct BlockWriter {
    options: BlockOptions,
    out: PathBuf,
    dir: PathBuf,
    index: Option<IndexWriter>,
    segments: Segments,
    last: Option<Labels>,
    newest: Timestamp,
    stats: Stats,
    start_times: u64,
    custom_buckets: u64,
    custom_left_out: u64,
}

impl BlockWriter {
    /// Begins a block in the folder `out`, which is there.
    pub fn create(out: &Path, options: BlockOptions) -> Result<BlockWriter, BlockError> {
        if options.min_time >= options.max_time {
            return Err(BlockError::Refused("its times are no range".to_owned()));
        }
        let dir = out.join(format!("{}{UNFINISHED}", options.ulid));
        let chunks = dir.join("chunks");
        fs::create_dir(&dir).map_err(|e| BlockError::io(&dir, e))?;
        fs::create_dir(&chunks).map_err(|e| BlockError::io(&chunks, e))?;
        let index = Some(IndexWriter::create(&dir)?);
        let segments = Segments::new(chunks, options.segment_bytes.unwrap_or(SEGMENT_BYTES));
        Ok(BlockWriter {
            options,
            out: out.to_owned(),
            dir,
            index,
            segments,
            last: None,
            newest: options.min_time,
            stats: Stats::default(),
            start_times: 0,
            custom_buckets: 0,
            custom_left_out: 0,
        })
    }

    /// Adds a series: after those that were added, in the order of labels; its samples within the block's range.
    /// A series without samples is not written.
    pub fn series(&mut self, labels: &Labels, samples: &SampleColumns) -> Result<(), BlockError> {
        let refused = |what: &str| Err(BlockError::Refused(format!("{labels}: {what}")));
        if self.last.as_ref().is_some_and(|last| last >= labels) {
            return refused("it does not come after the series before it");
        }
        if !samples.times.is_sorted_by(|a, b| a < b) {
            return refused("its times do not ascend");
        }
        if let (Some(first), Some(last)) = (samples.times.first(), samples.times.last())
            && (*first < self.options.min_time || *last >= self.options.max_time)
        {
            return refused("it has samples outside the times of the block");
        }
        let custom =
            samples.histograms.iter().filter(|(_, h)| h.schema == CUSTOM_BUCKETS_SCHEMA).count() as u64;
        let skip = self.options.skip_custom_buckets;
        let mut places = Vec::new();
        let segments = &mut self.segments;
        encode(
            samples,
            |h| !skip || h.schema != CUSTOM_BUCKETS_SCHEMA,
            |chunk| {
                let place = segments.put(&chunk)?;
                places.push(ChunkPlace::of(&chunk, place));
                Ok(())
            },
        )?;
        if skip {
            self.custom_left_out += custom;
        } else {
            self.custom_buckets += custom;
        }
        if places.is_empty() {
            return Ok(());
        }
        if let Some(index) = &mut self.index {
            index.series(labels, &places)?;
        }
        self.newest = self.newest.max(places.last().map_or(self.newest, ChunkPlace::max));
        let histograms = samples.histograms.len() as u64 - if skip { custom } else { 0 };
        let floats = (samples.len() - samples.histograms.len()) as u64;
        self.stats.num_series += 1;
        self.stats.num_chunks += places.len() as u64;
        self.stats.num_float_samples += floats;
        self.stats.num_histogram_samples += histograms;
        self.stats.num_samples += floats + histograms;
        self.start_times += samples.starts.iter().filter(|s| **s != 0).count() as u64;
        self.last = Some(labels.clone());
        Ok(())
    }

    /// Series that were written so far.
    pub fn stats(&self) -> Stats {
        self.stats
    }

    /// Finishes the block and gives its folder its name. `None`, and no folder, when no sample came.
    pub fn finish(mut self) -> Result<Option<Written>, BlockError> {
        let Some(index) = self.index.take() else { return Ok(None) };
        if self.stats.num_series == 0 {
            return Ok(None);
        }
        self.segments.finish()?;
        index.finish()?;
        let meta = Meta {
            ulid: self.options.ulid,
            min_time: self.options.min_time,
            max_time: if self.options.end_with_samples { self.newest + 1 } else { self.options.max_time },
            stats: self.stats,
            compaction: Compaction {
                level: self.options.level,
                sources: vec![self.options.ulid],
                parents: Vec::new(),
            },
            version: VERSION,
        };
        write_file(&self.dir.join("tombstones"), &tombstones::none())?;
        let text = serde_json::to_vec_pretty(&meta)
            .map_err(|e| BlockError::Refused(format!("its description cannot be written: {e}")))?;
        write_file(&self.dir.join(META), &text)?;
        sync_dir(&self.dir.join("chunks"))?;
        sync_dir(&self.dir)?;
        let named = self.out.join(self.options.ulid.to_string());
        fs::rename(&self.dir, &named).map_err(|e| BlockError::io(&named, e))?;
        sync_dir(&self.out)?;
        Ok(Some(Written {
            dir: named,
            meta,
            start_times_left_out: self.start_times,
            custom_buckets_left_out: self.custom_left_out,
            custom_buckets: self.custom_buckets,
        }))
    }
}

impl Drop for BlockWriter {
    fn drop(&mut self) {
        // After `finish` it has another name. What cannot be removed is removed by Prometheus, or the next export.
        if self.dir.exists() {
            drop(fs::remove_dir_all(&self.dir));
        }
    }
}

pub(super) fn sync_dir(dir: &Path) -> Result<(), BlockError> {
    File::open(dir).and_then(|d| d.sync_all()).map_err(|e| BlockError::io(dir, e))
}

fn write_file(path: &Path, bytes: &[u8]) -> Result<(), BlockError> {
    let written = File::create_new(path).and_then(|mut f| {
        f.write_all(bytes)?;
        f.sync_all()
    });
    written.map_err(|e| BlockError::io(path, e))
}

/// The files of chunks: `000001`, `000002`, ...
#[derive(Debug)]
struct Segments {
    dir: PathBuf,
    most: u64,
    /// How many have been begun.
    number: u32,
    open: Option<(PathBuf, BufWriter<File>)>,
    at: u64,
}

impl Segments {
    fn new(dir: PathBuf, most: u64) -> Segments {
        Segments { dir, most, number: 0, open: None, at: 0 }
    }

    /// Appends a chunk; returns where it stands.
    fn put(&mut self, chunk: &Encoded) -> Result<u64, BlockError> {
        let mut bytes = Vec::with_capacity(chunk.data.len() + 10);
        put_uvarint(&mut bytes, chunk.data.len() as u64);
        let body = bytes.len();
        bytes.push(chunk.encoding);
        bytes.extend_from_slice(&chunk.data);
        let mut crc = Crc::new();
        crc.update(&bytes[body..]);
        bytes.extend_from_slice(&crc.value().to_be_bytes());
        let len = bytes.len() as u64;
        if self.open.is_none() || (self.at + len > self.most && self.at > CHUNKS_HEADER) {
            self.begin()?;
        }
        if let Some((path, file)) = &mut self.open {
            file.write_all(&bytes).map_err(|e| BlockError::io(path, e))?;
        }
        let place = (u64::from(self.number - 1) << 32) | self.at;
        self.at += len;
        Ok(place)
    }

    fn begin(&mut self) -> Result<(), BlockError> {
        self.finish()?;
        self.number += 1;
        let path = self.dir.join(format!("{:06}", self.number));
        let file = File::create_new(&path).map_err(|e| BlockError::io(&path, e))?;
        let mut file = BufWriter::with_capacity(256 << 10, file);
        let mut head = CHUNKS_MAGIC.to_be_bytes().to_vec();
        head.extend_from_slice(&[CHUNKS_VERSION, 0, 0, 0]);
        file.write_all(&head).map_err(|e| BlockError::io(&path, e))?;
        self.open = Some((path, file));
        self.at = CHUNKS_HEADER;
        Ok(())
    }

    fn finish(&mut self) -> Result<(), BlockError> {
        let Some((path, mut file)) = self.open.take() else { return Ok(()) };
        let flushed = file.flush().and_then(|()| file.get_ref().sync_all());
        flushed.map_err(|e| BlockError::io(&path, e))
    }
}
