//! Names, labels and samples, held against the tables of their owners.

use super::{
    OtlpConfig,
    convert::{Promotion, convert, labels, resource_labels, scope_labels},
    data::{Attribute, Kind, Metric, Point, ResourceMetrics, ScopeMetrics, Shape, Temporality},
    json,
    name::{LabelNamer, MetricNamer, unit_name},
    proto,
};
use model::Value as Sample;
use serde_json::Value;
use std::{collections::BTreeMap, path::PathBuf};

/// A table outside the repository: `SUITES_DIR`, else beside it.
#[expect(clippy::disallowed_methods, reason = "tests find the suites by environment variables")]
fn suite(name: &str) -> Option<Value> {
    let dir = std::env::var("SUITES_DIR").map_or_else(
        |_| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/suites")),
        PathBuf::from,
    );
    let path = dir.join(name);
    if !path.exists() {
        assert!(std::env::var("SUITES_REQUIRED").as_deref() != Ok("1"), "{} is missing", path.display());
        println!("skipped: {} does not exist", path.display());
        return None;
    }
    serde_json::from_str(&std::fs::read_to_string(path).expect("readable")).expect("JSON")
}

fn cases(table: &Value) -> &Vec<Value> {
    table["cases"].as_array().expect("cases")
}

fn text<'a>(v: &'a Value, key: &str) -> &'a str {
    v[key].as_str().unwrap_or("")
}

#[test]
fn metrics_are_named_as_the_translators_table_says() {
    let Some(table) = suite("otlp-naming/metric_name.json") else { return };
    let mut wrong = Vec::new();
    for case in cases(&table) {
        let (namer, metric) = (&case["namer"], &case["metric"]);
        let namespace: &'static str = text(namer, "Namespace").to_owned().leak();
        let namer = MetricNamer {
            utf8: namer["UTF8Allowed"] == true,
            suffixes: namer["WithMetricSuffixes"] == true,
            namespace,
        };
        let kind = match text(metric, "Type") {
            "gauge" => Kind::Gauge,
            "monotonic_sum" => Kind::Counter,
            _ => Kind::Other,
        };
        let (name, unit) = (text(metric, "Name"), text(metric, "Unit"));
        let got = namer.name(name, unit, kind);
        let fits = match (&got, case["wantError"].as_str()) {
            (Ok(got), None) => got == text(case, "wantMetricName"),
            (Err(got), Some(want)) => got == want,
            _ => false,
        };
        if !fits {
            wrong.push(format!("{namer:?} {name:?} {unit:?} {kind:?}: {got:?}, {case}"));
        }
        if let Some(want) = case["wantUnitName"].as_str()
            && unit_name(unit) != want
        {
            wrong.push(format!("unit {unit:?}: {:?}, not {want:?}", unit_name(unit)));
        }
    }
    assert!(wrong.is_empty(), "{} are wrong: {wrong:#?}", wrong.len());
}

