//! What auth counts. The counters stand at zero, truly, until there is a login that can fail.

use prometheus::{IntCounter, Registry};

/// Counters that dashboards and alerts read, under the names that the platform's documents give them.
const COUNTERS: [(&str, &str); 2] = [
    ("penpal_auth_failed_attempts_total", "Logins that were refused."),
    ("penpal_rate_limit_exceeded_total", "Calls refused because somebody calls too often."),
];

pub(crate) fn register_metrics(registry: &Registry) -> Result<(), prometheus::Error> {
    for (name, help) in COUNTERS {
        registry.register(Box::new(IntCounter::new(name, help)?))?;
    }
    Ok(())
}
