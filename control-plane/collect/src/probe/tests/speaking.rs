//! Probes of servers that speak more: DNS, gRPC, WebSocket.

use super::{
    servers::{EXPIRY, Identity, Serving, listen, listen_tls, spawn},
    *,
};
use futures_util::{SinkExt, StreamExt};
use hickory_proto::{
    op::{Message, ResponseCode},
    rr::{Name, RData, Record, RecordType, rdata},
};
use std::str::FromStr;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, UdpSocket},
};

/// What the server says to a question.
fn answer(question: &[u8], tcp: bool) -> Option<Vec<u8>> {
    let asked = Message::from_vec(question).ok()?;
    let query = asked.queries.first()?.clone();
    let mut reply = Message::response(asked.metadata.id, asked.metadata.op_code);
    let name = query.name().clone();
    match (name.to_string().as_str(), query.query_type()) {
        ("web.example.", RecordType::A) => {
            for last in [1, 2] {
                let data = RData::A(rdata::A::new(10, 0, 0, last));
                reply.add_answer(Record::from_rdata(name.clone(), 60, data));
            }
        }
        ("web.example.", RecordType::TXT) => {
            let data = RData::TXT(rdata::TXT::new(vec!["v=1".to_owned()]));
            reply.add_answer(Record::from_rdata(name.clone(), 60, data));
        }
        ("example.", RecordType::SOA) => {
            let host = Name::from_str("ns.example.").ok()?;
            let data = RData::SOA(rdata::SOA::new(host.clone(), host, 2_026_112_501, 1, 1, 1, 1));
            reply.add_answer(Record::from_rdata(name.clone(), 60, data));
        }
        ("large.example.", _) if !tcp => reply.metadata.truncation = true,
        ("large.example.", _) => {
            let data = RData::A(rdata::A::new(10, 0, 0, 9));
            reply.add_answer(Record::from_rdata(name.clone(), 60, data));
        }
        ("silent.example.", _) => return None,
        _ => reply.metadata.response_code = ResponseCode::NXDomain,
    }
    reply.add_query(query);
    reply.to_vec().ok()
}

/// A DNS server on one port, by UDP and TCP. Before each answer by UDP comes one to another question.
async fn dns() -> Serving {
    let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = tcp.local_addr().unwrap();
    let udp = UdpSocket::bind(address).await.unwrap();
    spawn(address, async move {
        let mut buffer = [0; 1024];
        loop {
            tokio::select! {
                Ok((n, from)) = udp.recv_from(&mut buffer) => {
                    let Some(reply) = answer(&buffer[..n], false) else { continue };
                    let mut stray = reply.clone();
                    stray[0] ^= 0xff;
                    let _gone = udp.send_to(&stray, from).await.is_err();
                    let _gone = udp.send_to(&reply, from).await.is_err();
                }
                Ok((mut stream, _)) = tcp.accept() => {
                    let n = usize::from(stream.read_u16().await.unwrap_or(0));
                    let mut question = vec![0; n];
                    let _gone = stream.read_exact(&mut question).await.is_err();
                    let Some(reply) = answer(&question, true) else { continue };
                    let length = u16::try_from(reply.len()).unwrap();
                    let _gone = stream.write_all(&[&length.to_be_bytes()[..], &reply].concat()).await.is_err();
                }
            }
        }
    })
}

#[tokio::test]
async fn a_question_is_asked_of_one_server_and_its_answer_looked_at() {
    let server = dns().await;
    let with = |fields: &str| probe(&format!("kind: dns, url: 'dns://{}', {fields}", server.address));
    let figures = ["probe_dns_answer_rrs=2", "probe_dns_query_succeeded=1", "probe_ip_protocol=4"];
    good(&with("query_name: web.example"), &figures).await;
    good(&with("query_name: web.example, transport_protocol: tcp"), &figures).await;
    good(
        &with("query_name: web.example, conditions: [rcode == NOERROR, answers == 2, 'answer matches \"A 10\\\\.0\\\\.0\\\\.2$\"']"),
        &[],
    )
    .await;
    good(&with("query_name: web.example, query_type: txt, conditions: ['answer contains v=1']"), &[]).await;
    good(&with("query_name: example, query_type: SOA"), &["probe_dns_serial=2026112501"]).await;
    good(&with("query_name: gone.example, conditions: [rcode == NXDOMAIN]"), &["probe_dns_answer_rrs=0"])
        .await;
    good(&with("query_name: large.example, recursion_desired: false"), &["probe_dns_answer_rrs=1"]).await;
    bad(&with("query_name: gone.example"), "rcode is NXDOMAIN, wanted rcode == NOERROR").await;
    let shown =
        bad(&with("query_name: web.example, conditions: ['answer matches 10.9.']"), "wanted answer matches")
            .await;
    assert!(shown.contains(&"probe_failed_due_to_regex=1".to_owned()), "{shown:?}");
    bad(&with("query_name: silent.example, timeout: 100ms"), "no answer within 100ms").await;
}

