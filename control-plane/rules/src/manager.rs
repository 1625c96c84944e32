//! Runs the groups on time, and keeps alert state across restarts and reloads.

use crate::{
    alert::{Alerts, Changes},
    config::{GroupConfig, RuleFile},
    group::{GroupState, World},
};
use arc_swap::ArcSwap;
use kit::{
    clock::Clock,
    tasks::{Schedule, Tasks},
};
use model::{
    Alert, AlertSink, Append, Cancel, CancelReason, Labels, Matcher, SampleColumns, Select, SelectRequest,
    Timestamp,
};
use promql::Engine;
use state::{
    State,
    alerts::{AlertPhase, StoredAlert},
};
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

/// What rules need of the other rooms.
#[derive(Debug, Clone)]
pub struct RulesDeps {
    pub engine: Arc<Engine>,
    pub select: Arc<dyn Select>,
    pub append: Arc<dyn Append>,
    pub sink: Arc<dyn AlertSink>,
    pub state: State,
    pub clock: Clock,
    pub external_url: String,
}

/// What files say about all rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Globals {
    /// For groups that name none.
    pub interval: Duration,
    /// On every alert that is handed over and has no label of that name; templates know them too.
    pub external_labels: Labels,
}

impl Default for Globals {
    /// As Prometheus has it.
    fn default() -> Self {
        Globals { interval: Duration::from_secs(60), external_labels: Labels::default() }
    }
}

impl Globals {
    /// An alert as others get it.
    fn labelled(&self, alert: Alert) -> Alert {
        Alert { labels: alert.labels.with_missing(&self.external_labels), ..alert }
    }
}

/// Under which external labels alerts were handed over.
const EXTERNAL_LABELS: &str = "rules_external_labels";

/// One rule as the API shows it.
#[derive(Debug, Clone)]
pub struct RuleView {
    pub name: String,
    pub is_alert: bool,
    pub query: String,
    pub labels: Labels,
    pub annotations: Labels,
    pub hold: Duration,
    pub keep_firing: Duration,
    pub last_error: Option<String>,
    pub last_evaluation: Option<Timestamp>,
    pub evaluation_time: Duration,
    pub evaluations: u64,
    pub failures: u64,
    pub alerts: Vec<StoredAlert>,
}

/// One group as the API shows it.
#[derive(Debug, Clone)]
pub struct GroupView {
    pub file: String,
    pub name: String,
    pub interval: Duration,
    pub limit: usize,
    pub last_evaluation: Option<Timestamp>,
    pub evaluation_time: Duration,
    pub rules: Vec<RuleView>,
}

/// A group that runs, and what readers see of it.
#[derive(Debug)]
struct Running {
    globals: Arc<Globals>,
    /// Those of `globals`, as templates take them.
    external_labels: Arc<[(String, String)]>,
    state: Mutex<GroupState>,
    view: ArcSwap<GroupView>,
}

type Shared = Arc<Running>;

/// A group's evaluation may take its interval, or this where that is longer.
const LEAST_PATIENCE: Duration = Duration::from_secs(30);

