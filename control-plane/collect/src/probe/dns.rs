//! A DNS probe: one question to one server, over UDP or TCP.

use super::{
    Found, Prober,
    condition::Answer,
    net::{Endpoint, note_protocol},
};
use hickory_proto::{
    op::{Message, MessageType, Query, ResponseCode},
    rr::{Name, RData, RecordType},
};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UdpSocket},
};

const PHASES: &str = "probe_dns_duration_seconds";

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct DnsProbe {
    pub(super) server: Endpoint,
    pub(super) name: Name,
    pub(super) kind: RecordType,
    pub(super) tcp: bool,
    pub(super) recursion: bool,
}

/// A response code as tools write it.
fn rcode(code: ResponseCode) -> String {
    match code {
        ResponseCode::NoError => "NOERROR".to_owned(),
        ResponseCode::FormErr => "FORMERR".to_owned(),
        ResponseCode::ServFail => "SERVFAIL".to_owned(),
        ResponseCode::NXDomain => "NXDOMAIN".to_owned(),
        ResponseCode::NotImp => "NOTIMP".to_owned(),
        ResponseCode::Refused => "REFUSED".to_owned(),
        ResponseCode::NotAuth => "NOTAUTH".to_owned(),
        ResponseCode::NotZone => "NOTZONE".to_owned(),
        other => format!("RCODE{}", u16::from(other)),
    }
}

fn question(probe: &DnsProbe) -> Message {
    let mut message = Message::query();
    message.metadata.recursion_desired = probe.recursion;
    message.add_query(Query::query(probe.name.clone(), probe.kind));
    message
}

/// Whether a message answers this question.
fn answers(reply: &Message, asked: &Message) -> bool {
    reply.metadata.id == asked.metadata.id
        && reply.metadata.message_type == MessageType::Response
        // Some servers leave the question out when they refuse it.
        && (reply.queries.is_empty() || reply.queries == asked.queries)
}

async fn by_udp(server: SocketAddr, asked: &Message, bytes: &[u8]) -> Result<Message, String> {
    let failed = |e: std::io::Error| format!("asking {server} failed: {e}");
    let any: IpAddr =
        if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).await.map_err(failed)?;
    // Connected, it takes nothing from others and learns that nobody listens.
    socket.connect(server).await.map_err(failed)?;
    socket.send(bytes).await.map_err(failed)?;
    let mut buffer = vec![0; 4096];
    loop {
        let n = socket.recv(&mut buffer).await.map_err(failed)?;
        if let Ok(reply) = Message::from_vec(buffer.get(..n).unwrap_or_default())
            && answers(&reply, asked)
        {
            return Ok(reply);
        }
    }
}

async fn by_tcp(server: SocketAddr, asked: &Message, bytes: &[u8]) -> Result<Message, String> {
    let failed = |e: std::io::Error| format!("asking {server} failed: {e}");
    let mut stream =
        TcpStream::connect(server).await.map_err(|e| format!("cannot connect to {server}: {e}"))?;
    let length = u16::try_from(bytes.len()).map_err(|_| "the question is too long".to_owned())?;
    stream.write_all(&[&length.to_be_bytes(), bytes].concat()).await.map_err(failed)?;
    let length = stream.read_u16().await.map_err(failed)?;
    let mut buffer = vec![0; usize::from(length)];
    stream.read_exact(&mut buffer).await.map_err(failed)?;
    let reply = Message::from_vec(&buffer).map_err(|e| format!("{server} did not answer in DNS: {e}"))?;
    if answers(&reply, asked) { Ok(reply) } else { Err(format!("{server} answered another question")) }
}

pub(super) async fn run(prober: &Prober, probe: &DnsProbe, found: &mut Found) -> Result<Answer, String> {
    for name in [
        "probe_dns_query_succeeded",
        "probe_dns_answer_rrs",
        "probe_dns_authority_rrs",
        "probe_dns_additional_rrs",
        "probe_failed_due_to_regex",
    ] {
        found.set(name, 0.0);
    }
    found.phases(PHASES, &["resolve", "request"]);
    let (addresses, took) = prober.look_up(&probe.server.host, found).await?;
    found.took(PHASES, "resolve", took);
    let Some(&ip) = addresses.first() else { return Err(format!("{} has no address", probe.server.host)) };
    note_protocol(ip, found);
    let server = SocketAddr::new(ip, probe.server.port);
    let asked = question(probe);
    let bytes = asked.to_vec().map_err(|e| format!("the question cannot be written: {e}"))?;
    let begun = prober.clock.elapsed();
    let mut reply = match probe.tcp {
        true => by_tcp(server, &asked, &bytes).await?,
        false => by_udp(server, &asked, &bytes).await?,
    };
    if reply.metadata.truncation && !probe.tcp {
        reply = by_tcp(server, &asked, &bytes).await?;
    }
    found.took(PHASES, "request", prober.clock.elapsed() - begun);
    found.set("probe_dns_query_succeeded", 1.0);
    found.set("probe_dns_answer_rrs", reply.answers.len() as f64);
    found.set("probe_dns_authority_rrs", reply.authorities.len() as f64);
    found.set("probe_dns_additional_rrs", reply.additionals.len() as f64);
    let serial = reply.answers.iter().find_map(|r| match &r.data {
        RData::SOA(soa) => Some(soa.serial),
        _ => None,
    });
    if let Some(serial) = serial {
        found.set("probe_dns_serial", f64::from(serial));
    }
    Ok(Answer {
        rcode: rcode(reply.metadata.response_code),
        answers: reply.answers.iter().map(ToString::to_string).collect(),
        ..Answer::default()
    })
}
