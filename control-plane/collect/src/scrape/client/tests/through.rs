//! Requests that go through a proxy, and those that do not.

use super::*;
use crate::{
    discovery::{Source, ask},
    scrape::config::Job,
};
use std::sync::Mutex;
use tokio::net::TcpStream;

/// The heads that a server was asked with.
pub(crate) type Heads = Arc<Mutex<Vec<String>>>;

pub(crate) fn taken(heads: &Heads) -> Vec<String> {
    std::mem::take(&mut *heads.lock().expect("not poisoned"))
}

/// A proxy that answers for every target itself, and whose tunnels all lead to `to`.
pub(crate) async fn proxy(to: Option<SocketAddr>) -> (SocketAddr, Heads) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let address = listener.local_addr().expect("an address");
    let heads = Heads::default();
    let seen = Arc::clone(&heads);
    #[expect(clippy::disallowed_methods, reason = "a test's server")]
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = vec![0; 4096];
            let Ok(n) = stream.read(&mut head).await else { continue };
            let head = String::from_utf8_lossy(&head[..n]).into_owned();
            let tunnel = head.starts_with("CONNECT ");
            let lists = head.contains("/targets");
            seen.lock().expect("not poisoned").push(head);
            if let (true, Some(to)) = (tunnel, to) {
                let Ok(mut far) = TcpStream::connect(to).await else { continue };
                if stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.is_ok() {
                    // Whoever ends the tunnel has what it wanted.
                    let _ended = tokio::io::copy_bidirectional(&mut stream, &mut far).await.is_err();
                }
                continue;
            }
            let (status, kind, body) = match (tunnel, lists) {
                (true, _) => ("403 Forbidden", "text/plain", ""),
                (false, true) => ("200 OK", "application/json", "[{\"targets\": [\"found:1\"]}]"),
                (false, false) => ("200 OK", "text/plain", "passed_on 1\n"),
            };
            let answer = format!(
                "HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                body.len()
            );
            let _gone = stream.write_all(answer.as_bytes()).await.is_err();
        }
    });
    (address, heads)
}

pub(crate) fn job(text: &str, values: &dyn Fn(&str) -> Option<String>) -> Result<Job, String> {
    let text = format!("scrape_configs:\n- job_name: j\n  scrape_timeout: 5s\n{text}");
    let doc = Document::parse("s.yaml", &text).map_err(|p| p.to_string())?;
    let mut problems = Problems::default();
    let jobs = config::read(&doc, true, values, &mut problems);
    problems.into_result(jobs).map(|mut jobs| jobs.remove(0)).map_err(|p| p.to_string())
}

pub(crate) fn target_of(text: &str, values: &dyn Fn(&str) -> Option<String>) -> Target {
    let job = Arc::new(job(text, values).expect("reads"));
    targets(&job, std::iter::empty()).targets.remove(0)
}

#[tokio::test]
async fn a_proxy_is_asked_for_what_is_no_exception() {
    let (address, heads) = proxy(None).await;
    let (direct, direct_heads) = proxy(None).await;
    let clients = Clients::new(Clock::system()).expect("clients");
    let through = format!("  proxy_url: 'http://user:pa%20ss@{address}'\n");
    let far = "  static_configs: [{targets: ['far.test:9100']}]\n";
    let near = format!("  static_configs: [{{targets: ['{direct}']}}]\n");
    let none = |_: &str| None;

    let with_header = format!("{far}{through}  proxy_connect_header: {{X-Tunnel: [secret]}}\n");
    let target = target_of(&with_header, &none);
    assert_eq!(scrape(&clients, &target).await.expect("answers"), "passed_on 1\n");
    let [head] = &taken(&heads)[..] else { panic!("one request") };
    assert!(head.starts_with("GET http://far.test:9100/metrics HTTP/1.1\r\n"), "{head}");
    assert!(head.contains("proxy-authorization: Basic dXNlcjpwYSBzcw==\r\n"), "{head}");
    assert!(!head.contains("x-tunnel"), "only tunnels are opened with it: {head}");
    let shown = format!("{:?}", target.job);
    assert!(!shown.contains("pa%20ss") && !shown.contains("secret"), "{shown}");

    // Without exceptions this machine is no exception either.
    assert!(scrape(&clients, &target_of(&format!("{near}{through}"), &none)).await.is_ok());
    assert_eq!((taken(&heads).len(), taken(&direct_heads).len()), (1, 0));
    let excepted = format!("{near}{through}  no_proxy: 'example.com,127.0.0.0/8'\n");
    assert!(scrape(&clients, &target_of(&excepted, &none)).await.is_ok());
    assert_eq!((taken(&heads).len(), taken(&direct_heads).len()), (0, 1));
}

