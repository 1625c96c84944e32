//! Blocks: the finished samples of one stretch of time in one immutable file.
//!
//! A file has the chunks, an index over them, and a footer that says where the index is; `FORMAT.md`, "Block",
//! has the bytes. Series stand in the order of their labels and are numbered in it, so that postings are
//! ordered by labels too. The index is read when a query first needs it. Invariant: a block is written under
//! another name and renamed when it is whole and synced.

mod index;
mod write;

pub(crate) use index::{BlockIndex, Cursor, Place};
pub(crate) use write::Writer;

use crate::{
    bytes::{Reader, put_u32, put_u64},
    chunk::Chunk,
    disk::{Disk, Source},
    log::{HEADER, Header, VERSION, read_header},
    store::OpenError,
};
use model::{SelectError, Timestamp};
use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

pub(crate) const BLOCK_MAGIC: [u8; 8] = *b"VIGIEBLK";
const FOOTER: usize = 60;
/// No index is larger.
const MAX_INDEX: u64 = u32::MAX as u64;

/// What the footer says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Footer {
    index_at: u64,
    index_len: u64,
    index_crc: u32,
    /// The first time of the range.
    pub(crate) start: Timestamp,
    /// The first time after it.
    pub(crate) end: Timestamp,
    pub(crate) series: u64,
    pub(crate) samples: u64,
}

impl Footer {
    fn put(&self, out: &mut Vec<u8>) {
        let begin = out.len();
        put_u64(out, self.index_at);
        put_u64(out, self.index_len);
        put_u32(out, self.index_crc);
        put_u64(out, self.start.cast_unsigned());
        put_u64(out, self.end.cast_unsigned());
        put_u64(out, self.series);
        put_u64(out, self.samples);
        out.extend_from_slice(b"End\n");
        let crc = crc32fast::hash(&out[begin..]);
        put_u32(out, crc);
    }

    fn get(bytes: &[u8]) -> Option<Footer> {
        let (body, crc) = bytes.split_at_checked(FOOTER - 4)?;
        if crc32fast::hash(body).to_le_bytes() != crc {
            return None;
        }
        let mut r = Reader::new(body, "footer");
        let footer = Footer {
            index_at: r.u64().ok()?,
            index_len: r.u64().ok()?,
            index_crc: r.u32().ok()?,
            start: r.u64().ok()?.cast_signed(),
            end: r.u64().ok()?.cast_signed(),
            series: r.u64().ok()?,
            samples: r.u64().ok()?,
        };
        (footer.start < footer.end).then_some(footer)
    }
}

/// An open block.
#[derive(Debug)]
pub(crate) struct Block {
    pub(crate) path: PathBuf,
    pub(crate) footer: Footer,
    pub(crate) bytes: u64,
    source: Arc<dyn Source>,
}

