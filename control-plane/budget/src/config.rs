//! `alerts/budgets.yaml`.

use crate::{
    period::Period,
    prices::{Price, PriceTable},
};
use jiff::tz::TimeZone;
use kit::{
    problem::Problems,
    yaml::{Document, MapReader},
};
use model::NanoUsd;
use std::collections::BTreeSet;

/// What a budget can be narrowed to, or split by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Field {
    Service,
    Provider,
    Model,
    User,
    Plan,
}

impl Field {
    const ALL: [Field; 5] = [Field::Service, Field::Provider, Field::Model, Field::User, Field::Plan];

    pub fn as_str(self) -> &'static str {
        match self {
            Field::Service => "service",
            Field::Provider => "provider",
            Field::Model => "model",
            Field::User => "user",
            Field::Plan => "plan",
        }
    }

    fn parse(text: &str) -> Result<Field, String> {
        Field::ALL.into_iter().find(|f| f.as_str() == text).ok_or_else(|| {
            format!("{text:?} is not something to split by: write service, provider, model, user or plan")
        })
    }
}

/// What happens to a call that would pass the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnExceed {
    #[default]
    Deny,
    Warn,
}

/// One budget.
#[derive(Debug, Clone, PartialEq)]
pub struct BudgetRule {
    pub name: String,
    pub limit: NanoUsd,
    pub period: Period,
    pub timezone: TimeZone,
    /// Only calls with these values count; empty: all.
    pub scope: Vec<(Field, String)>,
    /// One such budget for each value of these.
    pub per: Vec<Field>,
    pub on_exceed: OnExceed,
    /// Fractions of the limit at which people want to hear of it, ascending.
    pub alert_at: Vec<f64>,
}

/// The file, checked.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct BudgetConfig {
    pub budgets: Vec<BudgetRule>,
    pub prices: PriceTable,
}

impl BudgetConfig {
    /// Reads the file's text; `file` is its name in messages.
    ///
    /// # Errors
    /// Every problem of the file.
    pub fn parse(file: &str, text: &str) -> Result<BudgetConfig, Problems> {
        let doc = Document::parse(file, text)?;
        let mut problems = Problems::default();
        let mut config = BudgetConfig::default();
        if let Some(mut root) = doc.reader(&mut problems) {
            let mut names = BTreeSet::new();
            for item in root.list("budgets") {
                let budget = root.item(item).and_then(read_budget);
                let Some(budget) = budget else { continue };
                if !names.insert(budget.name.clone()) {
                    root.problem(item, format!("there is already a budget named `{}`", budget.name));
                }
                config.budgets.push(budget);
            }
            for item in root.list("prices") {
                if let Some(price) = root.item(item).and_then(read_price) {
                    config.prices.overrides.push(price);
                }
            }
            root.finish();
        }
        problems.into_result(config)
    }
}

fn usd(text: &str) -> Result<NanoUsd, String> {
    let amount: NanoUsd = text.parse().map_err(|e: model::money::MoneyError| e.to_string())?;
    if amount < NanoUsd::ZERO { Err("must not be negative".to_owned()) } else { Ok(amount) }
}

fn read_budget(mut r: MapReader<'_>) -> Option<BudgetRule> {
    let name = r.required_text("name");
    r.required("limit_usd");
    let limit = r.parsed("limit_usd", usd);
    let period = r.parsed("period", Period::parse).unwrap_or(Period::Day);
    let timezone = r
        .parsed("timezone", |t| {
            TimeZone::get(t)
                .map_err(|_| format!("{t:?} is no time zone: write UTC, or a name like Europe/Paris"))
        })
        .unwrap_or(TimeZone::UTC);
    let scope = read_scope(&mut r);
    let per_texts = r.texts("per");
    let mut per = Vec::new();
    for (node, text) in per_texts {
        match Field::parse(text) {
            Ok(field) => per.push(field),
            Err(e) => r.problem(node, e),
        }
    }
    let on_exceed = r
        .parsed("on_exceed", |t| match t {
            "deny" => Ok(OnExceed::Deny),
            "warn" => Ok(OnExceed::Warn),
            other => Err(format!("{other:?} is neither deny nor warn")),
        })
        .unwrap_or_default();
    let mut alert_at = Vec::new();
    for (node, text) in r.texts("alert_at") {
        match text.parse::<f64>() {
            Ok(v) if v > 0.0 && v <= 10.0 => alert_at.push(v),
            _ => r.problem(node, format!("{text:?} is not a fraction of the limit: write 0.8 for 80 %")),
        }
    }
    alert_at.sort_by(f64::total_cmp);
    r.finish();
    Some(BudgetRule {
        name: name?.to_owned(),
        limit: limit?,
        period,
        timezone,
        scope,
        per,
        on_exceed,
        alert_at,
    })
}

fn read_scope(r: &mut MapReader<'_>) -> Vec<(Field, String)> {
    let mut scope = Vec::new();
    for (key, value) in r.text_map("scope") {
        let (Some(name), Some(value)) = (key.text(), value.text()) else { continue };
        match Field::parse(name) {
            Ok(field) => scope.push((field, value.to_owned())),
            Err(e) => r.problem(key, e),
        }
    }
    scope
}

fn read_price(mut r: MapReader<'_>) -> Option<(String, String, Price)> {
    let (provider, model) = (r.required_text("provider"), r.required_text("model"));
    let required = |r: &mut MapReader<'_>, name: &'static str| {
        r.required(name);
        r.parsed(name, usd)
    };
    let (input, output) = (required(&mut r, "input"), required(&mut r, "output"));
    let (cached_input, cache_write) = (r.parsed("cached_input", usd), r.parsed("cache_write", usd));
    let reasoning = r.parsed("reasoning", usd);
    r.finish();
    let price = Price { input: input?, output: output?, cached_input, cache_write, reasoning };
    Some((provider?.to_owned(), model?.to_owned(), price))
}

#[cfg(test)]
mod tests;
