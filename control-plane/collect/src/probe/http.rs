//! An HTTP probe: one request on a connection of its own, so that each step can be timed.

use super::{Found, Prober, certificate::not_after, condition::Answer, config::Probe};
use ::http::{Request, StatusCode, header};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use std::{sync::Arc, time::Duration};
use tokio::io::{AsyncRead, AsyncWrite};
use url::Url;

/// Bytes of a body that conditions can look at; what follows is counted and left.
const MAX_BODY: usize = 1 << 20;
const MAX_REDIRECTS: usize = 10;

/// Seconds in each step, summed over redirects.
#[derive(Debug, Default)]
struct Phases {
    resolve: f64,
    connect: f64,
    tls: f64,
    processing: f64,
    transfer: f64,
}

/// One answer on the way.
struct Step {
    answer: Answer,
    version: f64,
    length: Option<f64>,
    body_bytes: usize,
    redirect: Option<Url>,
    certificate_end: Option<i64>,
}

pub(super) async fn run(prober: &Prober, probe: &Probe, found: &mut Found) -> Result<Answer, String> {
    let mut url = Url::parse(&probe.url).map_err(|e| format!("{:?} is not an address: {e}", probe.url))?;
    let mut phases = Phases::default();
    let mut redirects = 0;
    let outcome = loop {
        match step(prober, probe, &url, &mut phases, found).await {
            Ok(Step { redirect: Some(next), .. }) if redirects < MAX_REDIRECTS => {
                redirects += 1;
                url = next;
            }
            Ok(Step { redirect: Some(_), .. }) => break Err(format!("more than {MAX_REDIRECTS} redirects")),
            other => break other,
        }
    };
    // Redirects look hosts up several times: one series has one value.
    found.series.retain(|(name, _, _)| *name != "probe_dns_lookup_time_seconds");
    found.add("probe_dns_lookup_time_seconds", phases.resolve);
    if let Some(last) = found.series.iter().rposition(|(name, _, _)| *name == "probe_ip_protocol") {
        let last = found.series[last];
        found.series.retain(|(name, _, _)| *name != "probe_ip_protocol");
        found.series.push(last);
    }
    for (phase, seconds) in [
        ("resolve", phases.resolve),
        ("connect", phases.connect),
        ("tls", phases.tls),
        ("processing", phases.processing),
        ("transfer", phases.transfer),
    ] {
        found.series.push(("probe_http_duration_seconds", Some(("phase", phase)), seconds));
    }
    found.add("probe_http_redirects", redirects as f64);
    found.add("probe_http_ssl", f64::from(u8::from(url.scheme() == "https")));
    let step = match outcome {
        Ok(step) => step,
        Err(e) => {
            found.add("probe_http_status_code", 0.0);
            return Err(e);
        }
    };
    found.add("probe_http_status_code", f64::from(step.answer.status));
    found.add("probe_http_version", step.version);
    found.add("probe_http_content_length", step.length.unwrap_or(-1.0));
    found.add("probe_http_uncompressed_body_length", step.body_bytes as f64);
    let mut answer = step.answer;
    if let Some(end) = step.certificate_end {
        found.add("probe_ssl_earliest_cert_expiry", end as f64);
        let left = end.saturating_sub(prober.clock.now_ms() / 1000);
        answer.certificate_left = Some(Duration::from_secs(u64::try_from(left).unwrap_or(0)));
    }
    Ok(answer)
}

async fn step(
    prober: &Prober,
    probe: &Probe,
    url: &Url,
    phases: &mut Phases,
    found: &mut Found,
) -> Result<Step, String> {
    let host = url.host_str().ok_or_else(|| format!("{url} names no host"))?;
    let port = url.port_or_known_default().ok_or_else(|| format!("{url} has no port"))?;
    let clock = &prober.clock;
    let begun = clock.elapsed();
    let stream = prober.connect(&format!("{host}:{port}"), found).await?;
    let lookup = found.series.iter().rev().find(|(name, _, _)| *name == "probe_dns_lookup_time_seconds");
    let lookup = lookup.map_or(0.0, |(_, _, v)| *v);
    phases.resolve += lookup;
    let connected = clock.elapsed();
    phases.connect += (connected - begun).as_secs_f64() - lookup;
    if url.scheme() != "https" {
        return exchange(prober, probe, url, stream, phases).await;
    }
    let bare = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    let name =
        rustls::pki_types::ServerName::try_from(bare).map_err(|_| format!("{host:?} is not a host name"))?;
    let connector = tokio_rustls::TlsConnector::from(Arc::clone(&prober.tls));
    let tls = connector.connect(name, stream).await.map_err(|e| format!("TLS with {host} failed: {e}"))?;
    phases.tls += (clock.elapsed() - connected).as_secs_f64();
    let certificates = tls.get_ref().1.peer_certificates().unwrap_or_default();
    let end = certificates.iter().filter_map(|c| not_after(c)).min();
    let mut step = exchange(prober, probe, url, tls, phases).await?;
    step.certificate_end = end;
    Ok(step)
}

