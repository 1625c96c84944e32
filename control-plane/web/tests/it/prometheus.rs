//! The Prometheus API: shapes, parameters, errors.

use crate::{
    openapi::OpenApi,
    plane::{NOW, NOW_S, Running, Seen, Setup, encoded, labels},
};
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};
use web::TargetView;

const RULES: &str = r#"
groups:
  - name: services
    limit: 7
    rules:
      - record: job:up:sum
        expr: sum by (job) (up)
        labels: {team: core}
      - alert: ServiceDown
        expr: up == 0
        labels: {severity: critical}
        annotations: {summary: "{{ $labels.job }} is down"}
  - name: slow
    interval: 90s
    rules:
      - alert: Slow
        expr: up == 0
        for: 10m
        keep_firing_for: 1m
      - alert: Never
        expr: up > 5
        labels: {severity: "{{ $value }}"}
"#;

fn target(pool: &str, up: Option<bool>) -> TargetView {
    TargetView {
        pool: pool.to_owned(),
        url: format!("http://{pool}:1/metrics"),
        labels: labels("", &[("job", pool), ("instance", "a:1")]),
        discovered: labels("", &[("job", pool), ("__address__", "a:1")]),
        up,
        last: up.map(|_| NOW - 1000),
        duration: Duration::from_millis(12),
        error: up.filter(|up| !up).map(|_| "connection refused".to_owned()),
        interval: Duration::from_secs(30),
        timeout: Duration::from_secs(10),
        families: Arc::default(),
    }
}

fn seen() -> Seen {
    let dropped = |pool| labels("", &[("job", pool), ("__address__", "z:1")]);
    Seen {
        probes: Vec::new(),
        targets: vec![target("api", Some(true)), target("db", Some(false)), target("new", None)],
        dropped: vec![dropped("api"), dropped("api"), dropped("db")],
        ..Seen::default()
    }
}

/// Asks both ways, holds the answer against the description, returns its data.
async fn data(vigie: &Running, api: &OpenApi, path: &str, params: &[(&str, &str)]) -> Value {
    let answer = if matches!(path, "/query" | "/query_range" | "/series" | "/labels") {
        vigie.both(&format!("/api/v1{path}"), params).await
    } else {
        vigie.ask(&format!("/api/v1{path}"), params).await
    };
    assert_eq!(answer.status, 200, "{path} {params:?}: {}", answer.text);
    assert_eq!(answer.header("content-type"), "application/json");
    let body = answer.json();
    assert_eq!(body["status"], "success");
    let template = if path.starts_with("/label/") { "/label/{name}/values" } else { path };
    // The description takes the time of a string result for a text, which Prometheus itself does not send.
    if body["data"]["resultType"] != "string" {
        api.check(template, "get", 200, &body);
    }
    body["data"].clone()
}

