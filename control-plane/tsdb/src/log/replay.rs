//! Reading the log back after a stop or a crash.
//!
//! The newest checkpoint comes first, then the segments after it. A frame whose checksum is wrong is skipped
//! up to the next whole frame and reported; where none follows in the last segment, writing had broken off
//! there: the tail is cut away.

use super::{HEADER, Header, LOG_MAGIC, VERSION, checkpoint_path, read_header, segment_path, tail::Keeps};
use crate::{
    disk::{Disk, Source},
    record::{self, FRAME, MARKER, MAX_RECORD, Record},
    store::{Damage, OpenError},
};
use std::{io, path::Path, sync::Arc};

/// What was read.
#[derive(Debug, Default)]
pub(crate) struct Replayed {
    /// The highest number of any segment or checkpoint.
    pub(crate) last_number: u64,
    pub(crate) records: u64,
    /// Bytes of the segments that were read, without the checkpoint.
    pub(crate) segment_bytes: u64,
    /// Bytes cut away behind the last whole record.
    pub(crate) torn_bytes: u64,
    pub(crate) damage: Vec<Damage>,
}

/// Hands every record to `visit`, in order.
pub(crate) fn replay(
    disk: &dyn Disk,
    dir: &Path,
    mut visit: impl FnMut(Record),
) -> Result<Replayed, OpenError> {
    let (segments, checkpoint) = survey(disk, dir)?;
    let last_number = segments.last().copied().max(checkpoint).unwrap_or(0);
    let mut out = Replayed { last_number, ..Replayed::default() };
    if let Some(number) = checkpoint {
        let path = checkpoint_path(dir, number);
        let mut frames = Frames::open(disk, &path)?;
        let tail = frames.run(&mut out, &mut visit)?;
        // A checkpoint gets its name only when it is whole: what does not read is damage.
        if tail < frames.len {
            let (path, to) = (path.clone(), frames.len);
            out.damage.push(Damage { path, from: tail, to, what: "checkpoint records" });
        }
    }
    for (i, number) in segments.iter().enumerate() {
        let path = segment_path(dir, *number);
        let mut frames = Frames::open(disk, &path)?;
        let tail = frames.run(&mut out, &mut visit)?;
        out.segment_bytes += tail;
        if tail == frames.len && frames.len > 0 {
            continue;
        }
        if i + 1 < segments.len() {
            let (path, to) = (path.clone(), frames.len);
            out.damage.push(Damage { path, from: tail, to, what: "log records" });
            continue;
        }
        out.torn_bytes = frames.len - tail;
        if tail <= HEADER as u64 {
            disk.remove(&path).map_err(|e| OpenError::io(&path, e))?;
        } else {
            disk.truncate(&path, tail).map_err(|e| OpenError::io(&path, e))?;
        }
        disk.sync_dir(dir).map_err(|e| OpenError::io(dir, e))?;
    }
    Ok(out)
}

/// The segments to read, ascending, and the newest checkpoint; what it replaced, and what was left unfinished,
/// is removed.
fn survey(disk: &dyn Disk, dir: &Path) -> Result<(Vec<u64>, Option<u64>), OpenError> {
    let names = disk.list(dir).map_err(|e| OpenError::io(dir, e))?;
    let numbers = |suffix: &str| -> Vec<u64> {
        names.iter().filter_map(|n| n.strip_suffix(suffix)?.parse().ok()).collect()
    };
    let (mut segments, checkpoints) = (numbers(".log"), numbers(".checkpoint"));
    segments.sort_unstable();
    let newest = checkpoints.iter().copied().max();
    let gone = |path: &Path| disk.remove(path).map_err(|e| OpenError::io(path, e));
    for name in names.iter().filter(|n| n.ends_with(".tmp")) {
        gone(&dir.join(name))?;
    }
    // Those who follow the log may still need what the checkpoint replaced.
    let needed = Keeps::read(disk, dir).needed(&checkpoints);
    for number in checkpoints.iter().filter(|n| Some(**n) < newest && **n < needed) {
        gone(&checkpoint_path(dir, *number))?;
    }
    for number in segments.iter().filter(|n| Some(**n) <= newest && **n <= needed) {
        gone(&segment_path(dir, *number))?;
    }
    segments.retain(|n| newest.is_none_or(|c| *n > c));
    Ok((segments, newest))
}

/// A file read frame by frame through a window.
pub(super) struct Frames<'a> {
    path: &'a Path,
    source: Arc<dyn Source>,
    pub(super) len: u64,
    window: Vec<u8>,
    /// Where in the file the window begins.
    at: u64,
}

