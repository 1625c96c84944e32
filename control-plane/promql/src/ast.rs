//! The syntax tree of PromQL, with a byte range on every expression.
//!
//! Equality compares what an expression says and ignores where it stands, so a printed and parsed tree equals
//! the one it was printed from. Trees are at most [`crate::parse::MAX_DEPTH`] deep: walking and dropping them
//! recursively is safe.

use crate::{error::Span, function::Function};
use model::Matcher;

/// The four types of PromQL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ValueType {
    Scalar,
    String,
    /// An instant vector.
    Vector,
    /// A range vector.
    Matrix,
}

impl ValueType {
    /// The type's name in messages to people.
    pub fn as_str(self) -> &'static str {
        match self {
            ValueType::Scalar => "scalar",
            ValueType::String => "string",
            ValueType::Vector => "instant vector",
            ValueType::Matrix => "range vector",
        }
    }

    /// The type's name in the HTTP API.
    pub fn api_name(self) -> &'static str {
        match self {
            ValueType::Scalar => "scalar",
            ValueType::String => "string",
            ValueType::Vector => "vector",
            ValueType::Matrix => "matrix",
        }
    }
}

/// An expression and where it stands.
#[derive(Debug, Clone)]
pub struct Expr {
    pub span: Span,
    pub kind: ExprKind,
}

impl PartialEq for Expr {
    fn eq(&self, other: &Self) -> bool {
        self.kind == other.kind
    }
}

#[derive(Debug, Clone, PartialEq)]
pub enum ExprKind {
    Number(Number),
    String(String),
    Selector(Box<Selector>),
    Subquery(Box<Subquery>),
    Call(Call),
    Aggregate(Box<Aggregate>),
    Binary(Box<Binary>),
    /// `+x` or `-x`; a sign before a number is part of the number.
    Unary {
        negative: bool,
        expr: Box<Expr>,
    },
    Paren(Box<Expr>),
}

/// A number, or a duration in seconds that stands for one.
#[derive(Debug, Clone, Copy)]
pub struct Number {
    pub value: f64,
    /// Whether it was written as a duration, `5m`.
    pub duration: bool,
}

impl PartialEq for Number {
    fn eq(&self, other: &Self) -> bool {
        self.duration == other.duration
            && (self.value.to_bits() == other.value.to_bits() || self.value.is_nan() && other.value.is_nan())
    }
}

/// Instant or range selector: `name{a="b"}[5m] offset 1m @ 10`.
#[derive(Debug, Clone)]
pub struct Selector {
    /// The name before the braces, if one stands there. It is among the matchers too.
    pub name: Option<String>,
    pub matchers: Vec<Matcher>,
    /// The range of a range selector.
    pub range: Option<Duration>,
    pub offset: Option<Duration>,
    pub at: Option<At>,
    pub extent: Option<Extent>,
}

/// The order of matchers means nothing, and they are printed in another one.
impl PartialEq for Selector {
    fn eq(&self, other: &Self) -> bool {
        let sorted = |s: &Selector| {
            let mut texts: Vec<String> = s.matchers.iter().map(ToString::to_string).collect();
            texts.sort_unstable();
            texts
        };
        self.name == other.name
            && self.range == other.range
            && self.offset == other.offset
            && self.at == other.at
            && self.extent == other.extent
            && sorted(self) == sorted(other)
    }
}

/// What an extended range selector looks at beyond its samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    Anchored,
    Smoothed,
}

/// The `@` modifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    /// Milliseconds since the epoch.
    Time(i64),
    Start,
    End,
}

/// `expr[range:step] offset o @ t`.
#[derive(Debug, Clone, PartialEq)]
pub struct Subquery {
    pub expr: Box<Expr>,
    pub range: Duration,
    pub step: Option<Duration>,
    pub offset: Option<Duration>,
    pub at: Option<At>,
}

/// A duration expression: what may stand in brackets and after `offset`.
#[derive(Debug, Clone)]
pub struct Duration {
    pub span: Span,
    pub kind: DurationKind,
}

impl PartialEq for Duration {
    fn eq(&self, other: &Self) -> bool {
        self.kind == other.kind
    }
}

