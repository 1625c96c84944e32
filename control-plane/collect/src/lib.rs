//! Samples coming in: scrape, probe, host, self.
