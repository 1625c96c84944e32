//! From firing to delivered: alerts are taken over from rules, routed, grouped, inhibited, and told to people
//! until each receiver has taken them.
//!
//! [`config`] is `alerts/routing.yaml` (Alertmanager's format). [`core`] decides, as plain data with time as an
//! argument: which group is due, what each integration must still be told. [`engine`] runs it: records, sends,
//! retries. [`receivers`] speak to e-mail, Slack and webhooks.
//!
//! A page is never lost: an alert is on disk before `accept` answers; a message is recorded as delivered only
//! after its receiver took it; whatever is not recorded is sent again, under the same key.

pub mod config;
pub mod core;
pub mod engine;
pub mod message;
pub mod receivers;

pub use config::{Overrides, RoutingConfig};
pub use engine::Alerting;
