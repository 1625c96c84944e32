//! Remote read: series for a Prometheus that asks for them, in samples or in chunks.
//!
//! [`Request::read`] takes a request apart, [`samples`] and [`chunks`] answer it from a [`Select`]. Both are
//! bounded: in what is asked, in samples that are answered, in the bytes of a frame.

mod request;
#[cfg(test)]
mod tests;

pub use request::{BadRequest, Query, Request};

use crate::remote_write::{
    send::encode::{put_bytes, put_double, put_histogram, put_labels, put_number},
    wire::put_varint,
};
use model::{Cancel, Histogram, Labels, Limits, SampleColumns, Select, SelectError, SelectRequest};
use tsdb::prometheus::{EncodedChunk, crc32c, encode_chunks};

/// How much one request may read and one frame hold. The defaults are Prometheus's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadLimits {
    /// Samples of an answer in samples, which is in memory as a whole.
    pub samples: usize,
    /// Bytes of a frame, unless one chunk is longer.
    pub frame_bytes: usize,
}

impl Default for ReadLimits {
    fn default() -> Self {
        // An answer in samples takes some 20 bytes for each.
        ReadLimits { samples: 5_000_000, frame_bytes: 1 << 20 }
    }
}

/// Why a request has no answer.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error(
        "the query has more than {0} samples: ask for chunks (STREAMED_XOR_CHUNKS), a shorter time or fewer series"
    )]
    TooManySamples(usize),
    #[error(transparent)]
    Select(#[from] SelectError),
    #[error("a series could not be written: {0}")]
    Encode(String),
    /// Nobody takes the answer.
    #[error("the client went away")]
    Gone,
}

fn ask<'a>(query: &'a Query, limits: Limits, cancel: &Cancel) -> SelectRequest<'a> {
    SelectRequest {
        hints: query.hints.clone(),
        limits,
        cancel: cancel.clone(),
        ..SelectRequest::new(&query.matchers, query.start, query.end)
    }
}

/// A whole `ReadResponse`, not compressed.
///
/// # Errors
/// When there are too many samples, or the store cannot be read.
pub fn samples(
    select: &dyn Select,
    request: &Request,
    limits: &ReadLimits,
    cancel: &Cancel,
) -> Result<Vec<u8>, ReadError> {
    let (mut body, mut result, mut one) = (Vec::new(), Vec::new(), Vec::new());
    let (mut inner, mut columns) = (Vec::new(), SampleColumns::default());
    let mut room = limits.samples;
    for query in &request.queries {
        result.clear();
        let bounds = Limits { samples: Some(room), ..Limits::default() };
        let too_many = |e| match e {
            SelectError::Limit { .. } => ReadError::TooManySamples(limits.samples),
            e => e.into(),
        };
        let mut found = select.select(&ask(query, bounds, cancel)).map_err(too_many)?;
        while let Some((_, labels)) = found.next(&mut columns).map_err(too_many)? {
            cancel.check()?;
            room = room.checked_sub(columns.len()).ok_or(ReadError::TooManySamples(limits.samples))?;
            one.clear();
            put_labels(&mut one, &mut inner, 1, &labels.with_missing(&request.external));
            let mut histograms = columns.histograms.iter().peekable();
            for (i, (at, value)) in columns.times.iter().zip(&columns.values).enumerate() {
                inner.clear();
                let field = match histograms.next_if(|(n, _)| *n == i) {
                    Some((_, h)) => {
                        put_histogram(&mut inner, h, at.cast_unsigned(), None);
                        4
                    }
                    None => {
                        put_double(&mut inner, 1, *value);
                        put_number(&mut inner, 2, at.cast_unsigned());
                        2
                    }
                };
                put_bytes(&mut one, field, &inner);
            }
            put_bytes(&mut result, 1, &one);
        }
        put_bytes(&mut body, 1, &result);
    }
    Ok(body)
}

/// Frames of `ChunkedReadResponse`, one after the other to `out`, which says whether somebody takes them.
///
/// # Errors
/// When the store cannot be read, or nobody listens.
pub fn chunks(
    select: &dyn Select,
    request: &Request,
    limits: &ReadLimits,
    cancel: &Cancel,
    mut out: impl FnMut(Vec<u8>) -> bool,
) -> Result<(), ReadError> {
    let mut columns = SampleColumns::default();
    for (index, query) in request.queries.iter().enumerate() {
        let mut found = select.select(&ask(query, Limits::default(), cancel))?;
        while let Some((_, labels)) = found.next(&mut columns)? {
            cancel.check()?;
            let labels = labels.with_missing(&request.external);
            let mut frames = Frames { index: index as u64, labels: &labels, series: Vec::new(), chunks: 0 };
            let mut gone = false;
            let mut send = |frame: Option<Vec<u8>>| gone |= frame.is_some_and(|f| !out(f));
            let keep = |_: &Histogram| true;
            encode_chunks(&columns, keep, |chunk| {
                send(frames.add(&chunk, limits.frame_bytes));
                Ok(())
            })
            .map_err(|e| ReadError::Encode(e.to_string()))?;
            send(frames.end());
            if gone {
                return Err(ReadError::Gone);
            }
        }
    }
    Ok(())
}

/// The frames of one series: each has its labels, and chunks until it is full.
struct Frames<'a> {
    index: u64,
    labels: &'a Labels,
    series: Vec<u8>,
    chunks: usize,
}

impl Frames<'_> {
    /// Adds a chunk; a frame that has no room for it is done.
    fn add(&mut self, chunk: &EncodedChunk, most: usize) -> Option<Vec<u8>> {
        // Times and tags take less than this.
        const AROUND: usize = 64;
        let full = self.chunks > 0 && self.series.len() + chunk.data.len() + AROUND > most;
        let done = if full { self.end() } else { None };
        if self.chunks == 0 {
            self.series.clear();
            put_labels(&mut self.series, &mut Vec::new(), 1, self.labels);
        }
        let mut one = Vec::with_capacity(chunk.data.len() + AROUND);
        put_number(&mut one, 1, chunk.min.cast_unsigned());
        put_number(&mut one, 2, chunk.max.cast_unsigned());
        put_number(&mut one, 3, u64::from(chunk.encoding));
        put_bytes(&mut one, 4, &chunk.data);
        put_bytes(&mut self.series, 2, &one);
        self.chunks += 1;
        done
    }

    /// The frame with what was added: its length, its checksum, the message.
    fn end(&mut self) -> Option<Vec<u8>> {
        if self.chunks == 0 {
            return None;
        }
        self.chunks = 0;
        let mut message = Vec::with_capacity(self.series.len() + 16);
        put_bytes(&mut message, 1, &self.series);
        put_number(&mut message, 2, self.index);
        let mut frame = Vec::with_capacity(message.len() + 16);
        put_varint(&mut frame, message.len() as u64);
        frame.extend_from_slice(&crc32c(&message).to_be_bytes());
        frame.extend_from_slice(&message);
        Some(frame)
    }
}
