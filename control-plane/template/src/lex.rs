//! Text to tokens. Knows delimiters, trim markers, comments and literals; knows no grammar.

use std::sync::Arc;

use crate::{number, value::Value};

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Tok {
    Text(Arc<str>),
    Open,
    Close,
    Space,
    Dot,
    Ident(String),
    Field(String),
    Variable(String),
    Literal(Value),
    Pipe,
    Comma,
    OpenParen,
    CloseParen,
    Assign,
    Declare,
    End,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Token {
    pub(crate) tok: Tok,
    pub(crate) at: usize,
}

/// What is wrong, and at which byte.
#[derive(Debug)]
pub(crate) struct LexError {
    pub(crate) at: usize,
    pub(crate) message: String,
}

pub(crate) fn lex(text: &str) -> Result<Vec<Token>, LexError> {
    let mut lexer = Lexer { rest: text, at: 0, tokens: Vec::new() };
    lexer.run()?;
    let at = lexer.at;
    lexer.tokens.push(Token { tok: Tok::End, at });
    Ok(lexer.tokens)
}

struct Lexer<'a> {
    rest: &'a str,
    at: usize,
    tokens: Vec<Token>,
}

/// The white space that trim markers remove and that separates arguments.
fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n')
}

fn is_word(c: char) -> bool {
    c == '_' || c.is_alphanumeric()
}

impl<'a> Lexer<'a> {
    fn skip(&mut self, bytes: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at(bytes.min(self.rest.len()));
        self.rest = rest;
        self.at += taken.len();
        taken
    }

    fn push(&mut self, tok: Tok, bytes: usize) {
        let at = self.at;
        self.skip(bytes);
        self.tokens.push(Token { tok, at });
    }

    fn fail<T>(&self, message: impl Into<String>) -> Result<T, LexError> {
        Err(LexError { at: self.at, message: message.into() })
    }

    fn run(&mut self) -> Result<(), LexError> {
        let mut trim_left = false;
        loop {
            let open = self.rest.find("{{");
            let at = self.at;
            let mut text = self.skip(open.unwrap_or(self.rest.len()));
            if trim_left {
                text = text.trim_start_matches(is_space);
            }
            let inner = self.rest.strip_prefix("{{");
            let trim_right =
                inner.is_some_and(|i| i.strip_prefix('-').is_some_and(|t| t.starts_with(is_space)));
            if trim_right {
                text = text.trim_end_matches(is_space);
            }
            if !text.is_empty() {
                self.tokens.push(Token { tok: Tok::Text(Arc::from(text)), at });
            }
            if inner.is_none() {
                return Ok(());
            }
            let open_at = self.at;
            self.skip(if trim_right { 3 } else { 2 });
            let body = self.rest.trim_start_matches(is_space);
            let comment = if trim_right { body } else { self.rest };
            trim_left = if comment.starts_with("/*") {
                self.comment(open_at)?
            } else {
                self.tokens.push(Token { tok: Tok::Open, at: open_at });
                self.action(open_at)?
            };
        }
    }

    /// Whether the action ends here: the bytes of the closing delimiter, and whether it trims what follows.
    fn closing(&self) -> Option<(usize, bool)> {
        if self.rest.starts_with("}}") {
            return Some((2, false));
        }
        let after = self.rest.strip_prefix(is_space)?;
        after.starts_with("-}}").then_some((4, true))
    }

    fn comment(&mut self, open_at: usize) -> Result<bool, LexError> {
        let Some(end) = self.rest.find("*/") else {
            return Err(LexError { at: open_at, message: "the comment is not closed: */ is missing".into() });
        };
        self.skip(end + 2);
        match self.closing() {
            Some((bytes, trims)) => {
                self.skip(bytes);
                Ok(trims)
            }
            None => self.fail("a comment must be alone in its action: }} must follow */"),
        }
    }

