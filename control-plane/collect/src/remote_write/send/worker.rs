//! The loop of one endpoint: read, send, remember; and try again for as long as it takes.

use super::{
    config::Endpoint,
    encode::Encoder,
    figures::{Figures, add, set},
    http::{Answer, client, send},
    round::{Filling, Reader, Round, Shard},
    series::Known,
};
use crate::{
    remote_write::Protocol,
    scrape::{fetch::chain, ingest::Families},
};
use anyhow::{Context, bail};
use bytes::Bytes;
use futures_util::future::join_all;
use kit::clock::Clock;
use model::{Kept, Position, Tail, Timestamp};
use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio_util::sync::CancellationToken;

/// What is known about families of metrics now.
#[derive(Clone)]
pub(crate) struct FamiliesNow(pub(crate) Arc<dyn Fn() -> Families + Send + Sync>);

impl fmt::Debug for FamiliesNow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FamiliesNow")
    }
}

/// How long one run tries before it says what is wrong; the next one goes on.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a position may stay unsaved that only passed samples which are not sent.
const SAVE: Duration = Duration::from_secs(2);
/// How long what is known about families is used.
const FAMILIES: Duration = Duration::from_mins(1);

/// What all of an endpoint shares.
#[derive(Debug)]
pub(crate) struct Way {
    pub(crate) endpoint: Arc<Endpoint>,
    pub(crate) client: reqwest::Client,
    pub(crate) clock: Clock,
    pub(crate) figures: Arc<Figures>,
    /// The receiver does not know the version that the file asks for, so the older one is spoken.
    pub(crate) older: AtomicBool,
}

impl Way {
    fn protocol(&self) -> Protocol {
        if self.older.load(Ordering::Relaxed) { Protocol::V1 } else { self.endpoint.protocol }
    }
}

#[derive(Debug)]
pub(crate) struct Worker {
    way: Arc<Way>,
    tail: Arc<dyn Tail>,
    families: FamiliesNow,
    known_families: Option<(Duration, Arc<Families>)>,
    reader: Option<Reader>,
    filling: Filling,
    round: Option<Round>,
    /// Up to where everything is through; `None` before the store was asked.
    done: Option<Position>,
    /// What the store remembers.
    saved: Kept,
    /// Up to where an earlier process was at work. The receiver has some of that: it is sent again in the same
    /// requests, as receivers of version 1 refuse all of a request that holds something old, and so would not
    /// take what is new in it.
    again: Option<Position>,
    saved_at: Duration,
    told_families: Option<Duration>,
    stop: CancellationToken,
}

impl Worker {
    /// # Errors
    /// When no client can be made of what the file says.
    pub(crate) fn new(
        endpoint: Arc<Endpoint>,
        tail: Arc<dyn Tail>,
        clock: Clock,
        families: FamiliesNow,
        figures: Arc<Figures>,
        stop: CancellationToken,
    ) -> anyhow::Result<Worker> {
        let client = client(&endpoint)?;
        Ok(Worker {
            way: Arc::new(Way { endpoint, client, clock, figures, older: AtomicBool::new(false) }),
            tail,
            families,
            known_families: None,
            reader: None,
            filling: Filling::default(),
            round: None,
            done: None,
            saved: Kept::default(),
            again: None,
            saved_at: Duration::ZERO,
            told_families: None,
            stop,
        })
    }

    /// Sends what there is to send.
    ///
    /// # Errors
    /// When the receiver does not take it, or the log cannot be read; the next run goes on where this one ends.
    pub(crate) async fn run(&mut self) -> anyhow::Result<String> {
        self.begin().await?;
        let mut sent = 0;
        loop {
            let at_end = match self.round {
                Some(_) => false,
                None => {
                    let at_end = self.fill().await?;
                    if !self.is_due() {
                        self.save_if(SAVE).await?;
                        break;
                    }
                    let round = Round::of(&mut self.filling, &self.way.endpoint);
                    let under_way = Some(round.next);
                    self.round = Some(round);
                    self.save(under_way).await?;
                    at_end
                }
            };
            let stop = self.stop.clone();
            tokio::select! {
                // What is under way is sent again after the next start.
                () = stop.cancelled() => return Ok("stopping".to_owned()),
                outcome = self.deliver() => outcome?,
            }
            if let Some(round) = self.round.take() {
                sent += round.samples;
                self.way.figures.newest.fetch_max(round.newest, Ordering::Relaxed);
                self.done = Some(round.next);
            }
            self.tell_families().await;
            if at_end || stop.is_cancelled() {
                break;
            }
        }
        if sent > 0 {
            // There is a pause now: what is through need not come again.
            self.save(None).await?;
        }
        let waiting = self.filling.samples;
        set(&self.way.figures.pending, waiting);
        Ok(format!("{sent} samples sent, {waiting} wait for more"))
    }

