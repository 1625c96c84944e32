//! Webhook: Alertmanager's payload, version 4, by POST.

use super::Senders;
use crate::{config::WebhookConfig, core::Job, message::common};
use kit::telemetry::rfc3339;
use model::{Labels, Timestamp};
use serde_json::{Value, json};

pub(super) async fn send(
    senders: &Senders,
    config: &WebhookConfig,
    job: &Job,
    now: Timestamp,
) -> Result<(), String> {
    let mut request = senders
        .http
        .post(config.url.expose())
        .timeout(config.timeout)
        .header("idempotency-key", &job.delivery_key)
        .json(&payload(job, now, &senders.external_url, config.max_alerts));
    if let Some(token) = &config.bearer {
        request = request.bearer_auth(token.expose());
    }
    let answer = request.send().await.map_err(|e| kit::client::sentence(&e))?;
    let status = answer.status();
    if status.is_success() { Ok(()) } else { Err(format!("the webhook answered {status}")) }
}

/// The payload. `max_alerts` 0 means all.
pub(super) fn payload(job: &Job, now: Timestamp, external_url: &str, max_alerts: usize) -> Value {
    let most = if max_alerts == 0 { usize::MAX } else { max_alerts };
    let firing = job.alerts.iter().any(|a| !a.is_resolved_at(now));
    let alerts: Vec<Value> = job
        .alerts
        .iter()
        .take(most)
        .map(|a| {
            let over = a.is_resolved_at(now);
            json!({
                "status": if over { "resolved" } else { "firing" },
                "labels": a.labels,
                "annotations": a.annotations,
                "startsAt": rfc3339(a.starts_at),
                "endsAt": a.ends_at.filter(|_| over).map_or_else(|| "0001-01-01T00:00:00Z".to_owned(), rfc3339),
                "generatorURL": a.generator_url,
                "fingerprint": a.fingerprint(),
            })
        })
        .collect();
    let labels: Vec<&Labels> = job.alerts.iter().map(|a| &a.labels).collect();
    let annotations: Vec<&Labels> = job.alerts.iter().map(|a| &a.annotations).collect();
    json!({
        "version": "4",
        "groupKey": job.group_key,
        "truncatedAlerts": job.alerts.len().saturating_sub(most),
        "status": if firing { "firing" } else { "resolved" },
        "receiver": job.receiver,
        "groupLabels": job.group_labels,
        "commonLabels": common(&labels),
        "commonAnnotations": common(&annotations),
        "externalURL": external_url,
        "alerts": alerts,
    })
}
