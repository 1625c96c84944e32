//! The tutor.
