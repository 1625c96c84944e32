//! Streams of bits, the most significant first.

/// Appends bits to a byte vector.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct BitWriter {
    bytes: Vec<u8>,
    /// Unused low bits of the last byte, 0 to 7.
    free: u32,
}

impl BitWriter {
    /// Continues after `bytes`, at a byte boundary.
    pub(crate) fn after(bytes: Vec<u8>) -> Self {
        BitWriter { bytes, free: 0 }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) fn bit(&mut self, bit: bool) {
        self.put(u64::from(bit), 1);
    }

    /// Appends the low `n` bits of `v`; `n` is 0 to 64.
    pub(crate) fn put(&mut self, v: u64, mut n: u32) {
        while n > 0 {
            if self.free == 0 {
                self.bytes.push(0);
                self.free = 8;
            }
            let take = n.min(self.free);
            let part = (v >> (n - take)) & ((1 << take) - 1);
            let part = part.to_le_bytes()[0];
            let last = self.bytes.len() - 1;
            self.bytes[last] |= part << (self.free - take);
            self.free -= take;
            n -= take;
        }
    }
}

/// Reads bits; `None` at the end.
#[derive(Debug, Clone)]
pub(crate) struct BitReader<'a> {
    bytes: &'a [u8],
    /// Bits taken from the stream and not yet given out, at the top.
    window: u64,
    have: u32,
}

impl<'a> BitReader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        BitReader { bytes, window: 0, have: 0 }
    }

    fn refill(&mut self) {
        while self.have <= 56 {
            let Some((b, rest)) = self.bytes.split_first() else { return };
            self.bytes = rest;
            self.window |= u64::from(*b) << (56 - self.have);
            self.have += 8;
        }
    }

    pub(crate) fn bit(&mut self) -> Option<bool> {
        self.get(1).map(|b| b == 1)
    }

    /// The next `n` bits as a number; `n` is 0 to 64.
    pub(crate) fn get(&mut self, n: u32) -> Option<u64> {
        if n > 56 {
            let high = self.get(n - 32)?;
            return Some((high << 32) | self.get(32)?);
        }
        if n == 0 {
            return Some(0);
        }
        if self.have < n {
            self.refill();
            if self.have < n {
                return None;
            }
        }
        let v = self.window >> (64 - n);
        self.window <<= n;
        self.have -= n;
        Some(v)
    }

    /// How many one bits come before the next zero bit, at most `max`; the zero is taken, and none is expected
    /// after `max` ones.
    pub(crate) fn unary(&mut self, max: u32) -> Option<u32> {
        for n in 0..max {
            if !self.bit()? {
                return Some(n);
            }
        }
        Some(max)
    }
}

#[cfg(test)]
mod tests;
