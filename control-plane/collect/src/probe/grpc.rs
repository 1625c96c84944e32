//! A gRPC probe: `grpc.health.v1.Health/Check` on a connection of its own.
//!
//! The two messages have one field each, so they are written and read here rather than by generated code.

use super::{Found, Prober, condition::Answer, net::Endpoint, tls::Tls};
use bytes::{BufMut, Bytes, BytesMut};
use h2::client::SendRequest;
use http::{HeaderMap, Method, Request, Version};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};

const PHASES: &str = "probe_grpc_duration_seconds";

/// An answer to a health check has a few bytes.
const MAX_ANSWER: usize = 64 << 10;

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct GrpcProbe {
    pub(super) endpoint: Endpoint,
    pub(super) tls: Option<Tls>,
    /// The service that is asked about; empty for the whole server.
    pub(super) service: String,
}

/// `HealthCheckResponse.ServingStatus` by number.
const SERVING: [&str; 4] = ["UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"];

/// The message with its frame: not compressed, its length, `string service = 1`.
fn question(service: &str) -> Bytes {
    let mut message = BytesMut::new();
    if !service.is_empty() {
        message.put_u8(0x0a);
        put_varint(&mut message, service.len() as u64);
        message.put_slice(service.as_bytes());
    }
    let mut out = BytesMut::new();
    out.put_u8(0);
    out.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    out.put_slice(&message);
    out.freeze()
}

fn put_varint(out: &mut BytesMut, mut n: u64) {
    while n >= 0x80 {
        out.put_u8(n.to_le_bytes()[0] | 0x80);
        n >>= 7;
    }
    out.put_u8(n.to_le_bytes()[0]);
}

fn take_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut n = 0;
    for shift in (0..64).step_by(7) {
        let (&first, rest) = bytes.split_first()?;
        *bytes = rest;
        n |= u64::from(first & 0x7f) << shift;
        if first < 0x80 {
            return Some(n);
        }
    }
    None
}

/// `ServingStatus status = 1` of a framed message; 0 when it is left out.
fn status(frame: &[u8]) -> Option<u64> {
    let (head, mut message) = frame.split_at_checked(5)?;
    let length = u32::from_be_bytes(head.get(1..5)?.try_into().ok()?);
    if head[0] != 0 || usize::try_from(length).ok()? != message.len() {
        return None;
    }
    let mut status = 0;
    while !message.is_empty() {
        let tag = take_varint(&mut message)?;
        match tag & 7 {
            0 => {
                let value = take_varint(&mut message)?;
                if tag >> 3 == 1 {
                    status = value;
                }
            }
            2 => {
                let length = usize::try_from(take_varint(&mut message)?).ok()?;
                message = message.split_at_checked(length)?.1;
            }
            _ => return None,
        }
    }
    Some(status)
}

/// What came back.
struct Reply {
    code: u16,
    message: String,
    frame: Vec<u8>,
}

async fn call(sender: SendRequest<Bytes>, request: Request<()>, body: Bytes) -> Result<Reply, String> {
    let failed = |e: h2::Error| format!("asking failed: {}", crate::scrape::fetch::chain(&e));
    let mut sender = sender.ready().await.map_err(failed)?;
    let (response, mut sending) = sender.send_request(request, false).map_err(failed)?;
    sending.send_data(body, true).map_err(failed)?;
    let (head, mut body) = response.await.map_err(failed)?.into_parts();
    if head.status != http::StatusCode::OK {
        return Err(format!("the server answered HTTP status {}, which is not gRPC", head.status));
    }
    let mut frame = Vec::new();
    while let Some(data) = body.data().await {
        let data = data.map_err(failed)?;
        frame.extend_from_slice(&data);
        body.flow_control().release_capacity(data.len()).map_err(failed)?;
        if frame.len() > MAX_ANSWER {
            return Err("the answer is longer than any health check's".to_owned());
        }
    }
    let trailers = body.trailers().await.map_err(failed)?;
    // An error without a message has its status in the headers.
    let status = trailers.as_ref().unwrap_or(&head.headers);
    let text = |headers: &HeaderMap, name| headers.get(name).and_then(|v| v.to_str().ok()).map(str::to_owned);
    let code = text(status, "grpc-status")
        .and_then(|code| code.parse().ok())
        .ok_or("the answer has no grpc-status")?;
    Ok(Reply { code, message: text(status, "grpc-message").unwrap_or_default(), frame })
}

