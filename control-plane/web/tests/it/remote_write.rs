//! Remote write over HTTP: the receiver's cases of Prometheus's compliance suite, and what they leave out.

use crate::{
    plane::{NOW, OPERATOR, SERVICE, Setup, VIEWER},
    suites,
};
use model::{Matcher, SampleColumns, Select, SelectRequest, is_stale_nan, sample::STALE_NAN_BITS};
use serde_json::Value;
use std::{collections::BTreeMap, sync::Arc};
use tsdb::{Tsdb, TsdbConfig, disk::fake::FakeDisk};

const V1: &str = "application/x-protobuf";
const V2: &str = "application/x-protobuf;proto=io.prometheus.write.v2.Request";

/// A message under construction.
#[derive(Debug, Default, Clone)]
struct Message(Vec<u8>);

impl Message {
    fn raw(&mut self, mut v: u64) {
        while v >= 0x80 {
            self.0.push(v.to_le_bytes()[0] | 0x80);
            v >>= 7;
        }
        self.0.push(v.to_le_bytes()[0]);
    }

    fn varint(mut self, field: u64, v: i64) -> Self {
        self.raw(field << 3);
        self.raw(v.cast_unsigned());
        self
    }

    fn zigzag(self, field: u64, v: i64) -> Self {
        self.varint(field, (v << 1) ^ (v >> 63))
    }

    fn double(mut self, field: u64, v: f64) -> Self {
        self.raw(field << 3 | 1);
        self.0.extend(v.to_bits().to_le_bytes());
        self
    }

    fn bytes(mut self, field: u64, bytes: &[u8]) -> Self {
        self.raw(field << 3 | 2);
        self.raw(bytes.len() as u64);
        self.0.extend(bytes);
        self
    }

    fn message(self, field: u64, inner: &Message) -> Self {
        self.bytes(field, &inner.0)
    }

    fn packed(self, field: u64, numbers: impl IntoIterator<Item = i64>) -> Self {
        let mut list = Message::default();
        numbers.into_iter().for_each(|n| list.raw(n.cast_unsigned()));
        self.message(field, &list)
    }
}

fn number(v: &Value) -> f64 {
    match v.as_str() {
        Some("StaleNaN") => f64::from_bits(STALE_NAN_BITS),
        Some(text) => text.parse().expect("a number"),
        None => v.as_f64().unwrap_or(0.0),
    }
}

fn integer(v: &Value) -> i64 {
    v.as_i64().unwrap_or(0)
}

fn items(v: &Value) -> impl Iterator<Item = &Value> {
    v.as_array().into_iter().flatten()
}

/// Texts by number, as version 2 has them.
#[derive(Debug)]
struct Symbols(Vec<String>);

impl Symbols {
    fn of(&mut self, text: &str) -> i64 {
        let i = self.0.iter().position(|s| s == text).unwrap_or_else(|| {
            self.0.push(text.to_owned());
            self.0.len() - 1
        });
        i64::try_from(i).expect("few")
    }

    fn labels(&mut self, labels: &Value) -> Vec<i64> {
        let sorted: BTreeMap<String, String> = serde_json::from_value(labels.clone()).unwrap_or_default();
        sorted.iter().flat_map(|(name, value)| [self.of(name), self.of(value)]).collect()
    }
}

fn histogram(h: &Value) -> Message {
    let mut out = Message::default()
        .varint(1, integer(&h["count"]))
        .double(3, number(&h["sum"]))
        .zigzag(4, integer(&h["schema"]))
        .double(5, number(&h["zero_threshold"]))
        .varint(6, integer(&h["zero_count"]));
    for (spans, deltas, name) in [(8, 9, "negative"), (11, 12, "positive")] {
        for span in items(&h[format!("{name}_spans")]) {
            let span = Message::default().zigzag(1, integer(&span[0])).varint(2, integer(&span[1]));
            out = out.message(spans, &span);
        }
        let list = items(&h[format!("{name}_deltas")]).map(|d| (integer(d) << 1) ^ (integer(d) >> 63));
        out = out.packed(deltas, list);
    }
    let bounds: Vec<u8> =
        items(&h["custom_values"]).flat_map(|b| number(b).to_bits().to_le_bytes()).collect();
    if bounds.is_empty() { out } else { out.bytes(16, &bounds) }
}

