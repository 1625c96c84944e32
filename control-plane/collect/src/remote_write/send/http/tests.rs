//! Tokens and proxies on the way to a receiver.

use super::*;
use crate::{
    config::File,
    remote_write::SendConfig,
    scrape::client::tests::{
        through::{proxy, taken},
        tokens::{oauth2, serve, tokens},
    },
};
use std::sync::Arc;

fn endpoint(url: &str, more: &str) -> Arc<Endpoint> {
    let text = format!("remote_write: [{{url: '{url}', {more}}}]");
    let config = SendConfig::parse(File { name: "f.yaml", text: &text }, false, &|_| None);
    Arc::clone(&config.unwrap_or_else(|p| panic!("{p}")).endpoints[0])
}

async fn sent(endpoint: &Endpoint, now_ms: i64) -> Answer {
    let client = client(endpoint).expect("a client");
    send(&client, endpoint, Protocol::V1, Bytes::from_static(b"samples"), now_ms).await
}

#[tokio::test]
async fn a_receiver_gets_a_token_and_another_where_it_refuses_that() {
    let (tokens, asked) = tokens().await;
    let (receiver, seen) = serve(|request| {
        let good = request.contains("authorization: Bearer t2\r\n") && request.ends_with("\r\n\r\nsamples");
        (if good { 204 } else { 401 }, "text/plain", String::new())
    })
    .await;
    let endpoint = endpoint(&format!("http://{receiver}/write"), &oauth2(tokens));
    assert!(matches!(sent(&endpoint, 0).await, Answer::Refused(why) if why.contains("401")));
    assert_eq!((taken(&asked).len(), taken(&seen).len()), (1, 1), "the token is new");
    assert_eq!(sent(&endpoint, 10_000).await, Answer::Taken);
    assert_eq!((taken(&asked).len(), taken(&seen).len()), (1, 2));
}

#[tokio::test]
async fn without_a_token_samples_wait() {
    let (tokens, _) = serve(|_| (503, "text/plain", String::new())).await;
    let endpoint = endpoint("http://127.0.0.1:1/write", &oauth2(tokens));
    let want = format!("no token from http://{tokens}/token: HTTP status 503 Service Unavailable");
    assert_eq!(sent(&endpoint, 0).await, Answer::Again(want, None));
}

#[tokio::test]
async fn a_receiver_is_reached_through_a_proxy() {
    let (address, heads) = proxy(None).await;
    let far = endpoint("http://far.test/write", &format!("proxy_url: 'http://{address}'"));
    assert_eq!(sent(&far, 0).await, Answer::Taken);
    assert!(taken(&heads)[0].starts_with("POST http://far.test/write HTTP/1.1\r\n"));
    let (near, near_heads) = proxy(None).await;
    let more = format!("proxy_url: 'http://{address}', no_proxy: '127.0.0.1:{}'", near.port());
    assert_eq!(sent(&endpoint(&format!("http://{near}/write"), &more), 0).await, Answer::Taken);
    assert_eq!((taken(&heads).len(), taken(&near_heads).len()), (0, 1));
}
