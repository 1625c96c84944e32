//! The tutor: takes a learner's words, asks the configured provider under the platform's budgets, answers.
//!
//! Not here: conversations are not stored yet (db will), so `conversationId` is handed back and gives no
//! memory; callers send earlier turns in `messages`. Users' own tokens (JWT) come with auth's issue: for now
//! callers are services, which present `SERVICE_AUTH_TOKEN` and say for whom they ask in `x-user-id`. Without a
//! configured token the service is open, and then listens on loopback only.
//!
//! Invariant: no provider is called but through `llm`, which reserves and settles every attempt with Vigie.

mod config;
mod domain;
mod routes;

pub use config::Config;

use cache::RateLimit;
use kit::{
    http::{Limits, Service},
    program::{Deps, Program, Running},
};
use std::{sync::Arc, time::Duration};

pub const VERSION: &str = env!("CARGO_PKG_VERSION");

pub const PROGRAM: Program = Program {
    name: "ai",
    about: "the tutor of Penpal AI",
    port: 3003,
    settings: &[
        "MONITORING_SERVICE_URL",
        "DB_SERVICE_URL",
        "DEFAULT_AI_PROVIDER",
        "OPENAI_API_KEY",
        "OPENAI_ORG_ID",
        "OPENAI_BASE_URL",
        "MAX_TOKENS",
        "TEMPERATURE",
        "AI_RATE_LIMIT",
        "REDIS_HOST",
        "REDIS_PORT",
        "REDIS_PASSWORD",
    ],
    routes: &[
        ("POST", "/api/v1/ai/chat", "an answer to a learner, with corrections"),
        ("POST", "/api/v1/ai/analyze", "what is wrong with a text"),
        ("GET", "/api/v1/ai/models", "the provider and the model in use"),
    ],
    examples: concat!(
        "  MONITORING_SERVICE_URL=http://127.0.0.1:3005 ai\n",
        "  curl -s http://127.0.0.1:3003/api/v1/ai/chat -H 'content-type: application/json' \\\n",
        "    -d '{\"message\": \"He go to school\", \"language\": \"en\"}'\n",
    ),
};

/// What the routes share.
#[derive(Debug)]
pub(crate) struct App {
    pub(crate) llm: llm::Client,
    pub(crate) rate: RateLimit,
    pub(crate) metrics: domain::Metrics,
    pub(crate) max_tokens: u32,
    pub(crate) temperature: f64,
}

/// Starts the service on the listener it is given.
///
/// # Errors
/// When a client or a metric cannot be set up.
pub async fn start(config: Config, deps: Deps) -> anyhow::Result<Running> {
    let clock = deps.tasks.clock().clone();
    let limits = Limits {
        body_bytes: 256 << 10,
        // Longer than the provider's and the authority's own limits together.
        route_timeouts: vec![
            ("/api/v1/ai/chat", Duration::from_secs(90)),
            ("/api/v1/ai/analyze", Duration::from_secs(90)),
        ],
        ..Limits::default()
    };
    let service = Service::new(PROGRAM.name, VERSION, clock.clone(), config.place.auth(), limits)?;
    let llm = llm::Client::new(config.llm, PROGRAM.name, service.registry(), &deps.tasks)?;
    let cache = config.cache.build(PROGRAM.name, clock)?;
    if llm.provider() == "offline" {
        tracing::info!("no AI provider is configured: the offline tutor answers, and says so");
    }

    let health = service.health();
    let authority = llm.clone();
    // Without the authority every call is refused.
    health.depends_on("monitoring", true, move || {
        let authority = authority.clone();
        async move { authority.authority_healthy().await }
    });
    let asked = Arc::clone(&cache);
    health.depends_on("cache", false, move || {
        let cache = Arc::clone(&asked);
        async move { cache.ping().await.map_err(|e| e.to_string()) }
    });
    if let Some(base) = config.db {
        let http = kit::client::build(Duration::from_secs(2))?;
        let db = kit::client::ServiceClient::new(http, base, config.place.token.clone(), PROGRAM.name);
        health.depends_on("db", false, move || {
            let db = db.clone();
            async move { db.healthy().await }
        });
    }

    let app = Arc::new(App {
        llm,
        rate: RateLimit::new(cache, "chat", config.rate_limit, Duration::from_secs(60)),
        metrics: domain::Metrics::register(service.registry())?,
        max_tokens: config.max_tokens,
        temperature: config.temperature,
    });
    Ok(Running::serve(PROGRAM.name, deps, &service, routes::router(app)))
}
