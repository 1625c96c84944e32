//! The penpal binary.

fn main() {}
