//! The service's settings, read and checked all at once.

use kit::{
    problem::Problems,
    program::Place,
    secret::Secret,
    settings::{Settings, setting_problem},
};
use lettre::Address;

/// Where mail goes.
#[derive(Debug, Clone)]
pub enum Relay {
    /// Nowhere: it is kept in memory.
    None,
    /// A relay that wants no password, such as one on the same machine; TLS when it offers it.
    Smarthost { host: String, port: u16 },
    /// SendGrid, by STARTTLS.
    SendGrid { key: Secret },
}

/// What the service needs to know before it starts.
#[derive(Debug, Clone)]
pub struct Config {
    pub place: Place,
    pub relay: Relay,
    pub from_name: String,
    pub from: Address,
    /// The public address of the frontend, for links.
    pub frontend: String,
}

fn smarthost(text: &str) -> Option<Relay> {
    let (host, port) = text.rsplit_once(':')?;
    let sane = !host.is_empty() && !host.contains(char::is_whitespace);
    sane.then_some(())?;
    Some(Relay::Smarthost { host: host.to_owned(), port: port.parse().ok()? })
}

impl Config {
    /// # Errors
    /// Every problem with the settings.
    pub fn from_settings(settings: &Settings) -> Result<Self, Problems> {
        let mut problems = Problems::default();
        let place = crate::PROGRAM.place(settings, false, &mut problems);
        let relay = match (settings.secret("SENDGRID_API_KEY", &mut problems), settings.get("SMTP_SMARTHOST"))
        {
            (_, Some(text)) => smarthost(text).unwrap_or_else(|| {
                problems.push(setting_problem("SMTP_SMARTHOST", format!("{text:?} is not host:port")));
                Relay::None
            }),
            (Some(key), None) => Relay::SendGrid { key },
            (None, None) => Relay::None,
        };
        let text = settings.get("FROM_EMAIL").unwrap_or("penpal@localhost");
        let from = text.parse::<Address>();
        if from.is_err() {
            problems.push(setting_problem("FROM_EMAIL", format!("{text:?} is not an address")));
        }
        // After this line there is no problem left, so the address is there.
        problems.into_result(())?;
        Ok(Config {
            place,
            relay,
            from_name: settings.get("FROM_NAME").unwrap_or("Penpal AI").to_owned(),
            from: from.map_err(|_| Problems::default())?,
            frontend: settings.get("FRONTEND_URL").unwrap_or("http://127.0.0.1:3000").to_owned(),
        })
    }
}
