//! Every reader of bytes of the store, on the corpus that fuzzing begins with and on what becomes of it.

#[path = "../../../fuzz/replay.rs"]
mod replay;

use replay::replay;
use tsdb::fuzzing;

#[test]
fn packed_blocks_may_be_any_bytes() {
    replay("tsdb_pack", fuzzing::pack);
}

#[test]
fn rows_may_be_any_bytes() {
    replay("tsdb_row", fuzzing::row);
}

#[test]
fn chunks_may_be_any_bytes() {
    replay("tsdb_chunk", fuzzing::chunk);
}

#[test]
fn records_may_be_any_bytes() {
    replay("tsdb_record", fuzzing::record);
}

#[test]
fn indexes_of_blocks_may_be_any_bytes() {
    replay("tsdb_index", fuzzing::index);
}

#[test]
fn blocks_may_be_any_bytes() {
    replay("tsdb_block", fuzzing::block);
}

#[test]
fn segments_of_the_log_may_be_any_bytes() {
    replay("tsdb_log", fuzzing::log);
}

#[test]
fn a_store_opens_on_any_records() {
    replay("tsdb_store", fuzzing::store);
}

#[test]
fn prometheus_blocks_may_be_any_bytes() {
    replay("tsdb_prometheus", |bytes| {
        tsdb::prometheus::fuzz(bytes);
        true
    });
}
