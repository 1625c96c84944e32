//! A query step by step: what each sub-expression does, what it gives and what it costs.
//!
//! Every node is evaluated by itself, leaves first, at the times of the query; a node's figures therefore include those
//! of what is below it. A range vector is looked at where the query ends. All nodes together may read as many samples
//! as one query may hold. Time enters as an argument.

use crate::{
    Engine, EvalError, Expr, QueryResult, QueryValue, Span,
    ast::{ExprKind, ValueType},
    help,
};
use std::time::Duration;

/// Nodes that are evaluated; a larger tree is told in words only.
const MOST_NODES: usize = 100;

/// Nodes that are told at all.
const MOST_SHOWN: usize = 500;

/// Bytes of a node's text that are shown.
const MOST_TEXT: usize = 500;

/// One node of the tree.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    pub span: Span,
    /// The sub-expression as it is printed, perhaps only its beginning.
    pub text: String,
    pub value_type: ValueType,
    /// What it does, in words.
    pub does: String,
    pub outcome: Outcome,
    pub inside: Vec<Step>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    Evaluated(Figures),
    /// What the evaluation answered.
    Failed(String),
    /// Why it was not evaluated.
    Skipped(&'static str),
}

/// What a node gave, and what it took together with the nodes below it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Figures {
    pub series: usize,
    /// Samples in the result.
    pub samples: usize,
    pub samples_read: usize,
    pub peak_samples: usize,
    pub peak_bytes: usize,
    pub took: Duration,
}

/// Evaluates one expression at the times of the query; one that gives a range vector only at the last of them.
pub type Evaluate<'a> = dyn Fn(&Expr) -> Result<QueryResult, EvalError> + 'a;

/// Explains `expr`. `now` is any clock that goes forward.
///
/// # Errors
/// When the query was stopped or the store failed. What else goes wrong is said at the node.
pub fn explain(
    engine: &Engine,
    expr: &Expr,
    evaluate: &Evaluate<'_>,
    now: &dyn Fn() -> Duration,
) -> Result<Step, EvalError> {
    Explainer { evaluate, now, nodes: MOST_NODES, shown: MOST_SHOWN, samples: engine.config().max_samples }
        .step(expr)
}

struct Explainer<'a> {
    evaluate: &'a Evaluate<'a>,
    now: &'a dyn Fn() -> Duration,
    /// How many may still be evaluated and told, and how many samples may still be read.
    nodes: usize,
    shown: usize,
    samples: usize,
}

