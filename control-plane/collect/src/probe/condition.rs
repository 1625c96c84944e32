//! Conditions on a probe's answer: `status == 200`, `latency < 1s`, `body.status == "ok"`.
//!
//! A condition is a subject, an operator and a value:
//!
//! | Subject | Operators | Value |
//! |---|---|---|
//! | `status` | `== != < <= > >=` | a number, or a class: `2xx` |
//! | `latency`, `certificate_expiry` | `< <= > >= == !=` | a duration: `500ms`, `14d` |
//! | `redirects`, `answers` | `== != < <= > >=` | a number |
//! | `url` (after redirects), `header.NAME`, `body`, `rcode` | `== != contains matches` | a text |
//! | `answer` (any of a DNS answer's records) | `== != contains matches` | a text |
//! | `body.path.to[0].field` | all of them | a text, a number, `true`, `false` or `null` |
//!
//! Which of them a kind of probe has is said by [`Subjects`].
//!
//! A text stands in double quotes with JSON's escapes, or bare when it is one word. `matches` takes a regular
//! expression that may match anywhere. A path goes into the body as JSON.

use regex::Regex;
use serde_json::Value as Json;
use std::{cell::OnceCell, cmp::Ordering, fmt, time::Duration};

/// What conditions are checked against.
#[derive(Debug, Clone, Default)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) latency: Duration,
    pub(crate) headers: http::HeaderMap,
    pub(crate) body: String,
    /// The body as JSON, once a condition asked for it; the error is what is wrong with it.
    pub(crate) json: OnceCell<Result<Json, String>>,
    /// Until when the certificate that ends first is valid.
    pub(crate) certificate_left: Option<Duration>,
    /// Where the last answer came from.
    pub(crate) url: String,
    pub(crate) redirects: u32,
    /// DNS: the response code, and the records of the answer in the notation of zone files.
    pub(crate) rcode: String,
    pub(crate) answers: Vec<String>,
}

/// What conditions of one kind of probe can be about: the names of subjects.
pub(crate) type Subjects = &'static [&'static str];

#[derive(Debug, Clone, PartialEq)]
enum Step {
    Field(String),
    Index(usize),
}

#[derive(Debug, Clone, PartialEq)]
enum Subject {
    Status,
    Latency,
    CertificateExpiry,
    Header(String),
    Body,
    Path(Vec<Step>),
    Url,
    Redirects,
    Rcode,
    Answers,
    Answer,
}

impl Subject {
    /// As [`Subjects`] names it.
    fn name(&self) -> &'static str {
        match self {
            Subject::Status => "status",
            Subject::Latency => "latency",
            Subject::CertificateExpiry => "certificate_expiry",
            Subject::Header(_) => "header.NAME",
            Subject::Body | Subject::Path(_) => "body",
            Subject::Url => "url",
            Subject::Redirects => "redirects",
            Subject::Rcode => "rcode",
            Subject::Answers => "answers",
            Subject::Answer => "answer",
        }
    }

    /// One of several words: `contains` and `matches` make sense, an order does not.
    fn is_text(&self) -> bool {
        matches!(self, Subject::Header(_) | Subject::Body | Subject::Url | Subject::Rcode | Subject::Answer)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Op {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
    Contains,
    Matches,
}

const OPS: [(&str, Op); 8] = [
    ("==", Op::Eq),
    ("!=", Op::Ne),
    ("<=", Op::Le),
    (">=", Op::Ge),
    ("<", Op::Lt),
    (">", Op::Gt),
    ("contains", Op::Contains),
    ("matches", Op::Matches),
];

#[derive(Debug, Clone)]
enum Wanted {
    Number(f64),
    /// The first digit of a status.
    Class(u16),
    Duration(Duration),
    Text(String),
    Pattern(Regex),
    Bool(bool),
    Null,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|v| v.to_str().ok())
    }

    /// What a path leads to in the body, which is read as JSON once.
    fn find(&self, path: &[Step]) -> Result<Option<&Json>, &str> {
        let json = self.json.get_or_init(|| serde_json::from_str(&self.body).map_err(|e| e.to_string()));
        let mut here = json.as_ref().map_err(String::as_str)?;
        for step in path {
            let next = match step {
                Step::Field(f) => here.get(f),
                Step::Index(i) => here.get(i),
            };
            match next {
                Some(n) => here = n,
                None => return Ok(None),
            }
        }
        Ok(Some(here))
    }
}

