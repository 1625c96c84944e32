//! Receivers and their integrations, with what they fall back on filled in.

use super::{Global, secret};
use kit::{secret::Secret, yaml::MapReader};
use std::{path::Path, sync::Arc, time::Duration};
use template::{Library, Template};

/// A text that the file gives as a template.
#[derive(Debug, Clone)]
pub struct Text {
    pub template: Arc<Template>,
}

/// Where e-mail goes.
#[derive(Debug, Clone)]
pub struct EmailConfig {
    pub to: Vec<String>,
    pub from: String,
    pub host: String,
    pub port: u16,
    pub hello: Option<String>,
    pub username: Option<String>,
    pub password: Option<Secret>,
    /// Whether the session must be encrypted. Port 465 always is.
    pub require_tls: bool,
    pub subject: Option<Text>,
    pub text: Option<Text>,
    pub html: Option<Text>,
    /// Kept for the console instead of being sent: development without a relay.
    pub capture: bool,
}

/// Where Slack messages go: an incoming webhook.
#[derive(Debug, Clone)]
pub struct SlackConfig {
    pub url: Secret,
    pub channel: Option<String>,
    pub title: Option<Text>,
    pub text: Option<Text>,
}

/// Where webhooks go.
#[derive(Debug, Clone)]
pub struct WebhookConfig {
    pub url: Secret,
    pub max_alerts: usize,
    pub timeout: Duration,
    pub bearer: Option<Secret>,
}

#[derive(Debug, Clone)]
pub enum IntegrationKind {
    Email(EmailConfig),
    Slack(SlackConfig),
    Webhook(WebhookConfig),
}

impl IntegrationKind {
    pub fn as_str(&self) -> &'static str {
        match self {
            IntegrationKind::Email(_) => "email",
            IntegrationKind::Slack(_) => "slack",
            IntegrationKind::Webhook(_) => "webhook",
        }
    }
}

/// One way in which a receiver is told.
#[derive(Debug, Clone)]
pub struct Integration {
    /// `receiver/kind[index]`: its name in the notification log.
    pub name: String,
    pub send_resolved: bool,
    pub kind: IntegrationKind,
}

#[derive(Debug, Clone)]
pub struct Receiver {
    pub name: String,
    pub integrations: Vec<Integration>,
}

/// Integrations that Alertmanager has and this version has not.
const LATER: [&str; 15] = [
    "pagerduty_configs",
    "opsgenie_configs",
    "victorops_configs",
    "pushover_configs",
    "wechat_configs",
    "sns_configs",
    "telegram_configs",
    "webex_configs",
    "discord_configs",
    "msteams_configs",
    "msteamsv2_configs",
    "jira_configs",
    "rocketchat_configs",
    "mattermost_configs",
    "incidentio_configs",
];

