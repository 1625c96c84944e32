//! `load_with_nhcb`: classic histograms as native ones with custom buckets.

use model::{Histogram, Labels, histogram::CUSTOM_BUCKETS_SCHEMA, labels::METRIC_NAME};
use promql::parse::series::{SeriesDescription, SeriesValue};
use std::{collections::BTreeMap, sync::Arc};

/// The series of one classic histogram.
#[derive(Default)]
struct Classic<'a> {
    buckets: Vec<(f64, &'a SeriesDescription)>,
    count: Option<&'a SeriesDescription>,
    sum: Option<&'a SeriesDescription>,
}

pub(crate) fn convert(series: &[SeriesDescription]) -> Vec<SeriesDescription> {
    let mut found: BTreeMap<Labels, Classic<'_>> = BTreeMap::new();
    for s in series {
        let name = s.labels.metric_name();
        let with_name = |base: &str| s.labels.drop(&["le"]).with(METRIC_NAME, base);
        if let Some(base) = name.strip_suffix("_bucket") {
            let le = s.labels.value("le");
            let upper = if le == "+Inf" { Some(f64::INFINITY) } else { le.parse().ok() };
            if let Some(upper) = upper {
                found.entry(with_name(base)).or_default().buckets.push((upper, s));
            }
        } else if let Some(base) = name.strip_suffix("_count") {
            found.entry(with_name(base)).or_default().count = Some(s);
        } else if let Some(base) = name.strip_suffix("_sum") {
            found.entry(with_name(base)).or_default().sum = Some(s);
        }
    }
    found.retain(|_, c| !c.buckets.is_empty());
    found.into_iter().map(|(labels, classic)| native(labels, classic)).collect()
}

fn at(s: Option<&SeriesDescription>, i: usize) -> Option<f64> {
    match s?.values.get(i)? {
        SeriesValue::Float(v) => Some(*v),
        _ => None,
    }
}

fn native(labels: Labels, mut classic: Classic<'_>) -> SeriesDescription {
    classic.buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
    let len = classic.buckets.iter().map(|(_, s)| s.values.len()).max().unwrap_or(0);
    let values = (0..len).map(|i| {
        let mut cumulative: Vec<(f64, f64)> =
            classic.buckets.iter().filter_map(|(upper, s)| Some((*upper, at(Some(s), i)?))).collect();
        if cumulative.is_empty() {
            return SeriesValue::Omitted;
        }
        let last = cumulative[cumulative.len() - 1];
        let count = at(classic.count, i).unwrap_or(last.1);
        if last.0.is_finite() {
            cumulative.push((f64::INFINITY, count));
        }
        let bounds: Vec<f64> = cumulative.iter().map(|(upper, _)| *upper).filter(|u| u.is_finite()).collect();
        let mut before = 0.0;
        let positive: Vec<f64> = cumulative
            .iter()
            .map(|(_, c)| {
                let own = c - before;
                before = *c;
                own
            })
            .collect();
        let length = u32::try_from(positive.len()).expect("few buckets");
        let histogram = Histogram {
            schema: CUSTOM_BUCKETS_SCHEMA,
            count: before,
            sum: at(classic.sum, i).unwrap_or(0.0),
            positive_spans: vec![model::Span { offset: 0, length }],
            positive,
            custom_bounds: Some(bounds.into()),
            ..Histogram::default()
        };
        SeriesValue::Histogram { histogram: Arc::new(histogram), reset_given: false }
    });
    SeriesDescription { labels, is_start_times: false, values: values.collect() }
}
