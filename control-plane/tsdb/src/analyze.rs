//! What is in a store: which metrics, labels and pairs of labels have the most series, and which come and go.
//!
//! It reads every sample of the range once, through [`Select`], and keeps a count for each metric, name and pair.

use crate::prometheus::selection::merged;
use model::{Matcher, SampleColumns, Select, SelectError, Timestamp};
use std::{
    cmp::Reverse,
    collections::{HashMap, HashSet},
    sync::Arc,
};

/// A series whose first or last sample is closer to an end of the range than this was there at that end.
const AT_THE_END_MS: i64 = 5 * 60_000;
/// Series between two reports of progress.
const REPORT_EVERY: u64 = 1000;

/// What is wanted.
#[derive(Debug, Clone, Default)]
pub struct Question {
    /// A series that matches one of these counts; none: all series.
    pub selectors: Vec<Vec<Matcher>>,
    /// Both ends inclusive.
    pub from: Timestamp,
    pub to: Timestamp,
    /// How long the lists are.
    pub limit: usize,
}

/// A metric, name or pair.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counted {
    pub name: String,
    pub series: u64,
    pub samples: u64,
    /// Different values of a name; 1 otherwise.
    pub values: u64,
    /// Series that began within the range, and that ended within it.
    pub began: u64,
    pub ended: u64,
}

/// The answer. Lists begin with the largest.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Analysis {
    pub series: u64,
    pub samples: u64,
    pub histograms: u64,
    pub began: u64,
    pub ended: u64,
    /// How many there are of each.
    pub metrics: u64,
    pub names: u64,
    pub pairs: u64,
    /// Metrics by series.
    pub by_metric: Vec<Counted>,
    /// Label names by different values.
    pub by_name: Vec<Counted>,
    /// Pairs of a name and a value by series.
    pub by_pair: Vec<Counted>,
    /// Metrics by series that began or ended.
    pub by_churn: Vec<Counted>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Count {
    series: u64,
    samples: u64,
    began: u64,
    ended: u64,
}

impl Count {
    fn add(&mut self, samples: u64, began: bool, ended: bool) {
        self.series += 1;
        self.samples += samples;
        self.began += u64::from(began);
        self.ended += u64::from(ended);
    }

    fn named(self, name: String, values: u64) -> Counted {
        let Count { series, samples, began, ended } = self;
        Counted { name, series, samples, values, began, ended }
    }
}

/// Reads the range; tells `report` now and then how many series and samples were read.
pub fn analyze(
    select: &dyn Select,
    question: &Question,
    report: &mut dyn FnMut(u64, u64),
) -> Result<Analysis, SelectError> {
    let mut stream = merged(select, &question.selectors, question.from, question.to)?;
    let mut out = Analysis::default();
    let mut metrics: HashMap<Arc<str>, Count> = HashMap::new();
    let mut names: HashMap<Arc<str>, (Count, HashSet<Arc<str>>)> = HashMap::new();
    let mut pairs: HashMap<(Arc<str>, Arc<str>), Count> = HashMap::new();
    let mut columns = SampleColumns::default();
    while let Some(labels) = stream.next(&mut columns)? {
        let samples = columns.len() as u64;
        let began = columns.times.first().is_some_and(|t| t.saturating_sub(question.from) > AT_THE_END_MS);
        let ended = columns.times.last().is_some_and(|t| question.to.saturating_sub(*t) > AT_THE_END_MS);
        out.series += 1;
        out.samples += samples;
        out.histograms += columns.histograms.len() as u64;
        out.began += u64::from(began);
        out.ended += u64::from(ended);
        metrics.entry(Arc::from(labels.metric_name())).or_default().add(samples, began, ended);
        for l in &labels {
            let (count, values) = names.entry(Arc::clone(&l.name)).or_default();
            count.add(samples, began, ended);
            if !values.contains(&l.value) {
                values.insert(Arc::clone(&l.value));
            }
            let pair = (Arc::clone(&l.name), Arc::clone(&l.value));
            pairs.entry(pair).or_default().add(samples, began, ended);
        }
        if out.series.is_multiple_of(REPORT_EVERY) {
            report(out.series, out.samples);
        }
    }
    (out.metrics, out.names, out.pairs) = (metrics.len() as u64, names.len() as u64, pairs.len() as u64);
    let metrics = || metrics.iter().map(|(name, c)| c.named(name.to_string(), 1));
    let names = names.into_iter().map(|(name, (c, values))| c.named(name.to_string(), values.len() as u64));
    let pairs = pairs.into_iter().map(|((name, value), c)| {
        let text = model::Labels::from_pairs([(name, value)]).to_string();
        c.named(text.strip_prefix('{').and_then(|t| t.strip_suffix('}')).unwrap_or(&text).to_owned(), 1)
    });
    out.by_metric = top(question.limit, metrics(), |c| c.series);
    out.by_churn = top(question.limit, metrics().filter(|c| c.began + c.ended > 0), |c| c.began + c.ended);
    out.by_name = top(question.limit, names, |c| c.values);
    out.by_pair = top(question.limit, pairs, |c| c.series);
    Ok(out)
}

/// The largest, by name where they are equal.
fn top(limit: usize, all: impl Iterator<Item = Counted>, by: impl Fn(&Counted) -> u64) -> Vec<Counted> {
    let mut all: Vec<Counted> = all.collect();
    all.sort_by(|a, b| (Reverse(by(a)), &a.name).cmp(&(Reverse(by(b)), &b.name)));
    all.truncate(limit);
    all
}

#[cfg(test)]
mod tests;
