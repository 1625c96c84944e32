//! CRC-32C (Castagnoli), the checksum of every part of a Prometheus block; eight bytes at a time by tables.

/// The polynomial, bits reversed.
const POLYNOMIAL: u32 = 0x82f6_3b78;

/// `TABLES[k][b]`: what byte `b` becomes when `k` zero bytes follow it.
static TABLES: [[u32; 256]; 8] = tables();

const fn tables() -> [[u32; 256]; 8] {
    let mut out = [[0u32; 256]; 8];
    let (mut byte, mut start) = (0, 0u32);
    while byte < 256 {
        let (mut crc, mut bit) = (start, 0);
        while bit < 8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ POLYNOMIAL } else { crc >> 1 };
            bit += 1;
        }
        out[0][byte] = crc;
        byte += 1;
        start += 1;
    }
    let mut k = 1;
    while k < 8 {
        let mut byte = 0;
        while byte < 256 {
            let before = out[k - 1][byte];
            out[k][byte] = (before >> 8) ^ out[0][(before & 0xff) as usize];
            byte += 1;
        }
        k += 1;
    }
    out
}

/// A checksum under way.
#[derive(Debug, Clone, Copy)]
pub(super) struct Crc(u32);

impl Crc {
    pub(super) fn new() -> Crc {
        Crc(u32::MAX)
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        let mut crc = self.0;
        let (eights, rest) = bytes.as_chunks::<8>();
        for eight in eights {
            let v = u64::from_le_bytes(*eight) ^ u64::from(crc);
            let at = |k: u32| ((v >> (8 * k)) & 0xff) as usize;
            crc = TABLES[7][at(0)]
                ^ TABLES[6][at(1)]
                ^ TABLES[5][at(2)]
                ^ TABLES[4][at(3)]
                ^ TABLES[3][at(4)]
                ^ TABLES[2][at(5)]
                ^ TABLES[1][at(6)]
                ^ TABLES[0][at(7)];
        }
        for byte in rest {
            crc = (crc >> 8) ^ TABLES[0][((crc ^ u32::from(*byte)) & 0xff) as usize];
        }
        self.0 = crc;
    }

    pub(super) fn value(self) -> u32 {
        !self.0
    }
}

pub fn crc32c(bytes: &[u8]) -> u32 {
    let mut crc = Crc::new();
    crc.update(bytes);
    crc.value()
}

#[cfg(test)]
mod tests;
