//! A disk in memory that crashes and fails as real ones do, for tests.
//!
//! What is appended and not synced may be lost at [`FakeDisk::crash`], from any byte on, and the sector where
//! it breaks off may hold garbage. What is created, renamed or removed without `sync_dir` may be undone.
//! Chances come from a seed, so that a failing run can be repeated.

use super::{Appender, Claim, Disk, Source};
use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard},
};

type Inode = Arc<Mutex<Content>>;

#[derive(Debug, Default, Clone)]
struct Content {
    bytes: Vec<u8>,
    /// How many of them are safe.
    synced: usize,
    /// What a crash restores where the file was cut below what was safe.
    safe: Vec<u8>,
}

#[derive(Debug, Default)]
struct State {
    live: BTreeMap<PathBuf, Inode>,
    durable: BTreeMap<PathBuf, Inode>,
    claimed: BTreeSet<PathBuf>,
    /// Bytes that can still be written before the device is full.
    room: Option<usize>,
    failing_syncs: usize,
    /// Syncs that report success and keep nothing.
    lying: bool,
    syncs: usize,
    /// Changes until the next image is taken, and its seed.
    crash_in: Option<(usize, u64)>,
    image: Option<FakeDisk>,
}

impl State {
    /// To be called before every change.
    fn step(&mut self) {
        match &mut self.crash_in {
            Some((0, seed)) => {
                let seed = *seed;
                self.crash_in = None;
                self.image = Some(self.after_crash(seed));
            }
            Some((left, _)) => *left -= 1,
            None => {}
        }
    }

    fn after_crash(&self, seed: u64) -> FakeDisk {
        let mut chance = Chance(seed);
        let names: BTreeSet<&PathBuf> = self.live.keys().chain(self.durable.keys()).collect();
        let mut files = BTreeMap::new();
        for name in names {
            let (live, durable) = (self.live.get(name), self.durable.get(name));
            let kept = if chance.next().is_multiple_of(2) { live } else { durable };
            if let Some(inode) = kept {
                let content = lock(inode).after_crash(&mut chance);
                files.insert(name.clone(), Arc::new(Mutex::new(content)));
            }
        }
        FakeDisk(Arc::new(Mutex::new(State { live: files.clone(), durable: files, ..State::default() })))
    }
}

/// The disk. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct FakeDisk(Arc<Mutex<State>>);

#[derive(Debug)]
struct FakeFile {
    disk: FakeDisk,
    inode: Inode,
}

#[derive(Debug)]
struct FakeClaim {
    disk: FakeDisk,
    dir: PathBuf,
}

impl Claim for FakeClaim {}

impl Drop for FakeClaim {
    fn drop(&mut self) {
        self.disk.state().claimed.remove(&self.dir);
    }
}

/// A small generator (splitmix64): the same seed gives the same crash.
#[derive(Debug)]
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.next() % (n as u64 + 1)).unwrap_or(0)
    }
}

fn lock(inode: &Inode) -> MutexGuard<'_, Content> {
    inode.lock().expect("no test panics while it holds a file")
}

fn absent(path: &Path) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, format!("no file {}", path.display()))
}

impl FakeDisk {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no test panics while it holds the disk")
    }

    /// The disk as it may be found after the power went: another disk, this one stays as it is.
    pub fn crash(&self, seed: u64) -> FakeDisk {
        self.state().after_crash(seed)
    }

    /// Before the change that follows `changes` others, an image is taken as by [`crash`](Self::crash).
    pub fn crash_in(&self, changes: usize, seed: u64) {
        self.state().crash_in = Some((changes, seed));
    }

    /// The image, once it was taken.
    pub fn image(&self) -> Option<FakeDisk> {
        self.state().image.take()
    }

    /// From now on only `bytes` more can be written; `None` makes room again.
    pub fn set_room(&self, bytes: Option<usize>) {
        self.state().room = bytes;
    }

    /// The next `n` syncs of files fail.
    pub fn fail_syncs(&self, n: usize) {
        self.state().failing_syncs = n;
    }

    /// Syncs report success without keeping anything, as a disk with a lying cache.
    pub fn lie_about_syncs(&self, lying: bool) {
        self.state().lying = lying;
    }

    /// How many times files were synced.
    pub fn syncs(&self) -> usize {
        self.state().syncs
    }

    /// All files with their sizes.
    pub fn files(&self) -> Vec<(PathBuf, usize)> {
        self.state().live.iter().map(|(p, i)| (p.clone(), lock(i).bytes.len())).collect()
    }

    /// Changes the bytes of a file in place, as decay does.
    pub fn damage(&self, path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
        if let Some(inode) = self.state().live.get(path) {
            let mut content = lock(inode);
            change(&mut content.bytes);
            content.synced = content.bytes.len();
            content.safe = content.bytes.clone();
        }
    }
}

