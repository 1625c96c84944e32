//! Escaping for the place in an HTML page where a value lands, as `html/template` does it.
//!
//! The page is followed as it is written: text, tag, attribute value (plain, URL, style, script), comment,
//! script and style elements. Where nothing is known to be safe, the value is replaced, never passed through.

use crate::{
    fmt::print_value,
    json,
    out::{Out, Overflow},
    value::{Safe, Value},
};

/// A value was written (possibly as nothing).
#[derive(Debug)]
pub(crate) struct Written;

/// What stands in for a value that is not allowed where it lands.
const REFUSED: &str = "ZgotmplZ";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Plain,
    Url,
    Style,
    Script,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum State {
    #[default]
    Text,
    Comment,
    TagName,
    Tag,
    AttributeName,
    /// After `name=`.
    BeforeValue,
    /// In an attribute's value; the quote is `None` when unquoted.
    Attribute {
        quote: Option<char>,
    },
    /// In script, style, textarea or title.
    Raw,
}

/// Where in the page the output stands.
#[derive(Debug, Default)]
pub(crate) struct Escaper {
    state: State,
    /// The name of the tag being read or of the raw element the text is in.
    tag: String,
    attribute: String,
    /// The value of a URL attribute so far has begun, or has reached its query.
    url_begun: bool,
    url_query: bool,
    /// The last few characters, to see `<!--`, `-->` and `</script`.
    tail: String,
}

fn attribute_kind(name: &str) -> Kind {
    const URLS: [&str; 16] = [
        "action",
        "archive",
        "background",
        "cite",
        "classid",
        "codebase",
        "data",
        "formaction",
        "href",
        "icon",
        "longdesc",
        "manifest",
        "poster",
        "profile",
        "src",
        "srcset",
    ];
    if URLS.contains(&name) || name == "usemap" || name == "xlink:href" {
        Kind::Url
    } else if name == "style" {
        Kind::Style
    } else if name.starts_with("on") {
        Kind::Script
    } else {
        Kind::Plain
    }
}

impl Escaper {
    /// Follows text that the template's author wrote.
    pub(crate) fn text(&mut self, text: &str) {
        for c in text.chars() {
            self.tail.push(c.to_ascii_lowercase());
            if self.tail.len() > 24 {
                self.tail = self.tail.chars().skip(1).collect();
            }
            self.next(c);
        }
    }

    fn next(&mut self, c: char) {
        match self.state {
            State::Text if c == '<' => {
                self.state = State::TagName;
                self.tag.clear();
            }
            State::TagName if self.tail.ends_with("<!--") => self.state = State::Comment,
            State::TagName if c.is_ascii_alphanumeric() || matches!(c, '/' | '!' | '-') => {
                self.tag.push(c.to_ascii_lowercase());
            }
            State::TagName if self.tag.is_empty() => self.state = State::Text,
            State::TagName | State::Tag | State::AttributeName | State::BeforeValue if c == '>' => {
                let raw = ["script", "style", "textarea", "title"].contains(&self.tag.as_str());
                self.state = if raw { State::Raw } else { State::Text };
            }
            State::TagName => self.state = State::Tag,
            State::Tag if !c.is_whitespace() && c != '/' => {
                self.attribute = c.to_ascii_lowercase().to_string();
                self.state = State::AttributeName;
            }
            State::AttributeName => match c {
                '=' => self.state = State::BeforeValue,
                _ if c.is_whitespace() || c == '/' => self.state = State::Tag,
                _ => self.attribute.push(c.to_ascii_lowercase()),
            },
            State::BeforeValue if !c.is_whitespace() => {
                let quote = matches!(c, '"' | '\'').then_some(c);
                self.begin_value(quote);
                if quote.is_none() {
                    self.in_value(c);
                }
            }
            State::Attribute { quote: Some(q) } if c == q => self.state = State::Tag,
            State::Attribute { quote: None } if c.is_whitespace() => self.state = State::Tag,
            State::Attribute { quote: None } if c == '>' => self.state = State::Text,
            State::Attribute { .. } => self.in_value(c),
            State::Comment if self.tail.ends_with("-->") => self.state = State::Text,
            State::Raw if c == '>' || c.is_whitespace() => {
                let end = format!("</{}", self.tag);
                if self.tail.trim_end_matches(c).ends_with(&end) {
                    self.state = if c == '>' { State::Text } else { State::Tag };
                    self.tag.insert(0, '/');
                }
            }
            _ => {}
        }
    }

    fn begin_value(&mut self, quote: Option<char>) {
        self.state = State::Attribute { quote };
        self.url_begun = false;
        self.url_query = false;
    }

    fn in_value(&mut self, c: char) {
        self.url_begun = true;
        self.url_query |= matches!(c, '?' | '#');
    }

