//! An export request in protobuf.

use super::{
    MOST_PARTS, Malformed,
    data::{Attribute, Buckets, Exemplar, Metric, Point, ResourceMetrics, ScopeMetrics, Shape},
    too_many,
};
use crate::remote_write::wire::{Kind, Wire};
use base64::{Engine, engine::general_purpose::STANDARD};
use std::{cell::Cell, fmt::Write};

/// How deep lists and maps among attributes may be.
const MAX_DEPTH: usize = 16;

/// How many parts a request may still have: a short message stands for a large value.
struct Left(Cell<usize>);

impl Left {
    fn spend(&self) -> Read<()> {
        let left = self.0.get().checked_sub(1).ok_or_else(too_many)?;
        self.0.set(left);
        Ok(())
    }
}

type Read<T> = Result<T, Malformed>;

/// `ExportMetricsServiceRequest`.
pub(super) fn read(body: &[u8]) -> Read<Vec<ResourceMetrics>> {
    let left = &Left(Cell::new(MOST_PARTS));
    let mut all = Vec::new();
    let mut w = Wire::new(body);
    while let Some(tag) = w.tag()? {
        match (tag.field, tag.kind) {
            (1, Kind::Bytes) => all.push(resource_metrics(w.nested()?, left)?),
            _ => w.skip(tag.kind)?,
        }
    }
    Ok(all)
}

fn text(w: Wire<'_>) -> Read<String> {
    let text = std::str::from_utf8(w.bytes()).map_err(|_| Malformed("a text is not UTF-8".to_owned()))?;
    Ok(text.to_owned())
}

fn resource_metrics(mut w: Wire<'_>, left: &Left) -> Read<ResourceMetrics> {
    left.spend()?;
    let mut out = ResourceMetrics::default();
    while let Some(tag) = w.tag()? {
        match (tag.field, tag.kind) {
            (1, Kind::Bytes) => {
                let mut resource = w.nested()?;
                while let Some(tag) = resource.tag()? {
                    match (tag.field, tag.kind) {
                        (1, Kind::Bytes) => out.attributes.push(attribute(resource.nested()?, left)?),
                        _ => resource.skip(tag.kind)?,
                    }
                }
            }
            (2, Kind::Bytes) => out.scopes.push(scope_metrics(w.nested()?, left)?),
            _ => w.skip(tag.kind)?,
        }
    }
    Ok(out)
}

fn scope_metrics(mut w: Wire<'_>, left: &Left) -> Read<ScopeMetrics> {
    left.spend()?;
    let mut out = ScopeMetrics::default();
    while let Some(tag) = w.tag()? {
        match (tag.field, tag.kind) {
            (1, Kind::Bytes) => {
                let mut scope = w.nested()?;
                while let Some(tag) = scope.tag()? {
                    match (tag.field, tag.kind) {
                        (1, Kind::Bytes) => out.name = text(scope.nested()?)?,
                        (2, Kind::Bytes) => out.version = text(scope.nested()?)?,
                        (3, Kind::Bytes) => out.attributes.push(attribute(scope.nested()?, left)?),
                        _ => scope.skip(tag.kind)?,
                    }
                }
            }
            (2, Kind::Bytes) => out.metrics.push(metric(w.nested()?, left)?),
            (3, Kind::Bytes) => out.schema_url = text(w.nested()?)?,
            _ => w.skip(tag.kind)?,
        }
    }
    Ok(out)
}

fn metric(mut w: Wire<'_>, left: &Left) -> Read<Metric> {
    left.spend()?;
    let mut out = Metric::default();
    while let Some(tag) = w.tag()? {
        let shape = match tag.field {
            5 => Shape::Gauge,
            7 => Shape::Sum,
            9 => Shape::Histogram,
            10 => Shape::Exponential,
            11 => Shape::Summary,
            _ => Shape::None,
        };
        match (tag.field, tag.kind) {
            (1, Kind::Bytes) => out.name = text(w.nested()?)?,
            (2, Kind::Bytes) => out.description = text(w.nested()?)?,
            (3, Kind::Bytes) => out.unit = text(w.nested()?)?,
            (_, Kind::Bytes) if shape != Shape::None => {
                out.shape = shape;
                let mut data = w.nested()?;
                while let Some(tag) = data.tag()? {
                    match (tag.field, tag.kind) {
                        (1, Kind::Bytes) => out.points.push(point(shape, data.nested()?, left)?),
                        (2, Kind::Varint) => out.temporality = data.varint()?.into(),
                        (3, Kind::Varint) => out.monotonic = data.varint()? != 0,
                        _ => data.skip(tag.kind)?,
                    }
                }
            }
            _ => w.skip(tag.kind)?,
        }
    }
    Ok(out)
}

