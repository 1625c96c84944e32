//! What is said about samples that were not taken: how many, why, and of which series.

use std::{collections::BTreeMap, fmt::Write};

/// Series that are named for one reason.
const NAMED: usize = 3;
/// Bytes of a series' name that are shown.
const SHOWN: usize = 300;

#[derive(Debug, Default)]
struct Reason {
    samples: u64,
    named: Vec<String>,
}

/// Collects why samples were not taken.
#[derive(Debug, Default)]
pub(super) struct Refused {
    reasons: BTreeMap<String, Reason>,
    total: u64,
}

impl Refused {
    /// Whether another name is shown for this reason.
    pub(super) fn wants(&self, why: &str) -> bool {
        self.reasons.get(why).is_none_or(|r| r.named.len() < NAMED)
    }

    /// Counts one sample; `series` is asked for its name where it is shown.
    pub(super) fn add(&mut self, why: &str, series: impl FnOnce() -> String) {
        self.total += 1;
        let reason = match self.reasons.get_mut(why) {
            Some(reason) => reason,
            None => self.reasons.entry(why.to_owned()).or_default(),
        };
        reason.samples += 1;
        if reason.named.len() < NAMED {
            let mut name = series();
            if name.len() > SHOWN {
                let cut = (0..=SHOWN).rev().find(|i| name.is_char_boundary(*i)).unwrap_or(0);
                name.truncate(cut);
                name.push_str("...");
            }
            if !reason.named.contains(&name) {
                reason.named.push(name);
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.total == 0
    }

    pub(super) fn total(&self) -> u64 {
        self.total
    }

    /// `2 of 7 samples were not taken. 2: the series has no metric name, as {job="a"}`
    pub(super) fn sentence(&self, of: u64) -> String {
        let mut out = format!("{} of {of} samples were not taken.", self.total);
        for (i, (why, reason)) in self.reasons.iter().enumerate() {
            let comma = if i == 0 { " " } else { "; " };
            // Writing to a string cannot fail.
            let _whole = write!(out, "{comma}{}: {why}, as {}", reason.samples, reason.named.join(" and "));
        }
        out
    }
}
