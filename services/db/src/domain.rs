//! The platform's documents: what they hold, what they begin with, how many there are.

pub(crate) mod collections;
mod gauges;
mod seed;
pub(crate) mod user;

pub(crate) use gauges::{Gauges, figures};
pub(crate) use seed::seed;
