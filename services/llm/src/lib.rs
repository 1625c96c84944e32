//! A metered client for AI providers: every attempt on the wire is reserved, started and settled with the
//! budget authority (Vigie), whoever the provider is.
//!
//! Not here: what to ask (prompts belong to the ai service), retries (a retry is a new attempt, and the
//! caller's decision), streaming (it comes later; the protocol has room for it).
//!
//! Invariants: nothing is sent to a provider without a started reservation that covers its worst case; the
//! provider is told the same output bound that was reserved; an attempt that was started is settled even when
//! the caller has gone, or stays on the books as unconfirmed.

mod client;
mod config;
mod ledger;
mod meter;
mod provider;

pub use client::Client;
pub use config::{LlmConfig, ProviderConfig};
pub use provider::offline::{LANGUAGES as OFFLINE_LANGUAGES, MODEL as OFFLINE_MODEL};

use serde::{Deserialize, Serialize};

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    System,
    User,
    Assistant,
}

/// One turn of a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Message {
    pub role: Role,
    pub content: String,
}

/// Whether mistakes are pointed out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Corrects and explains.
    #[default]
    Tutor,
    /// Talks on; small mistakes pass.
    Partner,
}

/// One question to a provider.
#[derive(Debug, Clone, PartialEq)]
pub struct ChatRequest {
    /// With the system's prompt, if there is one, first.
    pub messages: Vec<Message>,
    /// 0 to 2.
    pub temperature: f64,
    /// The most tokens of the answer, reasoning included.
    pub max_tokens: u32,
    /// The language being learned, as a code such as `fr`; only the offline tutor looks at it.
    pub language: Option<String>,
    /// Likewise.
    pub mode: Mode,
}

/// On whose account a call goes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Account {
    pub user: Option<String>,
    pub plan: Option<String>,
}

/// What a provider used, in disjoint parts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    pub input_tokens: u64,
    pub cached_input_tokens: u64,
    pub cache_write_tokens: u64,
    pub output_tokens: u64,
    pub reasoning_tokens: u64,
}

impl Usage {
    pub fn all_input(&self) -> u64 {
        self.input_tokens + self.cached_input_tokens + self.cache_write_tokens
    }

    pub fn all_output(&self) -> u64 {
        self.output_tokens + self.reasoning_tokens
    }
}

/// A mistake and what is right.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Correction {
    pub original: String,
    pub corrected: String,
    pub explanation: String,
}

/// A provider's answer.
#[derive(Debug, Clone, PartialEq)]
pub struct ChatAnswer {
    pub content: String,
    pub usage: Usage,
    pub provider: &'static str,
    /// The model that answered, as the provider names it.
    pub model: String,
    /// `stop`, `length`, or what the provider says.
    pub finish_reason: String,
    /// USD, as the authority priced it; `None` while the settlement has not gone through.
    pub cost_usd: Option<String>,
    /// Only the offline tutor gives them apart from the text.
    pub corrections: Vec<Correction>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum LlmError {
    /// A budget has no room for the call's worst case.
    #[error("the budget {budget} is used up")]
    BudgetExceeded { budget: String, resets_at: serde_json::Value, retry_after_seconds: u64 },
    /// Without the authority nothing is spent.
    #[error("the budget authority cannot be asked: {0}")]
    AuthorityAway(String),
    /// The authority will not have this call at any time: a model without a price, for one.
    #[error("the budget authority refused: {message}")]
    Refused { code: String, message: String },
    #[error("{provider} did not answer: {reason}")]
    Provider { provider: &'static str, reason: String },
    /// Too many calls are under way.
    #[error("too many AI calls are under way")]
    Busy,
    /// The process is stopping.
    #[error("the service is stopping")]
    Stopping,
}