impl Explainer<'_> {
    fn step(&mut self, expr: &Expr) -> Result<Step, EvalError> {
        let expr = expr.unparen();
        let mut children = expr.children();
        // The second argument of info() only carries matchers.
        if matches!(&expr.kind, ExprKind::Call(c) if c.function.name == "info") {
            children.truncate(1);
        }
        let mut inside = Vec::new();
        for child in children {
            // Constants say in their parent's text what they are.
            if self.shown > 0 && !matches!(child.unparen().kind, ExprKind::Number(_) | ExprKind::String(_)) {
                self.shown -= 1;
                inside.push(self.step(child)?);
            }
        }
        let mut text = expr.to_string();
        if let Some((end, _)) = text.char_indices().find(|(i, _)| *i >= MOST_TEXT) {
            text.truncate(end);
            text.push_str("...");
        }
        let broken = inside.iter().any(|s| !matches!(s.outcome, Outcome::Evaluated(_)));
        let outcome = if broken {
            Outcome::Skipped("a step inside has no result")
        } else if self.nodes == 0 {
            Outcome::Skipped("the query has more steps than are evaluated")
        } else if self.samples == 0 {
            Outcome::Skipped("the steps before read as many samples as a query may hold")
        } else {
            self.outcome(expr)?
        };
        Ok(Step {
            span: expr.span,
            text,
            value_type: expr.value_type(),
            does: help::node(expr),
            outcome,
            inside,
        })
    }

    fn outcome(&mut self, expr: &Expr) -> Result<Outcome, EvalError> {
        self.nodes -= 1;
        let begun = (self.now)();
        let result = match (self.evaluate)(expr) {
            Ok(result) => result,
            Err(e @ (EvalError::Cancelled | EvalError::Timeout | EvalError::Store(_))) => return Err(e),
            Err(e) => return Ok(Outcome::Failed(e.to_string())),
        };
        let took = (self.now)().saturating_sub(begun);
        self.samples = self.samples.saturating_sub(result.stats.samples_read);
        let (series, samples) = match &result.value {
            QueryValue::Scalar { .. } | QueryValue::String { .. } => (1, 1),
            QueryValue::Vector(v) => (v.len(), v.len()),
            QueryValue::Matrix(m) => (m.len(), m.iter().map(|s| s.points.len()).sum()),
        };
        Ok(Outcome::Evaluated(Figures {
            series,
            samples,
            samples_read: result.stats.samples_read,
            peak_samples: result.stats.peak_samples,
            peak_bytes: result.stats.peak_bytes,
            took,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{EngineConfig, MemoryStore, parse};
    use model::{Cancel, Labels, Value};

    fn told(config: EngineConfig, query: &str) -> Vec<String> {
        let store = MemoryStore::new();
        for job in ["api", "db", "web"] {
            let labels = Labels::from_pairs([("__name__", "a_total"), ("job", job)]);
            for step in 0..10 {
                store.push(&labels, step * 10_000, Value::Float(1.0), None).expect("pushed");
            }
        }
        let engine = Engine::new(config);
        let expr = parse(query).expect("parses");
        let evaluate = |e: &Expr| engine.instant(&store, e, 90_000, &Cancel::default());
        let step = explain(&engine, &expr, &evaluate, &|| Duration::ZERO).expect("explains");
        fn tell(step: &Step, depth: usize, out: &mut Vec<String>) {
            let figures = match &step.outcome {
                Outcome::Evaluated(f) => {
                    format!("{} series, {} samples, {} read", f.series, f.samples, f.samples_read)
                }
                Outcome::Failed(e) => format!("failed: {}", e.split(':').next().unwrap_or("")),
                Outcome::Skipped(why) => (*why).to_owned(),
            };
            out.push(format!("{}{}: {figures}", "  ".repeat(depth), step.text));
            step.inside.iter().for_each(|s| tell(s, depth + 1, out));
        }
        let mut out = Vec::new();
        tell(&step, 0, &mut out);
        out
    }

    #[test]
    fn each_step_tells_what_it_gives_and_reads() {
        assert_eq!(
            told(EngineConfig::default(), "sum((rate(a_total[30s]))) / 2 > bool count(a_total)"),
            [
                "sum((rate(a_total[30s]))) / 2 > bool count(a_total): 1 series, 1 samples, 39 read",
                "  sum((rate(a_total[30s]))) / 2: 1 series, 1 samples, 9 read",
                "    sum((rate(a_total[30s]))): 1 series, 1 samples, 9 read",
                "      rate(a_total[30s]): 3 series, 3 samples, 9 read",
                "        a_total[30s]: 3 series, 9 samples, 9 read",
                "  count(a_total): 1 series, 1 samples, 30 read",
                "    a_total: 3 series, 3 samples, 30 read",
            ]
        );
    }

    #[test]
    fn a_step_that_fails_ends_the_way_up_and_the_steps_share_the_limits() {
        assert_eq!(
            told(EngineConfig::default(), "sum(a_total + on () a_total)"),
            [
                "sum(a_total + on () a_total): a step inside has no result",
                "  a_total + on () a_total: failed: found duplicate series for the match group {} on the right hand-side of the operation",
                "    a_total: 3 series, 3 samples, 30 read",
                "    a_total: 3 series, 3 samples, 30 read",
            ]
        );
        let tight = EngineConfig { max_samples: 30, ..EngineConfig::default() };
        let steps = told(tight, "count(a_total) + count(a_total)");
        assert!(steps[0].ends_with("a step inside has no result"), "{steps:?}");
        assert!(steps[1].ends_with("as many samples as a query may hold"), "{steps:?}");
        let many = told(EngineConfig::default(), &format!("vector(1){}", " + vector(1)".repeat(150)));
        assert!(many[0].contains("..."), "{}", many[0]);
        assert!(many.iter().any(|s| s.contains("more steps than are evaluated")));
    }
}
