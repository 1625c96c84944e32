//! The fields that a kind of probe has of its own.

use super::{
    super::{
        condition::Condition,
        dialogue::Step,
        dns::DnsProbe,
        grpc::GrpcProbe,
        heartbeat::HeartbeatProbe,
        http::{HttpProbe, Place, REDIRECTS, usual_headers},
        icmp::IcmpProbe,
        net::{Endpoint, Host},
        tcp::{StartTls, TcpProbe, TlsProbe},
        websocket::WebSocketProbe,
    },
    Context, time,
};
use crate::scrape::config::auth;
use bytes::Bytes;
use hickory_proto::rr::{Name, RecordType};
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use kit::yaml::{MapReader, Node};
use std::{str::FromStr, time::Duration};
use url::Url;

/// How much later than its interval a heartbeat may come, where the file does not say.
const GRACE: Duration = Duration::from_mins(1);

/// More redirects than any browser follows are a mistake.
const MOST_REDIRECTS: u64 = 50;

/// What was read of a probe before its kind's own fields.
pub(super) struct Reading<'a> {
    pub(super) name: &'a str,
    pub(super) url: &'a str,
    pub(super) interval: Duration,
    pub(super) conditions: &'a [Condition],
}

fn problem_at(r: &mut MapReader<'_>, field: &'static str, what: String, help: &str) {
    let node = r.node(field).unwrap_or(r.node);
    let problem = r.doc.problem(node, what);
    r.problems.push(problem.with_help(help));
}

