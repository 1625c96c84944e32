//! The store's behaviour suite, the service as its callers meet it, and the program as operators start it.

mod binary;
mod service;
mod store;
