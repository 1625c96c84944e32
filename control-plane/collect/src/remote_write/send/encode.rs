//! Write requests, as they are sent.

use super::series::Out;
use crate::{
    remote_write::{
        Protocol,
        wire::{put_varint, varint_len},
    },
    scrape::{exposition::MetricType, ingest::Families},
};
use model::{CounterReset, Exemplar, Histogram, Labels, Span, Timestamp, Value};
use std::{collections::HashMap, sync::Arc};

/// A sample of a series.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Point {
    pub(crate) at: Timestamp,
    pub(crate) start: Option<Timestamp>,
    pub(crate) value: Value,
}

/// A sample with its series.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Labelled {
    pub(crate) labels: Labels,
    pub(crate) about: Option<Arc<crate::Metadata>>,
    pub(crate) point: Point,
    pub(crate) exemplars: Vec<Exemplar>,
}

/// Memory that serves for one request after the other.
#[derive(Debug, Default)]
pub(crate) struct Encoder {
    body: Vec<u8>,
    series: Vec<u8>,
    inner: Vec<u8>,
    symbols: HashMap<String, u64>,
    texts: Vec<u8>,
}

pub(crate) fn put_double(out: &mut Vec<u8>, field: u8, v: f64) {
    out.push(field << 3 | 1);
    out.extend_from_slice(&v.to_bits().to_le_bytes());
}

/// Fields up to 15 have a tag of one byte.
pub(crate) fn put_number(out: &mut Vec<u8>, field: u64, v: u64) {
    put_varint(out, field << 3);
    put_varint(out, v);
}

pub(crate) fn put_bytes(out: &mut Vec<u8>, field: u64, bytes: &[u8]) {
    put_varint(out, field << 3 | 2);
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn zigzag(v: i32) -> u64 {
    let v = i64::from(v);
    ((v << 1) ^ (v >> 63)).cast_unsigned()
}

impl Encoder {
    /// A request with these series, each with its samples.
    pub(crate) fn samples(&mut self, protocol: Protocol, series: &[(&Out, &[Point])]) -> &[u8] {
        self.body.clear();
        match protocol {
            Protocol::V1 => {
                for (out, points) in series {
                    self.series.clear();
                    put_labels(&mut self.series, &mut self.inner, 1, &out.labels);
                    self.put_points(Protocol::V1, points);
                    put_bytes(&mut self.body, 1, &self.series);
                }
            }
            Protocol::V2 => {
                self.symbols.clear();
                self.texts.clear();
                self.symbol("");
                let mut all = std::mem::take(&mut self.body);
                for (out, points) in series {
                    self.put_v2(&out.labels, out.about.as_ref(), points, &[], &mut all);
                }
                // The texts come first, as receivers that read in one go like it.
                self.body.extend_from_slice(&self.texts);
                self.body.extend_from_slice(&all);
            }
        }
        &self.body
    }

    /// A request of version 2 with these series, each with one sample.
    pub(crate) fn labelled(&mut self, series: &[Labelled]) -> &[u8] {
        self.body.clear();
        self.symbols.clear();
        self.texts.clear();
        self.symbol("");
        let mut all = std::mem::take(&mut self.body);
        for one in series {
            let points = std::slice::from_ref(&one.point);
            self.put_v2(&one.labels, one.about.as_deref(), points, &one.exemplars, &mut all);
        }
        self.body.extend_from_slice(&self.texts);
        self.body.extend_from_slice(&all);
        &self.body
    }

    /// What version 1 says about families.
    pub(crate) fn families<'a>(
        &mut self,
        families: impl Iterator<Item = (&'a String, &'a crate::Metadata)>,
    ) -> &[u8] {
        self.body.clear();
        for (name, about) in families {
            self.inner.clear();
            put_number(&mut self.inner, 1, kind_number(about.kind));
            put_bytes(&mut self.inner, 2, name.as_bytes());
            put_bytes(&mut self.inner, 4, about.help.as_bytes());
            put_bytes(&mut self.inner, 5, about.unit.as_bytes());
            put_bytes(&mut self.body, 3, &self.inner);
        }
        &self.body
    }

    fn symbol(&mut self, text: &str) -> u64 {
        if let Some(number) = self.symbols.get(text) {
            return *number;
        }
        let number = self.symbols.len() as u64;
        self.symbols.insert(text.to_owned(), number);
        put_bytes(&mut self.texts, 4, text.as_bytes());
        number
    }

    fn refs(&mut self, labels: &Labels) -> Vec<u8> {
        let mut refs = Vec::with_capacity(labels.len() * 3);
        for l in labels {
            for text in [&l.name, &l.value] {
                let number = self.symbol(text);
                put_varint(&mut refs, number);
            }
        }
        refs
    }

    fn put_v2(
        &mut self,
        labels: &Labels,
        about: Option<&crate::Metadata>,
        points: &[Point],
        exemplars: &[Exemplar],
        all: &mut Vec<u8>,
    ) {
        self.series.clear();
        let refs = self.refs(labels);
        put_bytes(&mut self.series, 1, &refs);
        self.put_points(Protocol::V2, points);
        for exemplar in exemplars {
            let refs = self.refs(&exemplar.labels);
            self.inner.clear();
            put_bytes(&mut self.inner, 1, &refs);
            put_double(&mut self.inner, 2, exemplar.value);
            put_number(&mut self.inner, 3, exemplar.at.cast_unsigned());
            put_bytes(&mut self.series, 4, &self.inner);
        }
        if let Some(about) = about {
            let (help, unit) = (self.symbol(&about.help), self.symbol(&about.unit));
            self.inner.clear();
            put_number(&mut self.inner, 1, kind_number(about.kind));
            put_number(&mut self.inner, 3, help);
            put_number(&mut self.inner, 4, unit);
            put_bytes(&mut self.series, 5, &self.inner);
        }
        put_bytes(all, 5, &self.series);
    }

    fn put_points(&mut self, protocol: Protocol, points: &[Point]) {
        for point in points {
            let at = point.at.cast_unsigned();
            let start = point.start.filter(|_| protocol == Protocol::V2).map(i64::cast_unsigned);
            match &point.value {
                Value::Float(v) => {
                    let len = 10 + varint_len(at) + start.map_or(0, |s| 1 + varint_len(s));
                    self.series.push(2 << 3 | 2);
                    put_varint(&mut self.series, len as u64);
                    put_double(&mut self.series, 1, *v);
                    put_number(&mut self.series, 2, at);
                    if let Some(start) = start {
                        put_number(&mut self.series, 3, start);
                    }
                }
                Value::Histogram(h) => {
                    self.inner.clear();
                    put_histogram(&mut self.inner, h, at, start);
                    let field = if protocol == Protocol::V1 { 4 } else { 3 };
                    put_bytes(&mut self.series, field, &self.inner);
                }
            }
        }
    }
}

