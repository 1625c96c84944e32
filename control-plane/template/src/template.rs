//! Templates as callers hold them, and their errors.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    ast::{Body, Source},
    context::Host,
    exec::{Definitions, Run},
    funcs::FuncSet,
    out::Limits,
    parse::parse,
    value::Value,
};

/// A text is no template. Line and column count from 1, the column in characters.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("template {name}:{line}:{column}: {message}")]
pub struct TemplateError {
    pub name: String,
    pub line: usize,
    pub column: usize,
    pub message: String,
}

/// A template failed while it was executed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("executing template {name}:{line}:{column}: {message}")]
pub struct ExecError {
    pub name: String,
    pub line: usize,
    pub column: usize,
    pub message: String,
}

impl TemplateError {
    pub(crate) fn at(source: &Source, at: usize, message: String) -> Self {
        let (line, column) = source.position(at);
        TemplateError { name: source.name.clone(), line, column, message }
    }
}

impl ExecError {
    pub(crate) fn at(source: &Source, at: usize, message: String) -> Self {
        let (line, column) = source.position(at);
        ExecError { name: source.name.clone(), line, column, message }
    }
}

/// What an absent key of a map gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MissingKey {
    /// The map's zero: empty text for labels. Prometheus and Alertmanager use this.
    #[default]
    Zero,
    Error,
}

/// What the output is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    #[default]
    Text,
    /// What actions print is escaped for the place where it lands, as `html/template` does it.
    Html,
}

/// Named templates that other texts may call: what Alertmanager loads from its template files.
#[derive(Debug, Clone)]
pub struct Library {
    funcs: FuncSet,
    defined: Definitions,
}

impl Library {
    pub fn new(funcs: FuncSet) -> Self {
        Library { funcs, defined: BTreeMap::new() }
    }

    /// Adds what a file defines; later definitions replace earlier ones.
    pub fn add(&mut self, name: &str, text: &str) -> Result<(), TemplateError> {
        let parsed = parse(name, text, &self.funcs, &[])?;
        self.defined.extend(parsed.defined);
        self.defined.insert(name.to_owned(), parsed.root);
        Ok(())
    }

    pub fn contains(&self, name: &str) -> bool {
        self.defined.contains_key(name)
    }

    /// Parses a text that may call everything in the library.
    pub fn parse(&self, name: &str, text: &str) -> Result<Template, TemplateError> {
        Template::build(name, text, &self.funcs, &[], self.defined.clone())
    }
}

/// A parsed template.
#[derive(Debug, Clone)]
pub struct Template {
    root: Arc<Body>,
    defined: Arc<Definitions>,
    funcs: FuncSet,
    limits: Limits,
    missing: MissingKey,
    mode: Mode,
}

impl Template {
    /// Reads a template. `name` stands in messages: a file, or the field that holds the text.
    pub fn parse(name: &str, text: &str, funcs: &FuncSet) -> Result<Self, TemplateError> {
        Template::build(name, text, funcs, &[], BTreeMap::new())
    }

    /// The same, with variables (`$labels`) that [`Template::execute_with`] will give.
    pub fn parse_with_variables(
        name: &str,
        text: &str,
        funcs: &FuncSet,
        variables: &[&str],
    ) -> Result<Self, TemplateError> {
        Template::build(name, text, funcs, variables, BTreeMap::new())
    }

    fn build(
        name: &str,
        text: &str,
        funcs: &FuncSet,
        variables: &[&str],
        mut defined: Definitions,
    ) -> Result<Self, TemplateError> {
        let parsed = parse(name, text, funcs, variables)?;
        defined.extend(parsed.defined);
        Ok(Template {
            root: parsed.root,
            defined: Arc::new(defined),
            funcs: funcs.clone(),
            limits: Limits::default(),
            missing: MissingKey::default(),
            mode: Mode::default(),
        })
    }

    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    #[must_use]
    pub fn with_missing_key(mut self, missing: MissingKey) -> Self {
        self.missing = missing;
        self
    }

    #[must_use]
    pub fn with_mode(mut self, mode: Mode) -> Self {
        self.mode = mode;
        self
    }

    /// The output for `data`, which is `.` and `$`.
    pub fn execute(&self, data: &Value, host: &dyn Host) -> Result<String, ExecError> {
        self.execute_with(data, &[], host)
    }

    /// The same with values for the variables it was parsed with.
    pub fn execute_with(
        &self,
        data: &Value,
        variables: &[(&str, Value)],
        host: &dyn Host,
    ) -> Result<String, ExecError> {
        let options = (self.limits, self.missing, self.mode);
        let run = Run::new(host, &self.funcs, Arc::clone(&self.defined), options, data.clone());
        run.execute(&self.root, data, variables)
    }
}
