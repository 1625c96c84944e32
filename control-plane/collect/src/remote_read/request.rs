//! A read request, taken apart.

use crate::remote_write::wire::{Kind, Malformed, Wire};
use model::{Hints, Labels, MatchOp, Matcher, Timestamp};

/// Queries of one request. Prometheus sends one.
const MOST_QUERIES: usize = 128;
/// Matchers of one query.
const MOST_MATCHERS: usize = 256;
/// A request is some hundred bytes.
const MOST_BYTES: usize = 1 << 20;
/// Snappy makes no more than 64 bytes of 3.
const MOST_EXPANSION: usize = 22;

/// One query.
#[derive(Debug, Clone)]
pub struct Query {
    pub matchers: Vec<Matcher>,
    /// Both ends belong to it.
    pub start: Timestamp,
    pub end: Timestamp,
    pub hints: Hints,
}

/// What a client asks for.
#[derive(Debug, Clone)]
pub struct Request {
    pub queries: Vec<Query>,
    /// Whether it takes chunks, which it prefers to samples then.
    pub chunks: bool,
    /// What every series is shown with, where it has no label of that name.
    pub(super) external: Labels,
}

/// Why a request is not understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadRequest(String);

impl From<Malformed> for BadRequest {
    fn from(e: Malformed) -> Self {
        BadRequest(e.to_string())
    }
}

impl Request {
    /// Reads a body in snappy's block format.
    ///
    /// # Errors
    /// A sentence that says what is wrong with it.
    pub fn read(compressed: &[u8]) -> Result<Request, BadRequest> {
        let corrupt = |e: snap::Error| BadRequest(format!("the body is not snappy's block format: {e}"));
        let len = snap::raw::decompress_len(compressed).map_err(corrupt)?;
        if len > MOST_BYTES || len > compressed.len().saturating_mul(MOST_EXPANSION) {
            return Err(BadRequest(format!("the body is longer than the {MOST_BYTES} bytes that are taken")));
        }
        let body = snap::raw::Decoder::new().decompress_vec(compressed).map_err(corrupt)?;
        let (mut queries, mut types) = (Vec::new(), Vec::new());
        let mut w = Wire::new(&body);
        while let Some(tag) = w.tag()? {
            match (tag.field, tag.kind) {
                (1, Kind::Bytes) if queries.len() < MOST_QUERIES => queries.push(query(w.nested()?)?),
                (1, Kind::Bytes) => {
                    return Err(BadRequest(format!("it has more than {MOST_QUERIES} queries")));
                }
                (2, kind) => w.repeated(kind, Kind::Varint, Wire::varint, &mut types)?,
                _ => w.skip(tag.kind)?,
            }
        }
        // The first that is known counts, as its sender prefers; samples where none is named.
        let chunks = types.iter().find(|t| matches!(t, 0 | 1)) == Some(&1);
        Ok(Request { queries, chunks, external: Labels::default() })
    }

    /// The same of a server that has external labels: a client that has them, too, asks for them, though no series
    /// has them before it is shown.
    #[must_use]
    pub fn under(mut self, external: Labels) -> Request {
        for query in &mut self.queries {
            query.matchers.retain(|m| m.op != MatchOp::Eq || external.get(&m.name) != Some(&*m.value));
        }
        self.external = external;
        self
    }
}

fn text(w: Wire<'_>) -> Result<String, BadRequest> {
    let text = std::str::from_utf8(w.bytes()).map_err(|_| BadRequest("a text is not UTF-8".to_owned()))?;
    Ok(text.to_owned())
}

fn query(mut w: Wire<'_>) -> Result<Query, BadRequest> {
    let mut query = Query { matchers: Vec::new(), start: 0, end: 0, hints: Hints::default() };
    while let Some(tag) = w.tag()? {
        match (tag.field, tag.kind) {
            (1, Kind::Varint) => query.start = w.int64()?,
            (2, Kind::Varint) => query.end = w.int64()?,
            (3, Kind::Bytes) if query.matchers.len() < MOST_MATCHERS => {
                query.matchers.push(matcher(w.nested()?)?);
            }
            (3, Kind::Bytes) => {
                return Err(BadRequest(format!("a query has more than {MOST_MATCHERS} matchers")));
            }
            (4, Kind::Bytes) => query.hints = hints(w.nested()?)?,
            _ => w.skip(tag.kind)?,
        }
    }
    Ok(query)
}

fn matcher(mut w: Wire<'_>) -> Result<Matcher, BadRequest> {
    let (mut op, mut name, mut value) = (MatchOp::Eq, String::new(), String::new());
    while let Some(tag) = w.tag()? {
        match (tag.field, tag.kind) {
            (1, Kind::Varint) => {
                op = match w.varint()? {
                    0 => MatchOp::Eq,
                    1 => MatchOp::Ne,
                    2 => MatchOp::Re,
                    3 => MatchOp::Nre,
                    other => return Err(BadRequest(format!("there is no matcher of type {other}"))),
                }
            }
            (2, Kind::Bytes) => name = text(w.nested()?)?,
            (3, Kind::Bytes) => value = text(w.nested()?)?,
            _ => w.skip(tag.kind)?,
        }
    }
    Matcher::new(name, op, value).map_err(|e| BadRequest(e.to_string()))
}

/// What the asker does with the samples. Its times are those of the query, or within them.
fn hints(mut w: Wire<'_>) -> Result<Hints, BadRequest> {
    let mut hints = Hints::default();
    while let Some(tag) = w.tag()? {
        match (tag.field, tag.kind) {
            (1, Kind::Varint) => hints.step = w.int64()?.max(0),
            (2, Kind::Bytes) => hints.func = text(w.nested()?)?,
            (5, Kind::Bytes) if hints.grouping.len() < MOST_MATCHERS => {
                hints.grouping.push(text(w.nested()?)?)
            }
            (6, Kind::Varint) => hints.by = w.varint()? != 0,
            (7, Kind::Varint) => hints.range = w.int64()?.max(0),
            _ => w.skip(tag.kind)?,
        }
    }
    Ok(hints)
}
