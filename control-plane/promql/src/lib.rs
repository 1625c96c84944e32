//! Parse and evaluate PromQL, as of Prometheus 3.14, over [`model::Select`].
//!
//! Layer 1: no runtime, no HTTP, no clock. [`parse()`] gives a syntax tree with positions, [`Engine`] evaluates it
//! for one moment or a range of them, [`memory::MemoryStore`] is a store for tests of rules and queries.
//!
//! Invariants: no input makes the parser or the evaluator overflow the stack; every evaluation is bounded by a
//! number of samples and stops when its [`model::Cancel`] says so.

pub mod ast;
pub mod engine;
pub mod error;
pub mod explain;
pub mod function;
pub mod help;
pub mod hint;
pub mod histogram;
pub mod memory;
pub mod parse;
mod pretty;
mod print;
pub mod value;

pub use ast::Expr;
pub use engine::{Engine, EngineConfig, EvalError, Lease, MemoryPool, Repeats, Shared, Steps};
pub use error::{ParseError, ParseErrors, Span};
pub use memory::MemoryStore;
pub use parse::{parse, parse_metric_selector};
pub use value::{Annotations, InstantSample, QueryResult, QueryValue, RangeSeries};
