//! Alerts on their way from rules to people.

use crate::{labels::Labels, sample::Timestamp};

/// One alert as rules hand it over. Its labels, `alertname` among them, are its identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alert {
    pub labels: Labels,
    pub annotations: Labels,
    pub starts_at: Timestamp,
    /// When the alert ended, or, while it fires, until when it counts as firing if nobody says it again.
    /// `None` means: firing, and said again at every evaluation.
    pub ends_at: Option<Timestamp>,
    /// Where the expression behind it can be looked at; empty when nowhere.
    pub generator_url: String,
}

impl Alert {
    pub fn is_resolved_at(&self, now: Timestamp) -> bool {
        self.ends_at.is_some_and(|end| end <= now)
    }

    /// The fingerprint under which messages carry it, as 16 hexadecimal digits.
    pub fn fingerprint(&self) -> String {
        format!("{:016x}", self.labels.stable_hash())
    }
}

/// Alerts could not be taken over; the same ones come again at the next evaluation.
#[derive(Debug, thiserror::Error)]
#[error("alerts were not accepted: {reason}")]
pub struct SinkError {
    pub reason: String,
}

/// Where rules hand their alerts. After `Ok` the sink answers for them: they are on its disk.
///
/// At every evaluation a rule hands over **all** its active alerts, and those resolved ones that were not yet
/// accepted, so a crash between the two sides heals by itself. Blocking: call it from a thread that may block.
pub trait AlertSink: Send + Sync + std::fmt::Debug {
    fn accept(&self, now: Timestamp, alerts: &[Alert]) -> Result<(), SinkError>;
}
