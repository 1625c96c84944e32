//! `application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited`.
//!
//! Read in place, with the types of <https://github.com/prometheus/client_model>. A histogram gives its native
//! form, its classic series, or both, as [`Forms`] asks.

use super::{
    Decoded, Entry, Exemplar, MetricType, NAN,
    decoded::{Forms, Times},
    nhcb::Classic,
};
use crate::remote_write::{
    histogram::{Count, Side, assemble, span},
    wire::{Kind, Malformed, Wire},
};
use model::{CounterReset, Histogram, Labels, Timestamp, Value};
use std::{borrow::Cow, collections::HashSet, sync::Arc};

/// Buckets and spans of all native histograms of one body, at most.
const MAX_BUCKETS: usize = 4_000_000;
/// Bytes of one histogram, at most.
const MAX_HISTOGRAM: usize = 8 << 20;

/// Why a body is not taken.
#[derive(Debug)]
enum Fault {
    Wire(Malformed),
    Other(String),
}

impl From<Malformed> for Fault {
    fn from(e: Malformed) -> Fault {
        Fault::Wire(e)
    }
}

impl From<String> for Fault {
    fn from(e: String) -> Fault {
        Fault::Other(e)
    }
}

/// A family, as far as all of its metrics share it.
struct Family<'a> {
    name: &'a str,
    kind: MetricType,
}

/// One metric: what all of its series share.
struct Metric<'a> {
    labels: Vec<(&'a str, &'a str)>,
    at: Option<Timestamp>,
    value: Option<Wire<'a>>,
}

/// Reads a body.
///
/// # Errors
/// A sentence: the bytes are no such messages, or say what cannot be.
pub(crate) fn decode(body: &[u8], forms: Forms) -> Result<Decoded<'_>, String> {
    let mut reader = Reader { out: Decoded::default(), forms, buckets: 0 };
    let mut w = Wire::new(body);
    let mut read = || {
        while !w.is_empty() {
            let family = w.nested()?;
            reader.family(family)?;
        }
        Ok(())
    };
    match read() {
        Ok(()) => Ok(reader.out),
        Err(Fault::Wire(e)) => Err(e.to_string()),
        Err(Fault::Other(e)) => Err(e),
    }
}

struct Reader<'a> {
    out: Decoded<'a>,
    forms: Forms,
    buckets: usize,
}

fn text<'a>(w: &mut Wire<'a>) -> Result<&'a str, Fault> {
    let bytes = w.nested()?.bytes();
    std::str::from_utf8(bytes).map_err(|_| Fault::Other("a text is not UTF-8".to_owned()))
}

impl<'a> Reader<'a> {
    fn family(&mut self, all: Wire<'a>) -> Result<(), Fault> {
        let (mut name, mut help, mut unit, mut kind) = ("", "", "", 0);
        let mut w = all;
        while let Some(tag) = w.tag()? {
            match (tag.field, tag.kind) {
                (1, Kind::Bytes) => name = text(&mut w)?,
                (2, Kind::Bytes) => help = text(&mut w)?,
                (3, Kind::Varint) => kind = w.varint()?,
                (5, Kind::Bytes) => unit = text(&mut w)?,
                (1..=5, k) if (tag.field, k) != (4, Kind::Bytes) => return Err(w.wrong_kind().into()),
                (_, kind) => w.skip(kind)?,
            }
        }
        if name.is_empty() {
            return Err("a family has no name".to_owned().into());
        }
        let kind = match kind {
            0 => MetricType::Counter,
            1 => MetricType::Gauge,
            2 => MetricType::Summary,
            3 => MetricType::Unknown,
            4 => MetricType::Histogram,
            5 => MetricType::GaugeHistogram,
            other => return Err(format!("family {name:?} is of type {other}, which is not known").into()),
        };
        if !unit.is_empty() && !name.strip_suffix(unit).is_some_and(|p| p.ends_with('_')) {
            return Err(format!("unit {unit:?} is not the ending of {name:?}").into());
        }
        let family = Cow::Borrowed(name);
        self.out.about.push(Entry::Help { family: family.clone(), text: Cow::Borrowed(help) });
        self.out.about.push(Entry::Type { family: family.clone(), kind });
        if !unit.is_empty() {
            self.out.about.push(Entry::Unit { family, unit });
        }
        let mut w = all;
        while let Some(tag) = w.tag()? {
            if tag.field == 4 {
                let metric = w.nested()?;
                self.metric(&Family { name, kind }, metric)?;
            } else {
                w.skip(tag.kind)?;
            }
        }
        Ok(())
    }

