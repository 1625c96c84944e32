//! The control plane, put together: configuration as one value, rooms wired, reload all or nothing, an end in
//! order. The binary and `penpal` both start it through [`Vigie::start`].
//!
//! It holds no logic of its own: what it knows is who needs what, and in which order things begin and end.

mod about;
pub mod commands;
pub mod loaded;
mod observed;
pub mod options;
mod own_series;
pub mod plane;
mod prometheus_config;
mod shown_config;

pub use loaded::Loaded;
pub use options::Options;
pub use plane::Vigie;
pub use shown_config::ShownConfig;

pub const VERSION: &str = env!("CARGO_PKG_VERSION");
pub const NAME: &str = "vigie";
