//! What is sold, and what is counted about it.

use prometheus::{IntCounterVec, Opts, Registry};
use serde_json::{Value, json};

/// The plans. Amounts in cents.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plans {
    trial_days: u32,
}

const MONTHLY_CENTS: u32 = 2000;
const YEARLY_CENTS: u32 = 20_000;

impl Plans {
    pub(crate) fn new(trial_days: u32) -> Self {
        Plans { trial_days }
    }

    pub(crate) fn shown(self) -> Value {
        json!({
            "currency": "eur",
            "trialDays": self.trial_days,
            "trialNeedsCard": false,
            "plans": [
                {"plan": "monthly", "amount": MONTHLY_CENTS, "every": "month"},
                {"plan": "yearly", "amount": YEARLY_CENTS, "every": "year",
                 "saves": 12 * MONTHLY_CENTS - YEARLY_CENTS},
            ],
            "checkout": "not available in this version",
        })
    }
}

/// Registers what dashboards read. There is no series before there is a payment.
pub(crate) fn register_metrics(registry: &Registry) -> Result<(), prometheus::Error> {
    let opts = Opts::new("penpal_payments_total", "Payments by outcome and size.");
    registry.register(Box::new(IntCounterVec::new(opts, &["status", "amount_range"])?))
}
