//! Through which proxy a request goes, if through any: `proxy_url`, `no_proxy`, `proxy_from_environment` and
//! `proxy_connect_header`.
//!
//! Who is asked directly is judged as Go's programs judge it, which is what these settings were written for: with
//! exceptions in force (`no_proxy`, or those of the environment) this machine is always one of them; with
//! `proxy_url` alone nobody is.

use super::{Credential, Place, bad_value, shown};
use http::{HeaderMap, HeaderName, HeaderValue};
use kit::{
    secret::Secret,
    yaml::{Kind, MapReader},
};
use std::{fmt, net::IpAddr, sync::Arc};
use url::{Host, Url};

/// The proxies of a job or a discovery. Their addresses may hold passwords: `Debug` leaves those out.
#[derive(Clone, PartialEq)]
pub(crate) struct Proxy {
    /// For `http` and `https`.
    by_scheme: [Option<Url>; 2],
    except: Option<Exceptions>,
    /// Sent with CONNECT only.
    connect: Vec<(HeaderName, Credential)>,
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [http, https] = self.by_scheme.each_ref().map(|url| url.as_ref().map(shown));
        f.debug_struct("Proxy")
            .field("http", &http)
            .field("https", &https)
            .field("except", &self.except)
            .field("connect", &self.connect)
            .finish()
    }
}

const SCHEMES: [&str; 2] = ["http", "https"];

/// The address of a proxy; what is wrong does not repeat it, as it may hold a password.
fn address(text: &str) -> Result<Url, String> {
    let bad = || "this is no address of a proxy: write it like http://proxy.example.com:3128".to_owned();
    let url = Url::parse(text).map_err(|_| bad())?;
    match url.scheme() {
        "http" | "https" if url.has_host() => Ok(url),
        scheme if scheme.starts_with("socks") => {
            Err(format!("the proxy scheme {scheme} is not supported: http or https"))
        }
        _ => Err(bad()),
    }
}

/// The same for a value of the environment, where the scheme is often left out.
fn loose_address(text: &str) -> Result<Url, String> {
    if text.contains("://") { address(text) } else { address(&format!("http://{text}")) }
}

/// Reads the fields of a job, a discovery or `oauth2`.
pub(super) fn read(r: &mut MapReader<'_>, place: Place<'_>) -> Option<Arc<Proxy>> {
    let given = r.node("proxy_url").filter(|n| n.text().is_none_or(|t| !t.is_empty()) && !n.is_null());
    let url = given.and_then(|node| {
        r.text("proxy_url").and_then(|text| address(text).map_err(|why| r.problem(node, why)).ok())
    });
    let except = r.text("no_proxy").filter(|t| !t.is_empty());
    let ambient = r.bool("proxy_from_environment").unwrap_or(false);
    let connect = read_connect(r);
    let mut clash = |name: &'static str, why: String| {
        let node = r.node(name).unwrap_or(r.node);
        r.problem(node, why);
    };
    if ambient && given.is_some() {
        clash("proxy_url", "only one of `proxy_url` and `proxy_from_environment` can be set".to_owned());
    }
    if ambient && except.is_some() {
        clash("no_proxy", "only one of `no_proxy` and `proxy_from_environment` can be set".to_owned());
    }
    if !ambient && given.is_none() {
        let needs = |name: &str| format!("`{name}` says nothing without `proxy_url`");
        if except.is_some() {
            clash("no_proxy", needs("no_proxy"));
        }
        if !connect.is_empty() {
            let why = needs("proxy_connect_header") + " or `proxy_from_environment`";
            clash("proxy_connect_header", why);
        }
    }
    if ambient {
        return from_values(r, place, connect);
    }
    let by_scheme = [Some(url.clone()?), url];
    Some(Arc::new(Proxy { by_scheme, except: except.map(Exceptions::parse), connect }))
}

/// What the values of the environment say. Neither proxy set: no proxy.
fn from_values(
    r: &mut MapReader<'_>,
    place: Place<'_>,
    connect: Vec<(HeaderName, Credential)>,
) -> Option<Arc<Proxy>> {
    let value = |name: &str| {
        let given = |name: &str| (place.values)(name).filter(|v| !v.is_empty());
        given(name).or_else(|| given(&name.to_ascii_lowercase()))
    };
    let by_scheme = ["HTTP_PROXY", "HTTPS_PROXY"].map(|name| {
        let parsed = loose_address(&value(name)?);
        let node = r.node("proxy_from_environment").unwrap_or(r.node);
        parsed.map_err(|why| r.problem(node, format!("{name}: {why}"))).ok()
    });
    let except = Exceptions::parse(&value("NO_PROXY").unwrap_or_default());
    let any = by_scheme.iter().any(Option::is_some);
    any.then(|| Arc::new(Proxy { by_scheme, except: Some(except), connect }))
}

fn read_connect(r: &mut MapReader<'_>) -> Vec<(HeaderName, Credential)> {
    let mut headers = Vec::new();
    let Some(node) = r.node("proxy_connect_header").filter(|n| !n.is_null()) else { return headers };
    let Kind::Map(entries) = &node.kind else {
        r.problem(node, "`proxy_connect_header` must map names to lists of values");
        return headers;
    };
    for (key, values) in entries {
        let text = key.text().unwrap_or("");
        let Ok(name) = text.parse::<HeaderName>() else {
            r.problem(key, format!("{text:?} is not a header's name"));
            continue;
        };
        let Kind::Seq(items) = &values.kind else {
            r.problem(values, format!("the header {text} must have a list of values"));
            continue;
        };
        for item in items {
            match item.text().filter(|t| HeaderValue::from_str(t).is_ok()) {
                Some(value) => headers.push((name.clone(), Credential::Given(Secret::new(value)))),
                None => bad_value(r, item),
            }
        }
    }
    headers
}

