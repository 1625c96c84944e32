//! `POST /api/v1/ai/chat`.

use crate::{
    App,
    domain::{Ask, ChatBody, Defaults},
};
use axum::{
    extract::{ConnectInfo, State},
    http::{HeaderMap, StatusCode, header},
};
use kit::http::{ApiError, Caller, Json};
use llm::{Account, ChatAnswer, Correction, LlmError};
use serde::Serialize;
use std::{net::SocketAddr, sync::Arc};

/// The answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Answer {
    content: String,
    usage: Tokens,
    model: String,
    finish_reason: String,
    provider: &'static str,
    /// USD as the budget authority priced it; null while that is not known.
    cost: Option<f64>,
    corrections: Vec<Correction>,
    #[serde(skip_serializing_if = "Option::is_none")]
    conversation_id: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Tokens {
    prompt_tokens: u64,
    completion_tokens: u64,
    total_tokens: u64,
}

impl App {
    pub(super) fn defaults(&self) -> Defaults {
        Defaults { max_tokens: self.max_tokens, temperature: self.temperature }
    }

    /// Asks within the user's rate, and counts what was answered as `kind`.
    pub(super) async fn ask(
        &self,
        ask: Ask,
        headers: &HeaderMap,
        peer: SocketAddr,
        kind: &'static str,
    ) -> Result<Answer, ApiError> {
        let user = user(headers);
        let who = user.clone().unwrap_or_else(|| format!("address {}", peer.ip()));
        self.within_rate(&who, kind).await?;
        let account = Account { user, plan: None };
        let answer = self.llm.chat(ask.request, account).await.map_err(refusal)?;
        self.metrics.messages.with_label_values(&[ask.language, ask.level, kind]).inc();
        Ok(into_answer(answer, ask.conversation_id))
    }

    async fn within_rate(&self, who: &str, kind: &'static str) -> Result<(), ApiError> {
        match self.rate.check(who).await {
            Ok(verdict) if verdict.allowed => Ok(()),
            Ok(verdict) => {
                self.metrics.rate_limited.with_label_values(&[kind]).inc();
                let seconds = verdict.resets_in.as_secs().max(1);
                Err(ApiError::new(
                    StatusCode::TOO_MANY_REQUESTS,
                    "rate_limited",
                    format!("too many calls: try again in {seconds} s"),
                )
                .with_header(header::RETRY_AFTER, &seconds.to_string()))
            }
            Err(e) => {
                // The budget still bounds what can be spent; a cache that is away need not stop everybody.
                tracing::warn!(error = %e, "the rate limit cannot be counted; the call goes on");
                Ok(())
            }
        }
    }
}

pub(super) async fn chat(
    _: Caller,
    State(app): State<Arc<App>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    Json(body): Json<ChatBody>,
) -> Result<Json<Answer>, ApiError> {
    let ask = body.into_ask(app.defaults()).map_err(ApiError::bad_request)?;
    app.ask(ask, &headers, peer, "chat").await.map(Json)
}

/// For whom the calling service asks.
fn user(headers: &HeaderMap) -> Option<String> {
    let value = headers.get("x-user-id")?.to_str().ok()?.trim();
    let sane = (1..=128).contains(&value.len()) && value.bytes().all(|b| b.is_ascii_graphic());
    sane.then(|| value.to_owned())
}

fn into_answer(answer: ChatAnswer, conversation_id: Option<String>) -> Answer {
    let (prompt, completion) = (answer.usage.all_input(), answer.usage.all_output());
    Answer {
        content: answer.content,
        usage: Tokens {
            prompt_tokens: prompt,
            completion_tokens: completion,
            total_tokens: prompt + completion,
        },
        model: answer.model,
        finish_reason: answer.finish_reason,
        provider: answer.provider,
        cost: answer.cost_usd.and_then(|text| text.parse().ok()),
        corrections: answer.corrections,
        conversation_id,
    }
}

fn refusal(error: LlmError) -> ApiError {
    let message = error.to_string();
    match error {
        LlmError::BudgetExceeded { budget, resets_at, retry_after_seconds } => {
            ApiError::new(StatusCode::TOO_MANY_REQUESTS, "budget_exceeded", message)
                .with_header(header::RETRY_AFTER, &retry_after_seconds.to_string())
                .with_detail("budget", budget)
                .with_detail("resets_at", resets_at)
        }
        LlmError::AuthorityAway(why) => {
            tracing::warn!(%why, "the budget authority is away: the call is refused");
            ApiError::unavailable(
                "budget_authority_away",
                "AI is not available: whether it may be paid for cannot be asked",
            )
            .with_header(header::RETRY_AFTER, "5")
        }
        LlmError::Refused { code, message } => {
            tracing::warn!(%code, %message, "the budget authority refused the call");
            ApiError::unavailable("budget_refused", format!("AI is not available: {message}"))
        }
        LlmError::Provider { .. } => ApiError::new(StatusCode::BAD_GATEWAY, "provider_failed", message),
        LlmError::Busy => ApiError::unavailable("busy", message).with_header(header::RETRY_AFTER, "1"),
        LlmError::Stopping => ApiError::unavailable("stopping", message),
    }
}