#[expect(clippy::cast_precision_loss, reason = "samples are floats")]
fn integer(v: u64) -> f64 {
    v.cast_signed() as f64
}

fn point(shape: Shape, mut w: Wire<'_>, left: &Left) -> Read<Point> {
    left.spend()?;
    let mut out = Point::default();
    while let Some(tag) = w.tag()? {
        match (shape, tag.field, tag.kind) {
            (_, 2, Kind::Fixed64) => out.start = w.fixed64()?,
            (_, 3, Kind::Fixed64) => out.at = w.fixed64()?,
            (Shape::Gauge | Shape::Sum, field, kind) => match (field, kind) {
                (7, Kind::Bytes) => out.attributes.push(attribute(w.nested()?, left)?),
                (4, Kind::Fixed64) => out.value = w.double()?,
                (6, Kind::Fixed64) => out.value = integer(w.fixed64()?),
                (5, Kind::Bytes) => out.exemplars.push(exemplar(w.nested()?, left)?),
                (8, Kind::Varint) => out.flags = w.varint()?,
                (_, kind) => w.skip(kind)?,
            },
            (Shape::Histogram, field, kind) => match (field, kind) {
                (9, Kind::Bytes) => out.attributes.push(attribute(w.nested()?, left)?),
                (4, Kind::Fixed64) => out.count = w.fixed64()?,
                (5, Kind::Fixed64) => out.sum = Some(w.double()?),
                (6, kind) => w.repeated(kind, Kind::Fixed64, Wire::fixed64, &mut out.bucket_counts)?,
                (7, kind) => w.repeated(kind, Kind::Fixed64, Wire::double, &mut out.bounds)?,
                (8, Kind::Bytes) => out.exemplars.push(exemplar(w.nested()?, left)?),
                (10, Kind::Varint) => out.flags = w.varint()?,
                (_, kind) => w.skip(kind)?,
            },
            (Shape::Exponential, field, kind) => match (field, kind) {
                (1, Kind::Bytes) => out.attributes.push(attribute(w.nested()?, left)?),
                (4, Kind::Fixed64) => out.count = w.fixed64()?,
                (5, Kind::Fixed64) => out.sum = Some(w.double()?),
                (6, Kind::Varint) => out.scale = w.sint32()?,
                (7, Kind::Fixed64) => out.zero_count = w.fixed64()?,
                (8, Kind::Bytes) => out.positive = buckets(w.nested()?)?,
                (9, Kind::Bytes) => out.negative = buckets(w.nested()?)?,
                (10, Kind::Varint) => out.flags = w.varint()?,
                (11, Kind::Bytes) => out.exemplars.push(exemplar(w.nested()?, left)?),
                (14, Kind::Fixed64) => out.zero_threshold = w.double()?,
                (_, kind) => w.skip(kind)?,
            },
            (Shape::Summary, field, kind) => match (field, kind) {
                (7, Kind::Bytes) => out.attributes.push(attribute(w.nested()?, left)?),
                (4, Kind::Fixed64) => out.count = w.fixed64()?,
                (5, Kind::Fixed64) => out.sum = Some(w.double()?),
                (6, Kind::Bytes) => out.quantiles.push(quantile(w.nested()?, left)?),
                (8, Kind::Varint) => out.flags = w.varint()?,
                (_, kind) => w.skip(kind)?,
            },
            (Shape::None, _, kind) => w.skip(kind)?,
        }
    }
    Ok(out)
}

fn buckets(mut w: Wire<'_>) -> Read<Buckets> {
    let mut out = Buckets::default();
    while let Some(tag) = w.tag()? {
        match (tag.field, tag.kind) {
            (1, Kind::Varint) => out.offset = w.sint32()?,
            (2, kind) => w.repeated(kind, Kind::Varint, Wire::varint, &mut out.counts)?,
            (_, kind) => w.skip(kind)?,
        }
    }
    Ok(out)
}

fn quantile(mut w: Wire<'_>, left: &Left) -> Read<(f64, f64)> {
    left.spend()?;
    let mut out = (0.0, 0.0);
    while let Some(tag) = w.tag()? {
        match (tag.field, tag.kind) {
            (1, Kind::Fixed64) => out.0 = w.double()?,
            (2, Kind::Fixed64) => out.1 = w.double()?,
            (_, kind) => w.skip(kind)?,
        }
    }
    Ok(out)
}

