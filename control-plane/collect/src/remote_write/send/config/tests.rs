use super::*;

fn parse(text: &str, whole: bool) -> Result<SendConfig, String> {
    let values = |name: &str| (name == "FAR").then(|| "https://far.example.com".to_owned());
    SendConfig::parse(File { name: "f.yaml", text }, whole, &values).map_err(|p| p.to_string())
}

#[test]
fn every_field_is_read() {
    let text = "global: {external_labels: {cluster: test}}
remote_write:
  - url: ${FAR}/api/v1/write
    name: far
    protobuf_message: io.prometheus.write.v2.Request
    remote_timeout: 7s
    headers: {X-Scope-OrgID: tenant}
    basic_auth: {username: me, password_file: secret}
    follow_redirects: false
    send_exemplars: false
    send_native_histograms: true
    write_relabel_configs: [{action: labeldrop, regex: x}]
    tls_config: {insecure_skip_verify: true}
    metadata_config: {send: false, send_interval: 3m, max_samples_per_send: 9}
    queue_config:
      capacity: 1
      max_shards: 3
      min_shards: 2
      max_samples_per_send: 4
      batch_send_deadline: 5s
      min_backoff: 6ms
      max_backoff: 7ms
      retry_on_http_429: true
      sample_age_limit: 8h
  - url: http://other.example.com/
  - url: http://other.example.com/
";
    let config = parse(text, false).expect("good");
    let [far, other, third] = &config.endpoints[..] else { panic!("{config:?}") };
    assert_eq!((&*far.name, far.url.as_str()), ("far", "https://far.example.com/api/v1/write"));
    assert_eq!((far.protocol, far.timeout), (Protocol::V2, Duration::from_secs(7)));
    assert_eq!((far.headers.len(), far.relabel.len(), far.http.auth.is_some()), (1, 1, true));
    assert!(
        far.native_histograms && far.http.tls.is_some() && !far.http.follow_redirects && !far.metadata.send
    );
    let queue = Queue {
        capacity: 1,
        max_shards: 3,
        min_shards: 2,
        max_samples_per_send: 4,
        batch_send_deadline: Duration::from_secs(5),
        min_backoff: Duration::from_millis(6),
        max_backoff: Duration::from_millis(7),
        retry_on_429: true,
        sample_age_limit: Some(Duration::from_hours(8)),
    };
    assert_eq!(far.queue, queue);
    assert_eq!(far.external.value("cluster"), "test");
    assert_eq!((other.protocol, other.queue.max_shards, other.queue.capacity), (Protocol::V1, 50, 10_000));
    assert!(other.metadata.send && !other.native_histograms && other.http.follow_redirects);
    assert!(other.key != third.key && other.name != third.name, "the same address twice are two");
    let again =
        parse("remote_write: [{url: http://other.example.com/, remote_timeout: 1s}]", false).expect("good");
    assert_eq!(again.endpoints[0].key, other.key, "its position is found again when settings change");
    assert!(!format!("{config:?}").contains("tenant"), "headers may be secrets");
}

#[test]
fn what_is_wrong_is_told_with_its_place() {
    for (text, expect) in [
        ("remote_write: [{}]", "f.yaml:1:16: missing field `url`"),
        ("remote_write: [{url: far/write}]", "f.yaml:1:22: `url`: \"far/write\" is no address"),
        ("remote_write: [{url: 'ftp://far/write'}]", "is no address of a receiver"),
        ("remote_write: [{url: http://a, nmae: x}]", "unknown field `nmae`"),
        ("remote_write:\n- url: http://a\n  sigv4: {region: x}", "f.yaml:3:10: `sigv4` is not supported yet"),
        (
            "remote_write: [{url: http://a, send_exemplars: true}]",
            "`send_exemplars: true` is not supported yet",
        ),
        ("remote_write: [{url: http://a, protobuf_message: v3}]", "\"v3\" is no message of remote write"),
        ("remote_write: [{url: http://a, headers: {Content-Type: x}}]", "Content-Type is set by the sender"),
        ("remote_write: [{url: http://a, headers: {'a b': x}}]", "\"a b\" is no name of a header"),
        (
            "remote_write: [{url: http://a, queue_config: {capacity: 0}}]",
            "`capacity`: it must be more than 0",
        ),
        ("remote_write: [{url: http://a, queue_config: {min_shards: 60}}]", "`min_shards` is more than"),
        ("remote_write: [{url: http://a, queue_config: {min_backoff: 1m}}]", "`min_backoff` is longer than"),
        ("remote_write: [{url: http://a, queue_config: {shards: 60}}]", "unknown field `shards`"),
        ("remote_write: [{url: http://a, tls_config: {ca_file: /none}}]", "cannot read /none"),
        ("remote_write: [{url: http://a, tls_config: {ca: nonsense}}]", "holds no certificate in PEM"),
        (
            "remote_write: [{url: http://a, oauth2: {client_id: x, token_url: http://t/}, basic_auth: {}}]",
            "only one of basic_auth, oauth2 can be set",
        ),
        ("remote_write: [{url: http://a, no_proxy: x}]", "`no_proxy` says nothing without `proxy_url`"),
        ("remote_write: [{url: http://a, http_headers: {Host: {values: [x]}}}]", "\"Host\" cannot be set"),
        ("remote_write: [{url: http://a, bearer_token: x, basic_auth: {}}]", "can be set"),
        ("remote_write: [{url: http://a, name: x}, {url: http://b, name: x}]", "has the name \"x\""),
        ("remote_write: [{url: '${NONE}'}]", "NONE is not set and has no default"),
        ("remote_write: [null]", "empty remote write config"),
        ("remote: []", "unknown field `remote`"),
        ("global: {external_labels: {__x: y}}", "cannot be an external label"),
    ] {
        let told = parse(text, false).expect_err(text);
        assert!(told.contains(expect), "{text}\n{told}");
    }
}

#[test]
fn of_a_whole_prometheus_file_only_its_own_part_is_read() {
    let text = "global: {scrape_interval: 5s, external_labels: {a: b}}\nscrape_configs: []\nremote_write: [{url: http://a}]";
    assert_eq!(parse(text, true).expect("good").len(), 1);
    assert!(parse(text, false).expect_err("not alone").contains("scrape_interval"));
    assert!(parse("scrape_configs: [", true).expect("told by others").is_empty());
}
