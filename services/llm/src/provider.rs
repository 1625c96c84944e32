//! Providers: each makes its request, so that its size is known before it is paid for, and then sends it.

pub(crate) mod offline;
mod openai;

use crate::{ChatRequest, Correction, ProviderConfig, Usage};
use std::time::Duration;

/// A request ready to go out.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) body: Vec<u8>,
    pub(crate) request: ChatRequest,
}

impl Prepared {
    /// No tokenizer makes more than one token of a byte, so the bytes sent bound the input.
    pub(crate) fn input_bound(&self) -> u64 {
        self.body.len() as u64
    }
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Raw {
    pub(crate) content: String,
    pub(crate) model: String,
    pub(crate) finish_reason: String,
    /// `None` when the provider did not say; then nothing may be settled.
    pub(crate) usage: Option<Usage>,
    pub(crate) corrections: Vec<Correction>,
}

/// A call that failed, and whether it can have cost anything.
#[derive(Debug)]
pub(crate) struct Failure {
    /// One of a few words, for metrics.
    pub(crate) kind: &'static str,
    pub(crate) reason: String,
    /// The provider certainly did no paid work.
    pub(crate) free: bool,
}

/// One provider. Anthropic will be a third variant.
#[derive(Debug, Clone)]
pub(crate) enum Provider {
    Offline,
    OpenAi(openai::OpenAi),
}

impl Provider {
    pub(crate) fn new(config: ProviderConfig, patience: Duration) -> anyhow::Result<Self> {
        Ok(match config {
            ProviderConfig::Offline => Provider::Offline,
            ProviderConfig::OpenAi { key, organisation, base, model } => {
                Provider::OpenAi(openai::OpenAi::new(key, organisation, base, model, patience)?)
            }
        })
    }

    pub(crate) fn name(&self) -> &'static str {
        match self {
            Provider::Offline => "offline",
            Provider::OpenAi(_) => "openai",
        }
    }

    pub(crate) fn model(&self) -> &str {
        match self {
            Provider::Offline => offline::MODEL,
            Provider::OpenAi(openai) => openai.model(),
        }
    }

    pub(crate) fn prepare(&self, request: ChatRequest) -> anyhow::Result<Prepared> {
        let body = match self {
            Provider::Offline => serde_json::to_vec(&request.messages)?,
            Provider::OpenAi(openai) => openai.body(&request)?,
        };
        Ok(Prepared { body, request })
    }

    pub(crate) async fn send(&self, prepared: Prepared) -> Result<Raw, Failure> {
        match self {
            Provider::Offline => Ok(offline::answer(&prepared.request)),
            Provider::OpenAi(openai) => openai.send(prepared.body).await,
        }
    }
}
