//! The whole API as Prometheus describes it: nothing is missing but what is named here, and every answer, good or
//! bad, has the shape that is described.

use crate::{
    openapi::OpenApi,
    plane::{Answer, NOW, NOW_S, Running, Seen, Setup, encoded, labels},
};
use collect::{Families, Metadata, MetricType, RelabelRule, RelabelStep};
use model::{Append, Batch};
use serde_json::{Value, json};
use std::{collections::BTreeSet, sync::Arc, time::Duration};
use tsdb::{StdDisk, Tsdb, TsdbConfig};
use web::TargetView;

/// What is described and not served, and why.
const NOT_SERVED: [(&str, &str); 4] = [
    ("/search/metric_names", "an experiment behind a feature flag, which no released client asks"),
    ("/search/label_names", "as /search/metric_names"),
    ("/search/label_values", "as /search/metric_names"),
    ("/status/self_metrics", "Go's registry as JSON; Vigie's own figures are series, and at /metrics"),
];

/// Whose answers are no JSON, so that tests of their own look at them.
const NO_JSON: [&str; 4] = ["/read", "/write", "/otlp/v1/metrics", "/notifications/live"];

fn store(dir: &std::path::Path) -> Tsdb {
    let config = TsdbConfig { sync_every: None, ..TsdbConfig::new(dir) };
    let db = Tsdb::open(config, Arc::new(StdDisk)).expect("opens").0;
    for (job, up) in [("api", 1.0), ("db", 0.0)] {
        for (at, name) in [(NOW - 3 * 3_600_000, "old"), (NOW, "up")] {
            let series = db.resolve(&labels(name, &[("job", job)])).expect("resolves");
            let mut batch = Batch::at(at);
            batch.push(series, up);
            db.append(&batch).expect("appends");
        }
    }
    db
}

fn target(pool: &str, up: Option<bool>) -> TargetView {
    let about = |kind, help: &str| Metadata { kind, help: help.to_owned(), unit: String::new() };
    let mut families = Families::new();
    families.insert("up_total".to_owned(), about(MetricType::Counter, pool));
    families.insert("shared".to_owned(), about(MetricType::Gauge, "the same everywhere"));
    TargetView {
        pool: pool.to_owned(),
        url: "http://localhost:9100/metrics".to_owned(),
        labels: labels("", &[("job", pool), ("instance", "localhost:9100")]),
        discovered: labels("", &[("job", pool), ("__address__", "localhost:9100")]),
        up,
        last: up.map(|_| NOW),
        duration: Duration::from_millis(3),
        error: None,
        interval: Duration::from_secs(15),
        timeout: Duration::from_secs(10),
        families: Arc::new(families),
    }
}

fn seen() -> Seen {
    let step = RelabelStep {
        rule: RelabelRule {
            action: "replace",
            source_labels: vec!["__address__".to_owned()],
            separator: ";".to_owned(),
            regex: "(.*)".to_owned(),
            modulus: 0,
            target_label: "instance".to_owned(),
            replacement: "$1".to_owned(),
        },
        output: labels("", &[("instance", "localhost:9100")]),
        keep: true,
    };
    Seen {
        targets: vec![target("db", Some(false)), target("api", Some(true)), target("new", None)],
        dropped: vec![labels("", &[("job", "api")])],
        steps: vec![step],
        ..Seen::default()
    }
}

const RULES: &str = "groups: [{name: g, rules: [{alert: A, expr: vector(1)}, {record: r, expr: vector(2)}]}]";

async fn running(dir: &std::path::Path) -> Running {
    let db = store(dir);
    let select = Some(Arc::new(db.clone()) as Arc<dyn model::Select>);
    let setup = Setup {
        tsdb: Some(db.clone()),
        append: Some(Arc::new(db)),
        select,
        seen: seen(),
        rules: RULES,
        external_url: "https://watch.example:8443/vigie",
        ..Setup::default()
    };
    setup.start().await
}

#[tokio::test]
async fn every_path_that_prometheus_describes_is_served() {
    let vigie = Setup::default().start().await;
    let operations = OpenApi::read().operations();
    let served: BTreeSet<(String, String)> =
        vigie.routes.iter().map(|r| (r.path.to_owned(), r.method.as_str().to_lowercase())).collect();
    let mut missing: Vec<_> = operations
        .iter()
        .filter(|(path, method)| !served.contains(&(format!("/api/v1{path}"), method.clone())))
        .filter(|(path, _)| !NOT_SERVED.iter().any(|(named, _)| named == path))
        .collect();
    missing.dedup();
    assert!(missing.is_empty(), "described, not served and not named: {missing:?}");
    for (named, _) in NOT_SERVED {
        assert!(!served.iter().any(|(path, _)| path.ends_with(named)), "{named} is served");
    }
}