/// One condition.
#[derive(Debug, Clone)]
pub(crate) struct Condition {
    text: String,
    subject: Subject,
    op: Op,
    wanted: Wanted,
}

impl PartialEq for Condition {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// What is wrong with a condition's text, and where, in characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) offset: usize,
    pub(crate) what: String,
}

impl Condition {
    pub(crate) fn parse(text: &str) -> Result<Condition, Fault> {
        let at = |rest: &str| text.chars().count() - rest.chars().count();
        let fault = |rest: &str, what: String| Fault { offset: at(rest), what };
        let rest = text.trim_start();
        let end = rest.find(|c: char| c.is_whitespace() || "=!<>".contains(c)).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        let subject = parse_subject(word).map_err(|what| fault(rest, what))?;
        let rest = after.trim_start();
        let Some((name, op)) = OPS.iter().find(|(name, _)| rest.starts_with(name)) else {
            return Err(fault(rest, "expected an operator: == != < <= > >= contains matches".to_owned()));
        };
        let text_like = subject.is_text() || matches!(subject, Subject::Path(_));
        let ordered = matches!(op, Op::Lt | Op::Le | Op::Gt | Op::Ge);
        let texts_only = matches!(op, Op::Contains | Op::Matches);
        if (texts_only && !text_like) || (ordered && subject.is_text()) {
            return Err(fault(rest, format!("`{name}` cannot be used with `{word}`")));
        }
        let rest = rest.strip_prefix(name).unwrap_or("").trim_start();
        let wanted = parse_wanted(&subject, *op, rest.trim_end()).map_err(|what| fault(rest, what))?;
        Ok(Condition { text: text.trim().to_owned(), subject, op: *op, wanted })
    }

    /// Whether it is about something that such a probe has.
    pub(crate) fn is_among(&self, subjects: Subjects) -> bool {
        subjects.contains(&self.subject.name())
    }

    /// Whether it compares with a regular expression.
    pub(crate) fn is_regex(&self) -> bool {
        matches!(self.wanted, Wanted::Pattern(_))
    }

    pub(crate) fn needs_body(&self) -> bool {
        matches!(self.subject, Subject::Body | Subject::Path(_))
    }

    /// Checks it; the error says what was found instead.
    pub(crate) fn check(&self, answer: &Answer) -> Result<(), String> {
        if self.holds(answer) { Ok(()) } else { Err(format!("{}, wanted {self}", self.found(answer))) }
    }

    fn holds(&self, answer: &Answer) -> bool {
        match &self.subject {
            Subject::Status => self.number(f64::from(answer.status)),
            Subject::Latency => self.duration(answer.latency),
            Subject::CertificateExpiry => answer.certificate_left.is_some_and(|left| self.duration(left)),
            Subject::Header(name) => match answer.header(name) {
                Some(text) => self.text(text),
                None => self.op == Op::Ne,
            },
            Subject::Body => self.text(&answer.body),
            Subject::Path(path) => match answer.find(path) {
                Ok(Some(json)) => self.json(json),
                Ok(None) => self.op == Op::Ne,
                Err(_) => false,
            },
            Subject::Url => self.text(&answer.url),
            Subject::Redirects => self.number(f64::from(answer.redirects)),
            Subject::Rcode => self.text(&answer.rcode),
            Subject::Answers => self.number(answer.answers.len() as f64),
            Subject::Answer if self.op == Op::Ne => answer.answers.iter().all(|a| self.text(a)),
            Subject::Answer => answer.answers.iter().any(|a| self.text(a)),
        }
    }

