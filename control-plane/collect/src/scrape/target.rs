//! From a job's configuration to the targets it scrapes: labels, relabelling, address.

use super::{
    config::{Group, Job},
    relabel::relabel,
};
use model::{Labels, duration, labels::METRIC_NAME};
use std::{collections::HashSet, sync::Arc, time::Duration};
use url::Url;

/// One thing to scrape.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) job: Arc<Job>,
    /// What its series carry.
    pub(crate) labels: Labels,
    /// Before relabelling.
    pub(crate) discovered: Labels,
    pub(crate) url: Url,
    pub(crate) interval: Duration,
    pub(crate) timeout: Duration,
    /// Why it is not asked at all, and counts as down.
    pub(crate) forced: Option<Arc<str>>,
}

impl Target {
    /// Its place in the interval.
    pub(crate) fn seed(&self) -> u64 {
        self.labels.with("__url__", self.url.as_str()).stable_hash()
    }

    /// Whether it is scraped as the other is, so that one loop can go on for both.
    pub(crate) fn is_same(&self, other: &Target) -> bool {
        self.labels == other.labels
            && self.url == other.url
            && self.interval == other.interval
            && self.timeout == other.timeout
            && self.forced == other.forced
            && (Arc::ptr_eq(&self.job, &other.job) || without_groups(&self.job) == without_groups(&other.job))
    }
}

fn without_groups(job: &Job) -> Job {
    Job { groups: Vec::new(), sources: Vec::new(), ..job.clone() }
}

/// The targets of a job.
#[derive(Debug, Default)]
pub(crate) struct Built {
    pub(crate) targets: Vec<Target>,
    /// Labels of those that relabelling dropped.
    pub(crate) dropped: Vec<Labels>,
    /// What makes targets impossible.
    pub(crate) faults: Vec<String>,
}

/// Builds the targets of a job: those of its own groups, and of what was found.
pub(crate) fn build<'a>(job: &'a Arc<Job>, found: impl Iterator<Item = &'a Group>) -> Built {
    let mut built = Built::default();
    let mut seen = HashSet::new();
    for group in job.groups.iter().chain(found) {
        for address in &group.targets {
            let discovered = discovered(job, group, address);
            let mut labels = discovered.edit();
            if !relabel(&job.relabel, &mut labels) {
                if job.keep_dropped.is_none_or(|most| (built.dropped.len() as u64) < most) {
                    built.dropped.push(discovered);
                }
                continue;
            }
            match finish(job, discovered, labels.build()) {
                Ok(target) => {
                    if seen.insert((target.labels.clone(), target.url.clone())) {
                        built.targets.push(target);
                    }
                }
                Err(e) => built.faults.push(format!("job {:?}, target {address:?}: {e}", job.name)),
            }
        }
    }
    if let Some(limit) = job.limits.targets
        && built.targets.len() as u64 > limit
    {
        // None of them is better than another.
        let n = built.targets.len();
        let why: Arc<str> = format!("target_limit exceeded (number of targets: {n}, limit: {limit})").into();
        for target in &mut built.targets {
            target.forced = Some(Arc::clone(&why));
        }
    }
    built
}

fn discovered(job: &Job, group: &Group, address: &str) -> Labels {
    let mut labels = Labels::from_pairs(group.labels.iter().map(|(k, v)| (&**k, &**v))).edit();
    labels.set("__address__", address);
    let mut default = |name: &str, value: &str| {
        if labels.value(name).is_empty() {
            labels.set(name, value);
        }
    };
    default("job", &job.name);
    default("__scrape_interval__", &duration::format(job.interval));
    default("__scrape_timeout__", &duration::format(job.timeout));
    default("__metrics_path__", &job.path);
    default("__scheme__", &job.scheme);
    for (name, values) in &job.params {
        default(&format!("__param_{name}"), values.first().map_or("", |v| v));
    }
    labels.build()
}

fn finish(job: &Arc<Job>, discovered: Labels, all: Labels) -> Result<Target, String> {
    let address = all.value("__address__");
    if address.is_empty() {
        return Err("relabelling left it without an address".to_owned());
    }
    if address.contains('/') {
        return Err(format!("{address:?} is not a host and port"));
    }
    let time = |name: &str| {
        let text = all.value(name);
        duration::parse(text)
            .ok()
            .filter(|d| !d.is_zero())
            .ok_or(format!("{name} {text:?} is not a duration"))
    };
    let (interval, timeout) = (time("__scrape_interval__")?, time("__scrape_timeout__")?);
    if timeout > interval {
        return Err("its scrape timeout is longer than its scrape interval".to_owned());
    }
    let scheme = all.value("__scheme__");
    if !matches!(scheme, "http" | "https") {
        return Err(format!("{scheme:?} is no scheme to scrape by: http or https"));
    }
    let path = all.value("__metrics_path__");
    let slash = if path.starts_with('/') { "" } else { "/" };
    let mut url =
        Url::parse(&format!("{scheme}://{address}{slash}{path}")).map_err(|e| format!("{address:?}: {e}"))?;
    add_params(&mut url, job, &all);
    let mut labels = all.edit();
    if all.value("instance").is_empty() {
        labels.set("instance", address);
    }
    labels.retain(|l| !l.name.starts_with("__")).remove(METRIC_NAME);
    Ok(Target {
        job: Arc::clone(job),
        labels: labels.build(),
        discovered,
        url,
        interval,
        timeout,
        forced: None,
    })
}

/// The job's parameters; a label `__param_NAME` replaces the first value of NAME.
fn add_params(url: &mut Url, job: &Job, all: &Labels) {
    let mut params: Vec<(String, Vec<String>)> = job.params.clone();
    for l in all.iter() {
        let Some(name) = l.name.strip_prefix("__param_") else { continue };
        match params.iter_mut().find(|(n, _)| n == name) {
            Some((_, values)) => match values.first_mut() {
                Some(first) => *first = l.value.to_string(),
                None => values.push(l.value.to_string()),
            },
            None => params.push((name.to_owned(), vec![l.value.to_string()])),
        }
    }
    if params.iter().any(|(_, values)| !values.is_empty()) {
        let mut query = url.query_pairs_mut();
        for (name, values) in &params {
            for value in values {
                query.append_pair(name, value);
            }
        }
    }
}

#[cfg(test)]
mod tests;
