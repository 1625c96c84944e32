//! OpenAI's chat completions by HTTP, one request an attempt: no retries hidden in here.

use super::{Failure, Raw};
use crate::{ChatRequest, Usage};
use kit::{
    client::{self, sentence},
    secret::Secret,
};
use reqwest::StatusCode;
use serde::Deserialize;
use serde_json::json;
use std::time::Duration;

#[derive(Debug, Clone)]
pub(crate) struct OpenAi {
    http: reqwest::Client,
    key: Secret,
    organisation: Option<String>,
    base: String,
    model: String,
}

#[derive(Debug, Deserialize)]
struct Completion {
    model: Option<String>,
    #[serde(default)]
    choices: Vec<Choice>,
    usage: Option<RawUsage>,
}

#[derive(Debug, Deserialize)]
struct Choice {
    message: Content,
    finish_reason: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Content {
    content: Option<String>,
    refusal: Option<String>,
}

/// Cached tokens are inside the prompt's, reasoning tokens inside the completion's.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct RawUsage {
    prompt_tokens: u64,
    completion_tokens: u64,
    prompt_tokens_details: Option<PromptDetails>,
    completion_tokens_details: Option<CompletionDetails>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct PromptDetails {
    cached_tokens: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct CompletionDetails {
    reasoning_tokens: Option<u64>,
}

impl RawUsage {
    fn disjoint(&self) -> Usage {
        let cached = self.prompt_tokens_details.as_ref().and_then(|d| d.cached_tokens).unwrap_or(0);
        let reasoning = self.completion_tokens_details.as_ref().and_then(|d| d.reasoning_tokens).unwrap_or(0);
        Usage {
            input_tokens: self.prompt_tokens.saturating_sub(cached),
            cached_input_tokens: cached.min(self.prompt_tokens),
            cache_write_tokens: 0,
            output_tokens: self.completion_tokens.saturating_sub(reasoning),
            reasoning_tokens: reasoning.min(self.completion_tokens),
        }
    }
}

/// Most bytes of an answer that are read.
const MAX_ANSWER_BYTES: usize = 4 << 20;

impl OpenAi {
    pub(super) fn new(
        key: Secret,
        organisation: Option<String>,
        base: String,
        model: String,
        patience: Duration,
    ) -> anyhow::Result<Self> {
        Ok(OpenAi { http: client::build(patience)?, key, organisation, base, model })
    }

    pub(super) fn model(&self) -> &str {
        &self.model
    }

    pub(super) fn body(&self, request: &ChatRequest) -> anyhow::Result<Vec<u8>> {
        let mut body = json!({
            "model": self.model,
            "messages": request.messages,
            "temperature": request.temperature,
            // Bounds reasoning and answer together.
            "max_completion_tokens": request.max_tokens,
        });
        if !self.base.contains("//api.openai.com") {
            // The older name, which is all that many servers with the same interface know.
            body["max_tokens"] = json!(request.max_tokens);
        }
        Ok(serde_json::to_vec(&body)?)
    }

    pub(super) async fn send(&self, body: Vec<u8>) -> Result<Raw, Failure> {
        let mut request = self
            .http
            .post(format!("{}/chat/completions", self.base))
            .bearer_auth(self.key.expose())
            .header("content-type", "application/json")
            .body(body);
        if let Some(organisation) = &self.organisation {
            request = request.header("OpenAI-Organization", organisation);
        }
        let answer = request.send().await.map_err(|e| Failure {
            kind: if e.is_timeout() { "timeout" } else { "connection" },
            reason: sentence(&e),
            free: e.is_connect(),
        })?;
        let status = answer.status();
        let text = read(answer).await?;
        if !status.is_success() {
            return Err(Failure {
                kind: kind_of(status),
                reason: format!("it answered {status}"),
                // A request that was not accepted is not charged.
                free: status.is_client_error(),
            });
        }
        let completion: Completion = serde_json::from_slice(&text).map_err(|e| Failure {
            kind: "bad_answer",
            reason: format!("its answer cannot be read: {e}"),
            free: false,
        })?;
        let usage = completion.usage.as_ref().map(RawUsage::disjoint);
        let choice = completion.choices.into_iter().next();
        let (content, finish_reason) = match choice {
            Some(choice) => (
                choice.message.content.or(choice.message.refusal).unwrap_or_default(),
                choice.finish_reason.unwrap_or_else(|| "stop".to_owned()),
            ),
            None => (String::new(), "empty".to_owned()),
        };
        let model = completion.model.unwrap_or_else(|| self.model.clone());
        Ok(Raw { content, model, finish_reason, usage, corrections: Vec::new() })
    }
}

async fn read(mut answer: reqwest::Response) -> Result<Vec<u8>, Failure> {
    let mut body = Vec::new();
    loop {
        let chunk = answer.chunk().await.map_err(|e| Failure {
            kind: "connection",
            reason: sentence(&e),
            free: false,
        })?;
        let Some(chunk) = chunk else { return Ok(body) };
        body.extend_from_slice(&chunk);
        if body.len() > MAX_ANSWER_BYTES {
            return Err(Failure {
                kind: "bad_answer",
                reason: "its answer is too large".into(),
                free: false,
            });
        }
    }
}

fn kind_of(status: StatusCode) -> &'static str {
    match status.as_u16() {
        401 | 403 => "authentication",
        429 => "rate_limited",
        400..=499 => "refused",
        _ => "server_error",
    }
}
