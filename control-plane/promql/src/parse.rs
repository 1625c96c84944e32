//! Text to syntax tree: recursive descent with precedence climbing, then type checks.
//!
//! A syntax error ends parsing, so there is one of them; problems of meaning (types, arguments, matchers) are
//! all reported together. Nesting is bounded by [`MAX_NESTING`], the tree's depth by [`MAX_DEPTH`], whatever the
//! input.

mod check;
mod duration;
mod lex;
mod literal;
mod meant;
mod selector;
pub mod series;
#[cfg(test)]
mod tests;

use crate::{
    ast::{
        Aggregate, AggregateOp, Binary, BinaryOp, Call, Cardinality, Expr, ExprKind, Fill, Matching, Number,
        ValueType,
    },
    error::{ParseError, ParseErrors, Span, shortened},
    function,
};
use lex::{Kind, Lexer, Token};
use model::Matcher;

/// How deep parentheses, calls and signs may nest. Deeper ones are refused, so that no input can overflow a stack.
pub const MAX_NESTING: usize = 128;

/// How deep a tree may be; `a + b + c` nests to the left, so this also bounds operators in a row.
pub const MAX_DEPTH: usize = 320;

/// The longest text that is read, in bytes.
pub const MAX_BYTES: usize = 1 << 20;

/// Problems that one text may have until no more are looked for.
const MAX_PROBLEMS: usize = 20;

/// Matchers with a regular expression that one text may have, and how many of them may be large when compiled: each
/// is bounded by itself, but many of them are memory, too.
const MAX_REGEXES: usize = 1000;
const MAX_LARGE_REGEXES: usize = 8;

fn admitted(input: &str) -> Result<(), ParseErrors> {
    if input.len() <= MAX_BYTES {
        return Ok(());
    }
    let message = format!("the query has {} bytes: at most {MAX_BYTES} are read", input.len());
    // Without the text, which would only be walked through for its last line.
    Err(ParseError { span: Span::new(MAX_BYTES, input.len()), line: 1, column: 1, message }.into())
}

/// Parses and type-checks an expression.
pub fn parse(input: &str) -> Result<Expr, ParseErrors> {
    admitted(input)?;
    let mut parser = Parser::new(input);
    if parser.peek()?.kind == Kind::End {
        let e = ParseError::at(input, Span::default(), "no expression found in input");
        return Err(e.into());
    }
    let expr = parser.expr(0)?;
    parser.expect_end("an operator or the end")?;
    if !parser.untyped {
        check::check(input, &expr, &mut parser.problems);
    }
    match parser.problems {
        problems if problems.is_empty() => Ok(expr),
        problems => Err(ParseErrors(problems)),
    }
}

/// Parses an instant selector without modifiers, as `match[]` carries it, into its matchers.
pub fn parse_metric_selector(input: &str) -> Result<Vec<Matcher>, ParseErrors> {
    admitted(input)?;
    let mut parser = Parser::new(input);
    let expr = parser.bare_selector()?;
    parser.expect_end("the end of the selector")?;
    check::check(input, &expr, &mut parser.problems);
    match (parser.problems, expr.kind) {
        (problems, _) if !problems.is_empty() => Err(ParseErrors(problems)),
        (_, ExprKind::Selector(s)) => Ok(s.matchers),
        _ => Err(ParseError::at(input, expr.span, "expected a selector like up{job=\"api\"}").into()),
    }
}

/// For fuzzing: an expression, or a selector, that may be any bytes. What parses is written so that it parses again.
/// Returns whether it did.
#[doc(hidden)]
pub fn fuzz(bytes: &[u8]) -> bool {
    let input = String::from_utf8_lossy(bytes);
    drop(parse_metric_selector(&input));
    let Ok(expr) = parse(&input) else { return false };
    let text = expr.to_string();
    assert!(parse(&text).is_ok(), "{text:?}, which was {input:?}, does not parse");
    true
}

/// Errors are boxed to keep the frames of the recursion small.
type Parsed<T> = Result<T, Box<ParseError>>;

#[derive(Debug)]
pub(crate) struct Parser<'a> {
    input: &'a str,
    lexer: Lexer<'a>,
    peeked: Option<Token>,
    depth: usize,
    /// How deep the tree is that was parsed last.
    height: usize,
    /// Where the last token taken ended.
    last_end: usize,
    problems: Vec<ParseError>,
    regexes: usize,
    large_regexes: usize,
    /// Whether the tree has holes (an unknown function), so that its types mean nothing.
    untyped: bool,
}