/// The rules in force. Shared as an `Arc`.
#[derive(Debug)]
pub struct Rules {
    deps: RulesDeps,
    groups: Mutex<Vec<Shared>>,
    /// The tasks of the groups in force; replaced by a reload.
    generation: Mutex<Option<Tasks>>,
    tasks: Tasks,
    /// Since when the targets have been seen; `i64::MAX` before that.
    settled_at: AtomicI64,
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Rules {
    /// Goes on from what is on disk. Alerts of rules that are no more are ended.
    ///
    /// # Errors
    /// When the state cannot be read or written.
    pub async fn start(
        deps: RulesDeps,
        files: &[RuleFile],
        globals: Globals,
        tasks: &Tasks,
    ) -> anyhow::Result<Arc<Self>> {
        let rules = Arc::new(Rules {
            deps,
            groups: Mutex::default(),
            generation: Mutex::default(),
            tasks: tasks.clone(),
            settled_at: AtomicI64::new(i64::MAX),
        });
        let mut stored: BTreeMap<String, Alerts> = BTreeMap::new();
        for alert in rules.deps.state.alerts()? {
            let alerts = stored.entry(alert.rule.clone()).or_default();
            alerts.rule.clone_from(&alert.rule);
            alerts.all.insert(alert.labels.clone(), alert);
        }
        let discounted = rules.discount_downtime(&mut stored);
        if let Err(e) = rules.deps.state.save_alerts(discounted, Vec::new()).await {
            tracing::error!(error = %e, "the time that Vigie was down could not be recorded");
        }
        rules.install(files, globals, stored, Vec::new()).await;
        Ok(rules)
    }

    /// Follows new rule files. Groups that stay keep their alerts; alerts of rules that go are ended.
    ///
    /// It cannot fail: what the disk does not take is told all the same, and ended once more by the next start.
    pub async fn reload(self: &Arc<Self>, files: &[RuleFile], globals: Globals) {
        let generation = locked(&self.generation).take();
        if let Some(generation) = generation {
            generation.stop(Duration::from_secs(30)).await;
        }
        let old: Vec<Shared> = std::mem::take(&mut *locked(&self.groups));
        let mut stored = BTreeMap::new();
        for group in &old {
            for rule in &mut locked(&group.state).rules {
                let alerts = std::mem::take(&mut rule.alerts);
                stored.insert(alerts.rule.clone(), alerts);
            }
        }
        self.install(files, globals, stored, old).await;
    }

    /// The targets have been seen since the start: from now on an alert that is not found has ended.
    pub fn settle(&self) {
        self.settled_at.fetch_min(self.deps.clock.now_ms(), Ordering::Relaxed);
    }

    async fn install(
        self: &Arc<Self>,
        files: &[RuleFile],
        globals: Globals,
        mut stored: BTreeMap<String, Alerts>,
        old: Vec<Shared>,
    ) {
        let globals = Arc::new(globals);
        let external_labels: Arc<[(String, String)]> =
            globals.external_labels.iter().map(|l| (l.name.to_string(), l.value.to_string())).collect();
        self.end_under_old_labels(&stored, &globals).await;
        let generation = self.tasks.group();
        let (mut groups, mut ordinals) = (Vec::new(), BTreeMap::new());
        for config in files.iter().flat_map(|f| &f.groups) {
            let state = GroupState::new(Arc::new(config.clone()), &mut ordinals, |key| {
                stored.remove(key).unwrap_or_default()
            });
            let view = ArcSwap::from_pointee(view(&state, globals.interval));
            let running = Running {
                globals: Arc::clone(&globals),
                external_labels: Arc::clone(&external_labels),
                state: Mutex::new(state),
                view,
            };
            groups.push((config.clone(), Arc::new(running)));
        }
        let names: Vec<(String, String)> =
            groups.iter().map(|(c, _)| (c.file.clone(), c.name.clone())).collect();
        for group in old {
            let mut group = locked(&group.state);
            let stays = names.contains(&(group.config.file.clone(), group.config.name.clone()));
            if !stays && let Err(e) = group.end_series(self.deps.clock.now_ms(), &*self.deps.append) {
                tracing::warn!(error = %e, "the series of a rule group that is no more could not be ended");
            }
        }
        self.end_orphans(stored, &globals).await;
        *locked(&self.groups) = groups.iter().map(|(_, g)| Arc::clone(g)).collect();
        for (config, group) in groups {
            self.run(&generation, &config, group);
        }
        *locked(&self.generation) = Some(generation);
    }

    /// Alerts whose rule is no more end, and whoever was told of them is told that. Where that cannot be recorded
    /// they are not forgotten, so that the next start ends them again: the rules that stay must run on.
    async fn end_orphans(&self, stored: BTreeMap<String, Alerts>, globals: &Globals) {
        let now = self.deps.clock.now_ms();
        for (rule, mut alerts) in stored {
            alerts.end_all(now);
            let over: Vec<Alert> = alerts.to_hand_over("").into_iter().map(|a| globals.labelled(a)).collect();
            let sink = Arc::clone(&self.deps.sink);
            let taken = tokio::task::spawn_blocking(move || sink.accept(now, &over)).await;
            let outcome = match taken.map_err(anyhow::Error::from).and_then(|t| Ok(t?)) {
                Ok(()) => {
                    let forget = alerts.all.keys().map(|l| (rule.clone(), l.clone())).collect();
                    self.deps.state.save_alerts(Vec::new(), forget).await.map_err(anyhow::Error::from)
                }
                Err(e) => Err(e),
            };
            if let Err(e) = outcome {
                tracing::error!(rule, error = %format!("{e:#}"), "the end of a rule's alerts could not be recorded");
            }
        }
    }

    /// Alerts that were handed over under other external labels end there: under the new ones they are others.
    async fn end_under_old_labels(&self, stored: &BTreeMap<String, Alerts>, globals: &Globals) {
        let now = self.deps.clock.now_ms();
        let known = self.deps.state.mark(EXTERNAL_LABELS).unwrap_or_else(|e| {
            tracing::error!(error = %e, "the external labels of alerts could not be looked up");
            None
        });
        let known: Labels = known.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
        if known == globals.external_labels {
            return;
        }
        let before = Globals { external_labels: known, ..globals.clone() };
        let over: Vec<Alert> = stored
            .values()
            .flat_map(|alerts| alerts.to_hand_over(""))
            .map(|alert| Alert { ends_at: alert.ends_at.or(Some(now)), ..before.labelled(alert) })
            .collect();
        let sink = Arc::clone(&self.deps.sink);
        let taken = tokio::task::spawn_blocking(move || sink.accept(now, &over)).await;
        let outcome = match taken.map_err(anyhow::Error::from).and_then(|t| Ok(t?)) {
            Ok(()) => {
                let text = serde_json::to_string(&globals.external_labels).unwrap_or_default();
                self.deps.state.set_mark(EXTERNAL_LABELS, text).await.map_err(anyhow::Error::from)
            }
            Err(e) => Err(e),
        };
        if let Err(e) = outcome {
            tracing::error!(error = %format!("{e:#}"), "alerts could not be ended under their old external labels");
        }
    }

    /// Time during which Vigie was down does not count towards `for`: pending alerts begin later by as much as
    /// no sample confirms. The last sample of `ALERTS_FOR_STATE` tells when a rule was last evaluated. Returns
    /// what must be on disk, lest the next start count this downtime after all.
    fn discount_downtime(&self, stored: &mut BTreeMap<String, Alerts>) -> Vec<StoredAlert> {
        let now = self.deps.clock.now_ms();
        let mut changed = Vec::new();
        let pending = stored.values_mut().flat_map(|a| a.all.values_mut());
        for alert in pending.filter(|a| a.phase == AlertPhase::Pending) {
            let named = alert.labels.with(model::labels::METRIC_NAME, "ALERTS_FOR_STATE");
            let matchers: Vec<Matcher> =
                named.iter().map(|l| Matcher::eq(Arc::clone(&l.name), Arc::clone(&l.value))).collect();
            let seen =
                last_sample(&*self.deps.select, &matchers, alert.active_at, now).unwrap_or(alert.active_at);
            alert.active_at += (now - seen).max(0);
            changed.push(alert.clone());
        }
        changed
    }

    fn run(self: &Arc<Self>, tasks: &Tasks, config: &GroupConfig, group: Shared) {
        let interval = config.interval.unwrap_or(group.globals.interval);
        let (rules, stop) = (Arc::clone(self), tasks.stopping());
        tasks.reconciler(format!("rules {}", config.name), Schedule::Every(interval), move || {
            let (rules, group, stop) = (Arc::clone(&rules), Arc::clone(&group), stop.clone());
            async move {
                let cancel = Cancel::default();
                let (flag, clock) = (cancel.clone(), rules.deps.clock.clone());
                // Evaluating computes, and waits for the disk: not on a thread that others wait for.
                let work = tokio::task::spawn_blocking(move || rules.evaluate(&group, &flag));
                tokio::pin!(work);
                tokio::select! {
                    outcome = &mut work => return outcome?,
                    () = stop.cancelled() => cancel.cancel(CancelReason::Shutdown),
                    () = clock.sleep(interval.max(LEAST_PATIENCE)) => cancel.cancel(CancelReason::Deadline),
                }
                work.await?
            }
        });
    }

    /// One evaluation of one group: results written, changes saved, alerts handed over.
    fn evaluate(&self, running: &Running, cancel: &Cancel) -> anyhow::Result<String> {
        let mut group = locked(&running.state);
        let outcome = self.evaluate_group(running, &mut group, cancel);
        running.view.store(Arc::new(view(&group, running.globals.interval)));
        outcome
    }

    fn evaluate_group(
        &self,
        running: &Running,
        group: &mut GroupState,
        cancel: &Cancel,
    ) -> anyhow::Result<String> {
        let at = self.deps.clock.now_ms();
        let clock = self.deps.clock.clone();
        let world = World {
            engine: &self.deps.engine,
            select: &*self.deps.select,
            append: &*self.deps.append,
            cancel,
            external_url: &self.deps.external_url,
            external_labels: &running.external_labels,
            settled_at: self.settled_at.load(Ordering::Relaxed),
        };
        let changes: Changes = group.evaluate(at, world, &|| clock.elapsed());
        let changes = group.with_unsaved(changes);
        // A page must go out even where the disk is full; what is not saved is saved by the next evaluation, or
        // an alert that alerting knows would have no rule after a restart and never end.
        let saved = if changes.put.is_empty() && changes.forget.is_empty() {
            Ok(())
        } else {
            let forget = changes.forget.clone();
            let saved = self.deps.state.save_alerts(changes.put, changes.forget).wait();
            group.unsaved = saved.is_err().then_some(forget);
            saved
        };
        let mut handed: Vec<Alert> = Vec::new();
        for rule in &group.rules {
            let url = graph_url(&self.deps.external_url, &rule.config.query);
            handed.extend(rule.alerts.to_hand_over(&url).into_iter().map(|a| running.globals.labelled(a)));
        }
        self.deps.sink.accept(at, &handed)?;
        let mut told = Vec::new();
        for rule in &mut group.rules {
            told.extend(rule.alerts.handed_over());
        }
        if !told.is_empty() {
            self.deps.state.save_alerts(told, Vec::new()).wait()?;
        }
        saved?;
        let failing: Vec<String> = group
            .rules
            .iter()
            .filter_map(|r| r.last_error.as_ref().map(|e| format!("{}: {e}", r.config.name)))
            .collect();
        if failing.is_empty() {
            Ok(format!("{} rules, {} alerts", group.rules.len(), handed.len()))
        } else {
            anyhow::bail!("{}", failing.join("; "))
        }
    }

    /// Every group as it stands.
    pub fn view(&self) -> Vec<Arc<GroupView>> {
        locked(&self.groups).iter().map(|g| g.view.load_full()).collect()
    }
}

fn view(group: &GroupState, default_interval: Duration) -> GroupView {
    let rules: Vec<RuleView> = group
        .rules
        .iter()
        .map(|r| {
            let (hold, keep_firing) = match &r.config.kind {
                crate::config::RuleKind::Alert { hold, keep_firing, .. } => (*hold, *keep_firing),
                crate::config::RuleKind::Record => (Duration::ZERO, Duration::ZERO),
            };
            RuleView {
                name: r.config.name.clone(),
                is_alert: r.config.is_alert(),
                query: r.config.expr.to_string(),
                labels: r.config.label_texts.clone(),
                annotations: r.config.annotation_texts.clone(),
                hold,
                keep_firing,
                last_error: r.last_error.clone(),
                last_evaluation: r.last_evaluation,
                evaluation_time: r.evaluation_time,
                evaluations: r.evaluations,
                failures: r.failures,
                alerts: r.alerts.all.values().cloned().collect(),
            }
        })
        .collect();
    GroupView {
        file: group.config.file.clone(),
        name: group.config.name.clone(),
        interval: group.config.interval.unwrap_or(default_interval),
        limit: group.config.limit,
        last_evaluation: rules.iter().filter_map(|r| r.last_evaluation).max(),
        evaluation_time: rules.iter().map(|r| r.evaluation_time).sum(),
        rules,
    }
}

/// The time of the last sample of the series that match exactly.
fn last_sample(
    select: &dyn Select,
    matchers: &[Matcher],
    from: Timestamp,
    to: Timestamp,
) -> Option<Timestamp> {
    let mut stream = select.select(&SelectRequest::new(matchers, from, to)).ok()?;
    let mut columns = SampleColumns::default();
    let mut last = None;
    while let Ok(Some(_)) = stream.next(&mut columns) {
        last = last.max(columns.times.last().copied());
    }
    last
}

/// Where the console shows an expression.
pub fn graph_url(external_url: &str, query: &str) -> String {
    let mut encoded = String::with_capacity(query.len() * 2);
    for byte in query.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    format!("{external_url}/graph?g0.expr={encoded}&g0.tab=0")
}

#[cfg(test)]
mod tests;
