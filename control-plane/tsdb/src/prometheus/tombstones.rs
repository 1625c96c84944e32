//! Deletions that have not been carried out yet: ranges of time by series.

use super::{
    crc::crc32c,
    error::BlockError,
    file::{File, be32},
};
use crate::bytes::Reader;
use model::Timestamp;
use std::collections::HashMap;

pub(super) const MAGIC: u32 = 0x0130_BA30;
const VERSION: u8 = 1;

/// The largest file that is taken into memory.
const MOST_BYTES: u64 = 256 << 20;

/// Deleted ranges by the number of their series, both ends inclusive.
#[derive(Debug, Default)]
pub(super) struct Tombstones(HashMap<u64, Vec<(Timestamp, Timestamp)>>);

impl Tombstones {
    pub(super) fn read(file: &File) -> Result<Tombstones, BlockError> {
        let len = usize::try_from(file.len).ok().filter(|_| file.len <= MOST_BYTES);
        let len = len.ok_or_else(|| file.damaged(0, "it is too large for a list of deletions"))?;
        let bytes = file.read(0, len, "the deletions")?;
        let body = bytes.split_at_checked(5).filter(|(_, rest)| rest.len() >= 4);
        let (head, rest) = body.ok_or_else(|| file.damaged(0, "it is too short for a list of deletions"))?;
        if be32(head) != MAGIC {
            return Err(file.damaged(0, "it does not begin as the tombstones of a Prometheus block"));
        }
        if head[4] != VERSION {
            let what = format!("version {} of the tombstones is not known here: {VERSION} is", head[4]);
            return Err(BlockError::unsupported(&file.path, what));
        }
        let (stones, crc) = rest.split_at(rest.len() - 4);
        if !file.confirms(crc32c(stones), be32(crc)) {
            return Err(file.damaged(5, "the checksum of the deletions is wrong"));
        }
        let mut all: HashMap<u64, Vec<(Timestamp, Timestamp)>> = HashMap::new();
        let mut reader = Reader::new(stones, "deletion");
        while !reader.is_empty() {
            let at = (5 + stones.len() - reader.remaining()) as u64;
            let bad = |_| file.damaged(at, "a deletion is malformed");
            let id = reader.uvarint().map_err(bad)?;
            let from = reader.ivarint().map_err(bad)?;
            let to = reader.ivarint().map_err(bad)?;
            all.entry(id).or_default().push((from, to));
        }
        Ok(Tombstones(all))
    }

    pub(super) fn of(&self, series: u64) -> &[(Timestamp, Timestamp)] {
        self.0.get(&series).map_or(&[], Vec::as_slice)
    }
}

/// The file of a block in which nothing is deleted.
pub(super) fn none() -> Vec<u8> {
    let mut out = MAGIC.to_be_bytes().to_vec();
    out.push(VERSION);
    out.extend_from_slice(&crc32c(&[]).to_be_bytes());
    out
}
