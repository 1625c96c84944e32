//! Trials and subscriptions.
