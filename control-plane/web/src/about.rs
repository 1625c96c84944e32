//! What the process says of itself: its settings, its configuration, how long it has been running.

use model::{Labels, Timestamp};
use std::{collections::BTreeMap, time::Duration};

/// How the process runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Runtime {
    pub started: Timestamp,
    pub directory: String,
    pub hostname: String,
    /// Threads that may work at the same time.
    pub parallelism: usize,
    /// Resident bytes beyond which new series are refused; `None`: no bound.
    pub memory_limit: Option<u64>,
    pub retention: Duration,
    /// Bytes of blocks that are kept; `None`: only time counts.
    pub retention_bytes: Option<u64>,
    /// Whether the last reload was taken over.
    pub reloaded: bool,
    /// When the last reload was tried, or the process began.
    pub reload_tried: Timestamp,
    /// When the configuration in force was taken over.
    pub configured: Timestamp,
}

/// Asked whenever somebody wants to know.
pub trait About: Send + Sync + std::fmt::Debug {
    fn runtime(&self) -> Runtime;
    /// What the process was told at its start, by the names that Prometheus has for it. No secrets.
    fn flags(&self) -> BTreeMap<String, String>;
    /// The configuration in force as YAML, in the sections of a `prometheus.yml`. No secrets.
    fn config(&self) -> String;
    /// The part of it that is about one job; `None` where there is no such job.
    fn job_config(&self, scrape_pool: &str) -> Option<String>;
    /// Alertmanagers that the configuration names, and that get nothing: Vigie delivers its alerts itself.
    fn alertmanagers(&self) -> Vec<String>;
    /// `global.external_labels`: on what others are given, not on what is kept.
    fn external_labels(&self) -> Labels;
}
