//! Go `text/template` as Prometheus annotations and Alertmanager notifications use it.
//!
//! A room of its own because `rules` and `alerting`, which never import each other, both need it. It parses
//! ([`Template::parse`], positions as line and column), evaluates over a small [`Value`], and brings the two
//! function sets people know: [`FuncSet::prometheus`] and [`FuncSet::alertmanager`]. Semantics follow Go's
//! documentation of `text/template`, `fmt` and `time` layouts.
//!
//! Not here: reading files, querying (the [`Host`] does), clocks (the host says what `now` is).
//!
//! Invariants: a template can neither panic nor hang its caller. Steps, output bytes, the size of every
//! intermediate value and the nesting depth are bounded by [`Limits`].

mod ast;
mod context;
mod convert;
mod exec;
mod fields;
mod fmt;
mod funcs;
mod html;
mod json;
mod layout;
mod lex;
mod number;
mod out;
mod parse;
mod prometheus;
mod template;
mod time;
mod value;

pub mod alertmanager;

pub use context::{CallError, Ctx, Host, Sample};
pub use funcs::FuncSet;
pub use out::Limits;
pub use prometheus::{AlertText, expand_alert, parse_alert};
pub use template::{ExecError, Library, MissingKey, Mode, Template, TemplateError};
pub use value::{Field, List, Map, Methods, Safe, Struct, Typed, Value};

#[cfg(test)]
mod tests;
