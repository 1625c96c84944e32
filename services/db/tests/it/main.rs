//! The store's behaviour suite, and the service as its callers meet it.

mod service;
mod store;
