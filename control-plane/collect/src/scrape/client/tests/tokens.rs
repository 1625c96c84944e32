//! Tokens for client credentials: got, kept, replaced, and told about when there is none.

use super::{
    through::{Heads, job, taken, target_of},
    *,
};
use crate::discovery::{Source, ask};
use std::sync::Mutex;

/// A server that answers each whole request with what `answer` makes of it: a status, a type, a body.
pub(crate) async fn serve<F>(answer: F) -> (SocketAddr, Heads)
where
    F: Fn(&str) -> (u16, &'static str, String) + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let address = listener.local_addr().expect("an address");
    let heads = Heads::default();
    let seen = Arc::clone(&heads);
    #[expect(clippy::disallowed_methods, reason = "a test's server")]
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = String::new();
            let mut piece = vec![0; 4096];
            while let Ok(n @ 1..) = stream.read(&mut piece).await {
                request.push_str(&String::from_utf8_lossy(&piece[..n]));
                let Some((head, body)) = request.split_once("\r\n\r\n") else { continue };
                let length = head.to_lowercase();
                let length = length.split("content-length: ").nth(1).and_then(|l| l.lines().next());
                if body.len() >= length.map_or(0, |l| l.parse().expect("a number")) {
                    break;
                }
            }
            let (status, kind, body) = answer(&request);
            seen.lock().expect("not poisoned").push(request);
            let answer = format!(
                "HTTP/1.1 {status} X\r\ncontent-type: {kind}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                body.len()
            );
            // A client that has gone has its own words for it.
            let _gone = stream.write_all(answer.as_bytes()).await.is_err();
        }
    });
    (address, heads)
}

pub(crate) const JSON: &str = "application/json";

/// Gives tokens `t1`, `t2`, … that last a minute.
pub(crate) async fn tokens() -> (SocketAddr, Heads) {
    let n = Mutex::new(0);
    serve(move |_| {
        let mut n = n.lock().expect("not poisoned");
        *n += 1;
        let token = format!("{{\"access_token\": \"t{n}\", \"token_type\": \"bearer\", \"expires_in\": 60}}");
        (200, JSON, token)
    })
    .await
}

/// What one server takes.
type Good = Arc<Mutex<String>>;

/// A target that takes one token.
async fn guarded(good: &Good) -> (SocketAddr, Heads) {
    let good = Arc::clone(good);
    serve(move |request| {
        let good = format!("authorization: Bearer {}\r\n", good.lock().expect("not poisoned"));
        match (request.contains(&good), request.contains("/targets")) {
            (false, _) => (401, "text/plain", String::new()),
            (true, true) => (200, JSON, "[{\"targets\": [\"found:1\"]}]".to_owned()),
            (true, false) => (200, "text/plain", "a 1\n".to_owned()),
        }
    })
    .await
}

pub(crate) fn oauth2(tokens: SocketAddr) -> String {
    format!(
        "oauth2: {{client_id: 'my id', client_secret: 'hunter&2', scopes: [a, b], \
         token_url: 'http://{tokens}/token?q=hidden', endpoint_params: {{audience: everybody}}}}"
    )
}

fn guarded_target(server: SocketAddr, oauth2: &str) -> Target {
    target_of(&format!("  static_configs: [{{targets: ['{server}']}}]\n  {oauth2}\n"), &|_| None)
}

#[tokio::test]
async fn a_token_is_got_once_and_sent_with_every_scrape() {
    let (tokens, asked) = tokens().await;
    let (server, seen) = guarded(&Good::new(Mutex::new("t1".to_owned()))).await;
    let target = guarded_target(server, &oauth2(tokens));
    let clients = Clients::new(Clock::system()).expect("clients");
    for _ in 0..3 {
        assert_eq!(scrape(&clients, &target).await.as_deref(), Ok("a 1\n"));
    }
    assert_eq!(taken(&seen).len(), 3);
    let [request] = &taken(&asked)[..] else { panic!("one token") };
    assert!(request.starts_with("POST /token?q=hidden HTTP/1.1\r\n"), "{request}");
    // my+id:hunter%262
    assert!(request.contains("authorization: Basic bXkraWQ6aHVudGVyJTI2Mg==\r\n"), "{request}");
    let body = "\r\n\r\ngrant_type=client_credentials&scope=a+b&audience=everybody";
    assert!(request.ends_with(body), "{request}");
    let shown = format!("{:?}", target.job);
    assert!(
        shown.contains("my id") && !["hunter", "everybody", "hidden", "t1"].iter().any(|s| shown.contains(s))
    );
}

