//! `/federate`: the newest sample of each series that is asked for, in the text format, for another server to scrape.
//!
//! As Prometheus has it: families are untyped, samples carry their own times, and a series without an `instance`
//! shows an empty one, so that whoever honours labels adds none. Histograms need a format that is not written here.

use crate::{
    Plane, Routes,
    access::{Need, Role},
    api::{ApiFailure, bounded, in_pieces},
    params::Params,
};
use axum::{
    http::HeaderMap,
    response::{IntoResponse, Response},
};
use http::{Method, header};
use model::{
    Hints, Labels, Limits, SampleColumns, Select, SelectRequest, Timestamp, Value,
    labels::{METRIC_NAME, is_legacy_metric_name, is_legacy_name},
    number,
};
use promql::{EvalError, Lease};
use std::{borrow::Cow, collections::BTreeMap, fmt::Write, sync::Arc};

pub(crate) fn add(routes: &mut Routes, plane: &Plane) {
    let own = plane.clone();
    routes.add(
        Method::GET,
        "/federate",
        Need::Role(Role::Viewer),
        move |headers: HeaderMap, params: Params| {
            let plane = own.clone();
            async move { federate(&plane, &headers, &params).await }
        },
    );
}

/// The newest sample of each series, families together.
type Found = BTreeMap<(String, Labels), (Timestamp, f64)>;

async fn federate(plane: &Plane, headers: &HeaderMap, params: &Params) -> Result<Response, ApiFailure> {
    let sets = params.selectors()?;
    if sets.is_empty() {
        return Err(ApiFailure::bad_data(
            "no match[] parameter provided: say which series, match[]=up for one",
        ));
    }
    let accept = headers.get(header::ACCEPT).and_then(|v| v.to_str().ok()).unwrap_or("");
    let utf8 = accept.contains("escaping=allow-utf-8");
    let (select, now) = (Arc::clone(&plane.select), plane.clock.now_ms());
    let (lookback, most) = (plane.engine.config().lookback, plane.engine.config().max_series);
    let external = plane.about.external_labels();
    let body = bounded(plane, plane.query_timeout, move |cancel, _| {
        let mut found = Found::new();
        for set in &sets {
            let mut request = SelectRequest::new(set, now.saturating_sub(lookback) + 1, now);
            request.cancel = cancel.clone();
            request.hints = Hints { newest: true, ..Hints::default() };
            request.limits = Limits { series: Some(most.saturating_sub(found.len())), ..Limits::default() };
            newest(&*select, &request, &external, &mut found)?;
        }
        Ok(text(&found, utf8))
    })
    .await?;
    let kind = if utf8 {
        "text/plain; version=1.0.0; charset=utf-8; escaping=allow-utf-8"
    } else {
        "text/plain; version=0.0.4; charset=utf-8; escaping=underscores"
    };
    let response = ([(header::CONTENT_TYPE, kind)], body).into_response();
    Ok(in_pieces(plane, response, Lease::default()).await)
}

fn newest(
    select: &dyn Select,
    request: &SelectRequest<'_>,
    external: &Labels,
    found: &mut Found,
) -> Result<(), EvalError> {
    let mut stream = select.select(request)?;
    let mut samples = SampleColumns::default();
    while let Some((_, labels)) = stream.next(&mut samples)? {
        request.cancel.check()?;
        let Some(last) = samples.times.len().checked_sub(1) else { continue };
        match samples.value(last) {
            Value::Float(v) if !model::is_stale_nan(v) && !labels.metric_name().is_empty() => {
                let shown = labels.with_missing(external);
                found.insert((labels.metric_name().to_owned(), shown), (samples.times[last], v));
            }
            _ => {}
        }
    }
    Ok(())
}

fn text(found: &Found, utf8: bool) -> String {
    let mut out = String::new();
    let mut family = "";
    for ((name, labels), (at, value)) in found {
        let (shown, plain) = metric(name, utf8);
        if name != family {
            let _infallible = writeln!(out, "# TYPE {shown} untyped");
            family = name;
        }
        // A name that needs quotes stands among the labels.
        if plain {
            out.push_str(&shown);
        }
        let mut pairs: Vec<String> = if plain { Vec::new() } else { vec![shown.into_owned()] };
        if labels.get("instance").is_none() {
            pairs.push("instance=\"\"".to_owned());
        }
        for l in labels.iter().filter(|l| &*l.name != METRIC_NAME) {
            pairs.push(format!("{}=\"{}\"", label(&l.name, utf8), escaped(&l.value)));
        }
        let _infallible = writeln!(out, "{{{}}} {} {at}", pairs.join(","), number::format(*value));
    }
    out
}

/// A metric's name as it is shown, and whether it stands before the labels.
fn metric(name: &str, utf8: bool) -> (Cow<'_, str>, bool) {
    match (is_legacy_metric_name(name), utf8) {
        (true, _) => (Cow::Borrowed(name), true),
        (false, true) => (Cow::Owned(format!("\"{}\"", escaped(name))), false),
        (false, false) => (Cow::Owned(underscored(name, ':')), true),
    }
}

fn label(name: &str, utf8: bool) -> Cow<'_, str> {
    match (is_legacy_name(name), utf8) {
        (true, _) => Cow::Borrowed(name),
        (false, true) => Cow::Owned(format!("\"{}\"", escaped(name))),
        (false, false) => Cow::Owned(underscored(name, '_')),
    }
}

/// A name for whoever does not take all characters: others become underscores. `also` may stand in it.
fn underscored(name: &str, also: char) -> String {
    let legal =
        |i: usize, c: char| c.is_ascii_alphabetic() || c == '_' || c == also || (i > 0 && c.is_ascii_digit());
    name.chars().enumerate().map(|(i, c)| if legal(i, c) { c } else { '_' }).collect()
}

fn escaped(text: &str) -> Cow<'_, str> {
    if text.contains(['\\', '"', '\n']) {
        Cow::Owned(text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
    } else {
        Cow::Borrowed(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found<const N: usize>(series: [(Labels, Timestamp, f64); N]) -> Found {
        series.into_iter().map(|(l, at, v)| ((l.metric_name().to_owned(), l), (at, v))).collect()
    }

    #[test]
    fn families_stand_together_and_odd_texts_are_escaped() {
        let found = found([
            (Labels::from_pairs([("__name__", "up"), ("instance", "b:1"), ("Zone", "a")]), 2_000, 1.0),
            (Labels::from_pairs([("__name__", "load"), ("text", "a\\b\"c\nd")]), 1_500, f64::INFINITY),
            (Labels::from_pairs([("__name__", "up"), ("instance", "a:1")]), 2_000, 0.5),
        ]);
        assert_eq!(
            text(&found, false),
            "# TYPE load untyped\n\
             load{instance=\"\",text=\"a\\\\b\\\"c\\nd\"} +Inf 1500\n\
             # TYPE up untyped\n\
             up{Zone=\"a\",instance=\"b:1\"} 1 2000\n\
             up{instance=\"a:1\"} 0.5 2000\n"
        );
    }

    #[test]
    fn names_of_all_characters_are_quoted_for_those_who_take_them() {
        let labels = Labels::from_pairs([("__name__", "a.b"), ("way/of", "x"), ("instance", "i")]);
        let found = found([(labels, 1, 1.0)]);
        assert_eq!(
            text(&found, true),
            "# TYPE \"a.b\" untyped\n{\"a.b\",instance=\"i\",\"way/of\"=\"x\"} 1 1\n"
        );
        assert_eq!(text(&found, false), "# TYPE a_b untyped\na_b{instance=\"i\",way_of=\"x\"} 1 1\n");
    }
}
