//! Owns the platform's documents: users and languages now; conversations, subscriptions and payments with the
//! issues that need them. Nobody else has a database.
//!
//! Not here: passwords and tokens (auth's issue brings them), aggregates beyond counts.
//!
//! Invariant: every route but health, metrics, `/` and the list of languages wants a service's token.

mod config;
mod domain;
mod routes;
pub mod store;

pub use config::Config;

use domain::{Gauges, collections, seed};
use kit::{
    http::{Limits, Service},
    program::{DataDir, Deps, Program, Running},
    tasks::Schedule,
};
use std::{sync::Arc, time::Duration};
use store::{DocumentStore, Sqlite};

pub const VERSION: &str = env!("CARGO_PKG_VERSION");

pub const PROGRAM: Program = Program {
    name: "db",
    about: "the documents of Penpal AI",
    port: 3001,
    settings: &["DATA_DIR"],
    routes: &[
        ("GET", "/api/v1/languages", "the languages taught"),
        ("GET", "/api/v1/languages/{code}", "one language"),
        ("POST", "/api/v1/users", "add a user"),
        ("GET", "/api/v1/users", "users, newest first: limit, after"),
        ("GET", "/api/v1/users/{id}", "one user; also PATCH and DELETE"),
        ("GET", "/api/v1/users/email/{email}", "the user with this address"),
        ("GET", "/api/v1/users/metrics", "how many users, and of which languages"),
    ],
    examples: concat!("  db --data-dir ./data/db\n", "  curl -s http://127.0.0.1:3001/api/v1/languages\n",),
};

/// How often the gauges are counted anew.
const GAUGES_EVERY: Duration = Duration::from_secs(15);

/// What the routes share.
#[derive(Debug)]
pub(crate) struct App {
    pub(crate) store: Arc<dyn DocumentStore>,
    pub(crate) clock: kit::clock::Clock,
    /// Kept for as long as the store is open.
    _data: DataDir,
}

/// Starts the service on the listener it is given.
///
/// # Errors
/// When the data directory is in use or the store cannot be opened.
pub async fn start(config: Config, deps: Deps) -> anyhow::Result<Running> {
    let clock = deps.tasks.clock().clone();
    let data = DataDir::claim(&config.data_dir)?;
    let file = data.path().join("documents.sqlite");
    let store: Arc<dyn DocumentStore> =
        Arc::new(tokio::task::spawn_blocking(move || Sqlite::open(&file)).await??);
    for collection in collections::ALL {
        store.ensure(collection).await?;
    }
    seed(store.as_ref()).await?;

    let service = Service::new(PROGRAM.name, VERSION, clock.clone(), config.place.auth(), Limits::default())?;
    let asked = Arc::clone(&store);
    service.health().depends_on("store", true, move || {
        let store = Arc::clone(&asked);
        async move { store.ping().await.map_err(|e| format!("{:#}", anyhow::Error::from(e))) }
    });
    let gauges = Gauges::register(service.registry())?;
    let app = Arc::new(App { store, clock, _data: data });
    let counted = Arc::clone(&app);
    deps.tasks.reconciler("db gauges", Schedule::Every(GAUGES_EVERY), move || {
        let (gauges, app) = (gauges.clone(), Arc::clone(&counted));
        async move { gauges.count(app.store.as_ref(), app.clock.now_ms()).await }
    });
    Ok(Running::serve(PROGRAM.name, deps, &service, routes::router(app)))
}
