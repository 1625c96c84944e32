use super::*;
use crate::recorder::figures::Part;
use kit::{problem::Problems, yaml::Document};
use std::time::Duration;
use wiremock::{
    Mock, MockServer, ResponseTemplate,
    matchers::{body_string, header, headers, method, path},
};

mod ports;
mod servers;
mod speaking;

/// The one probe of these fields, in a file of `folder`.
fn probe_in(folder: &std::path::Path, fields: &str) -> Probe {
    let file = folder.join("p.yaml").display().to_string();
    let doc = Document::parse(&file, &format!("probes:\n- {{name: p, service: s, {fields}}}")).unwrap();
    let mut problems = Problems::default();
    let mut all = config::read(&doc, config::ProbeDefaults::default(), &mut problems);
    assert!(problems.is_empty(), "{problems}");
    all.remove(0)
}

fn probe(fields: &str) -> Probe {
    probe_in(std::path::Path::new("."), fields)
}

/// Figures as `name=value` or `name{key=value}=value`, those that are whole numbers.
fn shown(found: &Found) -> Vec<String> {
    let part = |part: &Part| part.map_or_else(String::new, |(k, v)| format!("{{{k}={v}}}"));
    let whole = found.figures().iter().filter(|(_, _, v)| v.fract() == 0.0);
    whole.map(|(name, p, v)| format!("{name}{}={v}", part(p))).collect()
}

async fn run(probe: &Probe) -> (Found, Vec<String>) {
    let found = Prober::new(Clock::system(), Heartbeats::default()).run(probe).await;
    let shown = shown(&found);
    (found, shown)
}

/// Runs it, and looks that it is good and shows these figures.
async fn good(probe: &Probe, figures: &[&str]) {
    let (found, shown) = run(probe).await;
    assert_eq!(found.error, None, "{:?}", probe.kind);
    for expect in figures {
        assert!(shown.iter().any(|s| s == expect), "{expect} is not among {shown:?}");
    }
    let mut names: Vec<_> = found.figures().iter().map(|(name, part, _)| (name, part)).collect();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), found.figures().len(), "no series twice");
}

/// Runs it, and looks that its error has this in it.
async fn bad(probe: &Probe, error: &str) -> Vec<String> {
    let (found, shown) = run(probe).await;
    let got = found.error.unwrap_or_else(|| panic!("{:?} is good", probe.kind));
    assert!(got.contains(error), "{got}");
    assert!(shown.contains(&"probe_success=0".to_owned()), "{shown:?}");
    shown
}

