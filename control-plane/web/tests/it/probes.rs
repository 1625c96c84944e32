//! Probes as programs see them, and heartbeats as jobs call in.

use crate::plane::{ADMIN, Answer, BEAT, Running, Seen, Setup};
use serde_json::json;
use std::{sync::Arc, time::Duration};
use web::ProbeView;

const BACKUP: &str = "/api/vigie/v1/heartbeats/backup";

#[tokio::test]
async fn probes_are_listed_with_their_kind() {
    let probe = ProbeView {
        name: "names".to_owned(),
        service: "dns".to_owned(),
        kind: "dns",
        target: "dns://9.9.9.9".to_owned(),
        interval: Duration::from_secs(30),
        up: Some(false),
        since: Some(1_700_000_000_000),
        uptime: Some(0.5),
        latency: Some(Duration::from_millis(12)),
        last: Some(1_700_000_030_000),
        error: Some("rcode is NXDOMAIN".to_owned()),
        depends_on: vec!["net".to_owned()],
        conditions: vec!["rcode == NOERROR".to_owned()],
    };
    let vigie =
        Setup { seen: Seen { probes: vec![probe], ..Seen::default() }, ..Setup::default() }.start().await;
    let expected = json!({"probes": [{
        "name": "names", "service": "dns", "kind": "dns", "target": "dns://9.9.9.9", "interval_seconds": 30.0,
        "up": false, "since": "2023-11-14T22:13:20.000Z", "uptime": 0.5, "latency_seconds": 0.012,
        "last_run": "2023-11-14T22:13:50.000Z", "error": "rcode is NXDOMAIN", "depends_on": ["net"],
        "conditions": ["rcode == NOERROR"],
    }]});
    assert_eq!(vigie.get("/api/vigie/v1/probes").await.json(), expected);
    let home = vigie.get("/").await.text;
    assert!(home.contains("names <span class=\"quiet\">dns</span>"), "{home}");
}

/// Calls in with the right token.
async fn beat(vigie: &Running, method: &str, query: &str, kind: &str, body: &str) -> u16 {
    let request = vigie.request(method, &format!("{BACKUP}{query}")).bearer_auth(BEAT);
    Answer::of(request.header("content-type", kind).body(body.to_owned())).await.status
}

#[tokio::test]
async fn a_job_calls_in_and_can_say_that_it_failed() {
    let seen = Seen::default();
    let beats = Arc::clone(&seen.beats);
    // With access closed too: the heartbeat's own token is enough.
    let vigie = Setup { seen, tokens: true, ..Setup::default() }.start().await;
    let fail = |message: &str| Some(Some(message.to_owned()));
    let json = "application/json";
    for (method, query, kind, body, status, said) in [
        ("POST", "", "text/plain", "", 204, Some(None)),
        ("GET", "", "text/plain", "", 204, Some(None)),
        ("GET", "?status=ok&message=fine", "text/plain", "", 204, Some(None)),
        ("GET", "?status=fail&message=disk+full", "text/plain", "", 204, fail("disk full")),
        ("POST", "?status=fail", "text/plain", "no space left", 204, fail("no space left")),
        ("POST", "?status=fail", "text/plain", "", 204, fail("")),
        ("POST", "", json, r#"{"status":"fail","message":"no"}"#, 204, fail("no")),
        ("POST", "", json, r#"{"status":"ok"}"#, 204, Some(None)),
        ("POST", "", "text/plain", "went well", 204, Some(None)),
        ("POST", "?status=maybe", "text/plain", "", 400, None),
        ("POST", "", json, r#"{"state":"fail"}"#, 400, None),
        ("POST", "", json, "{", 400, None),
    ] {
        let got = beat(&vigie, method, query, kind, body).await;
        let beats: Vec<Option<String>> = std::mem::take(&mut *beats.lock().expect("lock"));
        assert_eq!((got, beats), (status, said.into_iter().collect()), "{method} {query} {body}");
    }
    let long = "x".repeat(70_000);
    assert_eq!(beat(&vigie, "POST", "", "text/plain", &long).await, 413);
}

#[tokio::test]
async fn only_the_token_of_the_heartbeat_opens_its_door() {
    for tokens in [false, true] {
        let vigie = Setup { tokens, ..Setup::default() }.start().await;
        for (path, token) in [
            (BACKUP, None),
            (BACKUP, Some("another")),
            (BACKUP, Some(ADMIN)),
            ("/api/vigie/v1/heartbeats/other", Some(BEAT)),
        ] {
            let mut request = vigie.request("POST", path);
            if let Some(token) = token {
                request = request.bearer_auth(token);
            }
            let answer = Answer::of(request).await;
            assert_eq!(
                (answer.status, answer.json()["code"].as_str()),
                (401, Some("unauthorized")),
                "{path}"
            );
        }
        let lost = vigie.request("POST", "/api/vigie/v1/heartbeats/lost").bearer_auth(BEAT);
        let lost = Answer::of(lost).await;
        assert_eq!((lost.status, lost.json()["code"].as_str()), (503, Some("beat_not_recorded")));
    }
}
