//! Entries for fuzzing: write requests, decompressed, that may be any bytes.
//!
//! That an entry returns, in little time and memory, is what it shows. It tells whether the bytes were a request, so
//! that a corpus can be held to be one.

use super::request::{Protocol, Request, labels_of_key, series_labels};
use model::labels::METRIC_NAME;

/// A `prometheus.WriteRequest`.
pub fn version_1(bytes: &[u8]) -> bool {
    read(Protocol::V1, bytes)
}

/// An `io.prometheus.write.v2.Request`.
pub fn version_2(bytes: &[u8]) -> bool {
    read(Protocol::V2, bytes)
}

fn read(protocol: Protocol, body: &[u8]) -> bool {
    let mut request = Request::default();
    if request.read(protocol, body).is_err() {
        return false;
    }
    let samples = request.samples();
    request.scatter_thin_columns();
    assert_eq!(request.samples(), samples, "scattering loses nothing");
    let mut scratch = Vec::new();
    for series in &request.series {
        if let Ok(key) = request.key(protocol, body, *series, &mut scratch) {
            drop(series_labels(key));
            if let Ok(labels) = labels_of_key(key) {
                let metric = labels.value(METRIC_NAME).to_owned();
                let _about = request.about(body, *series, &metric);
            }
        }
    }
    for exemplar in &request.exemplars {
        drop(request.exemplar(protocol, body, *exemplar));
    }
    request.families(body).count();
    true
}
