//! The store as others see it: open, append, select, maintain, close.
//!
//! Locks, in the order in which they may be taken: the log's files, the log's buffer, the head. Appending takes
//! buffer and head, so the log has samples in the order of the head; selecting takes the head alone, and that
//! shortly.

mod admin;
mod config;
mod maintain;
mod read;

pub use admin::{BlockInfo, Cardinality, Count, Deletion, Importer};
pub use config::{Damage, OpenError, OpenReport, TsdbConfig};
pub use maintain::{MaintainError, Maintained};

use crate::{
    block::{self, Block, BlockIndex},
    disk::{Claim, Disk},
    head::{Head, Taking},
    log::{self, Log},
    record::{self, MAX_COLUMN, Record},
};
use model::{Append, AppendError, Appended, Batch, Labels, SeriesRef};
use std::{
    collections::HashSet,
    fmt,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering},
        mpsc,
    },
    thread,
};

/// The store. Clones share it.
#[derive(Clone)]
pub struct Tsdb(Arc<Inner>);

impl fmt::Debug for Tsdb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tsdb").field("dir", &self.0.config.dir).finish_non_exhaustive()
    }
}

/// Numbers about the store. Those named `_total` count since it was opened.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stats {
    /// Series in the head.
    pub series: u64,
    pub series_created_total: u64,
    pub series_removed_total: u64,
    pub samples_appended_total: u64,
    pub samples_rejected_total: u64,
    /// Milliseconds since 1970 of the newest sample, 0 when there is none.
    pub head_max_time_ms: i64,
    /// Bytes of the log since the last checkpoint.
    pub log_bytes: u64,
    pub log_syncs_total: u64,
    pub log_sync_failures_total: u64,
    pub blocks: u64,
    pub block_bytes: u64,
    pub blocks_written_total: u64,
    pub blocks_deleted_total: u64,
    pub checkpoints_total: u64,
    /// Pieces of the files that could not be read when the store was opened, and series that could not be written
    /// to a block since.
    pub damaged_pieces: u64,
}

#[derive(Debug, Default)]
struct Counters {
    created: AtomicU64,
    removed: AtomicU64,
    appended: AtomicU64,
    rejected: AtomicU64,
    sync_failures: AtomicU64,
    blocks_written: AtomicU64,
    blocks_deleted: AtomicU64,
    checkpoints: AtomicU64,
    unreadable: AtomicU64,
    last_checkpoint_bytes: AtomicU64,
}

fn add(counter: &AtomicU64, n: usize) {
    counter.fetch_add(n as u64, Ordering::Relaxed);
}

