//! What can be wrong with a block, with file and place.

use std::{
    io,
    path::{Path, PathBuf},
};

/// A block could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum BlockError {
    #[error("reading or writing {} failed", path.display())]
    Io {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// The bytes are not what the format says.
    #[error("{} is damaged at byte {at}: {what}", path.display())]
    Damaged { path: PathBuf, at: u64, what: String },
    /// The bytes may be fine, but not for this reader, or not a block at all.
    #[error("{}: {what}", path.display())]
    Unsupported { path: PathBuf, what: String },
    /// What was to be written does not fit a block.
    #[error("the block cannot be written: {0}")]
    Refused(String),
}

impl BlockError {
    pub(super) fn io(path: &Path, source: io::Error) -> BlockError {
        BlockError::Io { path: path.to_owned(), source }
    }

    pub(super) fn damaged(path: &Path, at: u64, what: impl Into<String>) -> BlockError {
        BlockError::Damaged { path: path.to_owned(), at, what: what.into() }
    }

    pub(super) fn unsupported(path: &Path, what: impl Into<String>) -> BlockError {
        BlockError::Unsupported { path: path.to_owned(), what: what.into() }
    }
}