    /// Writes a value, escaped for where it lands.
    pub(crate) fn value(&mut self, value: &Value, out: &mut Out) -> Result<Written, Overflow> {
        let mut text = Out::new(out.room());
        if *value.base() != Value::Nil {
            print_value(&mut text, value)?;
        }
        let text = text.into_string();
        let safe = match value.base() {
            Value::Safe(safe, _) => Some(*safe),
            _ => None,
        };
        match self.state {
            State::Text if safe == Some(Safe::Html) => out.push(&text)?,
            State::Text => escape(out, &text, false)?,
            State::Comment => {}
            State::Raw if self.tag == "textarea" || self.tag == "title" => escape(out, &text, false)?,
            State::Raw if self.tag == "script" => script(out, value)?,
            State::Raw => out.push(&style(&text))?,
            State::BeforeValue => {
                self.begin_value(None);
                self.attribute_value(value, &text, safe, true, out)?;
            }
            State::Attribute { quote } => self.attribute_value(value, &text, safe, quote.is_none(), out)?,
            State::TagName | State::Tag | State::AttributeName => {
                let harmless = !text.is_empty()
                    && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
                    && attribute_kind(&text.to_ascii_lowercase()) == Kind::Plain;
                out.push(if harmless { &text } else { REFUSED })?;
            }
        }
        Ok(Written)
    }

    fn attribute_value(
        &mut self,
        value: &Value,
        text: &str,
        safe: Option<Safe>,
        unquoted: bool,
        out: &mut Out,
    ) -> Result<(), Overflow> {
        match attribute_kind(&self.attribute) {
            Kind::Plain if safe == Some(Safe::Html) => escape(out, &without_tags(text), unquoted),
            Kind::Plain => escape(out, text, unquoted),
            Kind::Style => escape(out, &style(text), unquoted),
            Kind::Script => {
                let mut inner = Out::new(out.room());
                script(&mut inner, value)?;
                escape(out, &inner.into_string(), unquoted)
            }
            Kind::Url => {
                let trusted = safe == Some(Safe::Url);
                let url = if !trusted && !self.url_begun && !harmless_scheme(text) {
                    format!("#{REFUSED}")
                } else {
                    percent(text, trusted || !self.url_query)
                };
                self.url_begun |= !url.is_empty();
                self.url_query |= url.contains(['?', '#']);
                escape(out, &url, unquoted)
            }
        }
    }
}

/// Only http, https and mailto may begin a URL that is not the author's.
fn harmless_scheme(url: &str) -> bool {
    match url.split_once(':') {
        Some((scheme, _)) if !scheme.contains('/') => {
            ["http", "https", "mailto"].iter().any(|ok| scheme.eq_ignore_ascii_case(ok))
        }
        _ => true,
    }
}

/// Percent-encodes; `whole` leaves what has a meaning in a URL alone.
fn percent(text: &str, whole: bool) -> String {
    let mut out = String::with_capacity(text.len());
    let bytes = text.as_bytes();
    for (i, &b) in bytes.iter().enumerate() {
        let hex = |k: usize| bytes.get(i + k).is_some_and(u8::is_ascii_hexdigit);
        let keep = b.is_ascii_alphanumeric()
            || matches!(b, b'-' | b'.' | b'_' | b'~')
            || whole && (b"!#$&*+,/:;=?@[]".contains(&b) || b == b'%' && hex(1) && hex(2));
        if keep {
            out.push(char::from(b));
        } else {
            out.push_str(&format!("%{b:02x}"));
        }
    }
    out
}

/// HTML text or an attribute's value.
pub(crate) fn escape(out: &mut Out, text: &str, unquoted: bool) -> Result<(), Overflow> {
    let mut buffer = [0u8; 4];
    for c in text.chars() {
        match c {
            '\0' => out.push("\u{fffd}")?,
            '"' => out.push("&#34;")?,
            '&' => out.push("&amp;")?,
            '\'' => out.push("&#39;")?,
            '+' => out.push("&#43;")?,
            '<' => out.push("&lt;")?,
            '>' => out.push("&gt;")?,
            '=' | '`' | ' ' | '\t' | '\n' | '\r' if unquoted => out.push(&format!("&#{};", u32::from(c)))?,
            c => out.push(c.encode_utf8(&mut buffer))?,
        }
    }
    Ok(())
}

/// The function `html`, which leaves `+` alone.
pub(crate) fn escape_text(out: &mut Out, text: &str) -> Result<(), Overflow> {
    let mut pieces = text.split('+');
    if let Some(first) = pieces.next() {
        escape(out, first, false)?;
    }
    for piece in pieces {
        out.push("+")?;
        escape(out, piece, false)?;
    }
    Ok(())
}

/// A value as a script sees it: JSON, whose `<`, `>` and `&` are escaped already.
fn script(out: &mut Out, value: &Value) -> Result<(), Overflow> {
    let mut inner = Out::new(out.room());
    match json::write(&mut inner, value) {
        Ok(()) => out.push(&inner.into_string()),
        Err(json::JsonError::Overflow) => Err(Overflow),
        Err(json::JsonError::NotANumber) => out.push("null"),
    }
}

fn style(text: &str) -> String {
    let harmless = text.chars().all(|c| c.is_alphanumeric() || " #.,-%_".contains(c));
    let risky = text.to_ascii_lowercase().contains("expression");
    if harmless && !risky { text.to_owned() } else { REFUSED.to_owned() }
}

fn without_tags(html: &str) -> String {
    let mut out = String::new();
    let mut inside = false;
    for c in html.chars() {
        match c {
            '<' => inside = true,
            '>' => inside = false,
            c if !inside => out.push(c),
            _ => {}
        }
    }
    out
}

#[cfg(test)]
mod tests;
