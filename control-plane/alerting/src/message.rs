//! What a message says. The state is in words, the cause first, then what to do.

use crate::core::Job;
use model::{Alert, Labels, Timestamp};
use template::{Host, alertmanager::Data};

/// A message before it takes an integration's form.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// `FIRING` or `RESOLVED`.
    pub status: &'static str,
    /// One line: `FIRING: ServiceDown (auth)`.
    pub title: String,
    pub alerts: Vec<Lines>,
    /// Alerts beyond those shown.
    pub more: usize,
    /// What people must know of the message itself: that it is late, or not recorded.
    pub notes: Vec<String>,
    pub console_url: String,
}

/// One alert in lines.
#[derive(Debug, Clone, PartialEq)]
pub struct Lines {
    pub status: &'static str,
    pub summary: String,
    pub description: String,
    /// Severity, service, since when, and the labels that are left.
    pub facts: Vec<(String, String)>,
    pub runbook: Option<String>,
    pub graph: Option<String>,
}

/// Alerts shown in one message; the console shows the others.
const MOST_SHOWN: usize = 10;

impl Message {
    /// Writes the message for a job, as it stands at `now`.
    pub fn of(job: &Job, now: Timestamp, external_url: &str) -> Message {
        let firing = job.alerts.iter().filter(|a| !a.is_resolved_at(now)).count();
        let status = if firing > 0 { "FIRING" } else { "RESOLVED" };
        let mut notes = Vec::new();
        if let Some(since) = job.delayed_since {
            notes.push(format!(
                "This message is late: it was due at {} and could not be delivered until now. It tells how things stand at {}.",
                clock(since),
                clock(now)
            ));
        }
        if !job.recorded {
            notes.push(
                "Not recorded: Vigie's disk does not take writes. This message may come again.".to_owned(),
            );
        }
        Message {
            status,
            title: title(job, status, firing),
            alerts: job.alerts.iter().take(MOST_SHOWN).map(|a| lines(a, now)).collect(),
            more: job.alerts.len().saturating_sub(MOST_SHOWN),
            notes,
            console_url: external_url.to_owned(),
        }
    }

    /// The message as plain text.
    pub fn plain(&self) -> String {
        let mut out = String::new();
        for note in &self.notes {
            out.push_str(&format!("{note}\n\n"));
        }
        for alert in &self.alerts {
            out.push_str(&format!("{}: {}\n", alert.status, alert.summary));
            if !alert.description.is_empty() {
                out.push_str(&format!("{}\n", alert.description));
            }
            for (name, value) in &alert.facts {
                out.push_str(&format!("  {name}: {value}\n"));
            }
            if let Some(url) = &alert.runbook {
                out.push_str(&format!("  What to do: {url}\n"));
            }
            if let Some(url) = &alert.graph {
                out.push_str(&format!("  Graph: {url}\n"));
            }
            out.push('\n');
        }
        if self.more > 0 {
            out.push_str(&format!("and {} more\n\n", self.more));
        }
        out.push_str(&format!("Console: {}\n", self.console_url));
        out
    }
}

fn title(job: &Job, status: &str, firing: usize) -> String {
    let common = |name: &str| {
        let mut values = job.alerts.iter().map(|a| a.labels.value(name));
        let first = values.next().unwrap_or("");
        if !first.is_empty() && values.all(|v| v == first) { Some(first.to_owned()) } else { None }
    };
    let name = common("alertname").unwrap_or_else(|| "several alerts".to_owned());
    let whom = ["service", "budget", "probe", "instance"].into_iter().find_map(common);
    let count = if firing > 1 { format!(" x{firing}") } else { String::new() };
    match whom {
        Some(whom) => format!("{status}{count}: {name} ({whom})"),
        None => format!("{status}{count}: {name}"),
    }
}

