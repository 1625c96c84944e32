//! What is known of the way to one receiver, `vigie_remote_write_*`.

use model::{Labels, labels::METRIC_NAME};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

/// Those that are not gauges count since the endpoint was started.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    pub(crate) sent: AtomicU64,
    pub(crate) sent_bytes: AtomicU64,
    pub(crate) requests: AtomicU64,
    pub(crate) failed: AtomicU64,
    pub(crate) retried: AtomicU64,
    pub(crate) too_old: AtomicU64,
    /// Histograms that version 1 is not to carry.
    pub(crate) histograms: AtomicU64,
    /// Samples of series whose labels damage took.
    pub(crate) unnamed: AtomicU64,
    /// Times that the log had gone before it was read.
    pub(crate) gaps: AtomicU64,
    // --- gauges
    pub(crate) pending: AtomicU64,
    pub(crate) behind_bytes: AtomicU64,
    pub(crate) shards: AtomicU64,
    pub(crate) series: AtomicU64,
    /// Milliseconds since 1970 of the newest sample that is through.
    pub(crate) newest: AtomicI64,
}

pub(crate) fn add(counter: &AtomicU64, n: u64) {
    counter.fetch_add(n, Ordering::Relaxed);
}

pub(crate) fn set(gauge: &AtomicU64, n: usize) {
    gauge.store(n as u64, Ordering::Relaxed);
}

impl Figures {
    /// As series of the receiver `name`.
    pub(crate) fn readings(&self, name: &str, now_ms: i64) -> Vec<(Labels, f64)> {
        let read = |c: &AtomicU64| c.load(Ordering::Relaxed) as f64;
        let (pending, behind) = (read(&self.pending), read(&self.behind_bytes));
        let lag = match self.newest.load(Ordering::Relaxed) {
            newest if newest > 0 && pending + behind > 0.0 => now_ms.saturating_sub(newest).max(0) as f64,
            _ => 0.0,
        };
        let base = Labels::from_pairs([("remote", name)]);
        let mut out: Vec<(Labels, f64)> = [
            ("vigie_remote_write_sent_samples_total", read(&self.sent)),
            ("vigie_remote_write_sent_bytes_total", read(&self.sent_bytes)),
            ("vigie_remote_write_requests_total", read(&self.requests)),
            ("vigie_remote_write_failed_samples_total", read(&self.failed)),
            ("vigie_remote_write_retried_samples_total", read(&self.retried)),
            ("vigie_remote_write_gaps_total", read(&self.gaps)),
            ("vigie_remote_write_pending_samples", pending),
            ("vigie_remote_write_pending_log_bytes", behind),
            ("vigie_remote_write_lag_seconds", lag / 1000.0),
            ("vigie_remote_write_shards", read(&self.shards)),
            ("vigie_remote_write_known_series", read(&self.series)),
        ]
        .into_iter()
        .map(|(name, v)| (base.with(METRIC_NAME, name), v))
        .collect();
        let dropped =
            [("too_old", &self.too_old), ("histogram", &self.histograms), ("unnamed", &self.unnamed)];
        for (reason, counter) in dropped {
            let labels = base.with("reason", reason);
            out.push((labels.with(METRIC_NAME, "vigie_remote_write_dropped_samples_total"), read(counter)));
        }
        out
    }
}
