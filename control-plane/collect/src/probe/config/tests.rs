use super::*;

fn probes(text: &str) -> Result<Vec<Probe>, String> {
    let doc = Document::parse("probes.yaml", text).map_err(|p| p.to_string())?;
    let mut problems = Problems::default();
    let probes = read(&doc, ProbeDefaults::default(), &mut problems);
    problems.into_result(probes).map_err(|p| p.to_string())
}

#[test]
fn the_defaults_are_http_every_30_s_with_5_s_and_a_good_status() {
    let probe = &probes("probes: [{name: auth, url: 'http://h/x'}]").unwrap()[0];
    assert_eq!((probe.interval.as_secs(), probe.timeout.as_secs()), (30, 5));
    assert_eq!((probe.kind.as_str(), &*probe.service), ("http", "auth"));
    assert_eq!(probe.conditions[0].to_string(), "status == 2xx");
}

#[test]
fn a_probe_has_its_own_interval_conditions_and_dependencies() {
    let all = probes(
        "probes:
- {name: db, service: d, kind: tcp, url: 'tcp://h:5', interval: 5s, timeout: 2s, conditions: [latency < 1s]}
- {name: auth, url: 'http://h', depends_on: [db], conditions: ['body.status == \"ok\"']}
",
    )
    .unwrap();
    let Kind::Tcp(tcp) = &all[0].kind else { panic!("{:?}", all[0].kind) };
    assert_eq!(tcp.endpoint.to_string(), "h:5");
    assert_eq!((all[0].interval.as_secs(), all[0].timeout.as_secs()), (5, 2));
    assert_eq!(all[1].depends_on, ["db"]);
}

/// What `vigie check` says of a file, without the lines that show it.
fn check(text: &str, expect: &[&str]) {
    let problems = probes(text).expect_err("it is wrong");
    let lines: Vec<&str> = problems.lines().filter(|l| l.starts_with("probes.yaml:")).collect();
    assert_eq!(lines, expect, "{problems}");
}

#[test]
fn every_problem_is_told_with_its_place() {
    check(
        "probes:
- name: a
  url: nowhere
  conditions: [status == 200, latency = 1s]
  depends_on: [d, a]
- {name: a, url: 'http://h', kind: heartbeet}
- {name: b, url: 'h', kind: tcp, conditions: [status == 200]}
- {name: c, url: 'http://h', timeout: 40s, conditons: []}
",
        &[
            "probes.yaml:3:8: \"nowhere\" is not an address to ask by HTTP",
            "probes.yaml:4:39: expected an operator: == != < <= > >= contains matches",
            "probes.yaml:5:16: there is no probe \"d\" to depend on",
            "probes.yaml:6:36: unknown kind \"heartbeet\": there are http, tcp, tls, dns, icmp, grpc, websocket, heartbeat",
            "probes.yaml:7:18: \"h\" is not host:port",
            "probes.yaml:7:47: `status == 200` cannot be asked of kind tcp: only `latency` can",
            "probes.yaml:8:39: the timeout is longer than the interval",
            "probes.yaml:8:44: unknown field `conditons`",
        ],
    );
}

/// One probe that is fine, by the fields that follow its name.
fn accepts(fields: &str) {
    probes(&format!("probes:\n- {{name: a, {fields}}}\n")).unwrap_or_else(|p| panic!("{fields}: {p}"));
}

/// One probe with one problem.
fn refuses(fields: &str, what: &str) {
    let Err(problems) = probes(&format!("probes:\n- {{name: a, {fields}}}\n")) else {
        panic!("{fields} is accepted");
    };
    let count = problems.lines().filter(|l| l.starts_with("probes.yaml:2:")).count();
    assert!(count == 1 && problems.contains(what), "{fields}: {problems}");
}

const BEATS: &str = "kind: heartbeat, interval: 1h, token: 0123456789abcdef";

