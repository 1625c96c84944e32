//! What the service counts besides its requests. Cost and tokens belong to the budget, and to `llm`.

use prometheus::{IntCounterVec, Opts, Registry};

#[derive(Debug, Clone)]
pub(crate) struct Metrics {
    pub(crate) messages: IntCounterVec,
    pub(crate) rate_limited: IntCounterVec,
}

impl Metrics {
    pub(crate) fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let messages = IntCounterVec::new(
            Opts::new("ai_messages_processed_total", "Messages of learners that were answered."),
            &["language", "level", "type"],
        )?;
        let rate_limited = IntCounterVec::new(
            Opts::new("ai_rate_limit_hits_total", "Calls refused because the user calls too often."),
            &["endpoint"],
        )?;
        registry.register(Box::new(messages.clone()))?;
        registry.register(Box::new(rate_limited.clone()))?;
        Ok(Metrics { messages, rate_limited })
    }
}
