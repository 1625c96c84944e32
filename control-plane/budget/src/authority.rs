//! The one authority for budgets: what services ask, and what the ledger answers.

use crate::{
    config::{BudgetConfig, BudgetRule, Field, OnExceed},
    prices::Usage,
};
use arc_swap::ArcSwap;
use kit::{
    clock::Clock,
    tasks::{Schedule, Tasks},
};
use model::{Labels, NanoUsd, Timestamp};
use serde::{Deserialize, Serialize};
use state::{
    State, StateError,
    ledger::{Balance, Charge, Granted, Hold, HoldRequest, Phase, Step},
};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

/// How long a hold lasts: longer than the longest answer that a provider may take.
const HOLD_LIFETIME_MS: i64 = 10 * 60_000;

/// How long closed holds are kept, for repeated requests and for people who ask.
const KEEP_CLOSED_MS: i64 = 8 * 86_400_000;

/// The body of `POST /api/vigie/v1/ai/reservations`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReservationRequest {
    /// The caller's UUID for this attempt on the wire.
    pub attempt_id: String,
    pub service: String,
    pub provider: String,
    pub model: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<String>,
    pub input_tokens: u64,
    pub max_output_tokens: u64,
}

impl ReservationRequest {
    fn field(&self, field: Field) -> Option<&str> {
        match field {
            Field::Service => Some(&self.service),
            Field::Provider => Some(&self.provider),
            Field::Model => Some(&self.model),
            Field::User => self.user.as_deref(),
            Field::Plan => self.plan.as_deref(),
        }
    }
}

/// A granted hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reservation {
    pub id: String,
    pub reserved: NanoUsd,
    pub expires_at: Timestamp,
}

/// Why money was not given, or a step not taken.
#[derive(Debug, thiserror::Error)]
pub enum BudgetError {
    #[error("the budget {budget} is used up: {committed} USD of {limit} USD are committed")]
    Exceeded { budget: String, scope: String, limit: NanoUsd, committed: NanoUsd, resets_at: Timestamp },
    #[error("no price is known for model {model} of {provider}: give it one in alerts/budgets.yaml")]
    Unpriced { provider: String, model: String },
    #[error("{0}")]
    BadRequest(String),
    #[error("there is no reservation {0}")]
    Unknown(String),
    #[error("{0}")]
    Conflict(String),
    #[error("the ledger could not record it")]
    Ledger(#[from] StateError),
}

/// One budget's instance as people see it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BudgetStatus {
    pub budget: String,
    pub scope: String,
    pub on_exceed: &'static str,
    #[serde(serialize_with = "as_text")]
    pub limit_usd: NanoUsd,
    #[serde(serialize_with = "as_text")]
    pub spent_usd: NanoUsd,
    #[serde(serialize_with = "as_text")]
    pub reserved_usd: NanoUsd,
    #[serde(serialize_with = "as_text")]
    pub unconfirmed_usd: NanoUsd,
    #[serde(serialize_with = "as_text")]
    pub committed_usd: NanoUsd,
    /// What will have been spent at the period's end if it goes on as it has gone so far.
    #[serde(serialize_with = "as_text")]
    pub forecast_usd: NanoUsd,
    pub refusals: i64,
    pub period_start: Timestamp,
    pub resets_at: Timestamp,
    /// The fractions of `alert_at`, and whether what is committed has reached each.
    pub thresholds: Vec<(f64, bool)>,
}

fn as_text<S: serde::Serializer>(amount: &NanoUsd, s: S) -> Result<S::Ok, S::Error> {
    s.collect_str(amount)
}