    /// The tokens of one action, up to and with its closing delimiter. Says whether that trims.
    fn action(&mut self, open_at: usize) -> Result<bool, LexError> {
        let mut parens: Vec<usize> = Vec::new();
        loop {
            if let Some((bytes, trims)) = self.closing() {
                if let Some(at) = parens.pop() {
                    return Err(LexError { at, message: "this parenthesis is not closed".into() });
                }
                self.push(Tok::Close, bytes);
                return Ok(trims);
            }
            let Some(c) = self.rest.chars().next() else {
                return Err(LexError { at: open_at, message: "unclosed action: }} is missing".into() });
            };
            match c {
                _ if is_space(c) => self.space(),
                '|' => self.push(Tok::Pipe, 1),
                ',' => self.push(Tok::Comma, 1),
                '=' => self.push(Tok::Assign, 1),
                ':' if self.rest.starts_with(":=") => self.push(Tok::Declare, 2),
                ':' => return self.fail("a lone colon: := declares a variable"),
                '(' => {
                    parens.push(self.at);
                    self.push(Tok::OpenParen, 1);
                }
                ')' => {
                    if parens.pop().is_none() {
                        return self.fail("unexpected right parenthesis");
                    }
                    self.push(Tok::CloseParen, 1);
                }
                '"' | '\'' => self.quoted(c)?,
                '`' => self.raw()?,
                '.' if !self.rest.chars().nth(1).is_some_and(|d| d.is_ascii_digit()) => self.field()?,
                '$' => {
                    let bytes = 1 + self.word_after(1);
                    let name = self.rest.get(..bytes).unwrap_or_default().to_owned();
                    self.word(Tok::Variable(name), bytes)?;
                }
                '.' | '+' | '-' | '0'..='9' => self.number()?,
                _ if is_word(c) => {
                    let bytes = self.word_after(0);
                    let name = self.rest.get(..bytes).unwrap_or_default().to_owned();
                    self.word(Tok::Ident(name), bytes)?;
                }
                _ => return self.fail(format!("unrecognized character in action: U+{:04X}", u32::from(c))),
            }
        }
    }

    fn space(&mut self) {
        let at = self.at;
        while self.rest.starts_with(is_space) && self.closing().is_none() {
            self.skip(1);
        }
        self.tokens.push(Token { tok: Tok::Space, at });
    }

    fn word_after(&self, start: usize) -> usize {
        self.rest.get(start..).map_or(0, |t| t.len() - t.trim_start_matches(is_word).len())
    }

    fn field(&mut self) -> Result<(), LexError> {
        let bytes = self.word_after(1);
        if bytes == 0 {
            return self.word(Tok::Dot, 1);
        }
        let name = self.rest.get(1..=bytes).unwrap_or_default().to_owned();
        self.word(Tok::Field(name), 1 + bytes)
    }

    /// Pushes a word, after which only something that ends a word may follow.
    fn word(&mut self, tok: Tok, bytes: usize) -> Result<(), LexError> {
        self.push(tok, bytes);
        match self.rest.chars().next() {
            None => Ok(()),
            Some(c) if is_space(c) || matches!(c, '.' | ',' | '|' | ':' | ')' | '(' | '=') => Ok(()),
            Some(_) if self.rest.starts_with("}}") => Ok(()),
            Some(c) => self.fail(format!("unexpected {c:?} right after a word")),
        }
    }

    fn quoted(&mut self, quote: char) -> Result<(), LexError> {
        let mut escaped = false;
        let end = self.rest.char_indices().skip(1).find_map(|(i, c)| {
            if c == '\n' {
                return Some(Err(()));
            }
            if c == quote && !escaped {
                return Some(Ok(i));
            }
            escaped = c == '\\' && !escaped;
            None
        });
        let Some(Ok(end)) = end else {
            return self.fail("unterminated quoted string");
        };
        let body = self.rest.get(1..end).unwrap_or_default();
        let Some(text) = number::unquote(body) else {
            return self.fail("the string holds an escape that is not one");
        };
        let value = if quote == '"' {
            Value::str(text)
        } else {
            let mut chars = text.chars();
            match (chars.next(), chars.next()) {
                (Some(c), None) => Value::Int(i64::from(u32::from(c))),
                _ => return self.fail("a character constant holds exactly one character"),
            }
        };
        self.push(Tok::Literal(value), end + 1);
        Ok(())
    }

    fn raw(&mut self) -> Result<(), LexError> {
        let body = self.rest.get(1..).unwrap_or_default();
        let Some(end) = body.find('`') else {
            return self.fail("unterminated raw quoted string");
        };
        let text = body.get(..end).unwrap_or_default().replace('\r', "");
        self.push(Tok::Literal(Value::str(text)), end + 2);
        Ok(())
    }

    fn number(&mut self) -> Result<(), LexError> {
        let mut bytes = 0;
        let mut previous = ' ';
        for c in self.rest.chars() {
            let hex = self.rest.trim_start_matches(['+', '-']).to_ascii_lowercase().starts_with("0x");
            let exponent = matches!(previous, 'e' | 'E') && !hex || matches!(previous, 'p' | 'P');
            let sign = matches!(c, '+' | '-') && (bytes == 0 || exponent);
            if !(is_word(c) || c == '.' || sign) {
                break;
            }
            bytes += c.len_utf8();
            previous = c;
        }
        let text = self.rest.get(..bytes).unwrap_or_default();
        match number::literal(text) {
            Some(value) => {
                self.push(Tok::Literal(value), bytes);
                Ok(())
            }
            None => self.fail(format!("bad number syntax: {text:?}")),
        }
    }
}
