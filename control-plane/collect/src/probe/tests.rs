use super::*;
use kit::{problem::Problems, yaml::Document};
use wiremock::{
    Mock, MockServer, ResponseTemplate,
    matchers::{method, path},
};

fn probe(fields: &str) -> Probe {
    let doc = Document::parse("p.yaml", &format!("probes:\n- {{name: p, service: s, {fields}}}")).unwrap();
    let mut problems = Problems::default();
    let mut all = config::read(&doc, config::ProbeDefaults::default(), &mut problems);
    assert!(problems.is_empty(), "{problems}");
    all.remove(0)
}

async fn run(probe: &Probe) -> (Found, Vec<String>) {
    let found = Prober::new(Clock::system()).run(probe).await;
    let shown = found
        .readings(probe)
        .iter()
        .filter(|(_, v)| v.fract() == 0.0)
        .map(|(l, v)| format!("{}={v}", l.metric_name()))
        .collect();
    (found, shown)
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
    ] {
        assert!(shown.iter().any(|s| s == expect), "{expect} is not among {shown:?}");
    }
    let readings = found.readings(&probe);
    let phases = readings.iter().filter(|(l, _)| l.metric_name() == "probe_http_duration_seconds");
    assert_eq!(phases.count(), 5);
    assert_eq!(
        readings[0].0.to_string(),
        format!("{{__name__=\"probe_success\", probe=\"p\", service=\"s\", target=\"{}/ok\"}}", server.uri())
    );
    let mut names: Vec<String> = readings.iter().map(|(l, _)| l.to_string()).collect();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), readings.len(), "no series twice");
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
