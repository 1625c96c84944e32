//! The syntax tree. `at` is always a byte offset into the text the node came from.

use std::sync::Arc;

use crate::value::Value;

/// One named body: the template itself, or what a `define` or `block` holds.
#[derive(Debug)]
pub(crate) struct Body {
    pub(crate) source: Arc<Source>,
    pub(crate) nodes: Vec<Node>,
}

/// The text a body was parsed from, to turn offsets into lines and columns.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) name: String,
    pub(crate) text: String,
}

impl Source {
    /// Line and column, both from 1; the column counts characters.
    pub(crate) fn position(&self, at: usize) -> (usize, usize) {
        let before = self.text.get(..at.min(self.text.len())).unwrap_or(&self.text);
        let line_start = before.rfind('\n').map_or(0, |i| i + 1);
        let column = before.get(line_start..).map_or(0, |t| t.chars().count());
        (before.matches('\n').count() + 1, column + 1)
    }
}

#[derive(Debug)]
pub(crate) enum Node {
    Text(Arc<str>),
    Action(Pipe),
    If(Branch),
    With(Branch),
    Range(Branch),
    Template { at: usize, name: String, pipe: Option<Pipe> },
    Break,
    Continue,
}

#[derive(Debug)]
pub(crate) struct Branch {
    pub(crate) pipe: Pipe,
    pub(crate) then: Vec<Node>,
    pub(crate) otherwise: Vec<Node>,
}

/// `$a, $b := one | two`
#[derive(Debug)]
pub(crate) struct Pipe {
    pub(crate) at: usize,
    pub(crate) variables: Vec<String>,
    /// `=` rather than `:=`.
    pub(crate) assigns: bool,
    pub(crate) commands: Vec<Command>,
}

#[derive(Debug)]
pub(crate) struct Command {
    pub(crate) args: Vec<Arg>,
}

#[derive(Debug)]
pub(crate) struct Arg {
    pub(crate) at: usize,
    pub(crate) kind: ArgKind,
}

#[derive(Debug)]
pub(crate) enum ArgKind {
    Dot,
    Nil,
    Literal(Value),
    Field(Vec<String>),
    Variable(String, Vec<String>),
    Chain(Box<Arg>, Vec<String>),
    Function(String),
    Pipe(Box<Pipe>),
}