    /// Finds out where to begin: where it ended, or for a new endpoint with what comes from now on.
    async fn begin(&mut self) -> anyhow::Result<()> {
        if self.done.is_some() {
            return Ok(());
        }
        let (tail, key) = (Arc::clone(&self.tail), self.way.endpoint.key.clone());
        let kept = tokio::task::spawn_blocking(move || match tail.kept().get(&key) {
            Some(kept) => Ok(*kept),
            None => {
                let kept = Kept { done: tail.end(), under_way: None };
                tail.keep(&key, kept).map(|()| kept)
            }
        })
        .await??;
        self.filling.next = kept.done;
        (self.saved, self.again) = (kept, kept.under_way.filter(|p| *p > kept.done));
        self.way.figures.newest.fetch_max(self.way.clock.now_ms(), Ordering::Relaxed);
        self.done = Some(kept.done);
        Ok(())
    }

    async fn fill(&mut self) -> anyhow::Result<bool> {
        let now = self.way.clock.elapsed();
        let families = self.families_now(now);
        let mut reader = self.reader.take().unwrap_or_else(|| Reader {
            tail: Arc::clone(&self.tail),
            endpoint: Arc::clone(&self.way.endpoint),
            known: Known::new(Arc::clone(&self.way.endpoint)),
            figures: Arc::clone(&self.way.figures),
        });
        let mut filling = std::mem::take(&mut self.filling);
        let (back, until) = (filling.next, self.again);
        let filled = tokio::task::spawn_blocking(move || {
            let at_end = reader.fill(&mut filling, until, &families, now);
            let behind = reader.tail.behind(filling.next);
            (reader, filling, at_end, behind)
        });
        let (reader, filling, at_end, behind) = match filled.await {
            Ok(filled) => filled,
            Err(e) => {
                // What was read is lost with it: it is read again.
                self.filling.next = self.done.unwrap_or(back);
                return Err(e).context("reading the log broke off");
            }
        };
        let figures = &self.way.figures;
        set(&figures.pending, filling.samples);
        set(&figures.series, reader.known.len());
        figures.behind_bytes.store(behind.unwrap_or(0), Ordering::Relaxed);
        (self.reader, self.filling) = (Some(reader), filling);
        at_end.map_err(|e| anyhow::anyhow!("{}", chain(&e)))
    }

    fn families_now(&mut self, now: Duration) -> Arc<Families> {
        match &self.known_families {
            Some((at, families)) if now.saturating_sub(*at) < FAMILIES => Arc::clone(families),
            _ => {
                let families = Arc::new((self.families.0)());
                self.known_families = Some((now, Arc::clone(&families)));
                families
            }
        }
    }

    /// Whether what was read is to be sent now.
    fn is_due(&mut self) -> bool {
        if self.again.take().is_some() && self.filling.samples > 0 {
            return true;
        }
        let queue = &self.way.endpoint.queue;
        let waited = self.filling.begun.map(|b| self.way.clock.elapsed().saturating_sub(b));
        self.filling.samples >= queue.max_samples_per_send
            || waited.is_some_and(|w| w >= queue.batch_send_deadline)
    }

    /// Sends all of a round, or says why it could not yet.
    async fn deliver(&mut self) -> anyhow::Result<()> {
        let Some(round) = &mut self.round else { return Ok(()) };
        let way = &*self.way;
        set(&way.figures.shards, round.shards.len());
        set(&way.figures.pending, round.samples);
        let until = way.clock.elapsed() + PATIENCE;
        let all = join_all(round.shards.iter_mut().map(|shard| deliver(way, shard, until))).await;
        round.shards.retain(|s| !s.is_done());
        match all.into_iter().find_map(Result::err) {
            Some(why) => bail!("{why}; the samples wait"),
            None => Ok(()),
        }
    }

    async fn save_if(&mut self, after: Duration) -> anyhow::Result<()> {
        // Nothing that is sent was in what passed.
        if self.filling.samples == 0 {
            self.done = Some(self.filling.next);
        }
        let lately = self.way.clock.elapsed().saturating_sub(self.saved_at) < after;
        if lately { Ok(()) } else { self.save(None).await }
    }

