//! The loops of probes: wait for the beat, run, write, show.
//!
//! A probe has one run on its way at most and waits for no other, so those that hang to their timeout delay nobody.
//! What bounds them together is how many files the process may open: a run beyond that is left out at once and
//! counted, since its socket could not be had either.

use super::{
    ProbeStatus, Shared,
    loops::{Running, note_missed, note_panic, running},
    status::add,
};
use crate::{
    probe::config::Probe,
    recorder::figures::FigureRecorder,
    schedule::{Beats, Tick},
};
use futures_util::FutureExt;
use kit::tasks::Tasks;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::{
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, PoisonError, atomic::Ordering},
};
use tokio::sync::Semaphore;

/// Runs at the same time where the system does not say how many files may be open.
const UNLIMITED: usize = 1 << 16;

/// Raises the limit of open files to what this process may have, and gives how many of them probes can take: the
/// rest is for stores, scrapes and callers.
pub(super) fn places() -> usize {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).is_ok();
    let files = if raised { maximum } else { current };
    let files = files.and_then(|n| usize::try_from(n).ok()).unwrap_or(UNLIMITED);
    (files / 2).clamp(64, Semaphore::MAX_PERMITS)
}

pub(super) fn start(
    tasks: &Tasks,
    shared: &Arc<Shared>,
    probe: Arc<Probe>,
    crowd: usize,
) -> Running<Probe, ProbeStatus> {
    let running = running(tasks, Arc::clone(&probe), ProbeStatus::new(&probe));
    let (status, stop, gone) = (Arc::clone(&running.status), running.stop.clone(), Arc::clone(&running.gone));
    let shared = Arc::clone(shared);
    tasks.spawn(format!("probe {}", probe.name), async move {
        let labels = probe.labels();
        let mut beats = Beats::new(&shared.clock, probe.every, (labels.stable_hash(), crowd), stop.clone());
        let mut recorder = FigureRecorder::new(Arc::clone(&shared.append), labels.clone());
        while let Some(tick) = beats.next().await {
            note_missed(&shared.counters.probes_dropped, tick);
            let run = AssertUnwindSafe(run(&shared, &probe, &mut recorder, &status, tick)).catch_unwind();
            // A run that is on its way when the stop comes says nothing about its service.
            let Some(outcome) = stop.run_until_cancelled(run).await else { break };
            if let Err(panic) = outcome {
                note_panic(&shared, &probe.name, panic.as_ref());
                recorder = FigureRecorder::new(Arc::clone(&shared.append), labels.clone());
            }
        }
        if gone.load(Ordering::Relaxed)
            && let Err(e) = recorder.end(shared.clock.now_ms())
        {
            tracing::warn!(probe = %probe.name, error = %e, "the series of a removed probe could not be ended");
        }
    });
    running
}

async fn run(
    shared: &Shared,
    probe: &Probe,
    recorder: &mut FigureRecorder,
    status: &Mutex<ProbeStatus>,
    tick: Tick,
) {
    let Ok(_place) = shared.probe_places.try_acquire() else {
        return add(&shared.counters.probes_dropped, 1);
    };
    let found = shared.prober.run(probe).await;
    add(&shared.counters.probe_runs, 1);
    add(&shared.counters.probe_failures, u64::from(found.error.is_some()));
    if let Err(e) = recorder.record(tick.at, found.figures()) {
        tracing::error!(probe = %probe.name, error = %e, "the result of a probe could not be stored");
    }
    let mut status = status.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(error) = &found.error
        && *error != status.error
    {
        tracing::warn!(probe = %probe.name, service = %probe.service, error = %error, "a probe failed");
    }
    status.found(tick.at, &found);
}

#[cfg(test)]
mod tests;
