//! How a scrape or a probe presents itself: basic authentication, an authorization header, a bearer token.

use base64::Engine;
use kit::{secret::Secret, yaml::MapReader};
use std::path::{Path, PathBuf};

/// A secret in the file itself, or the path of one that holds it and is read anew at every scrape.
#[derive(Debug, Clone)]
pub(crate) enum Credential {
    Given(Secret),
    File(PathBuf),
}

impl PartialEq for Credential {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Credential::Given(a), Credential::Given(b)) => a.matches(b.expose()),
            (Credential::File(a), Credential::File(b)) => a == b,
            _ => false,
        }
    }
}

impl Credential {
    /// The secret; its file is read anew.
    ///
    /// # Errors
    /// When the file cannot be read; the message names it.
    pub(crate) fn secret(&self) -> Result<Secret, String> {
        match self {
            Credential::Given(secret) => Ok(secret.clone()),
            Credential::File(path) => match std::fs::read_to_string(path) {
                Ok(text) => Ok(Secret::new(text.trim())),
                Err(e) => Err(format!("cannot read {}: {e}", path.display())),
            },
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Auth {
    Basic {
        user: Credential,
        password: Option<Credential>,
    },
    /// `Authorization: SCHEME CREDENTIAL`
    Header {
        scheme: String,
        credential: Credential,
    },
}

impl Auth {
    /// Whether a file is read anew each time.
    pub(crate) fn changes(&self) -> bool {
        let file = |c: &Credential| matches!(c, Credential::File(_));
        match self {
            Auth::Basic { user, password } => file(user) || password.as_ref().is_some_and(file),
            Auth::Header { credential, .. } => file(credential),
        }
    }

    /// Adds the header to a request.
    ///
    /// # Errors
    /// When a file of credentials cannot be read; the message names it.
    pub(crate) fn apply(&self, request: reqwest::RequestBuilder) -> Result<reqwest::RequestBuilder, String> {
        Ok(request.header(http::header::AUTHORIZATION, self.header()?))
    }

    /// The value of the header `Authorization`.
    ///
    /// # Errors
    /// As for [`Auth::apply`].
    pub(crate) fn header(&self) -> Result<http::HeaderValue, String> {
        let text = match self {
            Auth::Basic { user, password } => {
                let (user, password) =
                    (user.secret()?, password.as_ref().map(Credential::secret).transpose()?);
                let pair = format!("{}:{}", user.expose(), password.as_ref().map_or("", Secret::expose));
                format!("Basic {}", base64::prelude::BASE64_STANDARD.encode(pair))
            }
            Auth::Header { scheme, credential } => format!("{scheme} {}", credential.secret()?.expose()),
        };
        let mut value = http::HeaderValue::from_str(&text)
            .map_err(|_| "the credential holds characters that no header may".to_owned())?;
        value.set_sensitive(true);
        Ok(value)
    }
}

/// A value or the file that holds it; both at once is a problem.
pub(crate) fn credential(
    r: &mut MapReader<'_>,
    given: &'static str,
    file: &'static str,
    dir: &Path,
) -> Option<Credential> {
    let (text, path) = (r.text(given), r.text(file));
    if text.is_some()
        && path.is_some()
        && let Some(node) = r.node(file)
    {
        r.problem(node, format!("only one of `{given}` and `{file}` can be set"));
    }
    text.map(|t| Credential::Given(Secret::new(t))).or(path.map(|p| Credential::File(dir.join(p))))
}

/// Reads the fields of a job or a probe that say how it presents itself. `other`: what says so too, and is read
/// elsewhere.
pub(crate) fn read(r: &mut MapReader<'_>, dir: &Path, other: Option<&'static str>) -> Option<Auth> {
    let mut found = Vec::new();
    if let Some(mut b) = r.child("basic_auth") {
        let user = credential(&mut b, "username", "username_file", dir);
        let password = credential(&mut b, "password", "password_file", dir);
        b.finish();
        let user = user.unwrap_or_else(|| Credential::Given(Secret::new("")));
        found.push(("basic_auth", Some(Auth::Basic { user, password })));
    }
    if let Some(mut a) = r.child("authorization") {
        let scheme = a.text("type").unwrap_or("Bearer").trim().to_owned();
        if scheme.eq_ignore_ascii_case("basic")
            && let Some(node) = a.node("type")
        {
            a.problem(node, "authorization type `basic` belongs into `basic_auth`");
        }
        let credential = credential(&mut a, "credentials", "credentials_file", dir);
        a.finish();
        found.push(("authorization", credential.map(|credential| Auth::Header { scheme, credential })));
    }
    if let Some(credential) = credential(r, "bearer_token", "bearer_token_file", dir) {
        found.push(("bearer_token", Some(Auth::Header { scheme: "Bearer".to_owned(), credential })));
    }
    let names: Vec<&str> = found.iter().map(|(name, _)| *name).chain(other).collect();
    if names.len() > 1 {
        let node = r.node;
        r.problem(node, format!("only one of {} can be set", names.join(", ")));
    }
    found.into_iter().find_map(|(_, auth)| auth)
}
