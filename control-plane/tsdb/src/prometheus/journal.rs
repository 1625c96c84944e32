//! What an import or export has finished, so that it goes on there after it was interrupted: lines of JSON, each
//! synced before the next piece of work begins.

use serde::{Serialize, de::DeserializeOwned};
use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    marker::PhantomData,
    path::{Path, PathBuf},
};

/// The journal cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    #[error("reading or writing {} failed", path.display())]
    Io {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{} is in use: another import or export is under way there", path.display())]
    InUse { path: PathBuf },
    #[error("{}:{line}: this is no line of its journal: {what}", path.display())]
    Damaged { path: PathBuf, line: usize, what: String },
}

#[derive(Debug)]
pub(super) struct Journal<L> {
    path: PathBuf,
    /// Holds the lock too.
    file: File,
    lines: PhantomData<fn(L)>,
}

impl<L: Serialize + DeserializeOwned> Journal<L> {
    /// Opens or begins the journal and returns its lines. A last line that a crash cut off is removed.
    pub(super) fn open(path: &Path) -> Result<(Journal<L>, Vec<L>), JournalError> {
        let io = |source| JournalError::Io { path: path.to_owned(), source };
        let file = OpenOptions::new().create(true).read(true).append(true).open(path).map_err(io)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => return Err(JournalError::InUse { path: path.to_owned() }),
            Err(fs::TryLockError::Error(e)) => return Err(io(e)),
        }
        let mut bytes = fs::read(path).map_err(io)?;
        let whole = bytes.iter().rposition(|b| *b == b'\n').map_or(0, |i| i + 1);
        if whole < bytes.len() {
            file.set_len(whole as u64).map_err(io)?;
            bytes.truncate(whole);
        }
        let mut lines = Vec::new();
        for (i, line) in bytes.split(|b| *b == b'\n').enumerate() {
            if line.is_empty() {
                continue;
            }
            let bad = |e: serde_json::Error| JournalError::Damaged {
                path: path.to_owned(),
                line: i + 1,
                what: e.to_string(),
            };
            lines.push(serde_json::from_slice(line).map_err(bad)?);
        }
        if let Some(dir) = path.parent().filter(|d| !d.as_os_str().is_empty()) {
            File::open(dir).and_then(|d| d.sync_all()).map_err(io)?;
        }
        Ok((Journal { path: path.to_owned(), file, lines: PhantomData }, lines))
    }

    /// Adds a line; it survives a crash when this returns.
    pub(super) fn add(&mut self, line: &L) -> Result<(), JournalError> {
        let io = |source| JournalError::Io { path: self.path.clone(), source };
        let mut bytes = serde_json::to_vec(line).map_err(|e| io(e.into()))?;
        bytes.push(b'\n');
        self.file.write_all(&bytes).and_then(|()| self.file.sync_data()).map_err(io)
    }
}

#[cfg(test)]
mod tests;