#[derive(Debug, Clone, PartialEq)]
pub enum DurationKind {
    Number(Number),
    /// `step()`: the query's step.
    Step,
    /// `range()`: the query's end minus its start.
    Range,
    Sign {
        negative: bool,
        of: Box<Duration>,
    },
    Paren(Box<Duration>),
    Binary(DurationOp, Box<Duration>, Box<Duration>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DurationOp {
    Add,
    Sub,
    Mul,
    Div,
    Mod,
    Pow,
    Min,
    Max,
}

/// A function and its arguments.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    pub function: &'static Function,
    pub args: Vec<Expr>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AggregateOp {
    Sum,
    Avg,
    Count,
    Min,
    Max,
    Group,
    Stddev,
    Stdvar,
    Topk,
    Bottomk,
    CountValues,
    Quantile,
    Limitk,
    LimitRatio,
}

impl AggregateOp {
    pub const ALL: [(&'static str, AggregateOp); 14] = [
        ("sum", AggregateOp::Sum),
        ("avg", AggregateOp::Avg),
        ("count", AggregateOp::Count),
        ("min", AggregateOp::Min),
        ("max", AggregateOp::Max),
        ("group", AggregateOp::Group),
        ("stddev", AggregateOp::Stddev),
        ("stdvar", AggregateOp::Stdvar),
        ("topk", AggregateOp::Topk),
        ("bottomk", AggregateOp::Bottomk),
        ("count_values", AggregateOp::CountValues),
        ("quantile", AggregateOp::Quantile),
        ("limitk", AggregateOp::Limitk),
        ("limit_ratio", AggregateOp::LimitRatio),
    ];

    /// Finds an operator by its name, in any case.
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, op)| *op)
    }

    pub fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(_, op)| *op == self).map_or("", |(name, _)| name)
    }

    /// The type of the parameter before the vector, if there is one.
    pub fn param(self) -> Option<ValueType> {
        use AggregateOp::{Bottomk, CountValues, LimitRatio, Limitk, Quantile, Topk};
        match self {
            Topk | Bottomk | Quantile | Limitk | LimitRatio => Some(ValueType::Scalar),
            CountValues => Some(ValueType::String),
            _ => None,
        }
    }

    pub fn is_experimental(self) -> bool {
        matches!(self, AggregateOp::Limitk | AggregateOp::LimitRatio)
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct Aggregate {
    pub op: AggregateOp,
    pub param: Option<Box<Expr>>,
    pub expr: Box<Expr>,
    pub grouping: Vec<String>,
    pub without: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BinaryOp {
    Add,
    Sub,
    Mul,
    Div,
    Mod,
    Pow,
    Atan2,
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
    /// `</`: cuts a histogram off above a value.
    TrimUpper,
    /// `>/`: cuts a histogram off below a value.
    TrimLower,
    And,
    Or,
    Unless,
}

impl BinaryOp {
    pub fn as_str(self) -> &'static str {
        match self {
            BinaryOp::Add => "+",
            BinaryOp::Sub => "-",
            BinaryOp::Mul => "*",
            BinaryOp::Div => "/",
            BinaryOp::Mod => "%",
            BinaryOp::Pow => "^",
            BinaryOp::Atan2 => "atan2",
            BinaryOp::Eq => "==",
            BinaryOp::Ne => "!=",
            BinaryOp::Lt => "<",
            BinaryOp::Le => "<=",
            BinaryOp::Gt => ">",
            BinaryOp::Ge => ">=",
            BinaryOp::TrimUpper => "</",
            BinaryOp::TrimLower => ">/",
            BinaryOp::And => "and",
            BinaryOp::Or => "or",
            BinaryOp::Unless => "unless",
        }
    }

    pub fn is_comparison(self) -> bool {
        use BinaryOp::{Eq, Ge, Gt, Le, Lt, Ne};
        matches!(self, Eq | Ne | Lt | Le | Gt | Ge)
    }

    pub fn is_set(self) -> bool {
        matches!(self, BinaryOp::And | BinaryOp::Or | BinaryOp::Unless)
    }

    /// How tightly it binds; `^` binds to the right, all others to the left.
    pub(crate) fn precedence(self) -> u8 {
        use BinaryOp::{
            Add, And, Atan2, Div, Eq, Ge, Gt, Le, Lt, Mod, Mul, Ne, Or, Pow, Sub, TrimLower, TrimUpper,
            Unless,
        };
        match self {
            Or => 1,
            And | Unless => 2,
            Eq | Ne | Lt | Le | Gt | Ge | TrimUpper | TrimLower => 3,
            Add | Sub => 4,
            Mul | Div | Mod | Atan2 => 5,
            Pow => 6,
        }
    }
}

/// How series of the two sides find each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Cardinality {
    #[default]
    OneToOne,
    /// `group_left`
    ManyToOne,
    /// `group_right`
    OneToMany,
}

