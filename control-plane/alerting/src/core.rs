//! What must be told to whom, and when: plain data, with time as an argument and no input or output.
//!
//! Groups are made by routes as alerts come in. A group is due `group_wait` after its first alert, then every
//! `group_interval`. When it is due, each integration is told if what it was last told (the notification log)
//! no longer holds: a new firing alert, a resolved one, all resolved, or `repeat_interval` gone by.
//!
//! Invariants: an alert stays in the inbox until every integration that had to be told has been; a failed
//! delivery is due again after a backoff and tells what holds *then*, so late pages collapse to one a group.

use crate::config::{Integration, Route, RoutingConfig};
use model::{Alert, Labels, Timestamp};
use state::deliveries::{InboxAlert, Sent};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

/// Waits between attempts to deliver: doubled from the first to the last.
const FIRST_BACKOFF_MS: i64 = 1_000;
const LONGEST_BACKOFF_MS: i64 = 60_000;

/// One message to one integration.
#[derive(Debug, Clone)]
pub struct Job {
    pub group_key: String,
    pub group_labels: Labels,
    pub receiver: String,
    pub integration: Integration,
    /// Alerts of the message, firing ones first. Resolved ones only where the integration wants them.
    pub alerts: Vec<Alert>,
    /// What the notification log will say once it is delivered.
    pub record: Sent,
    /// The same for every attempt at telling the same thing.
    pub delivery_key: String,
    /// Since when the receiver could not be reached, if it could not.
    pub delayed_since: Option<Timestamp>,
    /// Recorded without being sent: the integration does not want resolved messages.
    pub silent: bool,
    pub recorded: bool,
}

/// How the last attempts of one integration for one group went.
#[derive(Debug, Clone, Default)]
struct Attempts {
    in_flight: bool,
    failures: u32,
    failing_since: Option<Timestamp>,
    retry_at: Option<Timestamp>,
    last_error: String,
}

#[derive(Debug)]
struct Group {
    receiver: String,
    labels: Labels,
    interval: Duration,
    repeat: Duration,
    wait: Duration,
    members: BTreeSet<Labels>,
    due: Timestamp,
    attempts: BTreeMap<String, Attempts>,
}

/// A group as people see it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct GroupStatus {
    pub key: String,
    pub receiver: String,
    pub alerts: usize,
    pub next_flush: Timestamp,
    /// Integration, and why its last attempt failed.
    pub failing: Vec<(String, String)>,
}

/// The state of all deliveries.
#[derive(Debug)]
pub struct Core {
    config: Arc<RoutingConfig>,
    inbox: BTreeMap<Labels, InboxAlert>,
    groups: BTreeMap<String, Group>,
    sent: BTreeMap<(String, String), Sent>,
    /// Whether the last change of the inbox is on disk.
    recorded: bool,
}

/// What [`Core::take`] changed and must be on disk.
#[derive(Debug, Default, PartialEq)]
pub struct Changes {
    pub put: Vec<InboxAlert>,
    pub remove: Vec<Labels>,
}

