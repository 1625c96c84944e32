//! Series as a receiver gets them: with external labels, relabelled, and known by the store's reference.

use super::{config::Endpoint, encode::about};
use crate::{
    Metadata,
    scrape::{ingest::Families, relabel::relabel},
};
use model::{Labels, SeriesRef};
use std::{collections::HashMap, mem, sync::Arc, time::Duration};

/// A series as it is sent.
#[derive(Debug)]
pub(crate) struct Out {
    pub(crate) labels: Labels,
    /// The same in every process, so that a series keeps to its shard.
    pub(crate) hash: u64,
    pub(crate) about: Option<Metadata>,
}

/// How a series is sent: `None` where relabelling drops it.
pub(crate) type Sent = Option<Arc<Out>>;

/// How long a series is remembered that no sample comes for, at least.
const MEMORY: Duration = Duration::from_mins(15);

/// Every series that was asked for lately.
#[derive(Debug)]
pub(crate) struct Known {
    endpoint: Arc<Endpoint>,
    young: HashMap<SeriesRef, Sent>,
    old: HashMap<SeriesRef, Sent>,
    since: Duration,
}

impl Known {
    pub(crate) fn new(endpoint: Arc<Endpoint>) -> Known {
        Known { endpoint, young: HashMap::new(), old: HashMap::new(), since: Duration::ZERO }
    }

    /// Forgets what was not used for long. `now` is monotonic.
    pub(crate) fn tidy(&mut self, now: Duration) {
        if now.saturating_sub(self.since) >= MEMORY {
            self.old = mem::take(&mut self.young);
            self.since = now;
        }
    }

    /// Makes a series known under its labels in the store.
    pub(crate) fn put(&mut self, series: SeriesRef, labels: &Labels, families: &Families) {
        let sent = self.make(labels, families);
        self.young.insert(series, sent);
    }

    fn make(&self, labels: &Labels, families: &Families) -> Sent {
        let mut builder = labels.with_missing(&self.endpoint.external).edit();
        if !relabel(&self.endpoint.relabel, &mut builder) {
            return None;
        }
        let labels = builder.build();
        if labels.is_empty() {
            return None;
        }
        let about = about(families, labels.metric_name()).cloned();
        Some(Arc::new(Out { hash: labels.stable_hash(), about, labels }))
    }

    pub(crate) fn get(&mut self, series: SeriesRef) -> Option<Sent> {
        if let Some(sent) = self.young.get(&series) {
            return Some(sent.clone());
        }
        let sent = self.old.remove(&series)?;
        self.young.insert(series, sent.clone());
        Some(sent)
    }

    pub(crate) fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }
}