#[test]
fn labels_are_named_as_the_translators_table_says() {
    let Some(table) = suite("otlp-naming/label_name.json") else { return };
    let mut wrong = Vec::new();
    for case in cases(&table) {
        let plain = "sanitized";
        for (mark_underscore, keep_underscores, fields, error) in [
            (false, false, &[plain][..], "wantSanitizationError"),
            (
                false,
                true,
                &["sanitizedMultipleUnderscores", plain],
                "wantSanitizationMultipleUnderscoresError",
            ),
            (true, false, &["sanitizedUnderscoreLabelSanitization", plain], "wantSanitizationError"),
        ] {
            let name = text(case, "label");
            let got = LabelNamer { utf8: false, mark_underscore, keep_underscores }.name(name);
            let error = case[error].as_str().or(case["wantSanitizationError"].as_str());
            let want = fields.iter().find_map(|f| case[*f].as_str()).unwrap_or("");
            let fits = match (&got, error) {
                (Ok(got), None) => got == want,
                (Err(got), Some(want)) => got == want,
                _ => false,
            };
            if !fits {
                wrong.push(format!("{name:?} ({mark_underscore}, {keep_underscores}): {got:?}, {case}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{} are wrong: {wrong:#?}", wrong.len());
}

fn attributes(v: &Value) -> Vec<Attribute> {
    let pair = |(name, value): (&String, &Value)| (name.clone(), value.as_str().unwrap_or("").to_owned());
    v.as_object().into_iter().flatten().map(pair).collect()
}

fn list(v: &Value) -> Vec<String> {
    v.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

#[test]
fn attributes_become_labels_as_the_table_says() {
    let Some(table) = suite("otlp-naming/attributes.json") else { return };
    let fixtures = &table["fixtures"];
    for case in cases(&table) {
        let fixture = |kind: &str, or: &str| fixtures[kind][case[kind].as_str().unwrap_or(or)].clone();
        let scope = fixture("scope", "none");
        let scope = ScopeMetrics {
            name: text(&scope, "name").to_owned(),
            version: text(&scope, "version").to_owned(),
            schema_url: text(&scope, "schema_url").to_owned(),
            attributes: attributes(&scope["attributes"]),
            metrics: Vec::new(),
        };
        let ignored = list(&case["ignoreAttrs"]);
        let point: Vec<Attribute> = attributes(&fixture("attrs", "default"))
            .into_iter()
            .filter(|(n, _)| !ignored.contains(n))
            .collect();
        let promotion = Promotion {
            resource: list(&case["promoteResourceAttributes"]),
            all_resource: case["promoteAllResourceAttributes"] == true,
            ignore_resource: list(&case["ignoreResourceAttributes"]),
            scope: case["promoteScope"] == true,
            labels: LabelNamer {
                utf8: false,
                mark_underscore: case["labelNameUnderscoreSanitization"] == true,
                keep_underscores: case["labelNamePreserveMultipleUnderscores"] == true,
            },
        };
        let of_resource =
            resource_labels(&attributes(&fixture("resource", "default")), &promotion).expect("labels");
        let of_scope = scope_labels(&scope, &promotion).expect("labels");
        let mut got = labels(&of_resource, &of_scope, &point, promotion.labels).expect("labels");
        got.insert("__name__".to_owned(), "test_metric".to_owned());
        let want: BTreeMap<String, String> = attributes(&case["expectedLabels"]).into_iter().collect();
        assert_eq!(got, want, "{}", case["name"]);
    }
}

const EXPORT: &str = r#"{"resourceMetrics": [{
  "resource": {"attributes": [
    {"key": "service.name", "value": {"stringValue": "shop"}},
    {"key": "host.cpus", "value": {"intValue": "8"}}]},
  "scopeMetrics": [{"metrics": [
    {"name": "http.requests", "unit": "1", "description": "Requests.", "sum": {
      "aggregationTemporality": 2, "isMonotonic": true, "dataPoints": [
        {"asInt": "7", "startTimeUnixNano": "1000000000", "timeUnixNano": "2000000000", "attributes": [
           {"key": "http.route", "value": {"stringValue": "/"}}],
         "exemplars": [{"asDouble": 1, "timeUnixNano": "1500000000", "traceId": "5b8efff798038103d269b633813fc60c"}]}]}},
    {"name": "latency", "unit": "s", "histogram": {"aggregationTemporality": "AGGREGATION_TEMPORALITY_CUMULATIVE",
      "dataPoints": [{"timeUnixNano": 2000000000, "count": "3", "sum": 1.5, "bucketCounts": ["1", "2"], "explicitBounds": [0.5]}]}},
    {"name": "fine", "exponentialHistogram": {"aggregationTemporality": 2, "dataPoints": [
      {"timeUnixNano": "2000000000", "count": "6", "sum": 9, "scale": 9, "zeroCount": "1",
       "positive": {"offset": 2, "bucketCounts": ["1", "0", "2", "0", "0", "0", "0", "0", "0", "0", "2"]}}]}},
    {"name": "delta", "sum": {"aggregationTemporality": 1, "isMonotonic": true, "dataPoints": [{"asInt": "1"}]}},
    {"name": "gone", "gauge": {"dataPoints": [{"timeUnixNano": "2000000000", "flags": 1}]}}
  ]}]}]}"#;

#[test]
fn an_export_becomes_series() {
    let read = json::read(EXPORT.as_bytes()).expect("reads");
    let made = convert(&read, &OtlpConfig::default());
    let shown: Vec<String> = made
        .series
        .iter()
        .map(|s| match &s.point.value {
            Sample::Float(v) => format!("{} {v} @ {}", s.labels, s.point.at),
            Sample::Histogram(h) => format!("{} {:?} {:?}", s.labels, h.positive_spans, h.positive),
        })
        .collect();
    assert_eq!(
        shown,
        [
            r#"{__name__="http_requests_total", http_route="/", job="shop"} 7 @ 2000"#,
            r#"{__name__="latency_seconds_sum", job="shop"} 1.5 @ 2000"#,
            r#"{__name__="latency_seconds_count", job="shop"} 3 @ 2000"#,
            r#"{__name__="latency_seconds_bucket", job="shop", le="0.5"} 1 @ 2000"#,
            r#"{__name__="latency_seconds_bucket", job="shop", le="+Inf"} 3 @ 2000"#,
            // Twice as coarse: the buckets 2..=12 become 1..=6, told from their upper ends.
            r#"{__name__="fine", job="shop"} [Span { offset: 2, length: 2 }, Span { offset: 3, length: 1 }] [1.0, 2.0, 2.0]"#,
            r#"{__name__="gone", job="shop"} NaN @ 2000"#,
            r#"{__name__="target_info", host_cpus="8", job="shop"} 1 @ 2000"#,
        ]
    );
    let first = &made.series[0];
    assert_eq!((first.point.start, first.exemplars.len()), (Some(1000), 1));
    assert_eq!(first.exemplars[0].labels.value("trace_id"), "5b8efff798038103d269b633813fc60c");
    assert_eq!(
        first.about.as_ref().map(|a| (a.kind.as_str(), a.help.as_str())),
        Some(("counter", "Requests."))
    );
    assert!(made.series[6].point.value.is_stale(), "a point without a value ends its series");
    assert_eq!(made.rejected, 1);
    assert!(made.why.contains("\"delta\"") && made.why.contains("cumulative"), "{}", made.why);
}

fn configured(text: &str) -> Result<OtlpConfig, String> {
    let file = crate::File { name: "otlp.yaml", text };
    OtlpConfig::parse(file, false, &|_| None).map_err(|problems| problems.to_string())
}

/// The labels of all series that come of an export.
fn series(text: &str) -> Vec<String> {
    let config = configured(text).expect("reads");
    let made = convert(&json::read(EXPORT.as_bytes()).expect("reads"), &config);
    made.series.iter().map(|s| s.labels.to_string()).collect()
}

#[test]
fn the_configuration_says_how_exports_are_translated() {
    for (text, some) in [
        ("", r#"{__name__="http_requests_total", http_route="/", job="shop"}"#),
        (
            "otlp: {promote_resource_attributes: [host.cpus, other]}",
            r#"{__name__="http_requests_total", host_cpus="8", http_route="/", job="shop"}"#,
        ),
        (
            "otlp: {promote_all_resource_attributes: true, ignore_resource_attributes: [service.name]}",
            r#"{__name__="http_requests_total", host_cpus="8", http_route="/", job="shop"}"#,
        ),
        (
            "otlp: {translation_strategy: NoTranslation}",
            r#"{__name__="http.requests", "http.route"="/", job="shop"}"#,
        ),
        (
            "otlp: {translation_strategy: NoUTF8EscapingWithSuffixes}",
            r#"{__name__="http.requests_total", "http.route"="/", job="shop"}"#,
        ),
        (
            "otlp: {translation_strategy: UnderscoreEscapingWithoutSuffixes}",
            r#"{__name__="http_requests", http_route="/", job="shop"}"#,
        ),
        (
            "otlp: {keep_identifying_resource_attributes: true}",
            r#"{__name__="target_info", host_cpus="8", job="shop", service_name="shop"}"#,
        ),
        ("otlp: {convert_histograms_to_nhcb: true}", r#"{__name__="latency_seconds", job="shop"}"#),
    ] {
        let all = series(text);
        assert!(all.iter().any(|labels| labels == some), "{text}: {some}: {all:#?}");
    }
    let labels = OtlpConfig::default().promotion.labels;
    for (attribute, label) in [("_own", "key_own"), ("a__b", "a__b"), ("__kept", "__kept")] {
        assert_eq!(labels.name(attribute).as_deref(), Ok(label));
    }
    let config = configured("otlp: {convert_histograms_to_nhcb: true}").expect("reads");
    let made = convert(&json::read(EXPORT.as_bytes()).expect("reads"), &config);
    let Sample::Histogram(h) = &made.series[1].point.value else { panic!("no histogram") };
    assert_eq!((h.custom_bounds.as_deref(), &h.positive[..]), (Some(&[0.5][..]), &[1.0, 2.0][..]));
    assert_eq!((h.schema, h.count, h.sum), (-53, 3.0, 1.5));
}

#[test]
fn what_is_wrong_with_the_configuration_is_told_with_its_place() {
    for (text, why) in [
        (
            "otlp: {translation_strategy: Shouting}",
            "otlp.yaml:1:30: \"Shouting\" is none of UnderscoreEscaping",
        ),
        (
            "otlp: {promote_all_resource_attributes: true, promote_resource_attributes: [a]}",
            "it cannot be there beside",
        ),
        ("otlp: {ignore_resource_attributes: [a]}", "it needs `promote_all_resource_attributes: true`"),
        ("otlp: {promote_resource_attributes: [a, a]}", "\"a\" is there twice"),
        ("otlp: {promote_resource_attributes: ['']}", "an attribute has a name"),
        ("otlp: {promote: [a]}", "unknown field `promote`"),
        ("otpl: {}", "unknown field `otpl`"),
    ] {
        let problems = configured(text).expect_err(text);
        assert!(problems.contains(why), "{text}: {problems}");
    }
    let file =
        crate::File { name: "p.yml", text: "scrape_configs: []\notlp: {promote_scope_metadata: true}" };
    let whole = OtlpConfig::parse(file, true, &|_| None).expect("others read the rest of it");
    assert!(whole.promotion.scope);
}

/// A field of bytes.
fn put(field: u8, body: &[u8]) -> Vec<u8> {
    assert!(body.len() < 128, "one byte holds the length");
    let mut out = vec![field << 3 | 2, u8::try_from(body.len()).expect("short")];
    out.extend_from_slice(body);
    out
}

#[test]
fn protobuf_reads_as_json_does() {
    let attribute = [put(1, b"http.route"), put(2, &put(1, b"/"))].concat();
    let times =
        [&[2 << 3 | 1][..], &1_000_000_000u64.to_le_bytes(), &[3 << 3 | 1], &2_000_000_000u64.to_le_bytes()];
    let value = [&[6 << 3 | 1][..], &7u64.to_le_bytes()].concat();
    let point = [times.concat(), value, put(7, &attribute)].concat();
    let sum = [put(1, &point), vec![2 << 3, 2, 3 << 3, 1]].concat();
    let metric = [put(1, b"http.requests"), put(3, b"1"), put(7, &sum)].concat();
    let resource = put(1, &[put(1, b"service.name"), put(2, &put(1, b"shop"))].concat());
    let all = put(1, &[put(1, &resource), put(2, &put(2, &metric))].concat());
    let made = convert(&proto::read(&all).expect("reads"), &OtlpConfig::default());
    assert_eq!(made.series.len(), 1);
    assert_eq!(
        made.series[0].labels.to_string(),
        r#"{__name__="http_requests_total", http_route="/", job="shop"}"#
    );
    assert_eq!(made.series[0].point.start, Some(1000));
}

#[test]
fn what_is_no_export_says_why() {
    for (body, why) in [
        ("{", "it is not JSON"),
        ("[]", "it is no object"),
        (
            r#"{"resourceMetrics": [{"scopeMetrics": [{"metrics": [{"gauge": {"dataPoints": [{"asInt": "x"}]}}]}]}]}"#,
            "`asInt` is no number: \"x\"",
        ),
    ] {
        let error = json::read(body.as_bytes()).expect_err(body).to_string();
        assert!(error.contains(why), "{error}");
    }
    assert!(proto::read(b"\x0a\x7f").is_err());
    // Many parts in few bytes are refused before they take memory.
    let empty: Vec<u8> = [0x0a, 0].repeat(super::MOST_PARTS + 1);
    assert!(proto::read(&empty).expect_err("too many").to_string().contains("send fewer"));
    let empty = format!("{{\"resourceMetrics\": [{}]}}", vec!["{}"; super::MOST_PARTS].join(","));
    assert!(json::read(empty.as_bytes()).expect_err("too many").to_string().contains("send fewer"));
}

#[test]
fn buckets_do_not_multiply_labels_without_end() {
    let point = Point {
        attributes: vec![("long".to_owned(), "x".repeat(1 << 20))],
        at: 1_000_000,
        bucket_counts: vec![0; 1001],
        bounds: (0..1000).map(f64::from).collect(),
        ..Point::default()
    };
    let metric = Metric {
        name: "m".to_owned(),
        shape: Shape::Histogram,
        temporality: Temporality::Cumulative,
        points: vec![point],
        ..Metric::default()
    };
    let scope = ScopeMetrics { metrics: vec![metric], ..ScopeMetrics::default() };
    let all = [ResourceMetrics { scopes: vec![scope], ..ResourceMetrics::default() }];
    let made = convert(&all, &OtlpConfig::default());
    assert_eq!((made.series.len(), made.rejected), (0, 1));
    assert!(made.why.contains("more than 64 MiB"), "{}", made.why);
}
