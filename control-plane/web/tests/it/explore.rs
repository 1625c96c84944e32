//! What helps to write a query: where an error is, why a result is empty, and what each step does.

use crate::plane::{NOW_S, Setup, encoded};
use std::path::Path;

#[tokio::test]
async fn a_query_is_explained_step_by_step_by_get_and_post() {
    let vigie = Setup::default().start().await;
    let query = "sum by (job) (up) > 0";
    for params in [
        vec![("query", query), ("time", NOW_S)],
        vec![("query", query), ("start", "1699999900"), ("end", NOW_S), ("step", "10")],
    ] {
        let got = vigie.ask("/api/vigie/v1/explain", &params).await;
        assert_eq!(got.status, 200, "{}", got.text);
        let body = got.json();
        assert_eq!(body["expr"], query);
        assert_eq!((&body["start"], &body["end"]), (&0.into(), &query.len().into()));
        let sum = &body["inside"][0];
        assert_eq!(sum["does"], "adds the values up, one group for each job");
        assert_eq!((&sum["series"], &sum["type"]), (&2.into(), &"vector".into()));
        let up = &sum["inside"][0];
        assert_eq!((&up["expr"], &up["series"]), (&"up".into(), &2.into()));
        assert!(up["samples_read"].as_u64() > Some(1) && up["seconds"].is_number(), "{up}");
        let posted = vigie
            .request("POST", "/api/vigie/v1/explain")
            .header("content-type", "application/x-www-form-urlencoded")
            .body(encoded(&params));
        assert_eq!(posted.send().await.expect("an answer").status(), 200);
    }
    let matrix = vigie
        .ask(
            "/api/vigie/v1/explain",
            &[
                ("query", "max_over_time(up[1m:10s])"),
                ("start", "1699999900"),
                ("end", NOW_S),
                ("step", "10"),
            ],
        )
        .await
        .json();
    assert_eq!(matrix["inside"][0]["type"], "matrix");
    assert_eq!(matrix["inside"][0]["samples"], 12, "{matrix}");
}

#[tokio::test]
async fn what_cannot_be_explained_says_where_and_why() {
    let vigie = Setup::default().start().await;
    let explain = async |params: &[(&str, &str)]| vigie.ask("/api/vigie/v1/explain", params).await;
    let wrong = explain(&[("query", "rte(up[5m]) +\n rate(up)")]).await;
    let body = wrong.json();
    assert_eq!((wrong.status, body["code"].as_str()), (400, Some("bad_query")));
    assert!(body["request_id"].is_string(), "{body}");
    let problem = &body["problems"][0];
    let place = ["line", "column", "start", "end"].map(|n| problem[n].as_u64().expect("a number"));
    assert_eq!(place, [1, 1, 0, 3], "{body}");
    assert!(problem["message"].as_str().expect("text").contains("did you mean \"rate\"?"));
    for (params, status) in [
        (vec![], 400),
        (vec![("query", "up"), ("start", "1")], 400),
        (vec![("query", "up"), ("start", "1"), ("end", "2"), ("step", "0")], 400),
        (vec![("query", "up"), ("timeout", "0")], 503),
    ] {
        assert_eq!(explain(&params).await.status, status, "{params:?}");
    }
    let failed = explain(&[("query", "count(up + on () up)")]).await.json();
    assert!(failed["skipped"].is_string(), "{failed}");
    assert!(failed["inside"][0]["error"].as_str().expect("an error").contains("duplicate series"));
}

#[tokio::test]
async fn functions_are_listed_with_their_signatures() {
    let vigie = Setup::default().start().await;
    let body = vigie.get("/api/vigie/v1/functions").await.json();
    let all = body["functions"].as_array().expect("a list");
    let rate = all.iter().find(|f| f["name"] == "rate").expect("rate");
    assert_eq!(rate["signature"], "rate(range vector)");
    assert!(all.iter().any(|f| f["name"] == "topk" && f["kind"] == "aggregation"));
    assert!(all.iter().all(|f| f["help"].as_str().is_some_and(|h| !h.is_empty())));
}

