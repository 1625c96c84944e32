//! `GET /api/v1/health`: whether the service works, and each thing it depends on.

use crate::clock::Clock;
use futures_util::{FutureExt, future::BoxFuture};
use serde::Serialize;
use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

/// How long one dependency may take to answer before it counts as down.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long an answer is good for, so that whoever asks often does not load the dependencies.
const FRESH: Duration = Duration::from_secs(1);

type Check = Arc<dyn Fn() -> BoxFuture<'static, Result<(), String>> + Send + Sync>;

struct Dependency {
    name: &'static str,
    required: bool,
    check: Check,
}

/// The dependencies of one service. Clones share them.
#[derive(Clone)]
pub struct Health {
    service: Arc<str>,
    version: Arc<str>,
    clock: Clock,
    begun: Duration,
    dependencies: Arc<Mutex<Vec<Dependency>>>,
    last: Arc<tokio::sync::Mutex<Option<(Duration, HealthReport)>>>,
}

impl fmt::Debug for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Health").field("service", &self.service).finish_non_exhaustive()
    }
}

/// One dependency, seen now.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DependencyReport {
    pub name: &'static str,
    /// `up` or `down`.
    pub status: &'static str,
    pub required: bool,
    pub latency_ms: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// The body of the answer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct HealthReport {
    /// `ok`; `degraded` when something that is not required is down; `unavailable` (503) when something that
    /// is required is down.
    pub status: &'static str,
    pub service: String,
    pub version: String,
    pub uptime_seconds: f64,
    pub timestamp: String,
    pub dependencies: Vec<DependencyReport>,
}

impl Health {
    pub fn new(service: &str, version: &str, clock: Clock) -> Self {
        Health {
            service: service.into(),
            version: version.into(),
            begun: clock.elapsed(),
            clock,
            dependencies: Arc::default(),
            last: Arc::default(),
        }
    }

    /// Adds a dependency. `check` answers `Err` with a sentence when it is down; it is given two seconds.
    /// Without a `required` one the service still works.
    pub fn depends_on<F, Fut>(&self, name: &'static str, required: bool, check: F)
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), String>> + Send + 'static,
    {
        let check: Check = Arc::new(move || check().boxed());
        let mut all = self.dependencies.lock().unwrap_or_else(PoisonError::into_inner);
        all.push(Dependency { name, required, check });
    }

    /// Asks every dependency at once. An answer less than a second old is given again.
    pub async fn report(&self) -> HealthReport {
        let mut last = self.last.lock().await;
        let now = self.clock.elapsed();
        if let Some((at, report)) = &*last
            && now.saturating_sub(*at) < FRESH
        {
            return report.clone();
        }
        let report = self.ask(now).await;
        *last = Some((now, report.clone()));
        report
    }

    async fn ask(&self, now: Duration) -> HealthReport {
        let checks: Vec<_> = {
            let all = self.dependencies.lock().unwrap_or_else(PoisonError::into_inner);
            all.iter().map(|d| (d.name, d.required, Arc::clone(&d.check))).collect()
        };
        let asked = checks.into_iter().map(|(name, required, check)| {
            let clock = self.clock.clone();
            async move {
                let begun = clock.elapsed();
                let answer = tokio::time::timeout(PATIENCE, check()).await;
                let error = match answer {
                    Ok(Ok(())) => None,
                    Ok(Err(e)) => Some(e),
                    Err(_) => Some(format!("no answer within {} s", PATIENCE.as_secs())),
                };
                let latency_ms = (clock.elapsed() - begun).as_secs_f64() * 1000.0;
                let status = if error.is_none() { "up" } else { "down" };
                DependencyReport { name, status, required, latency_ms, error }
            }
        });
        let dependencies = futures_util::future::join_all(asked).await;
        let down = |required: bool| dependencies.iter().any(|d| d.error.is_some() && d.required == required);
        HealthReport {
            status: if down(true) {
                "unavailable"
            } else if down(false) {
                "degraded"
            } else {
                "ok"
            },
            service: self.service.to_string(),
            version: self.version.to_string(),
            uptime_seconds: (now.saturating_sub(self.begun)).as_secs_f64(),
            timestamp: crate::telemetry::rfc3339(self.clock.now_ms()),
            dependencies,
        }
    }
}