/// Method, path, parameters, the status that is right.
type Ask = (&'static str, &'static str, &'static [(&'static str, &'static str)], u16);

const ASKS: &[Ask] = &[
    ("get", "/query", &[("query", "up"), ("time", NOW_S), ("stats", "all"), ("lookback_delta", "1m")], 200),
    ("post", "/query", &[("query", "up"), ("time", NOW_S), ("limit", "1"), ("timeout", "5s")], 200),
    ("get", "/query", &[("query", "up +")], 400),
    ("get", "/query", &[("query", "up"), ("time", "soon")], 400),
    ("get", "/query", &[("query", "up"), ("timeout", "0")], 503),
    ("get", "/query", &[("query", "label_replace(up, \"a\", \"b\", \"job\", \"(\")")], 422),
    (
        "get",
        "/query_range",
        &[("query", "up"), ("start", NOW_S), ("end", NOW_S), ("step", "15s"), ("stats", "all")],
        200,
    ),
    ("post", "/query_range", &[("query", "up"), ("start", NOW_S), ("end", NOW_S), ("step", "0")], 400),
    ("get", "/query_exemplars", &[("query", "up"), ("start", "0"), ("end", NOW_S)], 200),
    ("post", "/query_exemplars", &[("query", "up{")], 400),
    ("get", "/format_query", &[("query", "sum(up)by(job)")], 200),
    ("post", "/format_query", &[("query", "sum(")], 400),
    ("get", "/parse_query", &[("query", "foo/bar")], 200),
    ("post", "/parse_query", &[("query", "")], 400),
    ("get", "/labels", &[("start", "0"), ("limit", "1")], 200),
    ("post", "/labels", &[("match[]", "{")], 400),
    ("get", "/label/{name}/values", &[("match[]", "up")], 200),
    ("get", "/label/{name}/values", &[("start", "2"), ("end", "1")], 400),
    ("get", "/series", &[("match[]", "up")], 200),
    ("post", "/series", &[], 400),
    ("get", "/metadata", &[("limit", "1"), ("limit_per_metric", "1")], 200),
    ("get", "/metadata", &[("limit", "many")], 400),
    ("get", "/scrape_pools", &[], 200),
    ("get", "/scrape_pools/config", &[("scrapePool", "api")], 200),
    ("get", "/scrape_pools/config", &[("scrapePool", "none")], 404),
    ("get", "/scrape_pools/config", &[], 400),
    ("get", "/targets", &[("state", "any")], 200),
    ("get", "/targets/metadata", &[("match_target", "{job=\"api\"}")], 200),
    ("get", "/targets/metadata", &[("metric", "nothing")], 200),
    ("get", "/targets/metadata", &[("match_target", "{")], 400),
    ("get", "/targets/relabel_steps", &[("scrapePool", "api"), ("labels", "{\"__address__\":\"a\"}")], 200),
    ("get", "/targets/relabel_steps", &[("scrapePool", "api"), ("labels", "[]")], 400),
    ("get", "/targets/relabel_steps", &[("scrapePool", "none"), ("labels", "{}")], 400),
    ("get", "/rules", &[("type", "alert")], 200),
    ("get", "/rules", &[("type", "other")], 400),
    ("get", "/alerts", &[], 200),
    ("get", "/alertmanagers", &[], 200),
    ("get", "/status/config", &[], 200),
    ("get", "/status/runtimeinfo", &[], 200),
    ("get", "/status/buildinfo", &[], 200),
    ("get", "/status/flags", &[], 200),
    ("get", "/status/tsdb", &[("limit", "3")], 200),
    ("get", "/status/tsdb", &[("limit", "x")], 400),
    ("get", "/status/tsdb/blocks", &[], 200),
    ("get", "/status/walreplay", &[], 200),
    ("get", "/features", &[], 200),
    ("get", "/notifications", &[], 200),
    ("put", "/admin/tsdb/snapshot", &[], 200),
    ("post", "/admin/tsdb/snapshot", &[("skip_head", "true")], 200),
    ("post", "/admin/tsdb/snapshot", &[("skip_head", "maybe")], 400),
    ("put", "/admin/tsdb/clean_tombstones", &[], 204),
    ("post", "/admin/tsdb/clean_tombstones", &[], 204),
    ("put", "/admin/tsdb/delete_series", &[], 400),
    ("post", "/admin/tsdb/delete_series", &[("match[]", "old")], 204),
];

#[tokio::test]
async fn every_answer_has_the_shape_that_prometheus_describes() {
    let scratch = tempfile::tempdir().expect("a directory");
    let vigie = running(&scratch.path().join("data")).await;
    let flushed = vigie.send("POST", "/api/vigie/v1/tsdb/flush", &Value::Null).await;
    assert_eq!(flushed.status, 200, "{}", flushed.text);
    let api = OpenApi::read();
    let mut asked = BTreeSet::new();
    for (method, path, params, status) in ASKS {
        let real = path.replace("{name}", "job");
        let request = match *method {
            "post" => vigie
                .request("POST", &format!("/api/v1{real}"))
                .header("content-type", "application/x-www-form-urlencoded")
                .body(encoded(params)),
            other => vigie.request(&other.to_uppercase(), &format!("/api/v1{real}?{}", encoded(params))),
        };
        let answer = Answer::of(request).await;
        assert_eq!(answer.status, *status, "{method} {path} {params:?}: {}", answer.text);
        asked.insert((path.to_string(), method.to_string()));
        // The description has a body there, which the server it describes does not send.
        if *status == 204 {
            assert!(answer.text.is_empty());
            continue;
        }
        assert_eq!(answer.header("content-type"), "application/json", "{path}");
        let body = answer.json();
        api.check(path, method, *status, &body);
        assert_eq!(body["status"], if *status == 200 { "success" } else { "error" }, "{path}");
        let kind = match status {
            200 => None,
            400 => Some("bad_data"),
            404 => Some("not_found"),
            422 => Some("execution"),
            _ => Some("timeout"),
        };
        assert_eq!(body["errorType"].as_str(), kind, "{path} {params:?}");
    }
    let left_out: Vec<_> = api
        .operations()
        .into_iter()
        .filter(|operation| !asked.contains(operation))
        .filter(|(path, _)| !NO_JSON.contains(&path.as_str()))
        .filter(|(path, _)| !NOT_SERVED.iter().any(|(named, _)| named == path))
        .collect();
    assert!(left_out.is_empty(), "nobody asked {left_out:?}");
}

#[tokio::test]
async fn what_is_said_about_metrics_is_told_once_for_all_who_say_it() {
    let scratch = tempfile::tempdir().expect("a directory");
    let vigie = running(&scratch.path().join("data")).await;
    let data = |path: &'static str| {
        let vigie = &vigie;
        async move { vigie.get(&format!("/api/v1{path}")).await.json()["data"].clone() }
    };
    let all = data("/metadata").await;
    let gauge = json!([{"type": "gauge", "help": "the same everywhere", "unit": ""}]);
    assert_eq!((&all["shared"], all["up_total"].as_array().map(Vec::len)), (&gauge, Some(3)));
    let own = json!([{"type": "counter", "help": "Its own.", "unit": ""}]);
    assert_eq!(all["vigie_test_total"], own, "what Vigie writes itself");
    assert_eq!(data("/metadata?limit=1").await, json!({"shared": gauge}));
    assert_eq!(data("/metadata?limit=0").await, json!({}));
    let one = data("/metadata?metric=up_total&limit_per_metric=2").await;
    assert_eq!(
        (one.as_object().map(serde_json::Map::len), one["up_total"].as_array().map(Vec::len)),
        (Some(1), Some(2))
    );
    let of = data("/targets/metadata?metric=up_total&match_target=%7Bjob%3D%22api%22%7D").await;
    assert_eq!(
        of,
        json!([{"target": {"job": "api", "instance": "localhost:9100"}, "type": "counter", "help": "api", "unit": ""}])
    );
    let all = data("/targets/metadata").await.as_array().map_or(0, Vec::len);
    let of_one = data("/targets/metadata?limit=1").await;
    let of_one = of_one.as_array().expect("a list");
    assert!(of_one.len() > 1 && of_one.len() < all, "whole targets: {} of {all}", of_one.len());
    assert!(of_one.iter().all(|entry| entry["target"] == of_one[0]["target"]));
    assert_eq!(data("/targets/metadata?metric=up_total&limit=2").await.as_array().map(Vec::len), Some(2));
    assert_eq!(data("/targets/metadata?metric=nothing").await, json!([]));
    assert_eq!(data("/scrape_pools").await, json!({"scrapePools": ["api", "db", "new"]}));
    let global = data("/targets").await["activeTargets"][0]["globalUrl"].clone();
    assert_eq!(global, "http://watch.example:9100/metrics", "this machine has another name outside");
}

