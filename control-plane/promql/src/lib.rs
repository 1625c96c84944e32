//! Parse and evaluate PromQL, as of Prometheus 3.14, over [`model::Select`].
//!
//! Layer 1: no runtime, no HTTP, no clock. [`parse()`] gives a syntax tree with positions.
//!
//! Invariant: no input makes the parser overflow the stack.

pub mod ast;
pub mod error;
pub mod function;
pub mod histogram;
pub mod parse;
mod print;

pub use error::{ParseError, ParseErrors, Span};
pub use parse::{parse, parse_metric_selector};
