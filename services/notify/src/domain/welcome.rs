//! The welcome mail.

use super::Mail;
use serde::Deserialize;

/// In which language a mail is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Language {
    #[default]
    Fr,
    En,
}

/// How somebody registered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Provider {
    Google,
    Facebook,
    Apple,
    Github,
    Email,
}

/// Whom to welcome.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Welcome {
    email: String,
    first_name: String,
    last_name: String,
    provider: Provider,
    #[serde(default)]
    language: Language,
    /// For the callers' own books.
    #[serde(rename = "userId")]
    _user_id: Option<String>,
}

impl Provider {
    fn name(self, language: Language) -> &'static str {
        match (self, language) {
            (Provider::Google, _) => "Google",
            (Provider::Facebook, _) => "Facebook",
            (Provider::Apple, _) => "Apple",
            (Provider::Github, _) => "GitHub",
            (Provider::Email, Language::Fr) => "votre adresse",
            (Provider::Email, Language::En) => "your address",
        }
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

impl Welcome {
    /// # Errors
    /// A sentence about the field that is wrong.
    pub(crate) fn into_mail(self, frontend: &str) -> Result<Mail, String> {
        let full = format!("{} {}", self.first_name.trim(), self.last_name.trim());
        let (name, full) = (self.first_name.trim(), full.trim());
        if name.is_empty() || full.chars().count() > 100 || full.chars().any(char::is_control) {
            return Err(
                "firstName and lastName must be there, and have at most 100 characters together".to_owned()
            );
        }
        let to = self.email.trim().parse().map_err(|_| "email is not an address".to_owned())?;
        let with = self.provider.name(self.language);
        let (subject, greeting, paragraphs, link) = match self.language {
            Language::Fr => (
                "Bienvenue chez Penpal AI",
                format!("Bonjour {name},"),
                [
                    format!("Votre compte ({full}) est ouvert avec {with}."),
                    "Votre essai dure trente jours, sans carte bancaire.".to_owned(),
                ],
                "Commencer une conversation",
            ),
            Language::En => (
                "Welcome to Penpal AI",
                format!("Hello {name},"),
                [
                    format!("Your account ({full}) is open with {with}."),
                    "Your trial lasts thirty days and needs no card.".to_owned(),
                ],
                "Begin a conversation",
            ),
        };
        let text = format!("{greeting}\n\n{}\n\n{link}: {frontend}\n", paragraphs.join("\n\n"));
        let body: String = paragraphs.iter().map(|p| format!("<p>{}</p>", escaped(p))).collect();
        let html = format!(
            "<p>{}</p>{body}<p><a href=\"{}\">{}</a></p>",
            escaped(&greeting),
            escaped(frontend),
            escaped(link)
        );
        Ok(Mail { to, subject: subject.to_owned(), text, html })
    }
}