const WINDOW: usize = 1 << 20;

impl<'a> Frames<'a> {
    pub(super) fn open(disk: &dyn Disk, path: &'a Path) -> Result<Self, OpenError> {
        let source = disk.open(path).map_err(|e| OpenError::io(path, e))?;
        let len = source.len().map_err(|e| OpenError::io(path, e))?;
        Ok(Frames { path, source, len, window: Vec::new(), at: 0 })
    }

    /// `n` bytes from `offset`, or `None` where the file is shorter.
    fn bytes(&mut self, offset: u64, n: usize) -> Result<Option<&[u8]>, OpenError> {
        if offset + n as u64 > self.len {
            return Ok(None);
        }
        if offset < self.at || offset + n as u64 > self.at + self.window.len() as u64 {
            let left = usize::try_from(self.len - offset).unwrap_or(usize::MAX);
            self.window.resize(n.max(WINDOW).min(left), 0);
            self.at = offset;
            self.source.read_at(offset, &mut self.window).map_err(|e| OpenError::io(self.path, e))?;
        }
        let from = usize::try_from(offset - self.at).unwrap_or(usize::MAX);
        Ok(self.window.get(from..from + n))
    }

    /// The payload of the frame at `offset`, if a whole one is there.
    pub(super) fn frame(&mut self, offset: u64) -> Result<Option<&[u8]>, OpenError> {
        let Some(head) = self.bytes(offset, FRAME)? else { return Ok(None) };
        let word = |i: usize| u32::from_le_bytes([head[i], head[i + 1], head[i + 2], head[i + 3]]);
        let (len, crc) = (word(4), word(8));
        if head[..4] != MARKER || len as usize > MAX_RECORD {
            return Ok(None);
        }
        let payload = self.bytes(offset + FRAME as u64, len as usize)?;
        Ok(payload.filter(|p| record::checksum(len, p) == crc))
    }

    /// Where the next whole frame begins behind `from`.
    pub(super) fn next_frame(&mut self, from: u64) -> Result<Option<u64>, OpenError> {
        let mut at = from + 1;
        while at + FRAME as u64 <= self.len {
            let n = usize::try_from(self.len - at).unwrap_or(usize::MAX).min(WINDOW);
            let window = self.bytes(at, n)?.unwrap_or_default();
            match memchr::memmem::find(window, &MARKER) {
                Some(i) => {
                    at += i as u64;
                    if self.frame(at)?.is_some() {
                        return Ok(Some(at));
                    }
                    at += 1;
                }
                // The marker may lie across the window's end.
                None => at += (n as u64).saturating_sub(3).max(1),
            }
        }
        Ok(None)
    }

    /// Reads all frames; returns the end of the last whole one.
    fn run(&mut self, out: &mut Replayed, visit: &mut impl FnMut(Record)) -> Result<u64, OpenError> {
        let head = self.bytes(0, HEADER)?.unwrap_or_default().to_vec();
        match read_header(&head, LOG_MAGIC) {
            Header::Newer(found) => {
                return Err(OpenError::Newer { path: self.path.to_owned(), found, supported: VERSION });
            }
            Header::Ours => {}
            Header::Bad if self.next_frame(0)?.is_some() => {
                out.damage.push(Damage {
                    path: self.path.to_owned(),
                    from: 0,
                    to: HEADER as u64,
                    what: "header",
                });
            }
            Header::Bad => return Ok(0),
        }
        let mut at = HEADER as u64;
        loop {
            let path = self.path.to_owned();
            if let Some(payload) = self.frame(at)? {
                let next = at + (FRAME + payload.len()) as u64;
                match record::decode(payload) {
                    Ok(record) => visit(record),
                    Err(_) => out.damage.push(Damage { path, from: at, to: next, what: "log record" }),
                }
                out.records += 1;
                at = next;
            } else if let Some(next) = self.next_frame(at)? {
                out.damage.push(Damage { path, from: at, to: next, what: "log records" });
                at = next;
            } else {
                return Ok(at.min(self.len));
            }
        }
    }
}

/// Makes the name of `path` durable after its bytes are: the last step of writing a file whole.
pub(crate) fn publish(disk: &dyn Disk, from: &Path, to: &Path) -> io::Result<()> {
    disk.rename(from, to)?;
    to.parent().map_or(Ok(()), |dir| disk.sync_dir(dir))
}
