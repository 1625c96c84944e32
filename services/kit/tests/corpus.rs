//! The reader of YAML, on the corpus that fuzzing begins with and on what becomes of it.

#[path = "../../../fuzz/replay.rs"]
mod replay;

use replay::replay;

#[test]
fn files_may_be_any_bytes() {
    replay("kit_yaml", kit::yaml::fuzz);
}
