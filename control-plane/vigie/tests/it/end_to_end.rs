//! The main job on real input: watch, count, decide, tell. Nothing is doubled inside our own processes.
//!
//! One platform goes through everything in turn, because starting it is what takes time.

use crate::{
    part,
    platform::{PATIENCE, Platform, SERVICES, Told, cost, message},
    until,
};
use std::collections::BTreeSet;

const TRACE: &str = "5b8efff798038103d269b633813fc60c";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_platform_is_watched_counted_decided_on_and_told_about() {
    let what = "the end-to-end test";
    let (Some(maildev), Some(rotel)) = (part("MAILDEV", what), part("ROTEL_AGENT", what)) else { return };
    let mut platform = Platform::start(&maildev, &rotel).await;
    let p = &mut platform;
    p.answers("vigie").await;

    everything_is_up(p).await;
    requests_are_counted(p).await;
    the_host_is_there(p).await;
    the_dashboard_arrived(p).await;
    a_chat_is_one_trace(p).await;
    no_panel_is_empty(p).await;
    a_chat_costs_what_the_table_says(p).await;
    what_would_pass_the_budget_is_refused_and_told(p).await;
    vigie_dies_before_it_tells(p).await;
    vigie_dies_after_it_told(p).await;
    vigie_dies_while_receivers_refuse(p).await;
    what_is_back_is_told(p).await;
    nothing_else_was_told(p).await;
    platform.stop().await;
}

fn step(name: &str) {
    println!("--- {name}");
}

async fn everything_is_up(p: &Platform) {
    step("every service is up, by probes and by scrapes");
    let all: BTreeSet<&str> = SERVICES.into_iter().chain(["vigie"]).collect();
    for (expr, wanted) in [("probe_success == 1", all), ("up == 1", SERVICES.into_iter().collect())] {
        until(expr, PATIENCE, || async {
            let series = p.query(expr).await?;
            let found: BTreeSet<&str> =
                series.iter().filter_map(|(labels, _)| labels.get("service").map(String::as_str)).collect();
            if wanted.is_subset(&found) { Ok(()) } else { Err(format!("only {found:?}")) }
        })
        .await;
    }
    let targets = p.get("vigie", "/api/v1/targets").await.expect("targets");
    let targets = targets["data"]["activeTargets"].as_array().cloned().unwrap_or_default();
    assert_eq!(targets.len(), SERVICES.len());
    assert!(targets.iter().all(|t| t["health"] == "up"), "{targets:?}");
}

async fn requests_are_counted(p: &Platform) {
    step("http_requests_total grows");
    let all: Vec<&str> = SERVICES.into_iter().chain(["vigie"]).collect();
    for service in all {
        let expr = format!("sum(http_requests_total{{service=\"{service}\"}})");
        let first = until(&expr, PATIENCE, || p.value(&expr)).await;
        until(&format!("{expr} grows"), PATIENCE, || async {
            let now = p.value(&expr).await?;
            if now > first { Ok(()) } else { Err(format!("{now} after {first}")) }
        })
        .await;
    }
}

async fn the_host_is_there(p: &Platform) {
    step("the host's series are there");
    for expr in [
        "sum(node_cpu_seconds_total{mode=\"idle\"}) > 0",
        "count(node_memory_MemTotal_bytes > node_memory_MemAvailable_bytes)",
        "count(node_filesystem_avail_bytes) > 0",
        "count(node_filesystem_size_bytes) > 0",
        "count(node_load1)",
    ] {
        until(expr, PATIENCE, || p.value(expr)).await;
    }
}