    fn metric(&mut self, family: &Family<'a>, mut w: Wire<'a>) -> Result<(), Fault> {
        let wanted = match family.kind {
            MetricType::Gauge => 2,
            MetricType::Counter => 3,
            MetricType::Summary => 4,
            MetricType::Histogram | MetricType::GaugeHistogram => 7,
            _ => 5,
        };
        let mut metric = Metric { labels: Vec::new(), at: None, value: None };
        while let Some(tag) = w.tag()? {
            match (tag.field, tag.kind) {
                (1, Kind::Bytes) => metric.labels.push(pair(w.nested()?)?),
                (6, Kind::Varint) => metric.at = Some(w.int64()?).filter(|at| *at != 0),
                (field, Kind::Bytes) if field == wanted => metric.value = Some(w.nested()?),
                (1..=7, k) if k != Kind::Bytes || tag.field == 6 => return Err(w.wrong_kind().into()),
                (_, kind) => w.skip(kind)?,
            }
        }
        check_labels(family, &metric.labels)?;
        let Some(value) = metric.value else {
            return Err(format!("a metric of {:?} has no value of its type", family.name).into());
        };
        match family.kind {
            MetricType::Summary => self.summary(family, &metric, value),
            MetricType::Histogram | MetricType::GaugeHistogram => self.histogram(family, &metric, value),
            _ => self.number(family, &metric, value),
        }
    }

    /// A counter, a gauge, or a number of no type.
    fn number(&mut self, family: &Family<'a>, metric: &Metric<'a>, mut w: Wire<'a>) -> Result<(), Fault> {
        let (mut value, mut exemplars, mut start) = (0.0, Vec::new(), None);
        let counter = family.kind == MetricType::Counter;
        while let Some(tag) = w.tag()? {
            match (tag.field, tag.kind) {
                (1, Kind::Fixed64) => value = float(w.double()?),
                (2, Kind::Bytes) if counter => exemplars = vec![exemplar(w.nested()?)?],
                (3, Kind::Bytes) if counter => start = timestamp(w.nested()?)?,
                (_, kind) => w.skip(kind)?,
            }
        }
        let (times, value) = (Times { at: metric.at, start }, Value::Float(value));
        self.out.push((family.name, ""), &metric.labels, None, (family.kind, value), times, exemplars)?;
        Ok(())
    }

    fn summary(&mut self, family: &Family<'a>, metric: &Metric<'a>, mut w: Wire<'a>) -> Result<(), Fault> {
        let (mut count, mut sum, mut quantiles, mut start) = (0, 0.0, Vec::new(), None);
        while let Some(tag) = w.tag()? {
            match (tag.field, tag.kind) {
                (1, Kind::Varint) => count = w.varint()?,
                (2, Kind::Fixed64) => sum = float(w.double()?),
                (3, Kind::Bytes) => {
                    let (mut q, mut at, mut value) = (w.nested()?, 0.0, 0.0);
                    while let Some(tag) = q.tag()? {
                        match (tag.field, tag.kind) {
                            (1, Kind::Fixed64) => at = q.double()?,
                            (2, Kind::Fixed64) => value = float(q.double()?),
                            (_, kind) => q.skip(kind)?,
                        }
                    }
                    quantiles.push((at, value));
                }
                (4, Kind::Bytes) => start = timestamp(w.nested()?)?,
                (_, kind) => w.skip(kind)?,
            }
        }
        let times = Times { at: metric.at, start };
        let count = Count::Integer(count).float();
        for (ending, value) in [("_count", count), ("_sum", sum)] {
            let of = (family.kind, Value::Float(value));
            self.out.push((family.name, ending), &metric.labels, None, of, times, Vec::new())?;
        }
        for (quantile, value) in quantiles {
            let (quantile, of) = (model::number::format(quantile), (family.kind, Value::Float(value)));
            let label = Some(("quantile", &*quantile));
            self.out.push((family.name, ""), &metric.labels, label, of, times, Vec::new())?;
        }
        Ok(())
    }

