//! Alerts that `alerting` answers for, and what has been delivered of them.
//!
//! `inbox` holds the alerts taken over from rules; `sent` is the notification log: for one group and one
//! receiver's integration, which alerts the last delivered message told as firing and as resolved.

use crate::{
    alerts::json,
    engine::{Pending, State, StateError, Tables},
};
use model::{Alert, Labels, Timestamp};
use std::collections::BTreeSet;

pub(crate) const TABLES: Tables = Tables {
    module: "deliveries",
    steps: &["CREATE TABLE inbox (
        labels TEXT PRIMARY KEY, annotations TEXT NOT NULL, starts_at INTEGER NOT NULL, ends_at INTEGER,
        generator_url TEXT NOT NULL, received_at INTEGER NOT NULL, updated_at INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE sent (
        group_key TEXT NOT NULL, integration TEXT NOT NULL, firing TEXT NOT NULL, resolved TEXT NOT NULL,
        sent_at INTEGER NOT NULL, PRIMARY KEY (group_key, integration)
    ) STRICT, WITHOUT ROWID"],
};

/// An alert in the inbox.
#[derive(Debug, Clone, PartialEq)]
pub struct InboxAlert {
    pub alert: Alert,
    /// When it came first in its present life, and when it was last heard of.
    pub received_at: Timestamp,
    pub updated_at: Timestamp,
}

/// The last message that one integration delivered for one group.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sent {
    pub group_key: String,
    pub integration: String,
    /// Fingerprints told as firing, and as resolved.
    pub firing: BTreeSet<String>,
    pub resolved: BTreeSet<String>,
    pub sent_at: Timestamp,
}

impl State {
    /// All alerts in the inbox.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn inbox(&self) -> Result<Vec<InboxAlert>, StateError> {
        self.read(|c| {
            let mut statement = c.prepare_cached(
                "SELECT labels, annotations, starts_at, ends_at, generator_url, received_at, updated_at FROM inbox",
            )?;
            let rows = statement.query_map([], |row| {
                Ok((
                    row.get::<_, String>(0)?,
                    row.get::<_, String>(1)?,
                    InboxAlert {
                        alert: Alert {
                            labels: Labels::default(),
                            annotations: Labels::default(),
                            starts_at: row.get(2)?,
                            ends_at: row.get(3)?,
                            generator_url: row.get(4)?,
                        },
                        received_at: row.get(5)?,
                        updated_at: row.get(6)?,
                    },
                ))
            })?;
            let mut all = Vec::new();
            for row in rows {
                let (labels, annotations, mut entry) = row?;
                let damaged = |e: serde_json::Error| StateError::Damaged(format!("an alert in the inbox: {e}"));
                entry.alert.labels = serde_json::from_str(&labels).map_err(damaged)?;
                entry.alert.annotations = serde_json::from_str(&annotations).map_err(damaged)?;
                all.push(entry);
            }
            Ok(all)
        })
    }

    /// Records alerts in the inbox and removes others by their labels, together.
    pub fn save_inbox(&self, changed: Vec<InboxAlert>, remove: Vec<Labels>) -> Pending<()> {
        self.write(move |c| {
            let mut put =
                c.prepare_cached("INSERT OR REPLACE INTO inbox VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)")?;
            for entry in &changed {
                let a = &entry.alert;
                put.execute((
                    json(&a.labels)?,
                    json(&a.annotations)?,
                    a.starts_at,
                    a.ends_at,
                    &a.generator_url,
                    entry.received_at,
                    entry.updated_at,
                ))?;
            }
            let mut delete = c.prepare_cached("DELETE FROM inbox WHERE labels = ?1")?;
            for labels in &remove {
                delete.execute([json(labels)?])?;
            }
            Ok(())
        })
    }

    /// The notification log.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn sent(&self) -> Result<Vec<Sent>, StateError> {
        self.read(|c| {
            let mut statement =
                c.prepare_cached("SELECT group_key, integration, firing, resolved, sent_at FROM sent")?;
            let rows = statement.query_map([], |row| {
                Ok((
                    row.get::<_, String>(2)?,
                    row.get::<_, String>(3)?,
                    Sent {
                        group_key: row.get(0)?,
                        integration: row.get(1)?,
                        sent_at: row.get(4)?,
                        ..Sent::default()
                    },
                ))
            })?;
            let mut all = Vec::new();
            for row in rows {
                let (firing, resolved, mut sent) = row?;
                let damaged =
                    |e: serde_json::Error| StateError::Damaged(format!("the notification log: {e}"));
                sent.firing = serde_json::from_str(&firing).map_err(damaged)?;
                sent.resolved = serde_json::from_str(&resolved).map_err(damaged)?;
                all.push(sent);
            }
            Ok(all)
        })
    }

    /// Records a delivered message in place of the one before it.
    pub fn save_sent(&self, sent: Sent) -> Pending<()> {
        self.write(move |c| {
            c.prepare_cached("INSERT OR REPLACE INTO sent VALUES (?1, ?2, ?3, ?4, ?5)")?.execute((
                &sent.group_key,
                &sent.integration,
                json(&sent.firing)?,
                json(&sent.resolved)?,
                sent.sent_at,
            ))?;
            Ok(())
        })
    }

    /// Forgets messages that were sent before `before`. A group whose alerts still fire is renewed by its
    /// repeats, so give more than the longest `repeat_interval`.
    pub fn forget_sent(&self, before: Timestamp) -> Pending<usize> {
        self.write(move |c| Ok(c.execute("DELETE FROM sent WHERE sent_at < ?1", [before])?))
    }
}

#[cfg(test)]
mod tests;
