//! Samples coming in: scrapes of targets, probes of services, the host, Vigie itself, and what others push.
//!
//! [`CollectConfig`] is built whole from the files of `probes/`, or refused with every problem;
//! [`Collector`] runs it, takes another one over while it runs, and shows how it goes. Samples go to
//! [`model::Append`], all of one run under one time. It decides nothing: whether a failing probe matters is for
//! rules to say.
//!
//! Invariants: the n-th run of a target is at its start plus n intervals; no target waits for another; a scrape
//! is taken whole or not at all; a target that is gone ends with staleness markers, a stop of the process does
//! not.

mod collector;
mod config;
mod discovery;
mod expand;
#[doc(hidden)]
pub mod fuzzing;
mod host;
pub mod otlp;
mod probe;
mod recorder;
pub mod remote_read;
pub mod remote_write;
mod schedule;
mod scrape;
mod self_;
#[cfg(test)]
mod testing;
mod tls;

pub use collector::{CollectDeps, Collector, Health, ProbeStatus, Snapshot, Stats, TargetStatus};
pub use config::{CollectConfig, CollectFiles, Dropped, File};
pub use probe::{
    config::ProbeDefaults,
    heartbeat::{Beat, BeatError},
};
pub use scrape::{
    config::parse_bytes,
    exposition::MetricType,
    ingest::{Families, Metadata},
    relabel::{RelabelRule, RelabelStep},
};
pub use self_::{SelfSource, registry_families, tsdb_source};
