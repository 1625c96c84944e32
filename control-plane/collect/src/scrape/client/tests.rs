use super::*;
use crate::scrape::{
    config,
    fetch::{Clients, Connection, fetch},
    target::{Target, build as targets},
};
use kit::{clock::Clock, problem::Problems, yaml::Document};
use rcgen::{CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::{
    RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::WebPkiClientVerifier,
};
use std::net::SocketAddr;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use tokio_rustls::TlsAcceptor;

pub(crate) mod through;
pub(crate) mod tokens;

/// Writes `NAME.pem` and `NAME.key`.
fn issue(dir: &Path, ca: &CertifiedIssuer<'_, KeyPair>, name: &str) {
    let params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
    let key = KeyPair::generate().expect("a key");
    let cert = params.signed_by(&key, ca).expect("signs");
    std::fs::write(dir.join(format!("{name}.pem")), cert.pem()).expect("writes");
    std::fs::write(dir.join(format!("{name}.key")), key.serialize_pem()).expect("writes");
}

/// A server as `inside.test` that wants a client's certificate, and answers with the request's head as comments.
async fn server(dir: &Path) -> (SocketAddr, tokio::task::AbortHandle) {
    kit::client::install_tls();
    let mut ca = CertificateParams::new(Vec::new()).expect("no names");
    ca.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let ca = CertifiedIssuer::self_signed(ca, KeyPair::generate().expect("a key")).expect("signs");
    std::fs::write(dir.join("ca.pem"), ca.pem()).expect("writes");
    issue(dir, &ca, "inside.test");
    issue(dir, &ca, "client");
    let mut roots = RootCertStore::empty();
    roots.add(ca.der().clone()).expect("a root");
    let verifier = WebPkiClientVerifier::builder(Arc::new(roots)).build().expect("a verifier");
    let chain = CertificateDer::pem_file_iter(dir.join("inside.test.pem")).expect("reads");
    let config = ServerConfig::builder()
        .with_client_cert_verifier(verifier)
        .with_single_cert(
            chain.map(|c| c.expect("a certificate")).collect(),
            PrivateKeyDer::from_pem_file(dir.join("inside.test.key")).expect("a key"),
        )
        .expect("a configuration");
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let address = listener.local_addr().expect("an address");
    #[expect(clippy::disallowed_methods, reason = "a test's server")]
    let task = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let mut head = vec![0; 4096];
            let Ok(n) = stream.read(&mut head).await else { continue };
            let shown = String::from_utf8_lossy(&head[..n]).replace("\r\n", "\n# ");
            let body = format!("# {shown}\na 1\n");
            let answer = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                body.len()
            );
            // A client that has gone has its own words for it.
            let _gone = stream.write_all(answer.as_bytes()).await.is_err();
            let _ended = stream.shutdown().await.is_err();
        }
    });
    (address, task.abort_handle())
}

fn target(dir: &Path, address: SocketAddr, job: &str) -> Result<Target, String> {
    let text = format!(
        "scrape_configs:\n- job_name: j\n  scheme: https\n  scrape_timeout: 5s\n  static_configs: [{{targets: ['{address}']}}]\n{job}"
    );
    let name = dir.join("s.yaml").display().to_string();
    let doc = Document::parse(&name, &text).map_err(|p| p.to_string())?;
    let mut problems = Problems::default();
    let jobs = config::read(&doc, true, &|_| None, &mut problems);
    let jobs = problems.into_result(jobs).map_err(|p| p.to_string())?;
    Ok(targets(&Arc::new(jobs[0].clone()), std::iter::empty()).targets.remove(0))
}

async fn scrape(clients: &Clients, target: &Target) -> Result<String, String> {
    let body = fetch(clients, &mut Connection::default(), target).await?;
    Ok(String::from_utf8(body.bytes).expect("text"))
}

#[tokio::test]
async fn tls_is_as_the_job_says() {
    let dir = tempfile::tempdir().expect("a folder");
    let (address, task) = server(dir.path()).await;
    let clients = Clients::new(Clock::system()).expect("clients");
    let client = "cert_file: client.pem, key_file: client.key";
    for (tls, want) in [
        (format!("ca_file: ca.pem, server_name: inside.test, {client}"), Ok(())),
        (format!("ca_file: ca.pem, server_name: inside.test, min_version: TLS13, {client}"), Ok(())),
        (format!("insecure_skip_verify: true, max_version: TLS12, {client}"), Ok(())),
        (format!("ca_file: ca.pem, server_name: outside.test, {client}"), Err("not valid for name")),
        (format!("ca_file: ca.pem, {client}"), Err("not valid for name")),
        (format!("server_name: inside.test, {client}"), Err("UnknownIssuer")),
        ("ca_file: ca.pem, server_name: inside.test".to_owned(), Err("")),
    ] {
        let target = target(dir.path(), address, &format!("  tls_config: {{{tls}}}\n")).expect("reads");
        match (scrape(&clients, &target).await, want) {
            (Ok(_), Ok(())) => {}
            (Err(e), Err(want)) => assert!(e.contains(want), "{tls}: {e}"),
            (got, _) => panic!("{tls}: {got:?}"),
        }
    }
    task.abort();
}

