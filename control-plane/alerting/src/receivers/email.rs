//! E-mail: a multipart message, text and HTML, by SMTP.

use super::{CapturedMail, Senders};
use crate::{config::EmailConfig, core::Job, message::Message};
use lettre::{
    AsyncSmtpTransport, AsyncTransport, Tokio1Executor,
    message::{Mailbox, MultiPart, header},
    transport::smtp::{
        authentication::Credentials,
        client::{Tls, TlsParameters},
        extension::ClientId,
    },
};
use model::Timestamp;
use std::time::Duration;

pub(super) async fn send(
    senders: &Senders,
    config: &EmailConfig,
    job: &Job,
    message: &Message,
    now: Timestamp,
) -> Result<(), String> {
    if config.capture {
        let mail = CapturedMail {
            at: now,
            to: config.to.clone(),
            subject: message.title.clone(),
            text: message.plain(),
        };
        senders.capture(mail);
        return Ok(());
    }
    let email = compose(senders, config, job, message, now)?;
    let tls = || TlsParameters::new(config.host.clone()).map_err(|e| format!("TLS: {e}"));
    let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&config.host)
        .port(config.port)
        .timeout(Some(Duration::from_secs(10)))
        .tls(match (config.port, config.require_tls) {
            (465, _) => Tls::Wrapper(tls()?),
            (_, true) => Tls::Required(tls()?),
            (_, false) => Tls::Opportunistic(tls()?),
        });
    if let Some(name) = &config.hello {
        builder = builder.hello_name(ClientId::Domain(name.clone()));
    }
    if let (Some(user), Some(password)) = (&config.username, &config.password) {
        builder = builder.credentials(Credentials::new(user.clone(), password.expose().to_owned()));
    }
    builder.build().send(email).await.map(|_| ()).map_err(|e| {
        let kind = if e.is_permanent() { "the relay refused it" } else { "the relay could not take it" };
        format!("{kind}: {}", chain(&e))
    })
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(deeper) = source {
        let deeper_text = deeper.to_string();
        if !text.contains(&deeper_text) {
            text.push_str(": ");
            text.push_str(&deeper_text);
        }
        source = deeper.source();
    }
    text
}

fn compose(
    senders: &Senders,
    config: &EmailConfig,
    job: &Job,
    message: &Message,
    now: Timestamp,
) -> Result<lettre::Message, String> {
    let mailbox = |address: &str| address.parse::<Mailbox>().map_err(|e| format!("{address:?}: {e}"));
    let or_built_in = |given: Option<Result<String, String>>, built_in: String| match given {
        None => built_in,
        Some(Ok(text)) => text,
        Some(Err(e)) => format!("{built_in}\n\n(The template of routing.yaml failed: {e})"),
    };
    let subject = match senders.expand(config.subject.as_ref(), job, now) {
        Some(Ok(subject)) => subject.lines().collect::<Vec<_>>().join(" "),
        _ => message.title.clone(),
    };
    let text = or_built_in(senders.expand(config.text.as_ref(), job, now), message.plain());
    let html = or_built_in(senders.expand(config.html.as_ref(), job, now), html(message));
    let domain = config.from.rsplit_once('@').map_or("vigie", |(_, d)| d.trim_end_matches('>'));
    let mut builder = lettre::Message::builder()
        .from(mailbox(&config.from)?)
        .subject(subject)
        // A message that comes twice has the same id, so that mail programs show it once.
        .message_id(Some(format!("<vigie-{}@{domain}>", job.delivery_key)))
        .header(header::MIME_VERSION_1_0);
    for to in &config.to {
        builder = builder.to(mailbox(to)?);
    }
    builder.multipart(MultiPart::alternative_plain_html(text, html)).map_err(|e| e.to_string())
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// Plain HTML that mail programs show alike: no images, no styles that matter, the state in words.
fn html(message: &Message) -> String {
    let mut out = format!(
        "<!doctype html><html lang=\"en\"><body style=\"font-family:sans-serif;max-width:40em\"><h2>{}</h2>",
        escape(&message.title)
    );
    for note in &message.notes {
        out.push_str(&format!("<p><strong>{}</strong></p>", escape(note)));
    }
    for alert in &message.alerts {
        let colour = if alert.status == "FIRING" { "#b00020" } else { "#1b5e20" };
        out.push_str(&format!(
            "<div style=\"border-left:4px solid {colour};padding-left:12px;margin:16px 0\"><p><strong>{}: {}</strong></p>",
            alert.status,
            escape(&alert.summary)
        ));
        if !alert.description.is_empty() {
            out.push_str(&format!("<p>{}</p>", escape(&alert.description)));
        }
        out.push_str("<table>");
        for (name, value) in &alert.facts {
            out.push_str(&format!(
                "<tr><td style=\"padding-right:12px\">{}</td><td>{}</td></tr>",
                escape(name),
                escape(value)
            ));
        }
        out.push_str("</table>");
        for (url, what) in [(&alert.runbook, "What to do"), (&alert.graph, "Graph")] {
            if let Some(url) = url {
                out.push_str(&format!("<p><a href=\"{}\">{what}</a></p>", escape(url)));
            }
        }
        out.push_str("</div>");
    }
    if message.more > 0 {
        out.push_str(&format!("<p>and {} more</p>", message.more));
    }
    out.push_str(&format!("<p><a href=\"{}\">Console</a></p></body></html>", escape(&message.console_url)));
    out
}
