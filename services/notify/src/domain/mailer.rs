//! Sending, or keeping what is not sent.

use crate::{Config, Relay};
use lettre::{
    Address, AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor,
    message::{Mailbox, MultiPart},
    transport::smtp::{
        authentication::Credentials,
        client::{Tls, TlsParameters},
    },
};
use serde::Serialize;
use std::{
    collections::VecDeque,
    fmt,
    sync::{Mutex, PoisonError},
    time::Duration,
};

/// The most mail that is kept when none is sent.
const MOST_CAPTURED: usize = 100;

/// How long the relay may take for one mail.
const PATIENCE: Duration = Duration::from_secs(15);

/// One mail, ready but for its sender.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Mail {
    #[serde(serialize_with = "as_text")]
    pub(crate) to: Address,
    pub(crate) subject: String,
    pub(crate) text: String,
    pub(crate) html: String,
}

fn as_text<S: serde::Serializer>(address: &Address, s: S) -> Result<S::Ok, S::Error> {
    s.collect_str(address)
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Delivery {
    /// The relay took it.
    Sent,
    /// It is kept in memory.
    Captured,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum MailError {
    #[error("the mail cannot be written")]
    Unwritable(#[source] lettre::error::Error),
    #[error("the relay did not take the mail")]
    Relay(#[source] lettre::transport::smtp::Error),
}

pub(crate) struct Mailer {
    transport: Option<AsyncSmtpTransport<Tokio1Executor>>,
    from: Mailbox,
    captured: Mutex<VecDeque<Mail>>,
}

impl fmt::Debug for Mailer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mailer")
            .field("from", &self.from)
            .field("sends", &self.sends())
            .finish_non_exhaustive()
    }
}

impl Mailer {
    pub(crate) fn new(config: &Config) -> anyhow::Result<Self> {
        let builder = match &config.relay {
            Relay::None => None,
            Relay::Smarthost { host, port } => {
                let tls = Tls::Opportunistic(TlsParameters::new(host.clone())?);
                Some(AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(host).port(*port).tls(tls))
            }
            Relay::SendGrid { key } => Some(
                AsyncSmtpTransport::<Tokio1Executor>::starttls_relay("smtp.sendgrid.net")?
                    .credentials(Credentials::new("apikey".to_owned(), key.expose().to_owned())),
            ),
        };
        Ok(Mailer {
            transport: builder.map(|b| b.timeout(Some(PATIENCE)).build()),
            from: Mailbox::new(Some(config.from_name.clone()), config.from.clone()),
            captured: Mutex::default(),
        })
    }

    /// Whether there is a relay.
    pub(crate) fn sends(&self) -> bool {
        self.transport.is_some()
    }

    pub(crate) async fn healthy(&self) -> Result<(), String> {
        match &self.transport {
            None => Err("no relay is configured".to_owned()),
            Some(transport) => match transport.test_connection().await {
                Ok(true) => Ok(()),
                Ok(false) => Err("the relay refused the connection".to_owned()),
                Err(e) => Err(format!("{:#}", anyhow::Error::from(e))),
            },
        }
    }

    pub(crate) async fn send(&self, mail: Mail) -> Result<Delivery, MailError> {
        let Some(transport) = &self.transport else {
            let mut captured = self.captured.lock().unwrap_or_else(PoisonError::into_inner);
            captured.push_back(mail);
            if captured.len() > MOST_CAPTURED {
                captured.pop_front();
            }
            return Ok(Delivery::Captured);
        };
        let message = Message::builder()
            .from(self.from.clone())
            .to(Mailbox::new(None, mail.to))
            .subject(mail.subject)
            .multipart(MultiPart::alternative_plain_html(mail.text, mail.html))
            .map_err(MailError::Unwritable)?;
        transport.send(message).await.map_err(MailError::Relay)?;
        Ok(Delivery::Sent)
    }

    /// What was kept, oldest first.
    pub(crate) fn captured(&self) -> Vec<Mail> {
        self.captured.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
}
