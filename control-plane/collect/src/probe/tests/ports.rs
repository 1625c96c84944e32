//! Probes of ports: what is said on them, TLS, STARTTLS, pings.

use super::{
    servers::{EXPIRY, Identity, Serving, listen, listen_tls},
    *,
};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};

/// Greets, answers each line with `you said: LINE`.
async fn echo() -> Serving {
    listen(|mut stream| async move {
        let (read, mut write) = stream.split();
        let _gone = write.write_all(b"banner\r\n220 ready id=42\r\n").await.is_err();
        let mut lines = BufReader::new(read).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            let _gone = write.write_all(format!("you said: {line}\n").as_bytes()).await.is_err();
        }
    })
    .await
}

#[tokio::test]
async fn a_dialogue_is_held_line_by_line_and_can_send_back_what_it_matched() {
    let server = echo().await;
    let with =
        |steps: &str| probe(&format!("kind: tcp, url: 'tcp://{}', query_response: {steps}", server.address));
    good(
        &with(
            "[{expect: '^220 .*id=(\\d+)', send: 'hello ${1}'}, {expect: 'you said: hello 42'}, {send: bye}]",
        ),
        &["probe_success=1", "probe_ip_protocol=4", "probe_failed_due_to_regex=0"],
    )
    .await;
    good(&with("[{send: quit}, {expect: 'said: quit$'}]"), &[]).await;
    let slow =
        format!("kind: tcp, url: '{}', timeout: 100ms, query_response: [{{expect: never}}]", server.address);
    bad(&probe(&slow), "no answer within 100ms").await;
}

#[tokio::test]
async fn a_server_that_hangs_up_or_never_ends_a_line_is_told() {
    let ends = listen(|mut stream| async move {
        let _gone = stream.write_all(b"500 go away\r\n").await.is_err();
    })
    .await;
    let with = |server: &Serving, steps: &str| {
        probe(&format!("kind: tcp, url: '{}', query_response: {steps}", server.address))
    };
    let shown =
        bad(&with(&ends, "[{expect: ^220}]"), "nothing matched \"^220\"; the last was \"500 go away\"").await;
    assert!(shown.contains(&"probe_failed_due_to_regex=1".to_owned()));
    let floods =
        listen(|mut stream| async move { while stream.write_all(&[b'x'; 4096]).await.is_ok() {} }).await;
    bad(&with(&floods, "[{expect: ^220}]"), "a line is longer than 65536 bytes").await;
    let babbles =
        listen(|mut stream| async move { while stream.write_all(&[b'\n'; 4096]).await.is_ok() {} }).await;
    bad(&with(&babbles, "[{expect: ^220}]"), "nothing matched").await;
}

#[tokio::test]
async fn a_handshake_shows_the_certificate_and_checks_it() {
    let folder = tempfile::tempdir().unwrap();
    let acceptor = Identity::new(folder.path()).acceptor(&[]);
    let server = listen_tls(acceptor, |mut stream| async move {
        let _gone = stream.write_all(b"* OK ready\r\n").await.is_err();
        let _gone = stream.shutdown().await.is_err();
    })
    .await;
    let with =
        |fields: &str| probe_in(folder.path(), &format!("kind: tls, url: '{}', {fields}", server.address));
    let expiry = format!("probe_ssl_earliest_cert_expiry={EXPIRY}");
    good(
        &with("tls_config: {ca_file: ca.pem}, conditions: [certificate_expiry > 14d], query_response: [{expect: OK}]"),
        &[&expiry, "probe_tls_version_info{version=TLS 1.3}=1"],
    )
    .await;
    good(&with("tls_config: {insecure_skip_verify: true}"), &[&expiry]).await;
    good(&with("tls_config: {ca_file: ca.pem, server_name: localhost}"), &[]).await;
    bad(&with("conditions: []"), "TLS with 127.0.0.1 failed").await;
    bad(&with("tls_config: {ca_file: ca.pem, server_name: other.example}"), "not valid for").await;
    bad(
        &with("tls_config: {ca_file: ca.pem}, conditions: [certificate_expiry > 50y]"),
        "the certificate is valid",
    )
    .await;
}

