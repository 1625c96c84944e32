//! A file of a block being read: every place and length is checked against the file before memory is taken.

use super::{
    crc::{Crc, crc32c},
    error::BlockError,
};
use crate::disk::{Disk, Source, StdDisk};
use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

/// Bytes that a window reads ahead.
const AHEAD: usize = 128 << 10;

/// Bytes of a file in memory, for tests and fuzzing.
#[derive(Debug)]
struct Memory(Vec<u8>);

impl Source for Memory {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.len() as u64)
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        let at = usize::try_from(offset).map_err(|_| io::ErrorKind::UnexpectedEof)?;
        let end = at.checked_add(into.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        into.copy_from_slice(self.0.get(at..end).ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

#[derive(Debug, Clone)]
pub(super) struct File {
    pub(super) path: PathBuf,
    source: Arc<dyn Source>,
    pub(super) len: u64,
    /// Take the bytes as if every checksum were right, so that fuzzing reaches what is behind them.
    trusted: bool,
}

impl File {
    pub(super) fn open(path: &Path) -> Result<File, BlockError> {
        let source = StdDisk.open(path).map_err(|e| BlockError::io(path, e))?;
        let len = source.len().map_err(|e| BlockError::io(path, e))?;
        Ok(File { path: path.to_owned(), source, len, trusted: false })
    }

    pub(super) fn memory(bytes: Vec<u8>, trusted: bool) -> File {
        let len = bytes.len() as u64;
        File { path: PathBuf::from("memory"), source: Arc::new(Memory(bytes)), len, trusted }
    }

    /// Whether a checksum is right.
    pub(super) fn confirms(&self, computed: u32, stored: u32) -> bool {
        computed == stored || self.trusted
    }

    pub(super) fn damaged(&self, at: u64, what: impl Into<String>) -> BlockError {
        BlockError::damaged(&self.path, at, what)
    }

    /// `len` bytes at `at`; `what` names them in the error where the file ends before.
    pub(super) fn read(&self, at: u64, len: usize, what: &str) -> Result<Vec<u8>, BlockError> {
        self.inside(at, len as u64, what)?;
        let mut bytes = vec![0; len];
        self.source.read_at(at, &mut bytes).map_err(|e| BlockError::io(&self.path, e))?;
        Ok(bytes)
    }

    fn inside(&self, at: u64, len: u64, what: &str) -> Result<(), BlockError> {
        match at.checked_add(len) {
            Some(end) if end <= self.len => Ok(()),
            _ => Err(self.damaged(at, format!("{what} would reach past the end of the file"))),
        }
    }

    pub(super) fn read_u32(&self, at: u64, what: &str) -> Result<u32, BlockError> {
        let bytes = self.read(at, 4, what)?;
        Ok(be32(&bytes))
    }

    /// Where the payload of a section begins and how long it is: a length, that many bytes, and their checksum,
    /// which is verified in pieces before anybody takes memory for the whole.
    pub(super) fn section(&self, at: u64, what: &str) -> Result<(u64, u64), BlockError> {
        let len = u64::from(self.read_u32(at, what)?);
        let begin = at + 4;
        self.inside(begin, len + 4, what)?;
        let (mut crc, mut done) = (Crc::new(), 0);
        while done < len {
            let piece = usize::try_from((len - done).min(AHEAD as u64)).unwrap_or(AHEAD);
            crc.update(&self.read(begin + done, piece, what)?);
            done += piece as u64;
        }
        if !self.confirms(crc.value(), self.read_u32(begin + len, what)?) {
            return Err(self.damaged(at, format!("the checksum of {what} is wrong")));
        }
        Ok((begin, len))
    }
}

pub(super) fn be32(bytes: &[u8]) -> u32 {
    bytes.iter().take(4).fold(0, |v, b| (v << 8) | u32::from(*b))
}

/// A window on a file that is mostly read forwards.
#[derive(Debug)]
pub(super) struct Window {
    pub(super) file: File,
    at: u64,
    bytes: Vec<u8>,
}

impl Window {
    pub(super) fn new(file: File) -> Window {
        Window { file, at: 0, bytes: Vec::new() }
    }

    /// At most `len` bytes that stand at `at`: fewer where the file ends.
    pub(super) fn up_to(&mut self, at: u64, len: usize) -> Result<&[u8], BlockError> {
        let left = self.file.len.saturating_sub(at);
        let len = usize::try_from(left).unwrap_or(usize::MAX).min(len);
        let held = at.checked_sub(self.at).and_then(|skip| usize::try_from(skip).ok());
        let held = held.filter(|skip| skip.checked_add(len).is_some_and(|end| end <= self.bytes.len()));
        let skip = match held {
            Some(skip) => skip,
            None => {
                let ahead = usize::try_from(left).unwrap_or(usize::MAX).min(len.max(AHEAD));
                self.bytes = self.file.read(at, ahead, "a piece")?;
                self.at = at;
                0
            }
        };
        Ok(&self.bytes[skip..skip + len])
    }

    /// Exactly `len` bytes that stand at `at`.
    pub(super) fn exactly(&mut self, at: u64, len: usize, what: &str) -> Result<&[u8], BlockError> {
        self.file.inside(at, len as u64, what)?;
        self.up_to(at, len)
    }

    /// A number in Go's uvarint, and the bytes it takes.
    pub(super) fn uvarint(&mut self, at: u64, what: &str) -> Result<(u64, u64), BlockError> {
        let bytes = self.up_to(at, 10)?;
        let have = bytes.len();
        let mut reader = crate::bytes::Reader::new(bytes, "number");
        match reader.uvarint() {
            Ok(v) => Ok((v, (have - reader.remaining()) as u64)),
            Err(_) => Err(self.file.damaged(at, format!("no number where the length of {what} should be"))),
        }
    }

    /// A number `len`, `extra + len` bytes, and the checksum of them, as entries of series and chunks are kept.
    /// Returns the bytes and where they begin.
    pub(super) fn entry(
        &mut self,
        at: u64,
        extra: usize,
        most: usize,
        what: &str,
    ) -> Result<(u64, &[u8]), BlockError> {
        let (len, skip) = self.uvarint(at, what)?;
        let Some(len) = usize::try_from(len).ok().filter(|len| *len <= most) else {
            return Err(self.file.damaged(at, format!("{what} claims {len} bytes; {most} is the most")));
        };
        let begin = at + skip;
        let whole = self.exactly(begin, extra + len + 4, what)?;
        let (body, crc) = whole.split_at(extra + len);
        let (computed, stored) = (crc32c(body), be32(crc));
        if !self.file.confirms(computed, stored) {
            return Err(self.file.damaged(at, format!("the checksum of {what} is wrong")));
        }
        // Borrowed anew, because the error above needs the file.
        let body = self.up_to(begin, extra + len)?;
        Ok((begin, body))
    }
}
