//! The disk as the store sees it: few operations, each with its promise about a crash.
//!
//! [`StdDisk`] is the machine's. [`fake::FakeDisk`] keeps files in memory, forgets at a crash what a real disk
//! may forget, and fails on demand.

pub mod fake;

use std::{
    fmt,
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::Arc,
};

/// A file being written: bytes go to its end only.
pub trait Appender: Send + fmt::Debug {
    /// Appends all of `bytes`. After an error any prefix of them may be in the file.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Returns when all bytes appended so far survive a crash. After an error none of the unsynced bytes can
    /// be relied on.
    fn sync(&mut self) -> io::Result<()>;

    /// Cuts the file to `len` bytes.
    fn truncate(&mut self, len: u64) -> io::Result<()>;
}

/// A file being read.
pub trait Source: Send + Sync + fmt::Debug {
    fn len(&self) -> io::Result<u64>;

    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Reads exactly `into.len()` bytes that start at `offset`.
    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()>;
}

/// A claim on a directory; it ends when it is dropped.
pub trait Claim: Send + Sync + fmt::Debug {}

/// What the store needs of a disk. Creating, renaming and removing survive a crash only after `sync_dir`.
pub trait Disk: Send + Sync + fmt::Debug {
    fn create_dir(&self, dir: &Path) -> io::Result<()>;

    /// Names (not paths) of the files in `dir`, sorted.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;

    /// Creates an empty file, or fails where one is.
    fn create(&self, path: &Path) -> io::Result<Box<dyn Appender>>;

    fn open(&self, path: &Path) -> io::Result<Arc<dyn Source>>;

    /// Cuts an existing file to `len` bytes and syncs it.
    fn truncate(&self, path: &Path, len: u64) -> io::Result<()>;

    /// Gives a file another name, replacing what was there, in one step.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Gives a file a second name.
    fn link(&self, from: &Path, to: &Path) -> io::Result<()>;

    fn sync_dir(&self, dir: &Path) -> io::Result<()>;

    /// Claims a directory for this process; `None` when another holds it.
    fn claim(&self, dir: &Path) -> io::Result<Option<Box<dyn Claim>>>;

    /// All of a file.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let source = self.open(path)?;
        let len = usize::try_from(source.len()?).map_err(|_| io::ErrorKind::FileTooLarge)?;
        let mut bytes = vec![0; len];
        source.read_at(0, &mut bytes)?;
        Ok(bytes)
    }
}

/// The machine's file system.
#[derive(Debug, Clone, Copy, Default)]
pub struct StdDisk;

#[derive(Debug)]
struct StdFile(File);

#[derive(Debug)]
struct StdClaim(#[expect(dead_code, reason = "the open file holds the lock")] File);

impl Claim for StdClaim {}

impl Appender for StdFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }
}

impl Source for StdFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        self.0.read_exact_at(into, offset)
    }
}

impl Disk for StdDisk {
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        fs::create_dir_all(dir)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            if entry.file_type()?.is_file()
                && let Ok(name) = entry.file_name().into_string()
            {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn Appender>> {
        // Append mode, so that after a truncation writing goes on at the new end.
        Ok(Box::new(StdFile(OpenOptions::new().append(true).create_new(true).open(path)?)))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn Source>> {
        Ok(Arc::new(StdFile(File::open(path)?)))
    }

    fn truncate(&self, path: &Path, len: u64) -> io::Result<()> {
        let file = OpenOptions::new().write(true).open(path)?;
        file.set_len(len)?;
        file.sync_all()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::hard_link(from, to)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }

    fn claim(&self, dir: &Path) -> io::Result<Option<Box<dyn Claim>>> {
        let path: PathBuf = dir.join("lock");
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(path)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Box::new(StdClaim(file)))),
            Err(fs::TryLockError::WouldBlock) => Ok(None),
            Err(fs::TryLockError::Error(e)) => Err(e),
        }
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        File::open(path)?.read_to_end(&mut bytes)?;
        Ok(bytes)
    }
}