/// A request of the suite in version 2.
fn version_2(request: &Value, now: i64) -> Vec<u8> {
    let mut symbols = Symbols(vec![String::new()]);
    let at = |v: &Value| now + integer(&v["Offset"]) / 1_000_000;
    let start = |v: &Value| v["CreatedTimestamp"]["offset_ms"].as_i64().map_or(0, |ms| now + ms);
    let mut exemplars: Vec<(&Value, Message)> = items(&request["Exemplars"])
        .map(|e| {
            let refs = symbols.labels(&e["ExemplarLabels"]);
            let message = Message::default().packed(1, refs).double(2, number(&e["Value"])).varint(3, at(e));
            (&e["Labels"], message)
        })
        .collect();
    let mut about: Vec<(&Value, Message)> = items(&request["Metadata"])
        .map(|m| {
            let kinds = [
                "unspecified",
                "counter",
                "gauge",
                "histogram",
                "gaugehistogram",
                "summary",
                "info",
                "stateset",
            ];
            let kind = kinds.iter().position(|k| m["Type"] == *k).expect("a type");
            let (help, unit) = (m["Help"].as_str().unwrap_or(""), m["Unit"].as_str().unwrap_or(""));
            let message = Message::default()
                .varint(1, i64::try_from(kind).expect("small"))
                .varint(3, symbols.of(help))
                .varint(4, symbols.of(unit));
            (&m["Labels"], message)
        })
        .collect();
    let mut series: Vec<Message> = Vec::new();
    let samples = items(&request["Samples"]).map(|s| (s, false));
    for (given, is_histogram) in samples.chain(items(&request["Histograms"]).map(|h| (h, true))) {
        let mut one = Message::default().packed(1, symbols.labels(&given["Labels"]));
        one = if is_histogram {
            let h = histogram(&given["Histogram"]).varint(15, at(given)).varint(17, start(given));
            one.message(3, &h)
        } else {
            let s = Message::default().double(1, number(&given["Value"])).varint(2, at(given));
            one.message(2, &s.varint(3, start(given)))
        };
        for (_, exemplar) in exemplars.extract_if(.., |(labels, _)| **labels == given["Labels"]) {
            one = one.message(4, &exemplar);
        }
        for (labels, message) in &about {
            if labels["__name__"] == given["Labels"]["__name__"] {
                one = one.message(5, message);
            }
        }
        series.push(one);
    }
    let names: Vec<&Value> = items(&request["Samples"])
        .chain(items(&request["Histograms"]))
        .map(|g| &g["Labels"]["__name__"])
        .collect();
    about.retain(|(labels, _)| !names.contains(&&labels["__name__"]));
    for (labels, field, message) in
        exemplars.iter().map(|(l, e)| (l, 4, e)).chain(about.iter().map(|(l, m)| (l, 5, m)))
    {
        series.push(Message::default().packed(1, symbols.labels(labels)).message(field, message));
    }
    let mut out = Message::default();
    for symbol in &symbols.0 {
        out = out.bytes(4, symbol.as_bytes());
    }
    for one in &series {
        out = out.message(5, one);
    }
    out.0
}

/// Floats in version 1.
fn version_1(samples: &[(&str, &[(i64, f64)])]) -> Vec<u8> {
    let mut out = Message::default();
    for (name, samples) in samples {
        let label = Message::default().bytes(1, b"__name__").bytes(2, name.as_bytes());
        let mut series = Message::default().message(1, &label);
        for (at, v) in *samples {
            series = series.message(2, &Message::default().double(1, *v).varint(2, *at));
        }
        out = out.message(1, &series);
    }
    out.0
}

fn compressed(body: &[u8]) -> Vec<u8> {
    snap::raw::Encoder::new().compress_vec(body).expect("compresses")
}

