//! A WebSocket probe: the handshake, and what is said after it.

use super::{
    Found, Prober,
    condition::Answer,
    dialogue::Step,
    http::{Place, usual_headers},
    tls::Tls,
};
use crate::scrape::config::auth::Auth;
use ::http::{HeaderMap, header};
use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::{
    client_async_with_config,
    tungstenite::{Error, Message, client::IntoClientRequest, protocol::WebSocketConfig},
};

const PHASES: &str = "probe_websocket_duration_seconds";

/// A message is not longer, nor are all that are passed over while waiting for one.
const MAX_MESSAGE: usize = 1 << 20;

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct WebSocketProbe {
    pub(super) place: Place,
    pub(super) headers: HeaderMap,
    pub(super) auth: Option<Auth>,
    pub(super) tls: Tls,
    pub(super) steps: Vec<Step>,
}

async fn talk(
    probe: &WebSocketProbe,
    stream: impl AsyncRead + AsyncWrite + Unpin,
    found: &mut Found,
) -> Result<(u16, HeaderMap), String> {
    let mut request = probe
        .place
        .url
        .as_str()
        .into_client_request()
        .map_err(|e| format!("{} cannot be asked: {e}", probe.place.url))?;
    let headers = request.headers_mut();
    headers.extend(probe.headers.clone());
    usual_headers(headers, &probe.place.authority);
    if let Some(auth) = &probe.auth {
        headers.insert(header::AUTHORIZATION, auth.header()?);
    }
    let config =
        WebSocketConfig::default().max_message_size(Some(MAX_MESSAGE)).max_frame_size(Some(MAX_MESSAGE));
    let (mut socket, response) = match client_async_with_config(request, stream, Some(config)).await {
        Ok(done) => done,
        Err(Error::Http(response)) => {
            let status = response.status();
            found.set("probe_http_status_code", f64::from(status.as_u16()));
            return Err(format!("the server did not upgrade: it answered {status}"));
        }
        Err(e) => return Err(format!("the handshake failed: {}", crate::scrape::fetch::chain(&e))),
    };
    let status = response.status().as_u16();
    found.set("probe_http_status_code", f64::from(status));
    found.set("probe_websocket_upgraded", 1.0);
    let failed = |e: Error| format!("the connection failed: {}", crate::scrape::fetch::chain(&e));
    for step in &probe.steps {
        let mut send = step.answer(None);
        if let Some((_, expect)) = &step.expect {
            let (mut last, mut passed) = (None, 0);
            send = loop {
                let message = match socket.next().await.transpose().map_err(failed)? {
                    None | Some(Message::Close(_)) => return Err(step.unmet(found, last.as_deref())),
                    Some(Message::Text(text)) => text.as_str().to_owned(),
                    Some(Message::Binary(bytes)) => String::from_utf8_lossy(&bytes).into_owned(),
                    Some(_) => continue,
                };
                passed += message.len();
                if let Some(captures) = expect.captures(&message) {
                    break step.answer(Some(&captures));
                }
                last = Some(message);
                if passed > MAX_MESSAGE {
                    return Err(step.unmet(found, last.as_deref()));
                }
            };
        }
        if let Some(send) = send {
            socket.send(Message::text(send)).await.map_err(failed)?;
        }
    }
    // Out of courtesy: whether the server takes it changes nothing.
    let _gone = socket.close(None).await.is_err();
    Ok((status, response.into_parts().0.headers))
}

pub(super) async fn run(
    prober: &Prober,
    probe: &WebSocketProbe,
    found: &mut Found,
) -> Result<Answer, String> {
    for name in ["probe_http_status_code", "probe_websocket_upgraded", "probe_failed_due_to_regex"] {
        found.set(name, 0.0);
    }
    found.set("probe_http_ssl", f64::from(u8::from(probe.place.secure)));
    found.phases(PHASES, &["resolve", "connect", "tls", "processing"]);
    let connected = prober.connect(&probe.place.endpoint, found).await?;
    found.took(PHASES, "resolve", connected.resolve);
    found.took(PHASES, "connect", connected.connect);
    let mut certificate_left = None;
    let begun;
    let (status, headers) = if probe.place.secure {
        let secured = prober.secure(&probe.tls, &probe.place.endpoint.host, connected.stream, found).await?;
        found.took(PHASES, "tls", secured.took);
        certificate_left = secured.certificate_left;
        begun = prober.clock.elapsed();
        talk(probe, secured.stream, found).await?
    } else {
        begun = prober.clock.elapsed();
        talk(probe, connected.stream, found).await?
    };
    found.took(PHASES, "processing", prober.clock.elapsed() - begun);
    Ok(Answer { status, headers, certificate_left, ..Answer::default() })
}
