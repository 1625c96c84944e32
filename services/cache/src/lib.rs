//! Cache, rate limits, sessions: Redis or its embedded twin.
