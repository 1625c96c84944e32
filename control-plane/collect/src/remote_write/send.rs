//! Remote write, going out: what the store takes is passed on to other stores.
//!
//! Each receiver has a loop of its own that follows the store's log. It holds nobody up: samples wait in the
//! log, not in memory, while a receiver is slow or away, and what was sent is remembered on disk; so a restart
//! goes on where the last process ended, and some samples may come twice, but none is left out.

mod config;
pub(crate) mod encode;
mod figures;
mod http;
mod round;
mod series;
mod worker;

pub use config::SendConfig;

use crate::{
    scrape::{fetch::chain, ingest::Families},
    self_::SelfSource,
};
use config::Endpoint;
use figures::Figures;
use kit::{
    clock::Clock,
    tasks::{Schedule, Tasks},
};
use model::{Labels, Tail};
use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use worker::{FamiliesNow, Worker};

/// How often the log is looked at, at most.
const LOOK: Duration = Duration::from_millis(500);

/// How long a loop that is replaced may take to end.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Debug)]
struct Running {
    endpoint: Arc<Endpoint>,
    figures: Arc<Figures>,
    tasks: Tasks,
}

/// Passes samples on. Clones are the same one.
#[derive(Debug, Clone)]
pub struct Senders {
    tail: Arc<dyn Tail>,
    clock: Clock,
    tasks: Tasks,
    families: FamiliesNow,
    running: Arc<Mutex<Vec<Running>>>,
}

impl Senders {
    /// Starts a loop for each receiver. `families` tells what is known about families of metrics.
    pub fn start(
        tail: Arc<dyn Tail>,
        tasks: Tasks,
        families: impl Fn() -> Families + Send + Sync + 'static,
        config: SendConfig,
    ) -> Senders {
        let senders = Senders {
            tail,
            clock: tasks.clock().clone(),
            tasks,
            families: FamiliesNow(Arc::new(families)),
            running: Arc::default(),
        };
        senders.reload(config);
        senders
    }

    fn running(&self) -> MutexGuard<'_, Vec<Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes another configuration over: receivers that are the same go on undisturbed; one whose settings
    /// changed goes on where it was; what is kept for one that is gone is given up.
    pub fn reload(&self, config: SendConfig) {
        let mut running = self.running();
        let mut old = std::mem::take(&mut *running);
        for endpoint in config.endpoints {
            let before = old.iter().position(|r| r.endpoint.key == endpoint.key).map(|i| old.swap_remove(i));
            running.push(match before {
                Some(before) if before.endpoint == endpoint => before,
                before => self.start_one(endpoint, before),
            });
        }
        let wanted: BTreeSet<String> = running.iter().map(|r| r.endpoint.key.clone()).collect();
        drop(running);
        let (tail, ending) = (Arc::clone(&self.tail), old);
        self.tasks.spawn("remote write: forget", async move {
            for gone in &ending {
                gone.tasks.stop(PATIENCE).await;
            }
            let done = tokio::task::spawn_blocking(move || forget(&*tail, &wanted)).await;
            if let Err(e) = done {
                tracing::error!(error = %e, "forgetting positions broke off");
            }
        });
    }

    fn start_one(&self, endpoint: Arc<Endpoint>, before: Option<Running>) -> Running {
        let tasks = self.tasks.group();
        let figures = before.as_ref().map_or_else(Arc::default, |b| Arc::clone(&b.figures));
        let name = format!("remote write {}", endpoint.name);
        let made = Worker::new(
            Arc::clone(&endpoint),
            Arc::clone(&self.tail),
            self.clock.clone(),
            self.families.clone(),
            Arc::clone(&figures),
            tasks.stopping(),
        );
        let before = Arc::new(tokio::sync::Mutex::new(before.map(|b| b.tasks)));
        let worker = Arc::new(tokio::sync::Mutex::new(made));
        let look = LOOK.min(endpoint.queue.batch_send_deadline);
        tasks.reconciler(name, Schedule::Every(look), move || {
            let (worker, before) = (Arc::clone(&worker), Arc::clone(&before));
            async move {
                // Two loops at the same time would each send what the other does.
                let before = before.lock().await.take();
                if let Some(before) = before {
                    before.stop(PATIENCE).await;
                }
                match &mut *worker.lock().await {
                    Ok(worker) => Box::pin(worker.run()).await,
                    Err(e) => anyhow::bail!("{e:#}"),
                }
            }
        });
        Running { endpoint, figures, tasks }
    }
}

/// Forgets the positions of receivers that nobody wants any more.
fn forget(tail: &dyn Tail, wanted: &BTreeSet<String>) {
    for name in tail.kept().into_keys().filter(|n| n.starts_with("write-") && !wanted.contains(n)) {
        if let Err(e) = tail.release(&name) {
            tracing::error!(error = %chain(&e), "a position could not be forgotten");
        }
    }
}

/// `vigie_remote_write_*`, for each receiver.
impl SelfSource for Senders {
    fn read(&self, now_ms: i64) -> Vec<(Labels, f64)> {
        self.running().iter().flat_map(|r| r.figures.readings(&r.endpoint.name, now_ms)).collect()
    }
}

#[cfg(test)]
mod tests;
