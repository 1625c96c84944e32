//! The life of one rule's alerts: pending, firing, resolved.
//!
//! As in Prometheus: a result makes an alert pending; after `for` it fires; without a result it ends, unless
//! `keep_firing_for` still holds. A resolved alert stays for fifteen minutes, so that people see it.

use model::{Alert, Labels, Timestamp};
use state::alerts::{AlertPhase, StoredAlert};
use std::collections::BTreeMap;

/// How long resolved alerts are kept.
const RESOLVED_RETENTION_MS: i64 = 15 * 60_000;

/// One result of a rule's expression, its labels and annotations expanded.
#[derive(Debug, Clone)]
pub struct Found {
    /// With `alertname`.
    pub labels: Labels,
    pub annotations: Labels,
    pub value: f64,
}

/// What is decided by the rule's settings, in milliseconds.
#[derive(Debug, Clone, Copy)]
pub struct Timing {
    pub hold: i64,
    pub keep_firing: i64,
    /// Whether an alert that is not found may end: not before the targets have been seen since the start.
    pub may_end: bool,
}

/// The alerts of one rule.
#[derive(Debug, Default)]
pub struct Alerts {
    /// What `StoredAlert::rule` says.
    pub rule: String,
    pub all: BTreeMap<Labels, StoredAlert>,
}

/// What must be on disk before anybody is told.
#[derive(Debug, Default)]
pub struct Changes {
    pub put: Vec<StoredAlert>,
    pub forget: Vec<(String, Labels)>,
}

impl Alerts {
    /// Follows one evaluation's results at `at`.
    pub fn follow(&mut self, at: Timestamp, found: Vec<Found>, timing: Timing) -> Changes {
        let mut changes = Changes::default();
        let mut seen: BTreeMap<Labels, Found> = found.into_iter().map(|f| (f.labels.clone(), f)).collect();
        let mut gone = Vec::new();
        for (labels, alert) in &mut self.all {
            let before = alert.clone();
            match seen.remove(labels) {
                Some(found) => {
                    if alert.phase == AlertPhase::Resolved {
                        *alert = begin(&self.rule, at, &found);
                    }
                    alert.value = found.value;
                    alert.annotations = found.annotations;
                    alert.keep_firing_since = None;
                    if alert.phase == AlertPhase::Pending && at - alert.active_at >= timing.hold {
                        fire(alert, at);
                    }
                }
                None => absent(alert, at, timing, &mut gone),
            }
            if worth_saving(&before, alert) {
                changes.put.push(alert.clone());
            }
        }
        for (labels, found) in seen {
            let mut alert = begin(&self.rule, at, &found);
            if timing.hold == 0 {
                fire(&mut alert, at);
            }
            changes.put.push(alert.clone());
            self.all.insert(labels, alert);
        }
        for labels in gone {
            self.all.remove(&labels);
            changes.put.retain(|a| a.labels != labels);
            changes.forget.push((self.rule.clone(), labels));
        }
        changes
    }

    /// Firing alerts, and resolved ones that were not taken over yet.
    pub fn to_hand_over(&self, generator_url: &str) -> Vec<Alert> {
        self.all
            .values()
            .filter(|a| a.phase == AlertPhase::Firing || (a.phase == AlertPhase::Resolved && !a.handed_over))
            .map(|a| Alert {
                labels: a.labels.clone(),
                annotations: a.annotations.clone(),
                starts_at: a.fired_at.unwrap_or(a.active_at),
                ends_at: a.resolved_at,
                generator_url: generator_url.to_owned(),
            })
            .collect()
    }

    /// The sink has taken over everything.
    pub fn handed_over(&mut self) -> Vec<StoredAlert> {
        let mut changed = Vec::new();
        for alert in self.all.values_mut().filter(|a| a.phase == AlertPhase::Resolved && !a.handed_over) {
            alert.handed_over = true;
            changed.push(alert.clone());
        }
        changed
    }

    /// The rule is no more: what fires ends, what is pending is forgotten.
    pub fn end_all(&mut self, at: Timestamp) -> Changes {
        let timing = Timing { hold: 0, keep_firing: 0, may_end: true };
        self.follow(at, Vec::new(), timing)
    }
}

fn begin(rule: &str, at: Timestamp, found: &Found) -> StoredAlert {
    StoredAlert {
        rule: rule.to_owned(),
        labels: found.labels.clone(),
        annotations: found.annotations.clone(),
        phase: AlertPhase::Pending,
        active_at: at,
        fired_at: None,
        resolved_at: None,
        keep_firing_since: None,
        value: found.value,
        handed_over: false,
    }
}

fn fire(alert: &mut StoredAlert, at: Timestamp) {
    alert.phase = AlertPhase::Firing;
    alert.fired_at = Some(at);
}

fn absent(alert: &mut StoredAlert, at: Timestamp, timing: Timing, gone: &mut Vec<Labels>) {
    match alert.phase {
        AlertPhase::Resolved => {
            let over = alert.resolved_at.is_some_and(|end| at - end > RESOLVED_RETENTION_MS);
            if over && alert.handed_over {
                gone.push(alert.labels.clone());
            }
        }
        _ if !timing.may_end => {}
        AlertPhase::Pending => gone.push(alert.labels.clone()),
        AlertPhase::Firing => {
            if timing.keep_firing > 0 {
                let since = *alert.keep_firing_since.get_or_insert(at);
                if at - since < timing.keep_firing {
                    return;
                }
            }
            alert.phase = AlertPhase::Resolved;
            alert.resolved_at = Some(at);
            alert.handed_over = false;
        }
    }
}

/// Values change at every evaluation and are for people; phases and times must survive.
fn worth_saving(before: &StoredAlert, after: &StoredAlert) -> bool {
    before.phase != after.phase
        || before.active_at != after.active_at
        || before.keep_firing_since != after.keep_firing_since
        || before.annotations != after.annotations
}

#[cfg(test)]
mod tests;
