//! The home page and what it can show.

use super::{Locale, Texts};
use askama::Template;
use serde::Deserialize;

/// What the tutor answered, as ai sends it; what the page does not show is left out.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Reply {
    pub(crate) content: String,
    #[serde(default)]
    pub(crate) corrections: Vec<Correction>,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Correction {
    pub(crate) original: String,
    pub(crate) corrected: String,
    pub(crate) explanation: String,
}

/// What came of sending the form.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// It was not sent yet.
    None,
    Answered(Reply),
    /// A sentence for the visitor.
    Failed(&'static str),
}

/// What the form holds.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Choice {
    #[serde(default)]
    pub(crate) message: String,
    #[serde(default)]
    pub(crate) language: String,
    #[serde(default)]
    pub(crate) level: String,
    #[serde(default)]
    pub(crate) mode: String,
}

impl Choice {
    /// What the form begins with: the visitor learns the other language.
    pub(crate) fn fresh(locale: Locale) -> Self {
        let language = match locale {
            Locale::Fr => "en",
            Locale::En => "fr",
        };
        Choice {
            message: String::new(),
            language: language.to_owned(),
            level: "beginner".to_owned(),
            mode: "tutor".to_owned(),
        }
    }
}

/// The page.
#[derive(Debug, Template)]
#[template(path = "home.html")]
pub(crate) struct Home {
    pub(crate) locale: &'static str,
    pub(crate) t: &'static Texts,
    pub(crate) choice: Choice,
    pub(crate) outcome: Outcome,
}

impl Home {
    fn failed(&self) -> bool {
        matches!(self.outcome, Outcome::Failed(_))
    }
}
