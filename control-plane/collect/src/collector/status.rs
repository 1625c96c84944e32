//! What can be seen of the collection from outside.

use crate::{
    config::Dropped,
    probe::{Found, config::Probe},
    scrape::{
        ingest::{Families, Scraped},
        target::Target,
    },
};
use model::Labels;
use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// Whether something answered the last time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Health {
    /// It was not asked yet.
    #[default]
    Unknown,
    Up,
    Down,
}

impl Health {
    /// As Prometheus's API names it.
    pub fn as_str(self) -> &'static str {
        match self {
            Health::Unknown => "unknown",
            Health::Up => "up",
            Health::Down => "down",
        }
    }
}

/// A target of `/api/v1/targets`.
#[derive(Debug, Clone, PartialEq)]
pub struct TargetStatus {
    /// The job's name in the configuration.
    pub scrape_pool: String,
    pub labels: Labels,
    pub discovered_labels: Labels,
    pub scrape_url: String,
    pub interval: Duration,
    pub timeout: Duration,
    pub health: Health,
    /// Since when it is up or down, in milliseconds since 1970.
    pub since_ms: Option<i64>,
    /// Empty when the last scrape was good.
    pub last_error: String,
    pub last_scrape_ms: Option<i64>,
    pub last_scrape_seconds: f64,
    /// Samples of the last scrape that were kept.
    pub samples: usize,
    /// Samples that the store did not take in the last scrape: late, or doubled.
    pub rejected: usize,
    /// Series that are left out: it has more than a target may, or the store has no room for them.
    pub refused: usize,
    /// What it says about its metrics.
    pub families: Arc<Families>,
}

impl TargetStatus {
    pub(super) fn new(target: &Target) -> Self {
        TargetStatus {
            scrape_pool: target.job.name.clone(),
            labels: target.labels.clone(),
            discovered_labels: target.discovered.clone(),
            scrape_url: target.url.to_string(),
            interval: target.interval,
            timeout: target.timeout,
            health: Health::Unknown,
            since_ms: None,
            last_error: String::new(),
            last_scrape_ms: None,
            last_scrape_seconds: 0.0,
            samples: 0,
            rejected: 0,
            refused: 0,
            families: Arc::default(),
        }
    }

    pub(super) fn scraped(&mut self, at: i64, seconds: f64, scraped: &Scraped) {
        let health = if scraped.error.is_none() { Health::Up } else { Health::Down };
        if health != self.health {
            (self.health, self.since_ms) = (health, Some(at));
        }
        self.last_error = scraped.error.clone().unwrap_or_default();
        (self.last_scrape_ms, self.last_scrape_seconds) = (Some(at), seconds);
        (self.samples, self.rejected) = (scraped.kept, scraped.rejected);
    }
}

/// Results that the uptime of a probe is over: a day at 30 s.
const RESULTS: usize = 2880;

/// A probe, for the console.
#[derive(Debug, Clone, PartialEq)]
pub struct ProbeStatus {
    pub name: String,
    pub service: String,
    pub url: String,
    /// `http`, `tcp`, `tls`, `dns`, `icmp`, `grpc`, `websocket` or `heartbeat`.
    pub kind: &'static str,
    pub interval: Duration,
    pub depends_on: Vec<String>,
    pub conditions: Vec<String>,
    pub health: Health,
    /// Since when it is up or down, in milliseconds since 1970.
    pub since_ms: Option<i64>,
    pub last_run_ms: Option<i64>,
    pub latency: Duration,
    /// Why it is down; empty when it is not.
    pub error: String,
    /// The newest results since the process started, at most a day's at 30 s, oldest first.
    pub results: VecDeque<bool>,
}

impl ProbeStatus {
    pub(super) fn new(probe: &Probe) -> Self {
        ProbeStatus {
            name: probe.name.clone(),
            service: probe.service.clone(),
            url: probe.url.clone(),
            kind: probe.kind.as_str(),
            interval: probe.interval,
            depends_on: probe.depends_on.clone(),
            conditions: probe.conditions.iter().map(ToString::to_string).collect(),
            health: Health::Unknown,
            since_ms: None,
            last_run_ms: None,
            latency: Duration::ZERO,
            error: String::new(),
            results: VecDeque::new(),
        }
    }

