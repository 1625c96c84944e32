//! TLS of probes: whom to trust, and what a handshake tells.
//!
//! Sessions are never resumed: a resumed one would show the certificate of the last time.

use super::{Found, Prober, certificate::not_after, net::Host};
use crate::tls::{self, TlsOptions};
use kit::yaml::MapReader;
use rustls::{ClientConfig, ProtocolVersion, RootCertStore, client::Resumption, pki_types::ServerName};
use std::{path::Path, sync::Arc, time::Duration};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::{TlsConnector, client::TlsStream};

/// What a probe says about TLS.
#[derive(Debug, Clone, Default, PartialEq)]
struct Options {
    tls: TlsOptions,
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
    fn take(&mut self, options: Options) -> Result<Tls, String> {
        if let Some(tls) = self.0.iter().find(|t| t.options == options) {
            return Ok(tls.clone());
        }
        let config = Arc::new(build(&options)?);
        let tls = Tls { options, config };
        self.0.push(tls.clone());
        Ok(tls)
    }

    /// Reads `tls_config`; what is wrong with it is noted, and what is left stands for it.
    pub(super) fn read(&mut self, r: &mut MapReader<'_>, dir: &Path, alpn: Option<&'static [u8]>) -> Tls {
        let tls = tls::read(r, dir).unwrap_or_default();
        self.take(Options { tls, alpn }).unwrap_or_else(|_| {
            let options = Options { alpn, ..Options::default() };
            let config = Arc::new(
                ClientConfig::builder().with_root_certificates(RootCertStore::empty()).with_no_client_auth(),
            );
            Tls { options, config }
        })
    }
}

fn build(options: &Options) -> Result<ClientConfig, String> {
    let mut config = options.tls.build()?;
    config.resumption = Resumption::disabled();
    config.alpn_protocols = options.alpn.iter().map(|p| p.to_vec()).collect();
    Ok(config)
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
        let name = match (&tls.options.tls.server_name, host) {
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