    /// What there is, as a clause.
    fn found(&self, answer: &Answer) -> String {
        match &self.subject {
            Subject::Status => format!("status is {}", answer.status),
            Subject::Latency => format!("latency is {}", shown(answer.latency)),
            Subject::CertificateExpiry => match answer.certificate_left {
                Some(left) => format!("the certificate is valid for {}", shown(left)),
                None => "there is no certificate".to_owned(),
            },
            Subject::Header(name) => match answer.header(name) {
                Some(text) => format!("header {name} is {}", cut(text)),
                None => format!("there is no header {name}"),
            },
            Subject::Body => format!("body is {}", cut(&answer.body)),
            Subject::Path(path) => match answer.find(path) {
                Ok(Some(json)) => format!("{} is {}", path_text(path), cut(&json.to_string())),
                Ok(None) => format!("{} is not there", path_text(path)),
                Err(e) => format!("the body is not JSON: {e}"),
            },
            Subject::Url => format!("url is {}", cut(&answer.url)),
            Subject::Redirects => format!("redirects is {}", answer.redirects),
            Subject::Rcode => format!("rcode is {}", answer.rcode),
            Subject::Answers => format!("answers is {}", answer.answers.len()),
            Subject::Answer => match answer.answers.first() {
                Some(first) => format!("the first answer of {} is {}", answer.answers.len(), cut(first)),
                None => "there is no answer".to_owned(),
            },
        }
    }

    fn ordered(&self, order: Option<Ordering>) -> bool {
        match (self.op, order) {
            (Op::Eq, o) => o == Some(Ordering::Equal),
            (Op::Ne, o) => o != Some(Ordering::Equal),
            (Op::Lt, o) => o == Some(Ordering::Less),
            (Op::Gt, o) => o == Some(Ordering::Greater),
            (Op::Le, o) => matches!(o, Some(Ordering::Less | Ordering::Equal)),
            (Op::Ge, o) => matches!(o, Some(Ordering::Greater | Ordering::Equal)),
            (Op::Contains | Op::Matches, _) => false,
        }
    }

    fn number(&self, found: f64) -> bool {
        match &self.wanted {
            Wanted::Number(v) => self.ordered(found.partial_cmp(v)),
            Wanted::Class(c) => self.ordered((found / 100.0).floor().partial_cmp(&f64::from(*c))),
            _ => self.op == Op::Ne,
        }
    }

    fn duration(&self, found: Duration) -> bool {
        match &self.wanted {
            Wanted::Duration(d) => self.ordered(Some(found.cmp(d))),
            _ => false,
        }
    }

    fn text(&self, found: &str) -> bool {
        match (&self.wanted, self.op) {
            (Wanted::Pattern(re), _) => re.is_match(found),
            (Wanted::Text(t), Op::Contains) => found.contains(t),
            (Wanted::Text(t), _) => self.ordered(Some(found.cmp(t))),
            _ => self.op == Op::Ne,
        }
    }

    fn json(&self, found: &Json) -> bool {
        match (found, &self.wanted) {
            (Json::Number(n), Wanted::Number(_)) => n.as_f64().is_some_and(|n| self.number(n)),
            (Json::String(s), Wanted::Text(_) | Wanted::Pattern(_)) => self.text(s),
            (Json::Bool(b), Wanted::Bool(w)) => self.ordered(Some(b.cmp(w))),
            (Json::Null, Wanted::Null) => self.ordered(Some(Ordering::Equal)),
            (Json::Array(items), Wanted::Text(t)) if self.op == Op::Contains => {
                items.iter().any(|i| i.as_str() == Some(t))
            }
            (other, Wanted::Pattern(re)) => re.is_match(&other.to_string()),
            _ => self.op == Op::Ne,
        }
    }
}

fn shown(d: Duration) -> String {
    let ms = u64::try_from(d.as_millis()).unwrap_or(u64::MAX);
    model::duration::format(Duration::from_millis(if ms > 60_000 { ms / 1000 * 1000 } else { ms }))
}

/// A text as an error shows it.
fn cut(text: &str) -> String {
    let short: String = text.chars().take(80).collect();
    if short.len() < text.len() { format!("{short:?}...") } else { format!("{short:?}") }
}