impl Content {
    fn after_crash(&self, chance: &mut Chance) -> Content {
        let keep = if self.bytes.len() > self.synced {
            self.synced + chance.below(self.bytes.len() - self.synced)
        } else {
            self.bytes.len()
        };
        let mut bytes = self.bytes.get(..keep).unwrap_or_default().to_vec();
        if keep > self.synced {
            match chance.next() % 3 {
                // The file's length reached the disk before its bytes did.
                0 => bytes.extend(std::iter::repeat_n(0, chance.below(600))),
                // The last sector is torn.
                1 => {
                    let torn = chance.below(512.min(keep - self.synced));
                    for b in &mut bytes[keep - torn..] {
                        *b = chance.next().to_le_bytes()[0];
                    }
                }
                _ => {}
            }
        }
        let safe = if bytes.len() < self.safe.len() { self.safe.clone() } else { bytes };
        Content { synced: safe.len(), bytes: safe.clone(), safe }
    }
}

impl Appender for FakeFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.disk.state();
        state.step();
        let mut taken = bytes.len();
        if let Some(room) = &mut state.room {
            taken = taken.min(*room);
            *room -= taken;
        }
        lock(&self.inode).bytes.extend_from_slice(&bytes[..taken]);
        if taken < bytes.len() { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut state = self.disk.state();
        state.step();
        state.syncs += 1;
        if state.failing_syncs > 0 {
            state.failing_syncs -= 1;
            return Err(io::Error::other("the fake disk was told to fail"));
        }
        if !state.lying {
            let mut content = lock(&self.inode);
            content.synced = content.bytes.len();
            content.safe = content.bytes.clone();
        }
        Ok(())
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        self.disk.state().step();
        let mut content = lock(&self.inode);
        content.bytes.truncate(usize::try_from(len).unwrap_or(usize::MAX));
        content.synced = content.synced.min(content.bytes.len());
        Ok(())
    }
}

impl Source for FakeFile {
    fn len(&self) -> io::Result<u64> {
        Ok(lock(&self.inode).bytes.len() as u64)
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        let content = lock(&self.inode);
        let start = usize::try_from(offset).map_err(|_| io::ErrorKind::UnexpectedEof)?;
        let bytes = start.checked_add(into.len()).and_then(|end| content.bytes.get(start..end));
        into.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

impl Disk for FakeDisk {
    fn create_dir(&self, _dir: &Path) -> io::Result<()> {
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let state = self.state();
        let here = state.live.keys().filter(|p| p.parent() == Some(dir));
        Ok(here.filter_map(|p| p.file_name()?.to_str().map(str::to_owned)).collect())
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn Appender>> {
        let mut state = self.state();
        state.step();
        if state.live.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let inode = Inode::default();
        state.live.insert(path.to_owned(), Arc::clone(&inode));
        Ok(Box::new(FakeFile { disk: self.clone(), inode }))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn Source>> {
        let inode = Arc::clone(self.state().live.get(path).ok_or_else(|| absent(path))?);
        Ok(Arc::new(FakeFile { disk: self.clone(), inode }))
    }

    fn truncate(&self, path: &Path, len: u64) -> io::Result<()> {
        let inode = Arc::clone(self.state().live.get(path).ok_or_else(|| absent(path))?);
        let mut file = FakeFile { disk: self.clone(), inode };
        file.truncate(len)?;
        file.sync()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.step();
        let inode = state.live.remove(from).ok_or_else(|| absent(from))?;
        state.live.insert(to.to_owned(), inode);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.step();
        state.live.remove(path).map(drop).ok_or_else(|| absent(path))
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.step();
        let file = state.live.get(from).cloned().ok_or_else(|| absent(from))?;
        state.live.insert(to.to_owned(), file);
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.step();
        if state.lying {
            return Ok(());
        }
        state.durable.retain(|p, _| p.parent() != Some(dir));
        let here = state.live.iter().filter(|(p, _)| p.parent() == Some(dir));
        let here: Vec<_> = here.map(|(p, i)| (p.clone(), Arc::clone(i))).collect();
        state.durable.extend(here);
        Ok(())
    }

    fn claim(&self, dir: &Path) -> io::Result<Option<Box<dyn Claim>>> {
        let fresh = self.state().claimed.insert(dir.to_owned());
        Ok(fresh.then(|| Box::new(FakeClaim { disk: self.clone(), dir: dir.to_owned() }) as Box<dyn Claim>))
    }
}
