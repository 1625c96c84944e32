//! Taking write requests.
//!
//! A request is decompressed, taken apart, resolved and appended on a thread that may block, in memory that
//! serves for the next one; then it waits for a sync that it shares with others. How much is taken apart at one
//! time is bounded in bytes, by what the header of a body says before any memory is taken for it.

mod run;

use super::{
    durable::{Durable, Unsynced},
    known::Known,
    refusal::Refused,
    request::{About, Protocol, Request},
};
use crate::{
    scrape::{
        exposition::MetricType,
        ingest::{Families, MAX_FAMILIES, MAX_HELP, Metadata},
    },
    self_::SelfSource,
};
use bytes::BytesMut;
use model::{Append, Batch, ExemplarSink, Labels, SeriesRef, labels::METRIC_NAME};
use run::Run;
use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How much is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReceiverConfig {
    /// Bytes of a body as it is sent.
    pub compressed_bytes: usize,
    /// Bytes of a body when it is decompressed.
    pub body_bytes: usize,
    /// Bytes of bodies that are on their way in at one time.
    pub inbox_bytes: usize,
    /// Bytes of decompressed bodies that are worked on at one time.
    pub working_bytes: usize,
    /// Requests that may wait for their turn.
    pub waiting: usize,
    /// Memory for series that are known by their labels' bytes.
    pub known_bytes: usize,
}

impl Default for ReceiverConfig {
    fn default() -> Self {
        ReceiverConfig {
            compressed_bytes: 16 << 20,
            body_bytes: 32 << 20,
            inbox_bytes: 64 << 20,
            working_bytes: 64 << 20,
            waiting: 256,
            known_bytes: 256 << 20,
        }
    }
}

/// What of a request was written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Written {
    pub samples: u64,
    pub histograms: u64,
    pub exemplars: u64,
}

/// Why a request was not taken whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// Sending the same again will not help. What could be taken is written.
    Invalid(String),
    TooLarge(String),
    /// There is no room for series that are new.
    Limit {
        message: String,
        after: Duration,
    },
    /// The same may be taken later.
    Busy {
        message: String,
        after: Duration,
    },
    /// Something broke here.
    Failed(String),
}

/// What became of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    pub written: Written,
    pub refusal: Option<Refusal>,
}

impl Outcome {
    fn nothing(refusal: Refusal) -> Outcome {
        Outcome { written: Written::default(), refusal: Some(refusal) }
    }
}

#[derive(Debug, Default)]
struct Counters {
    requests: AtomicU64,
    failed_requests: AtomicU64,
    samples: AtomicU64,
    histograms: AtomicU64,
    exemplars: AtomicU64,
    rejected: AtomicU64,
    bytes: AtomicU64,
}

#[derive(Debug)]
struct Inner {
    append: Arc<dyn Append>,
    exemplars: Arc<dyn ExemplarSink>,
    config: ReceiverConfig,
    known: RwLock<Known>,
    families: Mutex<Arc<Families>>,
    /// Memory that waits for the next request.
    spare: Mutex<Vec<Work>>,
    counters: Counters,
}

/// Takes write requests. Clones are the same one.
#[derive(Debug, Clone)]
pub struct Receiver {
    inner: Arc<Inner>,
    durable: Arc<Durable>,
    /// In KiB.
    room: Arc<Semaphore>,
    turn: Arc<Semaphore>,
    /// In KiB.
    inbox: Arc<Semaphore>,
}

/// A body that comes in. Together they take no more than there is room for.
#[derive(Debug)]
pub struct Inbox {
    bytes: BytesMut,
    most: usize,
    room: Arc<Semaphore>,
    held: Vec<OwnedSemaphorePermit>,
    /// How many bytes there is room for.
    granted: usize,
}

/// Room is granted in pieces of this many KiB.
const GRANT: u32 = 64;

impl Inbox {
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Adds what came next.
    ///
    /// # Errors
    /// When it is too much for one body, or when all together take too much now.
    pub fn add(&mut self, more: &[u8]) -> Result<(), Refusal> {
        let len = self.bytes.len() + more.len();
        if len > self.most {
            return Err(Refusal::TooLarge(format!(
                "the body is longer than the {} bytes that are taken: send fewer samples at a time",
                self.most
            )));
        }
        while len > self.granted {
            match Arc::clone(&self.room).try_acquire_many_owned(GRANT) {
                Ok(permit) => self.held.push(permit),
                Err(_) => return Err(busy()),
            }
            self.granted += (GRANT as usize) << 10;
        }
        self.bytes.extend_from_slice(more);
        Ok(())
    }
}

fn busy() -> Refusal {
    Refusal::Busy { message: "too many write requests are under way".to_owned(), after: SOON }
}

/// What one request is worked on with.
#[derive(Debug, Default)]
struct Work {
    body: Vec<u8>,
    decoder: Decoder,
    request: Request,
    /// The store's reference of each series of the request.
    refs: Vec<Option<SeriesRef>>,
    scratch: Vec<u8>,
    batch: Batch,
    /// Which series each sample of the batch is of.
    owners: Vec<u32>,
}

