//! What is said about Vigie's own series: a sentence for each name. Those of its requests and its process have theirs
//! in the registry.

use collect::{Families, Metadata, MetricType, registry_families};
use prometheus::Registry;

/// Names and what they are. A name that ends in `_total` is a counter's, others are gauges'.
const ABOUT: &[(&str, &str)] = &[
    ("ai_budget_committed_usd", "What a budget has spent, holds and cannot confirm, together."),
    (
        "ai_budget_forecast_usd",
        "What a budget will have spent by the end of its period, if it goes on like this.",
    ),
    ("ai_budget_limit_usd", "What a budget may spend in its period."),
    ("ai_budget_over_hold_total", "Calls that used more than was held for them."),
    ("ai_budget_refusals_total", "Reservations that a budget refused."),
    ("ai_budget_reserved_usd", "What is held for calls that have not been settled."),
    ("ai_budget_spent_usd", "What settled calls of the period have cost."),
    ("ai_budget_threshold_reached", "Whether the committed share of a budget reached a threshold."),
    ("ai_budget_unconfirmed_usd", "What is held for calls that began and were never settled."),
    ("ai_cost_usd_total", "What calls of AI providers have cost."),
    ("ai_tokens_total", "Tokens that calls of AI providers used."),
    ("vigie_alerts_held", "Alerts that wait for their delivery."),
    ("vigie_build_info", "The version that runs; always 1."),
    ("vigie_clock_behind_seconds", "How far the wall clock was behind an earlier process's at the start."),
    ("vigie_collect_discovery_failures_total", "Runs of target discovery that failed."),
    ("vigie_collect_panics_total", "Scrapes and probes that broke off inside."),
    ("vigie_collect_probe_failures_total", "Probes that found something down."),
    ("vigie_collect_probe_runs_total", "Probes that were run."),
    ("vigie_collect_probes", "Probes that are configured."),
    ("vigie_collect_probes_dropped_total", "Runs of probes left out because the one before was not done."),
    ("vigie_collect_samples_rejected_total", "Samples that scrapes brought and the store did not take."),
    ("vigie_collect_samples_total", "Samples that scrapes brought."),
    ("vigie_collect_scrape_failures_total", "Scrapes that failed."),
    ("vigie_collect_scrapes_dropped_total", "Scrapes left out because there was no time for them."),
    ("vigie_collect_scrapes_total", "Scrapes that were made."),
    ("vigie_collect_series_refused_total", "Series of targets refused because of the limit on series."),
    ("vigie_collect_target_series_refused", "Series of one target that its last scrape left out."),
    ("vigie_collect_targets", "Targets that are scraped."),
    (
        "vigie_config_last_reload_success_timestamp_seconds",
        "When the configuration was last taken over, since 1970.",
    ),
    ("vigie_config_last_reload_successful", "Whether the last reload of the configuration succeeded."),
    ("vigie_loop_failures_total", "Runs of a loop that failed."),
    ("vigie_loop_runs_total", "Runs of a loop."),
    ("vigie_notifications_failed_total", "Deliveries of messages that failed."),
    ("vigie_notifications_total", "Deliveries of messages that were tried."),
    ("vigie_remote_write_dropped_samples_total", "Samples that are not passed on, by the reason."),
    ("vigie_remote_write_failed_samples_total", "Samples that a receiver refused for good."),
    ("vigie_remote_write_gaps_total", "How often the log was gone before a receiver had it."),
    ("vigie_remote_write_known_series", "Series of which the way to a receiver knows the labels."),
    ("vigie_remote_write_lag_seconds", "How far a receiver is behind the newest sample."),
    ("vigie_remote_write_pending_log_bytes", "Bytes of the log that a receiver has yet to get."),
    ("vigie_remote_write_pending_samples", "Samples read from the log that a receiver has not taken yet."),
    ("vigie_remote_write_received_bytes_total", "Bytes of write requests."),
    ("vigie_remote_write_received_exemplars_total", "Exemplars taken of write requests."),
    ("vigie_remote_write_received_failed_requests_total", "Write requests that failed inside."),
    ("vigie_remote_write_received_histograms_total", "Histograms taken of write requests."),
    ("vigie_remote_write_received_known_series", "Series of writers whose labels are known."),
    ("vigie_remote_write_received_rejected_samples_total", "Samples of write requests that were not taken."),
    ("vigie_remote_write_received_requests_total", "Write requests that came."),
    ("vigie_remote_write_received_samples_total", "Samples taken of write requests."),
    ("vigie_remote_write_requests_total", "Requests sent to a receiver."),
    ("vigie_remote_write_retried_samples_total", "Samples sent to a receiver once more."),
    ("vigie_remote_write_sent_bytes_total", "Bytes sent to a receiver."),
    ("vigie_remote_write_sent_samples_total", "Samples that a receiver took."),
    ("vigie_remote_write_shards", "Ways on which samples go to a receiver side by side."),
    ("vigie_rule_evaluation_failures_total", "Evaluations of a group's rules that failed."),
    ("vigie_rule_evaluations_total", "Evaluations of a group's rules."),
    ("vigie_rule_group_duration_seconds", "How long the last evaluation of a group took."),
    ("vigie_tsdb_block_bytes", "Bytes of all finished blocks."),
    ("vigie_tsdb_blocks", "Finished blocks."),
    (
        "vigie_tsdb_blocks_deleted_total",
        "Blocks that were deleted, by retention or because others replaced them.",
    ),
    ("vigie_tsdb_blocks_written_total", "Blocks that were written."),
    ("vigie_tsdb_checkpoints_total", "Checkpoints of the log."),
    ("vigie_tsdb_damaged_pieces", "Pieces of files found damaged, which are left out."),
    ("vigie_tsdb_head_max_time_seconds", "The time of the newest sample, since 1970."),
    ("vigie_tsdb_log_bytes", "Bytes of the log."),
    ("vigie_tsdb_log_sync_failures_total", "Times that the log could not be brought to disk."),
    ("vigie_tsdb_log_syncs_total", "Times that the log was brought to disk."),
    ("vigie_tsdb_samples_appended_total", "Samples that the store took."),
    ("vigie_tsdb_samples_rejected_total", "Samples that the store did not take."),
    ("vigie_tsdb_series", "Series that are in memory."),
    ("vigie_tsdb_series_created_total", "Series that became known."),
    ("vigie_tsdb_series_removed_total", "Series that were forgotten, as nothing of them is in memory."),
];

/// What is said about all of them.
pub(crate) fn families(registry: &Registry) -> Families {
    let told = |(name, help): &(&str, &str)| {
        let kind = if name.ends_with("_total") { MetricType::Counter } else { MetricType::Gauge };
        ((*name).to_owned(), Metadata { kind, help: (*help).to_owned(), unit: String::new() })
    };
    let mut all: Families = ABOUT.iter().map(told).collect();
    all.extend(registry_families(registry));
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_stands_once_in_order_with_a_sentence() {
        assert!(ABOUT.is_sorted_by(|a, b| a.0 < b.0));
        assert!(ABOUT.iter().all(|(_, help)| help.ends_with('.')));
    }
}
