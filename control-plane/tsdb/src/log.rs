//! The write-ahead log: numbered segments, group commit, checkpoints, replay.
//!
//! Writers put records into a buffer; [`Log::sync`] writes and syncs what has gathered, so one sync serves many.
//! A full device keeps the buffer for the next try; a sync that fails ends all writing, because nobody knows
//! what the disk kept (fsync clears its error). A checkpoint holds the state at the end of one segment and
//! replaces all segments up to it.
//!
//! Invariants: a segment is never written again once a later one exists; records stand in the order in which
//! the head took them.

mod replay;
mod tail;

pub(crate) use replay::{Replayed, publish, replay};
pub(crate) use tail::LogTail;

use crate::{
    bytes::put_u32,
    disk::{Appender, Disk},
    record,
};
use model::{AppendError, Labels};
use std::{
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

/// What a file of the store begins with, together with its [`VERSION`] and a checksum: 16 bytes.
pub(crate) const LOG_MAGIC: [u8; 8] = *b"VIGIELOG";
pub(crate) const HEADER: usize = 16;
/// Version of every format here; see `FORMAT.md`.
pub(crate) const VERSION: u32 = 2;

/// The header of a file: magic, version, CRC-32 of both.
pub(crate) fn header(magic: [u8; 8]) -> Vec<u8> {
    let mut out = magic.to_vec();
    put_u32(&mut out, VERSION);
    let crc = crc32fast::hash(&out);
    put_u32(&mut out, crc);
    out
}

/// What the first bytes of a file say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Header {
    Ours,
    /// Written by a later program, or by a very early one, with this version.
    Newer(u32),
    Bad,
}

pub(crate) fn read_header(bytes: &[u8], magic: [u8; 8]) -> Header {
    let Some((head, _)) = bytes.split_first_chunk::<HEADER>() else { return Header::Bad };
    let (body, crc) = head.split_at(HEADER - 4);
    if crc32fast::hash(body).to_le_bytes() != crc || body[..8] != magic {
        return Header::Bad;
    }
    match u32::from_le_bytes([body[8], body[9], body[10], body[11]]) {
        VERSION => Header::Ours,
        v => Header::Newer(v),
    }
}

pub(crate) fn segment_path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:010}.log"))
}

pub(crate) fn checkpoint_path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:010}.checkpoint"))
}

/// Why the log takes nothing more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Poisoned,
    Closed,
}

/// What writers touch.
#[derive(Debug, Default)]
pub(crate) struct Buffer {
    pending: Vec<u8>,
    /// Series that no record names yet; one record for many of them is smaller.
    new_series: Vec<(u64, Labels)>,
    /// Bytes that wait in [`Files`] because the device was full.
    stuck: usize,
    end: Option<End>,
}

/// New series in one record.
const MAX_NEW_SERIES: usize = 4096;

impl Buffer {
    /// Names a series that is new.
    pub(crate) fn add_series(&mut self, id: u64, labels: Labels) {
        self.new_series.push((id, labels));
        if self.new_series.len() >= MAX_NEW_SERIES {
            self.records();
        }
    }

    /// Where records go, behind those that name the series they speak of.
    pub(crate) fn records(&mut self) -> &mut Vec<u8> {
        if !self.new_series.is_empty() {
            record::put_series(&mut self.pending, &self.new_series);
            self.new_series.clear();
        }
        &mut self.pending
    }
}

/// What syncing touches.
#[derive(Debug)]
struct Files {
    /// `None` until the first write after opening or rotating.
    current: Option<Box<dyn Appender>>,
    number: u64,
    /// Bytes of the current segment that are safe.
    safe: u64,
    /// Bytes to write next.
    waiting: Vec<u8>,
}

#[derive(Debug)]
pub(crate) struct Log {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    segment_bytes: u64,
    max_waiting: usize,
    buffer: Mutex<Buffer>,
    files: Mutex<Files>,
    /// Bytes of all segments since the last checkpoint. Beside the files, so that looking at it never waits for
    /// the disk.
    since_checkpoint: AtomicU64,
    syncs: AtomicU64,
    /// Who follows the log, and how far he came.
    keeps: Mutex<tail::Keeps>,
}

/// A number of bytes, and of syncs.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct LogStats {
    pub(crate) bytes: u64,
    pub(crate) syncs: u64,
}

impl Log {
    /// Goes on behind what [`replay`] read, in a new segment.
    pub(crate) fn after(
        disk: Arc<dyn Disk>,
        dir: PathBuf,
        replayed: &Replayed,
        segment_bytes: u64,
        max_waiting: usize,
    ) -> Log {
        Log {
            keeps: Mutex::new(tail::Keeps::read(&*disk, &dir)),
            disk,
            dir,
            segment_bytes,
            max_waiting,
            buffer: Mutex::default(),
            files: Mutex::new(Files {
                current: None,
                number: replayed.last_number + 1,
                safe: 0,
                waiting: Vec::new(),
            }),
            since_checkpoint: AtomicU64::new(replayed.segment_bytes),
            syncs: AtomicU64::new(0),
        }
    }