#[tokio::test]
async fn proxies_of_the_environment_are_those_given_with_the_configuration() {
    let (address, heads) = proxy(None).await;
    let (direct, direct_heads) = proxy(None).await;
    let clients = Clients::new(Clock::system()).expect("clients");
    let values = |name: &str| match name {
        "http_proxy" => Some(address.to_string()),
        "NO_PROXY" => Some("near.test".to_owned()),
        _ => None,
    };
    let ambient = "  proxy_from_environment: true\n";
    let far = format!("  static_configs: [{{targets: ['far.test']}}]\n{ambient}");
    assert!(scrape(&clients, &target_of(&far, &values)).await.is_ok());
    assert_eq!(taken(&heads).len(), 1);
    let near = format!("  static_configs: [{{targets: ['{direct}']}}]\n{ambient}");
    assert!(scrape(&clients, &target_of(&near, &values)).await.is_ok());
    assert_eq!((taken(&heads).len(), taken(&direct_heads).len()), (0, 1));

    assert!(!target_of(&near, &|_| None).job.http.full, "no proxy is named");
    let wrong = job(&near, &|name| (name == "HTTPS_PROXY").then(|| "socks5://p".to_owned()));
    let told = wrong.expect_err("it is wrong");
    assert!(told.contains("s.yaml:5:27: HTTPS_PROXY: the proxy scheme socks5 is not supported"), "{told}");
}

#[tokio::test]
async fn https_goes_through_a_tunnel() {
    let dir = tempfile::tempdir().expect("a folder");
    let (server, task) = server(dir.path()).await;
    let (address, heads) = proxy(Some(server)).await;
    let clients = Clients::new(Clock::system()).expect("clients");
    let job = format!(
        "  proxy_url: http://{address}\n  proxy_connect_header: {{X-Tunnel: [one, two]}}\n  \
         tls_config: {{ca_file: ca.pem, cert_file: client.pem, key_file: client.key}}\n  \
         relabel_configs: [{{target_label: __address__, replacement: 'inside.test:443'}}]\n"
    );
    let tunnelled = target(dir.path(), server, &job).expect("reads");
    let got = scrape(&clients, &tunnelled).await.expect("answers");
    assert!(got.starts_with("# GET /metrics HTTP/1.1\n") && !got.contains("x-tunnel"), "{got}");
    let [head] = &taken(&heads)[..] else { panic!("one tunnel") };
    assert!(head.starts_with("CONNECT inside.test:443 HTTP/1.1\r\n"), "{head}");
    for want in ["x-tunnel: one\r\n", "x-tunnel: two\r\n"] {
        assert!(head.to_ascii_lowercase().contains(want), "{head}");
    }
    task.abort();

    let (closed, _) = proxy(None).await;
    let refused = target(dir.path(), server, &job.replace(&address.to_string(), &closed.to_string()));
    let told = scrape(&clients, &refused.expect("reads")).await.expect_err("no tunnel");
    assert!(told.contains("tunnel"), "{told}");
}

#[tokio::test]
async fn targets_are_found_through_a_proxy() {
    let (address, heads) = proxy(None).await;
    let text =
        format!("  http_sd_configs: [{{url: 'http://far.test/targets', proxy_url: 'http://{address}'}}]\n");
    let job = job(&text, &|_| None).expect("reads");
    let Some(Source::Http(source)) = job.sources.first() else { panic!("a source") };
    let found = ask(&Clients::new(Clock::system()).expect("clients"), source).await.expect("answers");
    assert_eq!(found.groups[0].targets, ["found:1"]);
    assert!(taken(&heads)[0].starts_with("GET http://far.test/targets HTTP/1.1\r\n"));
}
