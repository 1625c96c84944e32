//! One attempt, from reservation to settlement.

use crate::{
    Account, ChatAnswer, ChatRequest, LlmConfig, LlmError, Usage,
    ledger::{Failed, Ledger, Wanted},
    meter::Meter,
    provider::{Failure, Prepared, Provider, Raw},
};
use kit::{
    client::{self, ServiceClient},
    tasks::Tasks,
};
use prometheus::Registry;
use std::sync::Arc;
use tokio::sync::{Semaphore, oneshot};
use tracing::Instrument;

/// Settlements that wait for the authority at once; more than that stay unconfirmed.
const MOST_LATE: usize = 1000;

#[derive(Debug)]
struct Inner {
    service: String,
    provider: Provider,
    ledger: Ledger,
    authority: Option<ServiceClient>,
    meter: Meter,
    tasks: Tasks,
    calls: Arc<Semaphore>,
    late: Arc<Semaphore>,
}

/// A metered client. Clones are the same client.
#[derive(Debug, Clone)]
pub struct Client(Arc<Inner>);

impl Client {
    /// `service` is who spends; its metrics go to `registry`, its attempts run in `tasks`.
    ///
    /// # Errors
    /// When an HTTP client cannot be built or the metrics are registered already.
    pub fn new(config: LlmConfig, service: &str, registry: &Registry, tasks: &Tasks) -> anyhow::Result<Self> {
        let http = client::build(crate::ledger::PATIENCE)?;
        let token = config.token;
        let authority = config.authority.map(|base| ServiceClient::new(http, base, token, service));
        Ok(Client(Arc::new(Inner {
            service: service.to_owned(),
            provider: Provider::new(config.provider, config.patience)?,
            ledger: Ledger::new(authority.clone(), tasks.clock().clone()),
            authority,
            meter: Meter::register(registry, service)?,
            tasks: tasks.clone(),
            calls: Arc::new(Semaphore::new(config.most_calls)),
            late: Arc::new(Semaphore::new(MOST_LATE)),
        })))
    }

    /// `offline` or `openai`.
    pub fn provider(&self) -> &'static str {
        self.0.provider.name()
    }

    pub fn model(&self) -> &str {
        self.0.provider.model()
    }

    /// Whether the budget authority answers; the error is for a health report.
    ///
    /// # Errors
    /// A sentence.
    pub async fn authority_healthy(&self) -> Result<(), String> {
        match &self.0.authority {
            Some(authority) => authority.healthy().await,
            None => Err("MONITORING_SERVICE_URL is not set".to_owned()),
        }
    }

    /// Asks the provider once. The attempt goes on to its settlement even when the caller stops waiting.
    ///
    /// # Errors
    /// As [`LlmError`] says; nothing was spent unless it is [`LlmError::Provider`].
    pub async fn chat(&self, request: ChatRequest, account: Account) -> Result<ChatAnswer, LlmError> {
        let place = Arc::clone(&self.0.calls).try_acquire_owned().map_err(|_| LlmError::Busy)?;
        let (send, receive) = oneshot::channel();
        let client = self.clone();
        let attempt = async move {
            let _place = place;
            let answer = client.attempt(request, &account).await;
            if send.send(answer).is_err() {
                tracing::debug!("the caller of an AI call has gone; the call is settled all the same");
            }
        };
        self.0.tasks.spawn("ai attempt", attempt.instrument(tracing::Span::current()));
        receive.await.unwrap_or(Err(LlmError::Stopping))
    }

    async fn attempt(&self, request: ChatRequest, account: &Account) -> Result<ChatAnswer, LlmError> {
        let Inner { provider, ledger, meter, tasks, .. } = &*self.0;
        let max_output_tokens = u64::from(request.max_tokens);
        let prepared = provider.prepare(request).map_err(|e| LlmError::Provider {
            provider: provider.name(),
            reason: format!("the request cannot be written: {e}"),
        })?;
        let wanted = Wanted {
            attempt_id: uuid::Uuid::new_v4().to_string(),
            service: &self.0.service,
            provider: provider.name(),
            model: provider.model(),
            account,
            input_tokens: prepared.input_bound(),
            max_output_tokens,
        };
        let id = ledger.reserve(&wanted).await?;
        if let Err(e) = ledger.start(&id).await {
            ledger.cancel(&id).await;
            return Err(e);
        }
        let begun = tasks.clock().elapsed();
        let outcome = self.send(prepared).await;
        let took = tasks.clock().elapsed() - begun;
        match outcome {
            Ok((raw, usage)) => {
                meter.answered(provider.name(), provider.model(), &raw.model, &usage, took);
                let cost_usd = self.settle(&id, usage).await;
                Ok(ChatAnswer {
                    content: raw.content,
                    usage,
                    provider: provider.name(),
                    model: raw.model,
                    finish_reason: raw.finish_reason,
                    cost_usd,
                    corrections: raw.corrections,
                })
            }
            Err(failure) => {
                meter.failed(provider.name(), provider.model(), failure.kind, took);
                tracing::warn!(
                    provider = provider.name(), kind = failure.kind, reason = %failure.reason, "an AI call failed"
                );
                if failure.free {
                    self.settle(&id, Usage::default()).await;
                } else {
                    tracing::warn!(reservation = %id, "what it cost is not known: its hold becomes unconfirmed");
                }
                Err(LlmError::Provider { provider: provider.name(), reason: failure.reason })
            }
        }
    }

    async fn send(&self, prepared: Prepared) -> Result<(Raw, Usage), Failure> {
        let raw = self.0.provider.send(prepared).await?;
        match raw.usage {
            Some(usage) => Ok((raw, usage)),
            None => Err(Failure {
                kind: "no_usage",
                reason: "it did not say what it used".to_owned(),
                free: false,
            }),
        }
    }

    /// Settles now, or in the background when the authority has gone in the meantime.
    async fn settle(&self, id: &str, usage: Usage) -> Option<String> {
        match self.0.ledger.settle(id, &usage).await {
            Ok(cost) => return cost,
            Err(Failed::No(status, why)) => {
                tracing::error!(reservation = id, %status, %why, "an AI call cannot be settled");
                return None;
            }
            Err(Failed::Away(why)) => {
                tracing::warn!(reservation = id, %why, "an AI call is not settled yet");
            }
        }
        let Ok(place) = Arc::clone(&self.0.late).try_acquire_owned() else {
            tracing::error!(reservation = id, "too many settlements wait: this hold becomes unconfirmed");
            return None;
        };
        let (ledger, id, stopping) = (self.0.ledger.clone(), id.to_owned(), self.0.tasks.stopping());
        self.0.tasks.spawn("ai settlement", async move {
            let _place = place;
            ledger.settle_later(&id, &usage, stopping.cancelled()).await;
        });
        None
    }
}
