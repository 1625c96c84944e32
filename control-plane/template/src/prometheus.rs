//! Prometheus's functions, and the templates of alerting rules.

use std::sync::Arc;

use jiff::SignedDuration;

use crate::{
    context::{CallError, Host, Sample},
    convert,
    funcs::{FuncSet, humanize_duration, query_escape, regex, replace_all, scale_down, title},
    number::format_g,
    template::{ExecError, Template, TemplateError},
    time,
    value::{Field, Map, Safe, Struct, Value},
};

type Called = Result<Value, CallError>;

fn seconds_f64(ms: i64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "milliseconds of any year fit a float exactly")]
    let ms = ms as f64;
    ms / 1000.0
}

impl FuncSet {
    /// The functions of Prometheus's templates, as its documentation lists them.
    pub fn prometheus() -> Self {
        let mut set = FuncSet::builtin();
        set.add("query", |ctx, args| {
            let [expr] = convert::exactly(args)?;
            let samples = ctx.host().query(convert::text(expr)?)?;
            Ok(Value::list(samples.into_iter().map(sample).collect::<Vec<_>>()))
        });
        set.add("first", |_, args| match convert::exactly::<1>(args)?[0].base() {
            Value::List(list) => list
                .items()
                .first()
                .cloned()
                .ok_or_else(|| CallError::new("first() called on vector with no elements")),
            other => Err(CallError(format!("first() wants a query's answer, not {}", other.type_name()))),
        });
        set.add("label", |_, args| {
            let [name, sample] = convert::exactly(args)?;
            label_of(sample, convert::text(name)?)
        });
        set.add("value", |_, args| part(&convert::exactly::<1>(args)?[0], "Value").cloned());
        set.add("strvalue", |_, args| label_of(&convert::exactly::<1>(args)?[0], "__value__"));
        set.add("sortByLabel", |_, args| sort_by_label(args));
        set.add("args", |_, args| {
            let entries = args.iter().enumerate().map(|(i, v)| (format!("arg{i}"), v.clone()));
            nested(Value::Map(Map::of_values(entries.collect())))
        });
        set.add("tmpl", |ctx, args| {
            let [name, data] = convert::exactly(args)?;
            ctx.render(convert::text(name)?, data).map(|text| Value::Safe(Safe::Html, text.into()))
        });
        set.add("reReplaceAll", |ctx, args| replace_all(ctx, args));
        set.add("match", |_, args| {
            let [pattern, text] = convert::exactly(args)?;
            Ok(Value::Bool(regex(convert::text(pattern)?)?.is_match(convert::text(text)?)))
        });
        text_functions(&mut set);
        number_functions(&mut set);
        set.add("externalURL", |ctx, args| {
            convert::exactly::<0>(args)?;
            Ok(Value::str(ctx.host().external_url()))
        });
        set.add("pathPrefix", |ctx, args| {
            convert::exactly::<0>(args)?;
            Ok(Value::str(path(ctx.host().external_url())))
        });
        set.add("graphLink", |_, args| link(args, 0));
        set.add("tableLink", |_, args| link(args, 1));
        set
    }
}

fn text_functions(set: &mut FuncSet) {
    let mut text = |name, f: fn(&str) -> String| {
        set.add(name, move |_, args| Ok(Value::str(f(convert::text(&convert::exactly::<1>(args)?[0])?))));
    };
    text("title", title);
    text("toUpper", |t| t.to_uppercase());
    text("toLower", |t| t.to_lowercase());
    text("stripPort", strip_port);
    text("stripDomain", strip_domain);
    text("urlQueryEscape", query_escape);
    set.add("safeHtml", |_, args| {
        let [text] = convert::exactly(args)?;
        Ok(Value::Safe(Safe::Html, convert::text(text)?.into()))
    });
}

fn number_functions(set: &mut FuncSet) {
    let mut number = |name, f: fn(f64) -> String| {
        set.add(name, move |_, args| Ok(Value::str(f(convert::float(&convert::exactly::<1>(args)?[0])?))));
    };
    number("humanize", humanize);
    number("humanize1024", humanize_1024);
    number("humanizePercentage", |v| format!("{}%", format_g(v * 100.0, Some(4))));
    set.add("humanizeDuration", |_, args| humanize_duration(args));
    set.add("humanizeTimestamp", |_, args| {
        let v = convert::float(&convert::exactly::<1>(args)?[0])?;
        if !v.is_finite() {
            return Ok(Value::str(format_g(v, Some(4))));
        }
        Ok(Value::str(time::print_time(&moment(v)?)))
    });
    set.add("toTime", |_, args| {
        Ok(Value::Time(Arc::new(moment(convert::float(&convert::exactly::<1>(args)?[0])?)?)))
    });
    set.add("toDuration", |_, args| {
        let v = convert::float(&convert::exactly::<1>(args)?[0])?;
        let nanos = in_nanos(v, "a duration")?;
        Ok(Value::Duration(SignedDuration::from_nanos(nanos)))
    });
    set.add("now", |ctx, args| {
        convert::exactly::<0>(args)?;
        Ok(Value::Float(seconds_f64(ctx.host().now_ms())))
    });
    set.add("parseDuration", |_, args| {
        let text = convert::text(&convert::exactly::<1>(args)?[0])?;
        parse_duration(text).map(Value::Float)
    });
}