    /// Has the store remember what is through, and up to where this is at work.
    async fn save(&mut self, under_way: Option<Position>) -> anyhow::Result<()> {
        let kept = Kept { done: self.done.unwrap_or_default(), under_way };
        if kept == self.saved {
            return Ok(());
        }
        let (tail, key) = (Arc::clone(&self.tail), self.way.endpoint.key.clone());
        tokio::task::spawn_blocking(move || tail.keep(&key, kept)).await??;
        (self.saved, self.saved_at) = (kept, self.way.clock.elapsed());
        Ok(())
    }

    /// Tells about families in version 1, now and then. What is not taken is told the next time.
    async fn tell_families(&mut self) {
        let (config, now) = (self.way.endpoint.metadata.clone(), self.way.clock.elapsed());
        let lately = self.told_families.is_some_and(|at| now.saturating_sub(at) < config.interval);
        if self.way.protocol() != Protocol::V1 || !config.send || lately {
            return;
        }
        self.told_families = Some(now);
        let families = self.families_now(now);
        let all: Vec<_> = families.iter().collect();
        let mut encoder = Encoder::default();
        for some in all.chunks(config.max_samples_per_send) {
            let Ok(body) = packed(encoder.families(some.iter().copied())) else { return };
            let way = &*self.way;
            let answer = send(&way.client, &way.endpoint, Protocol::V1, body, way.clock.now_ms()).await;
            if answer != Answer::Taken {
                tracing::debug!(remote = %way.endpoint.name, ?answer, "what families are was not taken");
                return;
            }
        }
    }
}

fn packed(body: &[u8]) -> Result<Bytes, snap::Error> {
    snap::raw::Encoder::new().compress_vec(body).map(Bytes::from)
}

/// The time before which samples are too old.
fn oldest(way: &Way) -> Timestamp {
    let limit = way.endpoint.queue.sample_age_limit;
    limit.map_or(Timestamp::MIN, |limit| {
        way.clock.now_ms().saturating_sub(i64::try_from(limit.as_millis()).unwrap_or(i64::MAX))
    })
}

/// Sends what a shard has, one request after the other. The error is why it has not come through until `until`.
async fn deliver(way: &Way, shard: &mut Shard, until: Duration) -> Result<(), String> {
    let mut encoder = Encoder::default();
    let mut why = "the receiver has asked to wait".to_owned();
    loop {
        let now = way.clock.elapsed();
        if shard.not_before > now {
            way.clock.sleep_until(shard.not_before.min(until)).await;
            if shard.not_before > until {
                return Err(why);
            }
        }
        let Some(chunk) = shard.chunk(way.endpoint.queue.max_samples_per_send, oldest(way)) else {
            return Ok(());
        };
        let (after, samples, too_old) = (chunk.after(), chunk.samples as u64, chunk.too_old as u64);
        if samples == 0 {
            add(&way.figures.too_old, too_old);
            shard.pass(after);
            continue;
        }
        let protocol = way.protocol();
        let body = packed(encoder.samples(protocol, &chunk.series)).map_err(|e| e.to_string())?;
        let bytes = body.len() as u64;
        add(&way.figures.requests, 1);
        match send(&way.client, &way.endpoint, protocol, body, way.clock.now_ms()).await {
            Answer::Taken => {
                add(&way.figures.sent, samples);
                add(&way.figures.sent_bytes, bytes);
            }
            Answer::Refused(why) => {
                add(&way.figures.failed, samples);
                tracing::warn!(remote = %way.endpoint.name, samples, why, "samples were refused, and are given up");
            }
            Answer::Unknown => {
                if !way.older.swap(true, Ordering::Relaxed) {
                    tracing::warn!(
                        remote = %way.endpoint.name,
                        "the receiver does not know version 2.0 of remote write: version 1.0 is spoken until the next start"
                    );
                }
                continue;
            }
            Answer::Again(reason, wait) => {
                add(&way.figures.retried, samples);
                let queue = &way.endpoint.queue;
                shard.backoff = (shard.backoff * 2).clamp(queue.min_backoff, queue.max_backoff);
                shard.not_before = way.clock.elapsed() + wait.unwrap_or(shard.backoff);
                why = reason;
                if way.clock.elapsed() >= until {
                    return Err(why);
                }
                continue;
            }
        }
        add(&way.figures.too_old, too_old);
        shard.backoff = Duration::ZERO;
        shard.pass(after);
    }
}
