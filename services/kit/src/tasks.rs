//! Tasks and reconcilers: everything that runs in the background has a name, is counted, restarts after a panic
//! and stops when told.
//!
//! A [`Tasks`] is a group that stops together; [`Tasks::group`] makes one that can be stopped before its
//! parent, so that a process stops in order. A reconciler is a loop that runs periodically *and* when poked,
//! takes no input, and shows its status and last error.

use crate::clock::Clock;
use futures_util::FutureExt;
use std::{
    collections::BTreeMap,
    future::Future,
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::sync::Notify;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::Instrument;

/// What is known about one loop.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize)]
pub struct LoopStatus {
    pub name: String,
    pub runs: u64,
    pub failures: u64,
    pub panics: u64,
    /// Milliseconds since 1970; `None` before the first run ended.
    pub last_run_ms: Option<i64>,
    pub last_duration_seconds: f64,
    /// What the last run said of itself.
    pub last_result: String,
    /// The error of the last run, if it failed.
    pub last_error: Option<String>,
}

/// A group of background tasks. Clones are the same group.
#[derive(Debug, Clone)]
pub struct Tasks {
    clock: Clock,
    stop: CancellationToken,
    running: TaskTracker,
    /// Those of the groups that this one was made from: who stops them waits for these tasks too.
    above: Vec<TaskTracker>,
    status: Arc<Mutex<BTreeMap<String, LoopStatus>>>,
    span: tracing::Span,
}

/// Wakes a reconciler before its time. Pokes while it runs make it run once more.
#[derive(Debug, Clone)]
pub struct Poke(Arc<Notify>);

impl Poke {
    pub fn poke(&self) {
        self.0.notify_one();
    }
}

/// When a reconciler runs without being poked.
#[derive(Debug, Clone, Copy)]
pub enum Schedule {
    /// At once, then at every multiple of the interval after the start: no drift. Runs that would overlap are
    /// left out.
    Every(Duration),
    /// When poked only.
    Poked,
}

impl Tasks {
    pub fn new(clock: Clock) -> Self {
        Tasks {
            clock,
            stop: CancellationToken::new(),
            running: TaskTracker::new(),
            above: Vec::new(),
            status: Arc::default(),
            span: tracing::Span::none(),
        }
    }

    /// A group that stops when this one does, or before. The status table is common.
    pub fn group(&self) -> Tasks {
        let above = self.above.iter().chain([&self.running]).cloned().collect();
        Tasks { stop: self.stop.child_token(), running: TaskTracker::new(), above, ..self.clone() }
    }

    /// The same group, whose tasks log under `span` (a service's name, in a process of several services).
    pub fn in_span(&self, span: tracing::Span) -> Tasks {
        Tasks { span, ..self.clone() }
    }

    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Cancelled when the group is to stop.
    pub fn stopping(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Runs `work` to its end. A panic is logged and counted under `name`.
    pub fn spawn(&self, name: impl Into<String>, work: impl Future<Output = ()> + Send + 'static) {
        let (name, status) = (name.into(), Arc::clone(&self.status));
        let span = self.span.clone();
        let counted: Vec<_> = self.above.iter().map(TaskTracker::token).collect();
        let guarded = async move {
            let _counted = counted;
            if let Err(panic) = AssertUnwindSafe(work).catch_unwind().await {
                let text = panic_text(panic.as_ref());
                tracing::error!(task = %name, panic = %text, "a task panicked");
                note(&status, &name, |s| {
                    s.panics += 1;
                    s.last_error = Some(format!("panicked: {text}"));
                });
            }
        };
        drop(self.running.spawn(guarded.instrument(span)));
    }

    /// Starts a reconciler. A run that fails or panics is noted; after failures the next run comes at its time.
    pub fn reconciler<F, Fut>(&self, name: impl Into<String>, schedule: Schedule, mut run: F) -> Poke
    where
        F: FnMut() -> Fut + Send + 'static,
        Fut: Future<Output = anyhow::Result<String>> + Send,
    {
        let name: String = name.into();
        let poke = Poke(Arc::new(Notify::new()));
        let (woken, stop, clock, status) =
            (Arc::clone(&poke.0), self.stop.clone(), self.clock.clone(), Arc::clone(&self.status));
        note(&status, &name, |_| {});
        let task = name.clone();
        self.spawn(name.clone(), async move {
            let begun = clock.elapsed();
            let mut ticks: u32 = 0;
            loop {
                match schedule {
                    Schedule::Every(interval) => {
                        let due = begun + interval * ticks;
                        tokio::select! {
                            () = stop.cancelled() => return,
                            () = woken.notified() => {}
                            () = clock.sleep_until(due) => {}
                        }
                    }
                    Schedule::Poked => tokio::select! {
                        () = stop.cancelled() => return,
                        () = woken.notified() => {}
                    },
                }
                let started = clock.elapsed();
                let outcome = AssertUnwindSafe(run()).catch_unwind().await;
                let took = (clock.elapsed() - started).as_secs_f64();
                if let Schedule::Every(interval) = schedule {
                    let passed = (clock.elapsed() - begun).as_nanos() / interval.as_nanos().max(1);
                    ticks = u32::try_from(passed).unwrap_or(u32::MAX - 1) + 1;
                }
                let now = clock.now_ms();
                note(&status, &task, |s| {
                    s.runs += 1;
                    s.last_run_ms = Some(now);
                    s.last_duration_seconds = took;
                    match &outcome {
                        Ok(Ok(result)) => {
                            s.last_result.clone_from(result);
                            s.last_error = None;
                        }
                        Ok(Err(e)) => {
                            s.failures += 1;
                            s.last_error = Some(format!("{e:#}"));
                        }
                        Err(panic) => {
                            s.panics += 1;
                            s.last_error = Some(format!("panicked: {}", panic_text(panic.as_ref())));
                        }
                    }
                });
                match outcome {
                    Ok(Ok(_)) => {}
                    Ok(Err(e)) => tracing::warn!(task = %task, error = %format!("{e:#}"), "a run failed"),
                    Err(panic) => {
                        tracing::error!(task = %task, panic = %panic_text(panic.as_ref()), "a run panicked");
                    }
                }
            }
        });
        poke
    }

    /// What is known about every loop of every group, by name.
    pub fn status(&self) -> Vec<LoopStatus> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// Tells the group to stop and waits at most `patience` for its tasks and those of the groups made from it.
    /// Returns whether all had ended.
    pub async fn stop(&self, patience: Duration) -> bool {
        self.stop.cancel();
        self.running.close();
        tokio::time::timeout(patience, self.running.wait()).await.is_ok()
    }
}

fn note(status: &Mutex<BTreeMap<String, LoopStatus>>, name: &str, change: impl FnOnce(&mut LoopStatus)) {
    let mut table = status.lock().unwrap_or_else(PoisonError::into_inner);
    let entry = table
        .entry(name.to_owned())
        .or_insert_with(|| LoopStatus { name: name.to_owned(), ..LoopStatus::default() });
    change(entry);
}

/// The message of a panic, when it was text.
pub fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|s| (*s).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".to_owned())
}

#[cfg(test)]
mod tests;
