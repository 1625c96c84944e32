//! Slack: a Block Kit message to an incoming webhook. The state stands in words; nothing depends on colour.

use super::{Senders, cut};
use crate::{config::SlackConfig, core::Job, message::Message};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::connect::HttpConnector;
use model::Timestamp;
use slack_morphism::prelude::*;

type Connector = SlackClientHyperConnector<HttpsConnector<HttpConnector>>;

/// The client, which keeps its connections.
pub(super) struct Slack(SlackClient<Connector>);

impl std::fmt::Debug for Slack {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Slack")
    }
}

/// Slack's limits, in characters.
const HEADER: usize = 150;
const SECTION: usize = 3000;
const FIELD: usize = 2000;
/// Alerts shown, of three blocks each: a message has fifty blocks at the most.
const SHOWN: usize = 8;

impl Slack {
    pub(super) fn new() -> Self {
        kit::client::install_tls();
        let connector = hyper_rustls::HttpsConnectorBuilder::new()
            .with_webpki_roots()
            .https_or_http()
            .enable_http1()
            .build();
        Slack(SlackClient::new(SlackClientHyperConnector::with_connector(connector)))
    }

    pub(super) async fn send(
        &self,
        senders: &Senders,
        config: &SlackConfig,
        job: &Job,
        message: &Message,
        now: Timestamp,
    ) -> Result<(), String> {
        let url = url::Url::parse(config.url.expose()).map_err(|_| "the webhook is no address".to_owned())?;
        let title = match senders.expand(config.title.as_ref(), job, now) {
            Some(Ok(title)) if !title.trim().is_empty() => title,
            _ => message.title.clone(),
        };
        let body = senders.expand(config.text.as_ref(), job, now);
        let content =
            SlackMessageContent::new().with_text(escape(&title)).with_blocks(blocks(&title, body, message));
        let request = SlackApiPostWebhookMessageRequest::new(content);
        self.0.post_webhook_message(&url, &request).await.map(|_| ()).map_err(|e| reason(&e))
    }
}

/// Without the address, which is a secret.
fn reason(error: &slack_morphism::errors::SlackClientError) -> String {
    use slack_morphism::errors::SlackClientError as E;
    match error {
        E::HttpError(e) => format!("Slack answered {}", e.status_code),
        E::RateLimitError(_) => "Slack asks for slower messages".to_owned(),
        E::ApiError(e) => format!("Slack refused it: {}", e.code),
        E::HttpProtocolError(_) => "Slack could not be reached".to_owned(),
        _ => "Slack did not take it".to_owned(),
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn plain(text: &str, most: usize) -> SlackBlockPlainText {
    SlackBlockPlainText::new(cut(text, most))
}

fn mrkdwn(text: &str, most: usize) -> SlackBlockMarkDownText {
    SlackBlockMarkDownText::new(cut(text, most))
}

fn button(text: &str, url: &str) -> Option<SlackActionBlockElement> {
    let url = url::Url::parse(url).ok()?;
    Some(SlackBlockButtonElement::new(plain(text, 75).into()).with_url(url).into())
}

fn blocks(title: &str, body: Option<Result<String, String>>, message: &Message) -> Vec<SlackBlock> {
    let section = |text: &str| {
        SlackBlock::Section(
            SlackSectionBlock::new().with_text(SlackBlockText::MarkDown(mrkdwn(text, SECTION))),
        )
    };
    let mut blocks: Vec<SlackBlock> = vec![SlackHeaderBlock::new(plain(title, HEADER).into()).into()];
    for note in &message.notes {
        blocks.push(section(&format!("*{}*", escape(note))));
    }
    let mut buttons: Vec<SlackActionBlockElement> = Vec::new();
    match body {
        Some(Ok(text)) => blocks.push(section(&text)),
        failed => {
            if let Some(Err(e)) = failed {
                blocks.push(section(&format!("_The template of routing.yaml failed: {}_", escape(&e))));
            }
            for alert in message.alerts.iter().take(SHOWN) {
                let mut text = format!("*{}: {}*", alert.status, escape(&alert.summary));
                if !alert.description.is_empty() {
                    text.push_str(&format!("\n{}", escape(&alert.description)));
                }
                let fields = alert.facts.iter().map(|(name, value)| {
                    SlackBlockText::MarkDown(mrkdwn(&format!("*{name}*\n{}", escape(value)), FIELD))
                });
                blocks.push(SlackBlock::Section(
                    SlackSectionBlock::new()
                        .with_text(SlackBlockText::MarkDown(mrkdwn(&text, SECTION)))
                        .with_fields(fields.take(10).collect()),
                ));
            }
            let more = message.more + message.alerts.len().saturating_sub(SHOWN);
            if more > 0 {
                blocks.push(section(&format!("and {more} more")));
            }
        }
    }
    if let Some(first) = message.alerts.first() {
        buttons.extend(first.runbook.as_deref().and_then(|url| button("What to do", url)));
        buttons.extend(first.graph.as_deref().and_then(|url| button("Graph", url)));
    }
    buttons.extend(button("Console", &message.console_url));
    if !buttons.is_empty() {
        blocks.push(SlackActionsBlock::new(buttons).into());
    }
    blocks
}