    fn lock_buffer(&self) -> MutexGuard<'_, Buffer> {
        // A panic between two statements leaves whole records or none: the buffer stays usable.
        self.buffer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_files(&self) -> MutexGuard<'_, Files> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The buffer, for one writer at a time; the order of its holders is the order of the log. Refused once
    /// writing has ended, or when more waits than may.
    pub(crate) fn begin(&self) -> Result<MutexGuard<'_, Buffer>, AppendError> {
        let buffer = self.lock_buffer();
        check(&buffer)?;
        if buffer.stuck + buffer.pending.len() > self.max_waiting {
            return Err(AppendError::Io(io::ErrorKind::StorageFull.into()));
        }
        Ok(buffer)
    }

    /// Returns when all records put in before the call are on disk.
    pub(crate) fn sync(&self) -> Result<(), AppendError> {
        let mut files = self.lock_files();
        {
            let mut buffer = self.lock_buffer();
            check(&buffer)?;
            take_pending(&mut buffer, &mut files);
        }
        self.write(&mut files)
    }

    /// Ends the current segment after what is in the buffer, and calls `snapshot` at exactly that point.
    /// Returns the number of the segment that ended.
    pub(crate) fn cut<T>(&self, snapshot: impl FnOnce() -> T) -> Result<(u64, T), AppendError> {
        let mut files = self.lock_files();
        let taken = {
            let mut buffer = self.lock_buffer();
            check(&buffer)?;
            take_pending(&mut buffer, &mut files);
            snapshot()
        };
        self.write(&mut files)?;
        let ended = files.number;
        files.current = None;
        files.number += 1;
        files.safe = 0;
        Ok((ended, taken))
    }

    /// Told when a checkpoint has replaced the segments before the current one.
    pub(crate) fn checkpointed(&self) {
        let files = self.lock_files();
        self.since_checkpoint.store(files.safe, Ordering::Relaxed);
    }

    pub(crate) fn since_checkpoint(&self) -> u64 {
        self.since_checkpoint.load(Ordering::Relaxed)
    }

    pub(crate) fn stats(&self) -> LogStats {
        LogStats { bytes: self.since_checkpoint(), syncs: self.syncs.load(Ordering::Relaxed) }
    }

    /// Syncs and takes nothing more.
    pub(crate) fn close(&self) -> Result<(), AppendError> {
        let outcome = self.sync();
        self.lock_buffer().end.get_or_insert(End::Closed);
        outcome
    }

    fn write(&self, files: &mut Files) -> Result<(), AppendError> {
        if files.waiting.is_empty() {
            return Ok(());
        }
        let outcome = self.try_write(files);
        match &outcome {
            Ok(()) => self.lock_buffer().stuck = 0,
            Err(Failure::Again(_)) => self.lock_buffer().stuck = files.waiting.len(),
            Err(Failure::Fatal(_)) => self.lock_buffer().end = Some(End::Poisoned),
        }
        outcome.map_err(|f| match f {
            Failure::Again(e) | Failure::Fatal(e) => AppendError::Io(e),
        })
    }

    fn try_write(&self, files: &mut Files) -> Result<(), Failure> {
        if files.current.is_some() && files.safe >= self.segment_bytes {
            files.current = None;
            files.number += 1;
        }
        if files.current.is_none() {
            let path = segment_path(&self.dir, files.number);
            let mut file = self.disk.create(&path).map_err(Failure::of)?;
            if let Err(e) = file.append(&header(LOG_MAGIC)).and_then(|()| self.disk.sync_dir(&self.dir)) {
                // The next try creates it anew. Should this fail too, that one fails with `AlreadyExists`.
                self.disk.remove(&path).map_err(Failure::Fatal)?;
                return Err(Failure::of(e));
            }
            files.current = Some(file);
            files.safe = HEADER as u64;
        }
        let Files { current, safe, waiting, .. } = files;
        let file = current.as_mut().expect("it was made just above");
        if let Err(e) = file.append(waiting) {
            // Half a record would hide what follows it: back to the last whole one.
            file.truncate(*safe).map_err(Failure::Fatal)?;
            return Err(Failure::of(e));
        }
        file.sync().map_err(Failure::Fatal)?;
        self.syncs.fetch_add(1, Ordering::Relaxed);
        *safe += waiting.len() as u64;
        self.since_checkpoint.fetch_add(waiting.len() as u64, Ordering::Relaxed);
        waiting.clear();
        waiting.shrink_to(1 << 20);
        Ok(())
    }
}

enum Failure {
    /// The device is full: nothing was lost, the same bytes are tried again.
    Again(io::Error),
    Fatal(io::Error),
}

impl Failure {
    fn of(e: io::Error) -> Failure {
        match e.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Failure::Again(e),
            _ => Failure::Fatal(e),
        }
    }
}

fn check(buffer: &Buffer) -> Result<(), AppendError> {
    match buffer.end {
        None => Ok(()),
        Some(End::Poisoned) => Err(AppendError::Poisoned),
        Some(End::Closed) => Err(AppendError::Closed),
    }
}

fn take_pending(buffer: &mut Buffer, files: &mut Files) {
    buffer.records();
    if files.waiting.is_empty() {
        std::mem::swap(&mut buffer.pending, &mut files.waiting);
    } else {
        files.waiting.append(&mut buffer.pending);
    }
    buffer.stuck = files.waiting.len();
}

#[cfg(test)]
mod tests;
