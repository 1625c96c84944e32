//! Runs the core: takes alerts over, sends what is due, records what was delivered.

use crate::{
    config::RoutingConfig,
    core::{Changes, Core, GroupStatus, Job},
    receivers::{CapturedMail, Senders},
};
use kit::{
    clock::Clock,
    tasks::{Poke, Schedule, Tasks},
};
use model::{Alert, AlertSink, SinkError, Timestamp};
use state::{State, deliveries::InboxAlert};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::sync::Semaphore;

/// Messages under way at the same time.
const MOST_AT_ONCE: usize = 64;

/// How much longer than the longest repeat the notification log is kept.
const LOG_MARGIN_MS: i64 = 24 * 3600 * 1000;

/// Deliveries of one integration since the process began.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    pub delivered: u64,
    pub failed: u64,
}

/// Takes alerts over from rules and tells people. Shared as an `Arc`.
#[derive(Debug)]
pub struct Alerting {
    core: Mutex<Core>,
    /// Held while alerts are being taken over, so that the disk sees changes in order.
    taking: Mutex<()>,
    state: State,
    clock: Clock,
    senders: Senders,
    poke: Mutex<Option<Poke>>,
    counts: Mutex<BTreeMap<(String, &'static str), Counts>>,
    places: Arc<Semaphore>,
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Alerting {
    /// Goes on from what is on disk.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub fn new(
        state: State,
        clock: Clock,
        config: RoutingConfig,
        external_url: &str,
    ) -> anyhow::Result<Arc<Self>> {
        let core = Core::restore(Arc::new(config), state.inbox()?, state.sent()?);
        Ok(Arc::new(Alerting {
            core: Mutex::new(core),
            taking: Mutex::new(()),
            state,
            clock,
            senders: Senders::new(external_url)?,
            poke: Mutex::new(None),
            counts: Mutex::default(),
            places: Arc::new(Semaphore::new(MOST_AT_ONCE)),
        }))
    }

    /// Starts the loop that sends. Messages under way when the group of tasks stops are finished.
    pub fn start(self: &Arc<Self>, tasks: &Tasks) {
        let (alerting, group) = (Arc::clone(self), tasks.clone());
        let poke =
            tasks.reconciler("alerting dispatch", Schedule::Every(Duration::from_secs(1)), move || {
                let (alerting, group) = (Arc::clone(&alerting), group.clone());
                async move { alerting.dispatch(&group).await }
            });
        *locked(&self.poke) = Some(poke);
    }

    /// Follows a new routing file.
    pub fn reload(&self, config: RoutingConfig) {
        locked(&self.core).reload(Arc::new(config));
        self.wake();
    }

    fn wake(&self) {
        if let Some(poke) = &*locked(&self.poke) {
            poke.poke();
        }
    }

    async fn dispatch(self: &Arc<Self>, tasks: &Tasks) -> anyhow::Result<String> {
        let now = self.clock.now_ms();
        let jobs = locked(&self.core).due(now);
        let sent = jobs.len();
        for job in jobs {
            let alerting = Arc::clone(self);
            let name = format!("deliver to {}", job.integration.name);
            tasks.spawn(name, async move {
                let Ok(_place) = Arc::clone(&alerting.places).acquire_owned().await else { return };
                alerting.deliver(job).await;
            });
        }
        let (gone, keep_since) = {
            let mut core = locked(&self.core);
            let keep = i64::try_from(core.longest_repeat().as_millis()).unwrap_or(i64::MAX);
            (core.sweep(now), now.saturating_sub(keep.saturating_mul(2)).saturating_sub(LOG_MARGIN_MS))
        };
        if !gone.is_empty() {
            self.state.save_inbox(Vec::new(), gone).await?;
            self.state.forget_sent(keep_since).await?;
        }
        Ok(format!("{sent} messages"))
    }

    async fn deliver(&self, job: Job) {
        let now = self.clock.now_ms();
        let outcome = if job.silent { Ok(()) } else { self.senders.send(&job, now).await };
        let key = (job.integration.name.clone(), job.integration.kind.as_str());
        match outcome {
            Ok(()) => {
                if !job.silent {
                    locked(&self.counts).entry(key).or_default().delivered += 1;
                    tracing::info!(integration = %job.integration.name, group = %job.group_key, alerts = job.alerts.len(), "told");
                }
                // A message that was taken and cannot be recorded may be sent again after a crash: at least once.
                if let Err(e) = self.state.save_sent(job.record.clone()).await {
                    tracing::error!(integration = %job.integration.name, error = %e, "a delivered message could not be recorded");
                }
                locked(&self.core).delivered(&job);
            }
            Err(error) => {
                locked(&self.counts).entry(key).or_default().failed += 1;
                let retry_at = locked(&self.core).failed(&job, self.clock.now_ms(), &error);
                tracing::warn!(
                    integration = %job.integration.name, group = %job.group_key, %error,
                    retry_in_seconds = (retry_at - now) / 1000, "a message was not taken; it will be tried again"
                );
            }
        }
        self.wake();
    }

    /// Alerts that are held, firing and resolved.
    pub fn inbox(&self) -> Vec<InboxAlert> {
        locked(&self.core).inbox().cloned().collect()
    }

    pub fn groups(&self) -> Vec<GroupStatus> {
        locked(&self.core).groups()
    }

    /// Mails that were kept for the console instead of being sent.
    pub fn captured(&self) -> Vec<CapturedMail> {
        self.senders.captured()
    }

    /// Deliveries by integration name and kind.
    pub fn counts(&self) -> BTreeMap<(String, &'static str), Counts> {
        locked(&self.counts).clone()
    }
}

impl AlertSink for Alerting {
    fn accept(&self, now: Timestamp, alerts: &[Alert]) -> Result<(), SinkError> {
        let _in_order = locked(&self.taking);
        let changes: Changes = locked(&self.core).changes(now, alerts);
        if changes == Changes::default() {
            return Ok(());
        }
        let recorded = self.state.save_inbox(changes.put.clone(), changes.remove.clone()).wait();
        // A full disk must not silence a page: it is sent all the same, and says that it is not recorded.
        locked(&self.core).take(&changes, recorded.is_ok());
        self.wake();
        recorded.map_err(|e| SinkError { reason: e.to_string() })
    }
}

#[cfg(test)]
mod tests;