fn hex(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len() * 2);
    for b in bytes {
        // Writing into a String cannot fail.
        let _infallible = write!(out, "{b:02x}");
    }
    out
}

fn exemplar(mut w: Wire<'_>, left: &Left) -> Read<Exemplar> {
    left.spend()?;
    let mut out = Exemplar::default();
    while let Some(tag) = w.tag()? {
        match (tag.field, tag.kind) {
            (7, Kind::Bytes) => out.attributes.push(attribute(w.nested()?, left)?),
            (2, Kind::Fixed64) => out.at = w.fixed64()?,
            (3, Kind::Fixed64) => out.value = w.double()?,
            (6, Kind::Fixed64) => out.value = integer(w.fixed64()?),
            (4, Kind::Bytes) => out.span_id = hex(w.nested()?.bytes()),
            (5, Kind::Bytes) => out.trace_id = hex(w.nested()?.bytes()),
            (_, kind) => w.skip(kind)?,
        }
    }
    Ok(out)
}

fn attribute(mut w: Wire<'_>, left: &Left) -> Read<Attribute> {
    let (mut name, mut value) = (String::new(), Value::Empty);
    while let Some(tag) = w.tag()? {
        match (tag.field, tag.kind) {
            (1, Kind::Bytes) => name = text(w.nested()?)?,
            (2, Kind::Bytes) => value = any(w.nested()?, 0, left)?,
            (_, kind) => w.skip(kind)?,
        }
    }
    Ok((name, value.text()))
}

enum Value {
    Empty,
    Text(String),
    Json(serde_json::Value),
}

impl Value {
    fn text(self) -> String {
        match self {
            Value::Empty => String::new(),
            Value::Text(text) => text,
            Value::Json(v) => v.to_string(),
        }
    }

    fn json(self) -> serde_json::Value {
        match self {
            Value::Empty => serde_json::Value::Null,
            Value::Text(text) => text.into(),
            Value::Json(v) => v,
        }
    }
}

/// `AnyValue`: a text is itself, everything else as JSON writes it.
fn any(mut w: Wire<'_>, depth: usize, left: &Left) -> Read<Value> {
    left.spend()?;
    if depth > MAX_DEPTH {
        return Err(Malformed(format!("an attribute is nested deeper than {MAX_DEPTH} levels")));
    }
    let mut out = Value::Empty;
    while let Some(tag) = w.tag()? {
        match (tag.field, tag.kind) {
            (1, Kind::Bytes) => out = Value::Text(text(w.nested()?)?),
            (2, Kind::Varint) => out = Value::Json((w.varint()? != 0).into()),
            (3, Kind::Varint) => out = Value::Json(w.int64()?.into()),
            (4, Kind::Fixed64) => {
                let v = w.double()?;
                // Numbers that JSON does not have are texts.
                out =
                    if v.is_finite() { Value::Json(v.into()) } else { Value::Text(model::number::format(v)) };
            }
            (5, Kind::Bytes) => {
                let (mut list, mut items) = (w.nested()?, Vec::new());
                while let Some(tag) = list.tag()? {
                    match (tag.field, tag.kind) {
                        (1, Kind::Bytes) => items.push(any(list.nested()?, depth + 1, left)?.json()),
                        (_, kind) => list.skip(kind)?,
                    }
                }
                out = Value::Json(items.into());
            }
            (6, Kind::Bytes) => {
                let (mut list, mut entries) = (w.nested()?, serde_json::Map::new());
                while let Some(tag) = list.tag()? {
                    match (tag.field, tag.kind) {
                        (1, Kind::Bytes) => {
                            let (mut pair, mut name, mut value) =
                                (list.nested()?, String::new(), Value::Empty);
                            while let Some(tag) = pair.tag()? {
                                match (tag.field, tag.kind) {
                                    (1, Kind::Bytes) => name = text(pair.nested()?)?,
                                    (2, Kind::Bytes) => value = any(pair.nested()?, depth + 1, left)?,
                                    (_, kind) => pair.skip(kind)?,
                                }
                            }
                            entries.insert(name, value.json());
                        }
                        (_, kind) => list.skip(kind)?,
                    }
                }
                out = Value::Json(entries.into());
            }
            (7, Kind::Bytes) => out = Value::Text(STANDARD.encode(w.nested()?.bytes())),
            (_, kind) => w.skip(kind)?,
        }
    }
    Ok(out)
}
