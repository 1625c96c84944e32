//! A ping: one ICMP echo request and its reply.
//!
//! A datagram socket for ICMP needs no privilege where the system allows it to the process's group
//! (`net.ipv4.ping_group_range`); else a raw socket needs `CAP_NET_RAW`.

use super::{
    Found, Prober,
    condition::Answer,
    net::{Host, note_protocol},
};
use socket2::{Domain, Protocol, Socket, Type};
use std::{
    io::ErrorKind,
    net::{IpAddr, SocketAddr},
    sync::atomic::{AtomicU64, Ordering},
};
use tokio::net::UdpSocket;

const PHASES: &str = "probe_icmp_duration_seconds";

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct IcmpProbe {
    pub(super) host: Host,
}

/// What tells one's own replies: the process, and how many it has asked.
const PAYLOAD: usize = 16;

/// RFC 1071.
fn checksum(bytes: &[u8]) -> u16 {
    let mut sum: u32 = 0;
    for pair in bytes.chunks(2) {
        sum += u32::from(pair[0]) << 8 | pair.get(1).map_or(0, |b| u32::from(*b));
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    let [_, _, high, low] = (!sum).to_be_bytes();
    u16::from_be_bytes([high, low])
}

/// An echo request. The kernel puts in the identifier of a datagram socket, and every checksum of IPv6.
fn request(v4: bool, payload: [u8; PAYLOAD]) -> Vec<u8> {
    let mut out = vec![if v4 { 8 } else { 128 }, 0, 0, 0, 0, 1, 0, 1];
    out.extend(payload);
    if v4 {
        let sum = checksum(&out).to_be_bytes();
        out[2..4].copy_from_slice(&sum);
    }
    out
}

/// Whether a packet is the reply to this payload, and the hops it had left where the packet tells.
fn reply(v4: bool, raw: bool, packet: &[u8], payload: &[u8]) -> Option<Option<u8>> {
    // A raw socket of IPv4 gives the IP header too.
    let (icmp, hops) = if v4 && raw {
        let header = usize::from(packet.first()? & 0x0f) * 4;
        (packet.get(header..)?, packet.get(8).copied())
    } else {
        (packet, None)
    };
    let is_reply = *icmp.first()? == if v4 { 0 } else { 129 } && icmp.get(8..8 + PAYLOAD)? == payload;
    is_reply.then_some(hops)
}

/// The socket, and whether it is a raw one.
fn open(ip: IpAddr) -> Result<(UdpSocket, bool), String> {
    let (domain, protocol) = match ip {
        IpAddr::V4(_) => (Domain::IPV4, Protocol::ICMPV4),
        IpAddr::V6(_) => (Domain::IPV6, Protocol::ICMPV6),
    };
    let failed = |e: std::io::Error| format!("no socket for ICMP: {e}");
    let (socket, raw) = match Socket::new(domain, Type::DGRAM, Some(protocol)) {
        Ok(socket) => (socket, false),
        Err(_) => match Socket::new(domain, Type::RAW, Some(protocol)) {
            Ok(socket) => (socket, true),
            Err(e) if e.kind() == ErrorKind::PermissionDenied => {
                return Err("may not ping: the group of this process is not in the sysctl \
                     net.ipv4.ping_group_range, and it has not the capability CAP_NET_RAW; one of them is needed"
                    .to_owned());
            }
            Err(e) => return Err(failed(e)),
        },
    };
    socket.set_nonblocking(true).map_err(failed)?;
    // Connected, it takes packets of this host only.
    socket.connect(&SocketAddr::new(ip, 0).into()).map_err(|e| format!("cannot reach {ip}: {e}"))?;
    Ok((UdpSocket::from_std(socket.into()).map_err(failed)?, raw))
}

pub(super) async fn run(
    prober: &Prober,
    probe: &IcmpProbe,
    asked: &AtomicU64,
    found: &mut Found,
) -> Result<Answer, String> {
    found.phases(PHASES, &["resolve", "setup", "rtt"]);
    let (addresses, took) = prober.look_up(&probe.host, found).await?;
    found.took(PHASES, "resolve", took);
    let Some(&ip) = addresses.first() else { return Err(format!("{} has no address", probe.host)) };
    note_protocol(ip, found);
    let begun = prober.clock.elapsed();
    let (socket, raw) = open(ip)?;
    let mut payload = [0; PAYLOAD];
    payload[..4].copy_from_slice(&std::process::id().to_be_bytes());
    payload[8..].copy_from_slice(&asked.fetch_add(1, Ordering::Relaxed).to_be_bytes());
    let packet = request(ip.is_ipv4(), payload);
    let ready = prober.clock.elapsed();
    found.took(PHASES, "setup", ready - begun);
    socket.send(&packet).await.map_err(|e| format!("cannot ping {ip}: {e}"))?;
    let mut buffer = [0; 512];
    loop {
        let n = socket.recv(&mut buffer).await.map_err(|e| format!("cannot ping {ip}: {e}"))?;
        if let Some(hops) = reply(ip.is_ipv4(), raw, buffer.get(..n).unwrap_or_default(), &payload) {
            found.took(PHASES, "rtt", prober.clock.elapsed() - ready);
            if let Some(hops) = hops {
                found.set("probe_icmp_reply_hop_limit", f64::from(hops));
            }
            return Ok(Answer::default());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_adds_up_and_its_reply_is_known() {
        let payload = [7; PAYLOAD];
        let packet = request(true, payload);
        assert_eq!((packet[0], checksum(&packet)), (8, 0));
        let mut answer = packet.clone();
        answer[0] = 0;
        assert_eq!(reply(true, false, &answer, &payload), Some(None));
        assert_eq!(reply(true, false, &packet, &payload), None, "one's own request is no reply");
        assert_eq!(reply(true, false, &answer, &[8; PAYLOAD]), None, "another's reply");
        let mut with_header = vec![0; 20];
        (with_header[0], with_header[8]) = (0x45, 61);
        with_header.extend(&answer);
        assert_eq!(reply(true, true, &with_header, &payload), Some(Some(61)));
        for cut in 0..with_header.len() {
            assert_eq!(reply(true, true, &with_header[..cut], &payload), None);
        }
    }
}
