//! A real store on a disk in memory, for the tests of this crate.

use model::{Append, SampleColumns, Select, SelectRequest, is_stale_nan};
use std::sync::Arc;
use tsdb::{Tsdb, TsdbConfig, disk::fake::FakeDisk};

#[derive(Debug)]
pub(crate) struct Store {
    pub(crate) db: Tsdb,
}

impl Store {
    pub(crate) fn new() -> Store {
        let config = TsdbConfig { sync_every: None, ..TsdbConfig::new("/data") };
        Store { db: Tsdb::open(config, Arc::new(FakeDisk::default())).expect("opens").0 }
    }

    pub(crate) fn append(&self) -> Arc<dyn Append> {
        Arc::new(self.db.clone())
    }

    /// Every series with its samples, one line each: `name{labels}: value@time ...`.
    pub(crate) fn shown(&self) -> Vec<String> {
        let request = SelectRequest::new(&[], i64::MIN, i64::MAX);
        let mut stream = self.db.select(&request).expect("selects");
        let mut columns = SampleColumns::default();
        let mut out = Vec::new();
        while let Some((_, labels)) = stream.next(&mut columns).expect("reads") {
            let pairs: Vec<String> = labels
                .iter()
                .filter(|l| &*l.name != "__name__")
                .map(|l| format!("{}={}", l.name, l.value))
                .collect();
            let samples: Vec<String> = columns
                .times
                .iter()
                .zip(&columns.values)
                .map(|(t, v)| if is_stale_nan(*v) { format!("stale@{t}") } else { format!("{v}@{t}") })
                .collect();
            out.push(format!("{}{{{}}}: {}", labels.metric_name(), pairs.join(","), samples.join(" ")));
        }
        out
    }

    /// Those lines that begin with `prefix`.
    pub(crate) fn of(&self, prefix: &str) -> Vec<String> {
        self.shown().into_iter().filter(|l| l.starts_with(prefix)).collect()
    }
}
