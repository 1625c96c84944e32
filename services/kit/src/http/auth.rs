//! Service authentication: `Authorization: Bearer SERVICE_AUTH_TOKEN`, with `x-service-name`.

use super::ApiError;
use crate::secret::Secret;
use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, request::Parts},
};

/// What a service checks its callers against. Without a token every caller is let in: that is development on
/// loopback, and services refuse to listen beyond it without one.
#[derive(Debug, Clone, Default)]
pub struct ServiceAuth {
    token: Option<Secret>,
}

impl ServiceAuth {
    pub fn new(token: Option<Secret>) -> Self {
        ServiceAuth { token }
    }

    pub fn is_open(&self) -> bool {
        self.token.is_none()
    }

    /// The bearer token that a request carries.
    pub fn bearer(headers: &HeaderMap) -> Option<&str> {
        let value = headers.get(axum::http::header::AUTHORIZATION)?.to_str().ok()?;
        let (scheme, token) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
    }

    /// Who calls.
    ///
    /// # Errors
    /// 401 when a token is wanted and the request carries none or another.
    pub fn check(&self, headers: &HeaderMap) -> Result<Caller, ApiError> {
        let service = headers
            .get("x-service-name")
            .and_then(|v| v.to_str().ok())
            .filter(|name| name.len() <= 64)
            .unwrap_or("unknown")
            .to_owned();
        match &self.token {
            None => Ok(Caller { service }),
            Some(token) if Self::bearer(headers).is_some_and(|given| token.matches(given)) => {
                Ok(Caller { service })
            }
            Some(_) => Err(ApiError::unauthorized("present SERVICE_AUTH_TOKEN as a bearer token")),
        }
    }
}

/// A caller that has shown the services' token. As an extractor it guards its route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// What the caller says it is, for logs; the token is common to all services.
    pub service: String,
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        match parts.extensions.get::<ServiceAuth>() {
            Some(auth) => auth.check(&parts.headers),
            None => Err(ApiError::unauthorized("this route has no authentication configured")),
        }
    }
}
