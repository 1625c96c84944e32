//! Metrics that OpenTelemetry pushes: an export request becomes series as Prometheus makes them of it.
//!
//! Both encodings are read into one form, whose names, units and attributes are translated, and which the remote
//! write receiver then takes with all its limits, so that an answer here, too, means that it is on disk. What
//! cannot be taken is counted and said: sums and histograms of differences among it.

mod config;
mod convert;
mod data;
mod json;
mod name;
mod proto;
#[cfg(test)]
mod tests;

pub use config::OtlpConfig;

use crate::remote_write::{Inbox, Protocol, Receiver, Refusal, send::encode::Encoder, wire};
use convert::Converted;
use flate2::read::GzDecoder;
use std::{
    borrow::Cow,
    io::Read,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::Semaphore;

/// Bytes of a body, before and after it is decompressed.
const MOST_BYTES: usize = 16 << 20;
/// JSON takes more memory than its text.
const MOST_JSON_BYTES: usize = 8 << 20;
/// Resources, metrics, points, attributes and exemplars of a request.
pub(crate) const MOST_PARTS: usize = 500_000;
/// Requests that are taken apart at the same time.
const WORKING: usize = 2;

/// How a request is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    Protobuf,
    Json,
}

/// Why a request cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the request is malformed: {0}")]
pub(crate) struct Malformed(String);

impl From<wire::Malformed> for Malformed {
    fn from(e: wire::Malformed) -> Self {
        Malformed(e.to_string())
    }
}

pub(crate) fn too_many() -> Malformed {
    Malformed(format!("it has more than {MOST_PARTS} points, attributes and exemplars: send fewer at a time"))
}

/// What became of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Export {
    /// It was taken, but for so many points.
    Taken {
        rejected: u64,
        why: String,
    },
    Refused(Refusal),
}

/// Takes export requests. Clones are the same one.
#[derive(Debug, Clone)]
pub struct OtlpReceiver {
    receiver: Receiver,
    config: Arc<Mutex<Arc<OtlpConfig>>>,
    turn: Arc<Semaphore>,
}

impl OtlpReceiver {
    pub fn new(receiver: Receiver, config: OtlpConfig) -> OtlpReceiver {
        let config = Arc::new(Mutex::new(Arc::new(config)));
        OtlpReceiver { receiver, config, turn: Arc::new(Semaphore::new(WORKING)) }
    }

    /// Translates otherwise from now on.
    pub fn reload(&self, config: OtlpConfig) {
        *self.config() = Arc::new(config);
    }

    fn config(&self) -> MutexGuard<'_, Arc<OtlpConfig>> {
        self.config.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where a body is put together.
    pub fn inbox(&self) -> Inbox {
        self.receiver.inbox()
    }

    /// Takes a request. Returns when what it took is on disk.
    pub async fn export(&self, encoding: Encoding, gzip: bool, body: Inbox) -> Export {
        let Ok(turn) = Arc::clone(&self.turn).acquire_owned().await else {
            return Export::Refused(Refusal::Failed("Vigie is stopping".to_owned()));
        };
        let config = Arc::clone(&self.config());
        let work = move || {
            let _turn = turn;
            let read = read(encoding, gzip, body.bytes())?;
            drop(body);
            let converted = convert::convert(&read, &config);
            let message = Encoder::default().labelled(&converted.series).to_vec();
            Ok((converted, message))
        };
        let (converted, message) = match tokio::task::spawn_blocking(work).await {
            Ok(Ok(made)) => made,
            Ok(Err(refusal)) => return Export::Refused(refusal),
            Err(e) => return Export::Refused(Refusal::Failed(format!("taking a request broke off: {e}"))),
        };
        let Converted { series, mut rejected, mut why, .. } = converted;
        if series.is_empty() {
            return if rejected > 0 {
                Export::Refused(Refusal::Invalid(why))
            } else {
                Export::Taken { rejected, why }
            };
        }
        let outcome = self.receiver.write_message(Protocol::V2, message).await;
        let written = outcome.written.samples + outcome.written.histograms;
        match outcome.refusal {
            None => {}
            Some(Refusal::Invalid(message)) if written > 0 => {
                rejected += (series.len() as u64).saturating_sub(written);
                why = message;
            }
            Some(refusal) => return Export::Refused(refusal),
        }
        Export::Taken { rejected, why }
    }
}

/// Whether a body is a request; it is converted all the way.
pub(crate) fn made_of(encoding: Encoding, body: &[u8]) -> bool {
    let Ok(read) = read(encoding, false, body) else { return false };
    let converted = convert::convert(&read, &OtlpConfig::default());
    !Encoder::default().labelled(&converted.series).is_empty()
}

fn read(encoding: Encoding, gzip: bool, body: &[u8]) -> Result<Vec<data::ResourceMetrics>, Refusal> {
    let most = match encoding {
        Encoding::Protobuf => MOST_BYTES,
        Encoding::Json => MOST_JSON_BYTES,
    };
    let body = if gzip {
        let mut out = Vec::new();
        let read = GzDecoder::new(body).take(most as u64 + 1).read_to_end(&mut out);
        read.map_err(|e| Refusal::Invalid(format!("the body is not gzip: {e}")))?;
        Cow::Owned(out)
    } else {
        Cow::Borrowed(body)
    };
    if body.len() > most {
        return Err(Refusal::TooLarge(format!(
            "the body is longer than the {most} bytes that are taken: send fewer points at a time"
        )));
    }
    let read = match encoding {
        Encoding::Protobuf => proto::read(&body),
        Encoding::Json => json::read(&body),
    };
    read.map_err(|e| Refusal::Invalid(e.to_string()))
}
