//! Label matchers, `name="value"` with `=`, `!=`, `=~`, `!~`.
//!
//! Regular expressions are RE2's, anchored at both ends, and `.` matches newlines, as in Prometheus. Their compiled
//! size is bounded, so that no expression that somebody writes can take the memory of the process.

mod expand;
mod re2;

pub use expand::expand;

use crate::labels::{Labels, quote};
use regex::{Regex, RegexBuilder};
use std::{fmt, sync::Arc};

/// How a matcher compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum MatchOp {
    Eq,
    Ne,
    Re,
    Nre,
}

impl MatchOp {
    pub fn as_str(self) -> &'static str {
        match self {
            MatchOp::Eq => "=",
            MatchOp::Ne => "!=",
            MatchOp::Re => "=~",
            MatchOp::Nre => "!~",
        }
    }

    /// Whether the operator accepts what it does not name: `!=` and `!~`.
    pub fn is_negative(self) -> bool {
        matches!(self, MatchOp::Ne | MatchOp::Nre)
    }
}

/// A matcher's regular expression does not compile, or is too large.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
#[error("bad regular expression {pattern:?}: {reason}")]
pub struct MatcherError {
    pub pattern: String,
    pub reason: String,
}

/// One condition on one label. An absent label has the empty value.
#[derive(Clone)]
pub struct Matcher {
    pub name: Arc<str>,
    pub op: MatchOp,
    pub value: Arc<str>,
    regex: Option<Regex>,
}

/// Compiled size that one regular expression may take, in bytes.
const REGEX_SIZE_LIMIT: usize = 4 << 20;

/// Compiled size of a small one.
const SMALL_REGEX: usize = 64 << 10;

/// Bytes that a pattern may have, and how many classes (`\w`, `\pL`): both are read into a tree before the compiled
/// size is known, and a class of Unicode is some kilobytes there.
const PATTERN_LIMIT: usize = 256 << 10;
const CLASS_LIMIT: usize = 1000;

/// Compiles `pattern` as Prometheus would: anchored at both ends, `.` matching newlines, size bounded.
pub fn anchored_regex(pattern: &str) -> Result<Regex, MatcherError> {
    compile(pattern, REGEX_SIZE_LIMIT)
}

/// Compiles `pattern` as Go's library would: it matches anywhere, `.` matches no newline; size bounded.
pub fn regex(pattern: &str) -> Result<Regex, MatcherError> {
    build(pattern, REGEX_SIZE_LIMIT, |rewritten| rewritten)
}

fn compile(pattern: &str, limit: usize) -> Result<Regex, MatcherError> {
    build(pattern, limit, |rewritten| format!("^(?s:{rewritten})$"))
}

fn build(pattern: &str, limit: usize, around: impl FnOnce(String) -> String) -> Result<Regex, MatcherError> {
    let refuse = |reason: String| {
        let cut = pattern.char_indices().nth(100).map_or(pattern.len(), |(end, _)| end);
        let more = if cut < pattern.len() { "..." } else { "" };
        let pattern = format!("{}{more}", pattern.get(..cut).unwrap_or(""));
        Err(MatcherError { pattern, reason })
    };
    if pattern.len() > PATTERN_LIMIT {
        return refuse(format!("it has {} bytes, more than {PATTERN_LIMIT}", pattern.len()));
    }
    let class = |pair: &[u8]| pair[0] == b'\\' && b"pPwWdDsSbB".contains(&pair[1]);
    if pattern.as_bytes().windows(2).filter(|pair| class(pair)).count() > CLASS_LIMIT {
        return refuse(format!("it has more than {CLASS_LIMIT} classes such as \\w"));
    }
    let rewritten = match re2::rewrite(pattern) {
        Ok(rewritten) => rewritten,
        Err(why) => return refuse(why),
    };
    RegexBuilder::new(&around(rewritten))
        .size_limit(limit)
        .dfa_size_limit(limit)
        .build()
        .or_else(|e| refuse(reason(&e)))
}

/// The last line of the library's message is the sentence; those before it draw the place.
fn reason(e: &regex::Error) -> String {
    match e {
        regex::Error::CompiledTooBig(limit) => format!("it would take more than {limit} bytes once compiled"),
        e => {
            let text = e.to_string();
            text.lines().last().unwrap_or("").trim_start_matches("error: ").to_owned()
        }
    }
}

impl Matcher {
    /// Builds a matcher; fails only for a regular expression that does not compile.
    pub fn new(
        name: impl Into<Arc<str>>,
        op: MatchOp,
        value: impl Into<Arc<str>>,
    ) -> Result<Self, MatcherError> {
        let value = value.into();
        let regex = match op {
            MatchOp::Eq | MatchOp::Ne => None,
            MatchOp::Re | MatchOp::Nre => Some(anchored_regex(&value)?),
        };
        Ok(Matcher { name: name.into(), op, value, regex })
    }

    /// The same if it takes little memory: no regular expression, or a small one. `None` says nothing of why not.
    pub fn small(name: impl Into<Arc<str>>, op: MatchOp, value: impl Into<Arc<str>>) -> Option<Self> {
        let value = value.into();
        let regex = match op {
            MatchOp::Eq | MatchOp::Ne => None,
            MatchOp::Re | MatchOp::Nre => Some(compile(&value, SMALL_REGEX).ok()?),
        };
        Some(Matcher { name: name.into(), op, value, regex })
    }

    /// `name="value"`, which cannot fail.
    pub fn eq(name: impl Into<Arc<str>>, value: impl Into<Arc<str>>) -> Self {
        Matcher { name: name.into(), op: MatchOp::Eq, value: value.into(), regex: None }
    }

    /// Whether a label value (empty when the label is absent) satisfies the condition.
    pub fn matches(&self, value: &str) -> bool {
        match (self.op, &self.regex) {
            (MatchOp::Eq, _) => &*self.value == value,
            (MatchOp::Ne, _) => &*self.value != value,
            (MatchOp::Re, Some(re)) => re.is_match(value),
            (MatchOp::Nre, Some(re)) => !re.is_match(value),
            (MatchOp::Re | MatchOp::Nre, None) => false,
        }
    }

    /// Whether a label set satisfies the condition.
    pub fn matches_labels(&self, labels: &Labels) -> bool {
        self.matches(labels.value(&self.name))
    }

    /// Whether series without the label satisfy the condition.
    pub fn matches_empty(&self) -> bool {
        self.matches("")
    }
}

impl PartialEq for Matcher {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.op == other.op && self.value == other.value
    }
}

impl Eq for Matcher {}

impl std::hash::Hash for Matcher {
    fn hash<H: std::hash::Hasher>(&self, h: &mut H) {
        (&self.name, self.op, &self.value).hash(h);
    }
}

impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if crate::labels::is_legacy_name(&self.name) {
            write!(f, "{}{}{}", self.name, self.op.as_str(), quote(&self.value))
        } else {
            write!(f, "{}{}{}", quote(&self.name), self.op.as_str(), quote(&self.value))
        }
    }
}

impl fmt::Debug for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests;