impl Reading<'_> {
    pub(super) fn http(&self, r: &mut MapReader<'_>, context: &mut Context<'_>) -> Option<HttpProbe> {
        let place = self.place(r, ["http", "https"], "HTTP", "http://example.com:8080/health");
        let method = r
            .parsed("method", |text| match Method::from_bytes(text.to_ascii_uppercase().as_bytes()) {
                Ok(method) if method != Method::CONNECT => Ok(method),
                _ => Err(format!("{text:?} is no method: write GET, HEAD, POST, ...")),
            })
            .unwrap_or(Method::GET);
        let mut headers = read_headers(r);
        let body = r.text("body").map(|text| Bytes::from(text.to_owned())).unwrap_or_default();
        let follow_redirects = r.bool("follow_redirects").unwrap_or(true);
        let most = r.parsed("max_redirects", |text| match text.parse::<u64>() {
            Ok(n) if n <= MOST_REDIRECTS => Ok(n),
            _ => Err(format!("{text:?} is not a whole number up to {MOST_REDIRECTS}")),
        });
        let max_redirects = most.and_then(|n| u32::try_from(n).ok()).unwrap_or(REDIRECTS);
        let auth = read_auth(r, &headers, context);
        let tls = context.shelf.read(r, context.dir, None);
        let place = place?;
        usual_headers(&mut headers, &place.authority);
        headers.entry(header::ACCEPT).or_insert(HeaderValue::from_static("*/*"));
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        let keep_body = self.conditions.iter().any(Condition::needs_body);
        Some(HttpProbe {
            method,
            headers,
            body,
            follow_redirects,
            max_redirects,
            auth,
            tls,
            place,
            keep_body,
        })
    }

    pub(super) fn websocket(
        &self,
        r: &mut MapReader<'_>,
        context: &mut Context<'_>,
    ) -> Option<WebSocketProbe> {
        let place = self.place(r, ["ws", "wss"], "WebSocket", "wss://example.com/live");
        let headers = read_headers(r);
        let auth = read_auth(r, &headers, context);
        let tls = context.shelf.read(r, context.dir, None);
        let steps = read_steps(r);
        Some(WebSocketProbe { place: place?, headers, auth, tls, steps })
    }

    pub(super) fn tcp(&self, r: &mut MapReader<'_>) -> Option<TcpProbe> {
        let endpoint = self.endpoint(r, &["tcp"], None);
        let steps = read_steps(r);
        Some(TcpProbe { endpoint: endpoint?, steps })
    }

    pub(super) fn tls(&self, r: &mut MapReader<'_>, context: &mut Context<'_>) -> Option<TlsProbe> {
        let endpoint = self.endpoint(r, &["tls", "tcp"], None);
        let tls = context.shelf.read(r, context.dir, None);
        let starttls = r.parsed("starttls", |text| {
            let known = StartTls::NAMES.iter().find(|(name, _)| *name == text);
            known.map(|(_, protocol)| *protocol).ok_or_else(|| {
                let names: Vec<&str> = StartTls::NAMES.iter().map(|(name, _)| *name).collect();
                format!("{text:?} is not known: there are {}", names.join(", "))
            })
        });
        let steps = read_steps(r);
        Some(TlsProbe { endpoint: endpoint?, tls, starttls, steps })
    }

    pub(super) fn dns(&self, r: &mut MapReader<'_>) -> Option<DnsProbe> {
        let server = self.endpoint(r, &["dns"], Some(53));
        r.required("query_name");
        let name = r.parsed("query_name", |text| {
            let mut name = Name::from_str(text).map_err(|_| format!("{text:?} is not a name in DNS"))?;
            // Nothing is searched: what is asked is what stands there.
            name.set_fqdn(true);
            Ok::<_, String>(name)
        });
        let kind = r
            .parsed("query_type", |text| {
                RecordType::from_str(&text.to_ascii_uppercase())
                    .map_err(|_| format!("{text:?} is not a record type: write A, AAAA, CNAME, MX, TXT, ..."))
            })
            .unwrap_or(RecordType::A);
        let tcp = r.parsed("transport_protocol", |text| match text {
            "udp" => Ok(false),
            "tcp" => Ok(true),
            other => Err(format!("{other:?} is neither udp nor tcp")),
        });
        let recursion = r.bool("recursion_desired").unwrap_or(true);
        Some(DnsProbe { server: server?, name: name?, kind, tcp: tcp.unwrap_or(false), recursion })
    }

    pub(super) fn icmp(&self, r: &mut MapReader<'_>) -> Option<IcmpProbe> {
        let host = Host::parse(self.url.strip_prefix("icmp://").unwrap_or(self.url));
        if host.is_none() && !self.url.is_empty() {
            problem_at(
                r,
                "url",
                format!("{:?} is not a host to ping", self.url),
                "write it like example.com or 192.0.2.1",
            );
        }
        Some(IcmpProbe { host: host? })
    }

    pub(super) fn grpc(&self, r: &mut MapReader<'_>, context: &mut Context<'_>) -> Option<GrpcProbe> {
        let secure = self.url.starts_with("grpcs://");
        let endpoint = self.endpoint(r, &["grpc", "grpcs"], None);
        if !secure
            && endpoint.is_some()
            && let Some(node) = r.node("tls_config")
        {
            let problem = r.doc.problem(node, "`tls_config` without TLS");
            r.problems.push(problem.with_help("write the url like grpcs://example.com:443"));
        }
        let tls = context.shelf.read(r, context.dir, Some(b"h2"));
        let service = r.text("grpc_service").unwrap_or_default().to_owned();
        Some(GrpcProbe { endpoint: endpoint?, tls: secure.then_some(tls), service })
    }

    pub(super) fn heartbeat(
        &self,
        r: &mut MapReader<'_>,
        context: &mut Context<'_>,
    ) -> Option<HeartbeatProbe> {
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if !self.name.chars().all(fits) {
            problem_at(
                r,
                "name",
                format!("the name {:?} of a heartbeat is part of its address", self.name),
                "write it with letters, digits, `-`, `_` and `.` only",
            );
        }
        let token = auth::credential(r, "token", "token_file", context.dir);
        match &token {
            None => {
                let node = r.node;
                let problem = r.doc.problem(node, "missing field `token` or `token_file`");
                r.problems.push(
                    problem.with_help("whoever calls in shows it: make one with `openssl rand -hex 32`"),
                );
            }
            Some(auth::Credential::Given(secret)) if secret.expose().len() < 16 => {
                problem_at(
                    r,
                    "token",
                    "a token has 16 characters or more".to_owned(),
                    "make one with `openssl rand -hex 32`",
                );
            }
            Some(_) => {}
        }
        let grace = time(r, "grace").unwrap_or(GRACE);
        Some(HeartbeatProbe { name: self.name.to_owned(), token: token?, interval: self.interval, grace })
    }

    /// The address of a kind that speaks HTTP at first.
    fn place(&self, r: &mut MapReader<'_>, schemes: [&str; 2], what: &str, example: &str) -> Option<Place> {
        if self.url.is_empty() {
            return None;
        }
        let url = Url::parse(self.url).ok().filter(|u| schemes.contains(&u.scheme()));
        if url.as_ref().is_some_and(|u| !u.username().is_empty() || u.password().is_some()) {
            let node = r.node("url").unwrap_or(r.node);
            // The line holds a secret, and so does the address.
            let mut problem =
                r.doc.problem(node, "the address must hold no credentials: it is shown as a label");
            problem.source.clear();
            r.problems.push(problem.with_help("write them into `basic_auth`"));
            return None;
        }
        let place = url.and_then(Place::new);
        if place.is_none() {
            problem_at(
                r,
                "url",
                format!("{:?} is not an address to ask by {what}", self.url),
                &format!("write it like {example}"),
            );
        }
        place
    }

    /// `host:port`, perhaps behind one of the schemes.
    fn endpoint(&self, r: &mut MapReader<'_>, schemes: &[&str], usual: Option<u16>) -> Option<Endpoint> {
        let bare = schemes
            .iter()
            .find_map(|scheme| self.url.strip_prefix(scheme)?.strip_prefix("://"))
            .unwrap_or(self.url);
        let endpoint = Endpoint::parse(bare, usual);
        if endpoint.is_none() && !self.url.is_empty() {
            let scheme = schemes.first().copied().unwrap_or("tcp");
            problem_at(
                r,
                "url",
                format!("{:?} is not host:port", self.url),
                &format!(
                    "write it like example.com:{0} or {scheme}://example.com:{0}",
                    usual.unwrap_or(5432)
                ),
            );
        }
        endpoint
    }
}

