//! The state of alerts as rules see it: pending, firing, resolved but not yet taken over.
//!
//! A change is recorded here before anything acts on it. Rows are keyed by rule and label set; a rule's key is
//! its group, its name and its expression's identity, as `rules` makes it.

use crate::engine::{Pending, State, StateError, Tables};
use model::{Labels, Timestamp};

pub(crate) const TABLES: Tables = Tables {
    module: "alerts",
    steps: &["CREATE TABLE alert_state (
        rule TEXT NOT NULL, labels TEXT NOT NULL, state TEXT NOT NULL, annotations TEXT NOT NULL,
        active_at INTEGER NOT NULL, fired_at INTEGER, resolved_at INTEGER, keep_firing_since INTEGER,
        value REAL NOT NULL, handed_over INTEGER NOT NULL, PRIMARY KEY (rule, labels)
    ) STRICT, WITHOUT ROWID"],
};

/// Where an alert stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AlertPhase {
    Pending,
    Firing,
    /// No longer active; kept until it has been handed over, and a while longer for the API.
    Resolved,
}

impl AlertPhase {
    pub fn as_str(self) -> &'static str {
        match self {
            AlertPhase::Pending => "pending",
            AlertPhase::Firing => "firing",
            AlertPhase::Resolved => "resolved",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [AlertPhase::Pending, AlertPhase::Firing, AlertPhase::Resolved]
            .into_iter()
            .find(|p| p.as_str() == text)
    }
}

/// One alert of one rule. All times in milliseconds.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredAlert {
    pub rule: String,
    /// With `alertname`.
    pub labels: Labels,
    pub annotations: Labels,
    pub phase: AlertPhase,
    pub active_at: Timestamp,
    pub fired_at: Option<Timestamp>,
    pub resolved_at: Option<Timestamp>,
    pub keep_firing_since: Option<Timestamp>,
    pub value: f64,
    /// Whether the sink has taken over the phase that is stored.
    pub handed_over: bool,
}

impl State {
    /// Every alert, in no particular order.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn alerts(&self) -> Result<Vec<StoredAlert>, StateError> {
        self.read(|c| {
            let mut statement = c.prepare_cached(
                "SELECT rule, labels, state, annotations, active_at, fired_at, resolved_at, keep_firing_since,
                        value, handed_over FROM alert_state",
            )?;
            let rows = statement.query_map([], |row| {
                Ok((
                    row.get::<_, String>(1)?,
                    row.get::<_, String>(2)?,
                    row.get::<_, String>(3)?,
                    StoredAlert {
                        rule: row.get(0)?,
                        labels: Labels::default(),
                        annotations: Labels::default(),
                        phase: AlertPhase::Pending,
                        active_at: row.get(4)?,
                        fired_at: row.get(5)?,
                        resolved_at: row.get(6)?,
                        keep_firing_since: row.get(7)?,
                        value: row.get(8)?,
                        handed_over: row.get(9)?,
                    },
                ))
            })?;
            let mut all = Vec::new();
            for row in rows {
                let (labels, phase, annotations, mut alert) = row?;
                let damaged =
                    |what: &str| StateError::Damaged(format!("{what} of an alert of {}", alert.rule));
                let labels = serde_json::from_str(&labels).map_err(|_| damaged("the labels"))?;
                let annotations =
                    serde_json::from_str(&annotations).map_err(|_| damaged("the annotations"))?;
                let phase = AlertPhase::parse(&phase).ok_or_else(|| damaged("the phase"))?;
                (alert.labels, alert.annotations, alert.phase) = (labels, annotations, phase);
                all.push(alert);
            }
            Ok(all)
        })
    }

    /// Records changed alerts and forgets others, together. `forget` names rule and labels.
    pub fn save_alerts(&self, changed: Vec<StoredAlert>, forget: Vec<(String, Labels)>) -> Pending<()> {
        self.write(move |c| {
            let mut put = c.prepare_cached(
                "INSERT OR REPLACE INTO alert_state VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
            )?;
            for a in &changed {
                // SQLite has no NaN: it would be stored as NULL. An alert's value is for people.
                let value = if a.value.is_nan() { 0.0 } else { a.value };
                put.execute((
                    &a.rule,
                    json(&a.labels)?,
                    a.phase.as_str(),
                    json(&a.annotations)?,
                    a.active_at,
                    a.fired_at,
                    a.resolved_at,
                    a.keep_firing_since,
                    value,
                    a.handed_over,
                ))?;
            }
            let mut delete = c.prepare_cached("DELETE FROM alert_state WHERE rule = ?1 AND labels = ?2")?;
            for (rule, labels) in &forget {
                delete.execute((rule, json(labels)?))?;
            }
            Ok(())
        })
    }
}

pub(crate) fn json<T: serde::Serialize>(value: &T) -> Result<String, StateError> {
    serde_json::to_string(value).map_err(|e| StateError::Damaged(e.to_string()))
}

#[cfg(test)]
mod tests;
