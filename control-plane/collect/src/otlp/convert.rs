//! Points of OpenTelemetry as samples of series.

use super::{
    config::OtlpConfig,
    data::{
        Attribute, Buckets, Exemplar, Kind, Metric, Point, ResourceMetrics, ScopeMetrics, Shape, Temporality,
    },
    name::{LabelNamer, unit_name},
};
use crate::{
    Metadata,
    remote_write::send::encode::{Labelled, Point as Sample},
    scrape::exposition::MetricType,
};
use model::{
    Histogram, Labels, Span, Timestamp, Value, histogram::CUSTOM_BUCKETS_SCHEMA, labels::METRIC_NAME, number,
    stale_nan,
};
use std::{collections::BTreeMap, sync::Arc};

/// The finest and the coarsest resolution that series have.
const MAX_SCALE: i32 = 8;
const MIN_SCALE: i32 = -4;

/// What is nearer to zero counts as zero where a point does not say.
const ZERO_THRESHOLD: f64 = 1e-128;

/// Buckets of one histogram, after which it is refused.
const MOST_BUCKETS: usize = 10_000;

/// Text of labels that a request may come to.
const MOST_LABEL_BYTES: usize = 64 << 20;

/// A gap of so many empty buckets is cheaper written out than as a span of its own.
const SMALL_GAP: usize = 2;

/// Which attributes of resources and scopes become labels of every series. None by default: `target_info` has them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Promotion {
    pub(crate) resource: Vec<String>,
    pub(crate) all_resource: bool,
    pub(crate) ignore_resource: Vec<String>,
    pub(crate) scope: bool,
    pub(crate) labels: LabelNamer,
}

/// What a request comes to.
#[derive(Debug, Default)]
pub(crate) struct Converted {
    pub(crate) series: Vec<Labelled>,
    /// Points that are not taken, and why the first of them is not.
    pub(crate) rejected: u64,
    pub(crate) why: String,
    /// What the labels come to: the buckets of a histogram multiply them.
    label_bytes: usize,
}

impl Converted {
    fn reject(&mut self, points: usize, why: impl FnOnce() -> String) {
        if self.rejected == 0 && points > 0 {
            self.why = why();
        }
        self.rejected += points as u64;
    }
}

pub(crate) fn convert(all: &[ResourceMetrics], config: &OtlpConfig) -> Converted {
    let promotion = &config.promotion;
    let mut out = Converted::default();
    for resource in all {
        let of_resource = resource_labels(&resource.attributes, promotion);
        for scope in &resource.scopes {
            let of_scope = scope_labels(scope, promotion);
            let outer = match (&of_resource, &of_scope) {
                (Ok(resource), Ok(scope)) => (resource, scope),
                (Err(why), _) | (_, Err(why)) => {
                    let points = scope.metrics.iter().map(|m| m.points.len()).sum();
                    out.reject(points, || why.clone());
                    continue;
                }
            };
            for metric in &scope.metrics {
                Of { resource: outer.0, scope: outer.1, metric, config }.convert(&mut out);
            }
        }
        target_info(resource, config, &mut out);
    }
    out
}

fn milliseconds(nanoseconds: u64) -> Timestamp {
    (nanoseconds / 1_000_000).cast_signed()
}

fn attribute<'a>(attributes: &'a [Attribute], name: &str) -> &'a str {
    attributes.iter().find(|(n, _)| n == name).map_or("", |(_, v)| v)
}

