//! Jobs and what is found for them: who is scraped follows what files and servers say, without a reload.

use super::{Collector, State, loops, status::add};
use crate::{
    config::Dropped,
    discovery::{self, FoundGroups, Source},
    scrape::{
        config::Job,
        target::{Target, build},
    },
};
use anyhow::bail;
use kit::tasks::Schedule;
use model::Labels;
use std::{collections::HashMap, sync::Arc};

/// A job, what was found for it, and what relabelling dropped of that.
#[derive(Debug)]
pub(super) struct Pool {
    pub(super) job: Arc<Job>,
    /// For each of its sources.
    found: Vec<FoundGroups>,
    dropped: Vec<Labels>,
    /// Found targets that cannot be.
    faults: Vec<String>,
}

impl Pool {
    pub(super) fn dropped(&self) -> impl Iterator<Item = Dropped> + '_ {
        let of = |labels: &Labels| Dropped {
            scrape_pool: self.job.name.clone(),
            discovered_labels: labels.clone(),
        };
        self.dropped.iter().map(of)
    }

    /// Its targets now.
    fn targets(&mut self) -> Vec<Arc<Target>> {
        let found = self.found.iter().flat_map(|f| f.values()).flat_map(|f| &f.groups);
        let built = build(&self.job, found);
        (self.dropped, self.faults) = (built.dropped, built.faults);
        built.targets.into_iter().map(Arc::new).collect()
    }
}

impl Collector {
    /// Takes jobs over, whole. What was found for a job stays until its sources are looked at again.
    pub(super) fn take_jobs(&self, state: &mut State, jobs: Vec<Arc<Job>>) {
        if let Some(group) = state.discovery.take() {
            group.stopping().cancel();
        }
        let mut old: HashMap<String, Pool> = state.pools.drain(..).map(|p| (p.job.name.clone(), p)).collect();
        let mut wanted = Vec::new();
        for job in jobs {
            let before = old.remove(&job.name);
            let found = job.sources.iter().enumerate().map(|(i, source)| {
                let before = before.as_ref()?;
                let same = before.job.sources.get(i).is_some_and(|b| b.looks_where(source));
                before.found.get(i).filter(|_| same).cloned()
            });
            let found = found.map(Option::unwrap_or_default).collect();
            let mut pool = Pool { job, found, dropped: Vec::new(), faults: Vec::new() };
            wanted.extend(pool.targets());
            state.pools.push(pool);
        }
        self.replace_targets(&mut state.targets, wanted);
        if state.pools.iter().any(|p| !p.job.sources.is_empty()) {
            let group = self.tasks.group();
            for pool in &state.pools {
                for i in 0..pool.job.sources.len() {
                    self.start_discovery(&group, &pool.job, i);
                }
            }
            state.discovery = Some(group);
        }
    }

    fn replace_targets(
        &self,
        running: &mut Vec<loops::Running<Target, super::TargetStatus>>,
        wanted: Vec<Arc<Target>>,
    ) {
        loops::replace(
            running,
            wanted,
            Target::is_same,
            |old, new| old.labels == new.labels,
            |target, crowd| loops::start_target(&self.tasks, &self.shared, target, crowd),
        );
    }

    fn start_discovery(&self, group: &kit::tasks::Tasks, job: &Arc<Job>, i: usize) {
        let Some(source) = job.sources.get(i) else { return };
        let name = format!("discover {} {i}", job.name);
        let (this, job) = (self.clone(), Arc::clone(job));
        group.reconciler(name, Schedule::Every(source.interval()), move || {
            let (this, job) = (this.clone(), Arc::clone(&job));
            async move {
                let outcome = this.discover(&job, i).await;
                if outcome.is_err() {
                    add(&this.shared.counters.discovery_failures, 1);
                }
                outcome
            }
        });
    }

    /// Looks at one source of a job, and scrapes what is found.
    async fn discover(&self, job: &Arc<Job>, i: usize) -> anyhow::Result<String> {
        let Some(known) = self.found(job, i) else { return Ok("not wanted any more".to_owned()) };
        let (now, mut wrong) = match job.sources.get(i) {
            Some(Source::Files { patterns, .. }) => {
                let patterns = patterns.clone();
                // A file system may not answer for long.
                tokio::task::spawn_blocking(move || discovery::look(&patterns, &known)).await?
            }
            Some(Source::Http(source)) => match discovery::ask(&self.shared.clients, source).await {
                Ok(found) => (Some(FoundGroups::from([(source.url.to_string(), found)])), Vec::new()),
                Err(e) => (None, vec![e]),
            },
            None => (None, Vec::new()),
        };
        let (count, faults) = self.scrape_found(job, i, now);
        wrong.extend(faults);
        if !wrong.is_empty() {
            bail!("{}", wrong.join("\n"));
        }
        Ok(format!("{count} groups of targets"))
    }

    /// What is known of one source, `None` where the job is another one by now.
    fn found(&self, job: &Arc<Job>, i: usize) -> Option<FoundGroups> {
        let state = self.state();
        let pool = state.pools.iter().find(|p| Arc::ptr_eq(&p.job, job))?;
        pool.found.get(i).cloned()
    }

    /// Replaces what one source has found, and the targets of its job. Returns how many groups there are, and
    /// what is wrong with targets.
    fn scrape_found(&self, job: &Arc<Job>, i: usize, now: Option<FoundGroups>) -> (usize, Vec<String>) {
        let mut state = self.state();
        let State { targets, pools, .. } = &mut *state;
        let place = pools.iter().position(|p| Arc::ptr_eq(&p.job, job));
        let Some(pool) = place.and_then(|at| pools.get_mut(at)) else { return Default::default() };
        let Some(found) = pool.found.get_mut(i) else { return Default::default() };
        if let Some(now) = now {
            *found = now;
            let wanted = pool.targets();
            // Only the job's own are compared.
            let (mut own, others): (Vec<_>, Vec<_>) =
                targets.drain(..).partition(|t| t.what.job.name == job.name);
            self.replace_targets(&mut own, wanted);
            targets.extend(others);
            targets.extend(own);
            let order: HashMap<&str, usize> =
                pools.iter().enumerate().map(|(i, p)| (p.job.name.as_str(), i)).collect();
            targets.sort_by_key(|t| order.get(t.what.job.name.as_str()).copied());
        }
        let Some(pool) = place.and_then(|at| pools.get(at)) else { return Default::default() };
        let groups = pool.found.iter().flat_map(|f| f.values()).map(|f| f.groups.len()).sum();
        (groups, pool.faults.clone())
    }
}