#[tokio::test]
async fn a_certificate_that_changes_on_disk_is_used_without_a_reload() {
    let dir = tempfile::tempdir().expect("a folder");
    let (address, task) = server(dir.path()).await;
    let good = std::fs::read(dir.path().join("ca.pem")).expect("reads");
    let other = std::fs::read(dir.path().join("client.pem")).expect("reads");
    let tls = "  tls_config: {ca_file: ca.pem, server_name: inside.test, cert_file: client.pem, key_file: client.key}\n";
    let target = target(dir.path(), address, tls).expect("reads");
    let clients = Clients::new(Clock::system()).expect("clients");
    assert!(scrape(&clients, &target).await.is_ok());
    std::fs::write(dir.path().join("ca.pem"), other).expect("writes");
    assert!(scrape(&clients, &target).await.is_err());
    std::fs::write(dir.path().join("ca.pem"), good).expect("writes");
    assert!(scrape(&clients, &target).await.is_ok());
    std::fs::remove_file(dir.path().join("ca.pem")).expect("removes");
    assert!(
        scrape(&clients, &target).await.is_err_and(|e| e.contains("cannot read") && e.contains("ca.pem"))
    );
    task.abort();
}

#[tokio::test]
async fn headers_and_credentials_are_sent() {
    let dir = tempfile::tempdir().expect("a folder");
    let (address, task) = server(dir.path()).await;
    std::fs::write(dir.path().join("secret"), "from-file\n").expect("writes");
    let job = "  tls_config: {insecure_skip_verify: true, cert_file: client.pem, key_file: client.key}\n  \
        enable_http2: false\n  authorization: {credentials_file: secret}\n  \
        http_headers: {X-Scope: {values: [one, two], files: [secret]}}\n";
    let target = target(dir.path(), address, job).expect("reads");
    let got = scrape(&Clients::new(Clock::system()).expect("clients"), &target).await.expect("answers");
    for want in
        ["authorization: Bearer from-file\n", "x-scope: one\n", "x-scope: two\n", "x-scope: from-file\n"]
    {
        assert!(got.contains(want), "{want}: {got}");
    }
    task.abort();
}

#[test]
fn mistakes_are_told_with_their_place() {
    let dir = tempfile::tempdir().expect("a folder");
    std::fs::write(dir.path().join("no.pem"), "nothing").expect("writes");
    for (job, want) in [
        ("  tls_config: {ca_file: absent.pem}\n", "s.yaml:6:25: cannot read"),
        ("  tls_config: {ca_file: no.pem}\n", "no.pem holds no certificate in PEM"),
        ("  tls_config: {cert_file: no.pem}\n", "one of `cert_file` and `key_file` is missing"),
        ("  tls_config: {ca: x, ca_file: no.pem}\n", "only one of `ca` and `ca_file` can be set"),
        ("  tls_config: {min_version: TLS13, max_version: TLS12}\n", "no version of TLS is left"),
        ("  tls_config: {min_version: SSL3}\n", "\"SSL3\" is not a version of TLS"),
        ("  tls_config: {server_name: 'a b'}\n", "\"a b\" is not a host name"),
        ("  http_headers: {Host: {values: [x]}}\n", "s.yaml:6:18: the header \"Host\" cannot be set"),
        ("  http_headers: {'a b': {values: [x]}}\n", "\"a b\" is not a header's name"),
        ("  oauth2: {client_id: x}\n", "s.yaml:6:11: missing field `token_url`"),
        ("  oauth2: {token_url: http://t/}\n", "s.yaml:6:11: missing field `client_id`"),
        ("  oauth2: {client_id: x, token_url: t}\n", "s.yaml:6:37: `token_url`: this is no address"),
        (
            "  oauth2: {client_id: x, token_url: http://t/, client_secret: a, client_secret_file: b}\n",
            "only one of `client_secret` and `client_secret_file` can be set",
        ),
        (
            "  oauth2: {client_id: x, token_url: http://t/}\n  basic_auth: {username: u}\n",
            "only one of basic_auth, oauth2 can be set",
        ),
        (
            "  oauth2: {client_id: x, token_url: http://t/}\n  authorization: {}\n",
            "only one of authorization, oauth2 can be set",
        ),
        (
            "  oauth2: {client_id: x, token_url: http://t/, grant_type: 'urn:x'}\n",
            "`grant_type` other than client_credentials is not supported",
        ),
        ("  oauth2: {client_id: x, token_url: http://t/, no_proxy: a}\n", "`no_proxy` says nothing without"),
        ("  proxy_url: 'p:3128'\n", "s.yaml:6:14: this is no address of a proxy: write it like http://"),
        ("  proxy_url: socks5://p:1080\n", "the proxy scheme socks5 is not supported: http or https"),
        ("  proxy_url: http://p\n  proxy_from_environment: true\n", "only one of `proxy_url` and"),
        ("  no_proxy: a\n  proxy_from_environment: true\n", "only one of `no_proxy` and"),
        ("  no_proxy: a\n", "s.yaml:6:13: `no_proxy` says nothing without `proxy_url`"),
        ("  proxy_connect_header: {A: [b]}\n", "without `proxy_url` or `proxy_from_environment`"),
        ("  proxy_url: http://p\n  proxy_connect_header: {A: b}\n", "must have a list of values"),
        ("  consul_sd_configs: [{server: x}]\n", "let a script write a file of targets"),
        ("  file_sd_configs: [{files: [a.txt]}]\n", "is no path of files to discover targets in"),
        ("  http_sd_configs: [{url: nowhere}]\n", "\"nowhere\" is not an address"),
    ] {
        let got = target(dir.path(), SocketAddr::from(([127, 0, 0, 1], 1)), job).err().unwrap_or_default();
        assert!(got.contains(want), "{job}: {got}");
    }
}
