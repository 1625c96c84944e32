//! An export request in JSON: numbers of 64 bits may be texts, ids are hexadecimal, unknown fields mean nothing.

use super::{
    MOST_PARTS, Malformed,
    data::{Attribute, Buckets, Exemplar, Metric, Point, ResourceMetrics, ScopeMetrics, Shape},
    too_many,
};
use serde_json::Value;

pub(super) fn read(body: &[u8]) -> Result<Vec<ResourceMetrics>, Malformed> {
    // The reader itself bounds how deep values may be.
    let body: Value = serde_json::from_slice(body).map_err(|e| Malformed(format!("it is not JSON: {e}")))?;
    if !body.is_object() {
        return Err(Malformed("it is no object".to_owned()));
    }
    if parts(&body) > MOST_PARTS {
        return Err(too_many());
    }
    items(&body["resourceMetrics"]).map(resource_metrics).collect()
}

/// How many objects there are: a short one stands for a large value.
fn parts(v: &Value) -> usize {
    match v {
        Value::Array(items) => items.iter().map(parts).sum(),
        Value::Object(fields) => 1 + fields.values().map(parts).sum::<usize>(),
        _ => 0,
    }
}

fn items(v: &Value) -> impl Iterator<Item = &Value> {
    v.as_array().into_iter().flatten()
}

fn text(v: &Value) -> String {
    v.as_str().unwrap_or("").to_owned()
}

/// A number, or a text that holds one; absence is zero.
fn number<T: std::str::FromStr + Default>(v: &Value, field: &str) -> Result<T, Malformed> {
    let bad = |shown: &str| Malformed(format!("`{field}` is no number: {shown:?}"));
    match &v[field] {
        Value::Null => Ok(T::default()),
        Value::String(s) => s.parse().map_err(|_| bad(s)),
        other => {
            let text = other.to_string();
            text.parse().map_err(|_| bad(&text))
        }
    }
}

fn float(v: &Value, field: &str) -> Result<f64, Malformed> {
    match v[field].as_str() {
        Some("Infinity") => Ok(f64::INFINITY),
        Some("-Infinity") => Ok(f64::NEG_INFINITY),
        _ => number(v, field),
    }
}

fn numbers<T>(v: &Value, field: &str) -> Result<Vec<T>, Malformed>
where
    T: std::str::FromStr + Default,
{
    let one = |n: &Value| number(&serde_json::json!({ field: n }), field);
    items(&v[field]).map(one).collect()
}

fn attributes(v: &Value) -> Vec<Attribute> {
    items(&v["attributes"]).map(|a| (text(&a["key"]), any(&a["value"]))).collect()
}

/// A value as text: a text is itself, everything else as JSON writes it.
fn any(v: &Value) -> String {
    match plain(v) {
        Value::Null => String::new(),
        Value::String(text) => text,
        other => other.to_string(),
    }
}

/// A value without the names of its types.
fn plain(v: &Value) -> Value {
    let Some((kind, value)) = v.as_object().and_then(|o| o.iter().next()) else { return Value::Null };
    match kind.as_str() {
        "intValue" => match value {
            Value::String(s) => s.parse::<i64>().map_or_else(|_| s.as_str().into(), Value::from),
            other => other.clone(),
        },
        "arrayValue" => items(&value["values"]).map(plain).collect(),
        "kvlistValue" => {
            let pairs = items(&value["values"]).map(|p| (text(&p["key"]), plain(&p["value"])));
            Value::Object(pairs.collect())
        }
        _ => value.clone(),
    }
}

fn resource_metrics(v: &Value) -> Result<ResourceMetrics, Malformed> {
    let scope = |s: &Value| {
        Ok(ScopeMetrics {
            name: text(&s["scope"]["name"]),
            version: text(&s["scope"]["version"]),
            schema_url: text(&s["schemaUrl"]),
            attributes: attributes(&s["scope"]),
            metrics: items(&s["metrics"]).map(metric).collect::<Result<_, Malformed>>()?,
        })
    };
    let scopes = items(&v["scopeMetrics"]).map(scope).collect::<Result<_, Malformed>>()?;
    Ok(ResourceMetrics { attributes: attributes(&v["resource"]), scopes })
}

fn metric(v: &Value) -> Result<Metric, Malformed> {
    let shapes = [
        ("gauge", Shape::Gauge),
        ("sum", Shape::Sum),
        ("histogram", Shape::Histogram),
        ("exponentialHistogram", Shape::Exponential),
        ("summary", Shape::Summary),
    ];
    let (field, shape) =
        shapes.into_iter().find(|(field, _)| v[*field].is_object()).unwrap_or(("", Shape::None));
    let data = &v[field];
    let temporality = match data["aggregationTemporality"].as_str() {
        Some("AGGREGATION_TEMPORALITY_DELTA") => 1,
        Some("AGGREGATION_TEMPORALITY_CUMULATIVE") => 2,
        _ => number::<u64>(data, "aggregationTemporality")?,
    };
    Ok(Metric {
        name: text(&v["name"]),
        description: text(&v["description"]),
        unit: text(&v["unit"]),
        shape,
        temporality: temporality.into(),
        monotonic: data["isMonotonic"] == true,
        points: items(&data["dataPoints"]).map(point).collect::<Result<_, _>>()?,
    })
}

/// `asDouble` or `asInt`.
fn value(v: &Value) -> Result<f64, Malformed> {
    if v["asInt"].is_null() { float(v, "asDouble") } else { float(v, "asInt") }
}

fn point(v: &Value) -> Result<Point, Malformed> {
    let sum = match &v["sum"] {
        Value::Null => None,
        _ => Some(float(v, "sum")?),
    };
    let buckets = |side: &Value| {
        Ok::<_, Malformed>(Buckets {
            offset: number(side, "offset")?,
            counts: numbers(side, "bucketCounts")?,
        })
    };
    let quantile = |q: &Value| Ok::<_, Malformed>((float(q, "quantile")?, float(q, "value")?));
    Ok(Point {
        attributes: attributes(v),
        start: number(v, "startTimeUnixNano")?,
        at: number(v, "timeUnixNano")?,
        flags: number(v, "flags")?,
        value: value(v)?,
        count: number(v, "count")?,
        sum,
        bucket_counts: numbers(v, "bucketCounts")?,
        bounds: numbers(v, "explicitBounds")?,
        scale: number(v, "scale")?,
        zero_count: number(v, "zeroCount")?,
        zero_threshold: float(v, "zeroThreshold")?,
        positive: buckets(&v["positive"])?,
        negative: buckets(&v["negative"])?,
        quantiles: items(&v["quantileValues"]).map(quantile).collect::<Result<_, _>>()?,
        exemplars: items(&v["exemplars"]).map(exemplar).collect::<Result<_, _>>()?,
    })
}

fn exemplar(v: &Value) -> Result<Exemplar, Malformed> {
    Ok(Exemplar {
        attributes: items(&v["filteredAttributes"]).map(|a| (text(&a["key"]), any(&a["value"]))).collect(),
        at: number(v, "timeUnixNano")?,
        value: value(v)?,
        trace_id: text(&v["traceId"]),
        span_id: text(&v["spanId"]),
    })
}