/// A block that cannot be used.
#[derive(Debug)]
pub(crate) enum BlockError {
    Open(OpenError),
    Damaged(&'static str),
}

/// The name of a block's file. `number` tells blocks of one range apart; most ranges have the one with 0.
pub(crate) fn file_name(start: Timestamp, end: Timestamp, number: u64) -> String {
    if number == 0 { format!("{start}_{end}.block") } else { format!("{start}_{end}_{number}.block") }
}

/// Bytes of a file that were read ahead, for series that lie one behind the other.
#[derive(Debug, Default)]
pub(crate) struct Window {
    at: u64,
    bytes: Vec<u8>,
    /// Where the last series that was read ends.
    end: u64,
}

/// Bytes that are read ahead.
const AHEAD: u64 = 128 << 10;

impl Block {
    pub(crate) fn open(disk: &dyn Disk, path: &Path) -> Result<Block, BlockError> {
        let io = |e: io::Error| BlockError::Open(OpenError::io(path, e));
        let source = disk.open(path).map_err(io)?;
        let bytes = source.len().map_err(io)?;
        if bytes < (HEADER + FOOTER) as u64 {
            return Err(BlockError::Damaged("the file is too short"));
        }
        let mut head = [0; HEADER];
        source.read_at(0, &mut head).map_err(io)?;
        match read_header(&head, BLOCK_MAGIC) {
            Header::Ours => {}
            Header::Newer(found) => {
                let path = path.to_owned();
                return Err(BlockError::Open(OpenError::Newer { path, found, supported: VERSION }));
            }
            Header::Bad => return Err(BlockError::Damaged("the header is damaged")),
        }
        let mut tail = [0; FOOTER];
        source.read_at(bytes - FOOTER as u64, &mut tail).map_err(io)?;
        let footer = Footer::get(&tail).ok_or(BlockError::Damaged("the footer is damaged"))?;
        let index_end = footer.index_at.checked_add(footer.index_len);
        if index_end != Some(bytes - FOOTER as u64) || footer.index_len > MAX_INDEX {
            return Err(BlockError::Damaged("the index is not where the footer says"));
        }
        Ok(Block { path: path.to_owned(), footer, bytes, source })
    }

    pub(crate) fn overlaps(&self, start: Timestamp, end: Timestamp) -> bool {
        self.footer.start <= end && self.footer.end > start
    }

    fn corrupt(&self, what: &str) -> SelectError {
        SelectError::Corrupt(format!("{what} of {}", self.path.display()))
    }

    fn read(&self, at: u64, len: u64) -> Result<Vec<u8>, SelectError> {
        if at.checked_add(len).is_none_or(|end| end > self.bytes) {
            return Err(self.corrupt("a reference"));
        }
        let mut bytes = vec![0; usize::try_from(len).map_err(|_| self.corrupt("a length"))?];
        self.source.read_at(at, &mut bytes).map_err(SelectError::Io)?;
        Ok(bytes)
    }

    pub(crate) fn load_index(&self) -> Result<BlockIndex, SelectError> {
        let bytes = self.read(self.footer.index_at, self.footer.index_len)?;
        if crc32fast::hash(&bytes) != self.footer.index_crc {
            return Err(self.corrupt("the index"));
        }
        BlockIndex::parse(bytes, self.path.display().to_string()).map_err(|_| self.corrupt("the index"))
    }

    /// The chunks of a series whose place the index gave.
    pub(crate) fn chunks(&self, place: Place, window: &mut Window) -> Result<Vec<Chunk>, SelectError> {
        let end = place.at.checked_add(place.len).filter(|end| *end <= self.footer.index_at);
        let end = end.ok_or_else(|| self.corrupt("a reference"))?;
        if place.at < window.at || end > window.at + window.bytes.len() as u64 {
            // Whoever reads one series behind the other is likely to go on.
            let near = place.at >= window.end && place.at - window.end <= 4096 && window.end > 0;
            let len =
                if near { (self.footer.index_at - place.at).min(place.len.max(AHEAD)) } else { place.len };
            window.bytes = self.read(place.at, len)?;
            window.at = place.at;
        }
        window.end = end;
        let begin = usize::try_from(place.at - window.at).unwrap_or(usize::MAX);
        let len = usize::try_from(place.len).unwrap_or(usize::MAX);
        let bytes = window.bytes.get(begin..begin.saturating_add(len)).unwrap_or_default();
        let (crc, body) = bytes.split_at_checked(4).ok_or_else(|| self.corrupt("a series"))?;
        if crc32fast::hash(body).to_le_bytes() != crc {
            return Err(self.corrupt("a series"));
        }
        let mut r = Reader::new(body, "chunk");
        let mut chunks = Vec::new();
        while !r.is_empty() {
            chunks.push(Chunk::get(&mut r, self.footer.start).map_err(|_| self.corrupt("a chunk"))?);
        }
        Ok(chunks)
    }
}

#[cfg(test)]
mod tests;
