//! Selectors and what may follow them: braces, brackets, `offset`, `@`, `anchored`, `smoothed`.

use super::{Kind, MAX_LARGE_REGEXES, MAX_PROBLEMS, MAX_REGEXES, Parsed, Parser};
use crate::{
    ast::{At, Duration, DurationKind, Expr, ExprKind, Extent, Selector, Subquery},
    error::Span,
};
use model::{MatchOp, Matcher, labels::METRIC_NAME};

impl Parser<'_> {
    /// `name`, `name{...}` or `{...}`.
    pub(super) fn bare_selector(&mut self) -> Parsed<Expr> {
        let first = self.peek()?;
        let name = match first.kind {
            Kind::Word => {
                self.advance()?;
                Some(self.text(first.span).to_owned())
            }
            Kind::LeftBrace => None,
            _ => return Err(self.unexpected("", "a selector like up{job=\"api\"}")),
        };
        let mut matchers = if self.peek()?.kind == Kind::LeftBrace { self.matchers()? } else { Vec::new() };
        if let Some(name) = &name {
            matchers.push(Matcher::eq(METRIC_NAME, name.as_str()));
        }
        let span = Span::new(first.span.start, self.last_end);
        let selector = Selector { name, matchers, range: None, offset: None, at: None, extent: None };
        Ok(Expr { span, kind: ExprKind::Selector(Box::new(selector)) })
    }

    fn matchers(&mut self) -> Parsed<Vec<Matcher>> {
        const CONTEXT: &str = "label matching";
        self.expect(Kind::LeftBrace, CONTEXT, "\"{\"")?;
        let mut matchers = Vec::new();
        loop {
            if self.eat(Kind::RightBrace)?.is_some() {
                return Ok(matchers);
            }
            let t = self.peek()?;
            let (name, quoted) = match t.kind {
                Kind::Word if !self.text(t.span).contains(':') => (self.text(t.span).to_owned(), false),
                Kind::Text => (self.unquote(t.span)?, true),
                Kind::End => return Err(self.error(t.span, "unexpected end of input inside braces")),
                _ => return Err(self.unexpected(CONTEXT, "identifier or \"}\"")),
            };
            self.advance()?;
            let op = match self.peek()?.kind {
                Kind::Assign => Some(MatchOp::Eq),
                Kind::NotEqual => Some(MatchOp::Ne),
                Kind::MatchRegex => Some(MatchOp::Re),
                Kind::NotRegex => Some(MatchOp::Nre),
                _ => None,
            };
            match op {
                Some(op) => {
                    self.advance()?;
                    let value = self.expect(Kind::Text, CONTEXT, "string")?;
                    let text = self.unquote(value.span)?;
                    match self.matcher(name, op, text) {
                        Ok(m) => matchers.push(m),
                        Err(message) => self.problem(t.span.to(value.span), message),
                    }
                }
                None if quoted => matchers.push(Matcher::eq(METRIC_NAME, name)),
                None => return Err(self.unexpected(CONTEXT, "label matching operator")),
            }
            if self.eat(Kind::Comma)?.is_none() && self.peek()?.kind != Kind::RightBrace {
                if self.peek()?.kind == Kind::End {
                    let span = self.peek()?.span;
                    return Err(self.error(span, "unexpected end of input inside braces"));
                }
                return Err(self.unexpected(CONTEXT, "\",\" or \"}\""));
            }
        }
    }

    /// One matcher, within what all of a text may take.
    fn matcher(&mut self, name: String, op: MatchOp, value: String) -> Result<Matcher, String> {
        if matches!(op, MatchOp::Re | MatchOp::Nre) {
            self.regexes += 1;
            // Once there are so many problems no more are shown, and nothing needs to be compiled.
            if self.regexes > MAX_REGEXES || self.problems.len() >= MAX_PROBLEMS {
                return Err(format!("the query has more than {MAX_REGEXES} regular expressions"));
            }
        }
        let name: std::sync::Arc<str> = name.into();
        let value: std::sync::Arc<str> = value.into();
        match Matcher::small(std::sync::Arc::clone(&name), op, std::sync::Arc::clone(&value)) {
            Some(m) => Ok(m),
            None if self.large_regexes >= MAX_LARGE_REGEXES => {
                Err(format!("the query has more than {MAX_LARGE_REGEXES} large regular expressions"))
            }
            None => {
                self.large_regexes += 1;
                Matcher::new(name, op, value).map_err(|e| e.to_string())
            }
        }
    }

    /// `[5m]` makes a range selector, `[5m:1m]` a subquery.
    pub(super) fn brackets(&mut self, inner: Expr) -> Parsed<Expr> {
        let open = self.advance()?;
        let height = self.height;
        self.lexer.in_brackets = true;
        let parsed = self.range_and_step();
        self.lexer.in_brackets = false;
        let (range, subquery_step) = parsed?;
        self.grow(height)?;
        let end = self.last_end;
        let span = Span::new(inner.span.start, end);
        if let Some(step) = subquery_step {
            let kind = Subquery { expr: Box::new(inner), range, step, offset: None, at: None };
            return Ok(Expr { span, kind: ExprKind::Subquery(Box::new(kind)) });
        }
        let brackets = Span::new(open.span.start, end);
        match inner.kind {
            ExprKind::Selector(s) if s.range.is_none() => {
                if s.offset.is_some() {
                    self.problem(brackets, "no offset modifiers allowed before range");
                } else if s.at.is_some() {
                    self.problem(brackets, "no @ modifiers allowed before range");
                } else if s.extent.is_some() {
                    self.problem(brackets, "no anchored or smoothed modifiers allowed before range");
                }
                Ok(Expr { span, kind: ExprKind::Selector(Box::new(Selector { range: Some(range), ..*s })) })
            }
            _ => Err(self.error(
                brackets,
                "ranges only allowed for vector selectors; to take a range of an expression, write a subquery like [5m:1m]",
            )),
        }
    }

    /// What stands in brackets: a range and, after a colon, perhaps a step.
    fn range_and_step(&mut self) -> Parsed<(Duration, Option<Option<Duration>>)> {
        let range = self.duration_expr("subquery or range selector")?;
        self.positive(&range);
        if self.eat(Kind::Colon)?.is_none() {
            if self.peek()?.kind == Kind::End {
                let span = self.peek()?.span;
                return Err(self.error(span, "unclosed left bracket"));
            }
            self.lexer.in_brackets = false;
            self.expect(Kind::RightBracket, "subquery or range", "\":\" or \"]\"")?;
            return Ok((range, None));
        }
        if self.peek()?.kind == Kind::RightBracket {
            self.lexer.in_brackets = false;
            self.advance()?;
            return Ok((range, Some(None)));
        }
        let step = self.duration_expr("subquery selector")?;
        self.positive(&step);
        self.lexer.in_brackets = false;
        self.expect(Kind::RightBracket, "subquery selector", "\"]\"")?;
        Ok((range, Some(Some(step))))
    }

    /// Reports a literal range or step that is not greater than 0. Arithmetic is judged when it is evaluated.
    fn positive(&mut self, d: &Duration) {
        let literal = matches!(d.kind, DurationKind::Number(_));
        match d.constant_millis() {
            Some(Ok(ms)) if ms <= 0 && literal => self.problem(d.span, "duration must be greater than 0"),
            Some(Err(e)) => self.problem(e.span, e.message()),
            _ => {}
        }
    }

    pub(super) fn offset(&mut self, mut expr: Expr) -> Parsed<Expr> {
        self.advance()?;
        let height = self.height;
        let offset = self.offset_duration()?;
        self.height = height;
        if let Some(Err(e)) = offset.constant_millis() {
            self.problem(e.span, e.message());
        }
        let span = Span::new(expr.span.start, self.last_end);
        let slot = match &mut expr.kind {
            ExprKind::Selector(s) => Some(&mut s.offset),
            ExprKind::Subquery(s) => Some(&mut s.offset),
            _ => None,
        };
        match slot {
            Some(slot @ None) => *slot = Some(offset),
            Some(Some(_)) => self.problem(expr.span, "offset may not be set multiple times"),
            None => self.problem(
                expr.span,
                "offset modifier must be preceded by an instant vector selector or range vector selector or a subquery",
            ),
        }
        expr.span = span;
        Ok(expr)
    }

    pub(super) fn at_modifier(&mut self, mut expr: Expr) -> Parsed<Expr> {
        self.advance()?;
        let at = match self.peek_word()?.as_deref() {
            Some(word @ ("start" | "end")) => {
                self.advance()?;
                self.expect(Kind::LeftParen, "@", "\"(\"")?;
                self.expect(Kind::RightParen, "@", "\")\"")?;
                Some(if word == "start" { At::Start } else { At::End })
            }
            _ => {
                let seconds = self.signed_number("@", "timestamp")?.value;
                let ms = (seconds * 1000.0).round();
                // Prometheus's bounds: what its time type can hold.
                if ms.is_finite() && ms > -9.223_372_036_854_776e18 && ms < 9.223_372_036_854_775e18 {
                    #[expect(clippy::cast_possible_truncation, reason = "the bounds were just checked")]
                    Some(At::Time(ms as i64))
                } else {
                    self.problem(expr.span, format!("timestamp out of bounds for @ modifier: {seconds}"));
                    None
                }
            }
        };
        let span = Span::new(expr.span.start, self.last_end);
        let slot = match &mut expr.kind {
            ExprKind::Selector(s) => Some(&mut s.at),
            ExprKind::Subquery(s) => Some(&mut s.at),
            _ => None,
        };
        match slot {
            Some(slot @ None) => *slot = at,
            Some(Some(_)) => self.problem(expr.span, "@ <timestamp> may not be set multiple times"),
            None => self.problem(
                expr.span,
                "@ modifier must be preceded by an instant vector selector or range vector selector or a subquery",
            ),
        }
        expr.span = span;
        Ok(expr)
    }

    pub(super) fn extent(&mut self, mut expr: Expr) -> Parsed<Expr> {
        let t = self.advance()?;
        let smoothed = self.text(t.span).eq_ignore_ascii_case("smoothed");
        let (word, extent) =
            if smoothed { ("smoothed", Extent::Smoothed) } else { ("anchored", Extent::Anchored) };
        let span = expr.span.to(t.span);
        match &mut expr.kind {
            ExprKind::Selector(s) if s.extent.is_none() => s.extent = Some(extent),
            ExprKind::Selector(s) if s.extent == Some(extent) => {
                self.problem(t.span, format!("{word} may not be set multiple times"));
            }
            ExprKind::Selector(_) => {
                self.problem(t.span, "anchored and smoothed modifiers cannot be used together");
            }
            ExprKind::Subquery(_) => {
                self.problem(t.span, format!("{word} modifier is not supported for subqueries"));
            }
            _ => {
                let message =
                    format!("{word} modifier must be preceded by an instant or range vector selector");
                self.problem(expr.span, message);
            }
        }
        expr.span = span;
        Ok(expr)
    }
}