#[tokio::test]
async fn an_empty_result_says_what_is_not_there() {
    let vigie = Setup::default().start().await;
    for (query, info) in [
        ("requests_totl", "no metric named requests_totl, did you mean requests_total?"),
        ("up{pod=\"x\"}", "no series of up has label pod: they have instance, job"),
        ("up{job=\"ap\"}", "no series of up has job=\"ap\", did you mean \"api\"?"),
    ] {
        let body = vigie.both("/api/v1/query", &[("query", query), ("time", NOW_S)]).await.json();
        assert_eq!(body["status"], "success");
        assert!(body["infos"][0].as_str().expect("an info").contains(info), "{body}");
        let range = [("query", query), ("start", "1699999900"), ("end", NOW_S), ("step", "10")];
        let body = vigie.both("/api/v1/query_range", &range).await.json();
        assert!(body["infos"][0].as_str().expect("an info").contains(info), "{body}");
    }
    let body = vigie.ask("/api/v1/query", &[("query", "up > 5"), ("time", NOW_S)]).await.json();
    assert!(body["infos"].is_null(), "everything is there: {body}");
}

#[tokio::test]
async fn the_page_keeps_query_range_and_tab_in_its_address() {
    let vigie = Setup::default().start().await;
    let page = async |params: &[(&str, &str)]| vigie.ask("/graph", params).await.text;
    let asked = [
        ("g0.expr", "sum(up)"),
        ("g0.range_input", "15m"),
        ("g0.end_input", "2023-11-14 22:13:00"),
        ("g0.step_input", "30s"),
    ];
    let html = page(&asked).await;
    let same = "g0.expr=sum%28up%29&#38;g0.range_input=15m&#38;g0.end_input=2023-11-14+22%3A13%3A00&#38;g0.step_input=30s&#38;g0.tab=";
    for tab in ["graph", "table", "explain"] {
        assert!(html.contains(&format!("href=\"/graph?{same}{tab}\"")), "{html}");
    }
    assert!(html.contains("<svg") && html.contains(">1</td>"), "{html}");
    assert!(html.contains(">Earlier</a>") && html.contains(">Later</a>") && html.contains(">Now</a>"));
    let table = page(&[&asked[..], &[("g0.tab", "table")]].concat()).await;
    assert!(!table.contains("<svg") && table.contains(">1</td>"), "{table}");
    assert!(table.contains("name=\"g0.tab\" value=\"table\""), "the form stays where it is");
    let explained = page(&[&asked[..], &[("g0.tab", "explain")]].concat()).await;
    assert!(
        explained.contains("<li class=\"d1\"><code>up</code>") && explained.contains("samples read"),
        "{explained}"
    );
    for (wrong, part) in [
        (vec![("g0.expr", "rte(up)")], "<mark>rte</mark>(up)"),
        (vec![("g0.expr", "up"), ("g0.end_input", "soon")], "is not a time"),
        (vec![("g0.expr", "up"), ("g0.step_input", "x")], "is not a duration"),
        (vec![("g0.expr", "up"), ("g0.step_input", "1ms")], "VIGIE_QUERY_MAX_STEPS"),
        (vec![("g0.expr", "up + on () up"), ("g0.tab", "explain")], "duplicate series"),
    ] {
        let html = page(&wrong).await;
        assert!(html.contains(part), "{wrong:?}: {html}");
    }
}

/// Where a part is that a test needs; without it the test says that it skips, unless parts are required.
fn part(name: &str) -> Option<String> {
    let value =
        |name: &str| std::env::vars().find(|(n, _)| n == name).map(|(_, v)| v).filter(|v| !v.is_empty());
    let found = value(name);
    if found.is_none() {
        assert_ne!(value("PARTS_REQUIRED").as_deref(), Some("1"), "{name} is not set");
        println!("skipped: {name} is not set");
    }
    found
}

/// `CHROMIUM` is the browser, `PLAYWRIGHT` the folder of playwright-core, `SHOTS` a folder for what was seen.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_works_in_a_browser_by_keyboard_and_on_a_phone() {
    let (Some(chromium), Some(playwright)) = (part("CHROMIUM"), part("PLAYWRIGHT")) else { return };
    let vigie = Setup::default().start().await;
    let folder = tempfile::tempdir().expect("a folder");
    let shots = std::env::vars().find(|(n, _)| n == "SHOTS").map(|(_, v)| v);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser/explore.mjs");
    let mut node = std::process::Command::new("node");
    node.arg(script)
        .args([&vigie.base, &chromium, &playwright])
        .arg(shots.as_deref().map_or(folder.path(), Path::new));
    // Each of its steps ends by itself after ten seconds.
    let run = tokio::task::spawn_blocking(move || node.output());
    let output = run.await.expect("no panic").expect("node runs");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
}
