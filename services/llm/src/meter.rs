//! What calls cost in tokens and time: OpenTelemetry's client metrics for generative AI, in Prometheus's form.
//!
//! Names, labels and bucket bounds follow the semantic conventions (`gen_ai.client.token.usage`,
//! `gen_ai.client.operation.duration`), plus `service`.

use crate::Usage;
use prometheus::{HistogramOpts, HistogramVec, Registry};
use std::time::Duration;

const TOKEN_BUCKETS: [f64; 14] = [
    1.0,
    4.0,
    16.0,
    64.0,
    256.0,
    1024.0,
    4096.0,
    16_384.0,
    65_536.0,
    262_144.0,
    1_048_576.0,
    4_194_304.0,
    16_777_216.0,
    67_108_864.0,
];

const DURATION_BUCKETS: [f64; 14] =
    [0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92];

/// The metrics of one service.
#[derive(Debug, Clone)]
pub(crate) struct Meter {
    service: String,
    tokens: HistogramVec,
    durations: HistogramVec,
}

impl Meter {
    pub(crate) fn register(registry: &Registry, service: &str) -> Result<Self, prometheus::Error> {
        let common = ["service", "gen_ai_operation_name", "gen_ai_provider_name", "gen_ai_request_model"];
        let tokens = HistogramVec::new(
            HistogramOpts::new("gen_ai_client_token_usage", "Tokens of one AI call.")
                .buckets(TOKEN_BUCKETS.to_vec()),
            &[&common[..], &["gen_ai_response_model", "gen_ai_token_type"]].concat(),
        )?;
        let durations = HistogramVec::new(
            HistogramOpts::new("gen_ai_client_operation_duration_seconds", "Time of one AI call.")
                .buckets(DURATION_BUCKETS.to_vec()),
            &[&common[..], &["gen_ai_response_model", "error_type"]].concat(),
        )?;
        registry.register(Box::new(tokens.clone()))?;
        registry.register(Box::new(durations.clone()))?;
        Ok(Meter { service: service.to_owned(), tokens, durations })
    }

    /// A call that was answered.
    pub(crate) fn answered(
        &self,
        provider: &str,
        asked: &str,
        answered: &str,
        usage: &Usage,
        took: Duration,
    ) {
        let labels = [self.service.as_str(), "chat", provider, asked, answered];
        for (kind, tokens) in [("input", usage.all_input()), ("output", usage.all_output())] {
            #[expect(clippy::cast_precision_loss, reason = "a histogram holds floats")]
            let tokens = tokens as f64;
            self.tokens.with_label_values(&[&labels[..], &[kind]].concat()).observe(tokens);
        }
        self.durations.with_label_values(&[&labels[..], &[""]].concat()).observe(took.as_secs_f64());
    }

    /// A call that failed; `error` is one of a few words.
    pub(crate) fn failed(&self, provider: &str, asked: &str, error: &str, took: Duration) {
        let labels = [self.service.as_str(), "chat", provider, asked, "", error];
        self.durations.with_label_values(&labels).observe(took.as_secs_f64());
    }
}
