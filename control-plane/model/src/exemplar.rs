//! Exemplars: single observations that stand beside a series, most often with the trace that made them.

use crate::{labels::Labels, matcher::Matcher, sample::Timestamp};

/// One observation of a series, with labels of its own.
#[derive(Debug, Clone, PartialEq)]
pub struct Exemplar {
    pub labels: Labels,
    pub value: f64,
    pub at: Timestamp,
}

/// Why an exemplar was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum ExemplarReject {
    #[error("the exemplar is older than the newest one of its series")]
    OutOfOrder,
    #[error("the exemplar's labels are too long")]
    LabelsTooLong,
}

/// Where exemplars go.
pub trait ExemplarSink: Send + Sync + std::fmt::Debug {
    /// Takes one exemplar of the series with these labels. One that is there already is taken too.
    fn add(&self, series: &Labels, exemplar: Exemplar) -> Result<(), ExemplarReject>;
}

/// Takes every exemplar and keeps none: for a process that has no room for them. To whoever brings one it is
/// accepted, as a refusal would make him send, or count as lost, what he can do nothing about.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoExemplars;

impl ExemplarSink for NoExemplars {
    fn add(&self, _: &Labels, _: Exemplar) -> Result<(), ExemplarReject> {
        Ok(())
    }
}

/// Where exemplars come from.
pub trait ExemplarSelect: Send + Sync + std::fmt::Debug {
    /// Exemplars from `start` to `end`, both inclusive, of the series that match all matchers of any set: series
    /// by their labels, exemplars by their time.
    fn exemplars(
        &self,
        sets: &[Vec<Matcher>],
        start: Timestamp,
        end: Timestamp,
    ) -> Vec<(Labels, Vec<Exemplar>)>;
}

impl ExemplarSelect for NoExemplars {
    fn exemplars(&self, _: &[Vec<Matcher>], _: Timestamp, _: Timestamp) -> Vec<(Labels, Vec<Exemplar>)> {
        Vec::new()
    }
}