fn ms(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

impl Core {
    /// Starts from what is on disk. Groups whose integrations were all told before are due at their next interval,
    /// others `group_wait` after their first alert came, which may be long ago.
    pub fn restore(config: Arc<RoutingConfig>, inbox: Vec<InboxAlert>, sent: Vec<Sent>) -> Self {
        let mut core = Core {
            config,
            inbox: inbox.into_iter().map(|i| (i.alert.labels.clone(), i)).collect(),
            groups: BTreeMap::new(),
            sent: sent.into_iter().map(|s| ((s.group_key.clone(), s.integration.clone()), s)).collect(),
            recorded: true,
        };
        core.regroup();
        core
    }

    /// Follows a new configuration: groups are made anew; the log stays, and so do attempts, or a message that is
    /// under way would be sent a second time.
    pub fn reload(&mut self, config: Arc<RoutingConfig>) {
        self.config = config;
        let old = std::mem::take(&mut self.groups);
        self.regroup();
        for (key, before) in old {
            if let Some(group) = self.groups.get_mut(&key).filter(|g| g.receiver == before.receiver) {
                group.attempts = before.attempts;
            }
        }
    }

    fn regroup(&mut self) {
        let mut entries: Vec<InboxAlert> = self.inbox.values().cloned().collect();
        entries.sort_by_key(|e| e.received_at);
        for entry in entries {
            self.join_groups(&entry);
        }
        for (key, group) in &mut self.groups {
            let integrations =
                self.config.receivers.get(&group.receiver).map_or(&[][..], |r| &r.integrations);
            let told: Option<Vec<Timestamp>> = integrations
                .iter()
                .map(|i| self.sent.get(&(key.clone(), i.name.clone())).map(|s| s.sent_at))
                .collect();
            // Whoever was never told does not wait an interval because another was.
            if let Some(sent_at) = told.and_then(|times| times.into_iter().max()) {
                group.due = group.due.max(sent_at.saturating_add(ms(group.interval)));
            }
        }
    }

    fn join_groups(&mut self, entry: &InboxAlert) {
        let config = Arc::clone(&self.config);
        for route in config.route.matching(&entry.alert.labels) {
            let labels = route.options.group_labels(&entry.alert.labels);
            let key = group_key(route, &labels);
            let group = self.groups.entry(key).or_insert_with(|| Group {
                receiver: route.options.receiver.clone(),
                labels,
                interval: route.options.group_interval,
                repeat: route.options.repeat_interval,
                wait: route.options.group_wait,
                members: BTreeSet::new(),
                due: entry.received_at.saturating_add(ms(route.options.group_wait)),
                attempts: BTreeMap::new(),
            });
            group.members.insert(entry.alert.labels.clone());
        }
    }

    /// What handing over these alerts changes; nothing is changed yet. An alert that says the same again changes
    /// nothing.
    pub fn changes(&self, now: Timestamp, alerts: &[Alert]) -> Changes {
        let mut changes = Changes::default();
        for alert in alerts {
            let known = self.inbox.get(&alert.labels);
            let over = alert.is_resolved_at(now);
            let entry = match known {
                // Over before it was heard of: it fired, and a crash came before it could be handed over.
                None if over => {
                    if alert.ends_at.is_none_or(|end| end <= alert.starts_at) {
                        continue;
                    }
                    InboxAlert { alert: alert.clone(), received_at: alert.starts_at, updated_at: now }
                }
                None => InboxAlert { alert: alert.clone(), received_at: now, updated_at: now },
                Some(before) => {
                    let was_over = before.alert.is_resolved_at(now);
                    if before.alert == *alert || (was_over && over) {
                        continue;
                    }
                    // Firing again after an end is a new life.
                    let received_at = if was_over && !over { now } else { before.received_at };
                    InboxAlert { alert: alert.clone(), received_at, updated_at: now }
                }
            };
            changes.put.push(entry);
        }
        changes
    }

    /// Makes the changes. `recorded` tells whether they are on disk.
    pub fn take(&mut self, changes: &Changes, recorded: bool) {
        self.recorded = recorded;
        for entry in &changes.put {
            self.inbox.insert(entry.alert.labels.clone(), entry.clone());
            self.join_groups(entry);
        }
        for labels in &changes.remove {
            self.inbox.remove(labels);
        }
    }

    /// The messages that are due, marked as under way.
    pub fn due(&mut self, now: Timestamp) -> Vec<Job> {
        let keys: Vec<String> = self
            .groups
            .iter()
            .filter(|(_, g)| g.due <= now || g.retry_due(now))
            .map(|(k, _)| k.clone())
            .collect();
        let mut jobs = Vec::new();
        for key in keys {
            let scheduled = self.groups.get(&key).is_some_and(|g| g.due <= now);
            jobs.extend(self.flush(&key, now, scheduled));
        }
        jobs
    }

    fn flush(&mut self, key: &str, now: Timestamp, scheduled: bool) -> Vec<Job> {
        let Some(group) = self.groups.get(key) else { return Vec::new() };
        let Some(receiver) = self.config.receivers.get(&group.receiver) else { return Vec::new() };
        let mut jobs = Vec::new();
        for integration in &receiver.integrations {
            let attempts = group.attempts.get(&integration.name);
            if attempts.is_some_and(|a| a.in_flight) {
                continue;
            }
            // Between its times only what failed is tried again; at its time a backoff still holds.
            let retry_at = attempts.and_then(|a| a.retry_at);
            if retry_at.map_or(!scheduled, |at| at > now) {
                continue;
            }
            jobs.extend(self.job(key, group, integration, now));
        }
        if let Some(group) = self.groups.get_mut(key) {
            if scheduled {
                let interval = ms(group.interval).max(1);
                let missed = (now - group.due) / interval;
                group.due += (missed + 1) * interval;
            }
            for job in &jobs {
                group.attempts.entry(job.integration.name.clone()).or_default().in_flight = true;
            }
            // A failed message that nobody needs any more is not tried again.
            for (name, attempts) in &mut group.attempts {
                let wanted = jobs.iter().any(|j| j.integration.name == *name);
                if !wanted && !attempts.in_flight && attempts.retry_at.is_some_and(|at| at <= now) {
                    *attempts = Attempts::default();
                }
            }
        }
        jobs
    }

    /// The message for one integration, if it must be told something.
    fn job(&self, key: &str, group: &Group, integration: &Integration, now: Timestamp) -> Option<Job> {
        let members: Vec<&InboxAlert> = group
            .members
            .iter()
            .filter_map(|l| self.inbox.get(l))
            .filter(|e| !self.inhibited(e, now))
            .collect();
        let (over, firing): (Vec<&InboxAlert>, Vec<&InboxAlert>) =
            members.into_iter().partition(|e| e.alert.is_resolved_at(now));
        let names = |entries: &[&InboxAlert]| -> BTreeSet<String> {
            entries.iter().map(|e| e.alert.fingerprint()).collect()
        };
        let (firing_names, over_names) = (names(&firing), names(&over));
        let last = self.sent.get(&(key.to_owned(), integration.name.clone()));
        let attempts = group.attempts.get(&integration.name);
        // An alert that fired past its group's wait had to be told, even if it is over by now.
        // What counts is when it began to fire: a crash may have come between that and its being taken over.
        let owed = |e: &&InboxAlert| {
            let since = e.received_at.min(e.alert.starts_at);
            e.alert.ends_at.is_some_and(|end| end.saturating_sub(since) > ms(group.wait))
        };
        let needed = match last {
            None => !firing.is_empty() || over.iter().any(owed),
            Some(last) => {
                let new_firing = !firing_names.is_subset(&last.firing);
                let all_over = firing.is_empty() && !last.firing.is_empty();
                let new_over = !over_names.is_subset(&last.resolved)
                    && over.iter().any(|e| {
                        let name = e.alert.fingerprint();
                        !last.resolved.contains(&name) && (last.firing.contains(&name) || owed(e))
                    });
                let repeat = !firing.is_empty() && now - last.sent_at >= ms(group.repeat);
                new_firing || all_over || (integration.send_resolved && new_over) || repeat
            }
        };
        if !needed {
            return None;
        }
        let owed_late = last.is_none() && firing.is_empty();
        let silent = firing.is_empty() && !integration.send_resolved && !owed_late;
        let mut alerts: Vec<Alert> = firing.iter().map(|e| e.alert.clone()).collect();
        if integration.send_resolved || owed_late {
            alerts.extend(over.iter().map(|e| e.alert.clone()));
        }
        let before = last.map_or(0, |l| l.sent_at);
        let told: Vec<&str> = firing_names.iter().chain(&over_names).map(String::as_str).collect();
        let delivery_key = delivery_key(key, &integration.name, before, firing_names.len(), &told);
        Some(Job {
            group_key: key.to_owned(),
            group_labels: group.labels.clone(),
            receiver: group.receiver.clone(),
            integration: integration.clone(),
            alerts,
            record: Sent {
                group_key: key.to_owned(),
                integration: integration.name.clone(),
                firing: firing_names,
                resolved: over_names,
                sent_at: now,
            },
            delivery_key,
            delayed_since: attempts.and_then(|a| a.failing_since).or_else(|| {
                // Told only after it was over: it is late, whatever the reason.
                owed_late.then(|| over.iter().map(|e| e.received_at).min()).flatten()
            }),
            silent,
            recorded: self.recorded,
        })
    }

    /// Whether an alert that is held is not told while others fire.
    pub fn is_inhibited(&self, labels: &Labels, now: Timestamp) -> bool {
        self.inbox.get(labels).is_some_and(|entry| self.inhibited(entry, now))
    }

    fn inhibited(&self, target: &InboxAlert, now: Timestamp) -> bool {
        let all =
            |matchers: &[model::Matcher], labels: &Labels| matchers.iter().all(|m| m.matches_labels(labels));
        self.config.inhibit.iter().any(|rule| {
            all(&rule.target, &target.alert.labels)
                && self.inbox.values().any(|source| {
                    // An alert that is both source and target does not silence its like.
                    !source.alert.is_resolved_at(now)
                        && all(&rule.source, &source.alert.labels)
                        && !(all(&rule.target, &source.alert.labels)
                            && all(&rule.source, &target.alert.labels))
                        && rule
                            .equal
                            .iter()
                            .all(|name| source.alert.labels.value(name) == target.alert.labels.value(name))
                })
        })
    }

    /// A message was taken by its receiver (and recorded).
    pub fn delivered(&mut self, job: &Job) {
        let key = (job.group_key.clone(), job.integration.name.clone());
        self.sent.insert(key, job.record.clone());
        if let Some(group) = self.groups.get_mut(&job.group_key) {
            group.attempts.remove(&job.integration.name);
        }
    }

    /// A message was not taken. It is due again after a backoff; returns when.
    pub fn failed(&mut self, job: &Job, now: Timestamp, error: &str) -> Timestamp {
        let Some(group) = self.groups.get_mut(&job.group_key) else { return now };
        let attempts = group.attempts.entry(job.integration.name.clone()).or_default();
        attempts.in_flight = false;
        let backoff = FIRST_BACKOFF_MS.saturating_mul(1 << attempts.failures.min(10)).min(LONGEST_BACKOFF_MS);
        attempts.failures += 1;
        attempts.failing_since.get_or_insert(now);
        attempts.retry_at = Some(now + backoff);
        error.clone_into(&mut attempts.last_error);
        now + backoff
    }

    /// Forgets alerts that are over and that nobody must still be told of. Returns them, for the disk.
    pub fn sweep(&mut self, now: Timestamp) -> Vec<Labels> {
        let mut kept: BTreeSet<Labels> = BTreeSet::new();
        let mut open: BTreeSet<String> = BTreeSet::new();
        for (key, group) in &self.groups {
            let busy = group.attempts.values().any(|a| a.in_flight || a.retry_at.is_some());
            let integrations =
                self.config.receivers.get(&group.receiver).map_or(&[][..], |r| &r.integrations);
            let told = !busy && integrations.iter().all(|i| self.job(key, group, i, now).is_none());
            for labels in &group.members {
                let firing = self.inbox.get(labels).is_some_and(|e| !e.alert.is_resolved_at(now));
                if firing || !told {
                    kept.insert(labels.clone());
                    open.insert(key.clone());
                }
            }
        }
        let gone: Vec<Labels> = self.inbox.keys().filter(|l| !kept.contains(*l)).cloned().collect();
        for labels in &gone {
            self.inbox.remove(labels);
        }
        for group in self.groups.values_mut() {
            group.members.retain(|l| !gone.contains(l));
        }
        self.groups.retain(|key, _| open.contains(key));
        gone
    }

    pub fn inbox(&self) -> impl Iterator<Item = &InboxAlert> {
        self.inbox.values()
    }

    pub fn groups(&self) -> Vec<GroupStatus> {
        let status = |(key, g): (&String, &Group)| GroupStatus {
            key: key.clone(),
            receiver: g.receiver.clone(),
            alerts: g.members.len(),
            next_flush: g.due,
            failing: g
                .attempts
                .iter()
                .filter(|(_, a)| a.failures > 0)
                .map(|(name, a)| (name.clone(), a.last_error.clone()))
                .collect(),
        };
        self.groups.iter().map(status).collect()
    }

    /// The longest time after which a message is repeated, for cleaning the log.
    pub fn longest_repeat(&self) -> Duration {
        self.config.route.walk().iter().map(|r| r.options.repeat_interval).max().unwrap_or_default()
    }
}

impl Group {
    fn retry_due(&self, now: Timestamp) -> bool {
        self.attempts.values().any(|a| !a.in_flight && a.retry_at.is_some_and(|at| at <= now))
    }
}

/// Alertmanager's form: the route's key, then the group's labels.
fn group_key(route: &Route, labels: &Labels) -> String {
    format!("{}:{labels}", route.key)
}

/// Two attempts at telling the same thing have the same key, also across a crash.
fn delivery_key(group: &str, integration: &str, before: Timestamp, firing: usize, told: &[&str]) -> String {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    let head = format!("{group}\n{integration}\n{before}\n{firing}\n");
    for byte in head.bytes().chain(told.join(",").bytes()) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    format!("{hash:016x}")
}

#[cfg(test)]
mod tests;