impl Proxy {
    /// The proxy for this address, `None`: it is asked directly.
    fn of(&self, url: &Url) -> Option<&Url> {
        let at = SCHEMES.iter().position(|s| *s == url.scheme())?;
        let proxy = self.by_scheme.get(at)?.as_ref()?;
        if self.except.as_ref().is_some_and(|e| e.hold(url)) { None } else { Some(proxy) }
    }

    /// Lets a client ask through it.
    ///
    /// # Errors
    /// When a header for CONNECT cannot be used.
    pub(super) fn install(
        self: &Arc<Self>,
        mut builder: reqwest::ClientBuilder,
    ) -> Result<reqwest::ClientBuilder, String> {
        for scheme in SCHEMES {
            let this = Arc::clone(self);
            let of = move |url: &Url| if url.scheme() == scheme { this.of(url).cloned() } else { None };
            let mut proxy = reqwest::Proxy::custom(of);
            // A request that is passed on without a tunnel would carry them to the target.
            if scheme == "https" && !self.connect.is_empty() {
                proxy = proxy.headers(self.connect_headers()?);
            }
            builder = builder.proxy(proxy);
        }
        Ok(builder)
    }

    fn connect_headers(&self) -> Result<HeaderMap, String> {
        let mut headers = HeaderMap::new();
        for (name, value) in &self.connect {
            let mut value = HeaderValue::from_str(value.secret()?.expose())
                .map_err(|_| format!("the header {name} holds characters that no header may"))?;
            value.set_sensitive(true);
            headers.append(name, value);
        }
        Ok(headers)
    }
}

/// Who is asked directly although there is a proxy.
#[derive(Debug, Clone, Default, PartialEq)]
struct Exceptions {
    all: bool,
    networks: Vec<(IpAddr, u8)>,
    addresses: Vec<(IpAddr, Option<u16>)>,
    names: Vec<Name>,
}

/// A host with the ones below it, or only those.
#[derive(Debug, Clone, PartialEq)]
struct Name {
    /// Begins with a dot.
    suffix: String,
    itself: bool,
    port: Option<u16>,
}

/// `HOST:PORT`, or a host alone. `None`: the port is none.
fn split(text: &str) -> Option<(&str, Option<u16>)> {
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once("]:")) {
        Some((host, port)) => (host, port),
        None => match text.rsplit_once(':') {
            Some((host, port)) if !host.contains(':') => (host, port),
            _ => return Some((text, None)),
        },
    };
    if port.is_empty() { Some((host, None)) } else { Some((host, Some(port.parse().ok()?))) }
}

/// An address and the bits of it that count.
fn network(text: &str) -> Option<(IpAddr, u8)> {
    let (ip, bits) = text.split_once('/')?;
    let (ip, bits) = (ip.parse::<IpAddr>().ok()?, bits.parse::<u8>().ok()?);
    let most = if ip.is_ipv4() { 32 } else { 128 };
    (bits <= most).then_some((ip, bits))
}

fn holds((network, bits): (IpAddr, u8), ip: IpAddr) -> bool {
    let same =
        |differ: u128, width: u32| differ.checked_shr(width.saturating_sub(bits.into())).unwrap_or(0) == 0;
    match (network, ip) {
        (IpAddr::V4(a), IpAddr::V4(b)) => same(u128::from(a.to_bits() ^ b.to_bits()), 32),
        (IpAddr::V6(a), IpAddr::V6(b)) => same(a.to_bits() ^ b.to_bits(), 128),
        _ => false,
    }
}

impl Exceptions {
    /// Reads a list with commas. What is no exception is left out, as elsewhere.
    fn parse(text: &str) -> Exceptions {
        let mut found = Exceptions::default();
        for entry in text.split(',').map(|e| e.trim().to_ascii_lowercase()) {
            if entry == "*" {
                found.all = true;
            } else if let Some(network) = network(&entry) {
                found.networks.push(network);
            } else if let Some((host, port)) = split(&entry) {
                let below = host.strip_prefix('*').filter(|h| h.starts_with('.')).unwrap_or(host);
                if let Ok(ip) = host.parse() {
                    found.addresses.push((ip, port));
                } else if !below.is_empty() {
                    let itself = !below.starts_with('.');
                    let suffix = if itself { format!(".{below}") } else { below.to_owned() };
                    found.names.push(Name { suffix, itself, port });
                }
            }
        }
        found
    }

    /// Whether this address is one of them.
    fn hold(&self, url: &Url) -> bool {
        let ip = match url.host() {
            Some(Host::Domain(_)) => None,
            Some(Host::Ipv4(ip)) => Some(IpAddr::V4(ip)),
            Some(Host::Ipv6(ip)) => Some(IpAddr::V6(ip).to_canonical()),
            None => return false,
        };
        let port_is = |port: Option<u16>| port.is_none() || port == url.port_or_known_default();
        let host = url.host_str().unwrap_or("");
        if self.all || host == "localhost" || ip.is_some_and(|ip| ip.is_loopback()) {
            return true;
        }
        if let Some(ip) = ip {
            return self.networks.iter().any(|n| holds(*n, ip))
                || self.addresses.iter().any(|(of, port)| of.to_canonical() == ip && port_is(*port));
        }
        self.names.iter().any(|name| {
            let is_it =
                host.ends_with(&name.suffix) || (name.itself && name.suffix.strip_prefix('.') == Some(host));
            is_it && port_is(name.port)
        })
    }
}

#[cfg(test)]
mod tests;
