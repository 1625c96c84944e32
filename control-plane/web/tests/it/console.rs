//! The console's pages: what they show, what they never show, and that no text becomes markup.

use crate::plane::{NOW, Running, Seen, Setup, VIEWER, encoded, labels};
use model::{Labels, Value as Sample};
use std::{sync::Arc, time::Duration};
use web::{ProbeView, TargetView};

const EVIL: &str = "<script>alert('1')</script>\" onload=\"x";

const RULES: &str = r#"
groups:
  - name: "<script>alert('1')</script>"
    rules:
      - alert: Hostile
        expr: hostile == 1
        labels: {severity: "<script>alert('1')</script>"}
        annotations:
          summary: "{{ $labels.text }}"
          description: "<img src=x onerror=alert(1)>"
          runbook_url: "javascript:alert(1)"
      - alert: Helped
        expr: up == 0
        for: 10m
        annotations: {summary: "{{ $labels.job }} is down", runbook_url: "/runbooks/service-down"}
      - alert: Broken
        expr: up + on () group_left () up
"#;

fn probe(name: &str, up: Option<bool>) -> ProbeView {
    ProbeView {
        name: name.to_owned(),
        service: name.to_owned(),
        kind: "http",
        target: "http://10.0.0.7:3002/api/v1/health".to_owned(),
        interval: Duration::from_secs(30),
        up,
        since: up.map(|_| NOW - 90_000),
        uptime: up.map(|_| 0.99871),
        latency: up.map(|_| Duration::from_millis(12)),
        last: up.map(|_| NOW),
        error: up.filter(|up| !up).map(|_| format!("connection to 10.0.0.7 refused {EVIL}")),
        depends_on: Vec::new(),
        conditions: vec!["status == 2xx".to_owned()],
    }
}

fn seen() -> Seen {
    let target = TargetView {
        pool: EVIL.to_owned(),
        url: format!("http://a/{EVIL}"),
        labels: Labels::default(),
        discovered: Labels::default(),
        up: Some(false),
        last: Some(NOW - 5_000),
        duration: Duration::from_millis(3),
        error: Some(EVIL.to_owned()),
        interval: Duration::from_secs(30),
        timeout: Duration::from_secs(10),
        families: Arc::default(),
    };
    Seen {
        probes: vec![probe("auth", Some(true)), probe(EVIL, Some(false)), probe("new", None)],
        targets: vec![target],
        dropped: Vec::new(),
        ..Seen::default()
    }
}

/// What must hold for every page, whatever it shows: no text became markup, and nothing needs what our content
/// policy forbids.
async fn page(vigie: &Running, path: &str) -> String {
    let answer = vigie.get(path).await;
    assert_eq!((answer.status, answer.header("content-type")), (200, "text/html; charset=utf-8"), "{path}");
    assert_eq!(answer.header("cache-control"), "no-store");
    let policy = answer.header("content-security-policy");
    assert!(policy.contains("script-src 'self'") && !policy.contains("unsafe"), "{policy}");
    let html = answer.text.to_lowercase();
    // Every tag, with its attributes.
    for tag in html.split('<').skip(1).filter_map(|part| part.split('>').next()) {
        let name: String = tag.chars().take_while(char::is_ascii_alphanumeric).collect();
        if name == "script" {
            let ours =
                ["console", "explore"].map(|n| format!("script type=\"module\" src=\"/assets/{n}.js\""));
            assert!(ours.iter().any(|own| own == tag), "{path}: <{tag}>");
        }
        assert!(
            !matches!(name.as_str(), "style" | "iframe" | "object" | "embed" | "base"),
            "{path}: <{tag}>"
        );
        let outside: String = tag.split('"').step_by(2).collect();
        for attribute in outside.split_whitespace().skip(1) {
            assert!(!attribute.starts_with("on") && !attribute.starts_with("style"), "{path}: <{tag}>");
        }
        assert!(!tag.contains("=\"javascript:") && !tag.contains("=\" javascript:"), "{path}: <{tag}>");
    }
    assert!(html.starts_with("<!doctype html>\n<html lang=\"en\">"), "{path}");
    assert!(html.contains("<meta name=\"viewport\"") && html.contains("<h1>"), "{path}");
    answer.text
}

#[tokio::test]
async fn the_first_page_tells_what_is_wrong_and_what_to_do() {
    let vigie = Setup { rules: RULES, seen: seen(), ..Setup::default() }.start().await;
    let html = page(&vigie, "/").await;
    for part in [
        "1 alert fires now",
        "<strong>Hostile</strong>",
        "db is down",
        "href=\"/runbooks/service-down\"",
        "href=\"/graph?g0.expr=hostile%20%3D%3D%201&#38;g0.tab=0\"",
        "99.87 %",
        "12 ms",
        "DOWN",
        "not seen yet",
        "0.00 of 0.01 USD committed",
        "&#60;script&#62;alert(&#39;1&#39;)&#60;/script&#62;",
        "rules &#60;script",
        "Broken: ",
    ] {
        assert!(html.contains(part), "{part}: {html}");
    }
    assert!(!html.contains("javascript:"), "a runbook that is a script is no link");
    let (bad, good) = (html.find(">DOWN<").expect("down"), html.find(">up<").expect("up"));
    assert!(bad < good, "what is wrong comes first");
}