/// The modifiers between an operator and its right side.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Matching {
    pub cardinality: Cardinality,
    /// `on` (true) or `ignoring` (false).
    pub on: bool,
    pub labels: Vec<String>,
    /// The labels of `group_left` or `group_right`.
    pub include: Vec<String>,
    pub fill_left: Option<Fill>,
    pub fill_right: Option<Fill>,
}

/// The value that stands in for a missing match.
#[derive(Debug, Clone, Copy)]
pub struct Fill(pub f64);

impl PartialEq for Fill {
    fn eq(&self, other: &Self) -> bool {
        self.0.to_bits() == other.0.to_bits() || self.0.is_nan() && other.0.is_nan()
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct Binary {
    pub op: BinaryOp,
    pub lhs: Box<Expr>,
    pub rhs: Box<Expr>,
    pub return_bool: bool,
    pub matching: Matching,
}

impl Expr {
    /// The type of the value that the expression gives.
    pub fn value_type(&self) -> ValueType {
        match &self.kind {
            ExprKind::Number(_) => ValueType::Scalar,
            ExprKind::String(_) => ValueType::String,
            ExprKind::Selector(s) if s.range.is_some() => ValueType::Matrix,
            ExprKind::Selector(_) | ExprKind::Aggregate(_) => ValueType::Vector,
            ExprKind::Subquery(_) => ValueType::Matrix,
            ExprKind::Call(c) => c.function.returns,
            ExprKind::Binary(b) => {
                let scalar = |e: &Expr| e.value_type() == ValueType::Scalar;
                if scalar(&b.lhs) && scalar(&b.rhs) { ValueType::Scalar } else { ValueType::Vector }
            }
            ExprKind::Unary { expr, .. } | ExprKind::Paren(expr) => expr.value_type(),
        }
    }

    /// The expressions directly below this one, in the order in which they stand.
    pub fn children(&self) -> Vec<&Expr> {
        match &self.kind {
            ExprKind::Number(_) | ExprKind::String(_) | ExprKind::Selector(_) => Vec::new(),
            ExprKind::Subquery(s) => vec![&s.expr],
            ExprKind::Call(c) => c.args.iter().collect(),
            ExprKind::Aggregate(a) => a.param.as_deref().into_iter().chain([&*a.expr]).collect(),
            ExprKind::Binary(b) => vec![&b.lhs, &b.rhs],
            ExprKind::Unary { expr, .. } | ExprKind::Paren(expr) => vec![expr],
        }
    }

    /// Calls `visit` for this expression and all below it, parents first.
    pub fn walk<'a>(&'a self, visit: &mut dyn FnMut(&'a Expr)) {
        visit(self);
        for child in self.children() {
            child.walk(visit);
        }
    }

    /// Calls `change` for this expression and all below it, parents first.
    pub fn walk_mut(&mut self, change: &mut dyn FnMut(&mut Expr)) {
        change(self);
        match &mut self.kind {
            ExprKind::Number(_) | ExprKind::String(_) | ExprKind::Selector(_) => {}
            ExprKind::Subquery(s) => s.expr.walk_mut(change),
            ExprKind::Call(c) => c.args.iter_mut().for_each(|a| a.walk_mut(change)),
            ExprKind::Aggregate(a) => {
                if let Some(param) = &mut a.param {
                    param.walk_mut(change);
                }
                a.expr.walk_mut(change);
            }
            ExprKind::Binary(b) => {
                b.lhs.walk_mut(change);
                b.rhs.walk_mut(change);
            }
            ExprKind::Unary { expr, .. } | ExprKind::Paren(expr) => expr.walk_mut(change),
        }
    }

    /// All selectors, in the order in which they stand.
    pub fn selectors(&self) -> Vec<&Selector> {
        let mut found = Vec::new();
        self.walk(&mut |e| {
            if let ExprKind::Selector(s) = &e.kind {
                found.push(&**s);
            }
        });
        found
    }

    /// This expression without the parentheses around it.
    pub fn unparen(&self) -> &Expr {
        let mut e = self;
        while let ExprKind::Paren(inner) = &e.kind {
            e = inner;
        }
        e
    }
}
