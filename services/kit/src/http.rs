//! How a service answers: one middleware around all routes, one error body, health, metrics, authentication,
//! and a server that drains before it stops.

mod auth;
mod error;
mod health;
mod json;
mod layer;
mod serve;
mod service;

pub use auth::{Caller, ServiceAuth};
pub use error::ApiError;
pub use health::{DependencyReport, Health, HealthReport};
pub use json::{Json, Query};
pub use layer::{RequestId, Routine};
pub use serve::{Bind, Server, bind};
pub use service::{Limits, Service};

#[cfg(test)]
mod tests;