#[tokio::test]
async fn an_empty_plane_says_what_to_add() {
    let vigie = Setup { budgets: "budgets: []", ..Setup::default() }.start().await;
    let html = page(&vigie, "/").await;
    for part in
        ["Nothing is known to be wrong", "probes/probes.yaml", "alerts/budgets.yaml", "probes/scrape.yaml"]
    {
        assert!(html.contains(part), "{part}: {html}");
    }
    let status = page(&vigie, "/status").await;
    assert!(status.contains("Not everything has been seen yet"), "{status}");
}

#[tokio::test]
async fn a_storm_makes_no_page_without_end() {
    let seen = Seen {
        probes: (0..3000).map(|i| probe(&format!("probe-{i}"), Some(i % 2 == 0))).collect(),
        ..Seen::default()
    };
    let rules = "groups: [{name: g, rules: [{alert: Storm, expr: 'label_replace(storm, \"a\", \"$1\", \"n\", \"(.*)\") == 1'}]}]";
    let vigie = Setup { rules, seen, storm: 1000, ..Setup::default() }.start().await;
    let html = page(&vigie, "/").await;
    assert!(
        html.contains("1000 alerts fire now")
            && html.contains("and 800 more")
            && html.contains("and 2800 more")
    );
    assert!(html.len() < 500_000, "{}", html.len());
    assert!(page(&vigie, "/status").await.len() < 200_000);
}

#[tokio::test]
async fn the_public_status_tells_states_and_nothing_of_the_inside() {
    let vigie = Setup { rules: RULES, seen: seen(), tokens: true, ..Setup::default() }.start().await;
    let html = page(&vigie, "/status").await;
    assert!(
        html.contains("1 service does not answer") && html.contains("auth") && html.contains("99.87 %"),
        "{html}"
    );
    for inside in ["10.0.0.7", "refused", "3002", "USD", "1.2.3", "Hostile", "/graph", "http://", "12 ms"] {
        assert!(!html.contains(inside), "{inside}: {html}");
    }
    let health = vigie.get("/api/v1/health").await;
    assert_eq!(health.json()["status"], "ok");
}

#[tokio::test]
async fn the_graph_page_takes_whatever_is_asked() {
    let vigie = Setup { storm: 1000, ..Setup::default() }.start().await;
    let ask = |query: &str, range: &str| {
        let path = format!("/graph?{}", encoded(&[("g0.expr", query), ("g0.range_input", range)]));
        let vigie = &vigie;
        async move { page(vigie, &path).await }
    };
    let chart = |html: &str| html.contains("<svg") && html.contains("<path class=\"line");
    for (query, range, drawn, part) in [
        ("", "", false, "<textarea"),
        ("   ", "1h", false, "<textarea"),
        ("up", "1h", true, "job=&#34;api&#34;"),
        ("up", "2h", true, "<option selected>2h</option>"),
        ("up", "nonsense", true, "<option selected>1h</option>"),
        ("up", "0s", true, "<option selected>1h</option>"),
        ("up", "1ms", true, "<path class=\"line dot c0\""),
        ("up", "290y", true, "up{instance=&#34;a:1&#34;, job=&#34;api&#34;}"),
        ("1 + 1", "1h", true, ">2</td>"),
        ("\"<b>bold</b>\"", "1h", false, "&#60;b&#62;bold"),
        ("up[1m]", "1h", false, ">1</td>"),
        ("up > 5", "1h", false, "No series has a value now."),
        ("odd", "1h", false, ">NaN</td>"),
        ("odd", "1h", false, ">+Inf</td>"),
        ("vector(1e308) or vector(-1e308)", "1h", true, ">1e+308</td>"),
        ("vector(1.7e308) * (floor(vector(time())) % 2 * 2 - 1)", "1h", true, "e+308</td>"),
        ("latency", "1h", false, "histogram of 4 observations, sum 5.5"),
        ("hostile", "1h", true, "&#60;script&#62;"),
        ("up{", "1h", false, "parse error"),
        ("<script>alert(1)</script>", "1h", false, "&#60;script&#62;"),
        ("</textarea><script>alert(1)</script>", "1h", false, "&#60;/textarea&#62;"),
        ("up + on () up", "1h", false, "role=\"alert\""),
        ("rate(up[5m])", "1h", true, "PromQL info"),
        ("storm", "1h", true, "and 800 more"),
        (&"(".repeat(5000), "1h", false, "nests deeper"),
    ] {
        let html = ask(query, range).await;
        assert!(html.contains(part), "{query} {range}: {part}: {html}");
        assert_eq!(chart(&html), drawn, "{query} {range}: {html}");
        assert!(!html.contains("NaN ") && html.len() < 300_000, "{query}: {}", html.len());
    }
    let storm = ask("storm", "1h").await;
    assert_eq!(storm.matches("<path ").count(), 12, "lines are few");
    assert!(storm.contains("The chart has the first 12 of 1000 series."), "and it is said");
    assert_eq!(storm.matches("<tr>").count(), 1 + 200, "rows are bounded");
}

