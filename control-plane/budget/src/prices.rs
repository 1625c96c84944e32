//! What tokens cost: a small table of list prices, overridden by `budgets.yaml`.
//!
//! Prices are USD per million tokens, as the providers publish them. What is not in the table cannot be priced
//! and is refused: an unknown price is no price of zero. The offline tutor costs nothing unless it is given a
//! price.

use model::NanoUsd;
use serde::{Deserialize, Serialize};

/// The rates of one model, per million tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Price {
    pub input: NanoUsd,
    pub output: NanoUsd,
    /// Input read from the provider's cache; `None`: as input.
    pub cached_input: Option<NanoUsd>,
    /// Input written to the provider's cache; `None`: as input.
    pub cache_write: Option<NanoUsd>,
    /// Reasoning; `None`: as output.
    pub reasoning: Option<NanoUsd>,
}

/// What a provider says it used, in disjoint parts: no token is counted in two of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Usage {
    pub input_tokens: u64,
    #[serde(default)]
    pub cached_input_tokens: u64,
    #[serde(default)]
    pub cache_write_tokens: u64,
    pub output_tokens: u64,
    #[serde(default)]
    pub reasoning_tokens: u64,
}

impl Usage {
    /// Each part with the name that metrics give it.
    pub fn parts(&self) -> [(&'static str, u64); 5] {
        [
            ("input", self.input_tokens),
            ("cached_input", self.cached_input_tokens),
            ("cache_write", self.cache_write_tokens),
            ("output", self.output_tokens),
            ("reasoning", self.reasoning_tokens),
        ]
    }
}

impl Price {
    pub const FREE: Price = Price::of(0, 0, None, None);

    const fn of(input: i64, output: i64, cached: Option<i64>, write: Option<i64>) -> Price {
        const fn nano(v: Option<i64>) -> Option<NanoUsd> {
            match v {
                Some(v) => Some(NanoUsd(v)),
                None => None,
            }
        }
        Price {
            input: NanoUsd(input),
            output: NanoUsd(output),
            cached_input: nano(cached),
            cache_write: nano(write),
            reasoning: None,
        }
    }

    /// The rate of a part, by the names of [`Usage::parts`].
    pub fn rate(&self, part: &str) -> NanoUsd {
        match part {
            "cached_input" => self.cached_input.unwrap_or(self.input),
            "cache_write" => self.cache_write.unwrap_or(self.input),
            "output" => self.output,
            "reasoning" => self.reasoning.unwrap_or(self.output),
            _ => self.input,
        }
    }

    /// The cost of a usage, rounded up to a nano-dollar once. `None` when it does not fit.
    pub fn cost(&self, usage: &Usage) -> Option<NanoUsd> {
        sum(usage.parts().map(|(part, tokens)| (self.rate(part), tokens)))
    }

    /// The most that a call can cost: input at its dearest rate, output and reasoning up to `max_output`.
    pub fn worst_case(&self, input: u64, max_output: u64) -> Option<NanoUsd> {
        let dearest_in = self.input.max(self.rate("cached_input")).max(self.rate("cache_write"));
        let dearest_out = self.output.max(self.rate("reasoning"));
        sum([(dearest_in, input), (dearest_out, max_output)])
    }
}

/// Sum of rate per million times tokens, rounded up once at the end.
fn sum<const N: usize>(terms: [(NanoUsd, u64); N]) -> Option<NanoUsd> {
    let mut total: i128 = 0;
    for (rate, tokens) in terms {
        total = total.checked_add(i128::from(rate.0).checked_mul(i128::from(tokens))?)?;
    }
    let rounded = total.div_euclid(1_000_000) + i128::from(total.rem_euclid(1_000_000) != 0);
    i64::try_from(rounded).ok().map(NanoUsd)
}

/// Thousandths of a dollar, so that the table reads like the price lists.
const fn milli(v: i64) -> i64 {
    v * 1_000_000
}

/// List prices in thousandths of a dollar per million tokens: input, output, cached input, cache write.
type ListPrice = (&'static str, &'static str, i64, i64, Option<i64>, Option<i64>);

const LIST: &[ListPrice] = &[
    ("openai", "gpt-3.5-turbo", 500, 1_500, None, None),
    ("openai", "gpt-3.5-turbo-16k", 3_000, 4_000, None, None),
    ("openai", "gpt-4", 30_000, 60_000, None, None),
    ("openai", "gpt-4-turbo", 10_000, 30_000, None, None),
    ("openai", "gpt-4o", 2_500, 10_000, Some(1_250), None),
    ("openai", "gpt-4o-mini", 150, 600, Some(75), None),
    ("openai", "gpt-4.1", 2_000, 8_000, Some(500), None),
    ("openai", "gpt-4.1-mini", 400, 1_600, Some(100), None),
    ("openai", "gpt-4.1-nano", 100, 400, Some(25), None),
    ("openai", "gpt-5", 1_250, 10_000, Some(125), None),
    ("openai", "gpt-5-mini", 250, 2_000, Some(25), None),
    ("openai", "gpt-5-nano", 50, 400, Some(5), None),
    ("openai", "o3", 2_000, 8_000, Some(500), None),
    ("openai", "o4-mini", 1_100, 4_400, Some(275), None),
    ("anthropic", "claude-haiku-4-5", 1_000, 5_000, Some(100), Some(1_250)),
    ("anthropic", "claude-sonnet-4-5", 3_000, 15_000, Some(300), Some(3_750)),
    ("anthropic", "claude-opus-4-5", 5_000, 25_000, Some(500), Some(6_250)),
];

/// Prices by provider and model: overrides first, then the list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PriceTable {
    pub overrides: Vec<(String, String, Price)>,
}

impl PriceTable {
    /// The price of a model. A dated name (`gpt-4o-mini-2024-07-18`) has the price of the name without its
    /// date unless it is listed itself.
    pub fn price(&self, provider: &str, model: &str) -> Option<Price> {
        let exact = |model: &str| {
            let own = self
                .overrides
                .iter()
                .find(|(p, m, _)| p == provider && m == model)
                .map(|(_, _, price)| *price);
            own.or_else(|| {
                let listed = LIST.iter().find(|(p, m, ..)| *p == provider && *m == model)?;
                let (_, _, input, output, cached, write) = *listed;
                Some(Price::of(milli(input), milli(output), cached.map(milli), write.map(milli)))
            })
        };
        exact(model)
            .or_else(|| exact(undated(model)?))
            .or_else(|| (provider == "offline").then_some(Price::FREE))
    }
}

/// `name` of `name-YYYY-MM-DD` or `name-YYYYMMDD`.
fn undated(model: &str) -> Option<&str> {
    for digits_at in [&[4usize, 2, 2][..], &[8][..]] {
        let mut rest = model;
        let dated = digits_at.iter().rev().all(|&n| match rest.rsplit_once('-') {
            Some((head, tail)) if tail.len() == n && tail.bytes().all(|b| b.is_ascii_digit()) => {
                rest = head;
                true
            }
            _ => false,
        });
        if dated {
            return Some(rest);
        }
    }
    None
}

#[cfg(test)]
mod tests;