/// A decoder has nothing to show.
#[derive(Default)]
struct Decoder(snap::raw::Decoder);

impl std::fmt::Debug for Decoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Decoder")
    }
}

/// Memory that is kept for the next request, at most, and for how many at one time.
const SPARE_BYTES: usize = 16 << 20;
const SPARES: usize = 8;

/// Snappy makes no more than 64 bytes of 3.
const MOST_EXPANSION: usize = 22;

/// Below this a request is taken apart where it came in: going to another thread costs more.
const SMALL: usize = 8 << 10;

/// How long whoever is refused for now waits.
const SOON: Duration = Duration::from_secs(5);
const LATER: Duration = Duration::from_secs(30);

impl Receiver {
    pub fn new(
        append: Arc<dyn Append>,
        exemplars: Arc<dyn ExemplarSink>,
        config: ReceiverConfig,
    ) -> Receiver {
        let kib = (config.working_bytes.max(config.body_bytes) >> 10).clamp(1, Semaphore::MAX_PERMITS);
        Receiver {
            durable: Arc::new(Durable::new(Arc::clone(&append))),
            room: Arc::new(Semaphore::new(kib)),
            inbox: Arc::new(Semaphore::new(
                (config.inbox_bytes.max(config.compressed_bytes) >> 10)
                    .clamp(GRANT as usize, Semaphore::MAX_PERMITS),
            )),
            turn: Arc::new(Semaphore::new(config.waiting.clamp(1, Semaphore::MAX_PERMITS))),
            inner: Arc::new(Inner {
                append,
                exemplars,
                known: RwLock::new(Known::new(config.known_bytes)),
                families: Mutex::default(),
                spare: Mutex::default(),
                counters: Counters::default(),
                config,
            }),
        }
    }

    /// Where a body is put together.
    pub fn inbox(&self) -> Inbox {
        Inbox {
            bytes: BytesMut::new(),
            most: self.inner.config.compressed_bytes,
            room: Arc::clone(&self.inbox),
            held: Vec::new(),
            granted: 0,
        }
    }