async fn the_dashboard_arrived(p: &Platform) {
    step("the dashboard is in Grafana, with its folder and its data source");
    until("the push to Grafana", PATIENCE, || async {
        let path = "/api/dashboards/uid/penpal-system-overview";
        let pushed = p.receiver.grafana(path).ok_or_else(|| format!("there is no {path}"))?;
        assert_eq!(pushed["dashboard"]["title"], "System Overview");
        assert_eq!(pushed["folderUid"], "vigie");
        Ok(())
    })
    .await;
    assert!(p.receiver.grafana("/api/folders/vigie").is_some(), "the folder is missing");
    let source = p.receiver.grafana("/api/datasources/uid/vigie").expect("the data source");
    assert_eq!((source["type"].as_str(), source["uid"].as_str()), (Some("prometheus"), Some("vigie")));
    let asked = p.receiver.seen("/grafana");
    assert!(asked.iter().all(|s| s.headers["authorization"] == "Bearer grafana-key"), "a request had no key");
    // What the data source names must answer as Prometheus does.
    let url = source["url"].as_str().expect("an address");
    let info = p.page(&format!("{url}/api/v1/status/buildinfo")).await.expect("Vigie where Grafana looks");
    assert!(info.contains("\"status\":\"success\""), "{info}");
}

async fn a_chat_is_one_trace(p: &Platform) {
    step("a chat is one trace through frontend, ai and vigie");
    let (status, page) = p.demo("He go to school", &format!("00-{TRACE}-00f067aa0ba902b7-01")).await;
    assert_eq!(status, 200, "{page}");
    let wanted: BTreeSet<String> = ["ai", "frontend", "vigie"].map(str::to_owned).into();
    until("the trace arrives at the collector", PATIENCE, || async {
        let found = services_of(&p.log("rotel"), TRACE);
        if wanted.is_subset(&found) { Ok(()) } else { Err(format!("spans of {found:?}")) }
    })
    .await;
    for name in &wanted {
        assert!(p.log(name).contains(TRACE), "the log of {name} does not name the trace");
    }
}

/// The services that have spans in a trace, read from the collector's debug log.
fn services_of(log: &str, trace: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut service = String::new();
    for line in log.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix("-> service.name: Str(").and_then(|l| l.strip_suffix(')')) {
            name.clone_into(&mut service);
        } else if line.strip_prefix("Trace ID").is_some_and(|l| l.ends_with(trace)) {
            found.insert(service.clone());
        }
    }
    found
}

async fn no_panel_is_empty(p: &Platform) {
    step("every query of every dashboard returns series");
    let boards =
        web::grafana::read_dashboards(&crate::platform::root().join("dashboards")).expect("dashboards");
    for (place, query) in boards.iter().flat_map(|b| web::grafana::queries(&b.model)) {
        until(&format!("{place}: {query}"), PATIENCE, || async {
            let series = p.query(&query).await?;
            if series.is_empty() { Err("no series".to_owned()) } else { Ok(()) }
        })
        .await;
    }
}

async fn a_chat_costs_what_the_table_says(p: &Platform) {
    step("a chat costs what the price table says");
    let spent = "ai_budget_spent_usd{budget=\"platform\"}";
    let before = until("the demo's chat is in the books", PATIENCE, || async {
        let spent = p.value(spent).await?;
        if spent > 0.0 { Ok(spent) } else { Err("nothing is spent".to_owned()) }
    })
    .await;
    let (status, _, body) = p.chat(&message("I has two cat", 100)).await;
    assert_eq!(status, 200, "{body}");
    let expected = cost(&body["usage"]);
    assert_eq!(body["cost"].as_f64(), Some(expected), "{body}");
    assert!(expected > 0.0 && body["provider"] == "offline", "{body}");
    for (expr, wanted) in [
        (spent, before + expected),
        ("sum(ai_cost_usd_total)", before + expected),
        ("ai_budget_limit_usd{budget=\"platform\"}", 0.40),
        ("ai_budget_committed_usd{budget=\"platform\"}", before + expected),
        ("ai_budget_reserved_usd{budget=\"platform\"}", 0.0),
    ] {
        until(expr, PATIENCE, || async {
            let value = p.value(expr).await?;
            if (value - wanted).abs() < 1e-9 { Ok(()) } else { Err(format!("{value}, not {wanted}")) }
        })
        .await;
    }
    let shown = p.cli(&["budget", "status"]);
    assert!(shown.contains("platform") && shown.contains("0.4"), "{shown}");
    let json: serde_json::Value =
        serde_json::from_str(&p.cli(&["budget", "status", "--output", "json"])).expect("JSON");
    assert!(json.to_string().contains("platform"), "{json}");
}

