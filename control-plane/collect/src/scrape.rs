//! Scrapes: asking targets for their metrics, as Prometheus does.
//!
//! From `scrape_configs` come jobs, from jobs targets; a target's text is fetched, read, relabelled and written
//! under one timestamp, with `up` and the `scrape_*` series beside it.

pub(crate) mod client;
pub(crate) mod config;
pub(crate) mod exposition;
pub(crate) mod fetch;
pub(crate) mod ingest;
mod md5;
pub(crate) mod relabel;
pub(crate) mod target;
mod template;