#[test]
fn every_kind_takes_its_own_fields() {
    for good in [
        "url: 'http://h', method: HEAD, headers: {A: b}, body: x, follow_redirects: false, max_redirects: 3",
        "url: 'http://h', authorization: {type: Token, credentials: x}",
        "url: 'http://h', bearer_token_file: secret",
        "url: 'https://h', tls_config: {insecure_skip_verify: true, server_name: other}",
        "url: 'http://h', conditions: [redirects < 3, url contains h, header.a == b, certificate_expiry > 1d]",
        "url: 'http://[::1]:80/x?y=z'",
        "kind: tcp, url: '[::1]:5'",
        "kind: tcp, url: 'h:25', query_response: [{expect: ^220, send: QUIT}]",
        "kind: tls, url: 'tls://h:443', conditions: [certificate_expiry > 7d, latency < 1s]",
        "kind: tls, url: 'h:25', starttls: smtp",
        "kind: dns, url: 9.9.9.9, query_name: example.com",
        "kind: dns, url: 'dns://[::1]:53', query_name: example.com, query_type: mx, transport_protocol: tcp",
        "kind: dns, url: ns.example, query_name: example.com, conditions: [rcode == NXDOMAIN, answers == 0]",
        "kind: icmp, url: h",
        "kind: icmp, url: 'icmp://192.0.2.1', conditions: [latency < 100ms]",
        "kind: grpc, url: 'h:50051', grpc_service: chat.v1",
        "kind: grpc, url: 'grpcs://h:443', tls_config: {insecure_skip_verify: true}",
        "kind: websocket, url: 'wss://h/live', basic_auth: {username: a, password: b}",
        BEATS,
        "kind: heartbeat, interval: 1d, token_file: secret, grace: 2h",
    ] {
        accepts(good);
    }
}

#[test]
fn what_a_kind_cannot_have_is_refused_with_a_word_on_what_was_meant() {
    let beats = |more: &str| format!("{BEATS}, {more}");
    for (fields, what) in [
        ("url: 'ftp://h'", "not an address to ask by HTTP"),
        ("url: 'http://otto:s3cret@h'", "write them into `basic_auth`"),
        ("url: 'http://h', method: 'NO SUCH'", "is no method"),
        ("url: 'http://h', headers: {'a b': c}", "is not the name of a header"),
        ("url: 'http://h', headers: {Content-Length: '5'}", "is set by what is sent"),
        ("url: 'http://h', headers: [a]", "must map names to values"),
        ("url: 'http://h', max_redirects: 1000", "not a whole number up to 50"),
        ("url: 'http://h', follow_redirects: maybe", "neither true nor false"),
        (
            "url: 'http://h', bearer_token: a, basic_auth: {username: b}",
            "only one of basic_auth, bearer_token",
        ),
        ("url: 'http://h', bearer_token: a, headers: {Authorization: b}", "is set twice"),
        ("url: 'http://h', tls_config: {ca_file: /no/such/file}", "cannot read /no/such/file"),
        ("url: 'http://h', tls_config: {ca_fil: x}", "did you mean `ca_file`?"),
        ("url: 'http://h', tls_config: {server_name: 'a b'}", "is not a host name"),
        ("url: 'http://h', grace: 1m", "it is a field of heartbeat"),
        ("url: 'http://h', query_name: a", "it is a field of dns"),
        ("url: 'http://h', conditions: [rcode == NOERROR]", "cannot be asked of kind http"),
        ("kind: tcp, url: 'h:5', method: GET", "`method` cannot be set for kind tcp"),
        ("kind: tcp, url: 'h:5', query_response: [{}]", "expects something, sends something, or both"),
        ("kind: tcp, url: 'h:5', query_response: [{expect: '('}]", "bad regular expression"),
        ("kind: tcp, url: 'h:5', query_response: [{expcet: a, send: b}]", "did you mean `expect`?"),
        ("kind: tls, url: 'h:25', starttls: xmpp", "there are smtp, imap, pop3, ftp, postgres"),
        ("kind: dns, url: 9.9.9.9", "missing field `query_name`"),
        ("kind: dns, url: 9.9.9.9, query_name: a, query_type: QQ", "is not a record type"),
        ("kind: dns, url: 9.9.9.9, query_name: a..b", "is not a name in DNS"),
        ("kind: dns, url: 9.9.9.9, query_name: a, transport_protocol: quic", "neither udp nor tcp"),
        ("kind: icmp, url: 'h/x'", "is not a host to ping"),
        ("kind: icmp, url: h, conditions: [status == 200]", "only `latency` can"),
        ("kind: grpc, url: 'http://h'", "is not host:port"),
        ("kind: grpc, url: 'grpc://h:1', tls_config: {insecure_skip_verify: true}", "grpcs://"),
        ("kind: websocket, url: 'http://h'", "not an address to ask by WebSocket"),
        ("kind: heartbeat, interval: 1h", "missing field `token` or `token_file`"),
        ("kind: heartbeat, token: 0123456789abcdef", "missing field `interval`"),
        ("kind: heartbeat, interval: 1h, token: short", "16 characters or more"),
        ("kind: heartbeat, interval: 1h, token: 0123456789abcdef, token_file: x", "only one of"),
        (&*beats("url: 'http://h'"), "`url` cannot be set for kind heartbeat"),
        (&*beats("timeout: 1s"), "`timeout` cannot be set for kind heartbeat"),
        (&*beats("conditions: [latency < 1s]"), "`conditions` cannot be set for kind heartbeat"),
        (&*beats("grace: 0s"), "longer than 0"),
        ("kind: htp, url: 'http://h'", "did you mean `http`?"),
    ] {
        refuses(fields, what);
    }
    let named = format!("probes:\n- {{name: 'a b', {BEATS}}}\n");
    assert!(probes(&named).expect_err("it is wrong").contains("is part of its address"));
}