pub(super) fn read(mut r: MapReader<'_>, global: &Global, library: &Library, dir: &Path) -> Option<Receiver> {
    let name = r.required_text("name").map(str::to_owned);
    let shown = name.clone().unwrap_or_default();
    let mut integrations = Vec::new();
    type Read = fn(&mut MapReader<'_>, &Global, &Library, &Path) -> Option<IntegrationKind>;
    let kinds: [(&'static str, &str, bool, Read); 3] = [
        ("email_configs", "email", false, read_email),
        ("slack_configs", "slack", false, read_slack),
        ("webhook_configs", "webhook", true, read_webhook),
    ];
    for (field, kind, resolved_by_default, read_kind) in kinds {
        for (i, item) in r.list(field).iter().enumerate() {
            let Some(mut own) = r.item(item) else { continue };
            let send_resolved = own.bool("send_resolved").unwrap_or(resolved_by_default);
            let kind_read = read_kind(&mut own, global, library, dir);
            own.finish();
            if let Some(kind_read) = kind_read {
                let name = format!("{shown}/{kind}[{i}]");
                integrations.push(Integration { name, send_resolved, kind: kind_read });
            }
        }
    }
    for later in LATER {
        if let Some(node) = r.node(later) {
            r.problem(node, format!("`{later}` is not supported yet: use email, slack or webhook"));
        }
    }
    r.finish();
    Some(Receiver { name: name?, integrations })
}

fn text(r: &mut MapReader<'_>, library: &Library, field: &'static str) -> Option<Text> {
    let node = r.node(field)?;
    let source = r.text(field)?;
    match library.parse(field, source) {
        Ok(template) => Some(Text { template: Arc::new(template) }),
        Err(e) => {
            let lines_before: usize =
                source.lines().take(e.line.saturating_sub(1)).map(|l| l.chars().count() + 1).sum();
            let offset = lines_before + e.column.saturating_sub(1);
            let problem = r.doc.problem_within(node, offset, format!("`{field}`: {}", e.message));
            r.problems.push(problem);
            None
        }
    }
}

fn read_email(
    r: &mut MapReader<'_>,
    global: &Global,
    library: &Library,
    dir: &Path,
) -> Option<IntegrationKind> {
    let to: Vec<String> = r
        .required_text("to")
        .map(|t| t.split(',').map(|a| a.trim().to_owned()).filter(|a| !a.is_empty()).collect())
        .unwrap_or_default();
    let node = r.node;
    let from = r.text("from").map(str::to_owned).or_else(|| global.from.clone());
    let smarthost = r.text("smarthost").map(str::to_owned).or_else(|| global.smarthost.clone());
    let password =
        secret(r, "auth_password", "auth_password_file", dir).or_else(|| global.auth_password.clone());
    let username = r.text("auth_username").map(str::to_owned).or_else(|| global.auth_username.clone());
    let require_tls = r.bool("require_tls").or(global.require_tls).unwrap_or(true);
    let hello = r.text("hello").map(str::to_owned).or_else(|| global.hello.clone());
    let (text_part, html) = (text(r, library, "text"), text(r, library, "html"));
    let mut subject = None;
    if let Some(mut headers) = r.child("headers") {
        subject = text(&mut headers, library, "Subject").or_else(|| text(&mut headers, library, "subject"));
        headers.finish();
    }
    for address in to.iter().chain(from.iter()) {
        if let Err(e) = address.parse::<lettre::message::Mailbox>() {
            r.problem(node, format!("{address:?} is no mail address: {e}"));
        }
    }
    let capture = global.capture_mail;
    let Some(smarthost) = smarthost else {
        r.problem(
            node,
            "no mail relay is known: set `smarthost` here, `smtp_smarthost` in `global`, or SMTP_SMARTHOST",
        );
        return None;
    };
    let Some(from) = from else {
        r.problem(node, "no sender is known: set `from` here, `smtp_from` in `global`, or SMTP_FROM");
        return None;
    };
    let Some((host, port)) =
        smarthost.rsplit_once(':').and_then(|(h, p)| Some((h.to_owned(), p.parse().ok()?)))
    else {
        r.problem(node, format!("the mail relay {smarthost:?} is not host:port"));
        return None;
    };
    Some(IntegrationKind::Email(EmailConfig {
        to,
        from,
        host,
        port,
        hello,
        username,
        password,
        require_tls,
        subject,
        text: text_part,
        html,
        capture,
    }))
}

/// An address that must be http or https; the problem does not print it, since it may be a secret.
fn check_url(r: &mut MapReader<'_>, what: &str, url: &Secret) {
    let fine =
        url::Url::parse(url.expose()).is_ok_and(|u| matches!(u.scheme(), "http" | "https") && u.has_host());
    if !fine {
        let node = r.node;
        r.problem(node, format!("the {what} is not an address that begins with http:// or https://"));
    }
}

fn read_slack(
    r: &mut MapReader<'_>,
    global: &Global,
    library: &Library,
    dir: &Path,
) -> Option<IntegrationKind> {
    let own = secret(r, "api_url", "api_url_file", dir);
    let channel = r.text("channel").map(str::to_owned);
    let (title, body) = (text(r, library, "title"), text(r, library, "text"));
    // Alertmanager's attachment form; the message here is Block Kit, which has no place for them.
    for unused in [
        "username",
        "icon_emoji",
        "icon_url",
        "color",
        "fallback",
        "pretext",
        "title_link",
        "footer",
        "short_fields",
        "link_names",
        "mrkdwn_in",
    ] {
        let _accepted = r.node(unused);
    }
    for later in [
        "fields",
        "actions",
        "image_url",
        "thumb_url",
        "callback_id",
        "http_config",
        "app_token",
        "app_token_file",
    ] {
        if let Some(node) = r.node(later) {
            r.problem(node, format!("`{later}` is not supported yet"));
        }
    }
    let Some(url) = own.or_else(|| global.slack_api_url.clone()) else {
        let node = r.node;
        r.problem(node, "no Slack webhook is known: set `api_url_file` here, `slack_api_url_file` in `global`, or SLACK_API_URL_FILE");
        return None;
    };
    check_url(r, "Slack webhook", &url);
    Some(IntegrationKind::Slack(SlackConfig { url, channel, title, text: body }))
}

fn read_webhook(r: &mut MapReader<'_>, _: &Global, _: &Library, dir: &Path) -> Option<IntegrationKind> {
    let url = secret(r, "url", "url_file", dir);
    let max_alerts = r.u64("max_alerts").map_or(0, |n| usize::try_from(n).unwrap_or(usize::MAX));
    let timeout = r.duration("timeout", model::duration::parse).filter(|t| !t.is_zero());
    let mut bearer = None;
    if let Some(mut http) = r.child("http_config") {
        if let Some(mut authorization) = http.child("authorization") {
            bearer = secret(&mut authorization, "credentials", "credentials_file", dir);
            if let Some(kind) = authorization.text("type")
                && !kind.eq_ignore_ascii_case("bearer")
            {
                let node = authorization.node;
                authorization.problem(node, "only the type Bearer is supported yet");
            }
            authorization.finish();
        }
        http.finish();
    }
    let Some(url) = url else {
        let node = r.node;
        r.problem(node, "missing field `url`");
        return None;
    };
    check_url(r, "webhook", &url);
    let timeout = timeout.unwrap_or(Duration::from_secs(10));
    Some(IntegrationKind::Webhook(WebhookConfig { url, max_alerts, timeout, bearer }))
}