impl<'a> Parser<'a> {
    fn new(input: &'a str) -> Self {
        Parser {
            input,
            lexer: Lexer::new(input),
            peeked: None,
            depth: 0,
            height: 0,
            last_end: 0,
            problems: Vec::new(),
            regexes: 0,
            large_regexes: 0,
            untyped: false,
        }
    }

    fn peek(&mut self) -> Parsed<Token> {
        if let Some(t) = self.peeked {
            return Ok(t);
        }
        let t = self.lexer.next()?;
        self.peeked = Some(t);
        Ok(t)
    }

    fn advance(&mut self) -> Parsed<Token> {
        let t = self.peek()?;
        self.peeked = None;
        self.last_end = t.span.end;
        Ok(t)
    }

    fn eat(&mut self, kind: Kind) -> Parsed<Option<Token>> {
        if self.peek()?.kind == kind { self.advance().map(Some) } else { Ok(None) }
    }

    fn expect(&mut self, kind: Kind, context: &str, wanted: &str) -> Parsed<Token> {
        match self.eat(kind)? {
            Some(t) => Ok(t),
            None => Err(self.unexpected(context, wanted)),
        }
    }

    fn expect_end(&mut self, wanted: &str) -> Parsed<()> {
        match self.peek()?.kind {
            Kind::End => Ok(()),
            _ => Err(self.unexpected("", wanted)),
        }
    }