    pub(super) fn found(&mut self, at: i64, found: &Found) {
        self.last_run_ms = Some(at);
        if found.waiting {
            return;
        }
        let good = found.error.is_none();
        let health = if good { Health::Up } else { Health::Down };
        if health != self.health {
            (self.health, self.since_ms) = (health, Some(at));
        }
        self.latency = found.latency;
        self.error = found.error.clone().unwrap_or_default();
        if self.results.len() == RESULTS {
            self.results.pop_front();
        }
        self.results.push_back(good);
    }

    /// The share of good results, 0 to 1; `None` before the first.
    pub fn uptime(&self) -> Option<f64> {
        let good = self.results.iter().filter(|r| **r).count();
        (!self.results.is_empty()).then(|| good as f64 / self.results.len() as f64)
    }
}

/// Everything at one moment.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Snapshot {
    pub targets: Vec<TargetStatus>,
    pub probes: Vec<ProbeStatus>,
    /// What relabelling dropped.
    pub dropped: Vec<Dropped>,
    /// The names of all jobs.
    pub scrape_pools: Vec<String>,
}

/// Numbers about the collection. Those named `_total` count since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    pub targets: u64,
    pub probes: u64,
    pub scrapes_total: u64,
    pub scrape_failures_total: u64,
    /// Scrapes that were left out: too many on the way, or the one before still running.
    pub scrapes_dropped_total: u64,
    pub samples_total: u64,
    pub samples_rejected_total: u64,
    /// Series that the store had no room for, counted at every attempt.
    pub series_refused_total: u64,
    pub probe_runs_total: u64,
    pub probe_failures_total: u64,
    pub probes_dropped_total: u64,
    /// Looks for targets that found what could not be used, or nothing.
    pub discovery_failures_total: u64,
    pub panics_total: u64,
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) scrapes: AtomicU64,
    pub(super) scrape_failures: AtomicU64,
    pub(super) scrapes_dropped: AtomicU64,
    pub(super) samples: AtomicU64,
    pub(super) samples_rejected: AtomicU64,
    pub(super) series_refused: AtomicU64,
    pub(super) probe_runs: AtomicU64,
    pub(super) probe_failures: AtomicU64,
    pub(super) probes_dropped: AtomicU64,
    pub(super) discovery_failures: AtomicU64,
    pub(super) panics: AtomicU64,
}

pub(super) fn add(counter: &AtomicU64, n: u64) {
    counter.fetch_add(n, Ordering::Relaxed);
}

impl Counters {
    pub(super) fn scraped(&self, scraped: &Scraped) {
        add(&self.scrapes, 1);
        add(&self.scrape_failures, u64::from(scraped.error.is_some()));
        add(&self.samples, scraped.kept as u64);
        add(&self.samples_rejected, scraped.rejected as u64);
        add(&self.series_refused, scraped.refused as u64);
    }

    pub(super) fn stats(&self, targets: usize, probes: usize) -> Stats {
        let read = |c: &AtomicU64| c.load(Ordering::Relaxed);
        Stats {
            targets: targets as u64,
            probes: probes as u64,
            scrapes_total: read(&self.scrapes),
            scrape_failures_total: read(&self.scrape_failures),
            scrapes_dropped_total: read(&self.scrapes_dropped),
            samples_total: read(&self.samples),
            samples_rejected_total: read(&self.samples_rejected),
            series_refused_total: read(&self.series_refused),
            probe_runs_total: read(&self.probe_runs),
            probe_failures_total: read(&self.probe_failures),
            probes_dropped_total: read(&self.probes_dropped),
            discovery_failures_total: read(&self.discovery_failures),
            panics_total: read(&self.panics),
        }
    }
}