#[tokio::test]
async fn http_behind_tls_shows_the_certificate_too() {
    let folder = tempfile::tempdir().unwrap();
    let acceptor = Identity::new(folder.path()).acceptor(&[]);
    let server = listen_tls(acceptor, |mut stream| async move {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap_or(b'\n'));
        }
        let _gone = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.is_err();
    })
    .await;
    let url = format!("https://localhost:{}/", server.address.port());
    let with = |fields: &str| probe_in(folder.path(), &format!("url: '{url}', {fields}"));
    let expiry = format!("probe_ssl_earliest_cert_expiry={EXPIRY}");
    good(
        &with("tls_config: {ca_file: ca.pem}, conditions: [status == 200, certificate_expiry > 30d, body == ok]"),
        &[&expiry, "probe_http_ssl=1", "probe_tls_version_info{version=TLS 1.3}=1"],
    )
    .await;
    let shown = bad(&with("conditions: []"), "TLS with localhost failed").await;
    assert!(shown.contains(&"probe_http_ssl=1".to_owned()));
}

/// What a server hears, and what it says then.
type Script = &'static [(&'static [u8], &'static [u8])];

/// Speaks a script, then TLS.
async fn starts_tls(identity: &Identity, script: Script) -> Serving {
    let acceptor = identity.acceptor(&[]);
    listen(move |mut stream| {
        let acceptor = acceptor.clone();
        async move {
            for (heard, say) in script {
                let mut got = vec![0; heard.len()];
                if stream.read_exact(&mut got).await.is_err() || got != *heard {
                    return;
                }
                let _gone = stream.write_all(say).await.is_err();
            }
            // How it goes is the client's to tell.
            drop(acceptor.accept(stream).await);
        }
    })
    .await
}

#[tokio::test]
async fn tls_can_begin_after_words_in_the_clear() {
    let folder = tempfile::tempdir().unwrap();
    let identity = Identity::new(folder.path());
    let scripts: [(&str, Script); 5] = [
        (
            "smtp",
            &[
                (b"", b"220-hello\r\n220 mail\r\n"),
                (b"EHLO vigie\r\n", b"250-SIZE 10\r\n250 STARTTLS\r\n"),
                (b"STARTTLS\r\n", b"220 go\r\n"),
            ],
        ),
        ("imap", &[(b"", b"* OK ready\r\n"), (b"a STARTTLS\r\n", b"* BYE not yet\r\na OK go\r\n")]),
        ("pop3", &[(b"", b"+OK ready\r\n"), (b"STLS\r\n", b"+OK\r\n")]),
        ("ftp", &[(b"", b"220 ready\r\n"), (b"AUTH TLS\r\n", b"234 go\r\n")]),
        ("postgres", &[(&[0, 0, 0, 8, 4, 210, 22, 47], b"S")]),
    ];
    let with = |server: &Serving, name: &str| {
        let fields = format!(
            "kind: tls, url: '{}', starttls: {name}, tls_config: {{ca_file: ca.pem}}",
            server.address
        );
        probe_in(folder.path(), &fields)
    };
    let expiry = format!("probe_ssl_earliest_cert_expiry={EXPIRY}");
    for (name, script) in scripts {
        let server = starts_tls(&identity, script).await;
        good(&with(&server, name), &[&expiry]).await;
    }
    let refuses = starts_tls(&identity, &[(b"", b"554 no service\r\n")]).await;
    bad(&with(&refuses, "smtp"), "the answer to the greeting was \"554 no service\", wanted \"220\"").await;
    let refuses = starts_tls(&identity, &[(&[0, 0, 0, 8, 4, 210, 22, 47], b"N")]).await;
    bad(&with(&refuses, "postgres"), "refused TLS").await;
    let early = starts_tls(&identity, &[(b"", b"+OK\r\n"), (b"STLS\r\n", b"+OK\r\n+OK injected\r\n")]).await;
    bad(&with(&early, "pop3"), "said more before TLS than it may").await;
}

#[tokio::test]
async fn a_ping_comes_back_or_says_what_it_may_not() {
    for host in ["127.0.0.1", "icmp://localhost"] {
        let (found, shown) =
            run(&probe(&format!("kind: icmp, url: '{host}', conditions: [latency < 5s]"))).await;
        match found.error {
            None => assert!(shown.contains(&"probe_ip_protocol=4".to_owned()), "{shown:?}"),
            Some(e) => assert!(e.contains("CAP_NET_RAW") && e.contains("ping_group_range"), "{e}"),
        }
    }
}
