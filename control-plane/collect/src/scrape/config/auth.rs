//! How a scrape presents itself: basic authentication, an authorization header, a bearer token.

use kit::{secret::Secret, yaml::MapReader};
use std::{
    io,
    path::{Path, PathBuf},
};

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
    fn read(&self) -> io::Result<Secret> {
        match self {
            Credential::Given(secret) => Ok(secret.clone()),
            Credential::File(path) => Ok(Secret::new(std::fs::read_to_string(path)?.trim())),
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
    /// Adds the header to a request.
    ///
    /// # Errors
    /// When a file of credentials cannot be read; the message names it.
    pub(crate) fn apply(&self, request: reqwest::RequestBuilder) -> Result<reqwest::RequestBuilder, String> {
        let read = |c: &Credential| {
            c.read().map_err(|e| match c {
                Credential::File(path) => format!("cannot read {}: {e}", path.display()),
                Credential::Given(_) => e.to_string(),
            })
        };
        match self {
            Auth::Basic { user, password } => {
                let (user, password) = (read(user)?, password.as_ref().map(read).transpose()?);
                Ok(request.basic_auth(user.expose(), password.as_ref().map(Secret::expose)))
            }
            Auth::Header { scheme, credential } => {
                let text = format!("{scheme} {}", read(credential)?.expose());
                let mut value = http::HeaderValue::from_str(&text)
                    .map_err(|_| "the credential holds characters that no header may".to_owned())?;
                value.set_sensitive(true);
                Ok(request.header(http::header::AUTHORIZATION, value))
            }
        }
    }
}

/// A value or the file that holds it; both at once is a problem.
fn credential(
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

/// Reads the fields of a job that say how it presents itself.
pub(crate) fn read(r: &mut MapReader<'_>, dir: &Path) -> Option<Auth> {
    let mut found = Vec::new();
    if let Some(mut b) = r.child("basic_auth") {
        let user = credential(&mut b, "username", "username_file", dir);
        let password = credential(&mut b, "password", "password_file", dir);
        b.finish();
        let user = user.unwrap_or_else(|| Credential::Given(Secret::new("")));
        found.push(("basic_auth", Auth::Basic { user, password }));
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
        if let Some(credential) = credential {
            found.push(("authorization", Auth::Header { scheme, credential }));
        }
    }
    if let Some(credential) = credential(r, "bearer_token", "bearer_token_file", dir) {
        found.push(("bearer_token", Auth::Header { scheme: "Bearer".to_owned(), credential }));
    }
    if found.len() > 1 {
        let names: Vec<&str> = found.iter().map(|(name, _)| *name).collect();
        let node = r.node;
        r.problem(node, format!("only one of {} can be set", names.join(", ")));
    }
    found.into_iter().next().map(|(_, auth)| auth)
}