/// `job` and `instance` of a resource.
fn identity(attributes: &[Attribute]) -> [(&'static str, String); 2] {
    let get = |name| attribute(attributes, name);
    let (namespace, name) = (get("service.namespace"), get("service.name"));
    let job =
        if namespace.is_empty() || name.is_empty() { name.to_owned() } else { format!("{namespace}/{name}") };
    [("job", job), ("instance", get("service.instance.id").to_owned())]
}

/// Attributes under the names of labels. Those whose names become one have their values joined.
fn translated<'a>(
    attributes: impl IntoIterator<Item = &'a Attribute>,
    namer: LabelNamer,
) -> Result<BTreeMap<String, String>, String> {
    let mut sorted: Vec<&Attribute> = attributes.into_iter().collect();
    sorted.sort();
    let mut out: BTreeMap<String, String> = BTreeMap::new();
    for (name, value) in sorted {
        let value = value.as_str();
        out.entry(namer.name(name)?)
            .and_modify(|all| {
                all.push(';');
                all.push_str(value);
            })
            .or_insert_with(|| value.to_owned());
    }
    Ok(out)
}

/// Labels that all points of a resource or a scope have.
type Outer = BTreeMap<String, String>;

/// What a resource gives its points: first what they may have another value of, then what they may not.
pub(crate) fn resource_labels(attributes: &[Attribute], promotion: &Promotion) -> Result<[Outer; 2], String> {
    let promoted = attributes.iter().filter(|(name, _)| {
        if promotion.all_resource {
            !promotion.ignore_resource.contains(name)
        } else {
            promotion.resource.contains(name)
        }
    });
    let own = identity(attributes).into_iter().filter(|(_, value)| !value.is_empty());
    Ok([translated(promoted, promotion.labels)?, own.map(|(name, value)| (name.to_owned(), value)).collect()])
}

pub(crate) fn scope_labels(scope: &ScopeMetrics, promotion: &Promotion) -> Result<Outer, String> {
    let mut out = Outer::new();
    if promotion.scope {
        let own = [("name", &scope.name), ("version", &scope.version), ("schema_url", &scope.schema_url)];
        for (name, value) in own {
            out.insert(format!("otel_scope_{name}"), value.clone());
        }
        for (name, value) in &scope.attributes {
            out.insert(promotion.labels.name(&format!("otel_scope_{name}"))?, value.clone());
        }
    }
    Ok(out)
}

/// The labels of a point, without a name.
pub(crate) fn labels(
    [promoted, identity]: &[Outer; 2],
    scope: &Outer,
    point: &[Attribute],
    namer: LabelNamer,
) -> Result<Outer, String> {
    // A name of a metric among the attributes is not one.
    let mut out = translated(point.iter().filter(|(name, _)| name != METRIC_NAME), namer)?;
    for (name, value) in promoted {
        out.entry(name.clone()).or_insert_with(|| value.clone());
    }
    for (name, value) in scope.iter().chain(identity) {
        out.insert(name.clone(), value.clone());
    }
    out.retain(|_, value| !value.is_empty());
    Ok(out)
}

/// A metric with what it is in.
struct Of<'a> {
    resource: &'a [Outer; 2],
    scope: &'a Outer,
    metric: &'a Metric,
    config: &'a OtlpConfig,
}

/// Where the series of one point go.
struct Making<'a> {
    labels: BTreeMap<String, String>,
    point: &'a Point,
    about: Arc<Metadata>,
    out: Vec<Labelled>,
}