#[tokio::test]
async fn an_expression_is_laid_out_and_taken_apart() {
    let vigie = Setup::default().start().await;
    let data = |path: &'static str, query: &'static str| {
        let vigie = &vigie;
        async move { vigie.both(&format!("/api/v1/{path}"), &[("query", query)]).await.json()["data"].clone() }
    };
    assert_eq!(data("format_query", "sum(up)by(job)").await, "sum by (job) (up)");
    let selector = |name: &str| {
        json!({
            "type": "vectorSelector", "name": name, "offset": 0, "timestamp": null, "startOrEnd": null,
            "anchored": false, "smoothed": false,
            "matchers": [{"name": "__name__", "type": "=", "value": name}],
        })
    };
    let matching = json!({
        "card": "one-to-one", "labels": [], "on": false, "include": [], "fillValues": {"lhs": null, "rhs": null},
    });
    assert_eq!(
        data("parse_query", "foo/bar").await,
        json!({"type": "binaryExpr", "op": "/", "lhs": selector("foo"), "rhs": selector("bar"), "matching": matching, "bool": false})
    );
    let tree = data("parse_query", "topk by (a) (2, -rate(x[5m] offset 1m @ end())) > bool 1").await;
    assert_eq!((&tree["matching"], &tree["bool"]), (&Value::Null, &json!(true)));
    assert_eq!(tree["rhs"], json!({"type": "numberLiteral", "val": "1"}));
    let (top, call) = (&tree["lhs"], &tree["lhs"]["expr"]["expr"]);
    assert_eq!(
        (&top["op"], &top["grouping"], &top["param"]["val"]),
        (&json!("topk"), &json!(["a"]), &json!("2"))
    );
    assert_eq!(
        call["func"],
        json!({"name": "rate", "argTypes": ["matrix"], "variadic": 0, "returnType": "vector"})
    );
    let range = &call["args"][0];
    assert_eq!(
        (&range["type"], &range["range"], &range["offset"]),
        (&json!("matrixSelector"), &json!(300_000), &json!(60_000))
    );
    assert_eq!((&range["startOrEnd"], &range["timestamp"]), (&json!("end"), &Value::Null));
    let sets = data("parse_query", "a and on (b) c").await;
    assert_eq!((&sets["matching"]["card"], &sets["matching"]["on"]), (&json!("many-to-many"), &json!(true)));
    let sub = data("parse_query", "max_over_time((x)[1h:1m] @ 1.5)").await["args"][0].clone();
    assert_eq!(
        (&sub["type"], &sub["step"], &sub["timestamp"]),
        (&json!("subquery"), &json!(60_000), &json!(1500))
    );
}

