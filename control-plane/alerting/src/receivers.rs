//! Telling one integration: e-mail, Slack, webhook. Each file is one receiver and knows no other.

mod email;
mod slack;
mod webhook;

use crate::{
    config::{IntegrationKind, Text},
    core::Job,
    message::{Message, TemplateHost, template_data},
};
use model::Timestamp;
use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
    time::Duration,
};

/// How long one attempt may take.
const PATIENCE: Duration = Duration::from_secs(15);

/// A mail that was kept instead of being sent.
#[derive(Debug, Clone, PartialEq)]
pub struct CapturedMail {
    pub at: Timestamp,
    pub to: Vec<String>,
    pub subject: String,
    pub text: String,
}

/// Captured mails that are kept.
const MOST_CAPTURED: usize = 50;

/// Sends jobs. Holds what is reused between messages.
#[derive(Debug)]
pub struct Senders {
    http: reqwest::Client,
    slack: slack::Slack,
    external_url: String,
    captured: Mutex<VecDeque<CapturedMail>>,
}

impl Senders {
    /// # Errors
    /// When no HTTP client can be set up.
    pub fn new(external_url: &str) -> anyhow::Result<Self> {
        Ok(Senders {
            http: kit::client::build(PATIENCE)?,
            slack: slack::Slack::new(),
            external_url: external_url.to_owned(),
            captured: Mutex::default(),
        })
    }

    /// Delivers one message.
    ///
    /// # Errors
    /// A sentence without secrets: why the receiver did not take it.
    pub async fn send(&self, job: &Job, now: Timestamp) -> Result<(), String> {
        let message = Message::of(job, now, &self.external_url);
        let work = async {
            match &job.integration.kind {
                IntegrationKind::Email(config) => email::send(self, config, job, &message, now).await,
                IntegrationKind::Slack(config) => self.slack.send(self, config, job, &message, now).await,
                IntegrationKind::Webhook(config) => webhook::send(self, config, job, now).await,
            }
        };
        tokio::time::timeout(PATIENCE, work)
            .await
            .unwrap_or_else(|_| Err(format!("no answer within {} s", PATIENCE.as_secs())))
    }

    fn capture(&self, mail: CapturedMail) {
        let mut captured = self.captured.lock().unwrap_or_else(PoisonError::into_inner);
        if captured.len() >= MOST_CAPTURED {
            captured.pop_front();
        }
        captured.push_back(mail);
    }

    /// Mails that were kept instead of being sent, oldest first.
    pub fn captured(&self) -> Vec<CapturedMail> {
        self.captured.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    /// What a template of the file says about the job. A template that fails at this moment must not lose the
    /// page: then the built-in text is used, and says why.
    fn expand(&self, text: Option<&Text>, job: &Job, now: Timestamp) -> Option<Result<String, String>> {
        let text = text?;
        let host = TemplateHost { now, external_url: &self.external_url };
        let data = template_data(job, now, &self.external_url).to_value();
        Some(text.template.execute(&data, &host).map_err(|e| e.to_string()))
    }
}

/// `text` cut to `most` characters, with a sign that it was.
fn cut(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most.saturating_sub(1)).chain(['…']).collect()
}
