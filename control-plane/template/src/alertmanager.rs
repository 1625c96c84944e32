//! Alertmanager's functions, and its data: [`Data`] becomes the `.` of a notification template.

use std::{collections::BTreeMap, sync::Arc};

use base64::{Engine as _, engine::general_purpose::URL_SAFE};
use jiff::{Timestamp, tz::TimeZone};

use crate::{
    context::CallError,
    convert,
    funcs::{FuncSet, bounded, humanize_duration, regex, replace_all, title},
    json, layout,
    out::Overflow,
    prometheus::nested,
    time,
    value::{Field, List, Map, Methods, Safe, Struct, Value},
};

type Called = Result<Value, CallError>;

impl FuncSet {
    /// The functions of Alertmanager's notification templates, as its documentation lists them.
    pub fn alertmanager() -> Self {
        let mut set = FuncSet::builtin();
        let mut text = |name, f: fn(&str) -> String| {
            set.add(name, move |_, args| Ok(Value::str(f(convert::text(&convert::exactly::<1>(args)?[0])?))));
        };
        text("toUpper", |t| t.to_uppercase());
        text("toLower", |t| t.to_lowercase());
        text("title", title);
        text("trimSpace", |t| t.trim().to_owned());
        text("base64encode", |t| URL_SAFE.encode(t));
        set.add("base64decode", |_, args| {
            let text = convert::text(&convert::exactly::<1>(args)?[0])?;
            let bytes = URL_SAFE.decode(text).map_err(|e| CallError(format!("not base64: {e}")))?;
            Ok(Value::str(String::from_utf8_lossy(&bytes).into_owned()))
        });
        set.add("urlUnescape", |_, args| unescape(convert::text(&convert::exactly::<1>(args)?[0])?));
        let mut safe = |name, kind| {
            set.add(name, move |_, args| {
                Ok(Value::Safe(kind, convert::text(&convert::exactly::<1>(args)?[0])?.into()))
            });
        };
        safe("safeHtml", Safe::Html);
        safe("safeUrl", Safe::Url);
        set.add("match", |_, args| {
            let [pattern, text] = convert::exactly(args)?;
            Ok(Value::Bool(regex(convert::text(pattern)?)?.is_match(convert::text(text)?)))
        });
        set.add("reReplaceAll", |ctx, args| replace_all(ctx, args));
        set.add("join", |ctx, args| {
            let [separator, items] = convert::exactly(args)?;
            let separator = convert::text(separator)?;
            let items = texts(items)?;
            bounded(ctx, |out| {
                items.iter().enumerate().try_for_each(|(i, item)| {
                    out.push(if i == 0 { "" } else { separator })?;
                    out.push(item)
                })
            })
        });
        set.add("stringSlice", |_, args| {
            args.iter().try_for_each(|a| convert::text(a).map(drop))?;
            Ok(Value::list(args.to_vec()))
        });
        set.add("humanizeDuration", |_, args| humanize_duration(args));
        set.add("toJson", |ctx, args| {
            let [value] = convert::exactly(args)?;
            let mut problem = None;
            let written = bounded(ctx, |out| {
                json::write(out, value).map_err(|e| {
                    problem = Some(e);
                    Overflow
                })
            });
            written.map_err(|e| problem.map_or(e, |p| CallError(p.to_string())))
        });
        time_functions(&mut set);
        collection_functions(&mut set);
        set.add("routeLabels", |ctx, args| {
            let name = convert::text(&convert::exactly::<1>(args)?[0])?;
            let labels = match ctx.root().base() {
                Value::Struct(s) => s.fields.iter().find(|f| f.name == "RouteLabels").map(|f| f.value.base()),
                _ => None,
            };
            let text = match labels {
                Some(Value::Map(map)) => map.get(name).and_then(Value::text).map(|t| t.to_string()),
                _ => None,
            };
            Ok(Value::str(text.map_or(Ok(String::new()), |text| ctx.expand(&text))?))
        });
        set
    }
}

fn moment(value: &Value) -> Result<&jiff::Zoned, CallError> {
    match value.base() {
        Value::Time(at) => Ok(at),
        other => Err(CallError(format!("expected a time; got {}", other.type_name()))),
    }
}

