//! Messages arrive at a real receiver, once, also across a restart.

use super::*;
use crate::config::Overrides;
use model::Labels;
use std::path::Path;
use wiremock::{Mock, MockServer, ResponseTemplate, matchers::path};

fn alert(service: &str, ends_at: Option<i64>) -> Alert {
    Alert {
        labels: Labels::from_pairs([
            ("alertname", "ServiceDown"),
            ("service", service),
            ("severity", "critical"),
        ]),
        annotations: Labels::from_pairs([
            ("summary", "auth does not answer <here>"),
            ("runbook_url", "https://example.org/runbooks/service-down"),
        ]),
        starts_at: 1_000,
        ends_at,
        generator_url: "http://127.0.0.1:3005/explore".to_owned(),
    }
}

fn config(base: &str) -> RoutingConfig {
    let text = format!(
        "route: {{receiver: r, group_by: [alertname], group_wait: 0s, group_interval: 1s}}\nreceivers:\n  - name: r\n    \
         webhook_configs: [{{url: {base}/hook}}]\n    slack_configs: [{{api_url: {base}/slack, send_resolved: true}}]\n"
    );
    RoutingConfig::parse("r", &text, Path::new("."), &Overrides::default()).expect("config")
}

async fn open(dir: &Path, base: &str) -> (Arc<Alerting>, Tasks, State) {
    let (clock, state) = (Clock::system(), State::open(dir).expect("open"));
    let alerting =
        Alerting::new(state.clone(), clock.clone(), config(base), "http://127.0.0.1:3005").expect("new");
    let tasks = Tasks::new(clock);
    alerting.start(&tasks);
    (alerting, tasks, state)
}

async fn accept(alerting: &Arc<Alerting>, alerts: Vec<Alert>) {
    let alerting = Arc::clone(alerting);
    tokio::task::spawn_blocking(move || {
        let now = alerting.clock.now_ms();
        alerting.accept(now, &alerts).expect("accepted");
    })
    .await
    .expect("joined");
}

async fn until(what: &str, condition: impl Fn() -> bool) {
    for _ in 0..500 {
        if condition() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{what}");
}

fn delivered(alerting: &Alerting) -> u64 {
    alerting.counts().values().map(|c| c.delivered).sum()
}

#[tokio::test]
async fn a_page_arrives_in_every_form_and_is_not_repeated_after_a_restart() {
    let server = MockServer::start().await;
    Mock::given(path("/hook")).respond_with(ResponseTemplate::new(200)).mount(&server).await;
    Mock::given(path("/slack"))
        .respond_with(ResponseTemplate::new(200).set_body_string("ok"))
        .mount(&server)
        .await;
    let dir = tempfile::tempdir().expect("dir");
    let (alerting, tasks, state) = open(dir.path(), &server.uri()).await;
    accept(&alerting, vec![alert("auth", None)]).await;
    until("both are told", || delivered(&alerting) == 2).await;
    assert!(tasks.stop(Duration::from_secs(5)).await);
    state.close();

    let requests = server.received_requests().await.expect("requests");
    let body = |p: &str| -> serde_json::Value {
        let request = requests.iter().find(|r| r.url.path() == p).expect(p);
        serde_json::from_slice(&request.body).expect("json")
    };
    let hook = body("/hook");
    assert_eq!(
        (&hook["version"], &hook["status"], &hook["receiver"]),
        (&"4".into(), &"firing".into(), &"r".into())
    );
    assert_eq!(hook["alerts"][0]["labels"]["service"], "auth");
    assert_eq!(hook["alerts"][0]["startsAt"], "1970-01-01T00:00:01.000Z");
    assert_eq!(hook["groupKey"], r#"{}:{alertname="ServiceDown"}"#);
    let slack = body("/slack");
    assert_eq!(slack["text"], "FIRING: ServiceDown (auth)");
    assert_eq!(slack["blocks"][0]["text"]["text"], "FIRING: ServiceDown (auth)");
    let section = slack["blocks"][1]["text"]["text"].as_str().expect("section");
    assert_eq!(section, "*FIRING: auth does not answer &lt;here&gt;*");
    assert!(slack.to_string().contains("https://example.org/runbooks/service-down"));

    let (alerting, tasks, state) = open(dir.path(), &server.uri()).await;
    accept(&alerting, vec![alert("auth", None)]).await;
    accept(&alerting, vec![alert("auth", Some(alerting.clock.now_ms()))]).await;
    until("the end is told", || delivered(&alerting) == 2).await;
    until("all is forgotten", || alerting.inbox().is_empty()).await;
    let titles: Vec<String> = server
        .received_requests()
        .await
        .expect("requests")
        .iter()
        .filter(|r| r.url.path() == "/slack")
        .map(|r| serde_json::from_slice::<serde_json::Value>(&r.body).expect("json")["text"].to_string())
        .collect();
    assert_eq!(titles, [r#""FIRING: ServiceDown (auth)""#, r#""RESOLVED: ServiceDown (auth)""#]);
    assert!(tasks.stop(Duration::from_secs(5)).await);
    state.close();
}

#[tokio::test]
async fn a_receiver_that_is_down_is_told_when_it_is_back() {
    let server = MockServer::start().await;
    Mock::given(path("/hook")).respond_with(ResponseTemplate::new(503)).up_to_n_times(1).mount(&server).await;
    Mock::given(path("/hook")).respond_with(ResponseTemplate::new(200)).mount(&server).await;
    Mock::given(path("/slack"))
        .respond_with(ResponseTemplate::new(200).set_body_string("ok"))
        .mount(&server)
        .await;
    let dir = tempfile::tempdir().expect("dir");
    let (alerting, tasks, state) = open(dir.path(), &server.uri()).await;
    accept(&alerting, vec![alert("auth", None)]).await;
    until("both are told", || delivered(&alerting) == 2).await;
    let failed: u64 = alerting.counts().values().map(|c| c.failed).sum();
    assert_eq!(failed, 1);
    assert!(tasks.stop(Duration::from_secs(5)).await);
    state.close();
}
