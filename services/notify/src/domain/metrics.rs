//! What notify counts.

use prometheus::{IntCounterVec, Opts, Registry};

#[derive(Debug, Clone)]
pub(crate) struct Metrics {
    mails: IntCounterVec,
}

impl Metrics {
    pub(crate) fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let opts = Opts::new("penpal_mails_total", "Mail to learners, by template and what became of it.");
        let mails = IntCounterVec::new(opts, &["template", "result"])?;
        registry.register(Box::new(mails.clone()))?;
        Ok(Metrics { mails })
    }

    pub(crate) fn mail(&self, template: &str, result: &str) {
        self.mails.with_label_values(&[template, result]).inc();
    }
}