#[tokio::test]
async fn a_runbook_is_shown_as_it_is_meant_and_trusted_with_nothing() {
    let vigie = Setup::default().start().await;
    let folder = vigie.dir.path().join("ops/runbooks");
    std::fs::create_dir_all(&folder).expect("folder");
    let text = "# Down <script>alert(1)</script>\n\nSee [the graph](/graph?g0.expr=up), [mail](mailto:a@b.c), [docs](https://d.example/a:b).\n\n\
        <script>alert(1)</script>\n\n<div style=\"x\">text</div> and <b onclick=\"x()\">inline</b>\n\n\
        [a](javascript:alert(1)) [b](JAVASCRIPT:alert(1)) [c](java&#10;script:alert(1)) [d](data:text/html,x) [e](vbscript:x) [f](<\u{1}javascript:alert(1)>)\n\n\
        ![i](javascript:alert(1)) <javascript:alert(1)>\n\n| a | b |\n|:--|--:|\n| 1 | 2 |\n\n`code <i>` \n\n```js\" onload=\"x\nlet a = '<script>';\n```\n";
    std::fs::write(folder.join("service-down.md"), text).expect("written");
    let html = page(&vigie, "/runbooks/service-down").await;
    for part in [
        "href=\"/graph?g0.expr=up\"",
        "href=\"mailto:a@b.c\"",
        "href=\"https://d.example/a:b\"",
        "&lt;script&gt;alert(1)&lt;/script&gt;",
        "<table>",
        "<code>code &lt;i&gt;</code>",
    ] {
        assert!(html.contains(part), "{part}: {html}");
    }
    let links: Vec<&str> = html.split("href=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    for link in links {
        let fine = ["/", "https://", "mailto:", "#main"].iter().any(|start| link.starts_with(start));
        assert!(fine || link.is_empty(), "{link}");
    }
    for (name, status) in [
        ("nosuch", 404),
        ("..%2f..%2fsecret", 404),
        ("a..b", 404),
        ("Service-Down", 404),
        ("service-down.md", 404),
        ("%00", 404),
        ("%ff", 400),
    ] {
        let answer = vigie.get(&format!("/runbooks/{name}")).await;
        assert_eq!(answer.status, status, "{name}: {}", answer.text);
        let inside = vigie.dir.path().display().to_string();
        assert!(!answer.text.contains(&inside), "where files are is nobody's business: {}", answer.text);
    }
}

#[tokio::test]
async fn who_is_logged_in_can_log_out() {
    let vigie = Setup { tokens: true, ..Setup::default() }.start().await;
    let html = vigie.request("GET", "/graph").bearer_auth(VIEWER).send().await.expect("answer");
    let html = html.text().await.expect("text");
    assert!(html.contains("<form method=\"post\" action=\"/logout\">vera "), "{html}");
    let open = Setup::default().start().await;
    for path in ["/", "/graph", "/mail"] {
        assert!(!page(&open, path).await.contains("/logout"), "nobody logged in");
    }
}

#[tokio::test]
async fn assets_are_there_and_need_nothing_from_elsewhere() {
    let vigie = Setup { tokens: true, ..Setup::default() }.start().await;
    for (path, kind) in [
        ("/assets/console.css", "text/css; charset=utf-8"),
        ("/assets/console.js", "text/javascript; charset=utf-8"),
        ("/assets/explore.js", "text/javascript; charset=utf-8"),
        ("/assets/icon.svg", "image/svg+xml"),
    ] {
        let answer = vigie.get(path).await;
        assert_eq!((answer.status, answer.header("content-type")), (200, kind), "{path}");
        let text = answer.text.replace("http://www.w3.org/2000/svg", "");
        assert!(
            !text.contains("http://") && !text.contains("https://") && !text.contains("@import"),
            "{path}"
        );
        assert!(!text.contains("style=") && !text.contains("innerHTML"), "{path}");
    }
}

/// A series of its own for each of many.
pub(crate) fn storm(store: &promql::MemoryStore, count: usize) {
    for n in 0..count {
        let labels = labels("storm", &[("n", n.to_string().as_str())]);
        store.push(&labels, NOW, Sample::Float(1.0), None).expect("pushed");
    }
}
