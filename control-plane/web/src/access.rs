//! Who may do what.
//!
//! On loopback without a tokens file everything is open, but only to requests whose `Host` is loopback too, so
//! that no web page can reach in through a name of its own. Beyond loopback without tokens, which has to be asked
//! for in as many words, everything is open to everybody. Otherwise a bearer token or a console session carries
//! a [`Role`]; services present `SERVICE_AUTH_TOKEN`.

use kit::{
    http::{ApiError, ServiceAuth},
    problem::Problems,
    secret::Secret,
    yaml::Document,
};
use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    sync::{Mutex, PoisonError},
};

/// What a route needs. The order is that of power: an operator may all that a viewer may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Nobody in particular.
    Open,
    /// Reads.
    Viewer,
    /// Silences, acknowledges, reloads.
    Operator,
    /// Deletes, deploys, resolves money.
    Admin,
}

impl Role {
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Open => "open",
            Role::Viewer => "viewer",
            Role::Operator => "operator",
            Role::Admin => "admin",
        }
    }

    fn parse(text: &str) -> Result<Role, String> {
        [Role::Viewer, Role::Operator, Role::Admin]
            .into_iter()
            .find(|r| r.as_str() == text)
            .ok_or_else(|| format!("{text:?} is no role: write viewer, operator or admin"))
    }
}

/// What a route needs: a person's role, a service, or a token of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    Role(Role),
    /// A service of the platform (or an admin).
    Service,
    /// Whoever brings samples: a service of the platform, or an operator.
    Push,
    /// The token of what the path names, which the handler compares. It is needed where access is open too, and no
    /// role stands in for it.
    OwnToken,
}

/// Who a request comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    pub name: String,
    pub role: Role,
}

impl Identity {
    /// Somebody of whom nothing is known.
    pub(crate) fn nobody() -> Identity {
        Identity { name: "anyone".to_owned(), role: Role::Open }
    }
}

/// A token of the tokens file.
#[derive(Debug, Clone)]
struct Token {
    name: String,
    secret: Secret,
    role: Role,
}

/// The name of the console's cookie.
pub const SESSION_COOKIE: &str = "vigie_session";

/// How long a console session lasts.
pub(crate) const SESSION_SECONDS: i64 = 12 * 3600;

/// Sessions at the same time; the oldest goes first.
const MOST_SESSIONS: usize = 1000;

#[derive(Debug, Clone)]
struct Session {
    identity: Identity,
    until: i64,
}

/// To whom everything is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Openness {
    /// To nobody: there is a tokens file.
    Closed,
    /// To whoever asks this machine by its own name: Vigie listens on loopback.
    Local,
    /// To everybody who reaches it: somebody said so.
    Everybody,
}

/// The rules of access.
#[derive(Debug)]
pub struct Access {
    open: Openness,
    tokens: Vec<Token>,
    services: ServiceAuth,
    sessions: Mutex<BTreeMap<String, Session>>,
}

/// Why Vigie refuses to listen.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{address} can be reached from other machines and VIGIE_TOKENS_FILE is not set: set it, listen on 127.0.0.1, or say --insecure-listen-without-tokens"
)]
pub struct Exposed {
    pub address: SocketAddr,
}

impl Access {
    /// Decides from the listening address whether access is open. `tokens` is the text of the tokens file.
    ///
    /// # Errors
    /// When the address is not loopback and there are no tokens, unless `insecure` says so in as many words.
    pub fn new(
        address: SocketAddr,
        tokens: Option<TokensFile>,
        service_token: Option<Secret>,
        insecure: bool,
    ) -> Result<Access, Exposed> {
        let loopback = address.ip().is_loopback();
        if !loopback && tokens.is_none() && !insecure {
            return Err(Exposed { address });
        }
        let open = match (&tokens, loopback) {
            (Some(_), _) => Openness::Closed,
            (None, true) => Openness::Local,
            (None, false) => Openness::Everybody,
        };
        Ok(Access {
            open,
            tokens: tokens.map(|t| t.0).unwrap_or_default(),
            services: ServiceAuth::new(service_token),
            sessions: Mutex::default(),
        })
    }

    pub fn is_open(&self) -> bool {
        self.open != Openness::Closed
    }

    /// Lets a request in, or says why not.
    ///
    /// # Errors
    /// 401 without credentials, 403 with too weak ones, 421 for a strange host where access is open to this
    /// machine only.
    pub fn check(
        &self,
        need: Need,
        uri: &http::Uri,
        headers: &http::HeaderMap,
        now: i64,
    ) -> Result<Identity, ApiError> {
        let anyone = Identity::nobody();
        if matches!(need, Need::Role(Role::Open) | Need::OwnToken) {
            return Ok(anyone);
        }
        match self.open {
            Openness::Local if !asks_this_machine(uri, headers) => return Err(strange_host()),
            Openness::Local | Openness::Everybody => return Ok(Identity { role: Role::Admin, ..anyone }),
            Openness::Closed => {}
        }
        let Some(identity) = self.identify(headers, now) else {
            if matches!(need, Need::Service | Need::Push) {
                let caller = self.services.check(headers)?;
                // Without a token for services nobody is one: beyond loopback that is never open.
                return if self.services.is_open() {
                    Err(ApiError::unauthorized("SERVICE_AUTH_TOKEN is not set here, so no service is let in"))
                } else {
                    Ok(Identity { name: caller.service, role: Role::Open })
                };
            }
            return Err(ApiError::unauthorized("present a bearer token of VIGIE_TOKENS_FILE, or log in"));
        };
        let enough = match need {
            Need::Role(role) => identity.role >= role,
            Need::Service => identity.role == Role::Admin,
            Need::Push => identity.role >= Role::Operator,
            Need::OwnToken => true,
        };
        if enough {
            return Ok(identity);
        }
        let wanted = match need {
            Need::Role(role) => role.as_str(),
            Need::Service | Need::OwnToken => "service",
            Need::Push => "operator",
        };
        Err(ApiError::forbidden(format!(
            "this needs the role {wanted}; {} is {}",
            identity.name,
            identity.role.as_str()
        )))
    }