/// A number for the store: metric name, labels, value.
pub type Series = (&'static str, Labels, f64);

type SpendKey = (String, String, String, &'static str);

/// Answers services. Shared as an `Arc`.
#[derive(Debug)]
pub struct Authority {
    state: State,
    clock: Clock,
    config: ArcSwap<BudgetConfig>,
    /// Cost and tokens since the process began, by service, provider, model and type.
    spend: Mutex<BTreeMap<SpendKey, (NanoUsd, u64)>>,
    over_hold: Mutex<u64>,
}

impl Authority {
    pub fn new(state: State, clock: Clock, config: BudgetConfig) -> Arc<Self> {
        Arc::new(Authority {
            state,
            clock,
            config: ArcSwap::from_pointee(config),
            spend: Mutex::default(),
            over_hold: Mutex::default(),
        })
    }

    /// Replaces the configuration. Balances stay: lowering a limit refuses what is new and falsifies nothing.
    pub fn reload(&self, config: BudgetConfig) {
        self.config.store(Arc::new(config));
    }

    /// Starts the loop that ends holds past their time.
    pub fn start(self: &Arc<Self>, tasks: &Tasks) {
        let authority = Arc::clone(self);
        tasks.reconciler("budget expiry", Schedule::Every(Duration::from_secs(5)), move || {
            let authority = Arc::clone(&authority);
            async move { authority.expire().await }
        });
    }

    async fn expire(&self) -> anyhow::Result<String> {
        let now = self.clock.now_ms();
        let (freed, unconfirmed) = self.state.expire_holds(now).await?;
        if unconfirmed > 0 {
            tracing::warn!(unconfirmed, "AI calls were started and never settled: their holds count in full");
        }
        let forgotten = self.state.forget_holds(now - KEEP_CLOSED_MS).await?;
        Ok(format!("{freed} freed, {unconfirmed} unconfirmed, {forgotten} forgotten"))
    }

    /// Asks for a hold that covers the call's worst case.
    ///
    /// # Errors
    /// [`BudgetError::Exceeded`] when some budget has no room; the others as they say.
    pub async fn reserve(&self, request: ReservationRequest) -> Result<Reservation, BudgetError> {
        validate(&request)?;
        let config = self.config.load_full();
        let price = config.prices.price(&request.provider, &request.model).ok_or_else(|| {
            BudgetError::Unpriced { provider: request.provider.clone(), model: request.model.clone() }
        })?;
        let amount = price
            .worst_case(request.input_tokens, request.max_output_tokens)
            .ok_or_else(|| BudgetError::BadRequest("so many tokens cannot be priced".to_owned()))?;
        let now = self.clock.now_ms();
        let charges = config.budgets.iter().filter_map(|b| charge(b, &request, now)).collect();
        let canonical = canonical(&request)?;
        let asked = HoldRequest {
            id: uuid::Uuid::now_v7().to_string(),
            attempt_id: request.attempt_id,
            request: canonical,
            amount,
            now,
            expires_at: now + HOLD_LIFETIME_MS,
            charges,
        };
        match self.state.reserve(asked).await? {
            Granted::Yes { id, amount, expires_at } => Ok(Reservation { id, reserved: amount, expires_at }),
            Granted::No(refusal) => Err(BudgetError::Exceeded {
                budget: refusal.budget,
                scope: refusal.scope,
                limit: NanoUsd(refusal.limit),
                committed: NanoUsd(refusal.committed),
                resets_at: refusal.resets_at,
            }),
            Granted::Conflict => Err(BudgetError::Conflict(
                "this attempt_id was used before for another request: use a new UUID for each attempt"
                    .to_owned(),
            )),
        }
    }

    /// The provider is about to be called.
    ///
    /// # Errors
    /// When the hold has expired, was cancelled or is over.
    pub async fn start_call(&self, id: &str) -> Result<(), BudgetError> {
        let step = self.state.start_hold(id, self.clock.now_ms()).await?;
        taken(id, "started", step).map(|_| ())
    }

    /// The hold is not needed.
    ///
    /// # Errors
    /// When the call has started: then it must be settled.
    pub async fn cancel(&self, id: &str) -> Result<(), BudgetError> {
        taken(id, "cancelled", self.state.cancel_hold(id).await?).map(|_| ())
    }

    /// What has been used so far, while the answer streams.
    ///
    /// # Errors
    /// When the call is not under way.
    pub async fn progress(&self, id: &str, usage: &Usage) -> Result<NanoUsd, BudgetError> {
        let cost = self.cost_of(id, usage)?.1;
        taken(id, "updated", self.state.progress_hold(id, cost).await?).map(|_| cost)
    }

    /// The provider's usage is in. Returns what it cost.
    ///
    /// # Errors
    /// When the hold was never started or is settled otherwise.
    pub async fn settle(&self, id: &str, usage: &Usage) -> Result<NanoUsd, BudgetError> {
        let (request, cost) = self.cost_of(id, usage)?;
        let by = serde_json::to_string(usage).map_err(|e| BudgetError::BadRequest(e.to_string()))?;
        let step = self.state.settle_hold(id, cost, by).await?;
        let first_time = matches!(step, Step::Done(_));
        let hold = taken(id, "settled", step)?;
        if !first_time {
            return Ok(NanoUsd(hold.spent));
        }
        if cost.0 > hold.amount {
            *self.over_hold.lock().unwrap_or_else(PoisonError::into_inner) += 1;
            tracing::warn!(reservation = id, cost = %cost, held = %NanoUsd(hold.amount), "an AI call cost more than its hold");
        }
        self.count(&request, usage);
        Ok(cost)
    }

    /// An operator says what an unconfirmed call has cost.
    ///
    /// # Errors
    /// When the hold is not unconfirmed.
    pub async fn resolve(&self, id: &str, cost: NanoUsd, by: &str) -> Result<(), BudgetError> {
        let hold = self.state.hold(id)?.ok_or_else(|| BudgetError::Unknown(id.to_owned()))?;
        if hold.phase != Phase::Unconfirmed {
            let phase = hold.phase.as_str();
            return Err(BudgetError::Conflict(format!("reservation {id} is {phase}, not unconfirmed")));
        }
        let step = self.state.settle_hold(id, cost, format!("resolved by {by}")).await?;
        taken(id, "resolved", step).map(|_| ())
    }

    fn cost_of(&self, id: &str, usage: &Usage) -> Result<(ReservationRequest, NanoUsd), BudgetError> {
        let hold = self.state.hold(id)?.ok_or_else(|| BudgetError::Unknown(id.to_owned()))?;
        let request: ReservationRequest =
            serde_json::from_str(&hold.request).map_err(|e| StateError::Damaged(e.to_string()))?;
        let price = self.config.load().prices.price(&request.provider, &request.model).ok_or_else(|| {
            BudgetError::Unpriced { provider: request.provider.clone(), model: request.model.clone() }
        })?;
        let cost = price
            .cost(usage)
            .ok_or_else(|| BudgetError::BadRequest("so many tokens cannot be priced".to_owned()))?;
        Ok((request, cost))
    }

    fn count(&self, request: &ReservationRequest, usage: &Usage) {
        let Some(price) = self.config.load().prices.price(&request.provider, &request.model) else { return };
        let mut spend = self.spend.lock().unwrap_or_else(PoisonError::into_inner);
        for (part, tokens) in usage.parts() {
            if tokens > 0 || matches!(part, "input" | "output") {
                let key = (request.service.clone(), request.provider.clone(), request.model.clone(), part);
                let entry = spend.entry(key).or_default();
                entry.0 = entry.0.saturating_add(price.rate(part).per_million(tokens).unwrap_or_default());
                entry.1 = entry.1.saturating_add(tokens);
            }
        }
    }

    /// Every budget's instances in their present periods. A budget that nothing was charged to yet stands at
    /// zero.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub fn status(&self) -> Result<Vec<BudgetStatus>, StateError> {
        let now = self.clock.now_ms();
        let balances = self.state.balances(now)?;
        let config = self.config.load();
        let mut all = Vec::new();
        for rule in &config.budgets {
            let mut own: Vec<Balance> = balances.iter().filter(|b| b.budget == rule.name).cloned().collect();
            if own.is_empty() && rule.per.is_empty() {
                let (period_start, period_end) = rule.period.around(now, &rule.timezone);
                own.push(Balance {
                    budget: rule.name.clone(),
                    scope: String::new(),
                    period_start,
                    period_end,
                    spent: NanoUsd::ZERO,
                    reserved: NanoUsd::ZERO,
                    unconfirmed: NanoUsd::ZERO,
                    refusals: 0,
                });
            }
            all.extend(own.into_iter().map(|b| seen(rule, b, now)));
        }
        Ok(all)
    }

    /// The budget's series, for collect/self.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub fn series(&self) -> Result<Vec<Series>, StateError> {
        let mut out: Vec<Series> = Vec::new();
        for b in self.status()? {
            let labels = Labels::from_pairs([("budget", b.budget.as_str()), ("scope", b.scope.as_str())]);
            for (name, amount) in [
                ("ai_budget_limit_usd", b.limit_usd),
                ("ai_budget_spent_usd", b.spent_usd),
                ("ai_budget_reserved_usd", b.reserved_usd),
                ("ai_budget_unconfirmed_usd", b.unconfirmed_usd),
                ("ai_budget_committed_usd", b.committed_usd),
                ("ai_budget_forecast_usd", b.forecast_usd),
            ] {
                out.push((name, labels.clone(), amount.as_usd_f64()));
            }
            for (fraction, reached) in &b.thresholds {
                let labels = labels.with("threshold", model::number::format(*fraction));
                out.push(("ai_budget_threshold_reached", labels, f64::from(u8::from(*reached))));
            }
            #[expect(clippy::cast_precision_loss, reason = "a counter of refusals stays far below 2^53")]
            out.push(("ai_budget_refusals_total", labels, b.refusals as f64));
        }
        let spend = self.spend.lock().unwrap_or_else(PoisonError::into_inner);
        for ((service, provider, model, kind), (cost, tokens)) in spend.iter() {
            let labels = Labels::from_pairs([
                ("service", service.as_str()),
                ("provider", provider.as_str()),
                ("model", model.as_str()),
                ("type", kind),
            ]);
            out.push(("ai_cost_usd_total", labels.clone(), cost.as_usd_f64()));
            #[expect(clippy::cast_precision_loss, reason = "a counter of tokens stays far below 2^53")]
            out.push(("ai_tokens_total", labels, *tokens as f64));
        }
        drop(spend);
        #[expect(clippy::cast_precision_loss, reason = "a small counter")]
        let over = *self.over_hold.lock().unwrap_or_else(PoisonError::into_inner) as f64;
        out.push(("ai_budget_over_hold_total", Labels::default(), over));
        Ok(out)
    }

    /// Holds whose calls were started and never settled.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub fn unconfirmed(&self) -> Result<Vec<Hold>, StateError> {
        self.state.unconfirmed_holds()
    }
}