async fn what_would_pass_the_budget_is_refused_and_told(p: &Platform) {
    step("a chat over the budget is refused, and the alert fires");
    until("the refusals' counter is kept", PATIENCE, || p.value("sum(ai_budget_refusals_total)")).await;
    let (status, wait, body) = p.chat(&message("Tell me everything", 2000)).await;
    assert_eq!(status, 429, "{body}");
    assert_eq!(
        (body["code"].as_str(), body["budget"].as_str()),
        (Some("budget_exceeded"), Some("platform")),
        "{body}"
    );
    assert!(wait.is_some_and(|s| s > 0 && s <= 24 * 3600), "Retry-After is {wait:?}");
    // What still fits is still granted: a refusal of one call blocks no other.
    let (status, _, body) = p.chat(&message("She walk home", 50)).await;
    assert_eq!(status, 200, "{body}");
    until("AiBudgetExhausted fires", PATIENCE, || async {
        let firing = p.alerts("AiBudgetExhausted", "firing").await?;
        if firing.iter().any(|a| a["labels"]["budget"] == "platform") {
            Ok(())
        } else {
            Err(format!("{firing:?}"))
        }
    })
    .await;
    until("its e-mail", PATIENCE, || async {
        let mails = p.mails().await?;
        let subject = |m: &serde_json::Value| m["subject"].as_str().unwrap_or_default().to_owned();
        let found = mails.iter().any(|m| subject(m).starts_with("FIRING: AiBudgetExhausted"));
        if found { Ok(()) } else { Err(format!("{:?}", mails.iter().map(subject).collect::<Vec<_>>())) }
    })
    .await;
    let shown = p.cli(&["alerts"]);
    assert!(shown.contains("AiBudgetExhausted"), "{shown}");
}

/// Since when ServiceDown fires for a service, which must be the only one.
async fn since_when(p: &Platform, service: &str) -> String {
    let firing = p.alerts("ServiceDown", "firing").await.expect("alerts");
    let [alert] = firing.as_slice() else { panic!("not one alert: {firing:?}") };
    assert_eq!(alert["labels"]["service"], service);
    alert["activeAt"].as_str().expect("a time").to_owned()
}

/// SIGKILL of Vigie between the kill of a service and the message about it: nothing is lost.
async fn vigie_dies_before_it_tells(p: &mut Platform) {
    step("notify is killed, and Vigie before it tells: the messages come, once each");
    p.process("notify").kill();
    let pending = until("ServiceDown of notify is pending", PATIENCE, || async {
        let pending = p.alerts("ServiceDown", "pending").await?;
        pending.into_iter().find(|a| a["labels"]["service"] == "notify").ok_or("it is not".to_owned())
    })
    .await;
    p.process("vigie").kill();
    assert_eq!(
        p.told("ServiceDown", "notify", "firing").await.expect("mails"),
        Told::each(0),
        "told too early"
    );
    p.start_vigie();
    p.answers("vigie").await;
    p.told_once("ServiceDown", "notify", "firing").await;
    // What no sample confirms does not count towards `for`, so the moment may move, and only forwards.
    let since = since_when(p, "notify").await;
    assert!(Some(since.as_str()) >= pending["activeAt"].as_str(), "{since}, and it was {pending}");

    let mails = p.mails().await.expect("mails");
    let mail = mails.iter().find(|m| m["subject"] == "FIRING: ServiceDown (notify)").expect("the mail");
    let text = mail["text"].as_str().unwrap_or_default();
    assert!(text.contains("notify does not answer"), "{text}");
    let runbook = format!("{}/runbooks/service-down", p.base("vigie"));
    assert!(text.contains(&runbook), "no runbook in {text}");
    let page = p.page(&runbook).await.expect("the runbook's page");
    assert!(page.contains("Is it real?"), "{page}");
    let console = p.page(&p.base("vigie")).await.expect("the console");
    assert!(console.contains("notify does not answer"), "the console does not show it: {console}");
    let slack = p
        .receiver
        .seen("/slack")
        .into_iter()
        .filter(|s| s.taken)
        .map(|s| s.body)
        .next_back()
        .expect("a message");
    let blocks = slack["blocks"].to_string();
    assert!(blocks.contains("FIRING") && blocks.contains("notify does not answer"), "{blocks}");
    let hook = p
        .receiver
        .seen("/hook")
        .into_iter()
        .filter(|s| s.taken)
        .map(|s| s.body)
        .next_back()
        .expect("a request");
    assert_eq!((hook["version"].as_str(), hook["receiver"].as_str()), (Some("4"), Some("oncall")));
}