#[tokio::test]
async fn a_dns_server_that_is_not_there_is_told_at_once() {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    drop(socket);
    bad(
        &probe(&format!("kind: dns, url: '{address}', query_name: a.example")),
        &format!("asking {address} failed"),
    )
    .await;
}

#[tokio::test]
async fn a_grpc_server_says_how_its_services_are() {
    let folder = tempfile::tempdir().unwrap();
    let acceptor = Identity::new(folder.path()).acceptor(&[b"h2"]);
    let (reporter, service) = tonic_health::server::health_reporter();
    reporter.set_service_status("good", tonic_health::ServingStatus::Serving).await;
    reporter.set_service_status("sick", tonic_health::ServingStatus::NotServing).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let incoming = tonic::transport::server::TcpIncoming::from(listener);
    let router = tonic::transport::Server::builder().add_service(service.clone());
    let plain = spawn(address, async move { drop(router.serve_with_incoming(incoming).await) });
    let with = |fields: &str| probe(&format!("kind: grpc, url: 'grpc://{}', {fields}", plain.address));
    let serving = "probe_grpc_healthcheck_response{serving_status=SERVING}=1";
    good(&with("conditions: [latency < 5s]"), &[serving, "probe_grpc_status_code=0", "probe_grpc_ssl=0"])
        .await;
    good(&with("grpc_service: good"), &[serving]).await;
    let shown = bad(&with("grpc_service: sick"), "sick is NOT_SERVING").await;
    let sick = "probe_grpc_healthcheck_response{serving_status=NOT_SERVING}=1";
    assert!(shown.contains(&sick.to_owned()), "{shown:?}");
    let shown = bad(&with("grpc_service: absent"), "does not know the service \"absent\"").await;
    assert!(shown.contains(&"probe_grpc_status_code=5".to_owned()), "{shown:?}");

    // Behind TLS, each connection is served by hand.
    let server = listen_tls(acceptor, move |stream| {
        let service = hyper_util::service::TowerToHyperService::new(service.clone());
        async move {
            let builder = hyper_util::server::conn::auto::Builder::new(hyper_util::rt::TokioExecutor::new());
            drop(builder.http2_only().serve_connection(hyper_util::rt::TokioIo::new(stream), service).await);
        }
    })
    .await;
    let secure = probe_in(
        folder.path(),
        &format!("kind: grpc, url: 'grpcs://{}', tls_config: {{ca_file: ca.pem}}", server.address),
    );
    good(&secure, &[serving, "probe_grpc_ssl=1", &format!("probe_ssl_earliest_cert_expiry={EXPIRY}")]).await;
}

#[tokio::test]
async fn a_server_that_speaks_no_grpc_is_told() {
    let web = MockServer::start().await;
    let (found, _) = run(&probe(&format!("kind: grpc, url: '{}', timeout: 2s", web.address()))).await;
    assert!(found.error.is_some());
    let ends = listen(|stream| async move { drop(stream) }).await;
    let (found, _) = run(&probe(&format!("kind: grpc, url: '{}', timeout: 2s", ends.address))).await;
    assert!(found.error.is_some());
}

/// Greets, then answers each text with `you said: TEXT`.
async fn websocket() -> Serving {
    listen(|stream| async move {
        let Ok(mut socket) = tokio_tungstenite::accept_async(stream).await else { return };
        let _gone = socket.send("welcome 7".into()).await.is_err();
        while let Some(Ok(message)) = socket.next().await {
            if message.is_text() {
                let said = format!("you said: {message}");
                let _gone = socket.send(said.into()).await.is_err();
            }
        }
    })
    .await
}

#[tokio::test]
async fn a_websocket_is_upgraded_and_spoken_on() {
    let server = websocket().await;
    let with =
        |fields: &str| probe(&format!("kind: websocket, url: 'ws://{}/live', {fields}", server.address));
    let figures = ["probe_http_status_code=101", "probe_websocket_upgraded=1", "probe_http_ssl=0"];
    good(&with("conditions: [status == 101]"), &figures).await;
    good(
        &with("headers: {X-Tenant: a}, query_response: [{expect: 'welcome (\\d)', send: 'hello ${1}'}, {expect: 'said: hello 7'}]"),
        &figures,
    )
    .await;
    bad(&with("timeout: 200ms, query_response: [{expect: never}]"), "no answer within 200ms").await;
}

#[tokio::test]
async fn a_server_that_does_not_upgrade_is_told_with_its_status() {
    let web = MockServer::start().await;
    let url = format!("ws://{}/", web.address());
    let shown = bad(&probe(&format!("kind: websocket, url: '{url}'")), "it answered 404 Not Found").await;
    assert!(shown.contains(&"probe_http_status_code=404".to_owned()), "{shown:?}");
}