pub(crate) fn put_labels(out: &mut Vec<u8>, inner: &mut Vec<u8>, field: u64, labels: &Labels) {
    for l in labels {
        inner.clear();
        put_bytes(inner, 1, l.name.as_bytes());
        put_bytes(inner, 2, l.value.as_bytes());
        put_bytes(out, field, inner);
    }
}

/// Always in its float form, which both versions have.
pub(crate) fn put_histogram(out: &mut Vec<u8>, h: &Histogram, at: u64, start: Option<u64>) {
    put_double(out, 2, h.count);
    put_double(out, 3, h.sum);
    put_number(out, 4, zigzag(h.schema));
    put_double(out, 5, h.zero_threshold);
    put_double(out, 7, h.zero_count);
    put_side(out, 8, 10, &h.negative_spans, &h.negative);
    put_side(out, 11, 13, &h.positive_spans, &h.positive);
    let reset = match h.reset {
        CounterReset::Unknown => 0,
        CounterReset::Reset => 1,
        CounterReset::NotReset => 2,
        CounterReset::Gauge => 3,
    };
    put_number(out, 14, reset);
    put_number(out, 15, at);
    if let Some(bounds) = &h.custom_bounds {
        put_floats(out, 16, bounds);
    }
    if let Some(start) = start {
        put_number(out, 17, start);
    }
}

fn put_side(out: &mut Vec<u8>, spans_field: u64, counts_field: u64, spans: &[Span], counts: &[f64]) {
    for span in spans {
        let mut inner = Vec::with_capacity(12);
        put_number(&mut inner, 1, zigzag(span.offset));
        put_number(&mut inner, 2, u64::from(span.length));
        put_bytes(out, spans_field, &inner);
    }
    put_floats(out, counts_field, counts);
}

fn put_floats(out: &mut Vec<u8>, field: u64, floats: &[f64]) {
    if floats.is_empty() {
        return;
    }
    put_varint(out, field << 3 | 2);
    put_varint(out, floats.len() as u64 * 8);
    for v in floats {
        out.extend_from_slice(&v.to_bits().to_le_bytes());
    }
}

fn kind_number(kind: MetricType) -> u64 {
    match kind {
        MetricType::Unknown => 0,
        MetricType::Counter => 1,
        MetricType::Gauge => 2,
        MetricType::Histogram => 3,
        MetricType::GaugeHistogram => 4,
        MetricType::Summary => 5,
        MetricType::Info => 6,
        MetricType::StateSet => 7,
    }
}

/// What is said about the family that a metric is of.
pub(crate) fn about<'a>(families: &'a Families, metric: &str) -> Option<&'a crate::Metadata> {
    families.get(metric).or_else(|| {
        let family = ["_bucket", "_sum", "_count"].iter().find_map(|s| metric.strip_suffix(s))?;
        families.get(family).filter(|m| matches!(m.kind, MetricType::Histogram | MetricType::Summary))
    })
}
