//! What the process says of itself over HTTP.

use crate::{options::Options, own_series::ReloadMark, shown_config::ShownConfig};
use arc_swap::ArcSwap;
use model::{Labels, Timestamp, duration};
use promql::EngineConfig;
use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering},
    thread,
};
use web::{About, Runtime};

/// Where Linux has its name.
const HOSTNAME: &str = "/proc/sys/kernel/hostname";

#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) started: Timestamp,
    pub(crate) options: Arc<Options>,
    pub(crate) engine: EngineConfig,
    pub(crate) external_url: String,
    pub(crate) mark: Arc<ReloadMark>,
    /// Replaced by a reload.
    pub(crate) config: Arc<ArcSwap<ShownConfig>>,
}

impl About for Process {
    fn runtime(&self) -> Runtime {
        let read = |n: &std::sync::atomic::AtomicI64| n.load(Ordering::Relaxed);
        Runtime {
            started: self.started,
            directory: std::env::current_dir().map(|d| d.display().to_string()).unwrap_or_default(),
            hostname: std::fs::read_to_string(HOSTNAME).map(|n| n.trim().to_owned()).unwrap_or_default(),
            parallelism: thread::available_parallelism().map_or(1, usize::from),
            memory_limit: self.options.memory_limit,
            retention: self.options.retention,
            retention_bytes: self.options.retention_bytes,
            reloaded: self.mark.good.load(Ordering::Relaxed),
            reload_tried: read(&self.mark.tried_ms),
            configured: read(&self.mark.last_good_ms),
        }
    }

    fn flags(&self) -> BTreeMap<String, String> {
        let o = &self.options;
        let path =
            |path: Option<&std::path::PathBuf>| path.map(|p| p.display().to_string()).unwrap_or_default();
        let config = o
            .prometheus_config
            .clone()
            .or_else(|| o.config_dir.as_ref().map(|d| d.join("probes/scrape.yaml")));
        [
            ("config.file", path(config.as_ref())),
            ("query.lookback-delta", milliseconds(self.engine.lookback)),
            ("query.max-concurrency", o.queries.concurrency.to_string()),
            ("query.max-samples", self.engine.max_samples.to_string()),
            ("query.timeout", duration::format(o.queries.timeout)),
            ("storage.tsdb.path", path(Some(&o.data_dir.join("series")))),
            ("storage.tsdb.retention.size", format!("{}B", o.retention_bytes.unwrap_or(0))),
            ("storage.tsdb.retention.time", duration::format(o.retention)),
            ("web.enable-admin-api", "true".to_owned()),
            ("web.enable-lifecycle", "true".to_owned()),
            ("web.enable-otlp-receiver", "true".to_owned()),
            ("web.enable-remote-write-receiver", "true".to_owned()),
            ("web.external-url", self.external_url.clone()),
            ("web.listen-address", o.listen.to_string()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
    }

    fn config(&self) -> String {
        self.config.load().yaml.clone()
    }

    fn job_config(&self, scrape_pool: &str) -> Option<String> {
        self.config.load().jobs.get(scrape_pool).cloned()
    }

    fn alertmanagers(&self) -> Vec<String> {
        self.config.load().alertmanagers.clone()
    }

    fn external_labels(&self) -> Labels {
        self.config.load().external_labels.clone()
    }
}

fn milliseconds(ms: i64) -> String {
    duration::format(std::time::Duration::from_millis(ms.unsigned_abs()))
}