fn time_functions(set: &mut FuncSet) {
    set.add("date", |_, args| {
        let [layout, at] = convert::exactly(args)?;
        Ok(Value::str(layout::format(moment(at)?, convert::text(layout)?)))
    });
    set.add("tz", |_, args| {
        let [name, at] = convert::exactly(args)?;
        let name = convert::text(name)?;
        let zone = match name {
            "" | "UTC" | "Local" => TimeZone::UTC,
            _ => TimeZone::get(name).map_err(|_| CallError(format!("unknown time zone {name}")))?,
        };
        Ok(Value::Time(Arc::new(moment(at)?.with_time_zone(zone))))
    });
    set.add("since", |ctx, args| {
        let at = moment(&convert::exactly::<1>(args)?[0])?.timestamp();
        let now = Timestamp::from_millisecond(ctx.host().now_ms())
            .map_err(|_| CallError::new("the clock is out of range"))?;
        Ok(Value::Duration(now.duration_since(at)))
    });
    set.add("toDate", |_, args| {
        let [layout, text] = convert::exactly(args)?;
        let at = layout::parse(convert::text(layout)?, convert::text(text)?);
        Ok(Value::Time(Arc::new(at.unwrap_or_else(|_| time::zero()))))
    });
    set.add("mustToDate", |_, args| {
        let [layout, text] = convert::exactly(args)?;
        let at = layout::parse(convert::text(layout)?, convert::text(text)?).map_err(CallError)?;
        Ok(Value::Time(Arc::new(at)))
    });
}

fn collection_functions(set: &mut FuncSet) {
    set.add("dict", |_, args| {
        if !args.len().is_multiple_of(2) {
            return Err(CallError::new("dict wants pairs of key and value"));
        }
        let mut entries = BTreeMap::new();
        for pair in args.chunks(2) {
            entries.insert(convert::text(&pair[0])?.to_owned(), pair[1].clone());
        }
        nested(Value::Map(Map::of_values(entries)))
    });
    set.add("list", |_, args| nested(Value::list(args.to_vec())));
    set.add("append", |_, args| {
        let Some((list, more)) = args.split_first() else {
            return Err(CallError::new("append wants a list"));
        };
        let Value::List(list) = list.base() else {
            return Err(CallError(format!("append wants a list; got {}", list.type_name())));
        };
        nested(Value::List(List::new([list.items(), more].concat())))
    });
}

fn texts(value: &Value) -> Result<Vec<&str>, CallError> {
    match value.base() {
        Value::List(list) => list.items().iter().map(convert::text).collect(),
        Value::Nil => Ok(Vec::new()),
        other => Err(CallError(format!("expected a list of strings; got {}", other.type_name()))),
    }
}

fn unescape(text: &str) -> Called {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(b) = rest.next() {
        match b {
            b'+' => bytes.push(b' '),
            b'%' => {
                let mut digit = || rest.next().and_then(|d| char::from(d).to_digit(16));
                let code = digit().and_then(|high| Some(high * 16 + digit()?));
                let byte = code.and_then(|c| u8::try_from(c).ok());
                bytes.push(byte.ok_or_else(|| CallError(format!("invalid URL escape in {text:?}")))?);
            }
            _ => bytes.push(b),
        }
    }
    Ok(Value::str(String::from_utf8_lossy(&bytes).into_owned()))
}

/// A set of labels or annotations: a map with `SortedPairs`, `Names`, `Values` and `Remove`.
/// `None` is Go's nil map, which prints as `map[]` and is `null` in JSON.
pub fn kv(pairs: Option<&[(String, String)]>) -> Value {
    match pairs {
        Some(pairs) => kv_of(Value::Map(Map::of_text(pairs.iter().cloned()))),
        None => kv_of(Value::Nil),
    }
}

fn kv_of(value: Value) -> Value {
    let methods: Methods = Arc::new(|value, name, args| {
        let entries = || match value {
            Value::Map(map) => Some(map.entries()),
            _ => None,
        };
        Some(match name {
            "SortedPairs" => Ok(pairs(entries().into_iter().flatten().map(|(k, v)| (k.as_str(), v)))),
            "Names" => Ok(names(entries().into_iter().flatten().map(|(k, _)| k.as_str()))),
            "Values" => Ok(values(entries().into_iter().flatten().map(|(k, v)| (k.as_str(), v)))),
            "Remove" => convert::exactly::<1>(args).and_then(|[gone]| {
                let gone = texts(gone)?;
                let kept = entries().into_iter().flatten().filter(|(k, _)| !gone.contains(&k.as_str()));
                let kept =
                    kept.map(|(k, v)| (k.clone(), v.text().map(|t| t.to_string()).unwrap_or_default()));
                Ok(kv_of(Value::Map(Map::of_text(kept))))
            }),
            _ => return None,
        })
    });
    Value::typed("template.KV", value, methods)
}

fn names<'a>(keys: impl Iterator<Item = &'a str>) -> Value {
    Value::list(keys_in_order(keys).into_iter().map(Value::str).collect::<Vec<_>>())
}

fn values<'a>(entries: impl Iterator<Item = (&'a str, &'a Value)>) -> Value {
    Value::list(in_order(entries).into_iter().map(|(_, v)| v.clone()).collect::<Vec<_>>())
}

/// `alertname` first, then by name: Alertmanager's order.
fn in_order<'a>(entries: impl Iterator<Item = (&'a str, &'a Value)>) -> Vec<(&'a str, &'a Value)> {
    let mut all: Vec<_> = entries.collect();
    all.sort_by_key(|(name, _)| (*name != "alertname", *name));
    all
}