fn store(max_series: Option<usize>) -> Tsdb {
    let config = TsdbConfig { max_series, sync_every: None, ..TsdbConfig::new("/data") };
    Tsdb::open(config, Arc::new(FakeDisk::default())).expect("opens").0
}

/// Samples of a metric: times and values, with starts.
fn samples_of(db: &Tsdb, name: &str) -> Vec<(i64, f64, i64)> {
    let matchers = [Matcher::eq("__name__", name)];
    let request = SelectRequest::new(&matchers, i64::MIN, i64::MAX);
    let mut stream = db.select(&request).expect("selects");
    let (mut columns, mut out) = (SampleColumns::default(), Vec::new());
    while let Some(_series) = stream.next(&mut columns).expect("reads") {
        for (i, (at, v)) in columns.times.iter().zip(&columns.values).enumerate() {
            out.push((*at, *v, columns.starts.get(i).copied().unwrap_or(0)));
        }
    }
    out
}

#[tokio::test]
async fn the_receiver_does_what_the_compliance_suite_asks_for() {
    let Some(text) = suites::text_of("compliance/remotewrite/receiver_cases.json") else { return };
    let table: Value = serde_json::from_str(&text).expect("JSON");
    let cases = table["cases"].as_array().expect("cases");
    assert_eq!(cases.len() as u64, table["_count"].as_u64().expect("a count"));
    let db = store(None);
    let vigie = Setup { append: Some(Arc::new(db.clone())), ..Setup::default() }.start().await;
    let mut wrong = Vec::new();
    for (i, case) in (0..).zip(cases) {
        let old = case["protocol"] == "1.0";
        // Each case has its own time: series come again in others.
        let now = NOW + i * 4 * 3_600_000;
        let body = if old {
            let samples: Vec<(&str, [(i64, f64); 1])> = items(&case["request"]["Samples"])
                .map(|s| (s["Labels"]["__name__"].as_str().expect("a name"), [(now, number(&s["Value"]))]))
                .collect();
            version_1(&samples.iter().map(|(n, s)| (*n, &s[..])).collect::<Vec<_>>())
        } else {
            version_2(&case["request"], now)
        };
        let mut body = compressed(&body);
        if let Some(byte) = case["corrupt_first_body_byte"].as_str().and_then(|s| s.chars().next()) {
            body[0] = u8::try_from(u32::from(byte)).expect("a byte");
        }
        let mut headers = BTreeMap::from([
            ("Content-Type", if old { V1 } else { V2 }),
            ("Content-Encoding", "snappy"),
            ("X-Prometheus-Remote-Write-Version", if old { "0.1.0" } else { "2.0.0" }),
        ]);
        for (name, value) in case["headers"].as_object().into_iter().flatten() {
            headers.insert(name, value.as_str().expect("text"));
        }
        let mut request = vigie.request("POST", "/api/v1/write").body(body);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let answer = crate::plane::Answer::of(request).await;
        let count = |what: &str| -> u64 {
            answer.header(&format!("x-prometheus-remote-write-{what}-written")).parse().unwrap_or(0)
        };
        let written = ["samples", "histograms", "exemplars"].map(count);
        let allowed =
            ["samples", "histograms", "exemplars"].map(|w| case["written"][w].as_u64().unwrap_or(0));
        let accepted = case["accepted"] == true;
        let status = case["status"].as_u64().unwrap_or(if accepted { 204 } else { 400 });
        let counts =
            if accepted { written == allowed } else { written.iter().zip(&allowed).all(|(w, a)| w <= a) };
        if u64::from(answer.status) != status || !counts {
            wrong.push(format!("{}: {} {written:?} {}", case["test"], answer.status, answer.text));
        }
    }
    assert!(wrong.is_empty(), "{} of {} cases:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
    println!("{} cases of the receiver's compliance suite", cases.len());
    let counters = samples_of(&db, "http_requests_total");
    assert!(counters.iter().any(|(at, v, start)| *v == 100.0 && *start == at - 3_600_000), "starts are kept");
    assert!(samples_of(&db, "up").iter().any(|(_, v, _)| is_stale_nan(*v)), "and so are staleness markers");
}

async fn push(vigie: &crate::plane::Running, kind: &str, body: &[u8]) -> crate::plane::Answer {
    let request = vigie
        .request("POST", "/api/v1/write")
        .header("content-type", kind)
        .header("content-encoding", "snappy")
        .body(compressed(body));
    crate::plane::Answer::of(request).await
}

#[tokio::test]
async fn what_can_be_taken_is_taken_and_the_rest_is_named() {
    let db = store(Some(3));
    let vigie = Setup { append: Some(Arc::new(db.clone())), ..Setup::default() }.start().await;
    let body = version_1(&[("a", &[(NOW, 1.0), (NOW + 1, 2.0)]), ("b", &[(NOW, 3.0)])]);
    assert_eq!(push(&vigie, V1, &body).await.status, 204);
    // Times between and before those that are there.
    let late = version_1(&[("a", &[(NOW - 5, 0.0), (NOW + 2, 4.0)]), ("b", &[(NOW, 9.0)])]);
    let answer = push(&vigie, V1, &late).await;
    assert_eq!(answer.status, 400);
    let message = answer.json()["message"].as_str().expect("a message").to_owned();
    assert!(message.starts_with("2 of 3 samples were not taken."), "{message}");
    assert!(message.contains("{__name__=\"a\"}") && message.contains("{__name__=\"b\"}"), "{message}");
    assert_eq!(samples_of(&db, "a"), [(NOW, 1.0, 0), (NOW + 1, 2.0, 0), (NOW + 2, 4.0, 0)]);
    // The same again is taken as it is.
    let again = version_1(&[("a", &[(NOW + 2, 4.0)])]);
    assert_eq!(push(&vigie, V1, &again).await.status, 204);
    // More series than there is room for: known ones go on.
    let many = version_1(&[("a", &[(NOW + 3, 5.0)]), ("c", &[(NOW, 1.0)]), ("d", &[(NOW, 1.0)])]);
    let answer = push(&vigie, V1, &many).await;
    assert_eq!((answer.status, answer.header("retry-after")), (429, "30"), "{}", answer.text);
    assert_eq!(samples_of(&db, "a").len(), 4);
    db.close().expect("closes");
    let answer = push(&vigie, V1, &version_1(&[("a", &[(NOW + 9, 5.0)])])).await;
    assert_eq!((answer.status, answer.header("retry-after")), (503, "5"), "{}", answer.text);
}

#[tokio::test]
async fn only_services_and_operators_write() {
    let db = store(None);
    let vigie = Setup { append: Some(Arc::new(db)), tokens: true, ..Setup::default() }.start().await;
    for (token, status) in [(None, 401), (Some(VIEWER), 403), (Some(OPERATOR), 204), (Some(SERVICE), 204)] {
        let mut request = vigie
            .request("POST", "/api/v1/write")
            .header("content-type", V1)
            .body(compressed(&version_1(&[("a", &[(NOW, 1.0)])])));
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        assert_eq!(crate::plane::Answer::of(request).await.status, status, "{token:?}");
    }
}

#[tokio::test]
async fn bodies_that_are_too_large_are_refused_before_there_is_memory_for_them() {
    let db = store(None);
    let vigie = Setup { append: Some(Arc::new(db)), ..Setup::default() }.start().await;
    let send = async |body: Vec<u8>| {
        crate::plane::Answer::of(vigie.request("POST", "/api/v1/write").header("content-type", V1).body(body))
            .await
    };
    // It says that it has 4 GiB.
    let answer = send(vec![0xff, 0xff, 0xff, 0xff, 0x0f, 0x00]).await;
    assert_eq!(answer.status, 413, "{}", answer.text);
    // It says that it has 1 MiB, which so few bytes cannot make.
    let answer = send(vec![0x80, 0x80, 0x40, 0x00]).await;
    assert_eq!(answer.status, 400, "{}", answer.text);
    let answer = send(vec![0; (16 << 20) + 1]).await;
    assert_eq!(answer.status, 413, "{}", answer.text);
}