fn read(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

#[derive(Debug)]
struct Syncer {
    stop: mpsc::SyncSender<()>,
    thread: thread::JoinHandle<()>,
}

#[derive(Debug)]
struct Inner {
    config: TsdbConfig,
    disk: Arc<dyn Disk>,
    log_dir: PathBuf,
    block_dir: PathBuf,
    log: Arc<Log>,
    head: RwLock<Head>,
    /// Oldest first. Changed only while the head is locked for writing.
    blocks: Mutex<Vec<Arc<Block>>>,
    /// Recently used indexes, the last used at the end.
    indexes: Mutex<Vec<(PathBuf, Arc<BlockIndex>)>>,
    /// Whether new series are refused, whatever their number.
    full: AtomicBool,
    /// Names of block files that were ever given.
    names: Mutex<HashSet<String>>,
    /// Files of blocks that nobody is shown any more.
    doomed: Mutex<Vec<PathBuf>>,
    /// Blocks that were found not to read.
    unreadable: Mutex<Vec<PathBuf>>,
    /// The time that maintenance was told last, in milliseconds since 1970.
    now: AtomicI64,
    /// What the head had counted of samples that come behind, and when it last changed.
    behind: Mutex<(u64, i64)>,
    counters: Arc<Counters>,
    damaged_pieces: u64,
    /// One maintenance at a time.
    maintaining: Mutex<()>,
    syncer: Mutex<Option<Syncer>>,
    claim: Mutex<Option<Box<dyn Claim>>>,
}

/// A panic while a lock is held is a bug of ours; the data behind it is changed in whole steps.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The largest label set that is taken, in bytes of its texts.
const MAX_LABEL_BYTES: usize = 64 << 10;
/// Gaps in series numbers beyond this come from no log of ours.
const MAX_ID_GAP: u64 = 1 << 30;

impl Tsdb {
    /// Claims the directory and reads back what is in it. Blocks until that is done.
    pub fn open(config: TsdbConfig, disk: Arc<dyn Disk>) -> Result<(Tsdb, OpenReport), OpenError> {
        config.check()?;
        let io = |path: &PathBuf| {
            let path = path.clone();
            move |e| OpenError::io(&path, e)
        };
        let (log_dir, block_dir) = (config.dir.join("log"), config.dir.join("blocks"));
        for dir in [&config.dir, &log_dir, &block_dir] {
            disk.create_dir(dir).map_err(io(dir))?;
        }
        disk.sync_dir(&config.dir).map_err(io(&config.dir))?;
        let claim = disk.claim(&config.dir).map_err(io(&config.dir))?;
        let claim = claim.ok_or_else(|| OpenError::InUse { dir: config.dir.clone() })?;

        let mut report = OpenReport::default();
        let blocks = open_blocks(&*disk, &block_dir, &mut report)?;
        let mut head = Head::new(config.block_range_ms());
        // What is in the log was taken, whatever the window is now.
        head.late_window = i64::MAX;
        let replayed = log::replay(&*disk, &log_dir, |record| restore(&mut head, record, &mut report))?;
        head.late_window = config::millis(config.late_window);
        // What is in blocks is not read twice.
        head.drop_before(head.min_valid);
        report.series = head.len() as u64;
        report.log_records = replayed.records;
        report.log_bytes = replayed.segment_bytes;
        report.torn_bytes = replayed.torn_bytes;
        report.damage.extend(replayed.damage.iter().cloned());

        let named = blocks.iter().filter_map(|b| Some(b.path.file_name()?.to_str()?.to_owned()));
        let names: HashSet<String> = named.collect();
        let log = Log::after(
            Arc::clone(&disk),
            log_dir.clone(),
            &replayed,
            config.segment_bytes,
            config.max_unsynced_bytes,
        );
        let log = Arc::new(log);
        let counters = Arc::new(Counters::default());
        let syncer = start_syncer(&config, &log, &counters).map_err(io(&config.dir))?;
        let inner = Inner {
            disk,
            log_dir,
            block_dir,
            log,
            head: RwLock::new(head),
            blocks: Mutex::new(blocks),
            indexes: Mutex::default(),
            full: AtomicBool::new(false),
            names: Mutex::new(names),
            doomed: Mutex::default(),
            unreadable: Mutex::default(),
            now: AtomicI64::new(i64::MIN),
            behind: Mutex::new((0, i64::MIN)),
            counters,
            damaged_pieces: report.damage.len() as u64,
            maintaining: Mutex::default(),
            syncer: Mutex::new(syncer),
            claim: Mutex::new(Some(claim)),
            config,
        };
        Ok((Tsdb(Arc::new(inner)), report))
    }

    /// Syncs what was appended, takes nothing more and frees the directory. Reading still works. A second call
    /// does nothing.
    pub fn close(&self) -> Result<(), AppendError> {
        let outcome = self.0.close();
        match outcome {
            Err(AppendError::Closed) => Ok(()),
            other => other,
        }
    }

    /// Refuses new series, or takes them again; series that are there go on. For whoever watches the memory of the
    /// process.
    pub fn refuse_new_series(&self, refuse: bool) {
        self.0.full.store(refuse, Ordering::Relaxed);
    }

    /// Takes samples from now on that are up to so much behind the newest one.
    pub fn set_late_window(&self, window: std::time::Duration) {
        self.0.head_mut().late_window = config::millis(window);
    }

    pub fn stats(&self) -> Stats {
        let inner = &*self.0;
        let (series, max_time) = {
            let head = inner.head();
            (head.len() as u64, head.max_time)
        };
        let log = inner.log.stats();
        let c = &inner.counters;
        let blocks = lock(&inner.blocks);
        Stats {
            series,
            series_created_total: read(&c.created),
            series_removed_total: read(&c.removed),
            samples_appended_total: read(&c.appended),
            samples_rejected_total: read(&c.rejected),
            head_max_time_ms: if max_time == i64::MIN { 0 } else { max_time },
            log_bytes: log.bytes,
            log_syncs_total: log.syncs,
            log_sync_failures_total: read(&c.sync_failures),
            blocks: blocks.len() as u64,
            block_bytes: blocks.iter().map(|b| b.bytes).sum(),
            blocks_written_total: read(&c.blocks_written),
            blocks_deleted_total: read(&c.blocks_deleted),
            checkpoints_total: read(&c.checkpoints),
            damaged_pieces: inner.damaged_pieces + read(&c.unreadable),
        }
    }
}

/// Opens the blocks of a directory, oldest first. A damaged one is set aside under another name and reported.
fn open_blocks(disk: &dyn Disk, dir: &Path, report: &mut OpenReport) -> Result<Vec<Arc<Block>>, OpenError> {
    let mut blocks: Vec<Arc<Block>> = Vec::new();
    let io = |e| OpenError::io(dir, e);
    for name in disk.list(dir).map_err(io)? {
        let path = dir.join(&name);
        if name.ends_with(".tmp") {
            disk.remove(&path).map_err(io)?;
        }
        if !name.ends_with(".block") {
            continue;
        }
        match Block::open(disk, &path) {
            Ok(b) => blocks.push(Arc::new(b)),
            Err(block::BlockError::Open(e)) => return Err(e),
            Err(block::BlockError::Damaged(what)) => {
                let to = disk.open(&path).and_then(|s| s.len()).map_err(io)?;
                disk.rename(&path, &path.with_extension("damaged")).map_err(io)?;
                disk.sync_dir(dir).map_err(io)?;
                report.damage.push(Damage { path, from: 0, to, what });
            }
        }
    }
    blocks.sort_by_key(|b| b.footer.start);
    report.blocks = blocks.len() as u64;
    Ok(blocks)
}

/// Puts one record of the log back into the head.
pub(crate) fn restore(head: &mut Head, record: Record, report: &mut OpenReport) {
    let mut count = |taken: bool| {
        if taken {
            report.samples += 1;
        } else {
            report.dropped_samples += 1;
        }
    };
    match record {
        Record::Mark { next_id, min_valid } => {
            head.set_min_valid(min_valid);
            if next_id <= head.next_id().saturating_add(1 << 56) {
                head.reserve_ids(next_id);
            }
        }
        Record::Series(series) => {
            for (id, labels) in series {
                if id < head.next_id().saturating_add(MAX_ID_GAP) {
                    head.insert(id, &labels);
                }
            }
        }
        Record::Samples { at, series, values } => {
            for (id, v) in series.iter().zip(values) {
                let taken = head.push(*id, at, None, &model::Value::Float(v));
                count(taken.is_ok() || at < head.min_valid);
            }
        }
        Record::Entries(entries) => {
            for e in entries {
                let taken = head.push(e.series, e.at, e.start, &e.value);
                count(taken.is_ok() || e.at < head.min_valid);
            }
        }
        Record::Row { group, added, written } => {
            let columns = written.columns as u64;
            if head.restore_row(group, added, &written) {
                report.samples += columns;
            } else {
                report.dropped_samples += columns;
            }
        }
        Record::Group { group, columns, sealed } => head.restore_sealed(group, columns, sealed),
        Record::Chunks(chunks) => {
            for (id, chunk) in chunks {
                let n = chunk.count();
                let taken = head.restore(id, chunk);
                (0..n).for_each(|_| count(taken));
            }
        }
    }
}

fn start_syncer(
    config: &TsdbConfig,
    log: &Arc<Log>,
    counters: &Arc<Counters>,
) -> std::io::Result<Option<Syncer>> {
    let Some(every) = config.sync_every else { return Ok(None) };
    let (stop, stopped) = mpsc::sync_channel(1);
    let (log, counters) = (Arc::clone(log), Arc::clone(counters));
    let run = move || {
        while let Err(mpsc::RecvTimeoutError::Timeout) = stopped.recv_timeout(every) {
            match log.sync() {
                Ok(()) => {}
                Err(AppendError::Closed) => return,
                // Writers are told too: the log refuses them, or waits until there is room.
                Err(_) => add(&counters.sync_failures, 1),
            }
        }
    };
    let thread = thread::Builder::new().name("tsdb-log-sync".to_owned()).spawn(run)?;
    Ok(Some(Syncer { stop, thread }))
}

impl Inner {
    fn head(&self) -> RwLockReadGuard<'_, Head> {
        self.head.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn head_mut(&self) -> RwLockWriteGuard<'_, Head> {
        self.head.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn close(&self) -> Result<(), AppendError> {
        let syncer = lock(&self.syncer).take();
        if let Some(Syncer { stop, thread }) = syncer {
            drop(stop);
            // It can only have ended by a panic, which was its own message.
            drop(thread.join());
        }
        let _no_maintenance = lock(&self.maintaining);
        let outcome = self.log.close();
        drop(lock(&self.claim).take());
        outcome
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // Whoever wants to know whether the last sync worked calls `close`.
        drop(self.close());
    }
}

impl Append for Tsdb {
    fn resolve(&self, labels: &Labels) -> Result<SeriesRef, AppendError> {
        let inner = &*self.0;
        if let Some(id) = inner.head().id(labels) {
            return Ok(SeriesRef(id));
        }
        check_labels(labels)?;
        let mut buffer = inner.log.begin()?;
        let mut head = inner.head_mut();
        if let Some(id) = head.id(labels) {
            return Ok(SeriesRef(id));
        }
        if inner.full.load(Ordering::Relaxed) {
            let why = "the process holds as much memory as it may: new series are refused";
            return Err(AppendError::Limit(why.to_owned()));
        }
        if let Some(limit) = inner.config.max_series
            && head.len() >= limit
        {
            return Err(AppendError::Limit(format!("there are {limit} active series, which is the limit")));
        }
        let id = head.create(labels);
        drop(head);
        buffer.add_series(id, labels.clone());
        add(&inner.counters.created, 1);
        Ok(SeriesRef(id))
    }

    fn append(&self, batch: &Batch) -> Result<Appended, AppendError> {
        let inner = &*self.0;
        let mut taking = Taking::default();
        {
            let mut buffer = inner.log.begin()?;
            inner.head_mut().append(batch, &mut taking);
            let out = buffer.records();
            for row in &taking.rows {
                record::put_row(out, row);
            }
            for (series, values) in taking.series.chunks(MAX_COLUMN).zip(taking.values.chunks(MAX_COLUMN)) {
                record::put_samples(out, batch.at, series, values);
            }
            for entries in taking.entries.chunks(1024) {
                record::put_entries(out, entries);
            }
        }
        let accepted = batch.len() - taking.rejected.len();
        add(&inner.counters.appended, accepted);
        add(&inner.counters.rejected, taking.rejected.len());
        Ok(Appended { accepted, rejected: taking.rejected })
    }

    fn sync(&self) -> Result<(), AppendError> {
        let outcome = self.0.log.sync();
        if outcome.is_err() {
            add(&self.0.counters.sync_failures, 1);
        }
        outcome
    }
}

fn check_labels(labels: &Labels) -> Result<(), AppendError> {
    let bytes: usize = labels.iter().map(|l| l.name.len() + l.value.len()).sum();
    let bad = |why: &str| Err(AppendError::BadLabels(why.to_owned()));
    if labels.is_empty() {
        bad("it is empty")
    } else if labels.iter().any(|l| l.name.is_empty()) {
        bad("a label has no name")
    } else if bytes > MAX_LABEL_BYTES {
        bad("its texts take more than 64 KiB")
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
