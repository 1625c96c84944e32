//! Remote write, versions 1.0 and 2.0: samples that others push, and samples that are passed on to others.
//!
//! [`Receiver`] takes requests apart, finds or makes their series, appends, and answers only when what it took is
//! on disk. [`Senders`] follow the store's log, so that they lose nothing and hold nobody up.

mod durable;
pub(crate) mod fuzzing;
pub(crate) mod histogram;
mod known;
mod receiver;
mod refusal;
mod request;
pub(crate) mod send;
pub(crate) mod wire;

pub use receiver::{Inbox, Outcome, Receiver, ReceiverConfig, Refusal, Written};
pub use request::Protocol;
pub use send::{SendConfig, Senders};

/// The name of version 2's message in `Content-Type`.
const V2_MESSAGE: &str = "io.prometheus.write.v2.Request";
const V1_MESSAGE: &str = "prometheus.WriteRequest";

/// Which message a request carries, by its `Content-Type` and `Content-Encoding`.
///
/// # Errors
/// A sentence for the 415 that answers everything else.
pub fn negotiate(content_type: Option<&str>, encoding: Option<&str>) -> Result<Protocol, String> {
    // Early senders of version 1 sent neither.
    if let Some(encoding) = encoding.map(str::trim)
        && !encoding.eq_ignore_ascii_case("snappy")
    {
        return Err(format!("Content-Encoding {encoding:?} is not taken: compress with snappy"));
    }
    let Some(content_type) = content_type else { return Ok(Protocol::V1) };
    let refused = || {
        format!(
            "Content-Type {content_type:?} is not taken: send application/x-protobuf, with proto={V2_MESSAGE} for version 2.0"
        )
    };
    let mut parts = content_type.split(';').map(str::trim);
    if !parts.next().is_some_and(|media| media.eq_ignore_ascii_case("application/x-protobuf")) {
        return Err(refused());
    }
    let mut protocol = Protocol::V1;
    for part in parts.filter(|p| !p.is_empty()) {
        let (name, value) = part.split_once('=').ok_or_else(refused)?;
        if name.trim().eq_ignore_ascii_case("proto") {
            protocol = match value.trim().trim_matches('"') {
                V1_MESSAGE => Protocol::V1,
                V2_MESSAGE => Protocol::V2,
                _ => return Err(refused()),
            };
        }
    }
    Ok(protocol)
}

#[cfg(test)]
mod tests;