    /// The person whose token or session a request carries.
    pub(crate) fn identify(&self, headers: &http::HeaderMap, now: i64) -> Option<Identity> {
        if let Some(given) = ServiceAuth::bearer(headers) {
            return self.by_token(given);
        }
        let id = session_id(headers)?;
        let sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.get(&id).filter(|s| s.until > now).map(|s| s.identity.clone())
    }

    /// Whom a token belongs to. Every token is compared, so that time tells nothing.
    fn by_token(&self, given: &str) -> Option<Identity> {
        let mut found = None;
        for token in &self.tokens {
            if token.secret.matches(given) {
                found = Some(Identity { name: token.name.clone(), role: token.role });
            }
        }
        found
    }

    /// Opens a session for whoever has this token. Returns the cookie's value, and who it is.
    pub fn log_in(&self, token: &str, now: i64) -> Option<(String, Identity)> {
        let identity = self.by_token(token)?;
        let id = format!("{}{}", uuid::Uuid::new_v4().simple(), uuid::Uuid::new_v4().simple());
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.retain(|_, s| s.until > now);
        if sessions.len() >= MOST_SESSIONS {
            let oldest = sessions.iter().min_by_key(|(_, s)| s.until).map(|(id, _)| id.clone());
            oldest.and_then(|id| sessions.remove(&id));
        }
        sessions
            .insert(id.clone(), Session { identity: identity.clone(), until: now + SESSION_SECONDS * 1000 });
        Some((id, identity))
    }

    /// Ends the session that a request carries. Returns whose it was.
    pub fn log_out(&self, headers: &http::HeaderMap) -> Option<Identity> {
        let id = session_id(headers)?;
        let ended = self.sessions.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
        ended.map(|session| session.identity)
    }
}

fn session_id(headers: &http::HeaderMap) -> Option<String> {
    headers
        .get_all(http::header::COOKIE)
        .iter()
        .filter_map(|v| v.to_str().ok())
        .flat_map(|v| v.split(';'))
        .find_map(|pair| {
            let (name, value) = pair.trim().split_once('=')?;
            (name == SESSION_COOKIE).then(|| value.to_owned())
        })
}

/// Whether the request was made to this machine by its own name. Without any name it comes from no browser.
fn asks_this_machine(uri: &http::Uri, headers: &http::HeaderMap) -> bool {
    let named = headers.get(http::header::HOST).map(|host| host.to_str().unwrap_or(""));
    // HTTP/2 has the name in the address. Where both are given, both must be fine.
    [named, uri.authority().map(http::uri::Authority::as_str)].into_iter().flatten().all(is_local)
}

fn is_local(host: &str) -> bool {
    let name = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((name, port)) if port.is_empty() || port.starts_with(':') => name,
        Some(_) => return false,
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    name.eq_ignore_ascii_case("localhost")
        || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback() || ip.is_unspecified())
}

fn strange_host() -> ApiError {
    ApiError::new(
        http::StatusCode::MISDIRECTED_REQUEST,
        "strange_host",
        "access is open here, so only requests to localhost are answered; set VIGIE_TOKENS_FILE to use other names",
    )
}

/// The tokens file, read.
#[derive(Debug, Clone)]
pub struct TokensFile(Vec<Token>);

impl TokensFile {
    /// Reads `tokens: [{name, token, role}]`.
    ///
    /// # Errors
    /// Every problem of the file; none of them shows a token.
    pub fn parse(file: &str, text: &str) -> Result<TokensFile, Problems> {
        let doc = Document::parse(file, text)?;
        let mut problems = Problems::default();
        let mut tokens = Vec::new();
        if let Some(mut root) = doc.reader(&mut problems) {
            for item in root.list("tokens") {
                let Some(mut r) = root.item(item) else { continue };
                let name = r.required_text("name").map(str::to_owned);
                r.required("role");
                let role = r.parsed("role", Role::parse);
                let token = r.required_text("token");
                if token.is_some_and(|t| t.len() < 16) {
                    r.problem(
                        item,
                        "a token has 16 characters or more: make one with `openssl rand -hex 32`",
                    );
                }
                let secret = token.map(Secret::new);
                r.finish();
                if let (Some(name), Some(role), Some(secret)) = (name, role, secret) {
                    tokens.push(Token { name, secret, role });
                }
            }
            root.finish();
        }
        // Problems show the line they are on, which holds a secret here.
        for problem in &mut problems.0 {
            problem.source.clear();
        }
        problems.into_result(TokensFile(tokens))
    }
}

#[cfg(test)]
mod tests;
