//! Plans and money of learners. For now: what the plans are, and what is needed to be watched.
//!
//! Not here yet: subscriptions, Stripe's checkout and its webhooks, which come with their own issue. No route
//! pretends to be one of them.

mod config;
mod domain;
mod routes;

pub use config::Config;

use domain::Plans;
use kit::{
    client::ServiceClient,
    http::{Limits, Service},
    program::{Deps, Program, Running},
};
use std::time::Duration;

pub const VERSION: &str = env!("CARGO_PKG_VERSION");

pub const PROGRAM: Program = Program {
    name: "payment",
    about: "plans and subscriptions",
    port: 3004,
    settings: &["DB_SERVICE_URL", "TRIAL_PERIOD_DAYS"],
    routes: &[("GET", "/api/v1/info", "the plans, their prices, and how long a trial lasts")],
    examples: "  DB_SERVICE_URL=http://127.0.0.1:3001 payment\n  curl -s http://127.0.0.1:3004/api/v1/info\n",
};

/// Starts the service on the listener it is given.
///
/// # Errors
/// When a client or a metric cannot be set up.
pub async fn start(config: Config, deps: Deps) -> anyhow::Result<Running> {
    let clock = deps.tasks.clock().clone();
    let service = Service::new(PROGRAM.name, VERSION, clock, config.place.auth(), Limits::default())?;
    let http = kit::client::build(Duration::from_secs(2))?;
    let token = config.place.token.clone();
    let db = config.db.map(|base| ServiceClient::new(http, base, token, PROGRAM.name));
    service.health().depends_on("db", true, move || {
        let db = db.clone();
        async move {
            match db {
                Some(db) => db.healthy().await,
                None => Err("DB_SERVICE_URL is not set".to_owned()),
            }
        }
    });
    domain::register_metrics(service.registry())?;
    Ok(Running::serve(PROGRAM.name, deps, &service, routes::router(Plans::new(config.trial_days))))
}
