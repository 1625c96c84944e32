//! Grafana is brought to what Git says, whatever it was before.

use super::*;
use wiremock::{
    Mock, MockServer, ResponseTemplate,
    matchers::{body_partial_json, header, method, path},
};

async fn grafana(server: &MockServer) -> Grafana {
    let config = GrafanaConfig {
        url: format!("{}/", server.uri()),
        token: Some(Secret::new("glsa_secret")),
        org: None,
        prometheus_url: "http://127.0.0.1:9090".into(),
        prometheus_token: None,
    };
    Grafana::new(config).expect("client")
}

fn dashboards() -> Vec<Dashboard> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../dashboards");
    read_dashboards(&root).unwrap_or_else(|e| panic!("{e}"))
}

#[tokio::test]
async fn an_empty_grafana_gets_folder_data_source_and_dashboards() {
    let server = MockServer::start().await;
    for p in ["/api/folders/vigie", "/api/datasources/uid/vigie"] {
        Mock::given(method("GET"))
            .and(path(p))
            .respond_with(ResponseTemplate::new(404))
            .expect(1)
            .mount(&server)
            .await;
    }
    for (p, part) in [
        ("/api/folders", json!({"uid": "vigie"})),
        ("/api/datasources", json!({"uid": "vigie", "type": "prometheus", "url": "http://127.0.0.1:9090"})),
        (
            "/api/dashboards/db",
            json!({"overwrite": true, "folderUid": "vigie", "dashboard": {"uid": "penpal-system-overview"}}),
        ),
    ] {
        Mock::given(method("POST"))
            .and(path(p))
            .and(header("authorization", "Bearer glsa_secret"))
            .and(body_partial_json(part))
            .respond_with(ResponseTemplate::new(200).set_body_json(json!({})))
            .expect(1)
            .mount(&server)
            .await;
    }
    assert_eq!(grafana(&server).await.push(&dashboards()).await.expect("pushed"), 1);
}

#[tokio::test]
async fn a_grafana_that_is_right_already_only_gets_dashboards_and_a_refusal_is_a_sentence() {
    let server = MockServer::start().await;
    Mock::given(path("/api/folders/vigie")).respond_with(ResponseTemplate::new(200)).mount(&server).await;
    let found = json!({"uid": "vigie", "type": "prometheus", "url": "http://127.0.0.1:9090"});
    Mock::given(path("/api/datasources/uid/vigie"))
        .respond_with(ResponseTemplate::new(200).set_body_json(found))
        .mount(&server)
        .await;
    Mock::given(path("/api/dashboards/db"))
        .respond_with(ResponseTemplate::new(403).set_body_json(json!({"message": "Access denied"})))
        .mount(&server)
        .await;
    let error = grafana(&server).await.push(&dashboards()).await.expect_err("refused").to_string();
    assert!(error.ends_with("dashboards/system-overview.json: 403 Forbidden Access denied"), "{error}");
}

#[tokio::test]
async fn a_guarded_vigie_gives_grafana_its_token_every_time() {
    let server = MockServer::start().await;
    Mock::given(path("/api/folders/vigie")).respond_with(ResponseTemplate::new(200)).mount(&server).await;
    let found = json!({"uid": "vigie", "type": "prometheus", "url": "http://127.0.0.1:9090"});
    let wanted = json!({
        "jsonData": {"httpHeaderName1": "Authorization"},
        "secureJsonData": {"httpHeaderValue1": "Bearer viewer-token"},
    });
    let source = || path("/api/datasources/uid/vigie");
    Mock::given(method("GET"))
        .and(source())
        .respond_with(ResponseTemplate::new(200).set_body_json(found))
        .mount(&server)
        .await;
    Mock::given(method("PUT"))
        .and(source())
        .and(body_partial_json(wanted))
        .respond_with(ResponseTemplate::new(200))
        .expect(2)
        .mount(&server)
        .await;
    let config = GrafanaConfig {
        prometheus_token: Some(Secret::new("viewer-token")),
        ..grafana(&server).await.config
    };
    let grafana = Grafana::new(config).expect("client");
    for _ in 0..2 {
        assert_eq!(grafana.push(&[]).await.expect("pushed"), 0);
    }
}

#[test]
fn bad_dashboards_are_all_told() {
    let dir = tempfile::tempdir().expect("dir");
    std::fs::write(dir.path().join("a.json"), "{\n  \"uid\": }").expect("write");
    let bad = json!({"uid": "", "title": "t", "panels": [{"title": "p", "targets": [{"expr": "rate("}]}]});
    std::fs::write(dir.path().join("b.json"), bad.to_string()).expect("write");
    let problems = read_dashboards(dir.path()).expect_err("bad").to_string();
    for part in ["a.json:2:10: expected value", "b.json: a dashboard needs a `uid`", "b.json: panel p: "] {
        assert!(problems.contains(part), "{part}\n{problems}");
    }
}