    fn histogram(&mut self, family: &Family<'a>, metric: &Metric<'a>, w: Wire<'a>) -> Result<(), Fault> {
        if w.bytes().len() > MAX_HISTOGRAM {
            return Err(
                format!("a histogram of {:?} has more than {MAX_HISTOGRAM} bytes", family.name).into()
            );
        }
        let read = read_histogram(w)?;
        let times = Times { at: metric.at, start: read.start };
        let is_native = !read.positive.spans.is_empty()
            || !read.negative.spans.is_empty()
            || read.native.zero_threshold > 0.0
            || read.zero.float() > 0.0;
        let native = is_native && self.forms.native;
        let custom = !native && self.forms.custom && family.kind == MetricType::Histogram;
        let classic = if native {
            self.forms.classic && !read.buckets.is_empty()
        } else {
            !custom || self.forms.classic
        };
        if classic {
            self.classic(family, metric, &read, times)?;
        }
        let whole = if native {
            let mut h = read.native;
            if family.kind == MetricType::GaugeHistogram {
                h.reset = CounterReset::Gauge;
            }
            let (positive, negative) = (read.positive, read.negative);
            self.buckets += [&positive, &negative]
                .iter()
                .map(|s| s.spans.len() + s.deltas.len() + s.counts.len())
                .sum::<usize>();
            if self.buckets > MAX_BUCKETS {
                return Err(
                    format!("the body's histograms have more than {MAX_BUCKETS} buckets together").into()
                );
            }
            let whole = assemble(h, read.count, read.zero, positive, negative, Vec::new());
            Some(whole.ok_or_else(|| format!("a native histogram of {:?} contradicts itself", family.name))?)
        } else if custom {
            let buckets = read.buckets.iter().map(|b| (b.bound, b.count)).collect();
            Classic { buckets, count: Some(read.count.float()), sum: read.native.sum }.convert()
        } else {
            None
        };
        let Some(whole) = whole else { return Ok(()) };
        let mut exemplars = read.exemplars;
        if exemplars.is_empty() {
            exemplars = read.buckets.into_iter().filter_map(|b| b.exemplar).collect();
        }
        // The order of buckets is not that of time, and what has no time cannot be put in order.
        exemplars.retain(|e| e.at.is_some() || custom);
        exemplars.sort_by_key(|e| e.at);
        let value = Value::Histogram(Arc::new(whole));
        self.out.push((family.name, ""), &metric.labels, None, (family.kind, value), times, exemplars)?;
        Ok(())
    }

    fn classic(
        &mut self,
        family: &Family<'a>,
        metric: &Metric<'a>,
        read: &Read,
        times: Times,
    ) -> Result<(), Fault> {
        let kind = family.kind;
        let count = read.count.float();
        for (ending, value) in [("_count", count), ("_sum", read.native.sum)] {
            let of = (kind, Value::Float(value));
            self.out.push((family.name, ending), &metric.labels, None, of, times, Vec::new())?;
        }
        let mut infinite = false;
        for bucket in &read.buckets {
            infinite |= bucket.bound == f64::INFINITY;
            let (bound, of) = (model::number::format(bucket.bound), (kind, Value::Float(bucket.count)));
            let exemplars = bucket.exemplar.iter().cloned().collect();
            let label = Some(("le", &*bound));
            self.out.push((family.name, "_bucket"), &metric.labels, label, of, times, exemplars)?;
        }
        if !infinite {
            let of = (kind, Value::Float(count));
            let label = Some(("le", "+Inf"));
            self.out.push((family.name, "_bucket"), &metric.labels, label, of, times, Vec::new())?;
        }
        Ok(())
    }
}

fn check_labels(family: &Family<'_>, labels: &[(&str, &str)]) -> Result<(), Fault> {
    let mut seen = HashSet::new();
    for (i, (name, _)) in labels.iter().enumerate() {
        let twice =
            if labels.len() > 16 { !seen.insert(name) } else { labels[..i].iter().any(|(n, _)| n == name) };
        if name.is_empty() || *name == model::labels::METRIC_NAME || twice {
            return Err(format!("label name {name:?} of {:?} is not one that can be", family.name).into());
        }
    }
    Ok(())
}

#[derive(Debug, Default)]
struct Bucket {
    bound: f64,
    count: f64,
    exemplar: Option<Exemplar>,
}

struct Read {
    /// The fields that stand for themselves.
    native: Histogram,
    count: Count,
    zero: Count,
    positive: Side,
    negative: Side,
    buckets: Vec<Bucket>,
    exemplars: Vec<Exemplar>,
    start: Option<Timestamp>,
}

