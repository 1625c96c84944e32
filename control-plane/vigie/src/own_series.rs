//! What Vigie writes about itself, beside its store's and its requests' figures: budgets, deliveries, rules,
//! loops, the last reload.

mod about;

pub(crate) use about::families;

use alerting::Alerting;
use budget::Authority;
use collect::SelfSource;
use kit::tasks::Tasks;
use model::{Labels, labels::METRIC_NAME};
use rules::Rules;
use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicI64, Ordering},
};

/// How the last attempt to load the configuration went.
#[derive(Debug)]
pub(crate) struct ReloadMark {
    pub(crate) good: AtomicBool,
    pub(crate) last_good_ms: AtomicI64,
    pub(crate) tried_ms: AtomicI64,
}

/// The rooms that are asked.
#[derive(Debug)]
pub(crate) struct OwnSeries {
    pub(crate) budget: Arc<Authority>,
    pub(crate) alerting: Arc<Alerting>,
    pub(crate) rules: Arc<Rules>,
    pub(crate) tasks: Tasks,
    pub(crate) reload: Arc<ReloadMark>,
    pub(crate) version: &'static str,
    /// How far the wall was behind an earlier process's clock at the start, where that was too far to follow.
    pub(crate) clock_behind_ms: i64,
}

#[expect(clippy::cast_precision_loss, reason = "counters stay far below 2^53")]
fn count(n: u64) -> f64 {
    n as f64
}

impl SelfSource for OwnSeries {
    fn read(&self, _: i64) -> Vec<(Labels, f64)> {
        let mut out = Vec::new();
        let mut put = |name: &str, labels: &[(&str, &str)], v: f64| {
            out.push((Labels::from_pairs(labels.iter().copied()).with(METRIC_NAME, name), v));
        };
        put("up", &[("service", "vigie")], 1.0);
        put("vigie_build_info", &[("version", self.version)], 1.0);
        let good = self.reload.good.load(Ordering::Relaxed);
        put("vigie_config_last_reload_successful", &[], f64::from(u8::from(good)));
        #[expect(clippy::cast_precision_loss, reason = "milliseconds since 1970 are below 2^53")]
        let at = self.reload.last_good_ms.load(Ordering::Relaxed) as f64 / 1000.0;
        put("vigie_config_last_reload_success_timestamp_seconds", &[], at);
        #[expect(clippy::cast_precision_loss, reason = "a difference of times is far below 2^53")]
        put("vigie_clock_behind_seconds", &[], self.clock_behind_ms as f64 / 1000.0);
        for ((integration, kind), c) in self.alerting.counts() {
            let labels = [("integration", integration.as_str()), ("kind", kind)];
            put("vigie_notifications_total", &labels, count(c.delivered + c.failed));
            put("vigie_notifications_failed_total", &labels, count(c.failed));
        }
        put("vigie_alerts_held", &[], count(self.alerting.inbox().len() as u64));
        for group in self.rules.view() {
            let labels = [("rule_group", group.name.as_str())];
            let evaluations: u64 = group.rules.iter().map(|r| r.evaluations).sum();
            let failures: u64 = group.rules.iter().map(|r| r.failures).sum();
            put("vigie_rule_evaluations_total", &labels, count(evaluations));
            put("vigie_rule_evaluation_failures_total", &labels, count(failures));
            put("vigie_rule_group_duration_seconds", &labels, group.evaluation_time.as_secs_f64());
        }
        for status in self.tasks.status() {
            let labels = [("loop", status.name.as_str())];
            put("vigie_loop_runs_total", &labels, count(status.runs));
            put("vigie_loop_failures_total", &labels, count(status.failures + status.panics));
        }
        match self.budget.series() {
            Ok(series) => {
                out.extend(series.into_iter().map(|(name, labels, v)| (labels.with(METRIC_NAME, name), v)));
            }
            Err(e) => tracing::warn!(error = %e, "the budget's series could not be read"),
        }
        out
    }
}