async fn server() -> MockServer {
    let server = MockServer::start().await;
    let answers = [
        ("/ok", ResponseTemplate::new(200).set_body_string(r#"{"status":"ok"}"#)),
        ("/sick", ResponseTemplate::new(503).set_body_string(r#"{"status":"down"}"#)),
        ("/slow", ResponseTemplate::new(200).set_delay(Duration::from_secs(60))),
        ("/moved", ResponseTemplate::new(302).insert_header("location", "/ok")),
        ("/round", ResponseTemplate::new(302).insert_header("location", "/round")),
    ];
    for (p, answer) in answers {
        Mock::given(method("GET")).and(path(p)).respond_with(answer).mount(&server).await;
    }
    server
}

#[tokio::test]
async fn a_good_answer_gives_blackbox_exporters_series() {
    let server = server().await;
    let probe =
        probe(&format!("url: '{}/ok', conditions: ['status == 200', 'body.status == ok']", server.uri()));
    let (found, shown) = run(&probe).await;
    assert_eq!(found.error, None);
    for expect in [
        "probe_success=1",
        "probe_http_status_code=200",
        "probe_http_redirects=0",
        "probe_http_ssl=0",
        "probe_http_content_length=15",
        "probe_http_uncompressed_body_length=15",
        "probe_ip_protocol=4",
        "probe_failed_due_to_regex=0",
    ] {
        assert!(shown.iter().any(|s| s == expect), "{expect} is not among {shown:?}");
    }
    let figures = found.figures();
    let phases: Vec<_> =
        figures.iter().filter(|(name, _, _)| *name == "probe_http_duration_seconds").collect();
    assert_eq!(phases.len(), 5);
    assert_eq!(figures[0].0, "probe_success");
    assert_eq!(
        probe.labels().to_string(),
        format!("{{probe=\"p\", service=\"s\", target=\"{}/ok\"}}", server.uri())
    );
    let mut names: Vec<_> = figures.iter().map(|(name, part, _)| (name, part)).collect();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), figures.len(), "no series twice");
}

#[tokio::test]
async fn a_failed_run_shows_the_same_series_as_a_good_one() {
    let server = server().await;
    let names =
        |found: &Found| -> Vec<_> { found.figures().iter().map(|(name, part, _)| (*name, *part)).collect() };
    let (good, _) = run(&probe(&format!("url: '{}/ok'", server.uri()))).await;
    for fields in
        [format!("url: '{}/slow', timeout: 50ms", server.uri()), "url: 'http://127.0.0.1:1/'".to_owned()]
    {
        let (failed, _) = run(&probe(&fields)).await;
        assert!(failed.error.is_some());
        assert_eq!(names(&failed), names(&good), "{fields}");
    }
}

#[tokio::test]
async fn a_request_has_its_method_headers_body_and_credentials() {
    let server = MockServer::start().await;
    let expect = Mock::given(method("POST"))
        .and(path("/login"))
        .and(header("x-tenant", "a"))
        .and(header("content-type", "application/json"))
        .and(header("user-agent", "probe of mine"))
        .and(headers("authorization", vec!["Basic b3R0bzpzM2NyZXQ="]))
        .and(body_string("{\"a\":1}"));
    expect.respond_with(ResponseTemplate::new(201)).expect(1).mount(&server).await;
    let fields = "method: post, headers: {X-Tenant: a, content-type: application/json, User-Agent: probe of mine}, \
        body: '{\"a\":1}', basic_auth: {username: otto, password: s3cret}";
    good(&probe(&format!("url: '{}/login', {fields}", server.uri())), &["probe_http_status_code=201"]).await;
    let shown = format!("{:?}", probe(&format!("url: '{}/login', {fields}", server.uri())));
    assert!(!shown.contains("s3cret"), "{shown}");
}

#[tokio::test]
async fn a_bearer_token_is_read_from_its_file_at_every_run() {
    let (server, folder) = (MockServer::start().await, tempfile::tempdir().unwrap());
    for token in ["one", "two"] {
        let answer = ResponseTemplate::new(200).set_body_string(token);
        Mock::given(header("authorization", format!("Bearer {token}")))
            .respond_with(answer)
            .mount(&server)
            .await;
    }
    let probe_for = |token: &str| {
        let fields =
            format!("url: '{}', bearer_token_file: token, conditions: [body == {token}]", server.uri());
        probe_in(folder.path(), &fields)
    };
    bad(&probe_for("one"), "cannot read").await;
    for token in ["one", "two"] {
        std::fs::write(folder.path().join("token"), format!("{token}\n")).unwrap();
        good(&probe_for(token), &[]).await;
    }
}

#[tokio::test]
async fn redirects_are_limited_left_alone_or_looked_at() {
    let server = server().await;
    let with = |fields: &str| probe(&format!("url: '{}/moved', {fields}", server.uri()));
    good(
        &with("follow_redirects: false, conditions: [status == 302, redirects == 0]"),
        &["probe_http_redirects=0"],
    )
    .await;
    bad(&with("max_redirects: 0"), "more than 0 redirects").await;
    let conditions = format!("conditions: [redirects == 1, 'url == {}/ok']", server.uri());
    good(&with(&conditions), &["probe_http_redirects=1"]).await;
    bad(&with("conditions: ['url contains login']"), "/ok\", wanted url contains login").await;
}

#[tokio::test]
async fn a_redirect_to_another_host_takes_no_credentials_along_and_a_post_becomes_a_get() {
    let (first, second) = (MockServer::start().await, MockServer::start().await);
    let to_second = ResponseTemplate::new(303).insert_header("location", &*second.uri());
    Mock::given(header("authorization", "Bearer s3cret")).respond_with(to_second).mount(&first).await;
    Mock::given(method("GET")).respond_with(ResponseTemplate::new(200)).mount(&second).await;
    good(&probe(&format!("url: '{}', method: POST, body: x, bearer_token: s3cret", first.uri())), &[]).await;
    let got = second.received_requests().await.unwrap();
    assert_eq!(got.len(), 1);
    assert!(!got[0].headers.contains_key("authorization") && got[0].body.is_empty());
    assert_eq!(got[0].headers["host"], second.address().to_string());
}

#[tokio::test]
async fn a_regular_expression_that_does_not_match_is_told_apart() {
    let server = server().await;
    let fields = format!("url: '{}/ok', conditions: ['body matches down']", server.uri());
    let shown = bad(&probe(&fields), "wanted body matches down").await;
    assert!(shown.contains(&"probe_failed_due_to_regex=1".to_owned()));
}

#[tokio::test]
async fn a_bad_answer_says_what_was_wanted() {
    let server = server().await;
    let (found, shown) = run(&probe(&format!("url: '{}/sick'", server.uri()))).await;
    assert_eq!(found.error.as_deref(), Some("status is 503, wanted status == 2xx"));
    assert!(
        shown.contains(&"probe_success=0".to_owned())
            && shown.contains(&"probe_http_status_code=503".to_owned())
    );
}

#[tokio::test]
async fn a_slow_answer_ends_at_the_timeout() {
    let server = server().await;
    let (found, _) = run(&probe(&format!("url: '{}/slow', timeout: 100ms", server.uri()))).await;
    assert_eq!(found.error.as_deref(), Some("no answer within 100ms"));
    assert!(found.latency < Duration::from_secs(5));
}

#[tokio::test]
async fn redirects_are_followed_and_counted_and_end() {
    let server = server().await;
    let (found, shown) = run(&probe(&format!("url: '{}/moved'", server.uri()))).await;
    assert_eq!(found.error, None);
    assert!(shown.contains(&"probe_http_redirects=1".to_owned()), "{shown:?}");
    let (found, _) = run(&probe(&format!("url: '{}/round'", server.uri()))).await;
    assert_eq!(found.error.as_deref(), Some("more than 10 redirects"));
}

#[tokio::test]
async fn nobody_there_is_said_so() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (found, shown) = run(&probe(&format!("kind: tcp, url: 'tcp://{address}'"))).await;
    assert_eq!((found.error, shown[0].as_str()), (None, "probe_success=1"));
    drop(listener);
    for fields in [format!("kind: tcp, url: '{address}'"), format!("url: 'http://{address}/'")] {
        let (found, shown) = run(&probe(&fields)).await;
        let error = found.error.unwrap();
        assert!(error.starts_with(&format!("cannot connect to {address}")), "{error}");
        assert!(shown.contains(&"probe_success=0".to_owned()));
    }
}

#[tokio::test]
async fn a_name_that_is_not_there_is_told_and_one_of_this_machine_is_found() {
    for fields in ["url: 'http://nowhere.invalid/'", "kind: icmp, url: nowhere.invalid"] {
        bad(&probe(fields), "nowhere.invalid cannot be looked up: there is no such name").await;
    }
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    good(&probe(&format!("kind: tcp, url: 'localhost:{port}'")), &["probe_ip_protocol=4"]).await;
}

#[tokio::test]
async fn a_server_that_speaks_no_http_is_no_panic() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serve = async {
        use tokio::io::AsyncWriteExt;
        let (mut socket, _) = listener.accept().await.unwrap();
        socket.write_all(b"SSH-2.0-nonsense\r\n").await.unwrap();
        drop(socket);
    };
    let probe = probe(&format!("url: 'http://{address}/'"));
    let ((found, _), ()) = tokio::join!(run(&probe), serve);
    assert!(found.error.unwrap().starts_with("asking failed"));
}