async fn check(
    probe: &GrpcProbe,
    timeout: Duration,
    stream: impl AsyncRead + AsyncWrite + Unpin,
) -> Result<Reply, String> {
    let (sender, connection) =
        h2::client::handshake(stream).await.map_err(|e| format!("HTTP/2 failed: {e}"))?;
    let scheme = if probe.tls.is_some() { "https" } else { "http" };
    let request = Request::builder()
        .method(Method::POST)
        .version(Version::HTTP_2)
        .uri(format!("{scheme}://{}/grpc.health.v1.Health/Check", probe.endpoint))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("user-agent", concat!("vigie/", env!("CARGO_PKG_VERSION")))
        .header("grpc-timeout", format!("{}m", timeout.as_millis().min(99_999_999)))
        .body(())
        .map_err(|e| format!("{} cannot be asked: {e}", probe.endpoint))?;
    let mut work = std::pin::pin!(call(sender, request, question(&probe.service)));
    let mut connection = std::pin::pin!(connection);
    let mut driving = true;
    loop {
        tokio::select! {
            biased;
            reply = &mut work => return reply,
            _ended = &mut connection, if driving => driving = false,
        }
    }
}

pub(super) async fn run(
    prober: &Prober,
    probe: &GrpcProbe,
    timeout: Duration,
    found: &mut Found,
) -> Result<Answer, String> {
    found.phases(PHASES, &["resolve", "connect", "tls", "check"]);
    found.set("probe_grpc_ssl", f64::from(u8::from(probe.tls.is_some())));
    let connected = prober.connect(&probe.endpoint, found).await?;
    found.took(PHASES, "resolve", connected.resolve);
    found.took(PHASES, "connect", connected.connect);
    let mut certificate_left = None;
    let begun;
    let reply = match &probe.tls {
        None => {
            begun = prober.clock.elapsed();
            check(probe, timeout, connected.stream).await?
        }
        Some(tls) => {
            let secured = prober.secure(tls, &probe.endpoint.host, connected.stream, found).await?;
            found.took(PHASES, "tls", secured.took);
            certificate_left = secured.certificate_left;
            begun = prober.clock.elapsed();
            check(probe, timeout, secured.stream).await?
        }
    };
    found.took(PHASES, "check", prober.clock.elapsed() - begun);
    found.set("probe_grpc_status_code", f64::from(reply.code));
    let about = if probe.service.is_empty() { "the server" } else { &probe.service };
    match reply.code {
        0 => {}
        5 => return Err(format!("the server does not know the service {about:?}")),
        12 => return Err("the server does not offer grpc.health.v1.Health".to_owned()),
        code => return Err(format!("the check ended with gRPC status {code}: {}", reply.message)),
    }
    let number = status(&reply.frame).ok_or("the answer is not a HealthCheckResponse")?;
    let name = usize::try_from(number).ok().and_then(|n| SERVING.get(n)).copied().unwrap_or("UNKNOWN");
    found.set_part("probe_grpc_healthcheck_response", ("serving_status", name), 1.0);
    if name != "SERVING" {
        return Err(format!("{about} is {name}"));
    }
    Ok(Answer { certificate_left, ..Answer::default() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_messages_are_those_of_the_protocol() {
        assert_eq!(&question("")[..], [0, 0, 0, 0, 0]);
        assert_eq!(&question("ab")[..], [0, 0, 0, 0, 4, 0x0a, 2, b'a', b'b']);
        assert_eq!(status(&[0, 0, 0, 0, 2, 8, 1]), Some(1));
        assert_eq!(status(&[0, 0, 0, 0, 0]), Some(0));
        assert_eq!(status(&[0, 0, 0, 0, 5, 0x12, 1, b'x', 8, 2]), Some(2), "unknown fields are passed over");
        assert_eq!(status(&[0, 0, 0, 0, 9, 8, 1]), None, "a message that was cut");
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_status_or_nothing(bytes: Vec<u8>) {
            let mut frame = vec![0, 0, 0, 0, u8::try_from(bytes.len().min(255)).unwrap()];
            frame.extend(&bytes);
            // A status is never made up: it comes from a field that is there.
            for frame in [&bytes, &frame] {
                prop_assert!(status(frame).unwrap_or(0) == 0 || frame.len() > 6);
            }
        }
    }
}
