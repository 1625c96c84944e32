//! Where blocks are: a block's own folder, a snapshot, or a whole data directory of Prometheus.

use super::{
    error::BlockError,
    meta::{META, Meta, Ulid},
};
use std::{
    collections::HashSet,
    fs,
    path::{Path, PathBuf},
};

/// What kind of folder it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// One block.
    Block,
    /// A folder of blocks, as a snapshot is.
    Snapshot,
    /// A data directory: its blocks are read; the write-ahead log and the head, which hold the last two to three
    /// hours, are not.
    Data,
}

/// A block that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    pub dir: PathBuf,
    pub meta: Meta,
}

/// The blocks of a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directory {
    pub path: PathBuf,
    pub kind: Kind,
    /// By time, then by name.
    pub blocks: Vec<Found>,
}

impl Directory {
    /// Looks for blocks in `path`. Blocks that another one has replaced are left out, as are unfinished ones.
    ///
    /// # Errors
    /// When there is none, or the description of one cannot be read.
    pub fn open(path: &Path) -> Result<Directory, BlockError> {
        if path.join(META).is_file() {
            let meta = Meta::read(path)?;
            let blocks = vec![Found { dir: path.to_owned(), meta }];
            return Ok(Directory { path: path.to_owned(), kind: Kind::Block, blocks });
        }
        let mut blocks = Vec::new();
        for entry in fs::read_dir(path).map_err(|e| BlockError::io(path, e))? {
            let entry = entry.map_err(|e| BlockError::io(path, e))?;
            let dir = entry.path();
            let named = entry.file_name().to_str().and_then(Ulid::parse);
            // A folder without a description is one that was being deleted.
            if named.is_some() && dir.join(META).is_file() {
                let meta = Meta::read(&dir)?;
                blocks.push(Found { dir, meta });
            }
        }
        let head = ["wal", "chunks_head"].iter().any(|n| path.join(n).is_dir());
        if blocks.is_empty() {
            let what = if head {
                "there is no block yet, only a write-ahead log, which is not read: take a snapshot, which includes it"
            } else {
                "there is no Prometheus block: neither meta.json nor folders named by ULIDs that have one"
            };
            return Err(BlockError::unsupported(path, what));
        }
        let parents = blocks.iter().flat_map(|b| &b.meta.compaction.parents);
        let replaced: HashSet<Ulid> = parents.map(|p| p.ulid).collect();
        blocks.retain(|b| !replaced.contains(&b.meta.ulid));
        blocks.sort_by_key(|b| (b.meta.min_time, b.meta.ulid));
        let kind = if head { Kind::Data } else { Kind::Snapshot };
        Ok(Directory { path: path.to_owned(), kind, blocks })
    }
}
