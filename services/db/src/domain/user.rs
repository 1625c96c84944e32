//! Users: what callers may write, and what is kept.

use super::seed::codes;
use crate::store::Body;
use serde::Deserialize;
use serde_json::{Value, json};

/// A user to be added.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct NewUser {
    email: String,
    first_name: String,
    last_name: String,
    learning_language: Option<String>,
}

/// What may be changed. `lastActive` is now when `active` is true.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct UserChange {
    email: Option<String>,
    first_name: Option<String>,
    last_name: Option<String>,
    learning_language: Option<String>,
    #[serde(default)]
    active: bool,
}

/// An address as it is stored and looked up: without space around it, in lower case.
///
/// # Errors
/// When it cannot be an address.
pub(crate) fn email(text: &str) -> Result<String, String> {
    let email = text.trim().to_lowercase();
    let sane = match email.split_once('@') {
        Some((local, domain)) => {
            !local.is_empty()
                && domain.contains('.')
                && !domain.starts_with('.')
                && !domain.ends_with('.')
                && !domain.contains('@')
        }
        None => false,
    };
    if sane && email.len() <= 254 && !email.chars().any(|c| c.is_whitespace() || c.is_control()) {
        Ok(email)
    } else {
        Err("email is not an address".to_owned())
    }
}

fn name(what: &str, text: &str) -> Result<String, String> {
    let name = text.trim();
    let length = name.chars().count();
    if !(1..=50).contains(&length) || name.chars().any(char::is_control) {
        return Err(format!("{what} must have 1 to 50 characters"));
    }
    Ok(name.to_owned())
}

fn language(code: &str) -> Result<String, String> {
    codes()
        .find(|c| *c == code)
        .map(str::to_owned)
        .ok_or_else(|| format!("learningLanguage must be one of {}", codes().collect::<Vec<_>>().join(", ")))
}

impl NewUser {
    /// # Errors
    /// A sentence about the field that is wrong.
    pub(crate) fn into_body(self, now_ms: i64) -> Result<Body, String> {
        let mut body = Body::new();
        body.insert("email".into(), json!(email(&self.email)?));
        body.insert("firstName".into(), json!(name("firstName", &self.first_name)?));
        body.insert("lastName".into(), json!(name("lastName", &self.last_name)?));
        if let Some(code) = &self.learning_language {
            body.insert("learningLanguage".into(), json!(language(code)?));
        }
        body.insert("status".into(), json!("active"));
        body.insert("createdAt".into(), json!(now_ms));
        body.insert("lastActive".into(), json!(now_ms));
        Ok(body)
    }
}

impl UserChange {
    /// # Errors
    /// A sentence about the field that is wrong.
    pub(crate) fn apply(&self, body: &mut Body, now_ms: i64) -> Result<(), String> {
        let mut set = |key: &str, value: Value| {
            body.insert(key.to_owned(), value);
        };
        if let Some(text) = &self.email {
            set("email", json!(email(text)?));
        }
        if let Some(text) = &self.first_name {
            set("firstName", json!(name("firstName", text)?));
        }
        if let Some(text) = &self.last_name {
            set("lastName", json!(name("lastName", text)?));
        }
        if let Some(code) = &self.learning_language {
            set("learningLanguage", json!(language(code)?));
        }
        if self.active {
            set("lastActive", json!(now_ms));
        }
        Ok(())
    }
}
