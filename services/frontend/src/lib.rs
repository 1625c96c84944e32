//! What people see of Penpal AI: one page, rendered here, with a small demonstration of the tutor.
//!
//! It works without JavaScript (there is none), in French and English, from 320 px up, light and dark. Not here
//! yet: accounts, lessons, prices; the page links to nothing that does not exist.
//!
//! Invariants: the browser never talks to another service and never sees a token; forms are refused when
//! another site sends them.

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
    name: "frontend",
    about: "the pages of Penpal AI",
    port: 3000,
    settings: &[
        "AUTH_SERVICE_URL",
        "AI_SERVICE_URL",
        "NEXT_PUBLIC_AUTH_SERVICE_URL",
        "NEXT_PUBLIC_AI_SERVICE_URL",
    ],
    routes: &[
        ("GET", "/", "the home page, in the visitor's language"),
        ("GET", "/fr", "the same in French; /en in English"),
        ("POST", "/fr/demo", "one message to the tutor; /en/demo in English"),
    ],
    examples: "  AI_SERVICE_URL=http://127.0.0.1:3003 frontend\n  open http://127.0.0.1:3000/\n",
};

/// What the routes share.
#[derive(Debug)]
pub(crate) struct App {
    pub(crate) ai: Option<ServiceClient>,
}

/// The longest that the tutor may take.
const PATIENCE: Duration = Duration::from_secs(90);

/// Starts the service on the listener it is given.
///
/// # Errors
/// When a client or a metric cannot be set up.
pub async fn start(config: Config, deps: Deps) -> anyhow::Result<Running> {
    let limits = Limits {
        body_bytes: 64 << 10,
        route_timeouts: vec![("/{locale}/demo", PATIENCE + Duration::from_secs(5))],
        ..Limits::default()
    };
    let clock = deps.tasks.clock().clone();
    let service = Service::new(PROGRAM.name, VERSION, clock, config.place.auth(), limits)?;
    let http = kit::client::build(PATIENCE)?;
    let client = |base: Option<String>| {
        base.map(|b| ServiceClient::new(http.clone(), b, config.place.token.clone(), PROGRAM.name))
    };
    let (auth, ai) = (client(config.auth), client(config.ai));
    for (name, service_client, setting) in
        [("auth", auth, "AUTH_SERVICE_URL"), ("ai", ai.clone(), "AI_SERVICE_URL")]
    {
        // The page is there without them, only with less on it.
        service.health().depends_on(name, false, move || {
            let asked = service_client.clone();
            async move {
                match asked {
                    Some(asked) => asked.healthy().await,
                    None => Err(format!("{setting} is not set")),
                }
            }
        });
    }
    Ok(Running::serve(PROGRAM.name, deps, &service, routes::router(Arc::new(App { ai }))))
}
