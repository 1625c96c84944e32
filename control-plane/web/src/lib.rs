//! What people and programs see: the Prometheus API, Vigie's own API, the console, and Grafana's dashboards.
//!
//! It shows and passes on; it decides nothing. Every route declares the [`Role`] it needs where it is added, and
//! [`routes::Routes`] keeps the list that a test walks. Handlers read snapshots; queries run on threads that may
//! block, bounded in number and stopped when their client goes away.

mod about;
pub mod access;
pub mod api;
pub mod console;
mod federate;
pub mod grafana;
mod params;
mod plane;
mod probes;
mod queries;
pub mod routes;

pub use about::{About, Runtime};
pub use access::{Access, Identity, Role};
pub use queries::Queries;
pub use routes::{RouteInfo, Routes};

use budget::Authority;
use collect::{Families, RelabelStep, otlp::OtlpReceiver, remote_write::Receiver};
use kit::{clock::Clock, secret::Secret, tasks::Tasks};
use model::{Labels, Select, Timestamp};
use promql::Engine;
use rules::Rules;
use state::State;
use std::{future::Future, path::PathBuf, pin::Pin, sync::Arc, time::Duration};

/// One probe as the console shows it.
#[derive(Debug, Clone, PartialEq)]
pub struct ProbeView {
    pub name: String,
    pub service: String,
    /// How it asks: `http`, `dns`, `heartbeat`, ...
    pub kind: &'static str,
    pub target: String,
    pub interval: Duration,
    /// `None` before the first result.
    pub up: Option<bool>,
    /// When the state last changed.
    pub since: Option<Timestamp>,
    /// Share of the last day's results that were good, 0 to 1.
    pub uptime: Option<f64>,
    pub latency: Option<Duration>,
    pub last: Option<Timestamp>,
    pub error: Option<String>,
    pub depends_on: Vec<String>,
    pub conditions: Vec<String>,
}

/// A call of what is watched by its heartbeat.
#[derive(Debug, Clone)]
pub struct Beat {
    /// The probe's name.
    pub name: String,
    /// What the caller shows; empty when it shows nothing.
    pub token: Secret,
    /// What the caller says is wrong with it, perhaps in no words; `None` when it works.
    pub failed: Option<String>,
}

/// Why a beat does not count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BeatRefusal {
    /// No such heartbeat, or another token.
    Refused,
    NotRecorded(String),
}

/// How a beat was taken.
pub type BeatOutcome = Pin<Box<dyn Future<Output = Result<(), BeatRefusal>> + Send>>;

/// One scrape target, as `/api/v1/targets` and the console show it.
#[derive(Debug, Clone, PartialEq)]
pub struct TargetView {
    pub pool: String,
    pub url: String,
    pub labels: Labels,
    pub discovered: Labels,
    /// `None` before the first scrape.
    pub up: Option<bool>,
    pub last: Option<Timestamp>,
    pub duration: Duration,
    pub error: Option<String>,
    pub interval: Duration,
    pub timeout: Duration,
    /// What it says about its metrics.
    pub families: Arc<Families>,
}

/// What the collector shows of itself.
pub trait Observed: Send + Sync + std::fmt::Debug {
    /// What is said about Vigie's own series.
    fn own_families(&self) -> Families;
    fn probes(&self) -> Vec<ProbeView>;
    /// Active targets.
    fn targets(&self) -> Vec<TargetView>;
    /// Discovered labels of targets that relabelling dropped.
    fn dropped(&self) -> Vec<Labels>;
    /// The names of all jobs.
    fn scrape_pools(&self) -> Vec<String>;
    /// What the rules of a job make of a target's labels; `None` where there is no such job.
    fn relabel_steps(&self, scrape_pool: &str, labels: &Labels) -> Option<Vec<RelabelStep>>;
    /// A heartbeat's call.
    fn beat(&self, beat: Beat) -> BeatOutcome;
}

/// What a reload answers: an error is every problem of the files.
pub type ReloadOutcome = Pin<Box<dyn Future<Output = Result<(), String>> + Send>>;

/// Reloads the configuration, all or nothing.
#[derive(Clone)]
pub struct Reload(pub Arc<dyn Fn() -> ReloadOutcome + Send + Sync>);

impl std::fmt::Debug for Reload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Reload")
    }
}

/// What the web needs of the other rooms, at hand for every handler: a clone is a reference.
#[derive(Debug, Clone)]
pub struct Plane(Arc<Parts>);

impl Plane {
    pub fn new(parts: Parts) -> Self {
        Plane(Arc::new(parts))
    }
}

impl std::ops::Deref for Plane {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

/// See [`Plane`].
#[derive(Debug)]
pub struct Parts {
    pub engine: Arc<Engine>,
    pub select: Arc<dyn Select>,
    /// The store, where the series are in one of our own.
    pub tsdb: Option<tsdb::Tsdb>,
    pub rules: Arc<Rules>,
    pub alerting: Arc<alerting::Alerting>,
    pub budget: Arc<Authority>,
    pub observed: Arc<dyn Observed>,
    /// What the process says of itself.
    pub about: Arc<dyn About>,
    /// Takes what is written remotely.
    pub write: Receiver,
    /// Takes what OpenTelemetry exports, and hands it to the same.
    pub otlp: OtlpReceiver,
    /// What is kept of exemplars.
    pub exemplars: Arc<dyn model::ExemplarSelect>,
    pub state: State,
    pub clock: Clock,
    pub tasks: Tasks,
    pub reload: Reload,
    pub version: &'static str,
    pub external_url: String,
    /// Where `ops/runbooks/` is.
    pub config_dir: PathBuf,
    /// Set once everything has started.
    pub ready: Arc<std::sync::atomic::AtomicBool>,
    /// Places for queries, and how long one may take.
    pub queries: Arc<Queries>,
    pub query_timeout: Duration,
}

/// All routes of Vigie but health and metrics, with their roles enforced.
pub fn routes(plane: &Plane, access: Access) -> Routes {
    let mut routes = Routes::new(Arc::new(access), plane.clock.clone());
    api::add(&mut routes, plane);
    federate::add(&mut routes, plane);
    plane::add(&mut routes, plane);
    probes::add(&mut routes, plane);
    console::add(&mut routes, plane);
    routes
}
