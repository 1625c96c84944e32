//! Money: integer nano-dollars, never floats.

use std::{fmt, str::FromStr};

/// An amount in nano-dollars (1 USD = 1,000,000,000). Negative amounts occur in differences only.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, serde::Serialize, serde::Deserialize,
)]
#[serde(transparent)]
pub struct NanoUsd(pub i64);

/// The text is no amount of dollars, or has more than nine decimals, or is too large.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an amount in USD: write it like 25.00, with at most nine decimals")]
pub struct MoneyError(pub String);

impl NanoUsd {
    pub const ZERO: NanoUsd = NanoUsd(0);
    const PER_USD: i64 = 1_000_000_000;

    pub fn checked_add(self, other: NanoUsd) -> Option<NanoUsd> {
        self.0.checked_add(other.0).map(NanoUsd)
    }

    pub fn saturating_add(self, other: NanoUsd) -> NanoUsd {
        NanoUsd(self.0.saturating_add(other.0))
    }

    pub fn saturating_sub(self, other: NanoUsd) -> NanoUsd {
        NanoUsd(self.0.saturating_sub(other.0))
    }

    /// The cost of `tokens` at `self` per million tokens, rounded up, so that nothing is ever undercounted.
    /// `None` when it does not fit.
    pub fn per_million(self, tokens: u64) -> Option<NanoUsd> {
        let product = i128::from(self.0).checked_mul(i128::from(tokens))?;
        i64::try_from(product.div_euclid(1_000_000) + i128::from(product.rem_euclid(1_000_000) != 0))
            .ok()
            .map(NanoUsd)
    }

    /// Dollars as a float: for gauges and charts only.
    #[expect(clippy::cast_precision_loss, reason = "a gauge is a float; the ledger keeps the integer")]
    pub fn as_usd_f64(self) -> f64 {
        self.0 as f64 / Self::PER_USD as f64
    }
}

impl FromStr for NanoUsd {
    type Err = MoneyError;

    /// Reads a plain decimal number such as `25`, `0.15` or `-1.5`: no exponent, no separators.
    fn from_str(s: &str) -> Result<Self, MoneyError> {
        let bad = || MoneyError(s.to_owned());
        let (negative, digits) = s.strip_prefix('-').map_or((false, s), |rest| (true, rest));
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        let plain = |t: &str| t.bytes().all(|b| b.is_ascii_digit());
        if (whole.is_empty() && fraction.is_empty()) || !plain(whole) || !plain(fraction) {
            return Err(bad());
        }
        let fraction = fraction.trim_end_matches('0');
        if fraction.len() > 9 {
            return Err(bad());
        }
        let whole: i64 = if whole.is_empty() { 0 } else { whole.parse().map_err(|_| bad())? };
        let nanos: i64 = format!("{fraction:0<9}").parse().map_err(|_| bad())?;
        let amount = whole.checked_mul(Self::PER_USD).and_then(|n| n.checked_add(nanos)).ok_or_else(bad)?;
        Ok(NanoUsd(if negative { -amount } else { amount }))
    }
}

/// As few decimals as the amount needs, but at least two: `25.00`, `0.000123`.
impl fmt::Display for NanoUsd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let magnitude = self.0.unsigned_abs();
        let (whole, nanos) = (magnitude / 1_000_000_000, magnitude % 1_000_000_000);
        let fraction = format!("{nanos:09}");
        let fraction = fraction.trim_end_matches('0');
        write!(f, "{sign}{whole}.{fraction:0<2}")
    }
}

#[cfg(test)]
mod tests;