/// A query's sample as templates see it.
fn sample(sample: Sample) -> Value {
    Value::Struct(Arc::new(Struct {
        type_name: "template.sample",
        fields: vec![
            Field { name: "Labels", json: "Labels", value: Value::Map(Map::of_text(sample.labels)) },
            Field { name: "Value", json: "Value", value: sample.value },
        ],
    }))
}

fn part<'v>(value: &'v Value, name: &str) -> Result<&'v Value, CallError> {
    match value.base() {
        Value::Struct(s) if s.type_name == "template.sample" => s.fields.iter().find(|f| f.name == name),
        _ => None,
    }
    .map(|f| &f.value)
    .ok_or_else(|| CallError(format!("expected one sample of a query; got {}", value.type_name())))
}

fn label_of(value: &Value, name: &str) -> Called {
    match part(value, "Labels")? {
        Value::Map(labels) => Ok(labels.get(name).cloned().unwrap_or_else(|| Value::str(""))),
        _ => Ok(Value::str("")),
    }
}

fn sort_by_label(args: &[Value]) -> Called {
    let [name, samples] = convert::exactly(args)?;
    let name = convert::text(name)?;
    let Value::List(list) = samples.base() else {
        return Err(CallError(format!("sortByLabel wants a query's answer, not {}", samples.type_name())));
    };
    let mut keyed = Vec::with_capacity(list.items().len());
    for item in list.items() {
        let key = label_of(item, name)?.text().map(|t| t.to_string()).unwrap_or_default();
        keyed.push((key, item.clone()));
    }
    keyed.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(Value::list(keyed.into_iter().map(|(_, item)| item).collect::<Vec<_>>()))
}

/// Refuses what would nest too deep to be handled safely.
pub(crate) fn nested(value: Value) -> Called {
    if value.depth() > crate::value::MAX_VALUE_DEPTH {
        return Err(CallError::new("the value nests too deep"));
    }
    Ok(value)
}

fn humanize(v: f64) -> String {
    if v == 0.0 || !v.is_finite() {
        return format_g(v, Some(4));
    }
    if v.abs() < 1.0 {
        let (v, prefix) = scale_down(v);
        return format!("{}{prefix}", format_g(v, Some(4)));
    }
    scale_up(v, 1000.0, ["k", "M", "G", "T", "P", "E", "Z", "Y"])
}

fn humanize_1024(v: f64) -> String {
    if v.abs() <= 1.0 || !v.is_finite() {
        return format_g(v, Some(4));
    }
    scale_up(v, 1024.0, ["ki", "Mi", "Gi", "Ti", "Pi", "Ei", "Zi", "Yi"])
}

fn scale_up(mut v: f64, base: f64, prefixes: [&str; 8]) -> String {
    let mut prefix = "";
    for p in prefixes {
        if v.abs() < base {
            break;
        }
        prefix = p;
        v /= base;
    }
    format!("{}{prefix}", format_g(v, Some(4)))
}

fn in_nanos(seconds: f64, what: &str) -> Result<i64, CallError> {
    let nanos = seconds * 1e9;
    // 2^63 is exact as a float; i64::MAX is not.
    let limit = 9_223_372_036_854_775_808.0;
    if !(-limit..limit).contains(&nanos) {
        let shown = format_g(seconds, None);
        return Err(CallError(format!(
            "{shown} cannot be represented as {what} in nanoseconds: it overflows"
        )));
    }
    #[expect(clippy::cast_possible_truncation, reason = "checked above")]
    Ok(nanos as i64)
}

/// Seconds since 1970 as a time in UTC, whole milliseconds as Prometheus's own time.
fn moment(seconds: f64) -> Result<jiff::Zoned, CallError> {
    let nanos = in_nanos(seconds, "a timestamp")?;
    time::from_millis(nanos.div_euclid(1_000_000)).ok_or_else(|| CallError::new("the time is out of range"))
}

