//! How a process of the platform boots, configures itself, authenticates, serves, reports errors, traces and
//! stops. Used by every service and by the control plane; it knows none of them.
//!
//! A binary's `main` is one call of [`boot::main`]. It is given its [`settings::Settings`], a [`clock::Clock`],
//! and [`tasks::Tasks`] to run its loops in; it builds an [`http::Service`] and serves it until the process is
//! told to stop.

pub mod boot;
pub mod client;
pub mod clock;
pub mod files;
pub mod http;
pub mod metrics;
pub mod problem;
pub mod program;
pub mod secret;
pub mod settings;
pub mod tasks;
pub mod telemetry;
pub mod yaml;
