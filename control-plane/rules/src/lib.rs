//! Recording and alerting rules: Prometheus's rule files, evaluated on time, handed over to an [`model::AlertSink`].
//!
//! [`config`] reads rule files; [`group`] evaluates one group at one time, [`alert`] being the life of an alert;
//! [`manager`] runs the groups, keeps alert state on disk and goes on from it; [`unittest`] runs the files that
//! `promtool test rules` reads.
//!
//! A failed evaluation never resolves an alert, nor does a restart before the targets have been seen again. A
//! change of alert state is on disk before it is handed over.

pub mod alert;
pub mod config;
pub mod group;
pub mod manager;
pub mod unittest;

pub use config::{GroupConfig, RuleConfig, RuleFile, RuleKind};
pub use manager::{Globals, GroupView, RuleView, Rules, RulesDeps};