fn validate(r: &ReservationRequest) -> Result<(), BudgetError> {
    if uuid::Uuid::parse_str(&r.attempt_id).is_err() {
        return Err(BudgetError::BadRequest("attempt_id must be a UUID".to_owned()));
    }
    let texts = [Some(&r.service), Some(&r.provider), Some(&r.model), r.user.as_ref(), r.plan.as_ref()];
    if texts.into_iter().flatten().any(|t| t.is_empty() || t.len() > 256) {
        let message = "service, provider, model, user and plan must have 1 to 256 bytes";
        return Err(BudgetError::BadRequest(message.to_owned()));
    }
    Ok(())
}

fn canonical(request: &ReservationRequest) -> Result<String, BudgetError> {
    serde_json::to_string(request).map_err(|e| BudgetError::BadRequest(e.to_string()))
}

/// The charge of a request to a budget; `None` when the budget does not concern it.
fn charge(rule: &BudgetRule, request: &ReservationRequest, now: Timestamp) -> Option<Charge> {
    if !rule.scope.iter().all(|(field, value)| request.field(*field) == Some(value)) {
        return None;
    }
    let instance: Vec<String> = rule
        .per
        .iter()
        .map(|field| format!("{}={}", field.as_str(), request.field(*field).unwrap_or("")))
        .collect();
    let (period_start, period_end) = rule.period.around(now, &rule.timezone);
    Some(Charge {
        budget: rule.name.clone(),
        scope: instance.join(","),
        period_start,
        period_end,
        limit: (rule.on_exceed == OnExceed::Deny).then_some(rule.limit),
    })
}

