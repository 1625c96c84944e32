//! Firing to delivered: inhibit, silence, group, dedupe, retry; receivers.
