//! The plane's own durable state on SQLite.