fn taken(id: &str, what: &str, step: Step) -> Result<Hold, BudgetError> {
    match step {
        Step::Done(hold) | Step::Repeated(hold) => Ok(hold),
        Step::Unknown => Err(BudgetError::Unknown(id.to_owned())),
        Step::Conflict(hold) => Err(BudgetError::Conflict(format!(
            "reservation {id} is {} and cannot be {what} like this any more",
            hold.phase.as_str()
        ))),
    }
}

fn seen(rule: &BudgetRule, b: Balance, now: Timestamp) -> BudgetStatus {
    let committed = b.committed();
    let (length, elapsed) = (b.period_end - b.period_start, now - b.period_start);
    // Too early in the period a straight line says nothing: then the forecast is what is committed.
    let forecast = if elapsed * 50 >= length {
        let straight = i128::from(b.spent.0) * i128::from(length) / i128::from(elapsed.max(1));
        NanoUsd(i64::try_from(straight).unwrap_or(i64::MAX)).max(committed)
    } else {
        committed
    };
    BudgetStatus {
        on_exceed: if rule.on_exceed == OnExceed::Deny { "deny" } else { "warn" },
        limit_usd: rule.limit,
        spent_usd: b.spent,
        reserved_usd: b.reserved,
        unconfirmed_usd: b.unconfirmed,
        committed_usd: committed,
        forecast_usd: forecast,
        refusals: b.refusals,
        period_start: b.period_start,
        resets_at: b.period_end,
        thresholds: rule
            .alert_at
            .iter()
            .map(|fraction| (*fraction, committed.as_usd_f64() >= fraction * rule.limit.as_usd_f64()))
            .collect(),
        budget: b.budget,
        scope: b.scope,
    }
}

#[cfg(test)]
mod tests;
