//! Bounds: a string that refuses to grow beyond its limit.

use std::fmt;

/// What one execution may use. The defaults fit the largest notification anybody reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of output, and of any single intermediate text.
    pub output_bytes: usize,
    /// Nodes visited, plus one for every 64 bytes that functions read or write.
    pub steps: u64,
    /// Nesting of calls and blocks.
    pub depth: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { output_bytes: 1 << 20, steps: 1_000_000, depth: 150 }
    }
}

/// The text would be longer than it may.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Overflow;

/// A bounded string.
#[derive(Debug)]
pub(crate) struct Out {
    text: String,
    limit: usize,
}

impl Out {
    pub(crate) fn new(limit: usize) -> Self {
        Out { text: String::new(), limit }
    }

    pub(crate) fn push(&mut self, text: &str) -> Result<(), Overflow> {
        if self.text.len() + text.len() > self.limit {
            return Err(Overflow);
        }
        self.text.push_str(text);
        Ok(())
    }

    pub(crate) fn len(&self) -> usize {
        self.text.len()
    }

    pub(crate) fn room(&self) -> usize {
        self.limit - self.text.len()
    }

    pub(crate) fn into_string(self) -> String {
        self.text
    }
}

impl fmt::Write for Out {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        self.push(s).map_err(|Overflow| fmt::Error)
    }
}
