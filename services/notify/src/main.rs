//! The notify binary.

fn main() {}