#[test]
fn no_problem_shows_a_secret() {
    let text = "probes:
- {name: a, kind: heartbeat, interval: 1h, token: s3cret-0123456789, grase: 1m}
- {name: b, url: 'http://h', basic_auth: {username: u, password: s3cret-p}, metod: GET}
- {name: c, url: 'http://h', bearer_token: s3cret-b, metod: GET}
- {name: d, url: 'http://u:s3cret-u@h'}
";
    let problems = probes(text).expect_err("it is wrong");
    assert_eq!(problems.lines().filter(|l| l.starts_with("probes.yaml:")).count(), 4, "{problems}");
    assert!(!problems.contains("s3cret"), "{problems}");
}

#[test]
fn a_heartbeat_is_looked_at_more_often_than_it_beats() {
    let all = probes(&format!("probes: [{{name: backup, {BEATS}}}]")).unwrap();
    assert_eq!((all[0].interval.as_secs(), all[0].every.as_secs()), (3600, 30));
    assert_eq!(all[0].url, "/api/vigie/v1/heartbeats/backup");
}

#[test]
fn the_same_text_gives_the_same_probes() {
    let text = "probes:
- {name: a, url: 'https://h', headers: {a: b}, bearer_token: c, tls_config: {insecure_skip_verify: true}}
- {name: b, kind: tcp, url: 'h:5', query_response: [{expect: a, send: b}]}
- {name: c, kind: heartbeat, interval: 1h, token: 0123456789abcdef}
";
    assert_eq!(probes(text), probes(text));
    for (from, to) in
        [("a: b", "a: c"), ("_token: c", "_token: d"), ("true", "false"), ("send: b", "send: c")]
    {
        assert_ne!(probes(text), probes(&text.replace(from, to)), "{from}");
    }
}

#[test]
fn names_are_unique_and_dependencies_have_no_circle() {
    let problems = probes("probes:\n- {name: a, url: 'http://h', depends_on: [b]}\n- {name: b, url: 'http://h', depends_on: [a]}\n- {name: b, url: 'http://h'}\n").expect_err("it is wrong");
    for expect in ["2:42: probe \"a\" depends on itself", "4:10: another probe has the name \"b\""] {
        assert!(problems.contains(expect), "{problems}");
    }
}

#[test]
fn a_long_chain_of_dependencies_is_no_circle_and_its_end_can_make_it_one() {
    let chain = |last: &str| {
        let mut text = format!("probes:\n- {{name: p0, url: 'http://h', depends_on: [{last}]}}\n");
        for i in 1..1000 {
            text.push_str(&format!("- {{name: p{i}, url: 'http://h', depends_on: [p{}]}}\n", i - 1));
        }
        text
    };
    assert_eq!(probes(&chain("")).map(|all| all.len()), Ok(1000));
    let problems = probes(&chain("p9")).expect_err("it is wrong");
    assert_eq!(problems.matches("depends on itself").count(), 10, "only what is in the circle");
}