/// `1h30m` and the like in seconds; a leading minus is allowed.
fn parse_duration(text: &str) -> Result<f64, CallError> {
    const UNITS: [(&str, f64); 7] = [
        ("y", 31_536_000_000.0),
        ("w", 604_800_000.0),
        ("d", 86_400_000.0),
        ("h", 3_600_000.0),
        ("m", 60_000.0),
        ("s", 1_000.0),
        ("ms", 1.0),
    ];
    let bad = || CallError(format!("not a valid duration string: {text:?}"));
    let (sign, mut rest) = text.strip_prefix('-').map_or((1.0, text), |rest| (-1.0, rest));
    if rest == "0" {
        return Ok(0.0);
    }
    if rest.is_empty() {
        return Err(bad());
    }
    let (mut total, mut allowed) = (0.0, 0);
    while !rest.is_empty() {
        let (number, tail) = rest.split_at(rest.bytes().take_while(u8::is_ascii_digit).count());
        let (unit, tail) = tail.split_at(tail.bytes().take_while(u8::is_ascii_alphabetic).count());
        let index = UNITS.iter().position(|(name, _)| *name == unit).filter(|i| *i >= allowed);
        let index = index.ok_or_else(bad)?;
        let n: u32 = number.parse().map_err(|_| bad())?;
        total += f64::from(n) * UNITS[index].1;
        allowed = index + 1;
        rest = tail;
    }
    Ok(sign * total / 1000.0)
}

/// Go's `net.SplitHostPort`: `None` unless the text is `host:port` or `[host]:port`.
fn split_host_port(text: &str) -> Option<(&str, &str)> {
    let (host, port) = text.rsplit_once(':')?;
    let inner = match host.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']')?,
        None if host.contains(':') => return None,
        None => host,
    };
    (!inner.contains(['[', ']']) && !port.contains(['[', ']'])).then_some((inner, port))
}

fn strip_port(text: &str) -> String {
    split_host_port(text).map_or(text, |(host, _)| host).to_owned()
}

fn strip_domain(text: &str) -> String {
    let (host, port) = split_host_port(text).unwrap_or((text, ""));
    if host.parse::<std::net::IpAddr>().is_ok() {
        return text.to_owned();
    }
    let short = host.split('.').next().unwrap_or_default();
    match (port, short.contains(':')) {
        ("", _) => short.to_owned(),
        (port, true) => format!("[{short}]:{port}"),
        (port, false) => format!("{short}:{port}"),
    }
}

fn path(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.find('/').and_then(|i| rest.get(i..)).unwrap_or("")
}

fn link(args: &[Value], tab: u8) -> Called {
    let expr = query_escape(convert::text(&convert::exactly::<1>(args)?[0])?);
    Ok(Value::str(format!("/graph?g0.expr={expr}&g0.tab={tab}")))
}

/// What an alerting rule's label or annotation may speak of.
#[derive(Debug, Clone, Copy)]
pub struct AlertText<'a> {
    /// `$labels`, `.Labels`
    pub labels: &'a [(String, String)],
    /// `$externalLabels`, `.ExternalLabels`
    pub external_labels: &'a [(String, String)],
    /// `$externalURL`, `.ExternalURL`
    pub external_url: &'a str,
    /// `$value`, `.Value`: a float, or the text of a histogram.
    pub value: &'a Value,
}

const ALERT_VARIABLES: [&str; 4] = ["$labels", "$externalLabels", "$externalURL", "$value"];

/// Reads the text of an alert's label or annotation, for checking and for [`expand_alert`].
pub fn parse_alert(name: &str, text: &str) -> Result<Template, TemplateError> {
    Template::parse_with_variables(name, text, &FuncSet::prometheus(), &ALERT_VARIABLES)
}

/// The text for one alert.
pub fn expand_alert(template: &Template, about: AlertText<'_>, host: &dyn Host) -> Result<String, ExecError> {
    let labels = Value::Map(Map::of_text(about.labels.iter().cloned()));
    let external_labels = Value::Map(Map::of_text(about.external_labels.iter().cloned()));
    let external_url = Value::str(about.external_url);
    let field = |name, value: &Value| Field { name, json: name, value: value.clone() };
    let data = Value::Struct(Arc::new(Struct {
        type_name: "the alert",
        fields: vec![
            field("Labels", &labels),
            field("ExternalLabels", &external_labels),
            field("ExternalURL", &external_url),
            field("Value", about.value),
        ],
    }));
    let variables = [
        ("$labels", labels),
        ("$externalLabels", external_labels),
        ("$externalURL", external_url),
        ("$value", about.value.clone()),
    ];
    template.execute_with(&data, &variables, host)
}