fn read_headers(r: &mut MapReader<'_>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (key, value) in r.text_map("headers") {
        let (name, text) = (key.text().unwrap_or(""), value.text().unwrap_or(""));
        let Ok(name) = HeaderName::from_str(name) else {
            r.problem(key, format!("{name:?} is not the name of a header"));
            continue;
        };
        if matches!(name, header::CONTENT_LENGTH | header::TRANSFER_ENCODING | header::CONNECTION) {
            r.problem(key, format!("the header {name} is set by what is sent"));
            continue;
        }
        match HeaderValue::from_str(text) {
            Ok(mut value) => {
                value.set_sensitive(matches!(name, header::AUTHORIZATION | header::COOKIE));
                headers.append(name, value);
            }
            Err(_) => r.problem(value, format!("the header {name} holds characters that no header may")),
        }
    }
    headers
}

fn read_auth(r: &mut MapReader<'_>, headers: &HeaderMap, context: &Context<'_>) -> Option<auth::Auth> {
    let auth = auth::read(r, context.dir, None);
    if auth.is_some()
        && headers.contains_key(header::AUTHORIZATION)
        && let Some(node) = r.node("headers")
    {
        r.problem(node, "the header authorization is set twice: here, and by the probe's credentials");
    }
    auth
}

/// `query_response`, as blackbox_exporter names it.
fn read_steps(r: &mut MapReader<'_>) -> Vec<Step> {
    let mut steps = Vec::new();
    for node in r.list("query_response") {
        steps.extend(read_step(r, node));
    }
    steps
}

fn read_step(r: &mut MapReader<'_>, node: &Node) -> Option<Step> {
    let mut r = r.item(node)?;
    let expect = match r.node("expect") {
        None => None,
        Some(at) => {
            let pattern = at.text().unwrap_or("");
            match model::matcher::regex(pattern) {
                Ok(regex) => Some((pattern.to_owned(), regex)),
                Err(e) => {
                    r.problem(at, e.to_string());
                    None
                }
            }
        }
    };
    let send = r.text("send").map(str::to_owned);
    if r.node("expect").is_none() && send.is_none() {
        let node = r.node;
        r.problem(node, "a step expects something, sends something, or both");
    }
    r.finish();
    Some(Step { expect, send })
}
