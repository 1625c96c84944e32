//! Everything that is collected, running: targets, probes, the host, Vigie itself.
//!
//! Each target has a loop of its own on one scheduler's beat. A reload replaces what changed and leaves alone
//! what did not. A target that is removed ends with staleness markers; one that stops because the process stops
//! does not, so that a restart makes no gap.

mod discover;
mod loops;
mod probing;
mod status;

pub use status::{Health, ProbeStatus, Snapshot, Stats, TargetStatus};

use crate::{
    config::CollectConfig,
    host,
    probe::{
        Prober,
        config::{Kind, Probe},
        heartbeat::{Beat, BeatError, Heartbeats},
    },
    recorder::{Reading, Recorder, reading},
    scrape::{
        fetch::Clients,
        relabel::{self, RelabelStep},
        target::Target,
    },
    self_::{SelfSource, based},
};
use discover::Pool;
use kit::{
    clock::Clock,
    secret::Secret,
    tasks::{Schedule, Tasks},
};
use loops::Running;
use model::{Append, ExemplarSink, Labels};
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::sync::Semaphore;

/// What the collector needs of the process.
#[derive(Debug)]
pub struct CollectDeps {
    pub append: Arc<dyn Append>,
    /// Where exemplars of targets go.
    pub exemplars: Arc<dyn ExemplarSink>,
    pub clock: Clock,
    /// The group that its loops run in. Stopping it stops them; [`Collector::stop`] does.
    pub tasks: Tasks,
    /// What is written about Vigie itself.
    pub sources: Vec<Arc<dyn SelfSource>>,
    /// Labels that those series get: `job`, `instance`.
    pub self_labels: Labels,
    /// Scrapes on the way at one time, at most. Probes have a bound of their own.
    pub concurrency: usize,
    /// Where the times of heartbeats outlive the process.
    pub state: Option<state::State>,
}

/// How often Vigie writes about itself.
const SELF_INTERVAL: Duration = Duration::from_secs(5);

/// Targets that are shown to be cut off, at most.
const MOST_CUT_OFF: usize = 1000;

/// What all loops share.
#[derive(Debug)]
struct Shared {
    append: Arc<dyn Append>,
    exemplars: Arc<dyn ExemplarSink>,
    clock: Clock,
    clients: Clients,
    prober: Prober,
    permits: Semaphore,
    probe_places: Semaphore,
    heartbeats: Heartbeats,
    counters: status::Counters,
}

#[derive(Debug, Default)]
struct State {
    targets: Vec<Running<Target, TargetStatus>>,
    probes: Vec<Running<Probe, ProbeStatus>>,
    pools: Vec<Pool>,
    /// The loops that look for targets.
    discovery: Option<Tasks>,
    /// The group in which the host is read, and how often.
    host: Option<(Duration, Tasks)>,
}

/// The running collector. Clones are the same one.
#[derive(Debug, Clone)]
pub struct Collector {
    shared: Arc<Shared>,
    tasks: Tasks,
    state: Arc<Mutex<State>>,
}

