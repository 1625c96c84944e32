//! One request and its answer on a connection that is there.

use super::{super::Found, HttpProbe, PHASES, Place};
use crate::scrape::fetch::chain;
use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, Version, header};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use kit::clock::Clock;
use tokio::io::{AsyncRead, AsyncWrite};

/// Bytes of a body that conditions can look at; what follows is counted and left.
const MAX_BODY: usize = 1 << 20;

pub(super) struct Asked<'a> {
    pub(super) probe: &'a HttpProbe,
    pub(super) place: &'a Place,
    pub(super) method: &'a Method,
    /// Credentials may be shown: it is the origin that they were written for.
    pub(super) secret: bool,
}

pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) version: f64,
    pub(super) length: Option<f64>,
    pub(super) body: Vec<u8>,
    pub(super) body_bytes: usize,
    /// Where to go on, if it is to be followed.
    pub(super) redirect: Option<Place>,
}

impl Asked<'_> {
    fn request(&self) -> Result<Request<Full<Bytes>>, String> {
        let mut headers = self.probe.headers.clone();
        if !self.secret {
            for name in [header::AUTHORIZATION, header::COOKIE, header::PROXY_AUTHORIZATION] {
                headers.remove(name);
            }
            headers.insert(header::HOST, self.place.authority.clone());
        } else if let Some(auth) = &self.probe.auth {
            headers.insert(header::AUTHORIZATION, auth.header()?);
        }
        // A redirect that turned into a GET leaves the body behind.
        let body = if self.method == self.probe.method { self.probe.body.clone() } else { Bytes::new() };
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.place.target.clone();
        *request.headers_mut() = headers;
        Ok(request)
    }
}

/// Sends the request and reads the answer.
pub(super) async fn exchange(
    clock: &Clock,
    asked: &Asked<'_>,
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    found: &mut Found,
) -> Result<Reply, String> {
    let failed = |e: hyper::Error| format!("asking failed: {}", chain(&e));
    let request = asked.request()?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(failed)?;
    let sent = clock.elapsed();
    let work = async {
        let response = sender.send_request(request).await.map_err(failed)?;
        let arrived = clock.elapsed();
        found.took(PHASES, "processing", arrived - sent);
        let reply = read(asked, response).await?;
        found.took(PHASES, "transfer", clock.elapsed() - arrived);
        Ok(reply)
    };
    // The connection has to be driven while the answer is read, and ends with it.
    let mut work = std::pin::pin!(work);
    let mut connection = std::pin::pin!(connection);
    let mut driving = true;
    loop {
        tokio::select! {
            biased;
            reply = &mut work => return reply,
            // How it ended is told by the request.
            _ended = &mut connection, if driving => driving = false,
        }
    }
}

async fn read(asked: &Asked<'_>, response: Response<Incoming>) -> Result<Reply, String> {
    let (head, mut body) = response.into_parts();
    let text = |name| head.headers.get(name).and_then(|v: &http::HeaderValue| v.to_str().ok());
    let moved = matches!(head.status.as_u16(), 301 | 302 | 303 | 307 | 308) && asked.probe.follow_redirects;
    let redirect = text(header::LOCATION)
        .filter(|_| moved)
        .and_then(|to| asked.place.url.join(to).ok())
        .filter(|to| matches!(to.scheme(), "http" | "https"))
        .and_then(Place::new);
    let length = text(header::CONTENT_LENGTH).and_then(|l| l.parse().ok());
    let (mut kept, mut body_bytes) = (Vec::new(), 0);
    while redirect.is_none()
        && let Some(frame) = body.frame().await
    {
        let frame = frame.map_err(|e| format!("reading the body failed: {}", chain(&e)))?;
        let Some(data) = frame.data_ref() else { continue };
        body_bytes += data.len();
        if asked.probe.keep_body {
            kept.extend_from_slice(&data[..data.len().min(MAX_BODY - kept.len())]);
        }
        if body_bytes > 64 * MAX_BODY {
            return Err("the body has no end".to_owned());
        }
    }
    let version = match head.version {
        Version::HTTP_10 => 1.0,
        Version::HTTP_2 => 2.0,
        _ => 1.1,
    };
    Ok(Reply {
        status: head.status,
        headers: head.headers,
        version,
        length,
        body: kept,
        body_bytes,
        redirect,
    })
}