fn lines(alert: &Alert, now: Timestamp) -> Lines {
    let over = alert.is_resolved_at(now);
    let annotation = |name: &str| alert.annotations.value(name).to_owned();
    let summary = match annotation("summary") {
        text if text.is_empty() => alert.labels.value("alertname").to_owned(),
        text => text,
    };
    let mut facts = Vec::new();
    for (label, shown) in [("severity", "Severity"), ("service", "Service")] {
        if let Some(value) = alert.labels.get(label) {
            facts.push((shown.to_owned(), value.to_owned()));
        }
    }
    facts.push(("Since".to_owned(), clock(alert.starts_at)));
    if let (true, Some(end)) = (over, alert.ends_at) {
        facts.push(("Until".to_owned(), format!("{} ({})", clock(end), lasted(end - alert.starts_at))));
    }
    let rest: Vec<String> = alert
        .labels
        .iter()
        .filter(|l| !matches!(&*l.name, "alertname" | "severity" | "service"))
        .map(|l| format!("{}={}", l.name, l.value))
        .collect();
    if !rest.is_empty() {
        facts.push(("Labels".to_owned(), rest.join(", ")));
    }
    let link = |text: String| {
        if text.starts_with("http://") || text.starts_with("https://") { Some(text) } else { None }
    };
    Lines {
        status: if over { "RESOLVED" } else { "FIRING" },
        summary,
        description: annotation("description"),
        facts,
        runbook: link(annotation("runbook_url")).or_else(|| link(annotation("runbook"))),
        graph: link(alert.generator_url.clone()),
    }
}

/// A time for people: `2026-11-22 19:40:05 UTC`.
pub fn clock(at: Timestamp) -> String {
    let text = kit::telemetry::rfc3339(at);
    match text.split_once('T') {
        Some((date, time)) => format!("{date} {} UTC", time.split('.').next().unwrap_or(time)),
        None => text,
    }
}

/// A length of time in its two largest units.
pub fn lasted(ms: i64) -> String {
    let seconds = ms.max(0) / 1000;
    let (d, h, m, s) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    match (d, h, m) {
        (0, 0, 0) => format!("{s} s"),
        (0, 0, m) => format!("{m} min {s} s"),
        (0, h, m) => format!("{h} h {m} min"),
        (d, h, _) => format!("{d} d {h} h"),
    }
}

/// The host of notification templates.
#[derive(Debug)]
pub(crate) struct TemplateHost<'a> {
    pub(crate) now: Timestamp,
    pub(crate) external_url: &'a str,
}

impl Host for TemplateHost<'_> {
    fn now_ms(&self) -> i64 {
        self.now
    }
    fn external_url(&self) -> &str {
        self.external_url
    }
}

fn pairs(labels: &Labels) -> Vec<(String, String)> {
    labels.iter().map(|l| (l.name.to_string(), l.value.to_string())).collect()
}

/// The labels (or annotations) that all alerts have with the same value.
pub(crate) fn common(sets: &[&Labels]) -> Labels {
    let Some((first, rest)) = sets.split_first() else { return Labels::default() };
    Labels::from_pairs(
        first
            .iter()
            .filter(|l| rest.iter().all(|other| other.get(&l.name) == Some(&*l.value)))
            .map(|l| (l.name.to_string(), l.value.to_string())),
    )
}

/// A job as Alertmanager's template data.
pub(crate) fn template_data(job: &Job, now: Timestamp, external_url: &str) -> Data {
    let alerts = job
        .alerts
        .iter()
        .map(|a| template::alertmanager::Alert {
            resolved: a.is_resolved_at(now),
            labels: Some(pairs(&a.labels)),
            annotations: Some(pairs(&a.annotations)),
            starts_at_ms: Some(a.starts_at),
            ends_at_ms: a.ends_at,
            generator_url: a.generator_url.clone(),
            fingerprint: a.fingerprint(),
        })
        .collect();
    let labels: Vec<&Labels> = job.alerts.iter().map(|a| &a.labels).collect();
    let annotations: Vec<&Labels> = job.alerts.iter().map(|a| &a.annotations).collect();
    let firing = job.alerts.iter().any(|a| !a.is_resolved_at(now));
    Data {
        receiver: job.receiver.clone(),
        status: if firing { "firing" } else { "resolved" }.to_owned(),
        alerts,
        group_labels: Some(pairs(&job.group_labels)),
        common_labels: Some(pairs(&common(&labels))),
        common_annotations: Some(pairs(&common(&annotations))),
        external_url: external_url.to_owned(),
        notification_reason: String::new(),
        route_labels: None,
    }
}
