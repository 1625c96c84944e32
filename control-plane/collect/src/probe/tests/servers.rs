//! Servers on loopback that speak what probes ask.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer},
};
use std::{future::Future, net::SocketAddr, path::Path, sync::Arc};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

/// A task that ends with the test.
pub(super) struct Serving {
    pub(super) address: SocketAddr,
    task: tokio::task::AbortHandle,
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Runs `serve` for each connection, one after the other.
pub(super) async fn listen<F, Fut>(mut serve: F) -> Serving
where
    F: FnMut(TcpStream) -> Fut + Send + 'static,
    Fut: Future<Output = ()> + Send,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    spawn(address, async move {
        while let Ok((stream, _)) = listener.accept().await {
            serve(stream).await;
        }
    })
}

#[expect(clippy::disallowed_methods, reason = "a server of a test, ended when it is dropped")]
pub(super) fn spawn(address: SocketAddr, serve: impl Future<Output = ()> + Send + 'static) -> Serving {
    Serving { address, task: tokio::spawn(serve).abort_handle() }
}

/// A certificate for `localhost` and 127.0.0.1 until the end of 2040, and who signed it in `folder/ca.pem`.
pub(super) struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

/// The end of [`Identity`]'s certificate.
pub(super) const EXPIRY: i64 = 2_240_524_800;

impl Identity {
    pub(super) fn new(folder: &Path) -> Identity {
        let mut ca = CertificateParams::new(Vec::new()).unwrap();
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        ca.not_after = rcgen::date_time_ymd(2050, 1, 1);
        let ca = CertifiedIssuer::self_signed(ca, KeyPair::generate().unwrap()).unwrap();
        std::fs::write(folder.join("ca.pem"), ca.pem()).unwrap();
        let mut params =
            CertificateParams::new(vec!["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
        params.not_after = rcgen::date_time_ymd(2040, 12, 31);
        let key = KeyPair::generate().unwrap();
        let own = params.signed_by(&key, &ca).unwrap();
        Identity { chain: vec![own.der().clone()], key: PrivateKeyDer::Pkcs8(key.serialize_der().into()) }
    }

    pub(super) fn acceptor(&self, alpn: &[&[u8]]) -> TlsAcceptor {
        kit::client::install_tls();
        let config = ServerConfig::builder().with_no_client_auth();
        let mut config = config.with_single_cert(self.chain.clone(), self.key.clone_key()).unwrap();
        config.alpn_protocols = alpn.iter().map(|p| p.to_vec()).collect();
        TlsAcceptor::from(Arc::new(config))
    }
}

/// A server behind TLS. A handshake that fails is the client's to tell.
pub(super) async fn listen_tls<F, Fut>(acceptor: TlsAcceptor, mut serve: F) -> Serving
where
    F: FnMut(TlsStream<TcpStream>) -> Fut + Send + 'static,
    Fut: Future<Output = ()> + Send,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    spawn(address, async move {
        while let Ok((stream, _)) = listener.accept().await {
            if let Ok(stream) = acceptor.accept(stream).await {
                serve(stream).await;
            }
        }
    })
}
