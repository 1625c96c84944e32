//! What a query gives back.

use crate::{
    engine::{Lease, Steps, date},
    error::Span,
};
use model::{Labels, Timestamp, Value};

/// One series of an instant vector.
#[derive(Debug, Clone, PartialEq)]
pub struct InstantSample {
    pub labels: Labels,
    pub at: Timestamp,
    pub value: Value,
}

/// One series of a matrix; its points ascend by time.
#[derive(Debug, Clone, PartialEq)]
pub struct RangeSeries {
    pub labels: Labels,
    pub points: Vec<(Timestamp, Value)>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum QueryValue {
    Scalar {
        at: Timestamp,
        value: f64,
    },
    String {
        at: Timestamp,
        value: String,
    },
    /// In the order that the query gives (`sort`, `topk`), else in that of the store.
    Vector(Vec<InstantSample>),
    /// Sorted by labels.
    Matrix(Vec<RangeSeries>),
}

impl QueryValue {
    /// The type's name in the HTTP API.
    pub fn type_name(&self) -> &'static str {
        match self {
            QueryValue::Scalar { .. } => "scalar",
            QueryValue::String { .. } => "string",
            QueryValue::Vector(_) => "vector",
            QueryValue::Matrix(_) => "matrix",
        }
    }
}

/// How serious an annotation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    Warning,
    Info,
}

/// A remark about a result that may not be what was meant.
#[derive(Debug, Clone, PartialEq)]
pub struct Annotation {
    pub level: Level,
    /// What it is about.
    pub span: Span,
    message: String,
    /// Where and by how much classic buckets had to be corrected; several of these become one annotation.
    correction: Option<Correction>,
}

/// How far classic buckets were from being cumulative.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Correction {
    pub(crate) from: Timestamp,
    pub(crate) to: Timestamp,
    pub(crate) count: usize,
    pub(crate) lowest: f64,
    pub(crate) highest: f64,
    pub(crate) difference: f64,
}

impl Annotation {
    /// The text as the HTTP API shows it, with line and column in `query`.
    pub fn text(&self, query: &str) -> String {
        let level = match self.level {
            Level::Warning => "PromQL warning",
            Level::Info => "PromQL info",
        };
        let (line, column) = self.span.line_column(query);
        let details = self.correction.map(|c| c.describe()).unwrap_or_default();
        format!("{level}: {}{details} ({line}:{column})", self.message)
    }
}

impl Correction {
    fn describe(&self) -> String {
        format!(
            ", from buckets {} to {}, with a max diff of {}, over {} samples from {} to {}",
            model::number::format(self.lowest),
            model::number::format(self.highest),
            two_digits(self.difference),
            self.count,
            rfc3339(self.from),
            rfc3339(self.to),
        )
    }
}

/// A number with two significant digits, as C's `%.2g`.
fn two_digits(v: f64) -> String {
    let scientific = format!("{v:.1e}");
    let Some((mantissa, exponent)) = scientific.split_once('e') else { return scientific };
    match exponent.parse::<i32>() {
        Ok(e) if !(-4..2).contains(&e) => {
            let sign = if e < 0 { '-' } else { '+' };
            format!("{}e{sign}{:02}", mantissa.trim_end_matches(".0"), e.unsigned_abs())
        }
        _ => scientific.parse::<f64>().map_or(scientific, |v| v.to_string()),
    }
}

/// A number with as many digits as it has, as C's `%g`: with an exponent from a million on, and below 0.0001.
pub(crate) fn general(v: f64) -> String {
    let scientific = format!("{v:e}");
    let parts = scientific.split_once('e').and_then(|(m, e)| Some((m, e.parse::<i32>().ok()?)));
    match parts {
        Some((mantissa, e)) if !(-4..6).contains(&e) => {
            let sign = if e < 0 { '-' } else { '+' };
            format!("{mantissa}e{sign}{:02}", e.unsigned_abs())
        }
        Some(_) => v.to_string(),
        None => model::number::format(v),
    }
}

/// A time to the second, in UTC.
fn rfc3339(at: Timestamp) -> String {
    let seconds = at.div_euclid(1000);
    let (day, second) = (date::day(seconds.div_euclid(86_400)), seconds.rem_euclid(86_400));
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{:04}-{:02}-{:02}T{hour:02}:{minute:02}:{second:02}Z", day.year, day.month, day.day)
}

/// The annotations of one query, each once, in the order in which they came up.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Annotations(Vec<Annotation>);

/// More than this many different ones are not kept: a query over many metrics would repeat itself.
const MAX_ANNOTATIONS: usize = 1000;

impl Annotations {
    pub(crate) fn warn(&mut self, span: Span, message: impl Into<String>) {
        self.add(Level::Warning, span, message.into(), None);
    }

    pub(crate) fn info(&mut self, span: Span, message: impl Into<String>) {
        self.add(Level::Info, span, message.into(), None);
    }

    pub(crate) fn corrected(&mut self, span: Span, message: String, correction: Correction) {
        self.add(Level::Info, span, message, Some(correction));
    }

    fn add(&mut self, level: Level, span: Span, message: String, correction: Option<Correction>) {
        let room = self.0.len() < MAX_ANNOTATIONS;
        let same = self.0.iter_mut().find(|a| a.level == level && a.span == span && a.message == message);
        match (same, correction) {
            (Some(Annotation { correction: Some(old), .. }), Some(new)) => {
                old.from = old.from.min(new.from);
                old.to = old.to.max(new.to);
                old.count += new.count;
                old.lowest = old.lowest.min(new.lowest);
                old.highest = old.highest.max(new.highest);
                old.difference = old.difference.max(new.difference);
            }
            (Some(_), _) => {}
            (None, correction) if room => {
                self.0.push(Annotation { level, span, message, correction });
            }
            (None, _) => {}
        }
    }

    /// Adds those of a part of a query that began at `from`, for the same part where it begins at `to`.
    pub(crate) fn extend_moved(&mut self, others: &Annotations, from: usize, to: usize) {
        let moved = |at: usize| (at + to).saturating_sub(from);
        for a in &others.0 {
            let span = Span::new(moved(a.span.start), moved(a.span.end));
            self.add(a.level, span, a.message.clone(), a.correction);
        }
    }

    pub fn iter(&self) -> std::slice::Iter<'_, Annotation> {
        self.0.iter()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Warnings and infos as the HTTP API shows them, at most `limit` of each (0: all).
    pub fn texts(&self, query: &str, limit: usize) -> (Vec<String>, Vec<String>) {
        let of = |level: Level| {
            let mut texts: Vec<String> =
                self.0.iter().filter(|a| a.level == level).map(|a| a.text(query)).collect();
            let kind = if level == Level::Warning { "warning" } else { "info" };
            if limit > 0 && texts.len() > limit {
                let omitted = texts.len() - limit;
                texts.truncate(limit);
                texts.push(format!("{omitted} more {kind} annotations omitted"));
            }
            texts
        };
        (of(Level::Warning), of(Level::Info))
    }
}

/// What a query cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct QueryStats {
    /// Samples read from the store.
    pub samples_read: usize,
    /// The most samples held at one time.
    pub peak_samples: usize,
    /// The most bytes held at one time, as they are counted.
    pub peak_bytes: usize,
    /// Series read from the store.
    pub series_read: usize,
}

#[derive(Debug)]
pub struct QueryResult {
    pub value: QueryValue,
    pub annotations: Annotations,
    pub stats: QueryStats,
    /// What each step looked at, where that was [asked for](crate::EngineConfig::count_steps).
    pub steps: Option<Steps>,
    /// What it takes of the memory that all queries share.
    pub lease: Lease,
}
