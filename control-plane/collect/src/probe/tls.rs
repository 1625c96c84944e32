//! TLS of probes: whom to trust, and what a handshake tells.
//!
//! Sessions are never resumed: a resumed one would show the certificate of the last time.

use super::{Found, Prober, certificate::not_after, net::Host};
use kit::yaml::MapReader;
use rustls::{
    ClientConfig, DigitallySignedStruct, ProtocolVersion, RootCertStore, SignatureScheme,
    client::{
        Resumption,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject},
};
use std::{path::Path, sync::Arc, time::Duration};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::{TlsConnector, client::TlsStream};

/// What `tls_config` says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Options {
    /// The certificates of `ca_file`; `None` trusts the roots of the web.
    roots: Option<Vec<CertificateDer<'static>>>,
    server_name: Option<String>,
    insecure: bool,
    /// The protocol that is negotiated, for gRPC.
    alpn: Option<&'static [u8]>,
}

/// TLS as one probe wants it.
#[derive(Debug, Clone)]
pub(crate) struct Tls {
    options: Options,
    config: Arc<ClientConfig>,
}

impl PartialEq for Tls {
    fn eq(&self, other: &Self) -> bool {
        self.options == other.options
    }
}

/// The configurations of one file: probes that want the same share one.
#[derive(Debug, Default)]
pub(super) struct Shelf(Vec<Tls>);

impl Shelf {
    fn take(&mut self, options: Options) -> Tls {
        if let Some(tls) = self.0.iter().find(|t| t.options == options) {
            return tls.clone();
        }
        let config = Arc::new(build(&options));
        let tls = Tls { options, config };
        self.0.push(tls.clone());
        tls
    }

    /// Reads `tls_config`; what is wrong with it is noted.
    pub(super) fn read(&mut self, r: &mut MapReader<'_>, dir: &Path, alpn: Option<&'static [u8]>) -> Tls {
        let mut options = Options { alpn, ..Options::default() };
        if let Some(mut t) = r.child("tls_config") {
            if let Some(node) = t.node("ca_file") {
                let path = dir.join(node.text().unwrap_or(""));
                match read_roots(&path) {
                    Ok(roots) => options.roots = Some(roots),
                    Err(e) => t.problem(node, e),
                }
            }
            options.server_name = t.text("server_name").map(str::to_owned);
            if let Some(name) = &options.server_name
                && ServerName::try_from(name.as_str()).is_err()
                && let Some(node) = t.node("server_name")
            {
                t.problem(node, format!("{name:?} is not a host name"));
            }
            options.insecure = t.bool("insecure_skip_verify").unwrap_or(false);
            t.finish();
        }
        self.take(options)
    }
}

fn read_roots(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let shown = path.display();
    let text = std::fs::read(path).map_err(|e| format!("cannot read {shown}: {e}"))?;
    let roots: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let roots = roots.map_err(|e| format!("{shown} is not PEM: {e}"))?;
    if roots.is_empty() {
        return Err(format!("{shown} holds no certificate in PEM"));
    }
    let mut store = RootCertStore::empty();
    for root in &roots {
        store
            .add(root.clone())
            .map_err(|e| format!("{shown} holds a certificate that cannot be used: {e}"))?;
    }
    Ok(roots)
}

fn build(options: &Options) -> ClientConfig {
    let provider = Arc::new(ring::default_provider());
    let mut roots = RootCertStore::empty();
    match &options.roots {
        Some(own) => drop(roots.add_parsable_certificates(own.iter().cloned())),
        None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
    }
    // The provider has all of rustls's versions, so the defaults are never refused.
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(rustls::DEFAULT_VERSIONS)
        .unwrap_or_else(|_| ClientConfig::builder());
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    if options.insecure {
        config.dangerous().set_certificate_verifier(Arc::new(Anybody(provider)));
    }
    config.resumption = Resumption::disabled();
    config.alpn_protocols = options.alpn.iter().map(|p| p.to_vec()).collect();
    config
}

/// Believes every certificate, as `insecure_skip_verify` asks; the handshake itself is still checked.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// A connection behind TLS.
pub(super) struct Secured<S> {
    pub(super) stream: TlsStream<S>,
    pub(super) took: Duration,
    /// Until when the certificate that ends first is valid.
    pub(super) certificate_left: Option<Duration>,
}

impl Prober {
    /// The handshake; what it tells goes into `found`.
    pub(super) async fn secure<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        tls: &Tls,
        host: &Host,
        stream: S,
        found: &mut Found,
    ) -> Result<Secured<S>, String> {
        let begun = self.clock.elapsed();
        let name = match (&tls.options.server_name, host) {
            (Some(name), _) | (None, Host::Name(name)) => {
                ServerName::try_from(name.clone()).map_err(|_| format!("{name:?} is not a host name"))?
            }
            (None, Host::Ip(ip)) => ServerName::from(*ip),
        };
        let connector = TlsConnector::from(Arc::clone(&tls.config));
        let stream =
            connector.connect(name, stream).await.map_err(|e| format!("TLS with {host} failed: {e}"))?;
        let took = self.clock.elapsed() - begun;
        let session = stream.get_ref().1;
        let version = match session.protocol_version() {
            Some(ProtocolVersion::TLSv1_3) => "TLS 1.3",
            Some(ProtocolVersion::TLSv1_2) => "TLS 1.2",
            _ => "unknown",
        };
        found.set_part("probe_tls_version_info", ("version", version), 1.0);
        let end = session.peer_certificates().unwrap_or_default().iter().filter_map(|c| not_after(c)).min();
        let certificate_left = end.map(|end| {
            found.set("probe_ssl_earliest_cert_expiry", end as f64);
            let left = end.saturating_sub(self.clock.now_ms() / 1000);
            Duration::from_secs(u64::try_from(left).unwrap_or(0))
        });
        Ok(Secured { stream, took, certificate_left })
    }
}
