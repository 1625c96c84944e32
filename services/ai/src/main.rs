//! The ai binary.

fn main() {}
