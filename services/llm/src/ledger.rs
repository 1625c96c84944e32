//! The budget authority's protocol: reserve, start, settle, cancel.

use crate::{Account, LlmError, Usage};
use kit::{
    client::{ServiceClient, sentence},
    clock::Clock,
};
use reqwest::{Method, Response, StatusCode, header};
use serde::Deserialize;
use serde_json::{Value, json};
use std::time::Duration;

const PATH: &str = "/api/vigie/v1/ai/reservations";

/// How long the authority may take for one answer; it answers in microseconds when it is well.
pub(crate) const PATIENCE: Duration = Duration::from_secs(3);

/// How often one step is asked for before the authority counts as away.
const TRIES: u32 = 2;

/// What is to be reserved.
#[derive(Debug)]
pub(crate) struct Wanted<'a> {
    /// The attempt's UUID: asking again with it never reserves twice.
    pub(crate) attempt_id: String,
    pub(crate) service: &'a str,
    pub(crate) provider: &'a str,
    pub(crate) model: &'a str,
    pub(crate) account: &'a Account,
    pub(crate) input_tokens: u64,
    pub(crate) max_output_tokens: u64,
}

#[derive(Debug, Deserialize)]
struct Granted {
    id: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Refusal {
    code: String,
    message: String,
    budget: String,
    resets_at: Value,
}

/// The authority, as a service sees it. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Ledger {
    authority: Option<ServiceClient>,
    clock: Clock,
}

/// A step that did not go through.
#[derive(Debug)]
pub(crate) enum Failed {
    /// Nobody answered, or something that may pass: worth asking again.
    Away(String),
    /// The authority said no, and will again.
    No(StatusCode, String),
}

impl Ledger {
    pub(crate) fn new(authority: Option<ServiceClient>, clock: Clock) -> Self {
        Ledger { authority, clock }
    }

    async fn send(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Response, Failed> {
        let Some(authority) = &self.authority else {
            return Err(Failed::Away("MONITORING_SERVICE_URL is not set".to_owned()));
        };
        let mut request = authority.request(method, &format!("{PATH}{path}")).timeout(PATIENCE);
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = request.send().await.map_err(|e| Failed::Away(sentence(&e)))?;
        if answer.status().is_server_error() {
            return Err(Failed::Away(format!("it answered {}", answer.status())));
        }
        Ok(answer)
    }

    /// The same, asked again when nobody answers: every step may be repeated.
    async fn ask(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Response, Failed> {
        let mut tries = 1;
        loop {
            match self.send(method.clone(), path, body).await {
                Err(Failed::Away(_)) if tries < TRIES && self.authority.is_some() => {
                    tries += 1;
                    self.clock.sleep(Duration::from_millis(100)).await;
                }
                other => return other,
            }
        }
    }

    /// Asks for a hold. Gives its id.
    pub(crate) async fn reserve(&self, wanted: &Wanted<'_>) -> Result<String, LlmError> {
        let mut body = json!({
            "attempt_id": wanted.attempt_id,
            "service": wanted.service,
            "provider": wanted.provider,
            "model": wanted.model,
            "input_tokens": wanted.input_tokens,
            "max_output_tokens": wanted.max_output_tokens,
        });
        if let Some(user) = &wanted.account.user {
            body["user"] = json!(user);
        }
        if let Some(plan) = &wanted.account.plan {
            body["plan"] = json!(plan);
        }
        let answer = self.ask(Method::POST, "", Some(&body)).await.map_err(refused)?;
        let status = answer.status();
        let retry_after =
            answer.headers().get(header::RETRY_AFTER).and_then(|v| v.to_str().ok()?.parse().ok());
        if status.is_success() {
            let granted: Granted = answer.json().await.map_err(|e| LlmError::AuthorityAway(sentence(&e)))?;
            return Ok(granted.id);
        }
        let refusal: Refusal = answer.json().await.unwrap_or_default();
        if status == StatusCode::TOO_MANY_REQUESTS && refusal.code == "budget_exceeded" {
            return Err(LlmError::BudgetExceeded {
                budget: refusal.budget,
                resets_at: refusal.resets_at,
                retry_after_seconds: retry_after.unwrap_or(60),
            });
        }
        if status == StatusCode::TOO_MANY_REQUESTS {
            return Err(LlmError::AuthorityAway("it answered 429 Too Many Requests".to_owned()));
        }
        let message =
            if refusal.message.is_empty() { format!("it answered {status}") } else { refusal.message };
        Err(LlmError::Refused { code: refusal.code, message })
    }

    /// The provider is about to be called.
    pub(crate) async fn start(&self, id: &str) -> Result<(), LlmError> {
        let answer = self.ask(Method::POST, &format!("/{id}/start"), Some(&json!({}))).await;
        taken(answer).await.map(drop).map_err(refused)
    }

    /// The hold is not needed; it ends by itself if this does not arrive.
    pub(crate) async fn cancel(&self, id: &str) {
        if let Err(e) = taken(self.ask(Method::DELETE, &format!("/{id}"), None).await).await {
            tracing::debug!(reservation = id, error = ?e, "a reservation could not be cancelled");
        }
    }

    /// Says what was used. Gives the cost in USD.
    pub(crate) async fn settle(&self, id: &str, usage: &Usage) -> Result<Option<String>, Failed> {
        let body = serde_json::to_value(usage).map_err(|e| Failed::Away(e.to_string()))?;
        let answer = taken(self.ask(Method::POST, &format!("/{id}/settle"), Some(&body)).await).await?;
        let body: Value = answer.json().await.map_err(|e| Failed::Away(sentence(&e)))?;
        Ok(match &body["cost_usd"] {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        })
    }

    /// Settles until it has gone through, the authority says no, or the process stops.
    pub(crate) async fn settle_later(&self, id: &str, usage: &Usage, stopping: impl Future<Output = ()>) {
        let mut stopping = std::pin::pin!(stopping);
        let mut pause = Duration::from_secs(1);
        // Two hours of trying; after that the hold stays unconfirmed for people to resolve.
        for _ in 0..130 {
            let last = tokio::select! {
                () = self.clock.sleep(pause) => false,
                () = &mut stopping => true,
            };
            match self.settle(id, usage).await {
                Ok(_) => {
                    tracing::info!(reservation = id, "an AI call was settled late");
                    return;
                }
                Err(Failed::No(status, why)) => {
                    tracing::error!(reservation = id, %status, %why, "an AI call cannot be settled");
                    return;
                }
                Err(Failed::Away(why)) => {
                    tracing::warn!(reservation = id, %why, "an AI call is not settled yet");
                }
            }
            if last {
                break;
            }
            pause = (pause * 2).min(Duration::from_secs(60));
        }
        tracing::error!(reservation = id, "an AI call stays unsettled: its hold counts as unconfirmed");
    }
}

async fn taken(answer: Result<Response, Failed>) -> Result<Response, Failed> {
    let answer = answer?;
    let status = answer.status();
    if status.is_success() {
        return Ok(answer);
    }
    let refusal: Refusal = answer.json().await.unwrap_or_default();
    // 401 and 429 may pass: a token being rotated, a limit.
    if status == StatusCode::TOO_MANY_REQUESTS || status == StatusCode::UNAUTHORIZED {
        return Err(Failed::Away(format!("it answered {status}")));
    }
    Err(Failed::No(status, refusal.message))
}

fn refused(failed: Failed) -> LlmError {
    match failed {
        Failed::Away(why) => LlmError::AuthorityAway(why),
        Failed::No(status, message) => LlmError::Refused { code: status.as_str().to_owned(), message },
    }
}
