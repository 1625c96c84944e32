//! Business figures about users, counted by a reconciler so that a scrape costs nothing.

use super::{collections::USERS, seed::codes};
use crate::store::{DocumentStore, Filter, StoreError};
use prometheus::{IntGauge, IntGaugeVec, Opts, Registry};

/// Who was active within this time counts as active: 30 days.
pub(crate) const ACTIVE_MS: i64 = 30 * 86_400_000;

#[derive(Debug, Clone)]
pub(crate) struct Gauges {
    total: IntGauge,
    active: IntGauge,
    by_language: IntGaugeVec,
}

/// The figures, as metrics and as JSON.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Figures {
    pub(crate) total_users: u64,
    pub(crate) active_users: u64,
    pub(crate) users_by_language: std::collections::BTreeMap<&'static str, u64>,
}

pub(crate) async fn figures(store: &dyn DocumentStore, now_ms: i64) -> Result<Figures, StoreError> {
    let mut users_by_language = std::collections::BTreeMap::new();
    for code in codes() {
        let learners = store.count(USERS, vec![Filter::is("learningLanguage", code)]).await?;
        users_by_language.insert(code, learners);
    }
    let since = now_ms.saturating_sub(ACTIVE_MS);
    Ok(Figures {
        total_users: store.count(USERS, Vec::new()).await?,
        active_users: store.count(USERS, vec![Filter::at_least("lastActive", since)]).await?,
        users_by_language,
    })
}

fn gauge_value(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

impl Gauges {
    pub(crate) fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let total = IntGauge::new("penpal_total_users", "Users.")?;
        let active = IntGauge::new("penpal_active_users_total", "Users active within 30 days.")?;
        let by_language = IntGaugeVec::new(
            Opts::new("penpal_users_by_language", "Users by the language they learn."),
            &["language"],
        )?;
        registry.register(Box::new(total.clone()))?;
        registry.register(Box::new(active.clone()))?;
        registry.register(Box::new(by_language.clone()))?;
        Ok(Gauges { total, active, by_language })
    }

    pub(crate) async fn count(&self, store: &dyn DocumentStore, now_ms: i64) -> anyhow::Result<String> {
        let figures = figures(store, now_ms).await?;
        self.total.set(gauge_value(figures.total_users));
        self.active.set(gauge_value(figures.active_users));
        for (language, learners) in &figures.users_by_language {
            self.by_language.with_label_values(&[language]).set(gauge_value(*learners));
        }
        Ok(format!("{} users", figures.total_users))
    }
}
