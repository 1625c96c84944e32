//! Series: write-ahead log, head, blocks, retention.
