//! Entries for fuzzing: what targets and senders give, which may be any bytes.
//!
//! That an entry returns, in little time and memory, is what it shows. It tells whether the bytes were good to their
//! end, so that a corpus can be held to be one.

use crate::scrape::exposition::{Entry, Format, Parser};
use model::LabelsBuilder;

pub use crate::remote_write::fuzzing::{version_1 as remote_write_v1, version_2 as remote_write_v2};

/// A body in Prometheus's text format 0.0.4.
pub fn text(bytes: &[u8]) -> bool {
    parse(Format::Text, bytes)
}

/// An export request of OpenTelemetry in protobuf.
pub fn otlp_protobuf(bytes: &[u8]) -> bool {
    crate::otlp::made_of(crate::otlp::Encoding::Protobuf, bytes)
}

/// An export request of OpenTelemetry in JSON.
pub fn otlp_json(bytes: &[u8]) -> bool {
    crate::otlp::made_of(crate::otlp::Encoding::Json, bytes)
}

/// A read request, compressed.
pub fn remote_read(bytes: &[u8]) -> bool {
    crate::remote_read::Request::read(bytes).is_ok()
}

/// A body in OpenMetrics.
pub fn openmetrics(bytes: &[u8]) -> bool {
    parse(Format::OpenMetrics, bytes)
}

fn parse(format: Format, bytes: &[u8]) -> bool {
    let mut parser = Parser::new(format, bytes);
    loop {
        match parser.next() {
            Ok(Some(Entry::Sample(sample))) => {
                let mut labels = LabelsBuilder::default();
                Parser::labels_of_text(parser.kind(), sample.text, &mut labels);
                parser.start();
            }
            Ok(Some(Entry::Help { .. } | Entry::Type { .. } | Entry::Unit { .. })) => {}
            Ok(None) => return true,
            Err(_) => return false,
        }
    }
}
