//! Mail, apart from HTTP.

mod mailer;
mod metrics;
mod welcome;

pub(crate) use mailer::{Delivery, Mail, MailError, Mailer};
pub(crate) use metrics::Metrics;
pub(crate) use welcome::Welcome;
