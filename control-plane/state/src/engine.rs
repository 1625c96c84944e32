//! The engine: one writer with group commit, a pool of readers, versioned tables.

use rusqlite::{Connection, OpenFlags, TransactionBehavior};
use std::{
    fmt,
    path::{Path, PathBuf},
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    },
    task::{Context, Poll},
    thread::JoinHandle,
    time::Duration,
};

/// Changes that may wait for the writer. A full queue makes callers wait, it drops nothing.
const QUEUE: usize = 4096;

/// Changes committed together at the most.
const GROUP: usize = 512;

/// Idle reading connections that are kept.
const READERS: usize = 4;

/// Space given up first when the disk is full, in bytes.
const BALLAST: u64 = 256 << 10;

/// Tables of one module: statements that bring version `i` to `i + 1`.
#[derive(Debug)]
pub(crate) struct Tables {
    pub(crate) module: &'static str,
    pub(crate) steps: &'static [&'static str],
}

const ALL_TABLES: [Tables; 4] =
    [crate::marks::TABLES, crate::alerts::TABLES, crate::deliveries::TABLES, crate::ledger::TABLES];

/// Why a change or a look-up did not happen.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StateError {
    #[error("the state database cannot be opened at {path}: {reason}")]
    Open { path: PathBuf, reason: String },
    #[error(
        "the tables of {module} are of version {found}, newer than this program's {known}: run a newer program"
    )]
    Newer { module: &'static str, found: u32, known: u32 },
    #[error("the disk is full: the change was not recorded")]
    Full,
    #[error("the state database failed: {0}")]
    Sql(String),
    #[error("the state database holds something that cannot be read: {0}")]
    Damaged(String),
    #[error("the state is closed")]
    Closed,
}

impl From<rusqlite::Error> for StateError {
    fn from(e: rusqlite::Error) -> Self {
        match e.sqlite_error_code() {
            Some(rusqlite::ErrorCode::DiskFull) => StateError::Full,
            Some(rusqlite::ErrorCode::DatabaseCorrupt | rusqlite::ErrorCode::NotADatabase) => {
                StateError::Damaged(e.to_string())
            }
            _ => StateError::Sql(e.to_string()),
        }
    }
}

/// A change on the writer's side. It may run twice: on a full disk the whole transaction is gone and is made
/// anew once the ballast is given up.
trait Job: Send {
    fn run(&mut self, connection: &Connection);
    /// Whether it could not run for want of space.
    fn lacked_space(&self) -> bool;
    /// Tells whoever asked what became of it.
    fn finish(self: Box<Self>, commit: Result<(), StateError>);
}

struct Change<T, F> {
    change: F,
    outcome: Result<T, StateError>,
    tell: futures_channel::oneshot::Sender<Result<T, StateError>>,
}

impl<T: Send, F: FnMut(&Connection) -> Result<T, StateError> + Send> Job for Change<T, F> {
    fn run(&mut self, connection: &Connection) {
        self.outcome = in_savepoint(connection, &mut self.change);
    }

    fn lacked_space(&self) -> bool {
        matches!(self.outcome, Err(StateError::Full))
    }

    fn finish(self: Box<Self>, commit: Result<(), StateError>) {
        // Whoever asked may have stopped waiting.
        let _gone = self.tell.send(commit.and(self.outcome)).is_err();
    }
}

enum Message {
    Change(Box<dyn Job>),
    Stop,
}

/// The state. Clones share it. Call [`State::close`] before the process ends.
#[derive(Clone)]
pub struct State(Arc<Inner>);

struct Inner {
    path: PathBuf,
    writer: SyncSender<Message>,
    thread: Mutex<Option<JoinHandle<()>>>,
    readers: Mutex<Vec<Connection>>,
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State").field("path", &self.0.path).finish_non_exhaustive()
    }
}

/// A change on its way to the disk. Await it, or [`Pending::wait`] where blocking is fine. Dropping it does not
/// undo the change.
#[derive(Debug)]
pub struct Pending<T>(futures_channel::oneshot::Receiver<Result<T, StateError>>);