fn read_histogram(mut w: Wire<'_>) -> Result<Read, Fault> {
    let mut native = Histogram::default();
    let ((mut count, mut zero), mut float_count, mut float_zero) = ((0, 0), 0.0, 0.0);
    let (mut positive, mut negative) = (Side::default(), Side::default());
    let (mut buckets, mut exemplars, mut start) = (Vec::new(), Vec::new(), None);
    while let Some(tag) = w.tag()? {
        match (tag.field, tag.kind) {
            (1, Kind::Varint) => count = w.varint()?,
            (2, Kind::Fixed64) => native.sum = float(w.double()?),
            (3, Kind::Bytes) => buckets.push(bucket(w.nested()?)?),
            (4, Kind::Fixed64) => float_count = w.double()?,
            (5, Kind::Varint) => native.schema = w.sint32()?,
            (6, Kind::Fixed64) => native.zero_threshold = w.double()?,
            (7, Kind::Varint) => zero = w.varint()?,
            (8, Kind::Fixed64) => float_zero = w.double()?,
            (9, Kind::Bytes) => negative.spans.push(span(w.nested()?)?),
            (10, kind) => w.repeated(kind, Kind::Varint, Wire::sint64, &mut negative.deltas)?,
            (11, kind) => w.repeated(kind, Kind::Fixed64, Wire::double, &mut negative.counts)?,
            (12, Kind::Bytes) => positive.spans.push(span(w.nested()?)?),
            (13, kind) => w.repeated(kind, Kind::Varint, Wire::sint64, &mut positive.deltas)?,
            (14, kind) => w.repeated(kind, Kind::Fixed64, Wire::double, &mut positive.counts)?,
            (15, Kind::Bytes) => start = timestamp(w.nested()?)?,
            (16, Kind::Bytes) => exemplars.push(exemplar(w.nested()?)?),
            (1..=16, _) => return Err(w.wrong_kind().into()),
            (_, kind) => w.skip(kind)?,
        }
    }
    // Which of the two forms is meant is not said: the one with floats has some.
    let (count, zero) = if float_count > 0.0 || float_zero > 0.0 {
        (Count::Float(float_count), Count::Float(float_zero))
    } else {
        (Count::Integer(count), Count::Integer(zero))
    };
    // A target that knows no observations yet says so by an empty span.
    for side in [&mut positive, &mut negative] {
        if matches!(count, Count::Float(_)) {
            side.deltas.clear();
        } else {
            side.counts.clear();
        }
    }
    Ok(Read { native, count, zero, positive, negative, buckets, exemplars, start })
}

fn bucket(mut w: Wire<'_>) -> Result<Bucket, Fault> {
    let mut bucket = Bucket::default();
    let (mut count, mut float_count) = (0, 0.0);
    while let Some(tag) = w.tag()? {
        match (tag.field, tag.kind) {
            (1, Kind::Varint) => count = w.varint()?,
            (2, Kind::Fixed64) => bucket.bound = w.double()?,
            (3, Kind::Bytes) => bucket.exemplar = Some(exemplar(w.nested()?)?),
            (4, Kind::Fixed64) => float_count = w.double()?,
            (1..=4, _) => return Err(w.wrong_kind().into()),
            (_, kind) => w.skip(kind)?,
        }
    }
    bucket.count = if float_count > 0.0 { float_count } else { Count::Integer(count).float() };
    Ok(bucket)
}

fn exemplar(mut w: Wire<'_>) -> Result<Exemplar, Fault> {
    let (mut labels, mut value, mut at) = (Vec::new(), 0.0, None);
    while let Some(tag) = w.tag()? {
        match (tag.field, tag.kind) {
            (1, Kind::Bytes) => labels.push(pair(w.nested()?)?),
            (2, Kind::Fixed64) => value = float(w.double()?),
            (3, Kind::Bytes) => at = timestamp(w.nested()?)?,
            (1..=3, _) => return Err(w.wrong_kind().into()),
            (_, kind) => w.skip(kind)?,
        }
    }
    Ok(Exemplar { labels: Labels::from_pairs(labels), value, at })
}

fn pair<'a>(mut w: Wire<'a>) -> Result<(&'a str, &'a str), Fault> {
    let mut pair = ("", "");
    while let Some(tag) = w.tag()? {
        match (tag.field, tag.kind) {
            (1, Kind::Bytes) => pair.0 = text(&mut w)?,
            (2, Kind::Bytes) => pair.1 = text(&mut w)?,
            (1 | 2, _) => return Err(w.wrong_kind().into()),
            (_, kind) => w.skip(kind)?,
        }
    }
    Ok(pair)
}

/// `google.protobuf.Timestamp`, in milliseconds since 1970. Zero is none.
fn timestamp(mut w: Wire<'_>) -> Result<Option<Timestamp>, Fault> {
    let (mut seconds, mut nanos) = (0i64, 0i64);
    while let Some(tag) = w.tag()? {
        match (tag.field, tag.kind) {
            (1, Kind::Varint) => seconds = w.int64()?,
            (2, Kind::Varint) => nanos = w.int64()?,
            (1 | 2, _) => return Err(w.wrong_kind().into()),
            (_, kind) => w.skip(kind)?,
        }
    }
    let ms = seconds.checked_mul(1000).and_then(|ms| ms.checked_add(nanos / 1_000_000));
    let ms = ms.ok_or_else(|| Fault::Other("a timestamp is beyond what can be".to_owned()))?;
    Ok(Some(ms).filter(|ms| *ms != 0))
}

/// Every NaN as the same one, so that none of a target's ends a series.
fn float(v: f64) -> f64 {
    if v.is_nan() { NAN } else { v }
}

#[cfg(test)]
pub(crate) mod tests;
