//! `tls_config`: whom to trust, and who we are.
//!
//! Files of certificates and keys are read when the configuration is, so that a mistake is told then, and anew
//! when a client is built.

use kit::{secret::Secret, yaml::MapReader};
use rustls::{
    ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme, SupportedProtocolVersion,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
    version::{TLS12, TLS13},
};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

/// PEM in the configuration itself, or the path of it.
#[derive(Debug, Clone)]
enum Pem {
    Given(Secret),
    File(PathBuf),
}

impl PartialEq for Pem {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Pem::Given(a), Pem::Given(b)) => a.matches(b.expose()),
            (Pem::File(a), Pem::File(b)) => a == b,
            _ => false,
        }
    }
}

impl Pem {
    fn read(&self) -> Result<(Vec<u8>, String), String> {
        match self {
            Pem::Given(text) => Ok((text.expose().as_bytes().to_vec(), "the text".to_owned())),
            Pem::File(path) => {
                let shown = path.display().to_string();
                match std::fs::read(path) {
                    Ok(bytes) => Ok((bytes, shown)),
                    Err(e) => Err(format!("cannot read {shown}: {e}")),
                }
            }
        }
    }
}

/// What `tls_config` says.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct TlsOptions {
    /// Whom to trust; `None`: the roots of the web.
    roots: Option<Pem>,
    /// Who we are: certificates, and the key of the first.
    client: Option<(Pem, Pem)>,
    pub(crate) server_name: Option<String>,
    insecure: bool,
    min: Option<u16>,
    max: Option<u16>,
}

/// The names of versions, in order.
const VERSIONS: [(&str, u16); 4] = [("TLS10", 10), ("TLS11", 11), ("TLS12", 12), ("TLS13", 13)];

/// Reads `tls_config`; what is wrong with it is noted.
pub(crate) fn read(r: &mut MapReader<'_>, dir: &Path) -> Option<TlsOptions> {
    let mut t = r.child("tls_config")?;
    let pem = |t: &mut MapReader<'_>, given: &'static str, file: &'static str| {
        let (text, path) = (t.text(given), t.text(file));
        if text.is_some()
            && path.is_some()
            && let Some(node) = t.node(file)
        {
            t.problem(node, format!("only one of `{given}` and `{file}` can be set"));
        }
        text.map(|t| Pem::Given(Secret::new(t))).or(path.map(|p| Pem::File(dir.join(p))))
    };
    let mut options = TlsOptions { roots: pem(&mut t, "ca", "ca_file"), ..TlsOptions::default() };
    let (cert, key) = (pem(&mut t, "cert", "cert_file"), pem(&mut t, "key", "key_file"));
    match (cert, key) {
        (Some(cert), Some(key)) => options.client = Some((cert, key)),
        (None, None) => {}
        _ => {
            let node = t.node;
            t.problem(
                node,
                "a certificate and its key belong together: one of `cert_file` and `key_file` is missing",
            );
        }
    }
    options.server_name = t.text("server_name").map(str::to_owned).filter(|n| !n.is_empty());
    if let Some(name) = &options.server_name
        && ServerName::try_from(name.as_str()).is_err()
        && let Some(node) = t.node("server_name")
    {
        t.problem(node, format!("{name:?} is not a host name"));
        options.server_name = None;
    }
    options.insecure = t.bool("insecure_skip_verify").unwrap_or(false);
    let version = |text: &str| {
        let known = VERSIONS.iter().find(|(name, _)| *name == text).map(|(_, n)| *n);
        known.ok_or_else(|| format!("{text:?} is not a version of TLS: TLS12 or TLS13"))
    };
    options.min = t.parsed("min_version", version);
    options.max = t.parsed("max_version", version);
    // Which field is to blame is in the message; its place is the nearest that can be named.
    if let Some(why) = options.build().err() {
        let node = ["ca_file", "cert_file", "key_file", "ca", "cert", "key", "max_version"]
            .into_iter()
            .find_map(|name| t.node(name))
            .unwrap_or(t.node);
        t.problem(node, why);
    }
    t.finish();
    Some(options)
}

fn certificates(pem: &Pem) -> Result<Vec<CertificateDer<'static>>, String> {
    let (bytes, shown) = pem.read()?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    let found = found.map_err(|e| format!("{shown} is not PEM: {e}"))?;
    if found.is_empty() { Err(format!("{shown} holds no certificate in PEM")) } else { Ok(found) }
}

impl TlsOptions {
    /// The bytes of all files, to see whether they changed.
    ///
    /// # Errors
    /// When one cannot be read.
    pub(crate) fn files(&self) -> Result<Vec<Vec<u8>>, String> {
        let (cert, key) = self.client.as_ref().map_or((None, None), |(c, k)| (Some(c), Some(k)));
        let all = [self.roots.as_ref(), cert, key];
        all.into_iter().flatten().map(|pem| pem.read().map(|(bytes, _)| bytes)).collect()
    }

    fn versions(&self) -> Result<Vec<&'static SupportedProtocolVersion>, String> {
        let inside = |n: u16| self.min.is_none_or(|min| n >= min) && self.max.is_none_or(|max| n <= max);
        let all = [(12, &TLS12), (13, &TLS13)];
        let found: Vec<_> = all.into_iter().filter(|(n, _)| inside(*n)).map(|(_, v)| v).collect();
        if found.is_empty() {
            return Err("no version of TLS is left: there are TLS12 and TLS13".to_owned());
        }
        Ok(found)
    }

    /// # Errors
    /// When a file cannot be used; the message names it.
    pub(crate) fn build(&self) -> Result<ClientConfig, String> {
        let provider = Arc::new(ring::default_provider());
        let mut roots = RootCertStore::empty();
        match &self.roots {
            Some(own) => {
                for root in certificates(own)? {
                    roots
                        .add(root)
                        .map_err(|e| format!("a certificate to be trusted cannot be used: {e}"))?;
                }
            }
            None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
        }
        let roots = Arc::new(roots);
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&self.versions()?)
            .map_err(|e| e.to_string())?
            .with_root_certificates(Arc::clone(&roots));
        let mut config = match &self.client {
            None => builder.with_no_client_auth(),
            Some((cert, key)) => {
                let (bytes, shown) = key.read()?;
                let key = PrivateKeyDer::from_pem_slice(&bytes)
                    .map_err(|_| format!("{shown} holds no private key in PEM"))?;
                builder
                    .with_client_auth_cert(certificates(cert)?, key)
                    .map_err(|e| format!("the client's certificate and key cannot be used: {e}"))?
            }
        };
        if self.insecure {
            config.dangerous().set_certificate_verifier(Arc::new(Verifier { provider, named: None }));
        } else if let Some(name) = &self.server_name {
            let inner = WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&provider))
                .build()
                .map_err(|e| format!("no certificate can be checked: {e}"))?;
            let name =
                ServerName::try_from(name.clone()).map_err(|_| format!("{name:?} is not a host name"))?;
            config
                .dangerous()
                .set_certificate_verifier(Arc::new(Verifier { provider, named: Some((inner, name)) }));
        }
        Ok(config)
    }
}

/// Judges certificates otherwise than by the address; the handshake itself is checked as ever.
#[derive(Debug)]
struct Verifier {
    provider: Arc<CryptoProvider>,
    /// Wants the certificate of this name, whatever the address is. `None`: believes every certificate, as
    /// `insecure_skip_verify` asks.
    named: Option<(Arc<WebPkiServerVerifier>, ServerName<'static>)>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        match &self.named {
            Some((inner, name)) => inner.verify_server_cert(end, between, name, ocsp, now),
            None => Ok(ServerCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
