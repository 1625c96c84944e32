//! Listening, serving, draining.

use crate::tasks::Tasks;
use axum::{Router, extract::connect_info::ConnectInfo};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{conn::auto, graceful::GracefulShutdown},
    service::TowerToHyperService,
};
use std::{io, net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    sync::Semaphore,
};
use tower::{Service as _, ServiceExt};

/// How long a client may take to send its request's head, and to say anything at all.
const HEAD_PATIENCE: Duration = Duration::from_secs(10);

/// Open connections to one listener.
const MOST_CONNECTIONS: usize = 4096;

/// A listening socket, and what to call it in messages.
#[derive(Debug)]
pub struct Bind {
    pub listener: TcpListener,
    pub address: SocketAddr,
}

/// Listens on an address such as `127.0.0.1:3005` (port 0: a free one).
///
/// # Errors
/// A sentence that names the address and what to do, for a taken port among others.
pub async fn bind(what: &str, address: &str) -> anyhow::Result<Bind> {
    let socket_address: SocketAddr = tokio::net::lookup_host(address)
        .await
        .map_err(|e| anyhow::anyhow!("{what} cannot listen on {address}: {e}"))?
        .next()
        .ok_or_else(|| anyhow::anyhow!("{what} cannot listen on {address}: no such address"))?;
    let listen = || -> io::Result<TcpListener> {
        let socket = if socket_address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        socket.set_reuseaddr(true)?;
        socket.bind(socket_address)?;
        socket.listen(1024)
    };
    let listener = listen().map_err(|e| match e.kind() {
        io::ErrorKind::AddrInUse => {
            anyhow::anyhow!("{what} cannot listen on {address}: the port is taken; stop what uses it, or choose another port")
        }
        io::ErrorKind::PermissionDenied => {
            anyhow::anyhow!("{what} cannot listen on {address}: not allowed; ports below 1024 need a privilege")
        }
        _ => anyhow::anyhow!("{what} cannot listen on {address}: {e}"),
    })?;
    let address = listener.local_addr()?;
    Ok(Bind { listener, address })
}

/// Waits for as much of a connection as tells which HTTP is spoken: from there on the server has its own patience.
async fn spoken(stream: &TcpStream) -> io::Result<()> {
    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    const BEAT: Duration = Duration::from_millis(20);
    let mut begun = [0; PREFACE.len()];
    loop {
        // Looked at, not taken; the end of the stream, too, is for the server to see.
        let n = stream.peek(&mut begun).await?;
        let undecided = n > 0 && n < PREFACE.len() && begun.get(..n) == PREFACE.get(..n);
        if !undecided {
            return Ok(());
        }
        tokio::time::sleep(BEAT).await;
    }
}

/// A router being served. Dropping it does not stop it; its group of tasks does.
#[derive(Debug)]
pub struct Server;

impl Server {
    /// Serves until the group of tasks stops; then no new connection is taken, and those that are open get
    /// `drain` to finish what they are doing.
    pub fn start(tasks: &Tasks, name: &str, bind: Bind, router: Router, drain: Duration) {
        let stop = tasks.stopping();
        let connections = tasks.clone();
        let label = format!("{name} connection");
        tasks.spawn(format!("{name} server"), async move {
            let mut make = router.into_make_service_with_connect_info::<SocketAddr>();
            let graceful = GracefulShutdown::new();
            let places = Arc::new(Semaphore::new(MOST_CONNECTIONS));
            loop {
                let accepted = tokio::select! {
                    () = stop.cancelled() => break,
                    place = Arc::clone(&places).acquire_owned() => {
                        let Ok(place) = place else { break };
                        tokio::select! {
                            () = stop.cancelled() => break,
                            accepted = bind.listener.accept() => accepted.map(|(s, a)| (s, a, place)),
                        }
                    }
                };
                let (stream, peer, place) = match accepted {
                    Ok(accepted) => accepted,
                    Err(e) => {
                        // Out of file descriptors, mostly: waiting is all that helps.
                        tracing::warn!(error = %e, "accepting a connection failed");
                        tokio::time::sleep(Duration::from_millis(50)).await;
                        continue;
                    }
                };
                if let Err(e) = stream.set_nodelay(true) {
                    tracing::debug!(error = %e, "TCP_NODELAY could not be set");
                }
                let Ok(service) = make.call(peer).await;
                let service = TowerToHyperService::new(service.map_request(
                    move |mut request: http::Request<hyper::body::Incoming>| {
                        request.extensions_mut().insert(ConnectInfo(peer));
                        request.map(axum::body::Body::new)
                    },
                ));
                let mut builder = auto::Builder::new(TokioExecutor::new());
                builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_PATIENCE);
                builder.http2().timer(TokioTimer::new()).keep_alive_interval(Duration::from_secs(30));
                let (watcher, stop) = (graceful.watcher(), stop.clone());
                connections.spawn(label.clone(), async move {
                    let _place = place;
                    // Who connects and says nothing would keep its place for ever.
                    tokio::select! {
                        () = stop.cancelled() => return,
                        spoke = tokio::time::timeout(HEAD_PATIENCE, spoken(&stream)) => {
                            if !matches!(spoke, Ok(Ok(()))) {
                                return;
                            }
                        }
                    }
                    let connection =
                        builder.serve_connection_with_upgrades(TokioIo::new(stream), service).into_owned();
                    if let Err(e) = watcher.watch(connection).await {
                        tracing::debug!(error = %e, "a connection ended badly");
                    }
                });
            }
            drop(bind);
            if tokio::time::timeout(drain, graceful.shutdown()).await.is_err() {
                tracing::warn!(seconds = drain.as_secs(), "connections were still busy when the drain ended");
            }
        });
    }
}
