//! Duration expressions: parsing, and their value once step and range of the query are known.

use super::{Kind, Parsed, Parser};
use crate::{
    ast::{Duration, DurationKind, DurationOp, Number},
    error::Span,
};

/// Why a duration expression has no value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BadDuration {
    pub(crate) span: Span,
    why: Why,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Why {
    DivisionByZero,
    ModuloByZero,
    OutOfRange,
}

impl BadDuration {
    pub(crate) fn message(self) -> &'static str {
        match self.why {
            Why::DivisionByZero => "division by zero",
            Why::ModuloByZero => "modulo by zero",
            Why::OutOfRange => "duration out of range",
        }
    }
}

/// Durations are bounded as Prometheus's are: nanoseconds that fit 63 bits.
const LIMIT_SECONDS: f64 = 9_223_372_036.0;

impl Duration {
    /// The value in milliseconds, for a query with this step and this range (both in milliseconds).
    pub(crate) fn millis(&self, step: i64, range: i64) -> Result<i64, BadDuration> {
        let seconds = self.seconds(step, range)?;
        if !seconds.is_finite() || seconds.abs() > LIMIT_SECONDS {
            return Err(BadDuration { span: self.span, why: Why::OutOfRange });
        }
        #[expect(clippy::cast_possible_truncation, reason = "the bound was just checked")]
        Ok((seconds * 1000.0).round() as i64)
    }

    /// The value in milliseconds if it does not depend on the query.
    pub(crate) fn constant_millis(&self) -> Option<Result<i64, BadDuration>> {
        if self.depends_on_query() {
            // A division by a constant zero is wrong whatever the query.
            return match self.seconds(1000, 1000) {
                Err(e) if e.why != Why::OutOfRange && self.zero_divisor_is_constant(e.span) => Some(Err(e)),
                _ => None,
            };
        }
        Some(self.millis(0, 0))
    }

    fn depends_on_query(&self) -> bool {
        match &self.kind {
            DurationKind::Number(_) => false,
            DurationKind::Step | DurationKind::Range => true,
            DurationKind::Sign { of, .. } | DurationKind::Paren(of) => of.depends_on_query(),
            DurationKind::Binary(_, l, r) => l.depends_on_query() || r.depends_on_query(),
        }
    }

    fn zero_divisor_is_constant(&self, operator: Span) -> bool {
        match &self.kind {
            DurationKind::Binary(op, l, r) => {
                if matches!(op, DurationOp::Div | DurationOp::Mod)
                    && r.span.start > operator.start
                    && l.span.end <= operator.start
                {
                    return !r.depends_on_query() || l.zero_divisor_is_constant(operator);
                }
                l.zero_divisor_is_constant(operator) || r.zero_divisor_is_constant(operator)
            }
            DurationKind::Sign { of, .. } | DurationKind::Paren(of) => of.zero_divisor_is_constant(operator),
            _ => false,
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "steps are far below 2^53 milliseconds")]
    fn seconds(&self, step: i64, range: i64) -> Result<f64, BadDuration> {
        Ok(match &self.kind {
            DurationKind::Number(n) => n.value,
            DurationKind::Step => step as f64 / 1000.0,
            DurationKind::Range => range as f64 / 1000.0,
            DurationKind::Sign { negative, of } => {
                let value = of.seconds(step, range)?;
                if *negative { -value } else { value }
            }
            DurationKind::Paren(of) => of.seconds(step, range)?,
            DurationKind::Binary(op, l, r) => {
                let (a, b) = (l.seconds(step, range)?, r.seconds(step, range)?);
                let zero = |why| BadDuration { span: Span::new(l.span.end, r.span.start), why };
                match op {
                    DurationOp::Add => a + b,
                    DurationOp::Sub => a - b,
                    DurationOp::Mul => a * b,
                    DurationOp::Div if b == 0.0 => return Err(zero(Why::DivisionByZero)),
                    DurationOp::Div => a / b,
                    DurationOp::Mod if b == 0.0 => return Err(zero(Why::ModuloByZero)),
                    DurationOp::Mod => a % b,
                    DurationOp::Pow => a.powf(b),
                    DurationOp::Min => a.min(b),
                    DurationOp::Max => a.max(b),
                }
            }
        })
    }
}

const WANTED: &str = "number, duration, step(), or range()";

