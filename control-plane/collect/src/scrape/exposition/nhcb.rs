//! Classic histograms as native ones with custom bounds, as `convert_classic_histograms_to_nhcb` asks.

use super::{
    Decoded, Entry, Exemplar, Format, MetricType, Parser,
    decoded::{Forms, Times},
};
use model::{Histogram, Labels, LabelsBuilder, Span, Value, histogram::CUSTOM_BUCKETS_SCHEMA};
use std::sync::Arc;

/// The parts of one classic histogram.
#[derive(Debug, Default)]
pub(super) struct Classic {
    /// Upper bounds and how many observations are not above them.
    pub(super) buckets: Vec<(f64, f64)>,
    pub(super) count: Option<f64>,
    pub(super) sum: f64,
}

impl Classic {
    /// The same as a native histogram, `None` where the parts contradict each other.
    pub(super) fn convert(mut self) -> Option<Histogram> {
        self.buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
        self.buckets.dedup_by(|b, a| a.0 == b.0);
        let count = self.count.or(self.buckets.last().map(|b| b.1))?;
        if self.buckets.last().is_none_or(|b| b.0 != f64::INFINITY) {
            self.buckets.push((f64::INFINITY, count));
        }
        let mut counts = Vec::with_capacity(self.buckets.len());
        let mut below = 0.0;
        for (bound, cumulative) in &self.buckets {
            // A count that falls, is negative or no number makes no histogram.
            if bound.is_nan() || *bound == f64::NEG_INFINITY || cumulative.is_nan() || *cumulative < below {
                return None;
            }
            counts.push(cumulative - below);
            below = *cumulative;
        }
        if below != count {
            return None;
        }
        self.buckets.pop();
        let (spans, positive) = compact(&counts);
        let bounds: Vec<f64> = self.buckets.iter().map(|b| b.0).collect();
        Some(Histogram {
            schema: CUSTOM_BUCKETS_SCHEMA,
            count,
            sum: self.sum,
            positive_spans: spans,
            positive,
            custom_bounds: Some(Arc::from(bounds)),
            ..Histogram::default()
        })
    }
}

/// Empty buckets between others that cost less than another span.
const GAP: usize = 2;

/// Buckets without the empty ones at both ends, and without long runs of them.
fn compact(counts: &[f64]) -> (Vec<Span>, Vec<f64>) {
    let (mut spans, mut kept): (Vec<Span>, Vec<f64>) = (Vec::new(), Vec::new());
    let mut empty = 0;
    for count in counts {
        if *count == 0.0 {
            empty += 1;
            continue;
        }
        let gap = std::mem::take(&mut empty);
        match spans.last_mut() {
            Some(span) if gap <= GAP => {
                kept.extend(std::iter::repeat_n(0.0, gap));
                span.length += u32::try_from(gap + 1).unwrap_or(1);
            }
            _ => spans.push(Span { offset: i32::try_from(gap).unwrap_or(i32::MAX), length: 1 }),
        }
        kept.push(*count);
    }
    (spans, kept)
}

/// One histogram while its lines come.
struct Group {
    labels: Labels,
    classic: Classic,
    times: Times,
    exemplars: Vec<Exemplar>,
}

/// Which part of a histogram a line is.
enum Part {
    Bucket(f64),
    Count,
    Sum,
}

fn part(family: &str, labels: &Labels) -> Option<Part> {
    match labels.metric_name().strip_prefix(family)? {
        "_bucket" => labels.get("le")?.parse().ok().map(Part::Bucket),
        "_count" => Some(Part::Count),
        "_sum" => Some(Part::Sum),
        _ => None,
    }
}

/// Reads a text and puts its classic histograms together.
pub(crate) fn collate(format: Format, body: &[u8], forms: Forms) -> Result<Decoded<'_>, String> {
    let mut parser = Parser::new(format, body);
    let mut out = Decoded::default();
    let mut group: Option<Group> = None;
    while let Some(entry) = parser.next().map_err(|e| e.to_string())? {
        let sample = match entry {
            Entry::Sample(sample) => sample,
            other => {
                out.about.push(other);
                continue;
            }
        };
        let times = Times { at: sample.at, start: parser.start() };
        let exemplars: Vec<Exemplar> = parser.exemplar.take().into_iter().collect();
        let mut found = None;
        if parser.kind() == MetricType::Histogram {
            let mut builder = LabelsBuilder::default();
            parser.labels(&mut builder);
            let labels = builder.build();
            found = part(&parser.family, &labels).map(|part| (part, labels));
        }
        let kept = found.is_none() || forms.classic;
        if let Some((part, labels)) = found {
            let mut own = labels.edit();
            own.set(model::labels::METRIC_NAME, &*parser.family).remove("le");
            let labels = own.build();
            if group.as_ref().is_none_or(|g| g.labels != labels) {
                end(group.take(), &mut out)?;
            }
            let group = group.get_or_insert_with(|| Group {
                labels,
                classic: Classic::default(),
                times,
                exemplars: Vec::new(),
            });
            match part {
                Part::Bucket(bound) => group.classic.buckets.push((bound, sample.value)),
                Part::Count => group.classic.count = Some(sample.value),
                Part::Sum => group.classic.sum = sample.value,
            }
            group.times = Times { at: times.at.or(group.times.at), start: times.start.or(group.times.start) };
            group.exemplars.extend(exemplars.iter().cloned());
        } else {
            end(group.take(), &mut out)?;
        }
        if kept {
            out.push_text(sample.text, parser.kind(), Value::Float(sample.value), times, exemplars)?;
        }
    }
    end(group, &mut out)?;
    Ok(out)
}

fn end(group: Option<Group>, out: &mut Decoded<'_>) -> Result<(), String> {
    let Some(group) = group else { return Ok(()) };
    let Some(histogram) = group.classic.convert() else { return Ok(()) };
    let labels: Vec<(&str, &str)> = group
        .labels
        .iter()
        .filter(|l| &*l.name != model::labels::METRIC_NAME)
        .map(|l| (&*l.name, &*l.value))
        .collect();
    let value = Value::Histogram(Arc::new(histogram));
    let name = (group.labels.metric_name(), "");
    out.push(name, &labels, None, (MetricType::Histogram, value), group.times, group.exemplars)
}

#[cfg(test)]
mod tests;
