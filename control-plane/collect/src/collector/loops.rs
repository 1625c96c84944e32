//! The loops of targets: wait for the beat, ask, write, show. Those of probes are in [`super::probing`].
//!
//! A run that panics is counted and costs its target one beat; the loop goes on.

use super::{Shared, TargetStatus, status::add};
use crate::{
    schedule::{Beats, Tick},
    scrape::{
        fetch::{Connection, fetch},
        ingest::Ingest,
        target::Target,
    },
};
use futures_util::FutureExt;
use kit::tasks::{Tasks, panic_text};
use std::{
    panic::AssertUnwindSafe,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio_util::sync::CancellationToken;

/// A loop: what it asks, what it shows, and how to end it.
#[derive(Debug)]
pub(super) struct Running<T, S> {
    pub(super) what: Arc<T>,
    pub(super) status: Arc<Mutex<S>>,
    pub(super) stop: CancellationToken,
    /// Set before `stop` when it is gone for good, so that its series end.
    pub(super) gone: Arc<AtomicBool>,
}

impl<T, S: Clone> Running<T, S> {
    pub(super) fn status(&self) -> S {
        self.status.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Starts what is new, ends what is not wanted any more, keeps what is the same. What is replaced by something
/// that `takes_over` its series does not end them. `start` is told of how many it is one.
pub(super) fn replace<T, S>(
    running: &mut Vec<Running<T, S>>,
    wanted: Vec<Arc<T>>,
    is_same: impl Fn(&T, &T) -> bool,
    takes_over: impl Fn(&T, &T) -> bool,
    start: impl Fn(Arc<T>, usize) -> Running<T, S>,
) {
    let mut old: Vec<Option<Running<T, S>>> = running.drain(..).map(Some).collect();
    let mut kept: Vec<Option<Running<T, S>>> = Vec::new();
    for new in &wanted {
        let place = old.iter().position(|o| o.as_ref().is_some_and(|o| is_same(&o.what, new)));
        kept.push(place.and_then(|i| old[i].take()));
    }
    for gone in old.into_iter().flatten() {
        let taken_over = wanted.iter().any(|new| takes_over(&gone.what, new));
        gone.gone.store(!taken_over, Ordering::Relaxed);
        gone.stop.cancel();
    }
    let crowd = wanted.len();
    *running =
        kept.into_iter().zip(wanted).map(|(kept, new)| kept.unwrap_or_else(|| start(new, crowd))).collect();
}

pub(super) fn running<T, S>(tasks: &Tasks, what: Arc<T>, status: S) -> Running<T, S> {
    let stop = tasks.stopping().child_token();
    Running { what, status: Arc::new(Mutex::new(status)), stop, gone: Arc::default() }
}

/// A place among those on their way, or `None` when there was none within `patience`.
async fn permit(shared: &Shared, patience: Duration) -> Option<tokio::sync::SemaphorePermit<'_>> {
    tokio::time::timeout(patience, shared.permits.acquire()).await.ok()?.ok()
}

pub(super) fn note_panic(shared: &Shared, what: &str, panic: &(dyn std::any::Any + Send)) {
    add(&shared.counters.panics, 1);
    tracing::error!(what, panic = %panic_text(panic), "a run panicked");
}

pub(super) fn note_missed(counter: &AtomicU64, tick: Tick) {
    if tick.missed > 0 {
        add(counter, tick.missed);
    }
}

pub(super) fn start_target(
    tasks: &Tasks,
    shared: &Arc<Shared>,
    target: Arc<Target>,
    crowd: usize,
) -> Running<Target, TargetStatus> {
    let running = running(tasks, Arc::clone(&target), TargetStatus::new(&target));
    let (status, stop, gone) = (Arc::clone(&running.status), running.stop.clone(), Arc::clone(&running.gone));
    let shared = Arc::clone(shared);
    let name = format!("scrape {}", target.url);
    tasks.spawn(name, async move {
        let mut beats = Beats::new(&shared.clock, target.interval, (target.seed(), crowd), stop.clone());
        let mut ingest = Ingest::new(Arc::clone(&shared.append), Arc::clone(&shared.exemplars));
        let mut connection = Connection::default();
        while let Some(tick) = beats.next().await {
            note_missed(&shared.counters.scrapes_dropped, tick);
            let run = AssertUnwindSafe(scrape(&shared, &target, &mut connection, &mut ingest, &status, tick)).catch_unwind();
            // A run that is on its way when the stop comes says nothing about its target.
            let Some(outcome) = stop.run_until_cancelled(run).await else { break };
            if let Err(panic) = outcome {
                note_panic(&shared, target.url.as_str(), panic.as_ref());
                ingest = Ingest::new(Arc::clone(&shared.append), Arc::clone(&shared.exemplars));
            }
        }
        if gone.load(Ordering::Relaxed)
            && let Err(e) = ingest.end(&target, shared.clock.now_ms())
        {
            tracing::warn!(target = %target.url, error = %e, "the series of a removed target could not be ended");
        }
    });
    running
}

async fn scrape(
    shared: &Shared,
    target: &Target,
    connection: &mut Connection,
    ingest: &mut Ingest,
    status: &Mutex<TargetStatus>,
    tick: Tick,
) {
    let Some(_permit) = permit(shared, target.timeout).await else {
        // Nothing is written: that we are overloaded does not make the target down.
        return add(&shared.counters.scrapes_dropped, 1);
    };
    let begun = shared.clock.elapsed();
    let asked = async {
        match &target.forced {
            Some(why) => Err(why.to_string()),
            None => fetch(&shared.clients, connection, target).await,
        }
    };
    let answer = match tokio::time::timeout(target.timeout, asked).await {
        Ok(answer) => answer,
        Err(_) => Err(format!("no answer within {}", model::duration::format(target.timeout))),
    };
    let seconds = (shared.clock.elapsed() - begun).as_secs_f64();
    let text = answer.as_ref().map(|b| (&*b.bytes, b.format)).map_err(Clone::clone);
    let scraped = ingest.take(target, tick.at, seconds, text);
    if let Ok(body) = answer {
        shared.clients.give_back(body.bytes);
    }
    shared.counters.scraped(&scraped);
    let mut status = status.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(error) = &scraped.error
        && *error != status.last_error
    {
        tracing::warn!(job = %target.job.name, target = %target.url, error = %error, "a scrape failed");
    }
    status.scraped(tick.at, seconds, &scraped);
    status.refused = ingest.left_out();
    status.families = ingest.families();
}
