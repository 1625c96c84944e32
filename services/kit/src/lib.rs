//! How a process boots, configures itself, authenticates, serves, reports errors, traces, stops.
