//! Between functions and the world: what the host gives, and what a running template lets a function do.

use crate::{exec::Run, out::Limits, value::Value};

/// A function said no. The text becomes part of the execution's error.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct CallError(pub String);

impl CallError {
    pub fn new(message: impl Into<String>) -> Self {
        CallError(message.into())
    }
}

/// One element of a query's answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// With `__name__`, where the series has one.
    pub labels: Vec<(String, String)>,
    /// A float; a histogram as the text it prints as.
    pub value: Value,
}

/// What a template cannot know by itself.
pub trait Host {
    /// The time of the evaluation, in milliseconds since 1970 (UTC).
    fn now_ms(&self) -> i64;

    /// Answers Prometheus's `query`. The default refuses.
    fn query(&self, expr: &str) -> Result<Vec<Sample>, CallError> {
        Err(CallError(format!("query {expr:?} cannot be answered here")))
    }

    /// Where people reach the server, without a slash at the end; may be empty.
    fn external_url(&self) -> &str {
        ""
    }
}

/// What a function may ask of the template that calls it.
pub struct Ctx<'r, 'a> {
    pub(crate) run: &'r mut Run<'a>,
}

impl std::fmt::Debug for Ctx<'_, '_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ctx").finish_non_exhaustive()
    }
}

impl Ctx<'_, '_> {
    pub fn host(&self) -> &dyn Host {
        self.run.host
    }

    pub fn limits(&self) -> Limits {
        self.run.limits
    }

    /// The data that the whole execution began with: `$` of the outermost template.
    pub fn root(&self) -> &Value {
        &self.run.root
    }

    /// The output of a defined template, as text.
    pub fn render(&mut self, name: &str, data: &Value) -> Result<String, CallError> {
        self.run.render_named(name, data)
    }

    /// Parses and executes `text` with the whole execution's data, under its limits.
    pub fn expand(&mut self, text: &str) -> Result<String, CallError> {
        self.run.expand_text(text)
    }
}
