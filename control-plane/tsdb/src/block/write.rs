//! Writing a block.

use super::{BLOCK_MAGIC, Footer, file_name, index::IndexBuilder};
use crate::{
    bytes::put_u32,
    chunk::{Chunk, OpenChunk},
    disk::{Appender, Disk},
    log::{header, publish},
};
use model::{Labels, SampleColumns, Timestamp, Value};
use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

/// Samples in one chunk of a block.
const CHUNK: usize = 240;

/// A block that is being written. Series come in the order of their labels.
pub(crate) struct Writer {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    tmp: PathBuf,
    file: Option<Box<dyn Appender>>,
    range: (Timestamp, Timestamp),
    buffer: Vec<u8>,
    index: IndexBuilder,
    /// Where the data of the next series begins.
    at: u64,
    samples: u64,
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writer").field("path", &self.path).finish_non_exhaustive()
    }
}

/// Bytes that gather before they are written.
const BUFFER: usize = 1 << 20;

impl Writer {
    /// Begins the block of a range. `number` tells blocks of one range apart.
    pub(crate) fn create(
        disk: &Arc<dyn Disk>,
        dir: &Path,
        range: (Timestamp, Timestamp),
        number: u64,
    ) -> io::Result<Writer> {
        let path = dir.join(file_name(range.0, range.1, number));
        let tmp = path.with_extension("tmp");
        let file = Some(disk.create(&tmp)?);
        let buffer = header(BLOCK_MAGIC);
        let at = buffer.len() as u64;
        let disk = Arc::clone(disk);
        Ok(Writer { disk, path, tmp, file, range, buffer, index: IndexBuilder::default(), at, samples: 0 })
    }

    /// Adds a series with what it has within the range, unless that is nothing.
    pub(crate) fn series(&mut self, labels: &Labels, samples: &SampleColumns) -> io::Result<()> {
        if samples.is_empty() {
            return Ok(());
        }
        self.samples += samples.len() as u64;
        let base = self.range.0;
        self.raw(labels, |out| put_samples(out, samples, base))
    }

    /// Adds a series whose chunks are encoded already.
    pub(crate) fn chunks(&mut self, labels: &Labels, chunks: &[Chunk]) -> io::Result<()> {
        if chunks.is_empty() {
            return Ok(());
        }
        self.samples += chunks.iter().map(|c| u64::from(c.count())).sum::<u64>();
        let base = self.range.0;
        self.raw(labels, |out| chunks.iter().for_each(|c| c.put(out, base)))
    }

    fn raw(&mut self, labels: &Labels, put: impl FnOnce(&mut Vec<u8>)) -> io::Result<()> {
        let begin = self.buffer.len();
        put_u32(&mut self.buffer, 0);
        put(&mut self.buffer);
        let crc = crc32fast::hash(&self.buffer[begin + 4..]);
        self.buffer[begin..begin + 4].copy_from_slice(&crc.to_le_bytes());
        let len = self.buffer.len() - begin;
        self.index.add(labels, len)?;
        self.at += len as u64;
        if self.buffer.len() >= BUFFER { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        if let Some(file) = &mut self.file {
            file.append(&self.buffer)?;
        }
        self.buffer.clear();
        Ok(())
    }

    /// How many series it has.
    pub(crate) fn len(&self) -> usize {
        self.index.series()
    }

    /// Ends the block and gives it its name.
    pub(crate) fn finish(mut self) -> io::Result<PathBuf> {
        let (start, end) = self.range;
        let series = self.index.series() as u64;
        let index = std::mem::take(&mut self.index).encode(crate::log::HEADER as u64)?;
        let footer = Footer {
            index_at: self.at,
            index_len: index.len() as u64,
            index_crc: crc32fast::hash(&index),
            start,
            end,
            series,
            samples: self.samples,
        };
        self.buffer.extend_from_slice(&index);
        footer.put(&mut self.buffer);
        self.flush()?;
        if let Some(mut file) = self.file.take() {
            file.sync()?;
        }
        publish(&*self.disk, &self.tmp, &self.path)?;
        self.tmp = PathBuf::new();
        Ok(self.path.clone())
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if !self.tmp.as_os_str().is_empty() {
            // It may be what fills the device; the error that counts is the first.
            drop(self.disk.remove(&self.tmp));
        }
    }
}

/// Encodes the samples of one series.
fn put_samples(out: &mut Vec<u8>, samples: &SampleColumns, base: Timestamp) {
    if samples.histograms.is_empty() && samples.starts.iter().all(|s| *s == 0) {
        for (times, values) in samples.times.chunks(CHUNK).zip(samples.values.chunks(CHUNK)) {
            Chunk::pack(times, values).put(out, base);
        }
        return;
    }
    let mut open: Option<OpenChunk> = None;
    let mut histograms = samples.histograms.iter().peekable();
    for (i, at) in samples.times.iter().enumerate() {
        let value = match histograms.next_if(|(h, _)| *h == i) {
            Some((_, h)) => Value::Histogram(std::sync::Arc::clone(h)),
            None => Value::Float(samples.values[i]),
        };
        let start = samples.starts.get(i).copied().filter(|s| *s != 0);
        match &mut open {
            Some(o) if o.fits(start, &value) => o.push(*at, start, &value),
            _ => {
                if let Some(full) = open.replace(OpenChunk::new(*at, start, &value)) {
                    full.seal().put(out, base);
                }
            }
        }
    }
    if let Some(last) = open {
        last.seal().put(out, base);
    }
}