/// SIGKILL of Vigie after the messages: nothing is said again, and nothing is resolved.
async fn vigie_dies_after_it_told(p: &mut Platform) {
    step("Vigie is killed after it told: nothing comes twice");
    p.evaluations(3).await;
    let since = since_when(p, "notify").await;
    p.process("vigie").kill();
    p.start_vigie();
    p.answers("vigie").await;
    p.evaluations(5).await;
    assert_eq!(since_when(p, "notify").await, since, "the alert has forgotten since when");
    assert_eq!(p.told("ServiceDown", "notify", "firing").await.expect("mails"), Told::each(1), "told again");
    assert_eq!(
        p.told("ServiceDown", "notify", "resolved").await.expect("mails"),
        Told::each(0),
        "it is not over"
    );
}

/// Receivers that refuse are tried again, by the next Vigie too; who was told is not told again.
async fn vigie_dies_while_receivers_refuse(p: &mut Platform) {
    step(
        "payment is killed while Slack and the webhook refuse, and Vigie while it tries: all come, once each",
    );
    p.receiver.refuse(&["/slack", "/hook"]);
    p.process("payment").kill();
    let refused = |p: &Platform| p.receiver.seen("/").iter().filter(|s| !s.taken).count();
    until("the mail comes, and the others are tried", PATIENCE, || async {
        let told = p.told("ServiceDown", "payment", "firing").await?;
        if told.mails == 1 && refused(p) >= 2 {
            Ok(())
        } else {
            Err(format!("{told:?}, {} refused", refused(p)))
        }
    })
    .await;
    p.evaluations(1).await;
    p.process("vigie").kill();
    let before = refused(p);
    p.start_vigie();
    p.answers("vigie").await;
    until("the new Vigie tries again", PATIENCE, || async {
        if refused(p) > before { Ok(()) } else { Err("it does not".to_owned()) }
    })
    .await;
    p.receiver.refuse(&[]);
    p.told_once("ServiceDown", "payment", "firing").await;
    p.evaluations(3).await;
    assert_eq!(p.told("ServiceDown", "payment", "firing").await.expect("mails"), Told::each(1), "told again");
}

async fn what_is_back_is_told(p: &mut Platform) {
    step("the services are back: resolved messages come, once each");
    for service in ["notify", "payment"] {
        p.start_service(service);
    }
    for service in ["notify", "payment"] {
        p.told_once("ServiceDown", service, "resolved").await;
    }
    p.evaluations(3).await;
    for service in ["notify", "payment"] {
        for status in ["firing", "resolved"] {
            let told = p.told("ServiceDown", service, status).await.expect("mails");
            assert_eq!(told, Told::each(1), "{service} {status}");
        }
    }
    until("no service is down", PATIENCE, || async {
        let firing = p.alerts("ServiceDown", "firing").await?;
        if firing.is_empty() { Ok(()) } else { Err(format!("{firing:?}")) }
    })
    .await;
}

async fn nothing_else_was_told(p: &Platform) {
    step("nobody was told of a service that was not killed");
    for mail in p.mails().await.expect("mails") {
        let subject = mail["subject"].as_str().unwrap_or_default();
        let ours =
            !subject.contains("ServiceDown") || subject.contains("(notify)") || subject.contains("(payment)");
        assert!(ours, "{subject}");
    }
}