fn keys_in_order<'a>(keys: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut all: Vec<_> = keys.collect();
    all.sort_by_key(|name| (*name != "alertname", *name));
    all
}

fn pairs<'a>(entries: impl Iterator<Item = (&'a str, &'a Value)>) -> Value {
    let pair = |(name, value): (&str, &Value)| {
        Value::Struct(Arc::new(Struct {
            type_name: "template.Pair",
            fields: vec![
                Field { name: "Name", json: "Name", value: Value::str(name) },
                Field { name: "Value", json: "Value", value: value.clone() },
            ],
        }))
    };
    let list = Value::list(in_order(entries).into_iter().map(pair).collect::<Vec<_>>());
    let methods: Methods = Arc::new(|value, name, _| {
        let field = match name {
            "Names" => "Name",
            "Values" => "Value",
            _ => return None,
        };
        let Value::List(list) = value else { return None };
        let column = list.items().iter().filter_map(|pair| match pair {
            Value::Struct(s) => s.fields.iter().find(|f| f.name == field).map(|f| f.value.clone()),
            _ => None,
        });
        Some(Ok(Value::list(column.collect::<Vec<_>>())))
    });
    Value::typed("template.Pairs", list, methods)
}

/// One alert of a notification. Times are milliseconds since 1970; `None` is Go's zero time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Alert {
    pub resolved: bool,
    pub labels: Option<Vec<(String, String)>>,
    pub annotations: Option<Vec<(String, String)>>,
    pub starts_at_ms: Option<i64>,
    pub ends_at_ms: Option<i64>,
    pub generator_url: String,
    pub fingerprint: String,
}

/// What a notification template speaks of: the fields of Alertmanager's `Data`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Data {
    pub receiver: String,
    /// `firing` or `resolved`.
    pub status: String,
    pub alerts: Vec<Alert>,
    pub group_labels: Option<Vec<(String, String)>>,
    pub common_labels: Option<Vec<(String, String)>>,
    pub common_annotations: Option<Vec<(String, String)>>,
    pub external_url: String,
    /// Why the message is sent, where it says so.
    pub notification_reason: String,
    pub route_labels: Option<Vec<(String, String)>>,
}

fn time_value(ms: Option<i64>) -> Value {
    Value::Time(Arc::new(ms.and_then(time::from_millis).unwrap_or_else(time::zero)))
}

fn alert(alert: &Alert) -> Value {
    let status = if alert.resolved { "resolved" } else { "firing" };
    let field = |name, json, value| Field { name, json, value };
    Value::Struct(Arc::new(Struct {
        type_name: "template.Alert",
        fields: vec![
            field("Status", "status", Value::str(status)),
            field("Labels", "labels", kv(alert.labels.as_deref())),
            field("Annotations", "annotations", kv(alert.annotations.as_deref())),
            field("StartsAt", "startsAt", time_value(alert.starts_at_ms)),
            field("EndsAt", "endsAt", time_value(alert.ends_at_ms)),
            field("GeneratorURL", "generatorURL", Value::str(alert.generator_url.as_str())),
            field("Fingerprint", "fingerprint", Value::str(alert.fingerprint.as_str())),
        ],
    }))
}

/// A list of alerts with `Firing` and `Resolved`.
fn alerts(list: Value) -> Value {
    let methods: Methods = Arc::new(|value, name, _| {
        let wanted = match name {
            "Firing" => "firing",
            "Resolved" => "resolved",
            _ => return None,
        };
        let Value::List(list) = value else { return None };
        let has_status = |alert: &&Value| match alert {
            Value::Struct(s) => s.fields.iter().any(|f| f.name == "Status" && f.value == Value::str(wanted)),
            _ => false,
        };
        Some(Ok(Value::list(list.items().iter().filter(has_status).cloned().collect::<Vec<_>>())))
    });
    Value::typed("template.Alerts", list, methods)
}

impl Data {
    /// The `.` of a notification template.
    pub fn to_value(&self) -> Value {
        let field = |name, json, value| Field { name, json, value };
        let list = Value::list(self.alerts.iter().map(alert).collect::<Vec<_>>());
        Value::Struct(Arc::new(Struct {
            type_name: "template.Data",
            fields: vec![
                field("Receiver", "receiver", Value::str(self.receiver.as_str())),
                field("Status", "status", Value::str(self.status.as_str())),
                field("Alerts", "alerts", alerts(list)),
                field("GroupLabels", "groupLabels", kv(self.group_labels.as_deref())),
                field("CommonLabels", "commonLabels", kv(self.common_labels.as_deref())),
                field("CommonAnnotations", "commonAnnotations", kv(self.common_annotations.as_deref())),
                field("ExternalURL", "externalURL", Value::str(self.external_url.as_str())),
                field(
                    "NotificationReason",
                    "notificationReason",
                    Value::str(self.notification_reason.as_str()),
                ),
                field("RouteLabels", "routeLabels", kv(self.route_labels.as_deref())),
            ],
        }))
    }
}
