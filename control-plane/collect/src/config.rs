//! The configuration of everything that is collected, as one value: built whole, or refused with every problem.

use crate::{
    expand::expand,
    probe::config::{Probe, ProbeDefaults, read as read_probes},
    scrape::{
        config::{Job, read as read_scrape},
        target::build,
    },
};
use kit::{
    problem::{Problem, Problems},
    yaml::Document,
};
use model::Labels;
use std::{fmt, sync::Arc, time::Duration};

/// A file's name, for problems and for paths inside it, and its text.
#[derive(Debug, Clone, Copy)]
pub struct File<'a> {
    pub name: &'a str,
    pub text: &'a str,
}

/// What a configuration is built from.
#[derive(Clone, Copy)]
pub struct CollectFiles<'a> {
    /// `probes/scrape.yaml`, with `scrape_configs` and perhaps `global`.
    pub scrape: Option<File<'a>>,
    /// The scrape file is a whole `prometheus.yml`: its other sections are left alone.
    pub whole_prometheus: bool,
    /// Series that one target may have; what is beyond is left out, and shown.
    pub target_series: Option<u64>,
    /// `probes/probes.yaml`.
    pub probes: Option<File<'a>>,
    /// The value of a `${NAME}`.
    pub values: &'a dyn Fn(&str) -> Option<String>,
    /// For probes that name no interval or timeout: `HEALTH_CHECK_INTERVAL`, `HEALTH_CHECK_TIMEOUT`.
    pub probe_defaults: ProbeDefaults,
    /// How often the host is read; `None`: never.
    pub host_interval: Option<Duration>,
}

impl fmt::Debug for CollectFiles<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CollectFiles").field("scrape", &self.scrape).field("probes", &self.probes).finish()
    }
}

/// A target that relabelling dropped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dropped {
    /// The job's name.
    pub scrape_pool: String,
    pub discovered_labels: Labels,
}

/// What is to be collected. Empty by default.
#[derive(Debug, Clone, Default)]
pub struct CollectConfig {
    pub(crate) jobs: Vec<Arc<Job>>,
    /// Targets that are named in the files themselves.
    pub(crate) targets: usize,
    pub(crate) probes: Vec<Arc<Probe>>,
    pub(crate) host_interval: Option<Duration>,
}

impl CollectConfig {
    /// Builds it.
    ///
    /// # Errors
    /// Every problem of every file.
    pub fn parse(files: &CollectFiles<'_>) -> Result<CollectConfig, Problems> {
        let mut problems = Problems::default();
        let mut config = CollectConfig { host_interval: files.host_interval, ..CollectConfig::default() };
        if let Some(file) = files.scrape
            && let Some(doc) = document(file, files.values, &mut problems)
        {
            for mut job in read_scrape(&doc, !files.whole_prometheus, files.values, &mut problems) {
                job.limits.series = files.target_series;
                let job = Arc::new(job);
                let built = build(&job, std::iter::empty());
                config.targets += built.targets.len();
                config.jobs.push(Arc::clone(&job));
                for fault in built.faults {
                    problems.push(Problem::unplaced(file.name, fault));
                }
            }
        }
        if let Some(file) = files.probes
            && let Some(doc) = document(file, files.values, &mut problems)
        {
            let probes = read_probes(&doc, files.probe_defaults, &mut problems);
            config.probes = probes.into_iter().map(Arc::new).collect();
        }
        problems.into_result(config)
    }

    pub fn target_count(&self) -> usize {
        self.targets
    }

    pub fn probe_count(&self) -> usize {
        self.probes.len()
    }
}

/// A file's tree, with its `${NAME}` replaced.
pub(crate) fn document(
    file: File<'_>,
    values: &dyn Fn(&str) -> Option<String>,
    problems: &mut Problems,
) -> Option<Document> {
    match Document::parse(file.name, file.text) {
        Ok(mut doc) => {
            expand(&mut doc, values, problems);
            Some(doc)
        }
        Err(more) => {
            problems.extend(more);
            None
        }
    }
}

/// The tree of a file for one section of it. Of a whole `prometheus.yml`, whoever reads the scrape jobs tells what is
/// wrong with the file itself.
pub(crate) fn document_for_section(
    file: File<'_>,
    whole_prometheus: bool,
    values: &dyn Fn(&str) -> Option<String>,
    problems: &mut Problems,
) -> Option<Document> {
    let mut elsewhere = Problems::default();
    document(file, values, if whole_prometheus { &mut elsewhere } else { problems })
}

#[cfg(test)]
mod tests;