#[tokio::test]
async fn a_failed_reload_is_told_to_whoever_looks_and_listens() {
    let vigie = Setup::default().start().await;
    let mut live = vigie.request("GET", "/api/v1/notifications/live").send().await.expect("an answer");
    assert_eq!(live.headers()["content-type"], "text/event-stream");
    assert_eq!(vigie.get("/api/v1/notifications").await.json()["data"], json!([]));
    *vigie.reload.lock().expect("lock") = Err("a.yaml:1:1: bad".to_owned());
    let told = vigie.get("/api/v1/notifications").await.json()["data"][0].clone();
    assert_eq!(
        told,
        json!({"text": "Configuration reload has failed.", "date": "2023-11-14T22:13:20.000Z", "active": true})
    );
    let mut events = String::new();
    while !events.contains("\"active\":true") {
        let more = tokio::time::timeout(Duration::from_secs(20), live.chunk()).await.expect("in time");
        events.push_str(std::str::from_utf8(&more.expect("a piece").expect("not the end")).expect("text"));
    }
    *vigie.reload.lock().expect("lock") = Ok(());
    while !events.contains("\"active\":false") {
        let more = tokio::time::timeout(Duration::from_secs(20), live.chunk()).await.expect("in time");
        events.push_str(std::str::from_utf8(&more.expect("a piece").expect("not the end")).expect("text"));
    }
}