impl<T> Pending<T> {
    /// Blocks until the change is on disk.
    ///
    /// # Errors
    /// As awaiting it: when the change was not recorded.
    pub fn wait(self) -> Result<T, StateError> {
        futures_executor::block_on(self)
    }
}

impl<T> Future for Pending<T> {
    type Output = Result<T, StateError>;
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx).map(|outcome| outcome.unwrap_or(Err(StateError::Closed)))
    }
}

impl State {
    /// Opens or creates `dir/state.db`. Its tables are brought to this program's version.
    ///
    /// # Errors
    /// When the file cannot be opened, is damaged, or was written by a newer program.
    pub fn open(dir: &Path) -> Result<State, StateError> {
        let open = |reason: String| StateError::Open { path: dir.to_owned(), reason };
        std::fs::create_dir_all(dir).map_err(|e| open(e.to_string()))?;
        let path = dir.join("state.db");
        let mut connection = Connection::open(&path).map_err(|e| open(e.to_string()))?;
        configure(&connection).map_err(|e| open(e.to_string()))?;
        connection.pragma_update(None, "synchronous", "FULL").map_err(|e| open(e.to_string()))?;
        for tables in &ALL_TABLES {
            upgrade(&mut connection, tables)?;
        }
        let ballast = dir.join("ballast");
        // Without room for the ballast the plane still starts: it is one more thing that may go wrong later.
        let _unballasted = fill_ballast(&ballast).is_err();
        let (writer, queue) = sync_channel(QUEUE);
        let thread = std::thread::Builder::new()
            .name("state-writer".into())
            .spawn(move || write_loop(&mut connection, &queue, &ballast))
            .map_err(|e| open(e.to_string()))?;
        Ok(State(Arc::new(Inner {
            path,
            writer,
            thread: Mutex::new(Some(thread)),
            readers: Mutex::new(Vec::new()),
        })))
    }

    /// Queues a change. The closure runs on the writer thread inside a savepoint of its own: its error undoes
    /// it alone. It may run again when the disk was full the first time, so it leaves what it captured as it was.
    pub(crate) fn write<T: Send + 'static>(
        &self,
        change: impl FnMut(&Connection) -> Result<T, StateError> + Send + 'static,
    ) -> Pending<T> {
        let (tell, told) = futures_channel::oneshot::channel();
        let job = Box::new(Change { change, outcome: Err(StateError::Closed), tell });
        // Blocks only while the queue is full; a closed writer drops the job, and `Pending` says Closed.
        match self.0.writer.try_send(Message::Change(job)) {
            Ok(()) | Err(TrySendError::Disconnected(_)) => {}
            Err(TrySendError::Full(message)) => {
                let _closed = self.0.writer.send(message).is_err();
            }
        }
        Pending(told)
    }

    /// Reads committed state on the calling thread.
    pub(crate) fn read<T>(
        &self,
        look: impl FnOnce(&Connection) -> Result<T, StateError>,
    ) -> Result<T, StateError> {
        let idle = self.0.readers.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let connection = match idle {
            Some(connection) => connection,
            None => {
                let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
                let connection = Connection::open_with_flags(&self.0.path, flags)?;
                connection.busy_timeout(Duration::from_secs(5))?;
                connection
            }
        };
        let outcome = look(&connection);
        let mut readers = self.0.readers.lock().unwrap_or_else(PoisonError::into_inner);
        if readers.len() < READERS {
            readers.push(connection);
        }
        outcome
    }

    /// Writes what is queued and ends the writer. Later changes answer [`StateError::Closed`].
    pub fn close(&self) {
        // Already gone is as good as closed.
        let _gone = self.0.writer.send(Message::Stop).is_err();
        let thread = self.0.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // The writer catches what it runs; a panic of its own has been printed.
            let _panicked = thread.join().is_err();
        }
    }
}