impl Collector {
    /// Starts collecting.
    ///
    /// # Errors
    /// When no HTTP client can be built.
    pub fn start(deps: CollectDeps, config: CollectConfig) -> anyhow::Result<Collector> {
        let heartbeats = Heartbeats::new(deps.state);
        let shared = Arc::new(Shared {
            append: deps.append,
            exemplars: deps.exemplars,
            clients: Clients::new(deps.clock.clone())?,
            prober: Prober::new(deps.clock.clone(), heartbeats.clone()),
            heartbeats,
            clock: deps.clock,
            permits: Semaphore::new(deps.concurrency.clamp(1, Semaphore::MAX_PERMITS)),
            probe_places: Semaphore::new(probing::places()),
            counters: status::Counters::default(),
        });
        let collector = Collector { shared, tasks: deps.tasks, state: Arc::default() };
        collector.reload(config);
        collector.start_self(deps.sources, deps.self_labels);
        Ok(collector)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes another configuration over, whole: what is the same goes on undisturbed.
    pub fn reload(&self, config: CollectConfig) {
        let mut state = self.state();
        self.take_jobs(&mut state, config.jobs);
        let State { probes, host, .. } = &mut *state;
        self.shared.heartbeats.replace(config.probes.iter().filter_map(|p| match &p.kind {
            Kind::Heartbeat(heartbeat) => Some(heartbeat),
            _ => None,
        }));
        loops::replace(
            probes,
            config.probes,
            |old, new| old == new,
            |old, new| old.labels() == new.labels(),
            |probe, crowd| probing::start(&self.tasks, &self.shared, probe, crowd),
        );
        if host.as_ref().map(|(interval, _)| *interval) != config.host_interval {
            if let Some((_, group)) = host.take() {
                group.stopping().cancel();
            }
            *host = config.host_interval.map(|interval| (interval, self.start_host(interval)));
        }
    }

    fn start_host(&self, interval: Duration) -> Tasks {
        let group = self.tasks.group();
        let recorder = Arc::new(Mutex::new(Recorder::new(Arc::clone(&self.shared.append))));
        let (base, clock) = (host::labels(), self.shared.clock.clone());
        group.reconciler("collect-host", Schedule::Every(interval), move || {
            let (recorder, base, clock) = (Arc::clone(&recorder), base.clone(), clock.clone());
            async move {
                let at = clock.now_ms();
                // A file system may not answer for long: that must not hold up anything else.
                let readings = tokio::task::spawn_blocking(move || host::read(&base, at)).await?;
                write(&recorder, at, &readings)
            }
        });
        group
    }

    fn start_self(&self, sources: Vec<Arc<dyn SelfSource>>, base: Labels) {
        let recorder = Arc::new(Mutex::new(Recorder::new(Arc::clone(&self.shared.append))));
        let (this, sources) = (self.clone(), Arc::new(sources));
        // Held by the loop that the group stops: the collector and its loop end together.
        self.tasks.reconciler("collect-self", Schedule::Every(SELF_INTERVAL), move || {
            let (recorder, this, base) = (Arc::clone(&recorder), this.clone(), base.clone());
            let sources = Arc::clone(&sources);
            async move {
                let at = this.shared.clock.now_ms();
                let mut readings = this.stats().readings();
                readings.extend(this.cut_off());
                for source in sources.iter() {
                    readings.extend(source.read(at));
                }
                write(&recorder, at, &based(&base, readings))
            }
        });
    }

    /// What is watched by a heartbeat calls in.
    ///
    /// # Errors
    /// When the call does not count, or is not on disk.
    pub async fn beat(&self, name: &str, token: &Secret, beat: Beat) -> Result<(), BeatError> {
        self.shared.heartbeats.beat(name, token.expose(), beat, self.shared.clock.now_ms()).await
    }

    /// What is collected now, and how it goes.
    pub fn snapshot(&self) -> Snapshot {
        let state = self.state();
        Snapshot {
            targets: state.targets.iter().map(Running::status).collect(),
            probes: state.probes.iter().map(Running::status).collect(),
            dropped: state.pools.iter().flat_map(Pool::dropped).collect(),
            scrape_pools: state.pools.iter().map(|p| p.job.name.clone()).collect(),
        }
    }

    /// What the rules of a job make of a target's labels, one after the other; `None` where there is no such job.
    pub fn relabel_steps(&self, scrape_pool: &str, labels: &Labels) -> Option<Vec<RelabelStep>> {
        let state = self.state();
        let pool = state.pools.iter().find(|p| p.job.name == scrape_pool)?;
        Some(relabel::steps(&pool.job.relabel, labels))
    }

    pub fn stats(&self) -> Stats {
        let (targets, probes) = {
            let state = self.state();
            (state.targets.len(), state.probes.len())
        };
        self.shared.counters.stats(targets, probes)
    }

    /// How many series are left out, of the targets that have such.
    fn cut_off(&self) -> Vec<Reading> {
        let state = self.state();
        let statuses = state.targets.iter().map(Running::status);
        let reading = |t: TargetStatus| {
            let labels = t.labels.keep(&["job", "instance"]);
            reading("vigie_collect_target_series_refused", &labels, t.refused as f64)
        };
        statuses.filter(|t| t.refused > 0).take(MOST_CUT_OFF).map(reading).collect()
    }

    /// Stops all loops and waits for runs on their way, at most `patience`. Returns whether all had ended.
    pub async fn stop(&self, patience: Duration) -> bool {
        self.tasks.stop(patience).await
    }
}

/// One round of a loop that writes what it read.
fn write(recorder: &Mutex<Recorder>, at: i64, readings: &[Reading]) -> anyhow::Result<String> {
    let taken = recorder.lock().unwrap_or_else(PoisonError::into_inner).record(at, readings)?;
    Ok(format!("{taken} samples"))
}

impl Stats {
    /// As series, `vigie_collect_*`.
    fn readings(&self) -> Vec<Reading> {
        let none = Labels::default();
        [
            ("vigie_collect_targets", self.targets),
            ("vigie_collect_probes", self.probes),
            ("vigie_collect_scrapes_total", self.scrapes_total),
            ("vigie_collect_scrape_failures_total", self.scrape_failures_total),
            ("vigie_collect_scrapes_dropped_total", self.scrapes_dropped_total),
            ("vigie_collect_samples_total", self.samples_total),
            ("vigie_collect_samples_rejected_total", self.samples_rejected_total),
            ("vigie_collect_series_refused_total", self.series_refused_total),
            ("vigie_collect_probe_runs_total", self.probe_runs_total),
            ("vigie_collect_probe_failures_total", self.probe_failures_total),
            ("vigie_collect_probes_dropped_total", self.probes_dropped_total),
            ("vigie_collect_discovery_failures_total", self.discovery_failures_total),
            ("vigie_collect_panics_total", self.panics_total),
        ]
        .into_iter()
        .map(|(name, v)| reading(name, &none, v as f64))
        .collect()
    }
}

#[cfg(test)]
mod tests;
