//! Who a person is. For now: what is needed to be watched, and the users' figures, asked from db.
//!
//! Not here yet: registration, login, tokens and Google, which come with their own issue. No route pretends to
//! be one of them.
//!
//! Invariant: auth keeps nothing of its own but what lives in the cache; people are in db.

mod config;
mod domain;
mod routes;

pub use config::Config;

use kit::{
    client::ServiceClient,
    http::{Limits, Service},
    program::{Deps, Program, Running},
};
use std::{sync::Arc, time::Duration};

pub const VERSION: &str = env!("CARGO_PKG_VERSION");

pub const PROGRAM: Program = Program {
    name: "auth",
    about: "who a person is",
    port: 3002,
    settings: &["DB_SERVICE_URL", "REDIS_HOST", "REDIS_PORT", "REDIS_PASSWORD"],
    routes: &[("GET", "/api/v1/users/metrics", "how many users, and of which languages")],
    examples: "  DB_SERVICE_URL=http://127.0.0.1:3001 auth\n  curl -s http://127.0.0.1:3002/api/v1/users/metrics\n",
};

/// What the routes share.
#[derive(Debug)]
pub(crate) struct App {
    pub(crate) db: Option<ServiceClient>,
}

/// Starts the service on the listener it is given.
///
/// # Errors
/// When a client or a metric cannot be set up.
pub async fn start(config: Config, deps: Deps) -> anyhow::Result<Running> {
    let clock = deps.tasks.clock().clone();
    let service = Service::new(PROGRAM.name, VERSION, clock.clone(), config.place.auth(), Limits::default())?;
    let cache = config.cache.build(PROGRAM.name, clock)?;
    let http = kit::client::build(Duration::from_secs(2))?;
    let token = config.place.token.clone();
    let db = config.db.map(|base| ServiceClient::new(http, base, token, PROGRAM.name));

    let health = service.health();
    let asked = db.clone();
    health.depends_on("db", true, move || {
        let db = asked.clone();
        async move {
            match db {
                Some(db) => db.healthy().await,
                None => Err("DB_SERVICE_URL is not set".to_owned()),
            }
        }
    });
    let asked = Arc::clone(&cache);
    health.depends_on("cache", true, move || {
        let cache = Arc::clone(&asked);
        async move { cache.ping().await.map_err(|e| e.to_string()) }
    });
    domain::register_metrics(service.registry())?;
    Ok(Running::serve(PROGRAM.name, deps, &service, routes::router(Arc::new(App { db }))))
}