fn parse_subject(word: &str) -> Result<Subject, String> {
    match word {
        "status" => return Ok(Subject::Status),
        "latency" => return Ok(Subject::Latency),
        "certificate_expiry" => return Ok(Subject::CertificateExpiry),
        "body" => return Ok(Subject::Body),
        "url" => return Ok(Subject::Url),
        "redirects" => return Ok(Subject::Redirects),
        "rcode" => return Ok(Subject::Rcode),
        "answers" => return Ok(Subject::Answers),
        "answer" => return Ok(Subject::Answer),
        _ => {}
    }
    if let Some(name) = word.strip_prefix("header.").filter(|n| !n.is_empty()) {
        return Ok(Subject::Header(name.to_ascii_lowercase()));
    }
    if let Some(path) = word.strip_prefix("body").filter(|p| p.starts_with(['.', '['])) {
        return parse_path(path).map(Subject::Path);
    }
    let known = [
        "status",
        "latency",
        "body",
        "certificate_expiry",
        "header.NAME",
        "url",
        "redirects",
        "rcode",
        "answers",
        "answer",
    ];
    Err(match kit::problem::nearest(word, known) {
        Some(near) => format!("unknown subject `{word}`, did you mean `{near}`?"),
        None => format!("unknown subject `{word}`: there are {}", known.join(", ")),
    })
}

fn parse_path(text: &str) -> Result<Vec<Step>, String> {
    let mut steps = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix('.') {
            let end = after.find(['.', '[']).unwrap_or(after.len());
            let (field, tail) = after.split_at(end);
            if field.is_empty() {
                return Err("a field's name is missing in the path".to_owned());
            }
            steps.push(Step::Field(field.to_owned()));
            rest = tail;
        } else if let Some((index, tail)) = rest.strip_prefix('[').and_then(|r| r.split_once(']')) {
            steps.push(Step::Index(
                index.parse().map_err(|_| format!("[{index}] is not the number of an item"))?,
            ));
            rest = tail;
        } else {
            return Err(format!("{rest:?} cannot follow in a path"));
        }
    }
    Ok(steps)
}

fn path_text(path: &[Step]) -> String {
    let mut out = "body".to_owned();
    for step in path {
        match step {
            Step::Field(f) => out.push_str(&format!(".{f}")),
            Step::Index(i) => out.push_str(&format!("[{i}]")),
        }
    }
    out
}

fn parse_wanted(subject: &Subject, op: Op, text: &str) -> Result<Wanted, String> {
    if text.is_empty() {
        return Err("expected a value".to_owned());
    }
    match subject {
        Subject::Status => {
            let class =
                text.strip_suffix("xx").and_then(|c| c.parse::<u16>().ok()).filter(|c| (1..=5).contains(c));
            if let Some(class) = class {
                return Ok(Wanted::Class(class));
            }
            let status = text.parse::<u16>().ok().filter(|s| (100..600).contains(s));
            status
                .map(|s| Wanted::Number(f64::from(s)))
                .ok_or(format!("{text:?} is not a status: 200, or 2xx"))
        }
        Subject::Latency | Subject::CertificateExpiry => {
            model::duration::parse(text).map(Wanted::Duration).map_err(|e| e.to_string())
        }
        Subject::Redirects | Subject::Answers => {
            let number = text.parse::<u32>().map_err(|_| format!("{text:?} is not a whole number"))?;
            Ok(Wanted::Number(f64::from(number)))
        }
        Subject::Header(_) | Subject::Body | Subject::Url | Subject::Rcode | Subject::Answer => {
            texts(op, &unquote(text)?.1)
        }
        Subject::Path(_) => {
            let (quoted, plain) = unquote(text)?;
            if quoted || matches!(op, Op::Contains | Op::Matches) {
                return texts(op, &plain);
            }
            Ok(match (text, model::number::parse(text)) {
                ("true", _) => Wanted::Bool(true),
                ("false", _) => Wanted::Bool(false),
                ("null", _) => Wanted::Null,
                (_, Some(n)) => Wanted::Number(n),
                _ => Wanted::Text(plain),
            })
        }
    }
}

fn texts(op: Op, text: &str) -> Result<Wanted, String> {
    if op != Op::Matches {
        return Ok(Wanted::Text(text.to_owned()));
    }
    model::matcher::regex(text).map(Wanted::Pattern).map_err(|e| e.to_string())
}

/// A text in quotes, or one bare word. Whether it was quoted comes first.
fn unquote(text: &str) -> Result<(bool, String), String> {
    if text.starts_with('"') {
        return serde_json::from_str(text)
            .map(|t| (true, t))
            .map_err(|_| format!("{text} is not a text in quotes"));
    }
    if text.contains(char::is_whitespace) {
        return Err("a text of several words must stand in double quotes".to_owned());
    }
    Ok((false, text.to_owned()))
}

#[cfg(test)]
mod tests;