fn configure(connection: &Connection) -> Result<(), rusqlite::Error> {
    connection.busy_timeout(Duration::from_secs(5))?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // A quarter of a megabyte: what is written is small, and every byte of the directory counts.
    connection.pragma_update(None, "wal_autocheckpoint", 64)?;
    connection.pragma_update(None, "foreign_keys", "ON")
}

fn upgrade(connection: &mut Connection, tables: &Tables) -> Result<(), StateError> {
    let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    tx.execute_batch(
        "CREATE TABLE IF NOT EXISTS versions (module TEXT PRIMARY KEY, version INTEGER NOT NULL) STRICT",
    )?;
    let found: u32 = tx
        .query_row("SELECT version FROM versions WHERE module = ?1", [tables.module], |row| row.get(0))
        .or_else(|e| if e == rusqlite::Error::QueryReturnedNoRows { Ok(0) } else { Err(e) })?;
    let known = u32::try_from(tables.steps.len()).unwrap_or(u32::MAX);
    if found > known {
        return Err(StateError::Newer { module: tables.module, found, known });
    }
    for step in tables.steps.iter().skip(found as usize) {
        tx.execute_batch(step)?;
    }
    tx.execute("INSERT OR REPLACE INTO versions VALUES (?1, ?2)", (tables.module, known))?;
    tx.commit()?;
    Ok(())
}

fn in_savepoint<T>(
    connection: &Connection,
    change: &mut impl FnMut(&Connection) -> Result<T, StateError>,
) -> Result<T, StateError> {
    connection.execute_batch("SAVEPOINT change")?;
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| change(connection)))
        .unwrap_or_else(|_| Err(StateError::Sql("the change panicked".into())));
    // For want of space SQLite ends the whole transaction by itself: then there is nothing to go back to.
    if connection.is_autocommit() {
        return outcome.and(Err(StateError::Full));
    }
    if outcome.is_err() {
        connection.execute_batch("ROLLBACK TO change")?;
    }
    connection.execute_batch("RELEASE change")?;
    outcome
}

fn write_loop(connection: &mut Connection, queue: &Receiver<Message>, ballast: &Path) {
    let mut stopping = false;
    while !stopping {
        let Ok(first) = queue.recv() else { return };
        let mut jobs = Vec::new();
        let mut next = Some(first);
        while let Some(message) = next {
            match message {
                Message::Change(job) => jobs.push(job),
                Message::Stop => stopping = true,
            }
            next = if jobs.len() < GROUP { queue.try_recv().ok() } else { None };
        }
        if !jobs.is_empty() {
            commit(connection, jobs, &mut |_| std::fs::remove_file(ballast).is_ok());
        }
    }
}

/// Runs the jobs in one transaction and tells each the outcome. On a full disk `relieve` may make room; then
/// everything is done once more.
fn commit(
    connection: &mut Connection,
    mut jobs: Vec<Box<dyn Job>>,
    relieve: &mut dyn FnMut(&Connection) -> bool,
) {
    let mut outcome = attempt(connection, &mut jobs);
    if matches!(outcome, Err(StateError::Full)) && relieve(connection) {
        outcome = attempt(connection, &mut jobs);
    }
    jobs.into_iter().for_each(|job| job.finish(outcome.clone()));
}

/// One try at the whole transaction.
fn attempt(connection: &mut Connection, jobs: &mut [Box<dyn Job>]) -> Result<(), StateError> {
    let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for job in jobs {
        job.run(&tx);
        if job.lacked_space() || tx.is_autocommit() {
            // Dropping what is left of the transaction undoes it.
            return Err(StateError::Full);
        }
    }
    Ok(tx.commit()?)
}

fn fill_ballast(path: &Path) -> std::io::Result<()> {
    use std::io::Write;
    if std::fs::metadata(path).is_ok_and(|m| m.len() == BALLAST) {
        return Ok(());
    }
    let mut file = std::fs::File::create(path)?;
    let block = vec![0xA5; 64 << 10];
    for _ in 0..BALLAST / (64 << 10) {
        file.write_all(&block)?;
    }
    file.sync_all()
}

#[cfg(test)]
mod tests;