#[tokio::test]
async fn targets_are_found_with_a_token() {
    let (tokens, _) = tokens().await;
    let (server, _) = guarded(&Good::new(Mutex::new("t1".to_owned()))).await;
    let text = format!("  http_sd_configs: [{{url: 'http://{server}/targets', {}}}]\n", oauth2(tokens));
    let job = job(&text, &|_| None).expect("reads");
    let Some(Source::Http(source)) = job.sources.first() else { panic!("a source") };
    let found = ask(&Clients::new(Clock::system()).expect("clients"), source).await.expect("answers");
    assert_eq!(found.groups[0].targets, ["found:1"]);
}

#[tokio::test]
async fn a_token_is_replaced_before_it_ends_and_when_it_is_refused() {
    let (tokens, asked) = tokens().await;
    let good = Good::new(Mutex::new("t1".to_owned()));
    let (server, seen) = guarded(&good).await;
    let target = guarded_target(server, &oauth2(tokens));
    let client = Shelf::default().client(&target.job.http).expect("a client");
    let takes = |token: &str| token.clone_into(&mut good.lock().expect("not poisoned"));
    let at = async |now_ms: i64| {
        let request = client.get(target.url.clone());
        let sent = target.job.http.send(request, now_ms, Duration::from_secs(5)).await;
        sent.expect("answers").status().as_u16()
    };
    assert_eq!((at(0).await, at(49_999).await, taken(&asked).len()), (200, 200, 1));
    takes("t2");
    assert_eq!((at(50_000).await, taken(&asked).len()), (200, 1), "it ends in ten seconds");
    takes("t3");
    taken(&seen);
    assert_eq!((at(60_000).await, taken(&asked).len(), taken(&seen).len()), (200, 1, 2), "it is refused");
    takes("none");
    assert_eq!((at(64_999).await, taken(&asked).len(), taken(&seen).len()), (401, 0, 1), "it is new");
    assert_eq!((at(65_000).await, taken(&asked).len(), taken(&seen).len()), (401, 1, 2), "once each time");
}

#[tokio::test]
async fn credentials_go_into_the_body_where_the_endpoint_wants_them_there() {
    let (tokens, asked) = serve(|request| {
        if request.contains("client_id=my+id&client_secret=hunter%262") {
            (200, JSON, "{\"access_token\": \"t1\", \"expires_in\": \"1\"}".to_owned())
        } else {
            (401, JSON, "{}".to_owned())
        }
    })
    .await;
    let (server, _) = guarded(&Good::new(Mutex::new("t1".to_owned()))).await;
    let target = guarded_target(server, &oauth2(tokens));
    let clients = Clients::new(Clock::system()).expect("clients");
    assert!(scrape(&clients, &target).await.is_ok());
    assert_eq!(taken(&asked).len(), 2);
    assert!(scrape(&clients, &target).await.is_ok());
    assert_eq!(taken(&asked).len(), 1, "it is known by now");
}

#[tokio::test]
async fn a_token_endpoint_that_fails_is_named() {
    let clients = Clients::new(Clock::system()).expect("clients");
    for (status, body, want) in [
        (
            400,
            "{\"error\": \"invalid_scope\", \"error_description\": \"not b\"}",
            "400 Bad Request: invalid_scope: not b",
        ),
        (200, "{\"error\": \"invalid_scope\"}", "HTTP status 200 OK: invalid_scope"),
        (503, "hunter&2", "HTTP status 503 Service Unavailable"),
        (200, "hunter&2", "its answer is not JSON with an `access_token`"),
        (200, "{\"access_token\": \"a\\nb\"}", "its token holds characters that no header may"),
    ] {
        let (tokens, asked) = serve(move |_| (status, JSON, body.to_owned())).await;
        let (server, seen) = guarded(&Good::default()).await;
        let target = guarded_target(server, &oauth2(tokens));
        let told = scrape(&clients, &target).await.expect_err(want);
        let start = format!("no token from http://{tokens}/token: ");
        assert!(told.starts_with(&start) && told.ends_with(want), "{told}");
        assert!(taken(&asked).len() <= 2 && taken(&seen).is_empty());
        let http = &target.job.http;
        let request = || Shelf::default().client(http).expect("a client").get(target.url.clone());
        let now = i64::MAX / 2;
        for (at, tries) in [(now, true), (now + 999, false), (now + 1_000, true)] {
            let sent = http.send(request(), at, Duration::from_secs(5)).await;
            assert!(
                sent.is_err() && taken(&asked).is_empty() != tries,
                "a failure is told again for a second"
            );
        }
    }
    let dir = tempfile::tempdir().expect("a folder");
    let gone = dir.path().join("secret").display().to_string();
    let text =
        format!("oauth2: {{client_id: x, client_secret_file: '{gone}', token_url: 'http://127.0.0.1:1/'}}");
    let told = scrape(&clients, &guarded_target(SocketAddr::from(([127, 0, 0, 1], 1)), &text)).await;
    assert!(told.is_err_and(|e| e.contains("no token from http://127.0.0.1:1/: cannot read") && e.contains(&gone)));
}
