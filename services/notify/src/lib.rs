//! Mail to learners.
