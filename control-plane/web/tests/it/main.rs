//! Vigie's web, asked over HTTP by a real client from a real server on a free port.
//!
//! The rooms behind it are the real ones (rules, alerting, budget, state on a temporary disk) over a store in
//! memory; only the collector's view is a list. The clock starts at a fixed time, so answers can be compared.

#![expect(clippy::print_stdout, reason = "a suite says what it counted or skipped")]

mod access;
mod admin;
mod budgets;
mod console;
mod described;
mod explore;
mod load;
mod openapi;
mod otlp;
mod plane;
mod probes;
mod prometheus;
mod remote_write;
mod suites;