    fn text(&self, span: Span) -> &'a str {
        self.input.get(span.start..span.end).unwrap_or("")
    }

    /// The word that comes next in lower case, if a word comes next.
    fn peek_word(&mut self) -> Parsed<Option<String>> {
        let t = self.peek()?;
        Ok((t.kind == Kind::Word).then(|| self.text(t.span).to_ascii_lowercase()))
    }

    fn eat_word(&mut self, word: &str) -> Parsed<Option<Token>> {
        if self.peek_word()?.as_deref() == Some(word) { self.advance().map(Some) } else { Ok(None) }
    }

    fn error(&self, span: Span, message: impl Into<String>) -> Box<ParseError> {
        Box::new(ParseError::at(self.input, span, message))
    }

    fn problem(&mut self, span: Span, message: impl Into<String>) {
        if self.problems.len() >= MAX_PROBLEMS {
            return;
        }
        let e = self.error(span, message);
        self.problems.push(*e);
    }

    /// The error for the next token standing where it does.
    fn unexpected(&mut self, context: &str, wanted: &str) -> Box<ParseError> {
        let t = match self.peek() {
            Ok(t) => t,
            Err(e) => return e,
        };
        let text = self.text(t.span);
        let what = match t.kind {
            Kind::End => "end of input".to_owned(),
            Kind::Word => format!("identifier {:?}", shortened(text)),
            Kind::Number => format!("number {}", shortened(text)),
            Kind::Duration => format!("duration {}", shortened(text)),
            Kind::Text => format!("string {}", shortened(text)),
            _ => format!("{text:?}"),
        };
        let meant = meant::instead(t.kind, text, wanted);
        let context = if context.is_empty() { String::new() } else { format!(" in {context}") };
        self.error(t.span, format!("unexpected {what}{context}, expected {wanted}{meant}"))
    }

    /// Runs `inner` one level deeper, or refuses to.
    fn nested<T>(&mut self, inner: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        if self.depth >= MAX_NESTING {
            let at = self.peek().map_or(self.last_end, |t| t.span.start);
            return Err(self.error(
                Span::new(at, self.input.len()),
                format!("the expression nests deeper than {MAX_NESTING} levels"),
            ));
        }
        self.depth += 1;
        let result = inner(self);
        self.depth -= 1;
        result
    }

    /// Notes that a node was put on top of a tree of that height.
    fn grow(&mut self, height: usize) -> Parsed<usize> {
        self.height = height + 1;
        if self.height <= MAX_DEPTH {
            return Ok(self.height);
        }
        let span = Span::new(self.last_end, self.last_end);
        Err(self.error(
            span,
            format!("the expression is deeper than {MAX_DEPTH} levels, or has that many operators in a row"),
        ))
    }

    /// An expression whose operators all bind at least as tightly as `min`.
    fn expr(&mut self, min: u8) -> Parsed<Expr> {
        self.nested(|p| p.binary(min))
    }

    fn binary(&mut self, min: u8) -> Parsed<Expr> {
        let mut lhs = self.unary()?;
        let mut height = self.height;
        while let Some(op) = self.peek_operator()? {
            let precedence = op.precedence();
            if precedence < min {
                break;
            }
            self.advance()?;
            let (return_bool, matching) = self.binary_modifiers()?;
            let rhs = self.expr(if op == BinaryOp::Pow { precedence } else { precedence + 1 })?;
            height = self.grow(height.max(self.height))?;
            let span = lhs.span.to(rhs.span);
            let binary = Binary { op, lhs: Box::new(lhs), rhs: Box::new(rhs), return_bool, matching };
            lhs = Expr { span, kind: ExprKind::Binary(Box::new(binary)) };
        }
        Ok(lhs)
    }

    fn peek_operator(&mut self) -> Parsed<Option<BinaryOp>> {
        Ok(Some(match self.peek()?.kind {
            Kind::Add => BinaryOp::Add,
            Kind::Sub => BinaryOp::Sub,
            Kind::Mul => BinaryOp::Mul,
            Kind::Div => BinaryOp::Div,
            Kind::Mod => BinaryOp::Mod,
            Kind::Pow => BinaryOp::Pow,
            Kind::Equal => BinaryOp::Eq,
            Kind::NotEqual => BinaryOp::Ne,
            Kind::Less => BinaryOp::Lt,
            Kind::LessEqual => BinaryOp::Le,
            Kind::Greater => BinaryOp::Gt,
            Kind::GreaterEqual => BinaryOp::Ge,
            Kind::TrimUpper => BinaryOp::TrimUpper,
            Kind::TrimLower => BinaryOp::TrimLower,
            Kind::Word => match self.peek_word()?.as_deref() {
                Some("and") => BinaryOp::And,
                Some("or") => BinaryOp::Or,
                Some("unless") => BinaryOp::Unless,
                Some("atan2") => BinaryOp::Atan2,
                _ => return Ok(None),
            },
            _ => return Ok(None),
        }))
    }

    /// `bool on(..) group_left(..) fill(..)`
    fn binary_modifiers(&mut self) -> Parsed<(bool, Matching)> {
        let mut matching = Matching::default();
        let return_bool = self.eat_word("bool")?.is_some();
        let on = self.eat_word("on")?.is_some();
        if on || self.eat_word("ignoring")?.is_some() {
            matching.on = on;
            matching.labels = self.grouping_labels()?;
            let left = self.eat_word("group_left")?.is_some();
            if left || self.eat_word("group_right")?.is_some() {
                matching.cardinality = if left { Cardinality::ManyToOne } else { Cardinality::OneToMany };
                if self.peek()?.kind == Kind::LeftParen {
                    matching.include = self.grouping_labels()?;
                }
            }
        }
        while let Some(word) = self.peek_word()? {
            let (left, right) = match &*word {
                "fill" => (true, true),
                "fill_left" => (true, false),
                "fill_right" => (false, true),
                _ => break,
            };
            if !self.word_then_paren()? {
                break; // a metric of that name
            }
            let span = self.advance()?.span;
            self.expect(Kind::LeftParen, "fill modifier", "\"(\"")?;
            let value = Fill(self.signed_number("fill modifier", "a number")?.value);
            self.expect(Kind::RightParen, "fill modifier", "\")\"")?;
            if left && matching.fill_left.is_some() || right && matching.fill_right.is_some() {
                return Err(self.error(span, format!("{word} sets a side that is already filled")));
            }
            if left {
                matching.fill_left = Some(value);
            }
            if right {
                matching.fill_right = Some(value);
            }
        }
        Ok((return_bool, matching))
    }

    /// Whether the word that comes next is followed by an opening parenthesis.
    fn word_then_paren(&mut self) -> Parsed<bool> {
        let span = self.peek()?.span;
        let rest = self.input.get(span.end..).unwrap_or("");
        Ok(rest.trim_start_matches([' ', '\t', '\n', '\r']).starts_with('('))
    }

    fn signed_number(&mut self, context: &str, wanted: &str) -> Parsed<Number> {
        let negative = self.eat(Kind::Sub)?.is_some();
        if !negative {
            self.eat(Kind::Add)?;
        }
        match self.number()? {
            Some((_, n)) if negative => Ok(Number { value: -n.value, ..n }),
            Some((_, n)) => Ok(n),
            None => Err(self.unexpected(context, wanted)),
        }
    }

    /// A number, a duration, `inf` or `nan`, if one comes next.
    fn number(&mut self) -> Parsed<Option<(Span, Number)>> {
        let t = self.peek()?;
        let text = self.text(t.span);
        let number = match t.kind {
            Kind::Number => match literal::number(text) {
                Some(value) => Number { value, duration: false },
                None => return Err(self.error(t.span, format!("{:?} is not a number", shortened(text)))),
            },
            Kind::Duration => match model::duration::parse(text) {
                Ok(d) => Number { value: d.as_secs_f64(), duration: true },
                Err(_) => {
                    let message = format!(
                        "not a valid duration string: {:?}{}",
                        shortened(text),
                        meant::duration(text)
                    );
                    return Err(self.error(t.span, message));
                }
            },
            Kind::Word if text.eq_ignore_ascii_case("inf") => {
                Number { value: f64::INFINITY, duration: false }
            }
            Kind::Word if text.eq_ignore_ascii_case("nan") => Number { value: f64::NAN, duration: false },
            _ => return Ok(None),
        };
        self.advance()?;
        Ok(Some((t.span, number)))
    }

    fn unary(&mut self) -> Parsed<Expr> {
        let t = self.peek()?;
        let negative = match t.kind {
            Kind::Sub => true,
            Kind::Add => false,
            _ => return self.postfix(),
        };
        self.advance()?;
        // A sign binds like a product: only powers bind more tightly.
        let expr = self.expr(BinaryOp::Pow.precedence())?;
        self.grow(self.height)?;
        let span = t.span.to(expr.span);
        Ok(match expr.kind {
            ExprKind::Number(n) => {
                let value = if negative { -n.value } else { n.value };
                Expr { span, kind: ExprKind::Number(Number { value, ..n }) }
            }
            _ => Expr { span, kind: ExprKind::Unary { negative, expr: Box::new(expr) } },
        })
    }

    fn postfix(&mut self) -> Parsed<Expr> {
        self.height = 0;
        let mut expr = self.primary()?;
        loop {
            expr = match self.peek()?.kind {
                Kind::LeftBracket => self.brackets(expr)?,
                Kind::At => self.at_modifier(expr)?,
                Kind::Word => match self.peek_word()?.as_deref() {
                    Some("offset") => self.offset(expr)?,
                    Some("anchored" | "smoothed") => self.extent(expr)?,
                    _ => return Ok(expr),
                },
                _ => return Ok(expr),
            };
        }
    }

    fn primary(&mut self) -> Parsed<Expr> {
        if let Some((span, n)) = self.number()? {
            return Ok(Expr { span, kind: ExprKind::Number(n) });
        }
        let t = self.peek()?;
        match t.kind {
            Kind::Text => {
                self.advance()?;
                let kind = ExprKind::String(self.unquote(t.span)?);
                Ok(Expr { span: t.span, kind })
            }
            Kind::LeftParen => {
                self.advance()?;
                let inner = self.expr(0)?;
                self.grow(self.height)?;
                self.close_paren(t.span)?;
                let span = Span::new(t.span.start, self.last_end);
                Ok(Expr { span, kind: ExprKind::Paren(Box::new(inner)) })
            }
            Kind::LeftBrace => self.bare_selector(),
            Kind::Word => self.word(t),
            _ => Err(self.unexpected("", "an expression")),
        }
    }

    fn close_paren(&mut self, open: Span) -> Parsed<()> {
        if self.eat(Kind::RightParen)?.is_some() {
            return Ok(());
        }
        if self.peek()?.kind == Kind::End {
            let end = self.input.len();
            let (line, column) = open.line_column(self.input);
            let message = format!("unclosed left parenthesis: the one at {line}:{column} is never closed");
            return Err(self.error(Span::new(end, end), message));
        }
        Err(self.unexpected("", "an operator or \")\""))
    }

    /// A name: function, aggregation or metric.
    fn word(&mut self, t: Token) -> Parsed<Expr> {
        let name = self.text(t.span);
        let lower = name.to_ascii_lowercase();
        if matches!(&*lower, "on" | "ignoring" | "group_left" | "group_right" | "bool" | "atan2") {
            return Err(self.unexpected("", "an expression"));
        }
        let called = self.word_then_paren()?;
        if let Some(op) = AggregateOp::by_name(name) {
            let rest = self.input.get(t.span.end..).unwrap_or("").trim_start();
            let modifier = ["by", "without"].iter().any(|m| {
                let (word, after) = rest.split_at_checked(m.len()).unwrap_or_default();
                word.eq_ignore_ascii_case(m) && after.trim_start().starts_with('(')
            });
            if called || modifier {
                self.advance()?;
                return self.aggregate(t, op);
            }
        }
        if !called {
            return self.bare_selector();
        }
        self.advance()?;
        let function = function::by_name(name);
        if function.is_none() {
            self.untyped = true;
            if self.problems.len() < MAX_PROBLEMS {
                let hint = meant::function(name);
                self.problem(t.span, format!("unknown function {:?}{hint}", shortened(name)));
            }
        }
        let args = self.arguments()?;
        let span = Span::new(t.span.start, self.last_end);
        let kind =
            match function {
                Some(function) => ExprKind::Call(Call { function, args }),
                // Never seen by anybody, as there is a problem now; it only lets the rest be checked.
                None => ExprKind::Paren(Box::new(args.into_iter().next().unwrap_or(Expr {
                    span,
                    kind: ExprKind::Number(Number { value: 0.0, duration: false }),
                }))),
            };
        Ok(Expr { span, kind })
    }

    /// `(a, b, c)`
    fn arguments(&mut self) -> Parsed<Vec<Expr>> {
        let open = self.expect(Kind::LeftParen, "call", "\"(\"")?;
        let (mut args, mut height) = (Vec::new(), 0);
        if self.eat(Kind::RightParen)?.is_some() {
            return Ok(args);
        }
        loop {
            args.push(self.expr(0)?);
            height = height.max(self.height);
            let Some(comma) = self.eat(Kind::Comma)? else { break };
            if self.peek()?.kind == Kind::RightParen {
                self.problem(comma.span, "trailing commas not allowed in function call args");
                break;
            }
        }
        self.close_paren(open.span)?;
        self.grow(height)?;
        Ok(args)
    }

    fn aggregate(&mut self, name: Token, op: AggregateOp) -> Parsed<Expr> {
        let mut modifier = self.aggregate_modifier()?;
        let mut args = self.arguments()?;
        if modifier.is_none() {
            modifier = self.aggregate_modifier()?;
        }
        let span = Span::new(name.span.start, self.last_end);
        let (without, grouping) = modifier.unwrap_or_default();
        let wanted = 1 + usize::from(op.param().is_some());
        if args.is_empty() {
            return Err(self.error(span, "no arguments for aggregate expression provided"));
        }
        if args.len() != wanted {
            let message = format!(
                "wrong number of arguments for aggregate expression provided, expected {wanted}, got {}",
                args.len()
            );
            return Err(self.error(span, message));
        }
        let expr = Box::new(args.pop().unwrap_or(Expr { span, kind: ExprKind::String(String::new()) }));
        let param = args.pop().map(Box::new);
        Ok(Expr {
            span,
            kind: ExprKind::Aggregate(Box::new(Aggregate { op, param, expr, grouping, without })),
        })
    }

    fn aggregate_modifier(&mut self) -> Parsed<Option<(bool, Vec<String>)>> {
        let without = match self.peek_word()?.as_deref() {
            Some("by") => false,
            Some("without") => true,
            _ => return Ok(None),
        };
        self.advance()?;
        Ok(Some((without, self.grouping_labels()?)))
    }

    /// `(a, "b c",)`
    fn grouping_labels(&mut self) -> Parsed<Vec<String>> {
        const CONTEXT: &str = "grouping opts";
        self.expect(Kind::LeftParen, CONTEXT, "\"(\"")?;
        let mut labels = Vec::new();
        loop {
            if !labels.is_empty() && self.eat(Kind::RightParen)?.is_some() {
                return Ok(labels);
            }
            let t = self.peek()?;
            match t.kind {
                Kind::RightParen if labels.is_empty() => {
                    self.advance()?;
                    return Ok(labels);
                }
                Kind::Word if !self.text(t.span).contains(':') => labels.push(self.text(t.span).to_owned()),
                Kind::Text => {
                    let name = self.unquote(t.span)?;
                    if name.is_empty() {
                        self.problem(t.span, format!("invalid label name for grouping: {name:?}"));
                    }
                    labels.push(name);
                }
                _ => return Err(self.unexpected(CONTEXT, "label")),
            }
            self.advance()?;
            if self.eat(Kind::Comma)?.is_none() {
                self.expect(Kind::RightParen, CONTEXT, "\",\" or \")\"")?;
                return Ok(labels);
            }
        }
    }

    fn unquote(&self, span: Span) -> Parsed<String> {
        literal::unquote(self.text(span)).map_err(|(at, message)| {
            let start = span.start + at;
            self.error(Span::new(start, span.end), message)
        })
    }
}

/// The type of what stands where a value of type `wanted` should.
fn describe(wanted: ValueType, context: &str, got: ValueType) -> String {
    format!("expected type {} in {context}, got {}", wanted.as_str(), got.as_str())
}
