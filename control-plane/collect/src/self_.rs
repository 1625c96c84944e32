//! Vigie's own series and those of the budget, written every few seconds without any scrape job.
//!
//! Rooms below and beside this one return numbers; here they become series. A source is anything that can be
//! read; a registry of the crate `prometheus` is one.

use crate::{Families, Metadata, recorder::Reading, scrape::exposition};
use model::{Labels, labels::METRIC_NAME, number};
use prometheus::{
    Registry,
    proto::{Metric, MetricFamily, MetricType},
};
use std::{fmt, sync::Arc};

/// Something that can tell its figures.
pub trait SelfSource: Send + Sync {
    /// Series with their values at `now_ms`, in milliseconds since 1970. Names are in `__name__`.
    fn read(&self, now_ms: i64) -> Vec<(Labels, f64)>;
}

impl fmt::Debug for dyn SelfSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SelfSource")
    }
}

impl<F: Fn(i64) -> Vec<(Labels, f64)> + Send + Sync> SelfSource for F {
    fn read(&self, now_ms: i64) -> Vec<(Labels, f64)> {
        self(now_ms)
    }
}

/// Adds the labels of `base` that a series has not got itself.
pub(crate) fn based(base: &Labels, readings: Vec<Reading>) -> Vec<Reading> {
    let add = |(labels, v): Reading| {
        let mut builder = labels.edit();
        for l in base.iter().filter(|l| labels.get(&l.name).is_none()) {
            builder.set(Arc::clone(&l.name), Arc::clone(&l.value));
        }
        (builder.build(), v)
    };
    readings.into_iter().map(add).collect()
}

/// What a registry says about its metrics.
pub fn registry_families(registry: &Registry) -> Families {
    let told = |family: &MetricFamily| {
        let kind = match family.get_field_type() {
            MetricType::COUNTER => exposition::MetricType::Counter,
            MetricType::GAUGE => exposition::MetricType::Gauge,
            MetricType::HISTOGRAM => exposition::MetricType::Histogram,
            MetricType::SUMMARY => exposition::MetricType::Summary,
            MetricType::UNTYPED => exposition::MetricType::Unknown,
        };
        let about = Metadata { kind, help: family.help().to_owned(), unit: String::new() };
        (family.name().to_owned(), about)
    };
    registry.gather().iter().map(told).collect()
}

/// The series of a registry, as a scrape of its text would give them.
impl SelfSource for Registry {
    fn read(&self, _: i64) -> Vec<(Labels, f64)> {
        let mut out = Vec::new();
        for family in self.gather() {
            for metric in family.get_metric() {
                family_readings(&family, metric, &mut out);
            }
        }
        out
    }
}

fn family_readings(family: &MetricFamily, metric: &Metric, out: &mut Vec<Reading>) {
    let name = family.name();
    let labels = Labels::from_pairs(metric.get_label().iter().map(|l| (l.name(), l.value())));
    let mut add = |suffix: &str, extra: Option<(&str, f64)>, value: f64| {
        let mut labels = labels.with(METRIC_NAME, format!("{name}{suffix}"));
        if let Some((label, bound)) = extra {
            labels = labels.with(label, float_label(bound));
        }
        out.push((labels, value));
    };
    match family.get_field_type() {
        MetricType::COUNTER => add("", None, metric.get_counter().get_value()),
        MetricType::GAUGE => add("", None, metric.get_gauge().get_value()),
        MetricType::HISTOGRAM => {
            let h = metric.get_histogram();
            for b in h.get_bucket() {
                add("_bucket", Some(("le", b.upper_bound())), b.cumulative_count() as f64);
            }
            if h.get_bucket().last().is_none_or(|b| b.upper_bound().is_finite()) {
                add("_bucket", Some(("le", f64::INFINITY)), h.get_sample_count() as f64);
            }
            add("_sum", None, h.get_sample_sum());
            add("_count", None, h.get_sample_count() as f64);
        }
        MetricType::SUMMARY => {
            let s = metric.get_summary();
            for q in s.get_quantile() {
                add("", Some(("quantile", q.quantile())), q.value());
            }
            add("_sum", None, s.sample_sum());
            add("_count", None, s.sample_count() as f64);
        }
        MetricType::UNTYPED => {}
    }
}

/// A bound as a label value: `0.5`, `1.0`, `+Inf`.
fn float_label(v: f64) -> String {
    let text = number::format(v);
    if v.is_finite() && !text.contains(['.', 'e']) { format!("{text}.0") } else { text }
}

/// The figures of the store, `vigie_tsdb_*`.
pub fn tsdb_source(db: tsdb::Tsdb) -> impl SelfSource {
    move |_: i64| {
        let s = db.stats();
        [
            ("vigie_tsdb_series", s.series as f64),
            ("vigie_tsdb_series_created_total", s.series_created_total as f64),
            ("vigie_tsdb_series_removed_total", s.series_removed_total as f64),
            ("vigie_tsdb_samples_appended_total", s.samples_appended_total as f64),
            ("vigie_tsdb_samples_rejected_total", s.samples_rejected_total as f64),
            ("vigie_tsdb_head_max_time_seconds", s.head_max_time_ms as f64 / 1000.0),
            ("vigie_tsdb_log_bytes", s.log_bytes as f64),
            ("vigie_tsdb_log_syncs_total", s.log_syncs_total as f64),
            ("vigie_tsdb_log_sync_failures_total", s.log_sync_failures_total as f64),
            ("vigie_tsdb_blocks", s.blocks as f64),
            ("vigie_tsdb_block_bytes", s.block_bytes as f64),
            ("vigie_tsdb_blocks_written_total", s.blocks_written_total as f64),
            ("vigie_tsdb_blocks_deleted_total", s.blocks_deleted_total as f64),
            ("vigie_tsdb_checkpoints_total", s.checkpoints_total as f64),
            ("vigie_tsdb_damaged_pieces", s.damaged_pieces as f64),
        ]
        .into_iter()
        .map(|(name, v)| (Labels::from_pairs([(METRIC_NAME, name)]), v))
        .collect()
    }
}

#[cfg(test)]
mod tests;
