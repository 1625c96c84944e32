//! Reaching a host: looking it up and connecting, each step timed.

use super::{Found, Prober};
use std::{
    fmt,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    time::Duration,
};
use tokio::net::TcpStream;

/// Whom to reach.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Host {
    Ip(IpAddr),
    Name(String),
}

impl Host {
    /// An address, or a name; IPv6 with or without brackets.
    pub(crate) fn parse(text: &str) -> Option<Host> {
        let bare = text.strip_prefix('[').and_then(|t| t.strip_suffix(']'));
        if let Some(bare) = bare {
            return bare.parse::<Ipv6Addr>().ok().map(|ip| Host::Ip(ip.into()));
        }
        if let Ok(ip) = text.parse() {
            return Some(Host::Ip(ip));
        }
        let is_name = !text.is_empty()
            && text.len() <= 253
            && text.chars().all(|c| c.is_alphanumeric() || matches!(c, '.' | '-' | '_'));
        is_name.then(|| Host::Name(text.to_owned()))
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Host::Ip(IpAddr::V6(ip)) => write!(f, "[{ip}]"),
            Host::Ip(ip) => ip.fmt(f),
            Host::Name(name) => f.write_str(name),
        }
    }
}

/// A host and a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Endpoint {
    pub(crate) host: Host,
    pub(crate) port: u16,
}

impl Endpoint {
    /// `host:port`, or only a host where there is a `usual` port.
    pub(crate) fn parse(text: &str, usual: Option<u16>) -> Option<Endpoint> {
        if let Some(port) = usual
            && let Some(host) = Host::parse(text)
        {
            return Some(Endpoint { host, port });
        }
        let (host, port) = text.rsplit_once(':')?;
        // Without brackets, the last group of an IPv6 address looks like a port.
        if host.contains(':') && !host.starts_with('[') {
            return None;
        }
        Some(Endpoint { host: Host::parse(host)?, port: port.parse().ok()? })
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// A connection, and how long its steps took.
#[derive(Debug)]
pub(super) struct Connected {
    pub(super) stream: TcpStream,
    pub(super) resolve: Duration,
    pub(super) connect: Duration,
}

impl Prober {
    /// The addresses of a host, and how long it took to find them.
    pub(super) async fn look_up(
        &self,
        host: &Host,
        found: &mut Found,
    ) -> Result<(Vec<IpAddr>, Duration), String> {
        let begun = self.clock.elapsed();
        let addresses = match host {
            Host::Ip(ip) => vec![*ip],
            Host::Name(name) => {
                let all = self.resolver.look_up(name).await;
                all.map_err(|e| format!("{name} cannot be looked up: {e}"))?
            }
        };
        let took = self.clock.elapsed() - begun;
        found.set("probe_dns_lookup_time_seconds", took.as_secs_f64());
        if addresses.is_empty() {
            return Err(format!("{host} has no address"));
        }
        Ok((addresses, took))
    }

    /// Looks a host up and connects to the first address that answers.
    pub(super) async fn connect(&self, to: &Endpoint, found: &mut Found) -> Result<Connected, String> {
        let (addresses, resolve) = self.look_up(&to.host, found).await?;
        let begun = self.clock.elapsed();
        let mut last = None;
        for ip in addresses {
            match TcpStream::connect(SocketAddr::new(ip, to.port)).await {
                Ok(stream) => {
                    note_protocol(ip, found);
                    return Ok(Connected { stream, resolve, connect: self.clock.elapsed() - begun });
                }
                Err(e) => last = Some(e),
            }
        }
        Err(match last {
            Some(e) => format!("cannot connect to {to}: {e}"),
            None => format!("{} has no address", to.host),
        })
    }
}

/// By which protocol it was reached.
pub(super) fn note_protocol(ip: IpAddr, found: &mut Found) {
    found.set("probe_ip_protocol", if ip.is_ipv4() { 4.0 } else { 6.0 });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_a_host_and_a_port() {
        for (text, usual, expect) in [
            ("db:5432", None, Some("db:5432")),
            ("127.0.0.1:1", None, Some("127.0.0.1:1")),
            ("[::1]:53", None, Some("[::1]:53")),
            ("::1", Some(53), Some("[::1]:53")),
            ("dns.example", Some(53), Some("dns.example:53")),
            ("dns.example:5353", Some(53), Some("dns.example:5353")),
            ("::1:53", None, None),
            ("db", None, None),
            (":5432", None, None),
            ("db:99999", None, None),
            ("a/b:1", None, None),
        ] {
            let got = Endpoint::parse(text, usual).map(|e| e.to_string());
            assert_eq!(got.as_deref(), expect, "{text}");
        }
    }
}