impl Of<'_> {
    fn kind(&self) -> MetricType {
        match self.metric.shape {
            Shape::Sum if self.metric.monotonic => MetricType::Counter,
            Shape::Gauge | Shape::Sum => MetricType::Gauge,
            Shape::Histogram | Shape::Exponential => MetricType::Histogram,
            Shape::Summary => MetricType::Summary,
            Shape::None => MetricType::Unknown,
        }
    }

    fn convert(&self, out: &mut Converted) {
        let Metric { name, points, shape, temporality, .. } = self.metric;
        let counts = matches!(shape, Shape::Sum | Shape::Histogram | Shape::Exponential);
        if counts && *temporality != Temporality::Cumulative {
            out.reject(points.len(), || {
                format!("metric {name:?} tells differences, which series do not: export it with cumulative temporality")
            });
            return;
        }
        let suffix = match (shape, self.kind()) {
            (_, MetricType::Counter) => Kind::Counter,
            (Shape::Gauge, _) => Kind::Gauge,
            _ => Kind::Other,
        };
        let named = match self.config.metrics.name(name, &self.metric.unit, suffix) {
            Ok(named) => named,
            Err(why) => return out.reject(points.len(), || why),
        };
        let about = Arc::new(Metadata {
            kind: self.kind(),
            help: self.metric.description.clone(),
            unit: unit_name(&self.metric.unit),
        });
        for point in points {
            let labels = labels(self.resource, self.scope, &point.attributes, self.config.promotion.labels);
            let made = labels.and_then(|labels| {
                let bytes: usize = labels.iter().map(|(name, value)| name.len() + value.len()).sum();
                let series = point.bucket_counts.len() + point.quantiles.len() + 3;
                out.label_bytes = out.label_bytes.saturating_add(bytes.saturating_mul(series));
                if out.label_bytes > MOST_LABEL_BYTES {
                    return Err(format!(
                        "the labels of all series together take more than {} MiB: send fewer points at a time",
                        MOST_LABEL_BYTES >> 20
                    ));
                }
                let mut to = Making { labels, point, about: Arc::clone(&about), out: Vec::new() };
                match shape {
                    Shape::Gauge | Shape::Sum => to.put(&named, "", None, point.value),
                    Shape::Histogram if self.config.custom_buckets => to.custom(&named)?,
                    Shape::Histogram => to.classic(&named)?,
                    Shape::Exponential => to.native(&named)?,
                    Shape::Summary => to.summary(&named),
                    Shape::None => {}
                }
                Ok(to.out)
            });
            match made {
                Ok(series) => out.series.extend(series),
                Err(why) => out.reject(1, || format!("metric {name:?}: {why}")),
            }
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts below 2^53 are exact, as in every float histogram")]
fn float(count: u64) -> f64 {
    count as f64
}

impl Making<'_> {
    /// Whether the point says that there is no value any more.
    fn ended(&self) -> bool {
        self.point.flags & 1 == 1
    }

    fn push(&mut self, name: &str, more: Option<(&str, String)>, value: Value) {
        let mut labels = self.labels.clone();
        labels.insert(METRIC_NAME.to_owned(), name.to_owned());
        if let Some((name, value)) = more {
            labels.insert(name.to_owned(), value);
        }
        let at = milliseconds(self.point.at);
        let start = Some(milliseconds(self.point.start)).filter(|s| *s > 0 && *s < at);
        self.out.push(Labelled {
            labels: Labels::from_pairs(labels),
            about: Some(Arc::clone(&self.about)),
            point: Sample { at, start, value },
            exemplars: Vec::new(),
        });
    }

    fn put(&mut self, name: &str, suffix: &str, more: Option<(&str, String)>, v: f64) {
        let v = if self.ended() { stale_nan() } else { v };
        let plain = suffix.is_empty() && more.is_none();
        self.push(&format!("{name}{suffix}"), more, Value::Float(v));
        if plain && let Some(one) = self.out.last_mut() {
            one.exemplars = self.point.exemplars.iter().map(exemplar).collect();
        }
    }

    fn sum_and_count(&mut self, name: &str) {
        if let Some(sum) = self.point.sum {
            self.put(name, "_sum", None, sum);
        }
        self.put(name, "_count", None, float(self.point.count));
    }

    fn summary(&mut self, name: &str) {
        self.sum_and_count(name);
        for (quantile, v) in &self.point.quantiles {
            self.put(name, "", Some(("quantile", number::format(*quantile))), *v);
        }
    }

    /// Makes sure that the buckets of a histogram with bounds of its own are as many as those make.
    fn bounded(&self) -> Result<(), String> {
        let Point { bounds, bucket_counts, .. } = self.point;
        if !bucket_counts.is_empty() && bucket_counts.len() != bounds.len() + 1 {
            return Err(format!(
                "a histogram has {} buckets and {} bounds",
                bucket_counts.len(),
                bounds.len()
            ));
        }
        if bounds.len() > MOST_BUCKETS {
            return Err(format!("a histogram has more than {MOST_BUCKETS} buckets"));
        }
        Ok(())
    }

    /// A histogram with bounds of its own: a series for each bucket.
    fn classic(&mut self, name: &str) -> Result<(), String> {
        let Point { bounds, bucket_counts, count, .. } = self.point;
        self.bounded()?;
        self.sum_and_count(name);
        let mut exemplars: Vec<&Exemplar> = self.point.exemplars.iter().collect();
        exemplars.sort_by(|a, b| a.value.total_cmp(&b.value));
        let mut exemplars = exemplars.as_slice();
        let mut so_far = 0u64;
        // Without counts the bounds say nothing.
        for (bound, in_bucket) in bounds.iter().zip(bucket_counts) {
            so_far = so_far.saturating_add(*in_bucket);
            let within = exemplars.partition_point(|e| e.value <= *bound);
            let (within, beyond) = exemplars.split_at(within);
            self.bucket(name, *bound, so_far, within);
            exemplars = beyond;
        }
        self.bucket(name, f64::INFINITY, *count, exemplars);
        Ok(())
    }

    fn bucket(&mut self, name: &str, bound: f64, so_far: u64, within: &[&Exemplar]) {
        self.put(name, "_bucket", Some(("le", number::format(bound))), float(so_far));
        if let Some(one) = self.out.last_mut() {
            one.exemplars = within.iter().map(|e| exemplar(e)).collect();
        }
    }

    /// A histogram with bounds of its own: one series of native histograms that have them.
    fn custom(&mut self, name: &str) -> Result<(), String> {
        let Point { bounds, bucket_counts, .. } = self.point;
        self.bounded()?;
        // That of the last bucket goes without saying.
        if !bounds.iter().is_sorted_by(|a, b| a < b) || !bounds.iter().all(|b| b.is_finite()) {
            return Err("a histogram's bounds are no numbers that ascend".to_owned());
        }
        let mut histogram = Histogram {
            schema: CUSTOM_BUCKETS_SCHEMA,
            custom_bounds: Some(bounds.as_slice().into()),
            sum: stale_nan(),
            ..Histogram::default()
        };
        if !self.ended() {
            let length = u32::try_from(bucket_counts.len()).unwrap_or(u32::MAX);
            histogram.positive_spans = if length > 0 { vec![Span { offset: 0, length }] } else { Vec::new() };
            histogram.positive = bucket_counts.iter().map(|count| float(*count)).collect();
            histogram.count = float(self.point.count);
            histogram.sum = self.point.sum.unwrap_or_default();
        }
        self.native_point(name, histogram);
        Ok(())
    }

    fn native_point(&mut self, name: &str, histogram: Histogram) {
        self.push(name, None, Value::Histogram(Arc::new(histogram)));
        if let Some(one) = self.out.last_mut() {
            one.exemplars = self.point.exemplars.iter().map(exemplar).collect();
        }
    }

    /// An exponential histogram: one series of native histograms.
    fn native(&mut self, name: &str) -> Result<(), String> {
        let point = self.point;
        if point.scale < MIN_SCALE {
            return Err(format!(
                "a histogram has scale {}, and {MIN_SCALE} is the coarsest that is taken",
                point.scale
            ));
        }
        if self.ended() {
            let ended = Histogram { sum: stale_nan(), ..Histogram::default() };
            self.push(name, None, Value::Histogram(Arc::new(ended)));
            return Ok(());
        }
        let finer = point.scale.saturating_sub(MAX_SCALE).max(0);
        let (positive_spans, positive) = spans(&point.positive, finer)?;
        let (negative_spans, negative) = spans(&point.negative, finer)?;
        let histogram = Histogram {
            schema: point.scale.min(MAX_SCALE),
            zero_threshold: if point.zero_threshold > 0.0 { point.zero_threshold } else { ZERO_THRESHOLD },
            zero_count: float(point.zero_count),
            count: float(point.count),
            sum: point.sum.unwrap_or_default(),
            positive_spans,
            positive,
            negative_spans,
            negative,
            ..Histogram::default()
        };
        self.native_point(name, histogram);
        Ok(())
    }
}

/// Buckets as spans, `finer` halvings of the resolution coarser. A bucket has the index of its upper bound here,
/// and of its lower bound there.
fn spans(buckets: &Buckets, finer: i32) -> Result<(Vec<Span>, Vec<f64>), String> {
    let mut merged: BTreeMap<i64, u64> = BTreeMap::new();
    for (i, count) in (i64::from(buckets.offset)..).zip(&buckets.counts).filter(|(_, count)| **count > 0) {
        let index = (i >> finer.min(62)) + 1;
        let all = merged.entry(index).or_default();
        *all = all.saturating_add(*count);
    }
    if merged.len() > MOST_BUCKETS {
        return Err(format!("a histogram has more than {MOST_BUCKETS} buckets"));
    }
    let (mut spans, mut counts): (Vec<Span>, Vec<f64>) = (Vec::new(), Vec::new());
    // The index behind the last bucket.
    let mut behind = 0i64;
    for (index, count) in merged {
        let gap = index - behind;
        let small = usize::try_from(gap).is_ok_and(|gap| gap <= SMALL_GAP);
        match spans.last_mut() {
            Some(span) if small => {
                counts.extend((0..gap).map(|_| 0.0));
                span.length = u32::try_from(i64::from(span.length) + gap + 1).unwrap_or(u32::MAX);
            }
            _ => {
                let offset = i32::try_from(gap).map_err(|_| "a histogram has a bucket beyond all numbers")?;
                spans.push(Span { offset, length: 1 });
            }
        }
        counts.push(float(count));
        behind = index + 1;
    }
    Ok((spans, counts))
}

fn exemplar(e: &Exemplar) -> model::Exemplar {
    let own = [("trace_id", &e.trace_id), ("span_id", &e.span_id)];
    let own = own.into_iter().filter(|(_, v)| !v.is_empty()).map(|(n, v)| (n.to_owned(), v.clone()));
    let others = translated(&e.attributes, LabelNamer::default()).unwrap_or_default();
    let labels = Labels::from_pairs(others.into_iter().chain(own));
    model::Exemplar { labels, value: e.value, at: milliseconds(e.at) }
}

/// What is known about a resource beside its name, as a series that queries can join.
fn target_info(resource: &ResourceMetrics, config: &OtlpConfig, out: &mut Converted) {
    const IDENTITY: [&str; 3] = ["service.namespace", "service.name", "service.instance.id"];
    let points = resource.scopes.iter().flat_map(|s| &s.metrics).flat_map(|m| &m.points);
    let Some(newest) = points.map(|p| p.at).max() else { return };
    let shown = |name: &str| config.keep_identifying || !IDENTITY.contains(&name);
    let others = resource.attributes.iter().filter(|(name, _)| shown(name));
    let Ok(mut labels) = translated(others, config.promotion.labels) else { return };
    labels.retain(|_, value| !value.is_empty());
    let identity: Vec<_> =
        identity(&resource.attributes).into_iter().filter(|(_, v)| !v.is_empty()).collect();
    if labels.is_empty() || identity.is_empty() {
        return;
    }
    labels.extend(identity.into_iter().map(|(name, value)| (name.to_owned(), value)));
    labels.insert(METRIC_NAME.to_owned(), "target_info".to_owned());
    let about = Metadata { kind: MetricType::Gauge, help: "Target metadata".to_owned(), unit: String::new() };
    out.series.push(Labelled {
        labels: Labels::from_pairs(labels),
        about: Some(Arc::new(about)),
        point: Sample { at: milliseconds(newest), start: None, value: Value::Float(1.0) },
        exemplars: Vec::new(),
    });
}
