//! Text to tokens. Keywords are not told from names here: which word is one depends on where it stands.

use crate::error::{ParseError, Span, shortened};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Word,
    Number,
    Duration,
    Text,
    LeftParen,
    RightParen,
    LeftBrace,
    RightBrace,
    LeftBracket,
    RightBracket,
    Comma,
    Colon,
    Assign,
    MatchRegex,
    NotRegex,
    NotEqual,
    Equal,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    TrimUpper,
    TrimLower,
    Add,
    Sub,
    Mul,
    Div,
    Mod,
    Pow,
    At,
    End,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) kind: Kind,
    pub(crate) span: Span,
}

#[derive(Debug)]
pub(crate) struct Lexer<'a> {
    text: &'a str,
    at: usize,
    /// Inside brackets a colon is a token of its own, elsewhere it is a letter of names.
    pub(crate) in_brackets: bool,
}

fn is_word(b: u8) -> bool {
    b == b'_' || b.is_ascii_alphanumeric()
}

impl<'a> Lexer<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Lexer { text, at: 0, in_brackets: false }
    }

    fn byte(&self, ahead: usize) -> u8 {
        self.text.as_bytes().get(self.at + ahead).copied().unwrap_or(0)
    }

    fn error(&self, span: Span, message: impl Into<String>) -> Box<ParseError> {
        Box::new(ParseError::at(self.text, span, message))
    }

    fn skip_blanks_and_comments(&mut self) {
        loop {
            match self.byte(0) {
                b' ' | b'\t' | b'\n' | b'\r' => self.at += 1,
                b'#' => {
                    while self.at < self.text.len() && !matches!(self.byte(0), b'\n' | b'\r') {
                        self.at += 1;
                    }
                }
                _ => return,
            }
        }
    }

    pub(crate) fn next(&mut self) -> Result<Token, Box<ParseError>> {
        self.skip_blanks_and_comments();
        let start = self.at;
        if start >= self.text.len() {
            return Ok(Token { kind: Kind::End, span: Span::new(start, start) });
        }
        let (kind, length) = match (self.byte(0), self.byte(1)) {
            (b'(', _) => (Kind::LeftParen, 1),
            (b')', _) => (Kind::RightParen, 1),
            (b'{', _) => (Kind::LeftBrace, 1),
            (b'}', _) => (Kind::RightBrace, 1),
            (b'[', _) => (Kind::LeftBracket, 1),
            (b']', _) => (Kind::RightBracket, 1),
            (b',', _) => (Kind::Comma, 1),
            (b'=', b'=') => (Kind::Equal, 2),
            (b'=', b'~') => (Kind::MatchRegex, 2),
            (b'=', _) => (Kind::Assign, 1),
            (b'!', b'=') => (Kind::NotEqual, 2),
            (b'!', b'~') => (Kind::NotRegex, 2),
            (b'<', b'=') => (Kind::LessEqual, 2),
            (b'<', b'/') => (Kind::TrimUpper, 2),
            (b'<', _) => (Kind::Less, 1),
            (b'>', b'=') => (Kind::GreaterEqual, 2),
            (b'>', b'/') => (Kind::TrimLower, 2),
            (b'>', _) => (Kind::Greater, 1),
            (b'+', _) => (Kind::Add, 1),
            (b'-', _) => (Kind::Sub, 1),
            (b'*', _) => (Kind::Mul, 1),
            (b'/', _) => (Kind::Div, 1),
            (b'%', _) => (Kind::Mod, 1),
            (b'^', _) => (Kind::Pow, 1),
            (b'@', _) => (Kind::At, 1),
            (b':', _) if self.in_brackets => (Kind::Colon, 1),
            (b'"' | b'\'' | b'`', _) => return self.text_literal(),
            (b'0'..=b'9', _) | (b'.', b'0'..=b'9') => return self.number_or_duration(),
            (b, _) if b == b':' || b == b'_' || b.is_ascii_alphabetic() => {
                let colon = !self.in_brackets;
                let tail = &self.text.as_bytes()[start..];
                let n = tail.iter().take_while(|b| is_word(**b) || (colon && **b == b':')).count();
                (Kind::Word, n)
            }
            _ => {
                let c = self.text.get(start..).and_then(|t| t.chars().next()).unwrap_or('?');
                let span = Span::new(start, start + c.len_utf8());
                let meant = super::meant::character(self.text.get(start..).unwrap_or(""));
                return Err(self.error(span, format!("unexpected character: {c:?}{meant}")));
            }
        };
        self.at = start + length;
        Ok(Token { kind, span: Span::new(start, self.at) })
    }

    /// The end of a quoted string; whether its escapes are right is seen when it is unquoted.
    fn text_literal(&mut self) -> Result<Token, Box<ParseError>> {
        let start = self.at;
        let quote = self.byte(0);
        self.at += 1;
        loop {
            if self.at >= self.text.len() || (quote != b'`' && self.byte(0) == b'\n') {
                let what = if quote == b'`' { "raw" } else { "quoted" };
                let span = Span::new(start, self.text.len());
                return Err(self.error(span, format!("unterminated {what} string")));
            }
            let b = self.byte(0);
            self.at += 1;
            if b == quote {
                return Ok(Token { kind: Kind::Text, span: Span::new(start, self.at) });
            }
            if b == b'\\' && quote != b'`' && self.at < self.text.len() && self.byte(0) != b'\n' {
                self.at += 1;
            }
        }
    }

    fn number_or_duration(&mut self) -> Result<Token, Box<ParseError>> {
        let start = self.at;
        let hex = self.byte(0) == b'0' && matches!(self.byte(1), b'x' | b'X');
        let mut last = 0;
        while is_word(self.byte(0))
            || self.byte(0) == b'.'
            || (!hex && matches!(self.byte(0), b'+' | b'-') && matches!(last, b'e' | b'E'))
        {
            last = self.byte(0);
            self.at += 1;
        }
        let span = Span::new(start, self.at);
        let literal = self.text.get(start..self.at).unwrap_or("");
        if super::literal::number(literal).is_some() {
            return Ok(Token { kind: Kind::Number, span });
        }
        if literal.bytes().all(|b| b.is_ascii_alphanumeric())
            && literal.ends_with(['s', 'm', 'h', 'd', 'w', 'y'])
        {
            // A duration, or meant to be one: the parser says what is wrong with it.
            return Ok(Token { kind: Kind::Duration, span });
        }
        let message = if literal.bytes().all(|b| b.is_ascii_digit()) {
            format!("the number {} is too large", shortened(literal))
        } else {
            let meant = super::meant::unit(literal);
            format!(
                "bad number or duration syntax: {:?}{meant}: write a number like 1.5, 1e3 or 0x1f, or a duration like 5m or 1h30m",
                shortened(literal)
            )
        };
        Err(self.error(span, message))
    }
}
