//! The parser, on the corpus that fuzzing begins with and on what becomes of it.

#[path = "../../../fuzz/replay.rs"]
mod replay;

use replay::replay;

#[test]
fn expressions_may_be_any_bytes() {
    replay("promql_parse", promql::parse::fuzz);
}