impl Parser<'_> {
    /// What may follow `offset`: a signed atom. Arithmetic needs parentheses there.
    pub(super) fn offset_duration(&mut self) -> Parsed<Duration> {
        self.nested(|p| {
            let t = p.peek()?;
            match t.kind {
                Kind::Add | Kind::Sub => {
                    p.advance()?;
                    let of = p.duration_atom("offset")?;
                    Ok(signed(t.span, t.kind == Kind::Sub, of))
                }
                _ => p.duration_atom("offset"),
            }
        })
    }

    pub(super) fn duration_expr(&mut self, context: &str) -> Parsed<Duration> {
        self.duration_binary(context, 1)
    }

    fn duration_binary(&mut self, context: &str, min: u8) -> Parsed<Duration> {
        self.nested(|p| {
            let mut lhs = p.duration_unary(context)?;
            let mut height = p.height;
            loop {
                let (op, precedence) = match p.peek()?.kind {
                    Kind::Add => (DurationOp::Add, 1),
                    Kind::Sub => (DurationOp::Sub, 1),
                    Kind::Mul => (DurationOp::Mul, 2),
                    Kind::Div => (DurationOp::Div, 2),
                    Kind::Mod => (DurationOp::Mod, 2),
                    Kind::Pow => (DurationOp::Pow, 3),
                    _ => return Ok(lhs),
                };
                if precedence < min {
                    return Ok(lhs);
                }
                p.advance()?;
                let rhs =
                    p.duration_binary(context, if op == DurationOp::Pow { 3 } else { precedence + 1 })?;
                height = p.grow(height.max(p.height))?;
                let span = lhs.span.to(rhs.span);
                lhs = Duration { span, kind: DurationKind::Binary(op, Box::new(lhs), Box::new(rhs)) };
            }
        })
    }

    fn duration_unary(&mut self, context: &str) -> Parsed<Duration> {
        let t = self.peek()?;
        match t.kind {
            Kind::Add | Kind::Sub => {
                self.advance()?;
                let of = self.duration_binary(context, 3)?;
                self.grow(self.height)?;
                Ok(signed(t.span, t.kind == Kind::Sub, of))
            }
            _ => self.duration_atom(context),
        }
    }

    fn duration_atom(&mut self, context: &str) -> Parsed<Duration> {
        self.height = 0;
        if self.peek()?.kind != Kind::Word
            && let Some((span, n)) = self.number()?
        {
            return Ok(Duration { span, kind: DurationKind::Number(n) });
        }
        let t = self.peek()?;
        if t.kind == Kind::LeftParen {
            self.advance()?;
            let inner = self.duration_expr(context)?;
            self.grow(self.height)?;
            self.expect(Kind::RightParen, context, "\")\"")?;
            let span = Span::new(t.span.start, self.last_end);
            return Ok(Duration { span, kind: DurationKind::Paren(Box::new(inner)) });
        }
        let op = match self.peek_word()?.as_deref() {
            Some(word @ ("step" | "range")) => {
                self.advance()?;
                self.expect(Kind::LeftParen, context, WANTED)?;
                self.expect(Kind::RightParen, context, "\")\"")?;
                let kind = if word == "step" { DurationKind::Step } else { DurationKind::Range };
                return Ok(Duration { span: Span::new(t.span.start, self.last_end), kind });
            }
            Some("min_of") => DurationOp::Min,
            Some("max_of") => DurationOp::Max,
            _ => return Err(self.unexpected(context, WANTED)),
        };
        self.advance()?;
        self.expect(Kind::LeftParen, context, "\"(\"")?;
        let l = self.duration_expr(context)?;
        let height = self.height;
        self.expect(Kind::Comma, context, "\",\"")?;
        let r = self.duration_expr(context)?;
        self.grow(height.max(self.height))?;
        self.expect(Kind::RightParen, context, "\")\"")?;
        let span = Span::new(t.span.start, self.last_end);
        Ok(Duration { span, kind: DurationKind::Binary(op, Box::new(l), Box::new(r)) })
    }
}

/// A sign before a number is part of the number.
fn signed(sign: Span, negative: bool, of: Duration) -> Duration {
    let span = sign.to(of.span);
    let kind = match of.kind {
        DurationKind::Number(n) => {
            DurationKind::Number(Number { value: if negative { -n.value } else { n.value }, ..n })
        }
        _ => DurationKind::Sign { negative, of: Box::new(of) },
    };
    Duration { span, kind }
}