    /// What senders said about families of metrics.
    pub fn families(&self) -> Arc<Families> {
        Arc::clone(&self.inner.families.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes a request. Returns when what it took is on disk.
    pub async fn write(&self, protocol: Protocol, body: Inbox) -> Outcome {
        let len = self.inner.body_len(&body.bytes);
        let outcome = match len {
            Ok(len) => self.write_uncounted(protocol, Body::Packed(body), len).await,
            Err(refusal) => Outcome::nothing(refusal),
        };
        self.counted(outcome)
    }

    /// Takes a request that others made of what was sent, not compressed.
    pub(crate) async fn write_message(&self, protocol: Protocol, message: Vec<u8>) -> Outcome {
        let len = message.len();
        let outcome = match self.inner.within(len) {
            Ok(()) => self.write_uncounted(protocol, Body::Plain(message), len).await,
            Err(refusal) => Outcome::nothing(refusal),
        };
        self.counted(outcome)
    }

    fn counted(&self, outcome: Outcome) -> Outcome {
        let c = &self.inner.counters;
        let add = |counter: &AtomicU64, n: u64| counter.fetch_add(n, Ordering::Relaxed);
        add(&c.requests, 1);
        add(&c.samples, outcome.written.samples);
        add(&c.histograms, outcome.written.histograms);
        add(&c.exemplars, outcome.written.exemplars);
        add(&c.failed_requests, u64::from(outcome.refusal.is_some()));
        outcome
    }

    async fn write_uncounted(&self, protocol: Protocol, body: Body, len: usize) -> Outcome {
        let Ok(_turn) = self.turn.try_acquire() else { return Outcome::nothing(busy()) };
        let kib = u32::try_from((len >> 10) + 1).unwrap_or(u32::MAX);
        let Ok(room) = Arc::clone(&self.room).acquire_many_owned(kib).await else {
            return Outcome::nothing(busy());
        };
        let inner = Arc::clone(&self.inner);
        let work = move || {
            let taken = inner.take(protocol, body, len);
            drop(room);
            taken
        };
        let taken = if len < SMALL {
            work()
        } else {
            match tokio::task::spawn_blocking(work).await {
                Ok(taken) => taken,
                Err(e) => {
                    return Outcome::nothing(Refusal::Failed(format!("taking a request broke off: {e}")));
                }
            }
        };
        if taken.appended
            && let Err(why) = self.durable.sync().await
        {
            return Outcome::nothing(unsynced(why));
        }
        taken.outcome
    }
}

/// A body as it came, or as it is read.
enum Body {
    Packed(Inbox),
    Plain(Vec<u8>),
}

/// What is answered where the store cannot take or keep anything.
fn unsynced(why: Unsynced) -> Refusal {
    match why {
        Unsynced::Full => Refusal::Busy { message: "the disk is full".to_owned(), after: LATER },
        Unsynced::Closed => Refusal::Busy { message: "Vigie is stopping".to_owned(), after: SOON },
        Unsynced::Failed(message) => Refusal::Failed(message),
    }
}

/// What became of a request before it is on disk.
struct Taken {
    outcome: Outcome,
    appended: bool,
}

impl Inner {
    /// How long the body is when it is decompressed, as its first bytes say.
    fn body_len(&self, compressed: &[u8]) -> Result<usize, Refusal> {
        let corrupt = |what: &str| Refusal::Invalid(format!("the body is not snappy's block format: {what}"));
        let len = snap::raw::decompress_len(compressed).map_err(|e| corrupt(&e.to_string()))?;
        self.within(len)?;
        if len > compressed.len().saturating_mul(MOST_EXPANSION) {
            return Err(corrupt("it says that it is longer than it can be"));
        }
        Ok(len)
    }

    fn within(&self, len: usize) -> Result<(), Refusal> {
        if len > self.config.body_bytes {
            return Err(Refusal::TooLarge(format!(
                "the body has {len} bytes when it is decompressed, and {} are taken: send fewer samples at a time",
                self.config.body_bytes
            )));
        }
        Ok(())
    }

    fn take(&self, protocol: Protocol, body: Body, len: usize) -> Taken {
        let spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut work = spare.unwrap_or_default();
        let taken = self.take_with(&mut work, protocol, body, len);
        if work.body.capacity() + work.request.memory() <= SPARE_BYTES {
            let mut spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner);
            if spare.len() < SPARES {
                spare.push(work);
            }
        }
        taken
    }

    fn take_with(&self, work: &mut Work, protocol: Protocol, body: Body, len: usize) -> Taken {
        let refused =
            |what: String| Taken { outcome: Outcome::nothing(Refusal::Invalid(what)), appended: false };
        match body {
            Body::Packed(inbox) => {
                work.body.resize(len, 0);
                if let Err(e) = work.decoder.0.decompress(&inbox.bytes, &mut work.body) {
                    return refused(format!("the body is not snappy's block format: {e}"));
                }
            }
            Body::Plain(message) => work.body = message,
        }
        if let Err(e) = work.request.read(protocol, &work.body) {
            return refused(e.to_string());
        }
        self.counters.bytes.fetch_add(len as u64, Ordering::Relaxed);
        let mut run = Run {
            inner: self,
            protocol,
            work,
            absent: HashMap::new(),
            refused: Refused::default(),
            no_room: None,
            failure: None,
            written: Written::default(),
            appended: false,
            all: 0,
        };
        run.resolve();
        run.append();
        run.exemplars();
        run.end()
    }
}

impl Inner {
    /// Keeps what is said about a family.
    fn note(&self, about: &About<'_>) {
        let kind = match about.kind {
            1 => MetricType::Counter,
            2 => MetricType::Gauge,
            3 => MetricType::Histogram,
            4 => MetricType::GaugeHistogram,
            5 => MetricType::Summary,
            6 => MetricType::Info,
            7 => MetricType::StateSet,
            _ => MetricType::Unknown,
        };
        if kind == MetricType::Unknown && about.help.is_empty() && about.unit.is_empty() {
            return;
        }
        let cut = |text: &str| text.chars().take(MAX_HELP).collect::<String>();
        let wanted = Metadata { kind, help: cut(about.help), unit: cut(about.unit) };
        let mut families = self.families.lock().unwrap_or_else(PoisonError::into_inner);
        let known = families.get(about.family);
        if known != Some(&wanted) && (known.is_some() || families.len() < MAX_FAMILIES) {
            Arc::make_mut(&mut families).insert(about.family.to_owned(), wanted);
        }
    }
}

/// `vigie_remote_write_received_*`.
impl SelfSource for Receiver {
    fn read(&self, _: i64) -> Vec<(Labels, f64)> {
        let c = &self.inner.counters;
        let known = self.inner.known.read().unwrap_or_else(PoisonError::into_inner).len();
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed) as f64;
        [
            ("vigie_remote_write_received_requests_total", count(&c.requests)),
            ("vigie_remote_write_received_failed_requests_total", count(&c.failed_requests)),
            ("vigie_remote_write_received_samples_total", count(&c.samples)),
            ("vigie_remote_write_received_histograms_total", count(&c.histograms)),
            ("vigie_remote_write_received_exemplars_total", count(&c.exemplars)),
            ("vigie_remote_write_received_rejected_samples_total", count(&c.rejected)),
            ("vigie_remote_write_received_bytes_total", count(&c.bytes)),
            ("vigie_remote_write_received_known_series", known as f64),
        ]
        .into_iter()
        .map(|(name, v)| (Labels::from_pairs([(METRIC_NAME, name)]), v))
        .collect()
    }
}
