//! Every reader of what targets and senders give, on the corpus that fuzzing begins with and on what becomes of it.

#[path = "../../../fuzz/replay.rs"]
mod replay;

use collect::fuzzing;
use replay::replay;

#[test]
fn bodies_in_text_may_be_any_bytes() {
    replay("collect_text", fuzzing::text);
}

#[test]
fn bodies_in_openmetrics_may_be_any_bytes() {
    replay("collect_openmetrics", fuzzing::openmetrics);
}

#[test]
fn write_requests_of_version_1_may_be_any_bytes() {
    replay("collect_remote_write_v1", fuzzing::remote_write_v1);
}

#[test]
fn write_requests_of_version_2_may_be_any_bytes() {
    replay("collect_remote_write_v2", fuzzing::remote_write_v2);
}

#[test]
fn export_requests_in_protobuf_may_be_any_bytes() {
    replay("collect_otlp_protobuf", fuzzing::otlp_protobuf);
}

#[test]
fn export_requests_in_json_may_be_any_bytes() {
    replay("collect_otlp_json", fuzzing::otlp_json);
}

#[test]
fn read_requests_may_be_any_bytes() {
    replay("collect_remote_read", fuzzing::remote_read);
}
