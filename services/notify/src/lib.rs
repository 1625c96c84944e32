//! Mail to learners: the welcome, for now, in French and English.
//!
//! With SMTP configured mail is sent, and an answer says so only when the relay took it. Without, mail is kept in
//! memory (the last hundred) and the answer says that it was not delivered; that is development.
//!
//! Not here: alerts to operators, which are Vigie's; mail about subscriptions and passwords, which comes with
//! what it is about.

mod config;
mod domain;
mod routes;

pub use config::{Config, Relay};

use domain::{Mailer, Metrics};
use kit::{
    http::{Limits, Service},
    program::{Deps, Program, Running},
};
use std::sync::Arc;

pub const VERSION: &str = env!("CARGO_PKG_VERSION");

pub const PROGRAM: Program = Program {
    name: "notify",
    about: "mail to learners",
    port: 3007,
    settings: &["SENDGRID_API_KEY", "SMTP_SMARTHOST", "FROM_EMAIL", "FROM_NAME", "FRONTEND_URL"],
    routes: &[
        ("POST", "/api/v1/notifications/welcome-email", "welcome a new learner"),
        ("GET", "/api/v1/notifications/health", "whether mail can be sent"),
        ("GET", "/api/v1/notifications/captured", "mail that was not sent because no relay is configured"),
    ],
    examples: concat!(
        "  SMTP_SMARTHOST=127.0.0.1:1025 notify\n",
        "  curl -s http://127.0.0.1:3007/api/v1/notifications/welcome-email -H 'content-type: application/json' \\\n",
        "    -d '{\"email\": \"ada@example.org\", \"firstName\": \"Ada\", \"lastName\": \"L\", \"provider\": \"email\"}'\n",
    ),
};

/// What the routes share.
#[derive(Debug)]
pub(crate) struct App {
    pub(crate) mailer: Mailer,
    pub(crate) metrics: Metrics,
    pub(crate) frontend: String,
}

/// Starts the service on the listener it is given.
///
/// # Errors
/// When the mailer or a metric cannot be set up.
pub async fn start(config: Config, deps: Deps) -> anyhow::Result<Running> {
    let clock = deps.tasks.clock().clone();
    let service = Service::new(PROGRAM.name, VERSION, clock, config.place.auth(), Limits::default())?;
    let app = Arc::new(App {
        mailer: Mailer::new(&config)?,
        metrics: Metrics::register(service.registry())?,
        frontend: config.frontend,
    });
    if app.mailer.sends() {
        let asked = Arc::clone(&app);
        service.health().depends_on("smtp", true, move || {
            let app = Arc::clone(&asked);
            async move { app.mailer.healthy().await }
        });
    } else {
        tracing::info!("no mail relay is configured: mail is kept in memory and not sent");
    }
    Ok(Running::serve(PROGRAM.name, deps, &service, routes::router(app)))
}