/// Sends the request and reads the answer.
async fn exchange(
    prober: &Prober,
    probe: &Probe,
    url: &Url,
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    phases: &mut Phases,
) -> Result<Step, String> {
    let clock = &prober.clock;
    let failed = |e: hyper::Error| format!("asking failed: {}", crate::scrape::fetch::chain(&e));
    let (mut sender, connection) =
        http1::handshake::<_, Empty<Bytes>>(TokioIo::new(stream)).await.map_err(failed)?;
    let authority = url.port().map_or_else(
        || url.host_str().unwrap_or("").to_owned(),
        |port| format!("{}:{port}", url.host_str().unwrap_or("")),
    );
    let target = url.query().map_or_else(|| url.path().to_owned(), |q| format!("{}?{q}", url.path()));
    let request = Request::get(target)
        .header(header::HOST, authority)
        .header(header::USER_AGENT, concat!("vigie/", env!("CARGO_PKG_VERSION")))
        .header(header::ACCEPT, "*/*")
        .header(header::CONNECTION, "close")
        .body(Empty::new())
        .map_err(|e| format!("{url} cannot be asked: {e}"))?;
    let sent = clock.elapsed();
    let work = async {
        let response = sender.send_request(request).await.map_err(failed)?;
        phases.processing += (clock.elapsed() - sent).as_secs_f64();
        let arrived = clock.elapsed();
        let step = read(probe, url, response).await?;
        phases.transfer += (clock.elapsed() - arrived).as_secs_f64();
        Ok(step)
    };
    // The connection has to be driven while the answer is read, and ends with it.
    tokio::pin!(work);
    let mut connection = std::pin::pin!(connection);
    let mut driving = true;
    loop {
        tokio::select! {
            biased;
            step = &mut work => return step,
            // How it ended is told by the request.
            _ended = &mut connection, if driving => driving = false,
        }
    }
}

async fn read(probe: &Probe, url: &Url, response: ::http::Response<Incoming>) -> Result<Step, String> {
    let (head, mut body) = response.into_parts();
    let header = |name| head.headers.get(name).and_then(|v: &::http::HeaderValue| v.to_str().ok());
    let redirect = match head.status {
        StatusCode::MOVED_PERMANENTLY
        | StatusCode::FOUND
        | StatusCode::SEE_OTHER
        | StatusCode::TEMPORARY_REDIRECT
        | StatusCode::PERMANENT_REDIRECT => header(header::LOCATION).and_then(|l| url.join(l).ok()),
        _ => None,
    };
    let redirect = redirect.filter(|u| matches!(u.scheme(), "http" | "https"));
    let length = header(header::CONTENT_LENGTH).and_then(|l| l.parse().ok());
    let needed = probe.conditions.iter().any(super::condition::Condition::needs_body);
    let (mut kept, mut body_bytes) = (Vec::new(), 0);
    while redirect.is_none()
        && let Some(frame) = body.frame().await
    {
        let frame =
            frame.map_err(|e| format!("reading the body failed: {}", crate::scrape::fetch::chain(&e)))?;
        let Some(data) = frame.data_ref() else { continue };
        body_bytes += data.len();
        if needed {
            kept.extend_from_slice(&data[..data.len().min(MAX_BODY - kept.len())]);
        }
        if body_bytes > 64 * MAX_BODY {
            return Err("the body has no end".to_owned());
        }
    }
    let version = match head.version {
        ::http::Version::HTTP_10 => 1.0,
        ::http::Version::HTTP_2 => 2.0,
        _ => 1.1,
    };
    let answer = Answer {
        status: head.status.as_u16(),
        headers: head.headers,
        body: String::from_utf8_lossy(&kept).into_owned(),
        ..Answer::default()
    };
    Ok(Step { answer, version, length, body_bytes, redirect, certificate_end: None })
}
