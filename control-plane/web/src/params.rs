//! Parameters of a request, from the query and from a form, as Prometheus takes them.

use crate::api::ApiFailure;
use axum::{
    body::Bytes,
    extract::{FromRequest, Request},
};
use http::StatusCode;
use model::{Matcher, Timestamp};
use std::time::Duration;

/// Names and values in the order in which they came: the body's before the query's, as Go merges them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Params(Vec<(String, String)>);

impl<S: Send + Sync> FromRequest<S> for Params {
    type Rejection = ApiFailure;

    async fn from_request(request: Request, _: &S) -> Result<Self, ApiFailure> {
        let query = request.uri().query().unwrap_or("").to_owned();
        let form = request
            .headers()
            .get(http::header::CONTENT_TYPE)
            .and_then(|v| v.to_str().ok())
            .and_then(|v| v.split(';').next())
            .is_some_and(|v| v.trim().eq_ignore_ascii_case("application/x-www-form-urlencoded"));
        let mut pairs = Vec::new();
        if form {
            pairs.extend(decode(&body_of(request).await?));
        }
        pairs.extend(decode(query.as_bytes()));
        Ok(Params(pairs))
    }
}

/// How long a request's body may take to come, however long its answer may: less than any request has, so that the
/// refusal has its shape.
const PATIENCE: Duration = Duration::from_secs(25);

/// A whole body, as far as bodies may be long.
pub(crate) async fn body_of(request: Request) -> Result<Bytes, ApiFailure> {
    let failed = |status, why: &str| ApiFailure {
        status,
        ..ApiFailure::bad_data(format!("the body could not be read: {why}"))
    };
    match tokio::time::timeout(PATIENCE, Bytes::from_request(request, &())).await {
        Ok(Ok(body)) => Ok(body),
        Ok(Err(e)) => Err(failed(e.status(), &e.body_text())),
        Err(_) => {
            let why = format!("it took longer than {} s to come", PATIENCE.as_secs());
            Err(failed(StatusCode::REQUEST_TIMEOUT, &why))
        }
    }
}

fn decode(bytes: &[u8]) -> Vec<(String, String)> {
    url::form_urlencoded::parse(bytes).into_owned().collect()
}

impl Params {
    /// A single one.
    pub(crate) fn of(name: &str, value: &str) -> Params {
        Params(vec![(name.to_owned(), value.to_owned())])
    }

    /// The first value of a name; an empty one counts as absent.
    pub(crate) fn get<'a>(&'a self, name: &'a str) -> Option<&'a str> {
        self.all(name).find(|v| !v.is_empty())
    }

    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    /// A time: seconds since 1970 with decimals, or RFC 3339.
    pub(crate) fn time(&self, name: &str) -> Result<Option<Timestamp>, ApiFailure> {
        self.get(name).map(|text| parse_time(name, text)).transpose()
    }

    /// A time that must be there.
    pub(crate) fn required_time(&self, name: &str) -> Result<Timestamp, ApiFailure> {
        parse_time(name, self.get(name).unwrap_or(""))
    }

    /// A duration: seconds with decimals, or `5m`.
    pub(crate) fn duration(&self, name: &str) -> Result<Option<Duration>, ApiFailure> {
        self.get(name).map(|text| parse_duration(name, text)).transpose()
    }

    /// A step or a lookback: a duration that is neither absent nor negative nor less than a millisecond.
    /// In milliseconds.
    pub(crate) fn positive(&self, name: &str, wrong: &str) -> Result<i64, ApiFailure> {
        let text = self.get(name).unwrap_or("");
        if text.parse::<f64>().is_ok_and(|seconds| seconds <= 0.0) {
            return Err(invalid(name, wrong));
        }
        match i64::try_from(parse_duration(name, text)?.as_millis()) {
            Ok(ms) if ms > 0 => Ok(ms),
            _ => Err(invalid(name, wrong)),
        }
    }

    /// `limit` and its like: 0 and absence mean none.
    pub(crate) fn count(&self, name: &str) -> Result<usize, ApiFailure> {
        let Some(text) = self.get(name) else { return Ok(0) };
        text.parse().map_err(|_| invalid(name, &format!("{text:?} is not a whole number")))
    }

    /// A flag, in the spellings that Go reads; absence is no.
    pub(crate) fn flag(&self, name: &str) -> Result<bool, ApiFailure> {
        match self.get(name) {
            None | Some("0" | "f" | "F" | "false" | "False" | "FALSE") => Ok(false),
            Some("1" | "t" | "T" | "true" | "True" | "TRUE") => Ok(true),
            Some(other) => Err(invalid(name, &format!("{other:?} is not true or false"))),
        }
    }

    /// Each `match[]`, as matchers.
    pub(crate) fn selectors(&self) -> Result<Vec<Vec<Matcher>>, ApiFailure> {
        let parse =
            |text| promql::parse_metric_selector(text).map_err(|e| invalid("match[]", &e.to_string()));
        self.all("match[]").map(parse).collect()
    }
}

pub(crate) fn invalid(name: &str, why: &str) -> ApiFailure {
    ApiFailure::bad_data(format!("invalid parameter {name:?}: {why}"))
}

/// The earliest and latest time that fit milliseconds; Prometheus clients send them for "everything".
const MOST_SECONDS: f64 = 9_223_372_036_854_775.0;

fn parse_time(name: &str, text: &str) -> Result<Timestamp, ApiFailure> {
    if let Ok(seconds) = text.parse::<f64>()
        && seconds.is_finite()
    {
        if seconds.abs() > MOST_SECONDS {
            return Err(invalid(name, &format!("{text:?} is too far away")));
        }
        #[expect(clippy::cast_possible_truncation, reason = "checked above")]
        return Ok((seconds.trunc() * 1000.0 + (seconds.fract() * 1000.0).round()) as i64);
    }
    // What Go prints for its smallest and largest time, beyond what other calendars know.
    match text {
        "-292273086-05-16T16:47:06Z" => return Ok(i64::MIN),
        "292277025-08-18T07:12:54.999999999Z" => return Ok(i64::MAX),
        _ => {}
    }
    text.parse::<jiff::Timestamp>()
        .map(|t| t.as_millisecond())
        .map_err(|_| invalid(name, &format!("cannot parse {text:?} to a valid timestamp")))
}

fn parse_duration(name: &str, text: &str) -> Result<Duration, ApiFailure> {
    let bad = || invalid(name, &format!("cannot parse {text:?} to a valid duration"));
    if let Ok(seconds) = text.parse::<f64>() {
        // What Go's nanoseconds cannot hold is refused, as by Prometheus.
        return Duration::try_from_secs_f64(seconds)
            .ok()
            .filter(|d| i64::try_from(d.as_nanos()).is_ok())
            .ok_or_else(bad);
    }
    model::duration::parse(text).map_err(|_| bad())
}
