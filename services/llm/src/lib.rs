//! A metered client for AI providers.