#[tokio::test]
async fn an_instant_query_answers_each_type_exactly() {
    let (vigie, api) = (Setup::default().start().await, OpenApi::read());
    for (query, expected) in [
        ("1.5", r#"{"resultType":"scalar","result":[1700000000,"1.5"]}"#),
        ("\"text\"", r#"{"resultType":"string","result":[1700000000,"text"]}"#),
        (
            "up{job=\"api\"}",
            r#"{"resultType":"vector","result":[{"metric":{"__name__":"up","instance":"a:1","job":"api"},"value":[1700000000,"1"]}]}"#,
        ),
        ("up > 5", r#"{"resultType":"vector","result":[]}"#),
        (
            "up{job=\"api\"}[30s]",
            r#"{"resultType":"matrix","result":[{"metric":{"__name__":"up","instance":"a:1","job":"api"},"values":[[1699999985,"1"],[1700000000,"1"]]}]}"#,
        ),
        (
            "latency",
            r#"{"resultType":"vector","result":[{"metric":{"__name__":"latency","job":"api"},"histogram":[1700000000,{"count":"4","sum":"5.5","buckets":[[3,"-0.001","0.001","1"],[0,"0.5","1","1"],[0,"1","2","2"]]}]}]}"#,
        ),
        (
            "latency[1m]",
            r#"{"resultType":"matrix","result":[{"metric":{"__name__":"latency","job":"api"},"histograms":[[1700000000,{"count":"4","sum":"5.5","buckets":[[3,"-0.001","0.001","1"],[0,"0.5","1","1"],[0,"1","2","2"]]}]]}]}"#,
        ),
        (
            "sort_by_label(odd, \"what\")",
            r#"{"resultType":"vector","result":[{"metric":{"__name__":"odd","what":"inf"},"value":[1700000000,"+Inf"]},{"metric":{"__name__":"odd","what":"minus"},"value":[1700000000,"-Inf"]},{"metric":{"__name__":"odd","what":"nan"},"value":[1700000000,"NaN"]}]}"#,
        ),
    ] {
        let params = [("query", query), ("time", NOW_S)];
        let answer = vigie.both("/api/v1/query", &params).await;
        assert_eq!(answer.text, format!("{{\"status\":\"success\",\"data\":{expected}}}"), "{query}");
        data(&vigie, &api, "/query", &params).await;
    }
    let now = vigie.ask("/api/v1/query", &[("query", "time()")]).await.json();
    let at = now["data"]["result"][0].as_f64().expect("a time");
    assert!((1_700_000_000.0..1_700_000_100.0).contains(&at), "without a time it is now: {at}");
    let hostile = data(&vigie, &api, "/query", &[("query", "hostile"), ("time", NOW_S)]).await;
    assert_eq!(hostile["result"][0]["metric"]["text"], "<script>alert(\"1\")</script>\u{7}\n'&");
}

#[tokio::test]
async fn a_range_query_answers_exactly() {
    let (vigie, api) = (Setup::default().start().await, OpenApi::read());
    let ask = |query: &'static str, step: &'static str| {
        let params = [("query", query), ("start", "1699999970"), ("end", NOW_S), ("step", step)];
        let (vigie, api) = (&vigie, &api);
        async move { data(vigie, api, "/query_range", &params).await }
    };
    let expected = json!({"resultType": "matrix", "result": [
        {"metric": {"job": "api"}, "values": [[1_699_999_970, "2"], [1_699_999_985, "2"], [1_700_000_000, "2"]]}
    ]});
    for step in ["15", "15.0", "15s", "0m15s", "15000ms", "1.5e1"] {
        assert_eq!(ask("sum by (job) (up{job=\"api\"}) * 2", step).await, expected, "{step}");
    }
    assert_eq!(
        ask("7", "1m").await,
        json!({"resultType": "matrix", "result": [{"metric": {}, "values": [[1_699_999_970, "7"]]}]})
    );
    assert_eq!(ask("up > 5", "15s").await, json!({"resultType": "matrix", "result": []}));
    let histograms = ask("latency", "30s").await;
    assert_eq!(histograms["result"][0]["histograms"][0][1]["count"], "4");
}

#[tokio::test]
async fn times_may_be_written_in_each_way() {
    let vigie = Setup::default().start().await;
    for (time, shown) in [
        (NOW_S, "1700000000"),
        ("1700000000.25", "1700000000.250"),
        ("1.7e9", "1700000000"),
        ("2023-11-14T22:13:20Z", "1700000000"),
        ("2023-11-14T23:13:20.5+01:00", "1700000000.500"),
        ("-1.5", "-1.500"),
        ("0", "0"),
    ] {
        let answer = vigie.both("/api/v1/query", &[("query", "1"), ("time", time)]).await;
        assert!(answer.text.contains(&format!("[{shown},\"1\"]")), "{time}: {}", answer.text);
    }
}

#[tokio::test]
async fn what_is_wrong_is_told_as_prometheus_tells_it() {
    let (vigie, api) = (Setup::default().start().await, OpenApi::read());
    let range = |changed: (&'static str, &'static str)| {
        let mut params = vec![("query", "up"), ("start", "0"), ("end", "60"), ("step", "15")];
        params.retain(|(name, _)| *name != changed.0);
        params.push(changed);
        params
    };
    let instant = |params: &[(&'static str, &'static str)]| params.to_vec();
    let many = "many-to-many";
    for (path, params, status, kind, part) in [
        ("/query", instant(&[]), 400, "bad_data", "invalid parameter \"query\""),
        ("/query", instant(&[("query", "")]), 400, "bad_data", "invalid parameter \"query\""),
        ("/query", instant(&[("query", "up{")]), 400, "bad_data", "1:4: parse error"),
        ("/query", instant(&[("query", "nosuch(up)")]), 400, "bad_data", "unknown function"),
        ("/query", instant(&[("query", "up"), ("time", "tomorrow")]), 400, "bad_data", "\"tomorrow\""),
        (
            "/query",
            instant(&[("query", "up"), ("time", "NaN")]),
            400,
            "bad_data",
            "invalid parameter \"time\"",
        ),
        (
            "/query",
            instant(&[("query", "up"), ("timeout", "soon")]),
            400,
            "bad_data",
            "invalid parameter \"timeout\"",
        ),
        (
            "/query",
            instant(&[("query", "up"), ("limit", "-1")]),
            400,
            "bad_data",
            "invalid parameter \"limit\"",
        ),
        (
            "/query",
            instant(&[("query", "up"), ("limit", "x")]),
            400,
            "bad_data",
            "invalid parameter \"limit\"",
        ),
        ("/query", instant(&[("query", "up + on () up"), ("time", NOW_S)]), 422, "execution", many),
        (
            "/query",
            instant(&[("query", "up"), ("timeout", "0"), ("time", NOW_S)]),
            503,
            "timeout",
            "timed out",
        ),
        ("/query_range", range(("start", "")), 400, "bad_data", "invalid parameter \"start\""),
        ("/query_range", range(("end", "later")), 400, "bad_data", "invalid parameter \"end\""),
        ("/query_range", range(("end", "-1")), 400, "bad_data", "must not be before start"),
        ("/query_range", range(("step", "")), 400, "bad_data", "invalid parameter \"step\""),
        ("/query_range", range(("step", "0")), 400, "bad_data", "zero or negative query resolution step"),
        ("/query_range", range(("step", "-15")), 400, "bad_data", "zero or negative query resolution step"),
        (
            "/query_range",
            range(("step", "0.0001")),
            400,
            "bad_data",
            "zero or negative query resolution step",
        ),
        ("/query_range", range(("step", "inf")), 400, "bad_data", "invalid parameter \"step\""),
        (
            "/query_range",
            range(("step", "0.001")),
            400,
            "bad_data",
            "exceeded maximum resolution of 11000 points",
        ),
        ("/query_range", range(("query", "up[5m]")), 400, "bad_data", "invalid expression type"),
        ("/query_range", range(("query", "\"text\"")), 400, "bad_data", "invalid expression type"),
        ("/series", instant(&[]), 400, "bad_data", "no match[] parameter provided"),
        ("/series", instant(&[("match[]", "up{")]), 400, "bad_data", "invalid parameter \"match[]\""),
        ("/series", instant(&[("match[]", "{}")]), 400, "bad_data", "match[]"),
        (
            "/series",
            instant(&[("match[]", "{job=~\".*\"}")]),
            400,
            "bad_data",
            "at least one non-empty matcher",
        ),
        (
            "/series",
            instant(&[("match[]", "rate(up[5m])")]),
            400,
            "bad_data",
            "invalid parameter \"match[]\"",
        ),
        (
            "/series",
            instant(&[("match[]", "up"), ("start", "x")]),
            400,
            "bad_data",
            "invalid parameter \"start\"",
        ),
        (
            "/series",
            instant(&[("match[]", "up"), ("start", "9"), ("end", "8")]),
            400,
            "bad_data",
            "must not be before",
        ),
        ("/labels", instant(&[("match[]", "nope(")]), 400, "bad_data", "invalid parameter \"match[]\""),
        ("/labels", instant(&[("limit", "1.5")]), 400, "bad_data", "invalid parameter \"limit\""),
        ("/label/job/values", instant(&[("end", "x")]), 400, "bad_data", "invalid parameter \"end\""),
        ("/rules", instant(&[("type", "both")]), 400, "bad_data", "invalid parameter \"type\""),
        (
            "/rules",
            instant(&[("exclude_alerts", "maybe")]),
            400,
            "bad_data",
            "invalid parameter \"exclude_alerts\"",
        ),
        ("/rules", instant(&[("match[]", "{")]), 400, "bad_data", "invalid parameter \"match[]\""),
        ("/rules", instant(&[("group_limit", "x")]), 400, "bad_data", "invalid parameter \"group_limit\""),
        (
            "/rules",
            instant(&[("group_limit", "1"), ("group_next_token", "gone")]),
            400,
            "bad_data",
            "group_next_token",
        ),
        ("/rules", instant(&[("group_next_token", "x")]), 400, "bad_data", "group_limit"),
    ] {
        let full = format!("/api/v1{path}");
        let answer = if path.starts_with("/label/") || path == "/rules" {
            vigie.ask(&full, &params).await
        } else {
            vigie.both(&full, &params).await
        };
        let body = answer.json();
        assert_eq!(
            (answer.status, body["errorType"].as_str()),
            (status, Some(kind)),
            "{path} {params:?} {body}"
        );
        assert_eq!(body["status"], "error");
        assert!(body["error"].as_str().expect("text").contains(part), "{path} {params:?}: {body}");
        assert!(!answer.header("x-request-id").is_empty());
        let template = if path.starts_with("/label/") { "/label/{name}/values" } else { path };
        api.check(template, "get", status, &body);
    }
}

#[tokio::test]
async fn parameters_come_from_the_query_and_from_a_form_whose_values_come_first() {
    let vigie = Setup::default().start().await;
    let post = |path: &str, kind: &str, body: String| {
        vigie.request("POST", path).header("content-type", kind.to_owned()).body(body).send()
    };
    for kind in [
        "application/x-www-form-urlencoded",
        "application/x-www-form-urlencoded; charset=UTF-8",
        "Application/X-WWW-Form-URLencoded",
    ] {
        let answer = post("/api/v1/query?time=1&query=2", kind, encoded(&[("query", "1"), ("time", NOW_S)]));
        let answer: Value = answer.await.expect("answer").json().await.expect("JSON");
        assert_eq!(answer["data"]["result"], json!([1_700_000_000, "1"]), "{kind}");
    }
    let answer = post("/api/v1/query?query=2&time=0", "text/plain", "query=1".into()).await.expect("answer");
    assert_eq!(answer.json::<Value>().await.expect("JSON")["data"]["result"], json!([0, "2"]));

    let long = format!("1 # {}", "x".repeat(100_000));
    let answer = post("/api/v1/query", "application/x-www-form-urlencoded", encoded(&[("query", &long)]));
    assert_eq!(answer.await.expect("answer").status(), 200, "a long query by POST");
    let huge = "x".repeat(3 << 20);
    let answer = post("/api/v1/query", "application/x-www-form-urlencoded", encoded(&[("query", &huge)]));
    let answer = answer.await.expect("answer");
    assert_eq!(answer.status(), 413);
    assert_eq!(answer.json::<Value>().await.expect("JSON")["errorType"], "bad_data");
}

#[tokio::test]
async fn a_limit_cuts_and_says_so() {
    let (vigie, api) = (Setup::default().start().await, OpenApi::read());
    for (path, params, full) in [
        ("/query", vec![("query", "{__name__=~\".+\"}"), ("time", NOW_S)], 10),
        ("/query", vec![("query", "up[1m]"), ("time", NOW_S)], 2),
        ("/query_range", vec![("query", "up"), ("start", NOW_S), ("end", NOW_S), ("step", "1")], 2),
        ("/series", vec![("match[]", "up"), ("match[]", "odd"), ("match[]", "{job=\"api\"}")], 6),
        ("/labels", vec![], 8),
        ("/label/job/values", vec![], 2),
    ] {
        let items = |data: &Value| data.get("result").unwrap_or(data).as_array().map(Vec::len);
        for (limit, shown) in [("0", full), ("1", 1), ("1000", full)] {
            let mut params = params.clone();
            params.push(("limit", limit));
            let answer = vigie.ask(&format!("/api/v1{path}"), &params).await.json();
            assert_eq!(items(&answer["data"]), Some(shown), "{path} {limit}");
            let warned = answer["warnings"] == json!(["results truncated due to limit"]);
            assert_eq!(warned, shown < full, "{path} {limit}: {}", answer["warnings"]);
            assert!(warned || answer.get("warnings").is_none());
            data(&vigie, &api, path, &params).await;
        }
    }
    let scalar = vigie.ask("/api/v1/query", &[("query", "1"), ("limit", "1")]).await.json();
    assert!(scalar.get("warnings").is_none());
}

#[tokio::test]
async fn remarks_about_a_query_come_with_its_result() {
    let (vigie, api) = (Setup::default().start().await, OpenApi::read());
    let ask = |query: &'static str| {
        let params = [("query", query), ("time", NOW_S)];
        let (vigie, api) = (&vigie, &api);
        async move {
            data(vigie, api, "/query", &params).await;
            vigie.both("/api/v1/query", &params).await.json()
        }
    };
    let plain = ask("up").await;
    assert!(plain.get("warnings").is_none() && plain.get("infos").is_none());
    let info = ask("rate(up[5m])").await;
    assert!(info["infos"][0].as_str().expect("text").starts_with("PromQL info: "), "{info}");
    let warned = ask("quantile(2, up)").await;
    assert!(warned["warnings"][0].as_str().expect("text").starts_with("PromQL warning: "), "{warned}");
    assert_eq!(warned["data"]["result"][0]["value"][1], "+Inf", "the result is there all the same");
}

#[tokio::test]
async fn a_time_is_rounded_and_a_range_counted_as_prometheus_does() {
    let (vigie, api) = (Setup::default().start().await, OpenApi::read());
    for (time, at) in [("1.0005", "1"), ("-1.0005", "-1"), ("1.0015", "1.002"), ("0.9999", "1")] {
        let answer = vigie.ask("/api/v1/query", &[("query", "1"), ("time", time)]).await;
        assert!(answer.text.contains(&format!("\"result\":[{at},\"1\"]")), "{time}: {}", answer.text);
    }
    // 11,000 steps, which is the smallest that Grafana asks for, are 11,001 points.
    let range = |end| [("query", "1"), ("start", "0"), ("end", end), ("step", "1")];
    let most = data(&vigie, &api, "/query_range", &range("11000")).await;
    assert_eq!(most["result"][0]["values"].as_array().map(Vec::len), Some(11_001));
    assert_eq!(vigie.ask("/api/v1/query_range", &range("11001")).await.status, 400);
}

#[tokio::test]
async fn a_query_may_look_back_less_and_tell_what_it_cost() {
    let (vigie, api) = (Setup::default().start().await, OpenApi::read());
    let late = [("query", "up"), ("time", "1700000060")];
    let found = |params: Vec<(&'static str, &'static str)>| {
        let (vigie, api) = (&vigie, &api);
        async move { data(vigie, api, "/query", &params).await["result"].as_array().map(Vec::len) }
    };
    assert_eq!(found(late.to_vec()).await, Some(2));
    for (lookback, series) in [("59s", 0), ("61", 2), ("2m", 2)] {
        assert_eq!(
            found([&late[..], &[("lookback_delta", lookback)]].concat()).await,
            Some(series),
            "{lookback}"
        );
    }
    for lookback in ["soon", "-5", "0"] {
        let params = [&late[..], &[("lookback_delta", lookback)]].concat();
        let answer = vigie.both("/api/v1/query", &params).await;
        assert_eq!(
            (answer.status, answer.json()["errorType"].as_str()),
            (400, Some("bad_data")),
            "{lookback}"
        );
    }
    for path in ["/query", "/query_range"] {
        let params = [
            ("query", "up"),
            ("time", NOW_S),
            ("start", NOW_S),
            ("end", NOW_S),
            ("step", "1"),
            ("stats", "all"),
        ];
        // Times differ from one answer to the next.
        let body = vigie.ask(&format!("/api/v1{path}"), &params).await.json();
        api.check(path, "get", 200, &body);
        let stats = &body["data"]["stats"];
        assert!(stats["samples"]["samplesRead"].as_u64().expect("count") >= 2, "{stats}");
        assert!(stats["timings"]["execTotalTime"].as_f64().expect("seconds") >= 0.0, "{stats}");
    }
}

#[tokio::test]
async fn series_and_labels_are_found_by_any_of_several_selectors() {
    let (vigie, api) = (Setup::default().start().await, OpenApi::read());
    let ask = |path: &'static str, params: Vec<(&'static str, &'static str)>| {
        let (vigie, api) = (&vigie, &api);
        async move { data(vigie, api, path, &params).await }
    };
    assert_eq!(
        ask("/series", vec![("match[]", "up"), ("match[]", "{job=\"api\"}")]).await,
        json!([
            {"__name__": "latency", "job": "api"},
            {"__name__": "up", "instance": "a:1", "job": "api"},
            {"__name__": "up", "instance": "b:1", "job": "db"},
        ]),
        "each once, in the order of their labels"
    );
    assert_eq!(ask("/series", vec![("match[]", "up"), ("start", "1"), ("end", "2")]).await, json!([]));
    assert_eq!(
        ask("/labels", vec![]).await,
        json!(["__name__", "code", "http.status", "instance", "job", "text", "way/of", "what"])
    );
    assert_eq!(
        ask("/labels", vec![("match[]", "up"), ("match[]", "odd")]).await,
        json!(["__name__", "instance", "job", "what"])
    );
    assert_eq!(ask("/labels", vec![("end", "0")]).await, json!([]));
    assert_eq!(ask("/label/job/values", vec![]).await, json!(["api", "db"]));
    assert_eq!(ask("/label/job/values", vec![("match[]", "latency")]).await, json!(["api"]));
    assert_eq!(ask("/label/nosuch/values", vec![]).await, json!([]));
    for name in ["http.status", "U__http_2e_status", "http%2Estatus"] {
        let answer = vigie.get(&format!("/api/v1/label/{name}/values")).await;
        assert_eq!(answer.json()["data"], json!(["200"]), "{name}");
    }
    for name in ["U__way_2f_of", "way%2Fof"] {
        let answer = vigie.get(&format!("/api/v1/label/{name}/values")).await;
        assert_eq!(answer.json()["data"], json!(["it"]), "{name}");
    }
    let answer = vigie.get("/api/v1/label/%ff%fe/values").await;
    assert_eq!(
        (answer.status, answer.json()["errorType"].as_str()),
        (400, Some("bad_data")),
        "{}",
        answer.text
    );
    // Bad escapes stand for themselves, as in Prometheus.
    assert_eq!(vigie.get("/api/v1/label/U__a_zz_b/values").await.json()["data"], json!([]));
}

#[tokio::test]
async fn targets_are_shown_by_state_and_pool() {
    let (vigie, api) = (Setup { seen: seen(), ..Setup::default() }.start().await, OpenApi::read());
    let all = data(&vigie, &api, "/targets", &[]).await;
    assert_eq!(
        all["activeTargets"][1],
        json!({
            "discoveredLabels": {"__address__": "a:1", "job": "db"}, "labels": {"instance": "a:1", "job": "db"},
            "scrapePool": "db", "scrapeUrl": "http://db:1/metrics", "globalUrl": "http://db:1/metrics",
            "lastError": "connection refused", "lastScrape": "2023-11-14T22:13:19.000Z",
            "lastScrapeDuration": 0.012, "health": "down", "scrapeInterval": "30s", "scrapeTimeout": "10s",
        })
    );
    assert_eq!(all["activeTargets"][2]["health"], "unknown");
    assert_eq!(all["activeTargets"][2]["lastScrape"], "0001-01-01T00:00:00Z");
    assert_eq!(
        all["droppedTargets"][0],
        json!({"discoveredLabels": {"__address__": "z:1", "job": "api"}, "scrapePool": "api"})
    );
    assert_eq!(all["droppedTargetCounts"], json!({"api": 2, "db": 1, "new": 0}));
    for (params, active, dropped) in [
        (vec![("state", "active")], 3, 0),
        (vec![("state", "dropped")], 0, 3),
        (vec![("state", "any")], 3, 3),
        (vec![("state", "ANY")], 3, 3),
        (vec![("state", "")], 3, 3),
        (vec![("state", "other")], 0, 0),
        (vec![("scrapePool", "db")], 1, 1),
        (vec![("scrapePool", "nosuch")], 0, 0),
    ] {
        let shown = data(&vigie, &api, "/targets", &params).await;
        let count = |name: &str| shown[name].as_array().map(Vec::len);
        assert_eq!(
            (count("activeTargets"), count("droppedTargets")),
            (Some(active), Some(dropped)),
            "{params:?}"
        );
    }
}

#[tokio::test]
async fn rules_and_alerts_have_prometheus_shape() {
    let (vigie, api) = (Setup { rules: RULES, ..Setup::default() }.start().await, OpenApi::read());
    let groups = data(&vigie, &api, "/rules", &[]).await["groups"].clone();
    let (services, slow) = (&groups[0], &groups[1]);
    assert_eq!(
        (&services["name"], &services["file"], &services["interval"], &services["limit"]),
        (&json!("services"), &json!("rules.yaml"), &json!(60.0), &json!(7))
    );
    assert_eq!(slow["interval"], json!(90.0));
    let record = &services["rules"][0];
    for (name, value) in [
        ("name", json!("job:up:sum")),
        ("query", json!("sum by (job) (up)")),
        ("labels", json!({"team": "core"})),
        ("health", json!("ok")),
        ("type", json!("recording")),
    ] {
        assert_eq!(record[name], value, "{name}");
    }
    assert!(record["lastEvaluation"].as_str().expect("time").starts_with("2023-11-14T22:13:2"));
    assert!(record.get("state").is_none() && record.get("alerts").is_none());

    let down = &services["rules"][1];
    for (name, value) in [
        ("type", json!("alerting")),
        ("state", json!("firing")),
        ("duration", json!(0.0)),
        ("keepFiringFor", json!(0.0)),
        ("annotations", json!({"summary": "{{ $labels.job }} is down"})),
    ] {
        assert_eq!(down[name], value, "{name}");
    }
    let alert = &down["alerts"][0];
    assert_eq!(
        alert["labels"],
        json!({"alertname": "ServiceDown", "instance": "b:1", "job": "db", "severity": "critical"})
    );
    assert_eq!(alert["annotations"], json!({"summary": "db is down"}));
    assert_eq!((&alert["state"], &alert["value"]), (&json!("firing"), &json!("0e+00")));
    assert_eq!(
        (&slow["rules"][0]["state"], &slow["rules"][0]["duration"]),
        (&json!("pending"), &json!(600.0))
    );
    assert_eq!(slow["rules"][1]["state"], "inactive");

    let alerts = data(&vigie, &api, "/alerts", &[]).await;
    let states: Vec<&Value> =
        alerts["alerts"].as_array().expect("list").iter().map(|a| &a["state"]).collect();
    assert_eq!(states, ["firing", "pending"]);
    api.check("/alerts", "get", 200, &vigie.get("/api/v1/alerts").await.json());
}

#[tokio::test]
async fn rules_are_filtered_and_paged() {
    let (vigie, api) = (Setup { rules: RULES, ..Setup::default() }.start().await, OpenApi::read());
    for (params, names) in [
        (vec![], "services/job:up:sum services/ServiceDown slow/Slow slow/Never"),
        (vec![("type", "alert")], "services/ServiceDown slow/Slow slow/Never"),
        (vec![("type", "record")], "services/job:up:sum"),
        (vec![("rule_name[]", "Slow"), ("rule_name[]", "ServiceDown")], "services/ServiceDown slow/Slow"),
        (vec![("rule_name[]", "nosuch")], ""),
        (vec![("rule_name[]", "")], "services/job:up:sum services/ServiceDown slow/Slow slow/Never"),
        (vec![("rule_group[]", "slow")], "slow/Slow slow/Never"),
        (
            vec![("file[]", "rules.yaml"), ("rule_group[]", "services")],
            "services/job:up:sum services/ServiceDown",
        ),
        (vec![("file[]", "other.yaml")], ""),
        (vec![("match[]", "{severity=\"critical\"}")], "services/ServiceDown"),
        (
            vec![("match[]", "{severity=\"critical\"}"), ("match[]", "{team=\"core\"}")],
            "services/job:up:sum services/ServiceDown",
        ),
        (vec![("match[]", "{severity=~\".*value.*\"}")], "slow/Never"),
    ] {
        let shown = data(&vigie, &api, "/rules", &params).await;
        let mut found = Vec::new();
        for group in shown["groups"].as_array().expect("list") {
            assert_ne!(group["rules"], json!([]), "no group without rules");
            for rule in group["rules"].as_array().expect("list") {
                found.push(format!("{}/{}", group["name"].as_str().unwrap(), rule["name"].as_str().unwrap()));
            }
        }
        assert_eq!(found.join(" "), names, "{params:?}");
    }
    for (flag, alerts) in [("true", 0), ("1", 0), ("false", 1), ("", 1)] {
        let shown =
            data(&vigie, &api, "/rules", &[("exclude_alerts", flag), ("rule_name[]", "ServiceDown")]).await;
        let rule = &shown["groups"][0]["rules"][0];
        assert_eq!(rule["alerts"].as_array().map(Vec::len), Some(alerts), "{flag}");
        assert_eq!(rule["state"], "firing");
    }
    let first = data(&vigie, &api, "/rules", &[("group_limit", "1")]).await;
    assert_eq!(first["groups"].as_array().map(Vec::len), Some(1));
    assert_eq!(first["groups"][0]["name"], "services");
    let token = first["groupNextToken"].as_str().expect("there is more").to_owned();
    let second = data(&vigie, &api, "/rules", &[("group_limit", "1"), ("group_next_token", &token)]).await;
    assert_eq!(second["groups"][0]["name"], "slow");
    assert!(second.get("groupNextToken").is_none(), "that was the last");
}

#[tokio::test]
async fn the_build_and_the_state_are_told() {
    let (vigie, api) = (Setup::default().start().await, OpenApi::read());
    let build = data(&vigie, &api, "/status/buildinfo", &[]).await;
    assert_eq!(build["version"], "3.14.0", "by which clients tell what they may ask");
    assert_eq!((&build["branch"], &build["revision"]), (&json!("Vigie"), &json!("1.2.3")));
    assert_eq!(
        data(&vigie, &api, "/alertmanagers", &[]).await,
        json!({"activeAlertmanagers": [], "droppedAlertmanagers": [{"url": "http://am.test:9093/api/v2/alerts"}]}),
        "nobody gets alerts but whom Vigie tells itself"
    );
    assert_eq!(vigie.get("/-/healthy").await.status, 200);
    assert_eq!(vigie.get("/-/ready").await.status, 200);
    vigie.ready.store(false, std::sync::atomic::Ordering::Relaxed);
    assert_eq!(vigie.get("/-/ready").await.status, 503);
}

/// Two exemplars, whatever is asked; what is asked must be this.
#[derive(Debug)]
struct Two;

impl model::ExemplarSelect for Two {
    fn exemplars(
        &self,
        sets: &[Vec<model::Matcher>],
        start: i64,
        end: i64,
    ) -> Vec<(model::Labels, Vec<model::Exemplar>)> {
        let names: Vec<String> =
            sets.iter().map(|s| s.iter().map(|m| format!("{}{}", m.name, m.value)).collect()).collect();
        assert_eq!((names, start, end), (vec!["__name__a".to_owned(), "x1__name__b".to_owned()], 1000, 2500));
        let one = |value, at| model::Exemplar { labels: labels("", &[("trace_id", "abc")]), value, at };
        vec![(labels("", &[("foo", "bar")]), vec![one(100.123, 1234), one(f64::INFINITY, 2000)])]
    }
}

#[tokio::test]
async fn exemplars_are_those_of_every_selector_of_a_query() {
    let vigie = Setup { exemplars: std::sync::Arc::new(Two), ..Setup::default() }.start().await;
    let api = OpenApi::read();
    let query = [("query", "rate(a[5m]) / on() b{x=\"1\"}"), ("start", "1"), ("end", "2.5")];
    let got = data(&vigie, &api, "/query_exemplars", &query).await;
    let exemplar =
        |value: &str, at: Value| json!({"labels": {"trace_id": "abc"}, "value": value, "timestamp": at});
    let want = [exemplar("100.123", json!(1.234)), exemplar("+Inf", json!(2))];
    assert_eq!(got, json!([{"seriesLabels": {"foo": "bar"}, "exemplars": want}]));
    let vigie = Setup::default().start().await;
    assert_eq!(data(&vigie, &api, "/query_exemplars", &[("query", "a")]).await, json!([]));
    for wrong in ["query=", "query=sum(", "query=a&start=x", "query=a&start=2&end=1"] {
        let answer = vigie.get(&format!("/api/v1/query_exemplars?{wrong}")).await;
        assert_eq!((answer.status, answer.json()["errorType"].clone()), (400, json!("bad_data")), "{wrong}");
    }
}

#[tokio::test]
async fn long_answers_are_compressed_for_programs_that_take_it() {
    let vigie = Setup { storm: 1000, ..Setup::default() }.start().await;
    let path = &format!("/api/v1/query?query=storm&time={NOW_S}");
    let plain =
        vigie.request("GET", path).header("accept-encoding", "identity").send().await.expect("answers");
    assert!(plain.headers().get("content-encoding").is_none());
    let plain = plain.text().await.expect("its body");
    // Nobody takes it apart on the way.
    let raw = kit::client::builder(Duration::from_secs(5)).no_gzip().build().expect("client");
    let request = raw.get(format!("{}{path}", vigie.base)).header("accept-encoding", "gzip");
    let packed = request.send().await.expect("answers");
    assert_eq!(packed.headers()["content-encoding"], "gzip");
    assert_eq!(packed.headers()["vary"], "accept-encoding");
    let packed = packed.bytes().await.expect("its body");
    assert!(packed.len() * 5 < plain.len(), "{} of {}", packed.len(), plain.len());
    let mut text = String::new();
    std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(&packed[..]), &mut text).expect("gzip");
    assert_eq!(text, plain);
    for short_or_page in ["/api/v1/query?query=up", "/graph?g0.expr=storm"] {
        let request = raw.get(format!("{}{short_or_page}", vigie.base)).header("accept-encoding", "gzip");
        let answer = request.send().await.expect("answers");
        assert!(answer.headers().get("content-encoding").is_none(), "{short_or_page}");
    }
}
