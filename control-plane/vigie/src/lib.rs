//! The binary: CLI, wiring, reload, shutdown.
