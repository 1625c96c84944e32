//! Parse and evaluate PromQL over Select.
